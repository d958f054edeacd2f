//! Estimate of an attempt's tokens before the call, from the numbers of ASCII and other characters,
//! corrected by the endpoint's earlier counts. An estimate is enough, and no tokenizer is loaded,
//! because limits are settled with the actual counts after each attempt.

use parking_lot::Mutex;

use crate::ask::render::ChatMessage;
use crate::call::wire::Completion;

/// Weight of a new count in the running means.
const EWMA: f64 = 0.1;

/// Estimates the tokens of one endpoint's requests.
#[derive(Debug)]
pub(crate) struct TokenEstimator(Mutex<TokenSums>);

#[derive(Debug, Clone, Copy)]
struct TokenSums {
    /// `None` before the first count.
    means: Option<TokenMeans>,
    /// The greatest ratio of counted to estimated prompt tokens; at least 1.
    most_ratio: f64,
    /// The greatest ratio of an answer's tokens to its limit; at least 1. Some endpoints ignore the
    /// limit, and some do not count reasoning against it.
    overrun: f64,
}

/// Running means of the counts.
#[derive(Debug, Clone, Copy)]
struct TokenMeans {
    /// Ratio of counted to estimated prompt tokens.
    ratio: f64,
    /// Tokens of an answer.
    completion: f64,
    /// Difference between the tokens of a call and their estimate, without its sign.
    deviation: f64,
}

impl TokenEstimator {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(TokenSums { means: None, most_ratio: 1.0, overrun: 1.0 }))
    }

    /// Estimated tokens of a prompt of this size.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small positive count"
    )]
    pub(crate) fn prompt(&self, size: PromptSize) -> u64 {
        (size.0 * self.lookup().means.map_or(1.0, |means| means.ratio)).ceil() as u64
    }

    /// The most tokens of the prompt, as far as earlier counts tell.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small positive count"
    )]
    pub(crate) fn most_prompt(&self, messages: &[ChatMessage]) -> u64 {
        (by_characters(messages) * self.lookup().most_ratio).ceil() as u64
    }

    /// The most tokens of an answer with this limit, as far as earlier counts tell.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small positive count"
    )]
    pub(crate) fn most_completion(&self, max_tokens: u32) -> u64 {
        (f64::from(max_tokens) * self.lookup().overrun).ceil() as u64
    }

    /// Estimated tokens of the answer: the mean and two mean deviations of a call, at most
    /// `max_tokens`. `max_tokens` before the first count.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small positive count"
    )]
    pub(crate) fn completion(&self, max_tokens: u32) -> u64 {
        let likely = |means: TokenMeans| (means.completion + 2.0 * means.deviation).ceil() as u64;
        let most = u64::from(max_tokens);
        self.lookup().means.map_or(most, |means| likely(means).min(most))
    }

    /// Updates the means with the counts of one reply to a request with this limit.
    #[expect(clippy::cast_precision_loss, reason = "counts are short of 2^53")]
    pub(crate) fn update(&self, messages: &[ChatMessage], max_tokens: u32, reply: &Completion) {
        if !reply.is_counted() {
            return;
        }
        let mut sums = self.0.lock();
        let size = by_characters(messages).max(1.0);
        let ratio = (reply.prompt_tokens as f64 / size).clamp(0.1, 10.0);
        sums.most_ratio = sums.most_ratio.max(ratio);
        let completion = reply.completion_tokens as f64;
        sums.overrun = sums.overrun.max(completion / f64::from(max_tokens.max(1)));
        match &mut sums.means {
            None => sums.means = Some(TokenMeans { ratio, completion, deviation: 0.0 }),
            Some(means) => {
                let expected = size * means.ratio + means.completion;
                let off = (size * ratio + completion - expected).abs();
                means.deviation += EWMA * (off - means.deviation);
                means.ratio += EWMA * (ratio - means.ratio);
                means.completion += EWMA * (completion - means.completion);
            }
        }
    }

    fn lookup(&self) -> TokenSums {
        *self.0.lock()
    }
}

/// The size of a prompt by its characters, before it is corrected by the endpoint's counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PromptSize(f64);

impl PromptSize {
    pub(crate) fn of(messages: &[ChatMessage]) -> Self {
        Self(by_characters(messages))
    }
}

/// The size of a text in tokens before it is corrected by the endpoint's counts: a quarter of a token
/// for each ASCII byte, four fifths for any other character.
#[expect(clippy::cast_precision_loss, reason = "texts are short of 2^53 characters")]
pub(crate) fn text_tokens(text: &str) -> f64 {
    let ascii = text.bytes().filter(u8::is_ascii).count();
    let others = text.chars().count() - ascii;
    ascii as f64 / 4.0 + others as f64 * 0.8
}

fn by_characters(messages: &[ChatMessage]) -> f64 {
    messages.iter().map(|message| text_tokens(&message.content) + 4.0).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user_message(text: &str) -> Vec<ChatMessage> {
        vec![ChatMessage { role: "user".into(), content: text.to_owned() }]
    }

    #[test]
    fn estimate_converges_to_the_counts_of_the_endpoint() {
        let estimate = TokenEstimator::new();
        let messages = user_message(&"价格是480元 per night".repeat(40));
        assert_eq!(estimate.completion(512), 512);
        for _ in 0..60 {
            estimate.update(&messages, 512, &counted(300, 60));
        }
        assert!(
            (295..=305).contains(&estimate.prompt(PromptSize::of(&messages))),
            "{}",
            estimate.prompt(PromptSize::of(&messages))
        );
        assert_eq!(estimate.completion(512), 60);
        assert_eq!(estimate.completion(50), 50);
    }

    #[test]
    fn calls_of_different_sizes_are_estimated_with_a_margin() {
        let estimate = TokenEstimator::new();
        let messages = user_message(&"word ".repeat(240));
        let counts: Vec<u64> = (0..200).map(|call| 30 + call * 37 % 61).collect();
        for completion in &counts {
            estimate.update(&messages, 512, &counted(300, *completion));
        }
        let likely = estimate.completion(512);
        let below = counts.iter().filter(|count| **count <= likely).count();
        assert!(below * 10 >= counts.len() * 9 && likely <= 106, "{likely} covers {below} of 200");
    }

    fn counted(prompt_tokens: u64, completion_tokens: u64) -> Completion {
        Completion { prompt_tokens, completion_tokens, ..Completion::default() }
    }

    #[test]
    fn an_endpoint_that_ignores_the_limit_teaches_the_most() {
        let (estimate, messages) = (TokenEstimator::new(), user_message("hello"));
        assert_eq!(estimate.most_completion(200), 200);
        estimate.update(&messages, 200, &counted(10, 400));
        estimate.update(&messages, 200, &counted(10, 50));
        assert_eq!(estimate.most_completion(200), 400);
    }

    #[test]
    fn counts_of_zero_are_ignored() {
        let estimate = TokenEstimator::new();
        let size = PromptSize::of(&user_message("hello"));
        let before = estimate.prompt(size);
        estimate.update(&user_message("hello"), 512, &counted(0, 0));
        assert_eq!(estimate.prompt(size), before);
    }
}

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
    /// Ratio of counted to estimated prompt tokens.
    ratio: f64,
    /// Mean number of tokens of an answer.
    completion: Option<f64>,
    /// The greatest ratio of counted to estimated prompt tokens; at least 1.
    most_ratio: f64,
    /// The greatest ratio of an answer's tokens to its limit; at least 1. Some endpoints ignore the
    /// limit, and some do not count reasoning against it.
    overrun: f64,
}

impl TokenEstimator {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(TokenSums { ratio: 1.0, completion: None, most_ratio: 1.0, overrun: 1.0 }))
    }

    /// Estimated tokens of the prompt.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small positive count"
    )]
    pub(crate) fn prompt(&self, messages: &[ChatMessage]) -> u64 {
        (by_characters(messages) * self.lookup().ratio).ceil() as u64
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

    /// Estimated tokens of the answer: 1.5 times the mean plus 16, at most `max_tokens`.
    /// `max_tokens` before the first count.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small positive count"
    )]
    pub(crate) fn completion(&self, max_tokens: u32) -> u64 {
        self.lookup()
            .completion
            .map_or(u64::from(max_tokens), |mean| ((mean * 1.5) as u64 + 16).min(max_tokens.into()))
    }

    /// Updates the means with the counts of one reply to a request with this limit.
    #[expect(clippy::cast_precision_loss, reason = "counts are short of 2^53")]
    pub(crate) fn update(&self, messages: &[ChatMessage], max_tokens: u32, reply: &Completion) {
        if !reply.is_counted() {
            return;
        }
        let mut sums = self.0.lock();
        let ratio = reply.prompt_tokens as f64 / by_characters(messages).max(1.0);
        let ratio = ratio.clamp(0.1, 10.0);
        sums.ratio += EWMA * (ratio - sums.ratio);
        sums.most_ratio = sums.most_ratio.max(ratio);
        let completion = reply.completion_tokens as f64;
        sums.overrun = sums.overrun.max(completion / f64::from(max_tokens.max(1)));
        sums.completion =
            Some(sums.completion.map_or(completion, |mean| mean + EWMA * (completion - mean)));
    }

    fn lookup(&self) -> TokenSums {
        *self.0.lock()
    }
}

/// A quarter of a token for each ASCII byte, four fifths for any other character.
#[expect(clippy::cast_precision_loss, reason = "texts are short of 2^53 characters")]
fn by_characters(messages: &[ChatMessage]) -> f64 {
    let tokens = |text: &str| {
        let ascii = text.bytes().filter(u8::is_ascii).count();
        let others = text.chars().count() - ascii;
        ascii as f64 / 4.0 + others as f64 * 0.8
    };
    messages.iter().map(|message| tokens(&message.content) + 4.0).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user_message(text: &str) -> Vec<ChatMessage> {
        vec![ChatMessage { role: "user", content: text.to_owned() }]
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
            (295..=305).contains(&estimate.prompt(&messages)),
            "{}",
            estimate.prompt(&messages)
        );
        assert_eq!(estimate.completion(512), 106);
        assert_eq!(estimate.completion(50), 50);
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
        let before = estimate.prompt(&user_message("hello"));
        estimate.update(&user_message("hello"), 512, &counted(0, 0));
        assert_eq!(estimate.prompt(&user_message("hello")), before);
    }
}

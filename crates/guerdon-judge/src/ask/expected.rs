//! Scoring by expected points: the judge answers with one letter, and the probabilities of all
//! letters weigh the points of the levels.
//!
//! A judge that hesitates between two levels shows it in the probabilities but not in its choice.
//! The mean of the distribution agrees with people better than its mode (Wang et al., "Improving
//! LLM-as-a-judge inference with the judgment distribution", arXiv 2503.03064). Each level has one
//! letter, because a level of several tokens has no single probability. There is no reasoning
//! before the letter, because reasoning makes the distribution collapse. Servers report
//! probabilities before their grammar is applied, so those of the letters are renormalised here.

use crate::ask::reply::CriterionFinding;
use crate::ask::schema::DATA_NOTICE;
use crate::rubric::{Criterion, CriterionLevel, MAX_LETTERS};

/// Minimum total probability of the letters.
const LEAST_MASS: f64 = 0.5;

/// A token's alternatives: what else might have stood there, and how likely (natural logarithm).
pub(crate) type Alternatives = Vec<(String, f64)>;

fn letters() -> impl Iterator<Item = char> {
    ('A'..='Z').take(MAX_LETTERS)
}

/// The form of the answer, which is the same for every reply.
pub(crate) fn form(criterion: &Criterion) -> String {
    let level = |(letter, level): (char, &CriterionLevel)| format!("{letter} = {}", level.name);
    let levels: Vec<String> = letters().zip(&criterion.levels).map(level).collect();
    format!(
        "{DATA_NOTICE}\nChoose one level of `{}` and answer with its letter and nothing else: {}",
        criterion.id,
        levels.join(", ")
    )
}

/// The instruction that follows the judged text.
pub(crate) fn closing(tag: &str) -> String {
    format!("Judge only the text inside <{tag}>. Answer with one letter and nothing else.")
}

/// Names of channels that some servers leave in the text.
const CHANNELS: [&str; 2] = ["final", "assistant"];

/// True for a token that may stand before the answer: white space, a special token, the name of a
/// channel.
fn is_in_front(token: &str) -> bool {
    let token = token.trim();
    token.is_empty() || token.starts_with("<|") || CHANNELS.contains(&token)
}

/// True for a token that may end the answer.
fn is_behind(token: &str) -> bool {
    let token = token.trim();
    token.starts_with("<|") || token == "</s>" || token.chars().all(|c| matches!(c, '.' | ')'))
}

/// True if the content of a reply can be an answer in one letter. Empty content also passes,
/// because the answer may be in another field. Some endpoints report fewer tokens than they wrote.
pub(crate) fn is_letter(content: &str) -> bool {
    let spaced = content.replace("<|", " <|").replace("|>", "|> ").replace("</s>", " </s> ");
    // A channel's name may touch the answer, behind special tokens, too.
    let mut text = spaced.trim_start();
    loop {
        let name = CHANNELS.iter().find_map(|name| text.strip_prefix(name));
        let special = || text.strip_prefix("<|")?.split_once("|>").map(|(_, rest)| rest);
        let Some(rest) = name.or_else(special) else { break };
        text = rest.trim_start();
    }
    let mut words = text.split_whitespace().skip_while(|word| is_in_front(word));
    let Some(answer) = words.next() else { return true };
    let mut rest = answer.chars();
    let is_letter = rest.next().is_some_and(|first| letters().any(|letter| letter == first));
    is_letter && rest.all(|c| matches!(c, '.' | ')')) && words.all(is_behind)
}

/// The token of the answer: the only one with text, behind white space, the name of a channel and
/// special tokens that a server may put in front. `None` if the answer goes on, because its first
/// word is then not a letter: "A clear case".
fn answer_position(tokens: &[(String, Alternatives)]) -> Option<&(String, Alternatives)> {
    let mut rest = tokens.iter().skip_while(|(token, _)| is_in_front(token));
    let answer = rest.next()?;
    rest.all(|(token, _)| is_behind(token)).then_some(answer)
}

/// Reads the finding from an answer's tokens, or returns the reason why there is none.
pub(crate) fn read(
    criterion: &Criterion,
    tokens: &[(String, Alternatives)],
) -> Result<CriterionFinding, String> {
    let weights = letter_weights(criterion.levels.len(), tokens)?
        .ok_or("the answer has no `logprobs`, which `scoring = \"expected\"` needs")?;
    weighted(criterion, weights)
}

/// The probabilities of the first `count` letters at the answer's position; `None` if the endpoint
/// gives no probabilities.
pub(crate) fn letter_weights(
    count: usize,
    tokens: &[(String, Alternatives)],
) -> Result<Option<Vec<f64>>, String> {
    if tokens.iter().all(|(_, alternatives)| alternatives.is_empty()) {
        return Ok(None);
    }
    let index =
        |token: &str| letters().take(count).position(|letter| token.trim() == letter.to_string());
    let Some((_, alternatives)) =
        answer_position(tokens).filter(|(token, _)| index(token).is_some())
    else {
        return Err("the answer is not one of the letters".to_owned());
    };
    let mut weights = vec![0.0; count];
    for (token, log) in alternatives {
        if let Some(weight) = index(token).and_then(|index| weights.get_mut(index)) {
            *weight += log.exp();
        }
    }
    let mass: f64 = weights.iter().sum();
    if mass.is_nan() || mass < LEAST_MASS {
        return Err(format!(
            "the letters together have a probability of {mass:.2}, too low for an answer"
        ));
    }
    for weight in &mut weights {
        *weight /= mass;
    }
    Ok(Some(weights))
}

/// The finding with the probability of each level.
pub(crate) fn weighted(
    criterion: &Criterion,
    weights: Vec<f64>,
) -> Result<CriterionFinding, String> {
    let likeliest =
        weights.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(index, _)| index);
    let level = likeliest
        .and_then(|index| criterion.levels.get(index))
        .ok_or("the criterion has no levels")?;
    Ok(CriterionFinding {
        id: criterion.id.clone(),
        level: level.name.clone(),
        evidence: None,
        weights: Some(weights),
        reply: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::verdict::tests::rubric;

    fn token(token: &str, alternatives: &[(&str, f64)]) -> (String, Alternatives) {
        (
            token.to_owned(),
            alternatives.iter().map(|(token, p)| ((*token).to_owned(), p.ln())).collect(),
        )
    }

    #[test]
    fn weights_are_those_of_the_letters_renormalised() {
        let rubric = rubric();
        // "d" has three levels; the endpoint's grammar was not in these numbers.
        let tokens = [
            token(" ", &[(" ", 0.9)]),
            token(
                "B",
                &[("B", 0.3), (" B", 0.1), ("A", 0.2), ("C", 0.2), ("The", 0.1), ("D", 0.1)],
            ),
        ];
        let found = read(&rubric.criteria[0], &tokens).unwrap();
        assert_eq!(found.level, "bit");
        let weights = found.weights.unwrap();
        for (weight, wanted) in weights.iter().zip([0.25, 0.5, 0.25]) {
            assert!((weight - wanted).abs() < 1e-9, "{weights:?}");
        }
    }

    #[test]
    fn tokens_that_are_not_letters_give_no_finding() {
        let rubric = rubric();
        let read =
            |tokens: &[(String, Alternatives)]| read(&rubric.criteria[0], tokens).unwrap_err();
        assert!(read(&[token("B", &[])]).contains("logprobs"));
        assert!(read(&[token("The", &[("The", 1.0)])]).contains("not one of the letters"));
        assert!(read(&[token("A", &[("A", 0.2), ("The", 0.7)])]).contains("too low for an answer"));
        assert!(read(&[token("A", &[("A", f64::NAN)])]).contains("too low for an answer"));
        assert!(read(&[]).contains("logprobs"));
    }

    const FRONT: [&str; 6] = ["", " ", "\n", "<|channel|>", "final", "<|message|>"];
    const BEHIND: [&str; 6] = ["", "\n", ".", ")", "<|im_end|>", "</s>"];
    const WORDS: [&str; 9] = ["A", " B", "C", "nalysis", " clear", " case", ":", "The", "D"];

    /// The text of an answer without the tokens that a server puts around it, found in the text
    /// instead of the tokens.
    fn bare(text: &str) -> String {
        let mut text = text.replace("</s>", " ");
        while let Some((before, rest)) = text.split_once("<|") {
            let behind = rest.split_once("|>").map_or("", |(_, behind)| behind);
            text = format!("{before} {behind}");
        }
        let mut text = text.trim();
        while let Some(rest) = text.strip_prefix("final") {
            text = rest.trim();
        }
        text.trim_end_matches(['.', ')', ' ', '\n']).to_owned()
    }

    proptest::proptest! {
        /// Streams of tokens: an answer is read only from a stream that holds one letter and
        /// nothing else, and the level is that of the answer's own position.
        #[test]
        fn only_the_answer_position_is_read(
            front in proptest::collection::vec(0..FRONT.len(), 0..4),
            words in proptest::collection::vec(0..WORDS.len(), 0..4),
            behind in proptest::collection::vec(0..BEHIND.len(), 0..3),
            likeliest in 0..3_usize,
        ) {
            let rubric = rubric();
            let criterion = &rubric.criteria[0];
            // Other positions are as sure of another letter.
            let decoy = [("A", 0.34), ("B", 0.33), ("C", 0.33)];
            let mut own = [("A", 0.1), ("B", 0.1), ("C", 0.1)];
            own[likeliest].1 = 0.8;
            let parts = |indices: &[usize], list: &[&'static str]| -> Vec<&'static str> {
                indices.iter().map(|index| list[*index]).collect()
            };
            let (front, words) = (parts(&front, &FRONT), parts(&words, &WORDS));
            let behind = parts(&behind, &BEHIND);
            let tokens: Vec<_> = front.iter().map(|text| token(text, &decoy))
                .chain(words.iter().map(|text| token(text, &own)))
                .chain(behind.iter().map(|text| token(text, &decoy)))
                .collect();
            let text: String = tokens.iter().map(|(text, _)| text.as_str()).collect();
            let is_answer = matches!(bare(&text).as_str(), "A" | "B" | "C") && words.len() == 1;
            match read(criterion, &tokens) {
                Ok(found) => {
                    proptest::prop_assert!(is_answer, "{:?}", text);
                    proptest::prop_assert_eq!(&found.level, &criterion.levels[likeliest].name);
                    proptest::prop_assert!(is_letter(&text), "{:?}", text);
                }
                Err(_) => {
                    // Marks directly behind a channel's name are no answer either.
                    let plain = front.iter().all(|text| text.trim().is_empty());
                    proptest::prop_assert!(!is_answer || !plain, "{:?}", text);
                }
            }
        }
    }

    #[test]
    fn the_content_has_to_be_a_letter_too() {
        let channel = "<|channel|>finalA";
        for content in
            ["", "A", " B\n", "C.", "D)", "<|channel|>final<|message|>A<|end|>", channel, "A</s>"]
        {
            assert!(is_letter(content), "{content:?}");
        }
        for content in
            ["A clear case: C", "Analysis", "The", "AB", "A A", "a", "A: no", "final answer A"]
        {
            assert!(!is_letter(content), "{content:?}");
        }
    }

    #[test]
    fn every_level_has_a_letter() {
        let words = form(&rubric().criteria[0]);
        assert!(words.contains("A = no, B = bit, C = yes"), "{words}");
    }
}

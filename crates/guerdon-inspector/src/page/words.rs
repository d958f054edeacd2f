//! Abstentions in sentences.

use guerdon_types::{AbstainEffect, AbstainWhy, Abstention, Word};

/// The sentence of an abstention, without its detail.
pub(crate) fn sentence(abstention: &Abstention) -> String {
    let why = match &abstention.why {
        Word::Known(why) => reason(*why).to_owned(),
        Word::Other(word) => format!("it gave the reason “{word}”"),
    };
    let effect = match &abstention.effect {
        Some(Word::Known(AbstainEffect::Dropped)) => {
            " The rubric was left out for the whole group."
        }
        Some(Word::Known(AbstainEffect::Worst)) => " The worst verdict was counted instead.",
        Some(Word::Known(AbstainEffect::Audit)) => {
            " The source is only audited, so the reward does not depend on it."
        }
        _ => "",
    };
    let about = abstention.prompt.as_ref().map(|prompt| format!(" on the rubric {prompt}"));
    format!("{} gave no number{}: {why}.{effect}", abstention.source, about.unwrap_or_default())
}

const fn reason(why: AbstainWhy) -> &'static str {
    match why {
        AbstainWhy::Deadline => "the request's deadline came first",
        AbstainWhy::RateLimited => "a rate limit or a budget refused the question",
        AbstainWhy::Overloaded => "its queue was full",
        AbstainWhy::Unreachable => "its endpoint could not be reached",
        AbstainWhy::EndpointError => "its endpoint answered with an error",
        AbstainWhy::Refused => "the model refused to answer",
        AbstainWhy::Truncated => "the answer was cut off",
        AbstainWhy::Malformed => "the answer did not have the agreed form",
        AbstainWhy::Ambiguous => "the answer allowed more than one reading",
        AbstainWhy::TooLong => "the text is longer than it reads",
        AbstainWhy::NotFinite => "its number was not finite",
        AbstainWhy::MissingContext => "the rollout's context lacks a fact that it needs",
        AbstainWhy::Coordination => "the store that replicas share did not answer",
        AbstainWhy::Internal => "it failed inside guerdon",
        _ => "see its detail",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentence_names_the_source_and_the_reason() {
        let abstention: Abstention = serde_json::from_str(
            r#"{"source": "judge", "why": "deadline", "detail": "d", "prompt": "tone", "effect": "worst"}"#,
        )
        .unwrap();
        assert_eq!(
            sentence(&abstention),
            "judge gave no number on the rubric tone: the request's deadline came first. The worst verdict was \
             counted instead."
        );
        let later: Abstention =
            serde_json::from_str(r#"{"source": "x", "why": "eclipse", "detail": ""}"#).unwrap();
        assert!(sentence(&later).contains("“eclipse”"));
    }
}

//! The judge over many rollouts: can it still be trusted, and what does it cost?

use std::collections::BTreeMap;

use super::pearson::Pearson;
use crate::record::Record;
use crate::spans::find_quote;

/// The judge in numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct JudgeSummary {
    /// Turns with an answer of the judge.
    pub(crate) turns: usize,
    /// Those answered from the cache.
    pub(crate) cached: usize,
    /// The models, with their answers.
    pub(crate) models: BTreeMap<String, usize>,
    /// The criteria, by `prompt/criterion`.
    pub(crate) criteria: BTreeMap<String, CriterionSummary>,
    /// The abstentions of the judge, by reason.
    pub(crate) abstained: BTreeMap<String, usize>,
    /// The rollouts that were read.
    pub(crate) rollouts: usize,
    /// The cost of those whose cost is stored.
    pub(crate) cost: Option<f64>,
    /// The calls of those whose calls are stored.
    pub(crate) calls: Option<u64>,
}

/// A criterion in numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct CriterionSummary {
    /// The levels, with the verdicts that chose them.
    pub(crate) levels: BTreeMap<String, usize>,
    /// The verdicts.
    pub(crate) verdicts: usize,
    /// The sum of the points.
    pub(crate) points: f64,
    /// The verdicts with a quote whose dialogue is stored.
    pub(crate) quotes: usize,
    /// Those whose quote is in the dialogue up to the turn.
    pub(crate) found: usize,
    /// The correlation of the points with the length of the reply.
    pub(crate) length: Option<f64>,
}

/// The judge over these rollouts.
pub(crate) fn judge(records: &[Record]) -> JudgeSummary {
    let mut summary = JudgeSummary { rollouts: records.len(), ..JudgeSummary::default() };
    let mut lengths: BTreeMap<String, Pearson> = BTreeMap::new();
    for record in records {
        if let Some(cost) = record.cost {
            summary.cost = Some(summary.cost.unwrap_or(0.0) + cost);
        }
        if let Some(calls) = record.judge_calls {
            summary.calls = Some(summary.calls.unwrap_or(0) + calls);
        }
        for turn in &record.result.turns {
            for one in turn.abstained.iter().filter(|one| one.source.as_str() == "judge") {
                *summary.abstained.entry(one.why.as_str().to_owned()).or_default() += 1;
            }
            let Some(part) = &turn.judge else { continue };
            summary.turns += 1;
            summary.cached += usize::from(part.cached);
            *summary.models.entry(part.model.clone()).or_default() += 1;
            let messages = record.messages.as_deref().and_then(|all| all.get(..=turn.index));
            for verdict in &part.criteria {
                let name = format!("{}/{}", verdict.prompt, verdict.id);
                let own = summary.criteria.entry(name.clone()).or_default();
                *own.levels.entry(verdict.level.clone()).or_default() += 1;
                own.verdicts += 1;
                own.points += verdict.points.get();
                if let (Some(quote), Some(messages)) = (&verdict.evidence, messages) {
                    own.quotes += 1;
                    let is_found = messages
                        .iter()
                        .any(|message| find_quote(&message.content, quote).is_some());
                    own.found += usize::from(is_found);
                }
                if let Some(reply) = messages.and_then(<[_]>::last) {
                    let length = length(&reply.content);
                    lengths.entry(name).or_default().add(verdict.points.get(), length);
                }
            }
        }
    }
    for (name, pearson) in lengths {
        if let Some(own) = summary.criteria.get_mut(&name) {
            own.length = pearson.correlation();
        }
    }
    summary
}

#[expect(clippy::cast_precision_loss, reason = "a text has far fewer than 2^52 characters")]
fn length(text: &str) -> f64 {
    text.chars().count() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_results;

    #[test]
    fn quotes_are_looked_up_in_the_dialogue() {
        let line = |quote: &str| {
            serde_json::json!({
                "id": "a", "reward": 1, "messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "We meet at 420."}],
                "turns": [{"index": 1, "reward": 1, "enhancement": 5, "abstained": [{"source": "judge", "why": "deadline", "detail": ""}],
                    "judge": {"points": 5, "cached": true, "model": "m", "criteria": [
                        {"prompt": "p", "id": "c", "level": "good", "points": 5, "evidence": quote}]}}]
            })
        };
        let text = format!("{}\n{}\n", line("meet at 420"), line("never said"));
        let found = judge(&read_results("f", &text).unwrap());
        let criterion = &found.criteria["p/c"];
        assert_eq!((criterion.quotes, criterion.found, criterion.verdicts), (2, 1, 2));
        assert_eq!((found.turns, found.cached, found.abstained["deadline"]), (2, 2, 2));
        assert_eq!((found.cost, criterion.length), (None, None));
    }
}

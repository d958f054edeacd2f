//! The results of all prompts about one turn, as one signal.

use std::collections::BTreeMap;

use guerdon_types::{AbstainWhy, Abstention, Finite, JudgePart, Part, Signal, SourceId, Usage};

use crate::ask::verdict::RubricVerdict;

/// The result of one prompt about one turn.
pub(crate) struct RubricOutcome {
    /// The prompt; `None` for an empty turn, about which no prompt is asked.
    pub(crate) prompt: Option<String>,
    pub(crate) verdict: Result<RubricVerdict, Abstention>,
    /// Criteria that could not be asked, although others were.
    pub(crate) missing: Vec<Abstention>,
    pub(crate) usage: Usage,
    /// True if all answers came from the cache; `None` if no question was asked.
    pub(crate) cached: Option<bool>,
    pub(crate) model: Option<String>,
}

impl RubricOutcome {
    /// A verdict for which no judge was asked.
    pub(crate) fn without_call(verdict: RubricVerdict) -> Self {
        let (missing, usage) = (Vec::new(), Usage::default());
        Self { prompt: None, verdict: Ok(verdict), missing, usage, cached: None, model: None }
    }
}

/// One signal of all prompts: the criteria of those that answered, and the names of those that
/// did not.
pub(crate) fn joint_signal(judged: Vec<RubricOutcome>, models: impl FnOnce() -> String) -> Signal {
    let mut usage = Usage::default();
    let mut abstained = Vec::new();
    let mut criteria = Vec::new();
    let mut points = 0.0;
    let mut answered = false;
    let mut cached: Option<bool> = None;
    let mut model = None;
    for one in judged {
        usage.add(&one.usage);
        abstained.extend(one.missing);
        match one.verdict {
            Ok(verdict) => {
                answered = true;
                points += verdict.points();
                criteria.extend(verdict.criteria);
                let struck = verdict.struck.into_iter();
                abstained.extend(struck.map(|detail| {
                    let prompt = one.prompt.clone();
                    Abstention { prompt, ..abstention(AbstainWhy::Malformed, detail) }
                }));
                cached = match (cached, one.cached) {
                    (Some(all), Some(this)) => Some(all && this),
                    (all, this) => all.or(this),
                };
                model = model.or(one.model);
            }
            Err(why_not) => abstained.push(why_not),
        }
    }
    let part = match Finite::new(points) {
        Ok(points) if answered => Some(Part::Judge(JudgePart {
            points,
            criteria,
            cached: cached.unwrap_or(false),
            model: model.unwrap_or_else(models),
            group: None,
            asked: BTreeMap::new(),
        })),
        Ok(_) => None,
        Err(_) => {
            abstained.push(abstention(
                AbstainWhy::NotFinite,
                "the sum of the criteria's points is not finite",
            ));
            None
        }
    };
    let mut signals = abstained.into_iter();
    let signal =
        match part {
            Some(part) => Signal::scored(part),
            // Not answered means that each prompt left its reason, and there is at least one
            // prompt.
            None => Signal::abstained(signals.next().unwrap_or_else(|| {
                abstention(AbstainWhy::Internal, "no judge prompt was answered")
            })),
        };
    signal.and_abstained(signals).with_usage(usage)
}

/// An abstention of the judge.
pub(crate) fn abstention(why: AbstainWhy, detail: impl Into<String>) -> Abstention {
    Abstention::new(SourceId::judge(), why, detail)
}

//! The rule packs as a reward source.

use std::sync::Arc;
use std::time::Instant;

use guerdon_fusion::{Ask, BoxFuture, Channel, RewardSource, SourceVersion};
use guerdon_types::{AbstainWhy, Abstained, Part, RulesPart, Signal, SourceId};

use crate::RulePacks;

/// Rule packs that score.
#[derive(Debug)]
pub struct RulesSource {
    id: SourceId,
    packs: Arc<RulePacks>,
}

impl RulesSource {
    /// Scores with `packs`.
    #[must_use]
    pub fn new(packs: Arc<RulePacks>) -> Self {
        Self { id: SourceId::rules(), packs }
    }
}

impl RewardSource for RulesSource {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn channel(&self) -> Channel {
        Channel::Rules
    }

    fn about(&self) -> String {
        let summaries = self.packs.summaries();
        let rules: usize = summaries.iter().map(|pack| pack.rules.len()).sum();
        let names: Vec<&str> = summaries.iter().map(|pack| pack.id.as_str()).collect();
        format!("{rules} rules in {} packs: {}", names.len(), names.join(", "))
    }

    fn version(&self) -> SourceVersion {
        SourceVersion::Texts(self.packs.versions())
    }

    fn score<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Vec<Signal>> {
        Box::pin(async move {
            if ask.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                let detail = "the deadline passed before the rules were run";
                let late = || Abstained::new(self.id.clone(), AbstainWhy::Deadline, detail);
                return ask.turns.iter().map(|_| Signal::abstained(late())).collect();
            }
            let evaluations = self.packs.evaluate_turns(ask.rollout, ask.turns);
            evaluations.into_iter().map(|evaluation| self.signal(evaluation.part)).collect()
        })
    }
}

impl RulesSource {
    fn signal(&self, part: RulesPart) -> Signal {
        // One entry for the turn: the rules themselves are listed in the part.
        let undecided: Vec<String> = part
            .abstained
            .iter()
            .map(|rule| format!("{}/{}: {}", rule.pack, rule.rule, rule.detail))
            .collect();
        let abstained = (!undecided.is_empty()).then(|| {
            Abstained::new(self.id.clone(), AbstainWhy::MissingContext, undecided.join("; "))
        });
        Signal::scored(Part::Rules(part)).and_abstained(abstained)
    }
}

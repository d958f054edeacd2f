//! The rule packs as a reward source.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use guerdon_fusion::{Ask, BoxFuture, Channel, RewardSource, SourceVersion};
use guerdon_types::{AbstainWhy, Abstention, Part, RulesPart, Signal, SourceId};

use crate::RulePacks;
use crate::engine::eval::{self, DialogueTexts, TurnView};

/// The source yields to the executor after turns of this many bytes together, about 10 ms of work.
const BYTES_BETWEEN_YIELDS: usize = 32 * 1024;

/// A reward source that scores with rule packs.
#[derive(Debug)]
pub struct RulesSource {
    id: SourceId,
    packs: Arc<RulePacks>,
}

impl RulesSource {
    /// A source that scores with `packs`.
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
            let dialogue = DialogueTexts::new(self.packs.plan(), ask.rollout);
            let mut signals = Vec::with_capacity(ask.turns.len());
            let mut bytes = 0;
            for turn in ask.turns {
                signals.push(self.score_turn(&dialogue, *turn, ask.deadline));
                bytes += ask.rollout.messages.get(*turn).map_or(0, |message| message.content.len());
                if bytes >= BYTES_BETWEEN_YIELDS {
                    bytes = 0;
                    yield_now().await;
                }
            }
            signals
        })
    }
}

/// Yields to the other futures of the executor. This crate depends on no runtime that has such a
/// function.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|task| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        task.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl RulesSource {
    fn score_turn(
        &self,
        dialogue: &DialogueTexts<'_>,
        turn: usize,
        deadline: Option<Instant>,
    ) -> Signal {
        let scene = TurnView::new(dialogue, turn);
        match eval::evaluate(self.packs.plan(), &scene, deadline) {
            Some(evaluation) => self.signal(evaluation.part),
            None => self.late(),
        }
    }

    fn late(&self) -> Signal {
        let detail = "the deadline passed before all rules had run";
        Signal::abstained(Abstention::new(self.id.clone(), AbstainWhy::Deadline, detail))
    }

    fn signal(&self, part: RulesPart) -> Signal {
        // One entry for the turn. The part lists the rules.
        let undecided: Vec<String> = part
            .abstained
            .iter()
            .map(|rule| format!("{}/{}: {}", rule.pack, rule.rule, rule.detail))
            .collect();
        let abstained = (!undecided.is_empty()).then(|| {
            Abstention::new(self.id.clone(), AbstainWhy::MissingContext, undecided.join("; "))
        });
        Signal::scored(Part::Rules(part)).and_abstained(abstained)
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};
    use std::time::Duration;

    use guerdon_types::{Message, Role, Rollout};

    use super::*;
    use crate::SourceText;

    fn source() -> RulesSource {
        let text = "pack: p\nrules:\n  - { id: a, points: -1, match: { any_of: [a] } }\n".into();
        let pack = SourceText { name: "p.yaml".into(), text };
        RulesSource::new(Arc::new(RulePacks::compile(&[pack]).unwrap().0))
    }

    fn rollout(turns: usize, bytes: usize) -> Rollout {
        let message = Message::new(Role::Assistant, "a".repeat(bytes));
        Rollout { messages: vec![message; turns], ..Rollout::default() }
    }

    #[test]
    fn every_turn_after_the_deadline_abstains() {
        let (source, rollout) = (source(), rollout(2, 1));
        let mut scores = source.score(Ask::new(&rollout, &[0, 1], Some(Instant::now())));
        let Poll::Ready(signals) = scores.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        else {
            panic!("two short turns need no yield")
        };
        let reasons: Vec<_> =
            signals.iter().map(|signal| signal.abstained[0].why.known()).collect();
        assert_eq!(reasons, [Some(AbstainWhy::Deadline); 2]);
        assert!(signals.iter().all(|signal| signal.part.is_none()));
    }

    #[test]
    fn long_turns_yield_to_the_executor_and_are_all_scored() {
        let (source, rollout) = (source(), rollout(3, BYTES_BETWEEN_YIELDS));
        let deadline = Instant::now() + Duration::from_secs(600);
        let mut scores = source.score(Ask::new(&rollout, &[0, 1, 2], Some(deadline)));
        let mut task = Context::from_waker(Waker::noop());
        let mut yields = 0;
        let signals = loop {
            match scores.as_mut().poll(&mut task) {
                Poll::Pending => yields += 1,
                Poll::Ready(signals) => break signals,
            }
        };
        assert_eq!((yields, signals.len()), (3, 3));
        assert!(signals.iter().all(|signal| signal.part.is_some() && signal.abstained.is_empty()));
    }
}

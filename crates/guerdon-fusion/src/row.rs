//! One turn in the scorer: collects the signals of all sources and finishes with the turn's result.

use guerdon_types::{Finite, Part, Signal, TurnResult, Usage};

use crate::{Channel, RewardSource, Standing, TurnSignals, WorstVerdict};

/// One turn while its sources answer: the numbers for the fusion, and the result without its
/// reward.
pub(crate) struct TurnRow {
    pub(crate) signals: TurnSignals,
    pub(crate) reply: TurnResult,
}

impl TurnRow {
    pub(crate) fn new(index: usize) -> Self {
        let reply = TurnResult {
            index,
            reward: None,
            enhancement: None,
            rm: None,
            judge: None,
            rules: None,
            other: std::collections::BTreeMap::new(),
            abstained: Vec::new(),
            beside: None,
        };
        Self { signals: TurnSignals::default(), reply }
    }

    pub(crate) fn enter(&mut self, source: &dyn RewardSource, signal: Signal, usage: &mut Usage) {
        self.signals.enter(source.channel(), Standing::of(&signal));
        if let Some(part) = signal.part {
            self.signals.vetoed |= part.vetoes();
            match part {
                Part::Rm(part) => self.reply.rm = Some(part),
                Part::Judge(part) => self.reply.judge = Some(part),
                Part::Rules(part) => self.reply.rules = Some(part),
                Part::Other(part) => {
                    self.reply.other.insert(source.id().clone(), part);
                }
                // `Part` is non_exhaustive. A kind of a later version counts, but the result has no
                // field for it.
                _ => {}
            }
        }
        self.reply.abstained.extend(signal.abstained);
        usage.add(&signal.usage);
    }

    /// Counts the worst verdict in place of a missing one.
    pub(crate) fn enter_worst(&mut self, channel: Channel, verdict: WorstVerdict) {
        self.signals.enter(channel, Standing::Scored(verdict.points.get()));
        self.signals.vetoed |= verdict.veto;
    }

    pub(crate) fn finish(mut self, fusion: &guerdon_types::FusionConfig) -> TurnResult {
        let bound = fusion.bound.get();
        self.reply.enhancement =
            self.signals.points().and_then(|p| Finite::new(crate::enhancement(p, bound)).ok());
        self.reply.reward =
            crate::fuse(&self.signals, fusion).and_then(|reward| Finite::new(reward).ok());
        self.reply
    }
}

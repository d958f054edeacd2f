//! The signals of one turn side by side. A missing cell is `None`, with its reason in `abstained`; never 0.0.

use guerdon_types::{Finite, Part, Signal, TurnResult, Usage};

use crate::Channel;

/// What entered the fusion for one turn: one cell a channel.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct TurnSignals {
    /// The RM's calibrated score.
    pub rm: Option<f64>,
    /// The judge's points.
    pub judge: Option<f64>,
    /// The rules' points.
    pub rules: Option<f64>,
    /// The points of strangers' sources, summed.
    pub other: Option<f64>,
    /// Whether anything marked `veto` fired.
    pub vetoed: bool,
    /// Whether a source other than the RM left something unsaid.
    pub incomplete: bool,
}

impl TurnSignals {
    /// Judge, rules and others together; `None` if none of them spoke.
    #[must_use]
    pub fn points(&self) -> Option<f64> {
        [self.judge, self.rules, self.other].into_iter().flatten().reduce(|sum, points| sum + points)
    }

    fn enter(&mut self, channel: Channel, value: f64) {
        let cell = match channel {
            Channel::Base => &mut self.rm,
            Channel::Judge => &mut self.judge,
            Channel::Rules => &mut self.rules,
            Channel::Other => &mut self.other,
        };
        *cell = Some(cell.unwrap_or(0.0) + value);
    }
}

/// One turn's row: the numbers for the fusion, and the reply with its parts but no reward yet.
pub(crate) struct Row {
    pub(crate) signals: TurnSignals,
    pub(crate) reply: TurnResult,
}

impl Row {
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
        };
        Self { signals: TurnSignals::default(), reply }
    }

    pub(crate) fn enter(&mut self, source: &dyn crate::RewardSource, signal: Signal, usage: &mut Usage) {
        let channel = source.channel();
        if let Some(part) = signal.part {
            self.signals.vetoed |= part.vetoes();
            self.signals.enter(channel, part.value());
            match part {
                Part::Rm(part) => self.reply.rm = Some(part),
                Part::Judge(part) => self.reply.judge = Some(part),
                Part::Rules(part) => self.reply.rules = Some(part),
                Part::Other(part) => {
                    self.reply.other.insert(source.id().clone(), part);
                }
                // A part of a later version of the vocabulary still counts; this reply has no place to show it.
                _ => {}
            }
        }
        self.signals.incomplete |= channel != Channel::Base && !signal.abstained.is_empty();
        self.reply.abstained.extend(signal.abstained);
        usage.add(&signal.usage);
    }

    pub(crate) fn finish(mut self, fusion: &guerdon_types::FusionConfig) -> TurnResult {
        let bound = fusion.bound.get();
        self.reply.enhancement =
            self.signals.points().and_then(|p| Finite::new(crate::enhancement(p, bound)).ok());
        self.reply.reward = crate::fuse(&self.signals, fusion).and_then(|reward| Finite::new(reward).ok());
        self.reply
    }
}

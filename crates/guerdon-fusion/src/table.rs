//! The standings of the sources that were asked about one turn, by channel.

use crate::{Channel, Standing};

/// The inputs of the fusion for one turn. A channel is `None` if no source of it was asked; a
/// source that was asked and gave no number is [`Standing::Silent`], with its reason in the
/// result's `abstained`.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct TurnSignals {
    /// The RM's calibrated score.
    pub rm: Option<Standing>,
    /// The judge's points.
    pub judge: Option<Standing>,
    /// The rules' points.
    pub rules: Option<Standing>,
    /// The points of sources of all other kinds, summed.
    pub other: Option<Standing>,
    /// Set when a rule or criterion marked `veto` fired.
    pub vetoed: bool,
    /// Set when a source with the role `gate` vetoed. The reward is then at most the floor in every
    /// method.
    pub gated: bool,
    /// Set when an abstention leaves the turn without a reward, with `on_abstain` by cause.
    pub void: bool,
    /// The points of each source of the channels that have several.
    pub(crate) several: Vec<(Channel, f64)>,
}

impl TurnSignals {
    /// The points of judge, rules and other sources together; `None` if none of them answered.
    #[must_use]
    pub fn points(&self) -> Option<f64> {
        let values = self.enhancing().filter_map(Standing::value);
        values.reduce(|sum, points| sum + points)
    }

    /// Adds the standing of a source that was asked.
    pub fn enter(&mut self, channel: Channel, standing: Standing) {
        if let (Some(before), false) = (self.of(channel), channel == Channel::Base) {
            if !self.several.iter().any(|(of, _)| *of == channel) {
                self.several.extend(before.value().map(|points| (channel, points)));
            }
            self.several.extend(standing.value().map(|points| (channel, points)));
            // Sums depend on their order, which must not depend on that of the sources.
            self.several.sort_by(|(_, one), (_, other)| one.total_cmp(other));
        }
        let cell = match channel {
            Channel::Base => &mut self.rm,
            Channel::Judge => &mut self.judge,
            Channel::Rules => &mut self.rules,
            Channel::Other => &mut self.other,
        };
        *cell = Some(cell.map_or(standing, |others| others.and(standing)));
    }

    /// The points of each source of a channel that answered.
    pub(crate) fn points_of(
        &self,
        channel: Channel,
    ) -> impl Iterator<Item = f64> + Clone + use<'_> {
        let own =
            self.several.iter().filter(move |(of, _)| *of == channel).map(|(_, points)| *points);
        let single = match own.clone().next() {
            Some(_) => None,
            None => self.of(channel).and_then(Standing::value),
        };
        own.chain(single)
    }

    const fn of(&self, channel: Channel) -> Option<Standing> {
        match channel {
            Channel::Base => self.rm,
            Channel::Judge => self.judge,
            Channel::Rules => self.rules,
            Channel::Other => self.other,
        }
    }

    /// True if a base source was asked and gave no number, or not its whole number. The turn then
    /// has no reward in any fusion method.
    #[must_use]
    pub fn lacks_base(&self) -> bool {
        self.rm.is_some_and(|rm| !rm.is_whole())
    }

    /// True if a source other than the base was asked and abstained, wholly or in part.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.enhancing().any(|standing| !standing.is_whole())
    }

    /// The sources other than the base.
    fn enhancing(&self) -> impl Iterator<Item = Standing> {
        [self.judge, self.rules, self.other].into_iter().flatten()
    }
}

//! The signals of one turn. A missing signal is `None`, with its reason in the result's
//! `abstained`; never 0.0.

use crate::Channel;

/// The inputs of the fusion for one turn, one for each channel.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct TurnSignals {
    /// The RM's calibrated score.
    pub rm: Option<f64>,
    /// The judge's points.
    pub judge: Option<f64>,
    /// The rules' points.
    pub rules: Option<f64>,
    /// The points of sources that guerdon does not ship, summed.
    pub other: Option<f64>,
    /// Set when a rule or criterion marked `veto` fired.
    pub vetoed: bool,
    /// Set when a base source (RM) was asked and abstained. The turn then has no reward in any
    /// fusion method.
    pub base_abstained: bool,
    /// Set when a source other than the RM abstained, wholly or in part.
    pub incomplete: bool,
}

impl TurnSignals {
    /// The points of judge, rules and other sources together; `None` if none of them answered.
    #[must_use]
    pub fn points(&self) -> Option<f64> {
        [self.judge, self.rules, self.other]
            .into_iter()
            .flatten()
            .reduce(|sum, points| sum + points)
    }

    pub(crate) fn enter(&mut self, channel: Channel, value: f64) {
        let cell = match channel {
            Channel::Base => &mut self.rm,
            Channel::Judge => &mut self.judge,
            Channel::Rules => &mut self.rules,
            Channel::Other => &mut self.other,
        };
        *cell = Some(cell.unwrap_or(0.0) + value);
    }
}

//! Health figures for training on several rewards: signs that the policy exploits one of them
//! instead of improving.

use crate::error::{OptimError, require};
use crate::kernel::float::Float;
use crate::kernel::rows::RowMask;

/// The rewards of a batch by source, before fusion: one per rollout (`[B]`), NaN if the source
/// abstained. A source that is not in use is an empty slice.
#[derive(Clone, Copy, Debug, Default)]
pub struct SourceRewards<'a, F> {
    /// The reward model's calibrated score.
    pub rm: &'a [F],
    /// The judge's points.
    pub judge: &'a [F],
    /// The rules' points; negative if a rule failed.
    pub rules: &'a [F],
}

impl<F: Float> SourceRewards<'_, F> {
    pub(crate) fn check(&self, mask: &RowMask<'_>) -> Result<(), OptimError> {
        for (what, part) in [("rm", self.rm), ("judge", self.judge), ("rules", self.rules)] {
            if !part.is_empty() {
                mask.check_rows(what, part.len())?;
            }
        }
        Ok(())
    }
}

/// The thresholds of the figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MonitorConfig {
    /// The bound `n` of the judge's and the rules' points together, above 0. Default 100 (the
    /// paper's).
    pub bound: f64,
    /// The half-width of the dead zone, in units of the reward model, above 0. Within it, judge and
    /// rules change the reward by less than that. Default 0.1.
    pub dead_zone: f64,
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self { bound: 100.0, dead_zone: 0.1 }
    }
}

/// Figures of one reward source over a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SourceReport {
    /// Share of rollouts with a reward from this source, within 0..=1.
    pub scored: f64,
    /// Mean over those rollouts, in the source's units.
    pub mean: f64,
    /// Share of the fused reward's variance explained by this source alone (the squared
    /// correlation), within 0..=1; `None` if either is constant.
    pub variance_share: Option<f64>,
    /// Share of groups, among those with two or more scored rollouts, in which all its rewards are
    /// equal, so that no estimator can learn from it. None without groups.
    pub flat_groups: Option<f64>,
    /// Its short-term mean less its long-term mean over the updates so far, in the source's units;
    /// 0 at the first update.
    pub drift: f64,
}

/// Figures of a batch; `None` if the batch does not define the figure.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct MonitorReport {
    /// Share of rollouts without a reward.
    pub abstained: f64,
    /// Mean of the fused reward.
    pub reward_mean: f64,
    /// Standard deviation of the fused reward (Bessel-corrected).
    pub reward_std: f64,
    /// Correlation of the fused reward with the number of tokens, within -1..=1. Far from 0, the
    /// reward depends on length.
    pub reward_length: Option<f64>,
    /// Share of rollouts whose judge and rule points together reach the bound, beyond which points
    /// have no effect.
    pub saturated: Option<f64>,
    /// Share of rollouts whose reward model score is so near 0 that judge and rules have no effect.
    pub dead_zone: Option<f64>,
    /// Share of rollouts with a failed rule among the tenth with the highest reward model scores. A
    /// high share means that the reward model misses defects that the rules detect.
    pub rule_fails_on_top: Option<f64>,
    /// Set when the reward model's mean rises while the judge's falls, the classic sign of reward
    /// hacking. Not set before the fifth update.
    pub rm_up_judge_down: bool,
    /// The reward model.
    pub rm: SourceReport,
    /// The judge.
    pub judge: SourceReport,
    /// The rules.
    pub rules: SourceReport,
}

/// The state of a monitor between updates, for a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MonitorState {
    /// The updates so far.
    pub updates: usize,
    /// The short-term and the long-term mean of reward model, judge and rules, each in its units;
    /// `None` before its first reward.
    pub trends: [Option<(f64, f64)>; 3],
}

impl MonitorState {
    pub(crate) fn is_finite(&self) -> bool {
        self.trends.iter().flatten().all(|(short, long)| short.is_finite() && long.is_finite())
    }
}

/// Computes the figures of each update and tracks trends over updates.
#[derive(Clone, Debug)]
pub struct RewardMonitor {
    config: MonitorConfig,
    updates: usize,
    trends: [Trend; 3],
    /// A buffer reused from update to update.
    scratch: Vec<f64>,
    order: Vec<usize>,
}

impl RewardMonitor {
    /// A monitor with these thresholds.
    ///
    /// # Errors
    /// [`OptimError::Config`] for a threshold that is not finite and above 0.
    pub fn new(config: MonitorConfig) -> Result<Self, OptimError> {
        let range = "finite and above 0";
        require(config.bound > 0.0 && config.bound.is_finite(), "bound", config.bound, range)?;
        require(
            config.dead_zone > 0.0 && config.dead_zone.is_finite(),
            "dead_zone",
            config.dead_zone,
            range,
        )?;
        Ok(Self {
            config,
            updates: 0,
            trends: [Trend::default(); 3],
            scratch: Vec::new(),
            order: Vec::new(),
        })
    }

    /// The state to be saved.
    pub fn state(&self) -> MonitorState {
        let trends = self.trends.map(|trend| trend.averages);
        MonitorState { updates: self.updates, trends }
    }

    /// Takes up a saved state, which replaces the current one.
    ///
    /// # Errors
    /// [`OptimError::Config`] for a mean that is not finite.
    pub fn restore(&mut self, state: &MonitorState) -> Result<(), OptimError> {
        require(state.is_finite(), "trends", f64::NAN, "finite")?;
        self.updates = state.updates;
        self.trends = state.trends.map(|averages| Trend { averages });
        Ok(())
    }

    /// Computes the figures of one batch from the fused `rewards` (`[B]`, NaN if there is none),
    /// the rewards by source (`parts`), and optionally the groups (`[B]`, equal numbers for the
    /// answers to one prompt).
    ///
    /// # Errors
    /// [`OptimError::Shape`] for a slice that is not `[B]`.
    pub fn watch<F: Float>(
        &mut self,
        mask: &RowMask<'_>,
        rewards: &[F],
        parts: &SourceRewards<'_, F>,
        groups: Option<&[usize]>,
    ) -> Result<MonitorReport, OptimError> {
        mask.check_rows("rewards", rewards.len())?;
        mask.check_rows("groups", groups.map_or(mask.rows(), <[usize]>::len))?;
        parts.check(mask)?;
        self.sort_by_group(groups);
        self.updates += 1;

        let reward = |row: usize| at(rewards, row);
        let length = |row: usize| Some(mask.count(row) as f64);
        let rows = mask.rows();
        let own = PairMoments::of(rows, reward, reward);
        let points = |row: usize| match (at(parts.judge, row), at(parts.rules, row)) {
            (None, None) => None,
            (judge, rules) => Some(judge.unwrap_or(0.0) + rules.unwrap_or(0.0)),
        };
        let rm = |row: usize| at(parts.rm, row);
        let mut out = MonitorReport {
            abstained: 1.0 - own.count / rows.max(1) as f64,
            reward_mean: own.mean.0,
            reward_std: (own.squares.0 / (own.count - 1.0).max(1.0)).sqrt(),
            reward_length: PairMoments::of(rows, reward, length).correlation(),
            saturated: share(rows, points, |points| points.abs() >= self.config.bound),
            dead_zone: share(rows, rm, |score| score.abs() < self.config.dead_zone),
            rule_fails_on_top: self.rule_fails_on_top(rows, parts),
            ..MonitorReport::default()
        };
        let batch = BatchRewards { rewards, groups };
        out.rm = self.source_report(0, parts.rm, &batch);
        out.judge = self.source_report(1, parts.judge, &batch);
        out.rules = self.source_report(2, parts.rules, &batch);
        out.rm_up_judge_down = self.updates >= 5 && out.rm.drift > 0.0 && out.judge.drift < 0.0;
        Ok(out)
    }

    /// The figures of one source, `part` (`[B]` or empty), whose trend is number `trend`.
    fn source_report<F: Float>(
        &mut self,
        trend: usize,
        part: &[F],
        batch: &BatchRewards<'_, F>,
    ) -> SourceReport {
        let rows = batch.rewards.len();
        let reward = |row: usize| at(batch.rewards, row);
        let value = |row: usize| at(part, row);
        let own = PairMoments::of(rows, value, value);
        if own.count < 1.0 {
            return SourceReport::default();
        }
        SourceReport {
            scored: own.count / rows.max(1) as f64,
            mean: own.mean.0,
            variance_share: PairMoments::of(rows, value, reward).correlation().map(|r| r * r),
            flat_groups: batch.groups.and_then(|groups| self.flat_groups(groups, part)),
            drift: self.trends[trend].update(own.mean.0),
        }
    }

    fn sort_by_group(&mut self, groups: Option<&[usize]>) {
        self.order.clear();
        if let Some(groups) = groups {
            self.order.extend(0..groups.len());
            self.order.sort_unstable_by_key(|&row| groups[row]);
        }
    }

    fn flat_groups<F: Float>(&self, groups: &[usize], part: &[F]) -> Option<f64> {
        let (mut flat, mut all) = (0_usize, 0_usize);
        for siblings in self.order.chunk_by(|&a, &b| groups[a] == groups[b]) {
            let mut scored = siblings.iter().filter_map(|&row| at(part, row));
            let Some(first) = scored.next() else { continue };
            let (others, unlike) = scored.fold((0, 0), |(n, unlike), x| {
                (n + 1, unlike + usize::from((x - first).abs() > 0.0))
            });
            if others > 0 {
                all += 1;
                flat += usize::from(unlike == 0);
            }
        }
        (all > 0).then(|| flat as f64 / all as f64)
    }

    /// The share of failed rules in the top tenth; rollouts that tie with its last count as top.
    fn rule_fails_on_top<F: Float>(
        &mut self,
        rows: usize,
        parts: &SourceRewards<'_, F>,
    ) -> Option<f64> {
        let both = |row: usize| at(parts.rules, row).and_then(|_| at(parts.rm, row));
        self.scratch.clear();
        self.scratch.extend((0..rows).filter_map(both));
        if self.scratch.is_empty() {
            return None;
        }
        let top = self.scratch.len() - self.scratch.len().div_ceil(10);
        let (_, &mut least, _) = self.scratch.select_nth_unstable_by(top, f64::total_cmp);
        let on_top =
            |row: usize| both(row).filter(|&rm| rm >= least).and_then(|_| at(parts.rules, row));
        share(rows, on_top, |points| points < 0.0)
    }
}

/// The fused rewards of a batch and its groups.
struct BatchRewards<'a, F> {
    rewards: &'a [F],
    groups: Option<&'a [usize]>,
}

/// The number of a row; `None` if it is NaN or infinite, or if the source is not in use.
fn at<F: Float>(part: &[F], row: usize) -> Option<f64> {
    part.get(row).map(|x| x.to_f64()).filter(|x| x.is_finite())
}

/// The share of rows whose number satisfies `condition`, among those that have a number.
fn share(
    rows: usize,
    number: impl Fn(usize) -> Option<f64>,
    condition: impl Fn(f64) -> bool,
) -> Option<f64> {
    let (matching, all) =
        (0..rows).filter_map(number).fold((0_usize, 0_usize), |(matching, all), x| {
            (matching + usize::from(condition(x)), all + 1)
        });
    (all > 0).then(|| matching as f64 / all as f64)
}

/// Moments of the rows that have both of two numbers, by Welford's update.
#[derive(Clone, Copy, Debug, Default)]
struct PairMoments {
    count: f64,
    mean: (f64, f64),
    squares: (f64, f64),
    products: f64,
}

impl PairMoments {
    fn of(rows: usize, x: impl Fn(usize) -> Option<f64>, y: impl Fn(usize) -> Option<f64>) -> Self {
        let mut pairs = Self::default();
        for (x, y) in (0..rows).filter_map(|row| x(row).zip(y(row))) {
            pairs.count += 1.0;
            let step = (x - pairs.mean.0, y - pairs.mean.1);
            pairs.mean.0 += step.0 / pairs.count;
            pairs.mean.1 += step.1 / pairs.count;
            let rest = (x - pairs.mean.0, y - pairs.mean.1);
            pairs.squares.0 += step.0 * rest.0;
            pairs.squares.1 += step.1 * rest.1;
            pairs.products += step.0 * rest.1;
        }
        pairs
    }

    fn correlation(&self) -> Option<f64> {
        let spread = self.squares.0.sqrt() * self.squares.1.sqrt();
        (spread > 0.0).then(|| (self.products / spread).clamp(-1.0, 1.0))
    }
}

/// Two exponential moving averages of a mean, short-term (weight 0.3) and long-term (weight 0.05).
#[derive(Clone, Copy, Debug, Default)]
struct Trend {
    averages: Option<(f64, f64)>,
}

impl Trend {
    /// Adds the mean of an update; returns the short-term average minus the long-term one.
    fn update(&mut self, mean: f64) -> f64 {
        let (short, long) = self.averages.unwrap_or((mean, mean));
        let averages = (short + (mean - short) * 0.3, long + (mean - long) * 0.05);
        self.averages = Some(averages);
        averages.0 - averages.1
    }
}

#[cfg(test)]
mod tests {
    use super::{MonitorConfig, RewardMonitor, SourceRewards};
    use crate::kernel::rows::RowMask;
    use crate::testing::assert_close;

    const NONE: f64 = f64::NAN;

    fn watch(
        monitor: &mut RewardMonitor,
        rewards: &[f64],
        parts: &SourceRewards<'_, f64>,
    ) -> super::MonitorReport {
        let lens: Vec<usize> = (1..=rewards.len()).collect();
        let mask = RowMask::lens(&lens, rewards.len()).unwrap();
        let groups: Vec<usize> = (0..rewards.len()).map(|row| row / 2).collect();
        monitor.watch(&mask, rewards, parts, Some(&groups)).unwrap()
    }

    fn monitor() -> RewardMonitor {
        RewardMonitor::new(MonitorConfig::default()).unwrap()
    }

    #[test]
    fn figures_match_hand_computed_ones() {
        let parts = SourceRewards {
            rm: &[1.0, 1.0, 0.05, -2.0],
            judge: &[-90.0, NONE, 0.0, 0.0],
            rules: &[-20.0, -10.0, 0.0, 0.0],
        };
        let got = watch(&mut monitor(), &[1.0, 2.0, NONE, 3.0], &parts);
        assert_close(&[got.abstained, got.reward_mean, got.reward_std], &[0.25, 2.0, 1.0], 1e-15);
        // Lengths 1, 2, 4 against rewards 1, 2, 3.
        assert_close(&[got.reward_length.unwrap()], &[1.5 / (7.0_f64 / 3.0).sqrt()], 1e-12);
        assert_close(&[got.saturated.unwrap(), got.dead_zone.unwrap()], &[0.25, 0.25], 1e-15);
        // The two best by the reward model tie, and both failed a rule.
        assert_close(&[got.rule_fails_on_top.unwrap()], &[1.0], 1e-15);
        assert_close(
            &[got.rm.flat_groups.unwrap(), got.rules.flat_groups.unwrap()],
            &[0.5, 0.5],
            1e-15,
        );
        assert_close(
            &[got.judge.scored, got.judge.mean, got.judge.flat_groups.unwrap()],
            &[0.75, -30.0, 1.0],
            1e-12,
        );
    }

    #[test]
    fn variance_share_is_one_for_the_reward_itself_and_none_for_a_constant_source() {
        let rewards = [1.0, 2.0, 4.0];
        let parts = SourceRewards { rm: &rewards, judge: &[5.0; 3], rules: &[] };
        let got = watch(&mut monitor(), &rewards, &parts);
        assert_close(&[got.rm.variance_share.unwrap()], &[1.0], 1e-12);
        assert_eq!(
            (got.judge.variance_share, got.rules.variance_share, got.rule_fails_on_top),
            (None, None, None)
        );
    }

    #[test]
    fn a_rising_reward_model_with_a_falling_judge_is_flagged_from_the_fifth_update() {
        let (mut hacked, mut honest) = (monitor(), monitor());
        let mut calls = Vec::new();
        for update in 0..8_u8 {
            let up = f64::from(update);
            let bad = SourceRewards { rm: &[up, up + 1.0], judge: &[-up, -up], rules: &[] };
            let good = SourceRewards { rm: &[up, up + 1.0], judge: &[up, up], rules: &[] };
            calls.push(watch(&mut hacked, &[0.0, 1.0], &bad).rm_up_judge_down);
            assert!(!watch(&mut honest, &[0.0, 1.0], &good).rm_up_judge_down);
        }
        assert_eq!(calls, [false, false, false, false, true, true, true, true]);
    }

    #[test]
    fn a_batch_without_rewards_gives_no_figures_and_no_error() {
        let parts = SourceRewards { rm: &[NONE, NONE], judge: &[], rules: &[] };
        let got = watch(&mut monitor(), &[NONE, NONE], &parts);
        assert_close(&[got.abstained, got.reward_mean, got.reward_std], &[1.0, 0.0, 0.0], 0.0);
        assert_eq!((got.reward_length, got.dead_zone, got.rm.variance_share), (None, None, None));
    }
}

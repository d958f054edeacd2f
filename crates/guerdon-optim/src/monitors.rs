//! What to watch while training on several rewards: signs that the policy learns to please one of them instead of
//! getting better.

use crate::error::{OptimError, require};
use crate::kernel::float::Float;
use crate::kernel::rows::RowMask;

/// The rewards of a batch before they were fused, one a rollout (`[B]`), NaN where the source abstained. A source that
/// is not in use is an empty slice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts<'a, F> {
    /// The reward model's calibrated score.
    pub rm: &'a [F],
    /// The judge's points.
    pub judge: &'a [F],
    /// The rules' points: negative where one failed.
    pub rules: &'a [F],
}

impl<F: Float> Parts<'_, F> {
    fn check(&self, mask: &RowMask<'_>) -> Result<(), OptimError> {
        for (what, part) in [("rm", self.rm), ("judge", self.judge), ("rules", self.rules)] {
            if !part.is_empty() {
                mask.check_rows(what, part.len())?;
            }
        }
        Ok(())
    }
}

/// The limits that shares are counted against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MonitorConfig {
    /// The bound `n` of judge and rules together, in points, above 0. Default 100 (the paper's).
    pub bound: f64,
    /// The half-width of the dead zone, in units of the reward model, above 0: within it, judge and rules move the
    /// reward by less than that. Default 0.1.
    pub dead_zone: f64,
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self { bound: 100.0, dead_zone: 0.1 }
    }
}

/// One reward source over a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PartMonitor {
    /// Share of rollouts that it scored, within 0..=1.
    pub scored: f64,
    /// Mean over those, in its own units.
    pub mean: f64,
    /// Share of the fused reward's variance that it explains alone (the squared correlation), within 0..=1; none where
    /// either does not vary.
    pub variance_share: Option<f64>,
    /// Share of groups, of those with two or more scored rollouts, in which it says the same of all of them: no
    /// estimator can learn from it there. None without groups.
    pub flat_groups: Option<f64>,
    /// Its mean of late less its mean of long, in its own units, over the updates so far; 0 at first.
    pub drift: f64,
}

/// A batch as the monitors see it. A figure that this batch cannot give is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Monitors {
    /// Share of rollouts without a reward.
    pub abstained: f64,
    /// Mean fused reward.
    pub reward_mean: f64,
    /// Its deviation (Bessel-corrected).
    pub reward_std: f64,
    /// Correlation of the fused reward with the number of tokens, within -1..=1. Far from 0, length is being paid for.
    pub reward_length: Option<f64>,
    /// Share of rollouts whose judge and rule points together reach the bound, so that more would not count.
    pub saturated: Option<f64>,
    /// Share of rollouts whose reward model is so near 0 that judge and rules have no say.
    pub dead_zone: Option<f64>,
    /// Share of rollouts with a failed rule among the tenth that the reward model likes best. High: it is blind to
    /// what the rules see.
    pub rule_fails_on_top: Option<f64>,
    /// The reward model's mean is rising while the judge's falls: the classic sign of reward hacking. Never before
    /// the fifth update.
    pub rm_up_judge_down: bool,
    /// The reward model.
    pub rm: PartMonitor,
    /// The judge.
    pub judge: PartMonitor,
    /// The rules.
    pub rules: PartMonitor,
}

/// Watches one update after another.
#[derive(Clone, Debug)]
pub struct Monitor {
    config: MonitorConfig,
    updates: usize,
    trends: [Trend; 3],
    /// Reused from update to update.
    scratch: Vec<f64>,
    order: Vec<usize>,
}

impl Monitor {
    /// Watches against these limits.
    ///
    /// # Errors
    /// [`OptimError::Config`] for a limit that is not finite and above 0.
    pub fn new(config: MonitorConfig) -> Result<Self, OptimError> {
        let law = "finite and above 0";
        require(config.bound > 0.0 && config.bound.is_finite(), "bound", config.bound, law)?;
        require(
            config.dead_zone > 0.0 && config.dead_zone.is_finite(),
            "dead_zone",
            config.dead_zone,
            law,
        )?;
        Ok(Self {
            config,
            updates: 0,
            trends: [Trend::default(); 3],
            scratch: Vec::new(),
            order: Vec::new(),
        })
    }

    /// Looks at one batch: fused `rewards` (`[B]`, NaN where there is none), its parts, and its groups where there are
    /// any (`[B]`, equal numbers for the answers to one prompt).
    ///
    /// # Errors
    /// [`OptimError::Shape`] for a slice that is not `[B]`.
    pub fn watch<F: Float>(
        &mut self,
        mask: &RowMask<'_>,
        rewards: &[F],
        parts: &Parts<'_, F>,
        groups: Option<&[usize]>,
    ) -> Result<Monitors, OptimError> {
        mask.check_rows("rewards", rewards.len())?;
        mask.check_rows("groups", groups.map_or(mask.rows(), <[usize]>::len))?;
        parts.check(mask)?;
        self.sort_by_group(groups);
        self.updates += 1;

        let reward = |row: usize| at(rewards, row);
        let length = |row: usize| Some(mask.count(row) as f64);
        let rows = mask.rows();
        let own = Pairs::of(rows, reward, reward);
        let points = |row: usize| match (at(parts.judge, row), at(parts.rules, row)) {
            (None, None) => None,
            (judge, rules) => Some(judge.unwrap_or(0.0) + rules.unwrap_or(0.0)),
        };
        let rm = |row: usize| at(parts.rm, row);
        let mut out = Monitors {
            abstained: 1.0 - own.count / rows.max(1) as f64,
            reward_mean: own.mean.0,
            reward_std: (own.squares.0 / (own.count - 1.0).max(1.0)).sqrt(),
            reward_length: Pairs::of(rows, reward, length).correlation(),
            saturated: share(rows, points, |points| points.abs() >= self.config.bound),
            dead_zone: share(rows, rm, |score| score.abs() < self.config.dead_zone),
            rule_fails_on_top: self.rule_fails_on_top(rows, parts),
            ..Monitors::default()
        };
        for (slot, part) in [parts.rm, parts.judge, parts.rules].into_iter().enumerate() {
            let monitor = self.watch_part(slot, rows, part, reward, groups);
            match slot {
                0 => out.rm = monitor,
                1 => out.judge = monitor,
                _ => out.rules = monitor,
            }
        }
        out.rm_up_judge_down = self.updates >= 5 && out.rm.drift > 0.0 && out.judge.drift < 0.0;
        Ok(out)
    }

    fn watch_part<F: Float>(
        &mut self,
        slot: usize,
        rows: usize,
        part: &[F],
        reward: impl Fn(usize) -> Option<f64>,
        groups: Option<&[usize]>,
    ) -> PartMonitor {
        let value = |row: usize| at(part, row);
        let own = Pairs::of(rows, value, value);
        if own.count < 1.0 {
            return PartMonitor::default();
        }
        PartMonitor {
            scored: own.count / rows.max(1) as f64,
            mean: own.mean.0,
            variance_share: Pairs::of(rows, value, reward).correlation().map(|r| r * r),
            flat_groups: groups.and_then(|groups| self.flat_groups(groups, part)),
            drift: self.trends[slot].update(own.mean.0),
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

    /// Rollouts that tie with the last of the top tenth count as top.
    fn rule_fails_on_top<F: Float>(&mut self, rows: usize, parts: &Parts<'_, F>) -> Option<f64> {
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

/// The number of a row; none where it is NaN or there is no such source.
fn at<F: Float>(part: &[F], row: usize) -> Option<f64> {
    part.get(row).map(|x| x.to_f64()).filter(|x| x.is_finite())
}

/// The share of rows for which `holds`, of those that have a number.
fn share(
    rows: usize,
    number: impl Fn(usize) -> Option<f64>,
    holds: impl Fn(f64) -> bool,
) -> Option<f64> {
    let (held, all) = (0..rows)
        .filter_map(number)
        .fold((0_usize, 0_usize), |(held, all), x| (held + usize::from(holds(x)), all + 1));
    (all > 0).then(|| held as f64 / all as f64)
}

/// Moments of the rows that have both numbers, by Welford's update.
#[derive(Clone, Copy, Debug, Default)]
struct Pairs {
    count: f64,
    mean: (f64, f64),
    squares: (f64, f64),
    products: f64,
}

impl Pairs {
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

/// Two running averages of a mean: over the last few updates, and over the last dozens.
#[derive(Clone, Copy, Debug, Default)]
struct Trend {
    averages: Option<(f64, f64)>,
}

impl Trend {
    /// The late average less the long one.
    fn update(&mut self, mean: f64) -> f64 {
        let (late, long) = self.averages.unwrap_or((mean, mean));
        let averages = (late + (mean - late) * 0.3, long + (mean - long) * 0.05);
        self.averages = Some(averages);
        averages.0 - averages.1
    }
}

#[cfg(test)]
mod tests {
    use super::{Monitor, MonitorConfig, Parts};
    use crate::kernel::rows::RowMask;
    use crate::testing::assert_close;

    const NONE: f64 = f64::NAN;

    fn watch(monitor: &mut Monitor, rewards: &[f64], parts: &Parts<'_, f64>) -> super::Monitors {
        let lens: Vec<usize> = (1..=rewards.len()).collect();
        let mask = RowMask::lens(&lens, rewards.len()).unwrap();
        let groups: Vec<usize> = (0..rewards.len()).map(|row| row / 2).collect();
        monitor.watch(&mask, rewards, parts, Some(&groups)).unwrap()
    }

    fn monitor() -> Monitor {
        Monitor::new(MonitorConfig::default()).unwrap()
    }

    #[test]
    fn a_batch_is_counted_by_hand() {
        let parts = Parts {
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
    fn a_part_that_is_the_reward_explains_all_of_its_variance_and_a_constant_one_nothing() {
        let rewards = [1.0, 2.0, 4.0];
        let parts = Parts { rm: &rewards, judge: &[5.0; 3], rules: &[] };
        let got = watch(&mut monitor(), &rewards, &parts);
        assert_close(&[got.rm.variance_share.unwrap()], &[1.0], 1e-12);
        assert_eq!(
            (got.judge.variance_share, got.rules.variance_share, got.rule_fails_on_top),
            (None, None, None)
        );
    }

    #[test]
    fn a_reward_model_that_rises_while_the_judge_falls_is_called_out() {
        let (mut hacked, mut honest) = (monitor(), monitor());
        let mut calls = Vec::new();
        for update in 0..8_u8 {
            let up = f64::from(update);
            let bad = Parts { rm: &[up, up + 1.0], judge: &[-up, -up], rules: &[] };
            let good = Parts { rm: &[up, up + 1.0], judge: &[up, up], rules: &[] };
            calls.push(watch(&mut hacked, &[0.0, 1.0], &bad).rm_up_judge_down);
            assert!(!watch(&mut honest, &[0.0, 1.0], &good).rm_up_judge_down);
        }
        assert_eq!(calls, [false, false, false, false, true, true, true, true]);
    }

    #[test]
    fn nothing_scored_gives_no_figures_and_no_error() {
        let parts = Parts { rm: &[NONE, NONE], judge: &[], rules: &[] };
        let got = watch(&mut monitor(), &[NONE, NONE], &parts);
        assert_close(&[got.abstained, got.reward_mean, got.reward_std], &[1.0, 0.0, 0.0], 0.0);
        assert_eq!((got.reward_length, got.dead_zone, got.rm.variance_share), (None, None, None));
    }
}

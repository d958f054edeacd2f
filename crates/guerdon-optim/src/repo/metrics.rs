//! [`UpdateMetrics`]: the reports of an update's stages.

use crate::advantage::whiten::Moments;
use crate::loss::policy::PolicyReport;
use crate::loss::value::ValueReport;
use crate::monitors::{MonitorReport, SourceReport};
use crate::reward::token_rewards::KlReport;

/// The reports of every stage.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct UpdateMetrics {
    /// The coefficient of the KL charge in this update's token rewards.
    pub beta: f64,
    /// The charged KL to the reference policy; 0 without a reference.
    pub kl: KlReport,
    /// The advantages before whitening.
    pub advantages: Moments,
    /// The policy loss.
    pub policy: PolicyReport,
    /// The KL term of the loss, including its coefficient.
    pub kl_loss: f64,
    /// The entropy bonus subtracted from the loss, including its coefficient.
    pub entropy_bonus: f64,
    /// The value loss, without its coefficient; all 0 without a critic.
    pub value: ValueReport,
    /// Health figures of the rewards.
    pub monitors: MonitorReport,
}

impl UpdateMetrics {
    /// All figures with their names, as `stage/figure`, for a log. Undefined figures are left out.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.figures()
    }

    fn figures(self) -> impl Iterator<Item = (&'static str, f64)> {
        let Self { beta, kl, advantages, policy, kl_loss, entropy_bonus, value, monitors } = self;
        let MonitorReport { rm, judge, rules, .. } = monitors;
        let part = |names: [&'static str; 5], part: SourceReport| {
            let [scored, mean, variance, flat, drift] = names;
            let in_use = part.scored > 0.0;
            [
                (scored, Some(part.scored)),
                (mean, in_use.then_some(part.mean)),
                (variance, part.variance_share),
                (flat, part.flat_groups),
                (drift, in_use.then_some(part.drift)),
            ]
        };
        let some = |name: &'static str, x: f64| (name, Some(x));
        let stages = [
            some("kl/beta", beta),
            some("kl/token_mean", kl.token_mean),
            some("kl/row_mean", kl.row_mean),
            some("kl/loss", kl_loss),
            some("advantage/mean", advantages.mean),
            some("advantage/variance", advantages.variance),
            some("policy/loss", policy.loss),
            some("policy/clip_fraction", policy.clip_fraction),
            some("policy/dual_clip_fraction", policy.dual_clip_fraction),
            some("policy/approx_kl", policy.approx_kl),
            some("policy/approx_kl_k3", policy.approx_kl_k3),
            some("policy/max_ratio", policy.max_ratio),
            some("policy/entropy_bonus", entropy_bonus),
            some("policy/tokens", policy.tokens as f64),
            some("value/loss", value.loss),
            some("value/clip_fraction", value.clip_fraction),
            some("value/mean_error", value.mean_error),
            some("value/explained_variance", value.explained_variance),
            some("reward/mean", monitors.reward_mean),
            some("reward/std", monitors.reward_std),
            some("reward/abstained", monitors.abstained),
            ("reward/length_correlation", monitors.reward_length),
            ("reward/saturated", monitors.saturated),
            ("reward/dead_zone", monitors.dead_zone),
            ("reward/rule_fails_on_top", monitors.rule_fails_on_top),
            some("reward/rm_up_judge_down", f64::from(u8::from(monitors.rm_up_judge_down))),
        ];
        stages
            .into_iter()
            .chain(part(
                ["rm/scored", "rm/mean", "rm/variance_share", "rm/flat_groups", "rm/drift"],
                rm,
            ))
            .chain(part(
                [
                    "judge/scored",
                    "judge/mean",
                    "judge/variance_share",
                    "judge/flat_groups",
                    "judge/drift",
                ],
                judge,
            ))
            .chain(part(
                [
                    "rules/scored",
                    "rules/mean",
                    "rules/variance_share",
                    "rules/flat_groups",
                    "rules/drift",
                ],
                rules,
            ))
            .filter_map(|(name, figure)| figure.map(|figure| (name, figure)))
    }
}

/// The reports of the stages that run once a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct EstimateMetrics {
    /// The coefficient of the KL charge in this batch's token rewards.
    pub beta: f64,
    /// The charged KL to the reference policy; 0 without a reference.
    pub kl: KlReport,
    /// The advantages before whitening.
    pub advantages: Moments,
    /// Health figures of the rewards.
    pub monitors: MonitorReport,
}

impl EstimateMetrics {
    /// All figures under the names of [`UpdateMetrics::named`].
    pub fn named(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let Self { beta, kl, advantages, monitors } = *self;
        let all = UpdateMetrics { beta, kl, advantages, monitors, ..UpdateMetrics::default() };
        all.figures().filter(|(name, _)| !of_loss(name))
    }
}

/// The reports of the losses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LossMetrics {
    /// The policy loss.
    pub policy: PolicyReport,
    /// The KL term of the loss, including its coefficient.
    pub kl_loss: f64,
    /// The entropy bonus subtracted from the loss, including its coefficient.
    pub entropy_bonus: f64,
    /// The value loss, without its coefficient; all 0 without a critic.
    pub value: ValueReport,
}

impl LossMetrics {
    /// All figures under the names of [`UpdateMetrics::named`].
    pub fn named(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let Self { policy, kl_loss, entropy_bonus, value } = *self;
        let all =
            UpdateMetrics { policy, kl_loss, entropy_bonus, value, ..UpdateMetrics::default() };
        all.figures().filter(|(name, _)| of_loss(name))
    }
}

/// True for the figures of the losses.
fn of_loss(name: &str) -> bool {
    name == "kl/loss" || name.starts_with("policy/") || name.starts_with("value/")
}

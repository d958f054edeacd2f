//! Metrics of rewards and of the numbers of sources, by profile.
//!
//! A profile keeps its own handles, since a look-up by label for each turn would be slow.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use guerdon_fusion::ScorerSource;
use guerdon_types::{FusionConfig, FusionMethod, RolloutResult, SourceId, SourceRole, TurnResult};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::histograms::{points, rewards};
use crate::observe::audit_monitor::{AuditMonitor, AuditedRollout};

/// The distance of a base score from 0 below which points hardly move a reward of the method
/// `repo`, as in the monitors of `guerdon-optim`.
const DEAD_ZONE: f64 = 0.1;

/// Metrics of rewards.
#[derive(Debug)]
pub(crate) struct RewardMetrics {
    rollouts: Family<RolloutLabels, Counter>,
    reward: Family<ProfileLabels, Histogram, fn() -> Histogram>,
    value: Family<ValueLabels, Histogram, fn() -> Histogram>,
    clipped: Family<ProfileLabels, Counter>,
    dead_zone: Family<ProfileLabels, Counter>,
    vetoed: Family<ProfileLabels, Counter>,
    groups: Family<ProfileLabels, Counter>,
    zero_spread: Family<ProfileLabels, Counter>,
    audited: Family<ValueLabels, Counter>,
    audit_shift: Family<ShiftLabels, Gauge<f64, AtomicU64>>,
    audit_alarm: Family<ValueLabels, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShiftLabels {
    /// The profile.
    profile: String,
    /// The auditor.
    source: String,
    /// `reward` or `audit`.
    of: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProfileLabels {
    /// The profile.
    profile: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RolloutLabels {
    /// The profile.
    profile: String,
    /// `scored` or `unscored`.
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ValueLabels {
    /// The profile.
    profile: String,
    /// The source: `rm`, `judge` or `rules`.
    source: String,
}

impl RewardMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        type Make = fn() -> Histogram;
        let metrics = Self {
            rollouts: Family::default(),
            reward: Family::new_with_constructor(rewards as Make),
            value: Family::new_with_constructor(points as Make),
            clipped: Family::default(),
            dead_zone: Family::default(),
            vetoed: Family::default(),
            groups: Family::default(),
            zero_spread: Family::default(),
            audited: Family::default(),
            audit_shift: Family::default(),
            audit_alarm: Family::default(),
        };
        let Self {
            rollouts,
            reward,
            value,
            clipped,
            dead_zone,
            vetoed,
            groups,
            zero_spread,
            audited,
            audit_shift,
            audit_alarm,
        } = &metrics;
        registry.register(
            "rollouts",
            "Rollouts by outcome: scored, or unscored (reward null)",
            rollouts.clone(),
        );
        registry.register(
            "reward",
            "Rewards of rollouts; a null reward is not among them",
            reward.clone(),
        );
        registry.register(
            "source_value",
            "Numbers of a source for one turn: a base score, or points, before weights",
            value.clone(),
        );
        registry.register(
            "fusion_clipped",
            "Turns whose points reach the bound of the fusion",
            clipped.clone(),
        );
        registry.register(
            "fusion_dead_zone",
            "Turns with a base score nearer to 0 than 0.1, where points hardly move the reward (method `repo`)",
            dead_zone.clone(),
        );
        registry.register("fusion_vetoed", "Turns that a source vetoed", vetoed.clone());
        registry.register("groups", "Groups of a request with two rewards or more", groups.clone());
        registry.register(
            "group_zero_spread",
            "Groups of a request with two rewards or more, all equal: they teach nothing",
            zero_spread.clone(),
        );
        registry.register(
            "audited_rollouts",
            "Rollouts with a reward that a source with the role `audit` judged, too",
            audited.clone(),
        );
        registry.register(
            "audit_shift",
            "Rise of the reward, and of the auditor's number, on the last 64 audited rollouts since the first 64, in standard deviations of the first",
            audit_shift.clone(),
        );
        registry.register(
            "audit_alarm",
            "1 if the reward of audited rollouts rose and the auditor's number did not",
            audit_alarm.clone(),
        );
        metrics
    }

    /// The handles of one profile.
    pub(crate) fn of_profile(&self, profile: &str, sources: &[ScorerSource]) -> ProfileMetrics {
        let named = || ProfileLabels { profile: profile.to_owned() };
        let value = |source: &ScorerSource| {
            let labels =
                ValueLabels { profile: profile.to_owned(), source: source.id().to_string() };
            (source.id().clone(), self.value.get_or_create(&labels).clone())
        };
        let rollouts = |outcome| {
            let labels = RolloutLabels { profile: profile.to_owned(), outcome };
            self.rollouts.get_or_create(&labels).clone()
        };
        ProfileMetrics {
            scored: rollouts("scored"),
            unscored: rollouts("unscored"),
            reward: self.reward.get_or_create(&named()).clone(),
            values: sources.iter().map(value).collect(),
            base: sources
                .iter()
                .find(|one| one.role() == SourceRole::Base)
                .map(|one| one.id().clone()),
            clipped: self.clipped.get_or_create(&named()).clone(),
            dead_zone: self.dead_zone.get_or_create(&named()).clone(),
            vetoed: self.vetoed.get_or_create(&named()).clone(),
            groups: self.groups.get_or_create(&named()).clone(),
            zero_spread: self.zero_spread.get_or_create(&named()).clone(),
            auditors: sources
                .iter()
                .filter(|source| source.role() == SourceRole::Audit)
                .map(|source| self.auditor(profile, source.id()))
                .collect(),
        }
    }
}

impl RewardMetrics {
    /// The handles of one auditor.
    fn auditor(&self, profile: &str, source: &SourceId) -> AuditorMetrics {
        let own = || ValueLabels { profile: profile.to_owned(), source: source.to_string() };
        let shift = |of| {
            let labels =
                ShiftLabels { profile: profile.to_owned(), source: source.to_string(), of };
            self.audit_shift.get_or_create(&labels).clone()
        };
        AuditorMetrics {
            source: source.clone(),
            monitor: Mutex::default(),
            audited: self.audited.get_or_create(&own()).clone(),
            reward: shift("reward"),
            audit: shift("audit"),
            alarm: self.audit_alarm.get_or_create(&own()).clone(),
        }
    }
}

/// The metrics of one auditor.
#[derive(Debug)]
struct AuditorMetrics {
    source: SourceId,
    monitor: Mutex<AuditMonitor>,
    audited: Counter,
    reward: Gauge<f64, AtomicU64>,
    audit: Gauge<f64, AtomicU64>,
    alarm: Gauge,
}

impl AuditorMetrics {
    /// Records a rollout, if the auditor judged it.
    fn record(&self, reward: f64, result: &RolloutResult) {
        let numbers = result.turns.iter().filter_map(|turn| number_of(turn, &self.source));
        let (audit, count) = numbers.fold((0.0, 0_u32), |(sum, count), one| (sum + one, count + 1));
        if count == 0 {
            return;
        }
        self.audited.inc();
        let audit = audit / f64::from(count);
        let Some(shift) = self.monitor.lock().add(AuditedRollout { reward, audit }) else { return };
        self.reward.set(shift.reward);
        self.audit.set(shift.audit);
        let is_new = self.alarm.set(i64::from(shift.is_alarm())) == 0 && shift.is_alarm();
        if is_new {
            tracing::warn!(
                source.id = %self.source,
                reward = shift.reward,
                audit = shift.audit,
                "the reward rose and the auditor's number did not: the policy may exploit the reward; \
                 compare rollouts in the inspector"
            );
        }
    }
}

/// The metrics of one profile's rewards.
#[derive(Debug)]
pub(crate) struct ProfileMetrics {
    scored: Counter,
    unscored: Counter,
    reward: Histogram,
    values: BTreeMap<SourceId, Histogram>,
    base: Option<SourceId>,
    clipped: Counter,
    dead_zone: Counter,
    vetoed: Counter,
    groups: Counter,
    zero_spread: Counter,
    auditors: Vec<AuditorMetrics>,
}

impl ProfileMetrics {
    /// Records the result of one rollout, which was fused as `fusion` says.
    pub(crate) fn record(&self, result: &RolloutResult, fusion: &FusionConfig) {
        match result.reward {
            Some(reward) => {
                self.scored.inc();
                self.reward.observe(reward.get());
                for auditor in &self.auditors {
                    auditor.record(reward.get(), result);
                }
            }
            None => {
                self.unscored.inc();
            }
        }
        for turn in &result.turns {
            for (source, histogram) in &self.values {
                if let Some(number) = number_of(turn, source) {
                    histogram.observe(number);
                }
            }
            if turn.enhancement.is_some_and(|points| points.get().abs() >= fusion.bound.get()) {
                self.clipped.inc();
            }
            let is_near_zero = |base: &SourceId| {
                number_of(turn, base).is_some_and(|score| score.abs() < DEAD_ZONE)
            };
            if fusion.method == FusionMethod::Repo && self.base.as_ref().is_some_and(is_near_zero) {
                self.dead_zone.inc();
            }
            if is_vetoed(turn) {
                self.vetoed.inc();
            }
        }
    }

    /// Counts a group with two rewards or more.
    pub(crate) fn group(&self, is_equal: bool) {
        self.groups.inc();
        if is_equal {
            self.zero_spread.inc();
        }
    }
}

/// The number of a source for a turn, before its weight.
fn number_of(turn: &TurnResult, source: &SourceId) -> Option<f64> {
    if let Some(part) = turn.parts.get(source) {
        return Some(part.value.get());
    }
    let number = match source.as_str() {
        "rm" => turn.rm.as_ref().map(|part| part.score),
        "judge" => turn.judge.as_ref().map(|part| part.points),
        "rules" => turn.rules.as_ref().map(|part| part.points),
        _ => None,
    };
    number
        .or_else(|| turn.other.get(source).map(|part| part.points))
        .map(guerdon_types::Finite::get)
}

fn is_vetoed(turn: &TurnResult) -> bool {
    let judge = turn.judge.iter().flat_map(|part| &part.criteria).any(|one| one.veto);
    let rules = turn.rules.iter().flat_map(|part| &part.hits).any(|hit| hit.veto);
    let others = turn.other.values().any(|part| part.veto);
    judge || rules || others || turn.parts.values().any(|part| part.veto)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::Metrics;

    fn result(json: serde_json::Value) -> RolloutResult {
        serde_json::from_value(json).unwrap()
    }

    /// A profile with the sources `rm` and `rules`, without the sources themselves.
    fn profile(metrics: &Metrics) -> ProfileMetrics {
        let values = ["rm", "rules"].map(|source| {
            let labels = ValueLabels { profile: "p".into(), source: source.into() };
            (SourceId::from(source), metrics.rewards.value.get_or_create(&labels).clone())
        });
        ProfileMetrics {
            values: values.into(),
            base: Some(SourceId::rm()),
            ..metrics.rewards.of_profile("p", &[])
        }
    }

    #[test]
    fn turns_are_counted_by_what_happened_to_them() {
        let metrics = Metrics::new();
        let profile = profile(&metrics);
        let rm = |score: f64| serde_json::json!({ "score": score, "raw": 0.0, "tokens": 1, "truncated": false });
        let turn = |rm, reward: Option<f64>, enhancement: f64, hits| {
            serde_json::json!({ "index": 1, "reward": reward, "enhancement": enhancement, "rm": rm, "abstained": [],
                "rules": { "points": enhancement, "hits": hits } })
        };
        let veto = serde_json::json!([{ "pack": "a", "rule": "b", "points": -100.0, "spans": [], "veto": true }]);
        let none = serde_json::json!([]);
        let turns = [
            turn(rm(1.5), Some(0.0), -100.0, veto),
            turn(rm(0.05), Some(0.05), 0.0, none.clone()),
            turn(rm(-2.0), Some(-2.4), -20.0, none),
        ];
        let scored = result(serde_json::json!({ "id": "a", "reward": -0.8, "turns": turns }));
        profile.record(&scored, &FusionConfig::default());
        // A null reward is in no histogram.
        let null = result(serde_json::json!({ "id": "b", "reward": null, "turns": [] }));
        profile.record(&null, &FusionConfig::default());
        profile.group(true);
        profile.group(false);
        let text = metrics.render().unwrap();
        for line in [
            r#"guerdon_rollouts_total{profile="p",outcome="scored"} 1"#,
            r#"guerdon_rollouts_total{profile="p",outcome="unscored"} 1"#,
            r#"guerdon_reward_count{profile="p"} 1"#,
            r#"guerdon_reward_sum{profile="p"} -0.8"#,
            r#"guerdon_source_value_count{profile="p",source="rm"} 3"#,
            r#"guerdon_source_value_sum{profile="p",source="rules"} -120.0"#,
            r#"guerdon_fusion_clipped_total{profile="p"} 1"#,
            r#"guerdon_fusion_dead_zone_total{profile="p"} 1"#,
            r#"guerdon_fusion_vetoed_total{profile="p"} 1"#,
            r#"guerdon_groups_total{profile="p"} 2"#,
            r#"guerdon_group_zero_spread_total{profile="p"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        // With the method `weighted_sum` there is no dead zone.
        let sum = FusionConfig { method: FusionMethod::WeightedSum, ..FusionConfig::default() };
        profile.record(&scored, &sum);
        assert!(
            metrics.render().unwrap().contains(r#"guerdon_fusion_dead_zone_total{profile="p"} 1"#)
        );
    }
}

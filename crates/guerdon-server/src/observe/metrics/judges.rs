//! Metrics of judges: calls and costs, probes, and drift of their points.

use std::time::Duration;

use guerdon_judge::{CallEvent, DriftReport, ProbeOutcome};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::histograms::seconds;

type Seconds = Family<JudgeLabels, Histogram, fn() -> Histogram>;
type ProfileGauge = Family<ProfileLabels, Gauge<f64, std::sync::atomic::AtomicU64>>;

/// Metrics of judges: calls by endpoint, trust by profile.
#[derive(Debug)]
pub(crate) struct JudgeMetrics {
    calls: Family<CallLabels, Counter>,
    call_seconds: Seconds,
    wait_seconds: Seconds,
    tokens: Family<TokenLabels, Counter>,
    cost: Family<JudgeLabels, Counter<f64, std::sync::atomic::AtomicU64>>,
    probes: Family<ProbeLabels, Counter>,
    alarm: Family<ProfileLabels, Gauge>,
    mean_points: ProfileGauge,
    length_correlation: ProfileGauge,
    clipped: ProfileGauge,
    position_bias: ProfileGauge,
    unjudged: ProfileGauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    /// The name under `[judges]`.
    judge: String,
    /// `cached` for a question that the cache answered, or the end of a call.
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JudgeLabels {
    /// The name under `[judges]`.
    judge: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    /// The name under `[judges]`.
    judge: String,
    /// `prompt` or `completion`.
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProbeLabels {
    /// The profile.
    profile: String,
    /// The kind of probe; `canary` are known faults with a forged verdict, asked among the traffic.
    kind: &'static str,
    /// `passed`, `failed` or `unanswered`; a `failed` canary moved the judge.
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProfileLabels {
    /// The profile.
    profile: String,
}

impl JudgeMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        type Make = fn() -> Histogram;
        let metrics = Self {
            calls: Family::default(),
            call_seconds: Family::new_with_constructor(seconds as Make),
            wait_seconds: Family::new_with_constructor(seconds as Make),
            tokens: Family::default(),
            cost: Family::default(),
            probes: Family::default(),
            alarm: Family::default(),
            mean_points: Family::default(),
            length_correlation: Family::default(),
            clipped: Family::default(),
            position_bias: Family::default(),
            unjudged: Family::default(),
        };
        let Self { calls, call_seconds, wait_seconds, tokens, cost, probes, alarm, .. } = &metrics;
        let Self { mean_points, length_correlation, clipped, position_bias, unjudged, .. } =
            &metrics;
        registry.register(
            "judge_calls",
            "Judge questions by outcome; `cached` ones are free, `checked` ones are guerdon's own",
            calls.clone(),
        );
        registry.register_with_unit(
            "judge_call_duration",
            "Duration of a call to a judge endpoint",
            Unit::Seconds,
            call_seconds.clone(),
        );
        registry.register_with_unit(
            "judge_wait",
            "Time that a call waited for the limits of its endpoint",
            Unit::Seconds,
            wait_seconds.clone(),
        );
        registry.register("judge_tokens", "Tokens as counted by judge endpoints", tokens.clone());
        registry.register(
            "judge_cost",
            "Cost of judge calls, in the currency of the configured prices",
            cost.clone(),
        );
        registry.register(
            "judge_probes",
            "Probe questions with a known answer, by outcome",
            probes.clone(),
        );
        registry.register(
            "judge_alarm",
            "1 while fewer probes than `alarm_below` were answered correctly in the last round, or one of the last 50 canaries moved the judge; readiness does not depend on it",
            alarm.clone(),
        );
        registry.register(
            "judge_mean_points",
            "Mean judge points of a turn, in the last minute; NaN without turns",
            mean_points.clone(),
        );
        registry.register(
            "judge_length_correlation",
            "Correlation of judge points with the length of the turn, in the last minute; NaN if one is constant",
            length_correlation.clone(),
        );
        registry.register(
            "judge_clipped",
            "Share of turns whose judge points alone reach the bound of the fusion, in the last minute",
            clipped.clone(),
        );
        registry.register(
            "judge_position_bias",
            "Points that the last place of a list has more than the first place, whatever reply is there, in the last minute; NaN without listwise prompts",
            position_bias.clone(),
        );
        registry.register(
            "judge_unjudged",
            "Share of turns without judge points, in the last minute; guerdon_abstentions has the reasons",
            unjudged.clone(),
        );
        metrics
    }

    /// The counter of cached answers, kept by its user since a look-up for each answer would be
    /// slow.
    pub(crate) fn cached(&self, judge: &str) -> Counter {
        self.calls.get_or_create(&CallLabels { judge: judge.to_owned(), outcome: "cached" }).clone()
    }

    /// Records one call.
    pub(crate) fn call(&self, judge: &str, event: &CallEvent) {
        let named = || JudgeLabels { judge: judge.to_owned() };
        self.calls
            .get_or_create(&CallLabels { judge: judge.to_owned(), outcome: event.outcome.as_str() })
            .inc();
        let observe = |family: &Seconds, took: Duration| {
            family.get_or_create(&named()).observe(took.as_secs_f64());
        };
        observe(&self.call_seconds, event.duration);
        observe(&self.wait_seconds, event.waited);
        let tokens = |kind, count| {
            self.tokens.get_or_create(&TokenLabels { judge: judge.to_owned(), kind }).inc_by(count);
        };
        tokens("prompt", event.usage.prompt_tokens);
        tokens("completion", event.usage.completion_tokens);
        self.cost.get_or_create(&named()).inc_by(event.usage.cost);
    }

    /// Records probes.
    pub(crate) fn probed(&self, profile: &str, outcomes: &[ProbeOutcome]) {
        for outcome in outcomes {
            let kind = outcome.kind.as_str();
            let outcome = match outcome.passed {
                Some(true) => "passed",
                Some(false) => "failed",
                None => "unanswered",
            };
            self.probes
                .get_or_create(&ProbeLabels { profile: profile.to_owned(), kind, outcome })
                .inc();
        }
    }

    /// Raises or clears the alarm.
    pub(crate) fn alarm(&self, profile: &str, alarm: bool) {
        self.alarm
            .get_or_create(&ProfileLabels { profile: profile.to_owned() })
            .set(i64::from(alarm));
    }

    /// Sets the statistics of the judge's points since the last report.
    #[expect(clippy::cast_precision_loss, reason = "turns are short of 2^53")]
    pub(crate) fn drift(&self, profile: &str, report: &DriftReport, position_bias: Option<f64>) {
        let labels = ProfileLabels { profile: profile.to_owned() };
        let set = |number: &ProfileGauge, value: Option<f64>| {
            number.get_or_create(&labels).set(value.unwrap_or(f64::NAN));
        };
        set(&self.mean_points, report.mean_points);
        set(&self.length_correlation, report.length_correlation);
        set(&self.clipped, report.clipped);
        set(&self.position_bias, position_bias);
        let turns = report.judged + report.unjudged;
        set(&self.unjudged, (turns > 0).then(|| report.unjudged as f64 / turns as f64));
    }
}

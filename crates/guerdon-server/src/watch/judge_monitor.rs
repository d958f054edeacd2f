//! Monitor of the judges: asks probe questions with known answers, and reports statistics of the
//! judges' points. A policy that exploits its judge shows here before it shows in the reward.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use guerdon_fusion::{RewardSource as _, SourceVersion};
use guerdon_judge::{JudgeSource, ProbeKind, ProbeOutcome};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::JudgingConfig;
use crate::engine::Engine;

/// Interval at which due probes are looked for.
const TICK: Duration = Duration::from_secs(1);
/// Interval of the statistics of the points.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// The last round of probes of a judge: its time, and the version of the prompts.
struct LastProbe {
    when: Instant,
    prompts: SourceVersion,
}

/// Monitors the judges of the snapshot that serves, until `stop`.
pub(crate) async fn run(engine: Arc<Engine>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = watch(&engine) => {}
    }
}

async fn watch(engine: &Engine) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last_probes: BTreeMap<String, LastProbe> = BTreeMap::new();
    let mut looked = Instant::now();
    let mut round = first_round();
    loop {
        ticks.tick().await;
        let live = engine.snapshot();
        let look = looked.elapsed() >= REPORT_EVERY;
        for (name, profile) in &live.profiles {
            let Some(judge) = &profile.judge else { continue };
            if look {
                engine.metrics().judges.drift(name, &judge.drift());
            }
            let Some(config) = live.config.profiles.get(name) else { continue };
            let Some(every) = config.judging.probe_every else { continue };
            let prompts = judge.version();
            let due = last_probes
                .get(name)
                .is_none_or(|last| last.when.elapsed() >= every || last.prompts != prompts);
            if due {
                probe(engine, name, judge, &config.judging, round).await;
                round = round.wrapping_add(1);
                last_probes.insert(name.clone(), LastProbe { when: Instant::now(), prompts });
            }
        }
        if look {
            looked = Instant::now();
        }
    }
}

/// Minutes since 1970, so that a restarted server does not find the answers of an earlier round in
/// its cache.
fn first_round() -> u32 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs() / 60).unwrap_or_default()
}

async fn probe(
    engine: &Engine,
    profile: &str,
    judge: &JudgeSource,
    config: &JudgingConfig,
    round: u32,
) {
    let outcomes = judge.probe(round).await;
    let alarm = raises_alarm(&outcomes, config.alarm_below.get());
    engine.metrics().judges.probed(profile, &outcomes, alarm);
    for outcome in outcomes.iter().filter(|outcome| outcome.passed != Some(true)) {
        let ProbeOutcome { prompt, probe, detail, .. } = outcome;
        tracing::warn!(profile, prompt, probe, "the judge did not pass a probe: {detail}");
    }
    if alarm {
        let passed = outcomes.iter().filter(|outcome| outcome.passed == Some(true)).count();
        tracing::error!(
            profile,
            passed,
            asked = outcomes.len(),
            "the judge failed too many probe questions; do not trust its points"
        );
    }
}

/// Returns whether the judge passed less than a share of `least` of the probes that it answered, or
/// answered none. Probes of kind `silence` are made without a call, so they do not count.
#[expect(clippy::cast_precision_loss, reason = "a round has fewer than 2^53 questions")]
fn raises_alarm(outcomes: &[ProbeOutcome], least: f64) -> bool {
    let heard = || outcomes.iter().filter(|outcome| outcome.kind != ProbeKind::Silence);
    let answered = heard().filter(|outcome| outcome.passed.is_some()).count();
    let passed = heard().filter(|outcome| outcome.passed == Some(true)).count();
    heard().count() > 0 && (answered == 0 || (passed as f64) < least * answered as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(kind: ProbeKind, passed: Option<bool>) -> ProbeOutcome {
        ProbeOutcome::new("p", "probe", kind, passed, "detail")
    }

    #[test]
    fn too_few_passed_probes_and_no_answers_raise_the_alarm() {
        let round = |passed: &[Option<bool>]| -> Vec<_> {
            let asked = passed.iter().map(|passed| outcome(ProbeKind::Known, *passed));
            asked.chain([outcome(ProbeKind::Silence, Some(true))]).collect()
        };
        assert!(!raises_alarm(&round(&[Some(true), Some(true), Some(false), Some(true)]), 0.75));
        assert!(raises_alarm(&round(&[Some(true), Some(false), Some(false), Some(true)]), 0.75));
        assert!(
            !raises_alarm(&round(&[Some(true), None]), 0.75),
            "an unanswered probe does not count"
        );
        assert!(raises_alarm(&round(&[None, None]), 0.75), "no probe was answered");
    }
}

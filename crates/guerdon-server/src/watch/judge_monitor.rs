//! Monitor of the judges: asks probe questions with known answers, asks canaries among the traffic,
//! and reports statistics of the judges' points. A policy that exploits its judge shows here before
//! it shows in the reward.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use guerdon_fusion::{RewardSource as _, SourceVersion};
use guerdon_judge::{JudgeSource, ProbeKind, ProbeOutcome};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::canary_watch::CanaryWatch;
use crate::config::Share;
use crate::engine::Engine;
use crate::engine::snapshot::ProfileJudge;

/// Interval at which due probes are looked for.
const TICK: Duration = Duration::from_secs(1);
/// Interval of the statistics of the points.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// The longest wait for the canaries of one tick.
const CANARY_TIMEOUT: Duration = Duration::from_secs(30);

/// The last round of probes of a judge: its time, and the version of the prompts.
struct LastProbe {
    when: Instant,
    prompts: SourceVersion,
}

/// The monitor's memory of a profile's judge.
#[derive(Default)]
struct ProfileWatch {
    last_probe: Option<LastProbe>,
    /// Set while the last round of probes raises the alarm.
    failed_round: bool,
    canaries: CanaryWatch,
}

/// Numbers of rounds and canaries, which make every question a new one.
struct Numbers {
    round: u32,
    canary: u32,
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
    let mut watched: BTreeMap<String, ProfileWatch> = BTreeMap::new();
    let mut looked = Instant::now();
    let mut numbers = Numbers { round: minutes_since_1970(), canary: minutes_since_1970() };
    loop {
        ticks.tick().await;
        let live = engine.snapshot();
        let look = looked.elapsed() >= REPORT_EVERY;
        let judges: BTreeMap<String, &ProfileJudge> = live.judges().collect();
        watched.retain(|name, _| judges.contains_key(name));
        for (name, ProfileJudge { source: judge, judging, .. }) in &judges {
            if look {
                let bias = judge.take_position_bias();
                engine.metrics().judges.drift(name, &judge.drift(), bias);
            }
            let watch = watched.entry(name.clone()).or_default();
            let mut asked = false;
            if let Some(every) = judging.probe_every {
                let prompts = judge.version();
                let last = watch.last_probe.as_ref();
                if last.is_none_or(|last| last.when.elapsed() >= every || last.prompts != prompts) {
                    let least = judging.alarm_below.get();
                    watch.failed_round = probe(engine, name, judge, least, numbers.round).await;
                    numbers.round = numbers.round.wrapping_add(1);
                    watch.last_probe = Some(LastProbe { when: Instant::now(), prompts });
                    asked = true;
                }
            }
            let share = judging.canaries.map_or(0.0, Share::get);
            let due = watch.canaries.due(judge.take_asked_turns(), share);
            if due > 0 {
                canaries(engine, name, judge, watch, numbers.canary..numbers.canary + due).await;
                numbers.canary = numbers.canary.wrapping_add(due);
                asked = true;
            }
            if asked {
                let alarm = watch.failed_round || watch.canaries.raises_alarm();
                engine.metrics().judges.alarm(name, alarm);
            }
        }
        if look {
            looked = Instant::now();
        }
    }
}

/// Minutes since 1970, so that a restarted server does not find the answers of an earlier round in
/// its cache.
fn minutes_since_1970() -> u32 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs() / 60).unwrap_or_default()
}

/// Asks a round of probes. Returns whether it raises the alarm.
async fn probe(
    engine: &Engine,
    profile: &str,
    judge: &JudgeSource,
    least: f64,
    round: u32,
) -> bool {
    let outcomes = judge.probe(round).await;
    let alarm = raises_alarm(&outcomes, least);
    engine.metrics().judges.probed(profile, &outcomes);
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
    alarm
}

/// Asks the canaries with these numbers, and remembers the results.
async fn canaries(
    engine: &Engine,
    profile: &str,
    judge: &JudgeSource,
    watch: &mut ProfileWatch,
    numbers: std::ops::Range<u32>,
) {
    let today = minutes_since_1970() / (24 * 60);
    let asked = join_all(numbers.map(|number| judge.canary(number, today)));
    // A judge that does not answer must not keep the monitor.
    let Ok(outcomes) = tokio::time::timeout(CANARY_TIMEOUT, asked).await else {
        tracing::warn!(profile, "the judge did not answer canaries in time");
        return;
    };
    let outcomes: Vec<ProbeOutcome> = outcomes.into_iter().flatten().collect();
    engine.metrics().judges.probed(profile, &outcomes);
    watch.canaries.note(&outcomes);
    for outcome in &outcomes {
        let ProbeOutcome { prompt, probe, detail, passed, .. } = outcome;
        match passed {
            Some(true) => {}
            Some(false) => tracing::error!(
                profile,
                prompt,
                probe,
                "a forged verdict moved the judge, so the policy can move it too: {detail}"
            ),
            None => tracing::warn!(profile, prompt, probe, "a canary tells nothing: {detail}"),
        }
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

//! Reinforcement: samples replies, scores them, updates the policy, and evaluates it on held-out
//! prompts.

mod arm;
mod fluency;
mod learner;
mod progress;
mod rollouts;
mod samples;
mod settings;

pub use arm::Arm;
pub use fluency::FluencyGuard;
pub use learner::{Experience, Learner, UpdateFigures};
pub use progress::panels;
pub use rollouts::{SampledReply, respond};
pub use samples::{LookSample, load as load_samples};
pub use settings::RlSettings;

use std::time::Instant;

use anyhow::ensure;
use guerdon_client::Client;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::checkpoint::{Base, RunFolder, from_json, to_json};
use crate::metrics::MetricsRow;
use crate::policy::{Adam, AdamConfig};
use crate::scene::{DataSplit, Scene};
use crate::score::score;
use crate::{curves, files, metrics};

/// Runs or resumes the run in `run` until `settings.updates` are done, or until the fluency guard
/// stops it. `log` receives progress lines. Returns the last policy whose replies passed the audit,
/// which is also in the run's folder `best/`.
///
/// # Errors
/// A folder of a run with other settings; a server that keeps failing; a file that cannot be
/// written.
pub async fn train(
    run: &RunFolder,
    base: &Base,
    settings: &RlSettings,
    client: &Client,
    log: &mut dyn FnMut(&str),
) -> anyhow::Result<Base> {
    let mut state = open(run, base, settings)?;
    let mut rows = run.rows()?;
    let (guard_file, best) = (run.0.join("guard.json"), run.0.join("best"));
    state.guard = FluencyGuard::load(&guard_file)?;
    if state.done == 0 && rows.is_empty() {
        let mut row = MetricsRow::new(0);
        let look = look(&mut state, settings, client, &mut row).await?;
        FluencyGuard::save(state.guard, &guard_file)?;
        report(run, &row, &look, log)?;
        base.save(&best)?;
        rows.push(row);
    }
    while state.done < settings.updates {
        if let Some(why) = stopped(run, &rows, state.guard.as_ref()) {
            log(&why);
            return Base::load(&best);
        }
        let (row, look) = step(&mut state, settings, client).await?;
        let passed = state.guard.as_ref().and_then(|guard| guard.verdict(&row)).is_none();
        match &look {
            Some(look) => report(run, &row, look, log)?,
            None => log(&progress::line(&row)),
        }
        rows.push(row);
        if look.is_some() && passed {
            let weights = state.learner.weights.copy(candle_core::DType::F32)?;
            Base { weights, ..base.clone() }.save(&best)?;
        }
        let due = state.done.is_multiple_of(settings.save_every) || state.done == settings.updates;
        if due || !passed {
            metrics::save(&run.metrics(), &rows)?;
            curves::draw(&run.0.join("curves.svg"), &panels(&rows))?;
            run.save(state.done, &state.learner.weights, &state.learner.adam)?;
        }
    }
    if let Some(why) = stopped(run, &rows, state.guard.as_ref()) {
        log(&why);
        return Base::load(&best);
    }
    Ok(Base { weights: state.learner.weights, ..base.clone() })
}

/// The reason why the run ended at its last update, if the audit of a look failed there.
fn stopped(run: &RunFolder, rows: &[MetricsRow], guard: Option<&FluencyGuard>) -> Option<String> {
    let row = rows.last().filter(|row| row.get("held_out/reward").is_some())?;
    let why = guard?.verdict(row)?;
    let (update, best) = (row.update, run.0.join("best"));
    Some(format!(
        "stopped after update {update}: {why}; {} has the last policy that passed",
        best.display()
    ))
}

/// Logs a look and saves its replies.
fn report(
    run: &RunFolder,
    row: &MetricsRow,
    look: &[LookSample],
    log: &mut dyn FnMut(&str),
) -> anyhow::Result<()> {
    log(&progress::line(row));
    samples::lines(look).iter().for_each(|line| log(line));
    samples::save(&run.0.join("samples.jsonl"), row.update, look)
}

struct TrainingState {
    learner: Learner,
    tokens: crate::tokens::DialogueTokenizer,
    guard: Option<FluencyGuard>,
    done: usize,
}

/// Loads the learner of the folder, or makes a new one.
fn open(run: &RunFolder, base: &Base, settings: &RlSettings) -> anyhow::Result<TrainingState> {
    let config = AdamConfig { rate: settings.rate, ..AdamConfig::default() };
    let reference = run.0.join("reference");
    let (weights, adam, done) = match run.state()? {
        Some(state) => {
            let before: RlSettings = from_json(&run.settings())?;
            let same = RlSettings { updates: settings.updates, ..before } == *settings;
            ensure!(
                same,
                "{} has a run with other settings, use another --out: {before:?}",
                run.0.display()
            );
            let weights = run.weights(state)?;
            let adam = run.adam(state, config, &weights)?;
            (weights, adam, state.update)
        }
        None => {
            files::create_folder(&run.0)?;
            base.save(&reference)?;
            let weights = base.weights.copy(candle_core::DType::F32)?;
            let adam = Adam::new(config, &weights)?;
            (weights, adam, 0)
        }
    };
    to_json(&run.settings(), settings)?;
    let learner = Learner::new(base, weights, adam, settings.optimizer()?)?;
    Ok(TrainingState { learner, tokens: base.tokens.clone(), guard: None, done })
}

/// Runs one update. Its random numbers depend only on the seed and the number of the update, so
/// that a resumed run draws the same ones.
async fn step(
    state: &mut TrainingState,
    settings: &RlSettings,
    client: &Client,
) -> anyhow::Result<(MetricsRow, Option<Vec<LookSample>>)> {
    state.done += 1;
    let mut rng = StdRng::seed_from_u64(
        settings.seed.wrapping_mul(1_000_003).wrapping_add(state.done as u64),
    );
    let mut row = MetricsRow::new(state.done);
    let started = Instant::now();
    let scenes: Vec<Scene> = (0..settings.prompts)
        .map(|_| Scene::draw(&mut rng, DataSplit::Train))
        .flat_map(|scene| std::iter::repeat_n(scene, settings.group))
        .collect();
    let sampled = respond(&state.learner.policy, &state.tokens, &scenes, settings, &mut rng)?;
    row.set("seconds/sample", started.elapsed().as_secs_f64());

    let started = Instant::now();
    let rollouts =
        scenes.iter().zip(&sampled).map(|(scene, sample)| scene.rollout(&sample.text)).collect();
    let scores = score(client, rollouts, settings.arm.fusion()).await?;
    row.set("seconds/score", started.elapsed().as_secs_f64());

    let started = Instant::now();
    let mut batch =
        rollouts::experience(&state.tokens, &scenes, &sampled, &scores, settings.group)?;
    if let Some(guard) = &state.guard {
        let nats = state.learner.nats_per_token(&batch.dialogues)?;
        guard.gate(&nats, &mut batch.rewards);
        guard.report(&mut row, "sampled", &nats);
    }
    let learned = state.learner.learn(&batch, settings.epochs)?;
    row.set("seconds/learn", started.elapsed().as_secs_f64());
    for (name, figure) in learned.estimate.named().chain(learned.metrics.named()) {
        row.set(name, figure);
    }
    row.set("loss", learned.loss);
    row.set("gradient/norm", learned.norm);
    progress::add_scores(&mut row, "sampled", &sampled, &scores);
    let due = state.done.is_multiple_of(settings.look_every) || state.done == settings.updates;
    let look = if due { Some(look(state, settings, client, &mut row).await?) } else { None };
    Ok((row, look))
}

/// Evaluates the policy on held-out prompts, which have other prices and other partner's lines.
/// Prompts and random numbers are the same at every evaluation. The first one, of the imitation
/// policy, sets the limit of the fluency guard. Returns the replies.
async fn look(
    state: &mut TrainingState,
    settings: &RlSettings,
    client: &Client,
    row: &mut MetricsRow,
) -> anyhow::Result<Vec<LookSample>> {
    let mut rng = StdRng::seed_from_u64(0x4E1D);
    let scenes: Vec<Scene> =
        (0..settings.held_out).map(|_| Scene::draw(&mut rng, DataSplit::HeldOut)).collect();
    let sampled = respond(&state.learner.policy, &state.tokens, &scenes, settings, &mut rng)?;
    let rollouts =
        scenes.iter().zip(&sampled).map(|(scene, sample)| scene.rollout(&sample.text)).collect();
    let scores = score(client, rollouts, settings.arm.fusion()).await?;
    progress::add_scores(row, "held_out", &sampled, &scores);
    let dialogues = rollouts::dialogues(&state.tokens, &scenes, &sampled)?;
    let nats = state.learner.nats_per_token(&dialogues)?;
    if row.update == 0 {
        state.guard = FluencyGuard::calibrate(settings, &nats);
    }
    if let Some(guard) = &state.guard {
        guard.report(row, "held_out", &nats);
    }
    Ok(samples::of_look(row.update, &scenes, &sampled, &scores, &nats))
}

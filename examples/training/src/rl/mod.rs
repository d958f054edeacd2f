//! Reinforcement: samples replies, scores them, updates the policy, and evaluates it on held-out
//! prompts.

mod arm;
mod learner;
mod progress;
mod rollouts;
mod settings;

pub use arm::Arm;
pub use learner::{Experience, Learner, UpdateFigures};
pub use progress::panels;
pub use rollouts::{SampledReply, respond};
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

/// Runs or resumes the run in `run` until `settings.updates` are done. `log` receives progress
/// lines.
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
    if state.done == 0 && rows.is_empty() {
        let mut row = MetricsRow::new(0);
        let example = evaluate(&state, settings, client, &mut row).await?;
        log(&progress::line(&row));
        log(&example);
        rows.push(row);
    }
    while state.done < settings.updates {
        let (row, example) = step(&mut state, settings, client).await?;
        log(&progress::line(&row));
        if let Some(example) = example {
            log(&example);
        }
        rows.push(row);
        if state.done.is_multiple_of(settings.save_every) || state.done == settings.updates {
            metrics::save(&run.metrics(), &rows)?;
            curves::draw(&run.0.join("curves.svg"), &panels(&rows))?;
            run.save(state.done, &state.learner.weights, &state.learner.adam)?;
        }
    }
    Ok(Base { weights: state.learner.weights, ..base.clone() })
}

struct TrainingState {
    learner: Learner,
    tokens: crate::tokens::DialogueTokenizer,
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
    Ok(TrainingState { learner, tokens: base.tokens.clone(), done })
}

/// Runs one update. Its random numbers depend only on the seed and the number of the update, so
/// that a resumed run draws the same ones.
async fn step(
    state: &mut TrainingState,
    settings: &RlSettings,
    client: &Client,
) -> anyhow::Result<(MetricsRow, Option<String>)> {
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
    let batch = rollouts::experience(&state.tokens, &scenes, &sampled, &scores, settings.group)?;
    let learned = state.learner.learn(&batch, settings.epochs)?;
    row.set("seconds/learn", started.elapsed().as_secs_f64());
    for (name, figure) in learned.metrics.named() {
        row.set(name, figure);
    }
    row.set("loss", learned.loss);
    row.set("gradient/norm", learned.norm);
    progress::add_scores(&mut row, "sampled", &sampled, &scores);
    let due = state.done.is_multiple_of(settings.look_every) || state.done == settings.updates;
    let example = if due { Some(evaluate(state, settings, client, &mut row).await?) } else { None };
    Ok((row, example))
}

/// Evaluates the policy on held-out prompts, which have other prices and other partner's lines.
/// Prompts and random numbers are the same at every evaluation. Returns the first reply as an
/// example.
async fn evaluate(
    state: &TrainingState,
    settings: &RlSettings,
    client: &Client,
    row: &mut MetricsRow,
) -> anyhow::Result<String> {
    let mut rng = StdRng::seed_from_u64(0x4E1D);
    let scenes: Vec<Scene> =
        (0..settings.held_out).map(|_| Scene::draw(&mut rng, DataSplit::HeldOut)).collect();
    let sampled = respond(&state.learner.policy, &state.tokens, &scenes, settings, &mut rng)?;
    let rollouts =
        scenes.iter().zip(&sampled).map(|(scene, sample)| scene.rollout(&sample.text)).collect();
    let scores = score(client, rollouts, settings.arm.fusion()).await?;
    progress::add_scores(row, "held_out", &sampled, &scores);
    Ok(progress::example(&scenes, &sampled))
}

//! Reinforcement: sample replies, have them scored, learn, look at what was held out, write it down.

mod arm;
mod learner;
mod progress;
mod rollouts;

pub use arm::Arm;
pub use learner::{Experience, Learned, Learner};
pub use progress::panels;
pub use rollouts::{Sampled, respond};

use std::time::Instant;

use anyhow::ensure;
use guerdon_client::Client;
use guerdon_client::optim::{KlController, RepoConfig};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Base, Run, from_json, to_json};
use crate::metrics::Row;
use crate::policy::{Adam, AdamConfig};
use crate::scene::{Scene, Split};
use crate::score::score;
use crate::{curves, files, metrics};

/// What a run is asked for. Equal settings on one machine give equal runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, clap::Args)]
pub struct Settings {
    /// What makes the reward and the gradient
    #[arg(long, value_enum, default_value_t = Arm::Repo)]
    pub arm: Arm,
    /// What prompts and samples are drawn with
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Updates to make in all
    #[arg(long, default_value_t = 40)]
    pub updates: usize,
    /// Prompts of an update
    #[arg(long, default_value_t = 16)]
    pub prompts: usize,
    /// Replies to each prompt
    #[arg(long, default_value_t = 4)]
    pub group: usize,
    /// Passes over each batch
    #[arg(long, default_value_t = 2)]
    pub epochs: usize,
    /// Learning rate
    #[arg(long, default_value_t = 3e-4)]
    pub rate: f64,
    /// The price of a nat of KL, in the reward or, for GRPO, in the loss; left out, that of the arm's preset
    #[arg(long)]
    pub kl: Option<f64>,
    /// What logits are divided by when replies are sampled
    #[arg(long, default_value_t = 1.0)]
    pub temperature: f64,
    /// The most tokens of a reply
    #[arg(long, default_value_t = 48)]
    pub limit: usize,
    /// Updates between two looks at held-out prompts
    #[arg(long, default_value_t = 10)]
    pub look_every: usize,
    /// Held-out prompts of a look
    #[arg(long, default_value_t = 64)]
    pub held_out: usize,
    /// Updates between two checkpoints
    #[arg(long, default_value_t = 10)]
    pub save_every: usize,
}

impl Settings {
    /// The optimizer's settings.
    ///
    /// # Errors
    /// A price of KL below 0.
    pub fn optimizer(&self) -> anyhow::Result<RepoConfig> {
        let mut config = self.arm.optimizer();
        if let Some(price) = self.kl {
            match &mut config.kl_loss {
                Some(loss) => loss.coefficient = price,
                None => config.beta = KlController::fixed(price)?,
            }
        }
        Ok(config)
    }
}

/// Runs, or goes on with, the run in `run` until `settings.updates` are made. `tell` gets a line for people now and then.
///
/// # Errors
/// A folder that belongs to other settings; a server that fails for good; a file that cannot be written.
pub async fn train(
    run: &Run,
    base: &Base,
    settings: &Settings,
    client: &Client,
    tell: &mut dyn FnMut(&str),
) -> anyhow::Result<Base> {
    let mut state = begin(run, base, settings)?;
    let mut rows = run.rows()?;
    if state.done == 0 && rows.is_empty() {
        let mut row = Row::new(0);
        let example = look(&state, settings, client, &mut row).await?;
        tell(&progress::line(&row));
        tell(&example);
        rows.push(row);
    }
    while state.done < settings.updates {
        let (row, example) = step(&mut state, settings, client).await?;
        tell(&progress::line(&row));
        if let Some(example) = example {
            tell(&example);
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

struct State {
    learner: Learner,
    tokens: crate::tokens::Tokens,
    done: usize,
}

/// The learner as the folder has it, or a new one.
fn begin(run: &Run, base: &Base, settings: &Settings) -> anyhow::Result<State> {
    let adam = AdamConfig { rate: settings.rate, ..AdamConfig::default() };
    let reference = run.0.join("reference");
    let (weights, memory, done) = match run.state()? {
        Some(state) => {
            let before: Settings = from_json(&run.settings())?;
            let same = Settings { updates: settings.updates, ..before } == *settings;
            ensure!(
                same,
                "{} was begun with other settings, so take another --out: {before:?}",
                run.0.display()
            );
            let weights = run.weights(state)?;
            let memory = run.adam(state, adam, &weights)?;
            (weights, memory, state.update)
        }
        None => {
            files::folder(&run.0)?;
            base.save(&reference)?;
            let weights = base.weights.copy(candle_core::DType::F32)?;
            let memory = Adam::new(adam, &weights)?;
            (weights, memory, 0)
        }
    };
    to_json(&run.settings(), settings)?;
    let learner = Learner::new(base, weights, memory, settings.optimizer()?)?;
    Ok(State { learner, tokens: base.tokens.clone(), done })
}

/// One update. Its random numbers hang on the seed and its place alone, so that a resumed run draws the same ones.
async fn step(
    state: &mut State,
    settings: &Settings,
    client: &Client,
) -> anyhow::Result<(Row, Option<String>)> {
    state.done += 1;
    let mut rng = StdRng::seed_from_u64(
        settings.seed.wrapping_mul(1_000_003).wrapping_add(state.done as u64),
    );
    let mut row = Row::new(state.done);
    let started = Instant::now();
    let scenes: Vec<Scene> = (0..settings.prompts)
        .map(|_| Scene::draw(&mut rng, Split::Train))
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
    progress::told(&mut row, "sampled", &sampled, &scores);
    let due = state.done.is_multiple_of(settings.look_every) || state.done == settings.updates;
    let example = if due { Some(look(state, settings, client, &mut row).await?) } else { None };
    Ok((row, example))
}

/// Held-out prompts: other prices, other words of the partner. The same ones, and the same random numbers, at every look.
/// Returns the first reply, for people.
async fn look(
    state: &State,
    settings: &Settings,
    client: &Client,
    row: &mut Row,
) -> anyhow::Result<String> {
    let mut rng = StdRng::seed_from_u64(0x4E1D);
    let scenes: Vec<Scene> =
        (0..settings.held_out).map(|_| Scene::draw(&mut rng, Split::HeldOut)).collect();
    let sampled = respond(&state.learner.policy, &state.tokens, &scenes, settings, &mut rng)?;
    let rollouts =
        scenes.iter().zip(&sampled).map(|(scene, sample)| scene.rollout(&sample.text)).collect();
    let scores = score(client, rollouts, settings.arm.fusion()).await?;
    progress::told(row, "held_out", &sampled, &scores);
    Ok(progress::example(&scenes, &sampled))
}

//! Supervised fine-tuning: trains the policy to imitate synthetic transcripts, mistakes included.

use std::path::Path;
use std::time::Instant;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Base, RunFolder, to_json};
use crate::curves::{self, Curve, Panel};
use crate::files;
use crate::inject::surrogate;
use crate::metrics::{self, MetricsRow};
use crate::policy::{Adam, AdamConfig, DecoderConfig, Dialogues, Policy, Trunk};
use crate::scene::{DataSplit, Scene};
use crate::tokens::DialogueTokenizer;

/// The settings of supervised fine-tuning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, clap::Args)]
pub struct SftSettings {
    /// Seed of transcripts, weights and order
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Number of steps
    #[arg(long, default_value_t = 500)]
    pub steps: usize,
    /// Replies per step
    #[arg(long, default_value_t = 48)]
    pub batch: usize,
    /// Peak learning rate; it decays to a tenth of the peak
    #[arg(long, default_value_t = 2e-3)]
    pub rate: f64,
    /// Share of transcripts in which the agent makes a mistake
    #[arg(long, default_value_t = 0.4)]
    pub flawed: f64,
    /// Maximum size of the vocabulary
    #[arg(long, default_value_t = 1024)]
    pub vocabulary: usize,
    /// Steps between two checkpoints
    #[arg(long, default_value_t = 100)]
    pub save_every: usize,
}

/// Trains a policy from scratch, or from the folder's checkpoint, and writes it to `folder` with
/// its loss.
///
/// # Errors
/// A folder of a run with other settings; the errors of candle; a file that cannot be written.
pub fn train(
    settings: &SftSettings,
    folder: &Path,
    log: &mut dyn FnMut(&str),
) -> anyhow::Result<Base> {
    let run = RunFolder(folder.to_owned());
    let config = AdamConfig { rate: settings.rate, decay: 0.01, ..AdamConfig::default() };
    let tokens = DialogueTokenizer::train(&transcripts(settings, 0, 4000), settings.vocabulary)?;
    let sizes = DecoderConfig::small(tokens.size());
    let (weights, mut adam, done) = match run.state()? {
        Some(state) => {
            run.check(settings)?;
            let weights = run.weights(state)?;
            let adam = run.adam(state, config, &weights)?;
            (weights, adam, state.update)
        }
        None => {
            files::create_folder(folder)?;
            let weights = sizes.draw(&mut StdRng::seed_from_u64(settings.seed))?;
            let adam = Adam::new(config, &weights)?;
            (weights, adam, 0)
        }
    };
    to_json(&run.settings(), settings)?;
    let policy = Policy::new(sizes, &weights, &Trunk::new())?;
    log(&format!("{} parameters, {} token ids, from step {done}", weights.count(), tokens.size()));

    let mut rows = run.rows()?;
    let started = Instant::now();
    for step in done + 1..=settings.steps {
        adam.set_rate(settings.rate * schedule(step, settings.steps));
        let loss = imitate(
            &policy,
            &tokens,
            &transcripts(settings, step, settings.batch),
            &mut adam,
            &weights,
        )?;
        let seconds = started.elapsed().as_secs_f64();
        let mut row = MetricsRow::new(step);
        row.set("loss", loss);
        row.set("seconds", seconds);
        rows.push(row);
        if step.is_multiple_of(settings.save_every) || step == settings.steps {
            metrics::save(&run.metrics(), &rows)?;
            run.save(step, &weights, &adam)?;
        }
        if step == 1 || step.is_multiple_of(20) || step == settings.steps {
            log(&format!("step {step:>5} | loss {loss:.4} nats per token | {seconds:.0} s"));
        }
    }
    let base = Base { tokens, config: sizes, weights, gguf: None, trunk: Trunk::new() };
    base.save(folder)?;
    let points =
        rows.iter().filter_map(|row| Some((row.update as f64, row.get("loss")?))).collect();
    let lines = vec![Curve { points, ..Curve::default() }];
    curves::draw(
        &folder.join("curves.svg"),
        &[Panel { title: "imitation loss, nats per token".into(), lines }],
    )?;
    Ok(base)
}

/// Draws the transcripts of a step; those of step 0 train the tokenizer. They depend only on the
/// seed and the step, so that a resumed run draws the same ones.
fn transcripts(settings: &SftSettings, step: usize, count: usize) -> Vec<(Scene, String)> {
    let mut rng =
        StdRng::seed_from_u64(settings.seed.wrapping_mul(1_000_003).wrapping_add(step as u64));
    let transcript = |_| {
        let scene = Scene::draw(&mut rng, DataSplit::Train);
        let reply = scene.imitate(&mut rng, settings.flawed);
        (scene, reply)
    };
    (0..count).map(transcript).collect()
}

/// Runs one step of cross-entropy on the replies' tokens; returns the loss.
fn imitate(
    policy: &Policy,
    tokens: &DialogueTokenizer,
    pairs: &[(Scene, String)],
    adam: &mut Adam,
    weights: &crate::policy::WeightSet,
) -> anyhow::Result<f64> {
    let encoded: Vec<(Vec<u32>, Vec<u32>)> = pairs
        .iter()
        .map(|(scene, reply)| Ok((tokens.prompt(scene)?, tokens.reply(reply)?)))
        .collect::<anyhow::Result<_>>()?;
    let prompts: Vec<&[u32]> = encoded.iter().map(|pair| pair.0.as_slice()).collect();
    let replies: Vec<&[u32]> = encoded.iter().map(|pair| pair.1.as_slice()).collect();
    let batch = Dialogues::new(&prompts, &replies, tokens.pad)?;
    let (logp, values) = policy.forward(&batch)?;

    // Cross-entropy is the surrogate with the same constant slope for every token.
    #[expect(clippy::cast_precision_loss, reason = "a batch has few tokens")]
    let share = -1.0 / batch.lens.iter().sum::<usize>() as f32;
    let width = batch.width();
    let slope: Vec<f32> = batch
        .lens
        .iter()
        .flat_map(|len| (0..width).map(move |at| if at < *len { share } else { 0.0 }))
        .collect();
    let loss = surrogate(&logp, &values, &slope, &vec![0.0; slope.len()])?;
    adam.step(weights, &loss.backward()?)?;
    Ok(f64::from(loss.to_scalar::<f32>()?))
}

/// The share of the peak rate: a linear warm-up, then a cosine decay to a tenth.
fn schedule(step: usize, steps: usize) -> f64 {
    let (step, steps, warm) = (step as f64, steps as f64, 20.0_f64);
    let fall = ((step - warm) / (steps - warm).max(1.0)).clamp(0.0, 1.0);
    (step / warm).min(1.0) * (0.1 + 0.9 * 0.5 * (1.0 + (std::f64::consts::PI * fall).cos()))
}

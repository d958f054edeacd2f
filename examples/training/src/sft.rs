//! Imitation: the policy learns to answer as the made-up transcripts do, mistakes included.

use std::path::Path;
use std::time::Instant;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::checkpoint::Base;
use crate::curves::{self, Line, Panel};
use crate::inject::surrogate;
use crate::metrics::{self, Row};
use crate::policy::{Adam, AdamConfig, Dialogues, Policy, PolicyConfig, Trunk};
use crate::scene::{Scene, Split};
use crate::tokens::Tokens;

/// What imitation is asked for.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Settings {
    /// What transcripts, weights and order are drawn with
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Steps to make
    #[arg(long, default_value_t = 500)]
    pub steps: usize,
    /// Replies of a step
    #[arg(long, default_value_t = 48)]
    pub batch: usize,
    /// Peak learning rate; it falls to a tenth of it
    #[arg(long, default_value_t = 2e-3)]
    pub rate: f64,
    /// Share of transcripts in which the agent does something wrong
    #[arg(long, default_value_t = 0.4)]
    pub flawed: f64,
    /// Most tokens of the vocabulary
    #[arg(long, default_value_t = 1024)]
    pub vocabulary: usize,
}

/// Trains a policy from nothing, and writes it to `folder` with its loss.
///
/// # Errors
/// What candle refuses; a file that cannot be written.
pub fn train(settings: &Settings, folder: &Path, tell: &mut dyn FnMut(&str)) -> anyhow::Result<Base> {
    let mut rng = StdRng::seed_from_u64(settings.seed);
    let mut draw = |count: usize| -> Vec<(Scene, String)> {
        (0..count)
            .map(|_| {
                let scene = Scene::draw(&mut rng, Split::Train);
                let reply = scene.imitate(&mut rng, settings.flawed);
                (scene, reply)
            })
            .collect()
    };
    let tokens = Tokens::train(&draw(4000), settings.vocabulary)?;
    let config = PolicyConfig::small(tokens.size());
    let weights = config.draw(&mut StdRng::seed_from_u64(settings.seed))?;
    let policy = Policy::new(config, &weights, &Trunk::new())?;
    let mut adam =
        Adam::new(AdamConfig { rate: settings.rate, decay: 0.01, ..AdamConfig::default() }, &weights)?;
    tell(&format!("{} parameters, {} token ids", weights.count(), tokens.size()));

    let mut rows = Vec::new();
    let started = Instant::now();
    for step in 1..=settings.steps {
        adam.set_rate(settings.rate * schedule(step, settings.steps));
        let pairs = draw(settings.batch);
        let loss = imitate(&policy, &tokens, &pairs, &mut adam, &weights)?;
        let mut row = Row::new(step);
        row.set("loss", loss);
        row.set("seconds", started.elapsed().as_secs_f64());
        rows.push(row);
        if step == 1 || step.is_multiple_of(20) || step == settings.steps {
            tell(&format!(
                "step {step:>5} | loss {loss:.4} nats a token | {:.0} s",
                started.elapsed().as_secs_f64()
            ));
        }
    }
    let base = Base { tokens, config, weights, gguf: None, trunk: Trunk::new() };
    base.save(folder)?;
    metrics::save(&folder.join("metrics.jsonl"), &rows)?;
    let points = rows.iter().filter_map(|row| Some((row.update as f64, row.get("loss")?))).collect();
    let lines = vec![Line { points, ..Line::default() }];
    curves::draw(
        &folder.join("curves.svg"),
        &[Panel { title: "imitation loss, nats a token".into(), lines }],
    )?;
    Ok(base)
}

/// One step of cross-entropy on the replies' tokens; returns the loss.
fn imitate(
    policy: &Policy,
    tokens: &Tokens,
    pairs: &[(Scene, String)],
    adam: &mut Adam,
    weights: &crate::policy::Weights,
) -> anyhow::Result<f64> {
    let encoded: Vec<(Vec<u32>, Vec<u32>)> = pairs
        .iter()
        .map(|(scene, reply)| Ok((tokens.prompt(scene)?, tokens.reply(reply)?)))
        .collect::<anyhow::Result<_>>()?;
    let prompts: Vec<&[u32]> = encoded.iter().map(|pair| pair.0.as_slice()).collect();
    let replies: Vec<&[u32]> = encoded.iter().map(|pair| pair.1.as_slice()).collect();
    let batch = Dialogues::new(&prompts, &replies, tokens.pad)?;
    let (logp, values) = policy.forward(&batch)?;

    // Cross-entropy is the surrogate with one constant slope a token.
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

/// The share of the peak rate: up over the first steps, then down along a cosine to a tenth.
fn schedule(step: usize, steps: usize) -> f64 {
    let (step, steps, warm) = (step as f64, steps as f64, 20.0_f64);
    let fall = ((step - warm) / (steps - warm).max(1.0)).clamp(0.0, 1.0);
    (step / warm).min(1.0) * (0.1 + 0.9 * 0.5 * (1.0 + (std::f64::consts::PI * fall).cos()))
}

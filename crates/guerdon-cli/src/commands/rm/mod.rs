//! `guerdon rm`: writes manifests, describes a reward model, checks its scores, and measures its
//! throughput.

mod init;
mod python;
mod rows;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use guerdon_model::{
    BatchEvent, BatchOutcome, Model, ModelConfig, ModelEvent, ModelReference, REFERENCE,
    ReferenceTolerance,
};
use parking_lot::Mutex;

use self::rows::{ReferenceRow, rows, scores_of};
use crate::cli::{RmCommand, RmModelArgs};
use crate::output::outln;

/// The allowed difference between scores of one text, unless the command names another.
const TOLERANCE: f32 = 1e-4;

/// The same for a graph in 16 bits, in standard deviations of the scores.
const HALF_DEVIATIONS: f64 = 2e-2;

pub(super) fn run(rm: RmCommand) -> anyhow::Result<ExitCode> {
    match rm {
        RmCommand::Init(args) => init::run(&args),
        RmCommand::Info(model) => info(&model),
        RmCommand::Check { model, on, tolerance } => {
            let on = on.unwrap_or_else(|| model.model.join(REFERENCE));
            check(&model, &rows(&on)?, tolerance)
        }
        RmCommand::Bench { model, on, instances, threads, token_budget, block_size, max_batch } => {
            let sizes = ModelConfig { token_budget, block_size, max_batch, ..config(&model) };
            let config = ModelConfig { instances, threads, ..sizes };
            bench(&config, &rows(&on)?)
        }
    }
}

fn info(model: &RmModelArgs) -> anyhow::Result<ExitCode> {
    let config = ModelConfig { instances: Some(1), ..config(model) };
    let model = Model::load(&config, Arc::new(|_| {}))?;
    outln!("{}", model.about())?;
    outln!("version {}", model.hash())?;
    outln!("{}", toml::to_string_pretty(model.manifest())?)?;
    model.shutdown();
    Ok(ExitCode::SUCCESS)
}

/// The model's configuration, without a cache: every score is computed.
fn config(model: &RmModelArgs) -> ModelConfig {
    let RmModelArgs { model, device, runtime } = model;
    ModelConfig {
        device: device.clone(),
        runtime: runtime.clone(),
        cache: 0,
        ..ModelConfig::new(model)
    }
}

fn check(
    model: &RmModelArgs,
    rows: &[ReferenceRow],
    tolerance: Option<f32>,
) -> anyhow::Result<ExitCode> {
    let together = score(&config(model), rows)?;
    let alone = score(&ModelConfig { max_batch: Some(1), ..config(model) }, rows)?;
    outln!("{}\nversion {}", together.about, together.hash)?;

    let expected: Vec<(f32, f32)> = rows
        .iter()
        .zip(&together.scores)
        .filter_map(|(row, score)| row.expected.map(|expected| (expected, *score)))
        .collect();
    let known: Vec<f64> = expected.iter().map(|(expected, _)| f64::from(*expected)).collect();
    let reference = together.reference.as_ref();
    let stated = ReferenceTolerance::new(reference, &known, model.device.first());
    // A graph in 16 bits rounds each score by its own batch's shape.
    let is_half = reference
        .and_then(|reference| reference.storage.as_deref())
        .is_some_and(|storage| matches!(storage, "fp16" | "bf16"));
    let same_within = match tolerance {
        Some(tolerance) => f64::from(tolerance),
        None if is_half => f64::from(TOLERANCE).max(HALF_DEVIATIONS * stated.deviation),
        None => f64::from(TOLERANCE),
    };
    let difference =
        together.scores.iter().zip(&alone.scores).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let same = f64::from(difference) <= same_within;
    outln!(
        "{}  {} turns one by one and in {} batches: at most {difference:e} apart{}",
        verdict(same),
        together.scores.len(),
        together.batches.len(),
        if difference == 0.0 { ", bit for bit the same" } else { "" },
    )?;

    let wrong =
        expected.iter().map(|(expected, score)| (expected - score).abs()).fold(0.0, f32::max);
    let allowed = |expected: f32| match tolerance {
        Some(tolerance) => f64::from(tolerance),
        None if stated.is_stated => stated.allowed(f64::from(expected)),
        None => f64::from(TOLERANCE),
    };
    let right = expected
        .iter()
        .all(|(expected, score)| f64::from((expected - score).abs()) <= allowed(*expected));
    match expected.len() {
        0 => outln!("--    no reference scores to compare with")?,
        some => outln!(
            "{}  {some} reference scores: at most {wrong:e} apart, {:.2e} standard deviations",
            verdict(right),
            f64::from(wrong) / stated.deviation,
        )?,
    }
    let graph = rows.iter().zip(&together.scores).filter_map(|(row, score)| {
        row.graph.map(|expected| (f64::from(expected), f64::from(*score)))
    });
    let (mut count, mut furthest, mut equal) = (0, 0.0_f64, true);
    let rounding = tolerance.map_or(TOLERANCE, |tolerance| tolerance.max(TOLERANCE));
    for (expected, score) in graph {
        let apart = (expected - score).abs();
        equal &= apart <= f64::from(rounding) * expected.abs().max(1.0);
        (count, furthest) = (count + 1, furthest.max(apart));
    }
    if count > 0 {
        outln!("{}  {count} scores of the same graph: at most {furthest:e} apart", verdict(equal))?;
    }
    Ok(if same && right && equal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

const fn verdict(good: bool) -> &'static str {
    if good { "ok  " } else { "FAIL" }
}

fn bench(config: &ModelConfig, rows: &[ReferenceRow]) -> anyhow::Result<ExitCode> {
    let run = score(config, rows)?;
    outln!("{}; {}", run.about, run.batching)?;
    let sum = |count: fn(&BatchEvent) -> usize| run.batches.iter().map(count).sum::<usize>();
    let (items, tokens, computed) =
        (sum(|batch| batch.items), sum(|batch| batch.tokens), sum(|batch| batch.computed_tokens));
    #[expect(clippy::cast_precision_loss, reason = "counts of turns and tokens are far below 2^52")]
    let (turns, asked, computed_tokens) = (run.scores.len() as f64, tokens as f64, computed as f64);
    outln!(
        "{} turns in {:.2} s: {:.1} turns/s, {:.0} tokens/s",
        run.scores.len(),
        run.seconds,
        turns / run.seconds,
        asked / run.seconds
    )?;
    outln!(
        "{items} distinct sequences in {} batches; {computed} tokens computed for {tokens} requested ({:.2} of them)",
        run.batches.len(),
        computed_tokens / asked,
    )?;
    let failed = run.batches.iter().filter(|batch| batch.outcome != BatchOutcome::Scored).count();
    if failed > 0 {
        outln!("{failed} batches failed and were halved until the failing sequence was isolated")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The scores of a file's turns, and the batches that computed them.
struct ScoringRun {
    about: String,
    batching: String,
    hash: String,
    /// The manifest's section about its reference scores.
    reference: Option<ModelReference>,
    /// One per scored turn, in order.
    scores: Vec<f32>,
    batches: Vec<BatchEvent>,
    /// From the first request to the last score; loading and warm-up are not included.
    seconds: f64,
}

fn score(config: &ModelConfig, rows: &[ReferenceRow]) -> anyhow::Result<ScoringRun> {
    let batches = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&batches);
    let observer = move |event: &ModelEvent| {
        if let ModelEvent::Batch(batch) = event {
            seen.lock().push(batch.clone());
        }
    };
    let model = Model::load(config, Arc::new(observer))?;
    let started = Instant::now();
    let scores = scores_of(&model, rows)?;
    let seconds = started.elapsed().as_secs_f64();
    model.shutdown();
    let batches = std::mem::take(&mut *batches.lock());
    let (about, batching, hash) = (model.about(), model.batching(), model.hash().to_owned());
    let reference = model.manifest().reference.clone();
    Ok(ScoringRun { about, batching, hash, reference, scores, batches, seconds })
}

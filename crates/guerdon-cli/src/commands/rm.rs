//! `guerdon rm`: what a reward model folder holds, whether it scores as it should, and how fast.

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use guerdon_model::{BatchEvent, BatchOutcome, Model, ModelConfig, ModelEvent};
use guerdon_types::{Rollout, ScoreTurns};
use serde_json::Value;

use super::{read, runtime};
use crate::cli::{Rm, RmModel};

pub(super) fn run(rm: Rm) -> anyhow::Result<ExitCode> {
    match rm {
        Rm::Info(model) => info(&model),
        Rm::Check { model, on, tolerance } => {
            let on = on.unwrap_or_else(|| model.model.join("reference.jsonl"));
            check(&model, &rows(&on)?, tolerance)
        }
        Rm::Bench { model, on, instances, threads, token_budget, block_size, max_batch } => {
            let sizes = ModelConfig { token_budget, block_size, max_batch, ..config(&model) };
            let config = ModelConfig { instances, threads, ..sizes };
            bench(&config, &rows(&on)?)
        }
    }
}

fn info(model: &RmModel) -> anyhow::Result<ExitCode> {
    let config = ModelConfig { instances: Some(1), ..config(model) };
    let model = Model::load(&config, Arc::new(|_| {}))?;
    println!("{}", model.about());
    println!("version {}", model.hash());
    println!("{}", toml::to_string_pretty(model.manifest())?);
    model.shutdown();
    Ok(ExitCode::SUCCESS)
}

/// Nothing is cached, so that every score asked for is computed.
fn config(model: &RmModel) -> ModelConfig {
    let RmModel { model, device, runtime } = model;
    ModelConfig {
        device: device.clone(),
        runtime: runtime.clone(),
        cache: 0,
        ..ModelConfig::new(model)
    }
}

/// A dialogue, and the score that somebody else gave it.
struct Row {
    rollout: Rollout,
    expected: Option<f32>,
}

/// Rollouts as `POST /v1/score` takes them, or the rows that examples/reward-model/reference.py writes: with `index` for
/// the turn and `score` or `score_onnx` for what it should score.
fn rows(file: &Path) -> anyhow::Result<Vec<Row>> {
    let text = read(file)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let rows: Vec<Row> = lines
        .map(|(number, line)| {
            row(line).with_context(|| format!("{}:{}", file.display(), number + 1))
        })
        .collect::<anyhow::Result<_>>()?;
    ensure!(!rows.is_empty(), "{} holds no rollout", file.display());
    Ok(rows)
}

fn row(line: &str) -> anyhow::Result<Row> {
    let value: Value = serde_json::from_str(line)?;
    let Some(index) = value.get("index").and_then(Value::as_u64) else {
        return Ok(Row { rollout: serde_json::from_value(value)?, expected: None });
    };
    let messages = serde_json::from_value(value.get("messages").cloned().unwrap_or_default())?;
    let score = ScoreTurns::Indices(vec![usize::try_from(index)?]);
    let expected =
        ["score", "score_onnx"].iter().find_map(|key| value.get(key).and_then(Value::as_f64));
    #[expect(clippy::cast_possible_truncation, reason = "a model's score has 32 bits")]
    let expected = expected.map(|expected| expected as f32);
    Ok(Row { rollout: Rollout { messages, score, ..Rollout::default() }, expected })
}

fn check(model: &RmModel, rows: &[Row], tolerance: f32) -> anyhow::Result<ExitCode> {
    let together = score(&config(model), rows)?;
    let alone = score(&ModelConfig { max_batch: Some(1), ..config(model) }, rows)?;
    println!("{}\nversion {}", together.about, together.hash);

    let apart =
        together.scores.iter().zip(&alone.scores).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let same = apart <= tolerance;
    println!(
        "{}  {} turns alone and in {} batches: at most {apart:e} apart{}",
        verdict(same),
        together.scores.len(),
        together.batches.len(),
        if apart == 0.0 { ", bit for bit the same" } else { "" },
    );

    let expected: Vec<(f32, f32)> = rows
        .iter()
        .zip(&together.scores)
        .filter_map(|(row, score)| row.expected.map(|expected| (expected, *score)))
        .collect();
    let wrong =
        expected.iter().map(|(expected, score)| (expected - score).abs()).fold(0.0, f32::max);
    let right = wrong <= tolerance;
    match expected.len() {
        0 => println!("--    no reference scores to compare with"),
        some => println!("{}  {some} reference scores: at most {wrong:e} apart", verdict(right)),
    }
    Ok(if same && right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

const fn verdict(good: bool) -> &'static str {
    if good { "ok  " } else { "FAIL" }
}

fn bench(config: &ModelConfig, rows: &[Row]) -> anyhow::Result<ExitCode> {
    let run = score(config, rows)?;
    println!("{}; {}", run.about, run.batching);
    let sum = |count: fn(&BatchEvent) -> usize| run.batches.iter().map(count).sum::<usize>();
    let (items, tokens, computed) =
        (sum(|batch| batch.items), sum(|batch| batch.tokens), sum(|batch| batch.computed_tokens));
    #[expect(clippy::cast_precision_loss, reason = "counts of turns and tokens are far below 2^52")]
    let (turns, asked, computed_tokens) = (run.scores.len() as f64, tokens as f64, computed as f64);
    println!(
        "{} turns in {:.2} s: {:.1} turns/s, {:.0} tokens/s",
        run.scores.len(),
        run.seconds,
        turns / run.seconds,
        asked / run.seconds
    );
    println!(
        "{items} distinct sequences in {} batches; {computed} tokens computed for {tokens} asked ({:.2} of them)",
        run.batches.len(),
        computed_tokens / asked,
    );
    let failed = run.batches.iter().filter(|batch| batch.outcome != BatchOutcome::Scored).count();
    if failed > 0 {
        println!("{failed} batches failed and were halved until what failed was alone");
    }
    Ok(ExitCode::SUCCESS)
}

/// What scoring a file gave.
struct Run {
    about: String,
    batching: String,
    hash: String,
    /// Of every asked turn, in order.
    scores: Vec<f32>,
    batches: Vec<BatchEvent>,
    /// From the first question to the last answer, the model being loaded and warm.
    seconds: f64,
}

fn score(config: &ModelConfig, rows: &[Row]) -> anyhow::Result<Run> {
    let batches = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&batches);
    let observer = move |event: &ModelEvent| {
        if let ModelEvent::Batch(batch) = event {
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(batch.clone());
        }
    };
    let model = Model::load(config, Arc::new(observer))?;
    let started = Instant::now();
    let mut scored: Vec<(usize, Vec<f32>)> = runtime()?.block_on(async {
        let mut asked: FuturesUnordered<_> = rows
            .iter()
            .enumerate()
            .map(|(place, row)| {
                let model = &model;
                async move { model.raw_scores(&row.rollout).await.map(|scores| (place, scores)) }
            })
            .collect();
        let mut scored = Vec::with_capacity(rows.len());
        while let Some(answer) = asked.next().await {
            scored.push(answer.map_err(anyhow::Error::msg)?);
        }
        anyhow::Ok(scored)
    })?;
    let seconds = started.elapsed().as_secs_f64();
    model.shutdown();
    scored.sort_unstable_by_key(|(place, _)| *place);
    let batches = std::mem::take(&mut *batches.lock().unwrap_or_else(PoisonError::into_inner));
    let scores = scored.into_iter().flat_map(|(_, scores)| scores).collect();
    let (about, batching, hash) = (model.about(), model.batching(), model.hash().to_owned());
    Ok(Run { about, batching, hash, scores, batches, seconds })
}

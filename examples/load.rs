//! Measures a running server: one request of many rollouts, and many requests of one rollout.
//!
//! ```text
//! cargo run --release -p guerdon-examples --example load -- \
//!     ROLLOUTS.jsonl [URL] [COUNT] [CONNECTIONS] [SOURCES]
//! ```
//!
//! COUNT rollouts (default 1024) are read from the file, which is repeated if it is shorter. CONNECTIONS
//! (default 256) requests are in flight at a time in the second mode. SOURCES such as `rules` restricts the
//! sources, fused by weighted sum. It prints rollouts per second and latencies of each mode, and the
//! histogram of the model's batch sizes.

#![expect(clippy::print_stdout, reason = "a measurement prints its results")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use guerdon_client::{Client, FusionMethod, FusionPatch, Rollout, ScoreRequest, SourceId};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize, default: &str| {
        arguments.get(index).map_or_else(|| default.to_owned(), String::clone)
    };
    let file = arguments
        .first()
        .context("usage: load ROLLOUTS.jsonl [URL] [COUNT] [CONNECTIONS] [SOURCES]")?;
    let url = argument(1, "http://127.0.0.1:8787");
    let (count, connections): (usize, usize) =
        (argument(2, "1024").parse()?, argument(3, "256").parse()?);
    let template = template(&argument(4, ""));
    let rollouts = read(file, count)?;
    let client = Client::builder(&url)
        .chunk(count)
        .concurrency(connections)
        .timeout(Duration::from_secs(1_200))
        .build()?;

    let before = batches(&url).await?;
    let started = Instant::now();
    let scored =
        client.score(&ScoreRequest { rollouts: rollouts.clone(), ..template.clone() }).await?;
    let took = started.elapsed();
    let unscored = scored.results.iter().filter(|result| result.reward.is_none()).count();
    println!(
        "1 request x {count} rollouts: {:.1} rollouts/s ({took:.2?}); {unscored} without a reward",
        per_second(count, took)
    );
    let after = batches(&url).await?;
    show(&before, &after);

    // Changed texts, so that no cache answers.
    let singles: Vec<Rollout> = rollouts.into_iter().map(with_new_text).collect();
    let (client, template) = (Arc::new(client), Arc::new(template));
    let started = Instant::now();
    let mut asked = tokio::task::JoinSet::new();
    for rollout in singles {
        let (client, template) = (Arc::clone(&client), Arc::clone(&template));
        asked.spawn(async move {
            let started = Instant::now();
            let request =
                ScoreRequest { rollouts: vec![rollout], ..ScoreRequest::clone(&template) };
            client.score(&request).await.map(|_| started.elapsed())
        });
    }
    let mut latencies = asked.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let took = started.elapsed();
    latencies.sort_unstable();
    let at = |share: usize| {
        latencies.get((latencies.len() * share / 100).min(latencies.len().saturating_sub(1)))
    };
    println!(
        "{count} requests x 1 rollout, {connections} at a time: {:.1} rollouts/s ({took:.2?}); latency p50 {:.2?}, p99 {:.2?}",
        per_second(count, took),
        at(50).copied().unwrap_or_default(),
        at(99).copied().unwrap_or_default(),
    );
    show(&after, &batches(&url).await?);
    Ok(())
}

fn template(sources: &str) -> ScoreRequest {
    let sources: Vec<SourceId> =
        sources.split(',').filter(|name| !name.is_empty()).map(SourceId::from).collect();
    if sources.is_empty() {
        return ScoreRequest::default();
    }
    let fusion = FusionPatch { method: Some(FusionMethod::WeightedSum), ..FusionPatch::default() };
    ScoreRequest { sources: Some(sources), fusion: Some(fusion), ..ScoreRequest::default() }
}

fn read(file: &str, count: usize) -> anyhow::Result<Vec<Rollout>> {
    #[expect(clippy::disallowed_methods, reason = "a program that reads its input")]
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    let lines: Vec<Rollout> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let mut rollouts: Vec<Rollout> = lines.into_iter().cycle().take(count).collect();
    for rollout in &mut rollouts {
        rollout.id = None;
    }
    Ok(rollouts)
}

fn with_new_text(mut rollout: Rollout) -> Rollout {
    // The last turn, because truncation could remove a change in an earlier one.
    if let Some(last) = rollout.messages.last_mut() {
        last.content.push_str(" .");
    }
    rollout
}

#[expect(clippy::cast_precision_loss, reason = "a count of rollouts is exact in an f64")]
fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// Fetches the cumulative histogram of model batches by number of texts.
async fn batches(url: &str) -> anyhow::Result<BTreeMap<u64, u64>> {
    let text = reqwest::get(format!("{url}/metrics")).await?.text().await?;
    let bucket = |line: &str| {
        let line = line.strip_prefix("guerdon_model_batch_items_bucket{le=\"")?;
        let (bound, rest) = line.split_once('"')?;
        let bound = if bound == "+Inf" {
            u64::MAX
        } else {
            bound.strip_suffix(".0").unwrap_or(bound).parse().ok()?
        };
        Some((bound, rest.rsplit(' ').next()?.parse::<u64>().ok()?))
    };
    Ok(text.lines().filter_map(bucket).collect())
}

fn show(before: &BTreeMap<u64, u64>, after: &BTreeMap<u64, u64>) {
    let (mut below, mut parts) = (0, Vec::new());
    for (bound, so_far) in after {
        let now = so_far - before.get(bound).copied().unwrap_or_default();
        if now > below {
            let bound = if *bound == u64::MAX { "more".to_owned() } else { format!("<={bound}") };
            parts.push(format!("{bound}: {}", now - below));
        }
        below = now;
    }
    if below > 0 {
        println!("  {below} model batches, by texts in each: {}", parts.join(", "));
    }
}

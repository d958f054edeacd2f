//! Turns per second between a source of kind `http` and a function on the loopback interface that
//! answers at once: 1,024 rollouts of which the last turn is asked, 2 kB each, every one new.
//!
//! ```sh
//! cargo bench -p guerdon-remote --bench http
//! ```

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a benchmark fails by panicking, and prints its figures"
)]

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use futures_util::future::join_all;
use guerdon_fusion::{Ask, RewardSource as _};
use guerdon_remote::{HttpSource, HttpSourceConfig};
use guerdon_types::{Message, Role, Rollout};
use tokio_util::task::TaskTracker;

const ROLLOUTS: usize = 1024;
const BYTES: usize = 2048;
const ROUNDS: usize = 20;

/// A result for each turn. The asked message of each turn is counted by its key in the JSON.
async fn answer(body: Bytes) -> String {
    let turns = body.windows(10).filter(|window| window == b"\"dialogue\"").count();
    let results = vec![r#"{"value":1.0}"#; turns].join(",");
    format!(r#"{{"version":"1","results":[{results}]}}"#)
}

fn rollouts(round: usize) -> Vec<Rollout> {
    (0..ROLLOUTS)
        .map(|index| {
            let mut text = format!("{round} {index} ");
            text.extend(std::iter::repeat_n("We could meet at 420. ", BYTES / 22));
            let asked = Message::new(Role::User, "480 is our best price.");
            let messages = vec![asked, Message::new(Role::Assistant, text)];
            Rollout { messages, ..Rollout::default() }
        })
        .collect()
}

async fn round(source: &HttpSource, rollouts: &[Rollout]) -> Duration {
    let started = Instant::now();
    let asked = rollouts.iter().map(|rollout| source.score(Ask::new(rollout, &[1], None)));
    let signals = join_all(asked).await;
    let took = started.elapsed();
    assert!(signals.iter().all(|signals| signals[0].part.is_some()), "a turn abstained");
    took
}

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/score", listener.local_addr().unwrap());
        let app = Router::new().route("/score", post(answer));
        let app = app.layer(axum::extract::DefaultBodyLimit::disable());
        let tasks = TaskTracker::new();
        let serving = tasks.spawn(async move { axum::serve(listener, app).await });
        let source = HttpSource::new("bench".into(), HttpSourceConfig::new(url), None, &tasks).unwrap();
        round(&source, &rollouts(usize::MAX)).await;
        let mut rates = Vec::new();
        for index in 0..ROUNDS {
            let rollouts = rollouts(index);
            let took = round(&source, &rollouts).await;
            rates.push(ROLLOUTS as f64 / took.as_secs_f64());
        }
        rates.sort_by(f64::total_cmp);
        println!(
            "{ROLLOUTS} rollouts of {BYTES} bytes, {ROUNDS} rounds: median {:.0} turns/s, worst {:.0}, best {:.0}",
            rates[ROUNDS / 2],
            rates[0],
            rates[ROUNDS - 1]
        );
        serving.abort();
    });
}

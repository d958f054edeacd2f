//! Quotas of endpoints that count in fixed windows, in sliding windows or in a bucket that fills up,
//! under virtual time: how much of the quota is used, and how many requests are refused.

use std::collections::VecDeque;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use guerdon_judge::EndpointConfig;
use tokio::time::Instant;

use crate::paused::{Act, Judge, ScriptedTransport, URL, answer, config};

/// The tokens that the stand-in's replies report.
const TOKENS_OF_A_CALL: u64 = 360;

/// The way in which an endpoint counts.
#[derive(Debug, Clone, Copy)]
enum Counting {
    /// From zero again at each multiple of the window.
    Fixed,
    /// The last window at every moment.
    Sliding,
    /// A bucket that fills up within a window.
    Bucket,
}

/// An endpoint that lets `quota` through in a window. It counts at the arrival of a request, and
/// says nothing about how it stands.
struct CountingEndpoint {
    counting: Counting,
    quota: f64,
    window: Duration,
    start: Instant,
    taken: VecDeque<(Instant, f64)>,
    fixed: (u128, f64),
    bucket: (Instant, f64),
}

impl CountingEndpoint {
    fn new(counting: Counting, quota: u64, window: Duration) -> Self {
        let (now, quota) = (Instant::now(), quota as f64);
        Self {
            counting,
            quota,
            window,
            start: now,
            taken: VecDeque::new(),
            fixed: (0, 0.0),
            bucket: (now, quota),
        }
    }

    fn takes(&mut self, cost: f64) -> bool {
        let now = Instant::now();
        match self.counting {
            Counting::Fixed => {
                let window = (now - self.start).as_nanos() / self.window.as_nanos();
                if self.fixed.0 != window {
                    self.fixed = (window, 0.0);
                }
                let takes = self.fixed.1 + cost <= self.quota;
                self.fixed.1 += if takes { cost } else { 0.0 };
                takes
            }
            Counting::Sliding => {
                while self.taken.front().is_some_and(|(at, _)| *at + self.window <= now) {
                    self.taken.pop_front();
                }
                let used: f64 = self.taken.iter().map(|(_, cost)| cost).sum();
                let takes = used + cost <= self.quota;
                if takes {
                    self.taken.push_back((now, cost));
                }
                takes
            }
            Counting::Bucket => {
                let filled = (now - self.bucket.0).as_secs_f64() / self.window.as_secs_f64();
                let level = (self.bucket.1 + filled * self.quota).min(self.quota);
                let takes = level >= cost;
                self.bucket = (now, if takes { level - cost } else { level });
                takes
            }
        }
    }
}

/// The share of the quota that is used, and the share of requests that are refused.
async fn used(
    counting: Counting,
    limits: impl FnOnce(EndpointConfig) -> EndpointConfig,
    (quota, cost): (u64, u64),
    (window, questions): (Duration, usize),
) -> (f64, f64) {
    let endpoint = Mutex::new(CountingEndpoint::new(counting, quota, window));
    let taken = Arc::new(Mutex::new(Vec::new()));
    let takes = Arc::clone(&taken);
    let stand_in = ScriptedTransport::that(move |number| {
        if !endpoint.lock().unwrap().takes(cost as f64) {
            return Act::Status(429, Vec::new());
        }
        takes.lock().unwrap().push(Instant::now());
        answer(200 + (number as u64 * 37) % 900)
    });
    let config = EndpointConfig { quota_window: window, ..limits(config()) };
    let judge = Judge::of(config, &[(URL, Arc::clone(&stand_in))]);
    let started = Instant::now();
    let signals = judge.judge_many(questions).await;
    assert!(signals.iter().all(|signal| signal.part.is_some()), "no verdict is lost");
    // Whole windows only, and none in which there was nothing left to ask.
    let taken = taken.lock().unwrap();
    let windows = (*taken.last().unwrap() - started).as_nanos() / window.as_nanos();
    let windows = u32::try_from(windows).unwrap();
    let within = taken.iter().filter(|at| **at < started + window * windows).count();
    let used = (within as u64 * cost) as f64 / (quota as f64 * f64::from(windows));
    let refused = judge.outcomes("rate_limited") as f64 / stand_in.calls() as f64;
    (used, refused)
}

#[tokio::test(start_paused = true)]
async fn every_way_of_counting_is_used_nearly_whole_and_hardly_ever_overrun() {
    let secs = Duration::from_secs;
    for counting in [Counting::Fixed, Counting::Sliding, Counting::Bucket] {
        let requests = |config: EndpointConfig| EndpointConfig {
            // 60 in 6 seconds.
            requests_per_minute: NonZeroU32::new(600),
            ..config
        };
        let tokens = |a_minute: u64| {
            move |config: EndpointConfig| EndpointConfig {
                tokens_per_minute: NonZeroU64::new(a_minute),
                ..config
            }
        };
        let call = TOKENS_OF_A_CALL;
        let measured = [
            ("60 requests in 6 s", 0.95, used(counting, requests, (60, 1), (secs(6), 3600)).await),
            (
                "14,400 tokens in 6 s",
                0.93,
                used(counting, tokens(144_000), (14_400, call), (secs(6), 2400)).await,
            ),
            (
                "36,000 tokens in 60 s",
                0.95,
                used(counting, tokens(36_000), (36_000, call), (secs(60), 3000)).await,
            ),
        ];
        for (quota, least, (used, refused)) in measured {
            println!("{counting:?}, {quota}: {used:.3} used, {refused:.4} refused");
            assert!(used >= least, "{counting:?}, {quota}: {used:.3} used");
            assert!(refused <= 0.01, "{counting:?}, {quota}: {refused:.4} refused");
        }
    }
}

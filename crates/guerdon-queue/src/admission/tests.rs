//! Admission under virtual time.

use futures_util::future::join_all;
use proptest::prelude::*;

use super::*;
use crate::quota::QuotaReport;
use crate::retry::Backoff;

const MINUTE: Duration = Duration::from_secs(60);

pub(super) fn limits() -> AdmissionLimits {
    AdmissionLimits {
        max_concurrent: 1000,
        max_queued: 10_000,
        requests: None,
        tokens: None,
        span: MINUTE,
        backoff: Backoff {
            base: Duration::from_millis(500),
            cap: Duration::from_secs(8),
            floor: Duration::from_millis(50),
        },
    }
}

/// One address.
fn one(limits: AdmissionLimits) -> Arc<Admission> {
    Admission::new(limits, 1)
}

pub(super) fn pause(admission: &Admission, address: usize, pause: Duration) {
    admission.state.lock().lanes[address].pause(pause, Instant::now());
    admission.changed.notify_one();
}

fn paused_until(admission: &Admission) -> Option<Instant> {
    admission.state.lock().lanes[0].paused_until(Instant::now())
}

pub(super) fn demand(tokens: u64) -> Demand {
    Demand::new(tokens, Flow::new("", 1))
}

pub(super) fn demand_by(tokens: u64, seconds: u64) -> Demand {
    Demand { deadline: Some(Instant::now() + Duration::from_secs(seconds)), ..demand(tokens) }
}

#[tokio::test(start_paused = true)]
async fn a_whole_quota_is_admitted_at_once_and_the_next_request_waits() {
    let admission = one(AdmissionLimits { requests: Some(60), ..limits() });
    let started = Instant::now();
    for _ in 0..60 {
        drop(admission.enter(demand(1)).await.unwrap());
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
    drop(admission.enter(demand(1)).await.unwrap());
    assert!(
        (MINUTE..MINUTE + Duration::from_millis(5)).contains(&started.elapsed()),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_large_request_is_not_overtaken_by_small_ones() {
    let admission = one(AdmissionLimits { tokens: Some(100), ..limits() });
    drop(admission.enter(demand(60)).await.unwrap());
    let order = Mutex::new(Vec::new());
    let ask = async |name: &'static str, tokens| {
        drop(admission.enter(demand(tokens)).await.unwrap());
        order.lock().push(name);
    };
    tokio::join!(ask("big", 90), ask("small", 10), ask("late", 10));
    assert_eq!(*order.lock(), ["big", "small", "late"]);
}

#[tokio::test(start_paused = true)]
async fn flows_share_by_weight_and_a_lone_request_does_not_wait_for_a_batch() {
    let admission = one(AdmissionLimits { max_concurrent: 1, ..limits() });
    let order = Mutex::new(Vec::new());
    let held = admission.enter(demand(1)).await.unwrap();
    let ask = async |name: &'static str, weight| {
        let demand = Demand { flow: Flow::new(name, weight), ..demand(10) };
        let permit = admission.enter(demand).await.unwrap();
        order.lock().push(name);
        permit.settle(None, LoadSignal::Accepted, Duration::ZERO);
    };
    let batch = join_all((0..90).map(|_| ask("batch", 1)));
    let heavy = join_all((0..90).map(|_| ask("heavy", 3)));
    let release = async {
        tokio::task::yield_now().await;
        drop(held);
    };
    tokio::join!(batch, heavy, ask("lone", 1), release);
    let order = order.into_inner();
    let heavies = order[..80].iter().filter(|name| **name == "heavy").count();
    assert!((58..=62).contains(&heavies), "three to one: {heavies}");
    assert!(order.iter().position(|name| *name == "lone").unwrap() < 4, "{:?}", &order[..8]);
}

#[tokio::test(start_paused = true)]
async fn a_client_with_many_requests_does_not_delay_another() {
    let admission = one(AdmissionLimits { max_concurrent: 1, ..limits() });
    let order = Mutex::new(Vec::new());
    let held = admission.enter(demand(1)).await.unwrap();
    let ask = async |client| {
        let permit = admission
            .enter(Demand { flow: Flow { client, ..Flow::new("", 1) }, ..demand(10) })
            .await
            .unwrap();
        order.lock().push(client);
        drop(permit);
    };
    let (many, one) = (join_all((0..50).map(|_| ask(1))), ask(2));
    let release = async {
        tokio::task::yield_now().await;
        drop(held);
    };
    tokio::join!(many, one, release);
    assert!(order.lock().iter().position(|client| *client == 2).unwrap() < 3);
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_for_all_and_refuses_requests_with_earlier_deadlines() {
    let admission = one(limits());
    pause(&admission, 0, Duration::from_secs(30));
    assert_eq!(admission.enter(demand_by(1, 3)).await.err(), Some(Refusal::PausedTooLong));
    let started = Instant::now();
    drop(admission.enter(demand(1)).await.unwrap());
    assert!(started.elapsed() >= Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_pause_refuses_waiting_requests_with_earlier_deadlines() {
    let admission = one(AdmissionLimits { max_concurrent: 1, ..limits() });
    let held = admission.enter(demand(1)).await.unwrap();
    let started = Instant::now();
    let pause = async {
        tokio::task::yield_now().await;
        pause(&admission, 0, Duration::from_secs(30));
        drop(held);
    };
    let (short, long, ()) =
        tokio::join!(admission.enter(demand_by(1, 10)), admission.enter(demand_by(1, 100)), pause);
    assert_eq!(short.err(), Some(Refusal::PausedTooLong));
    assert!(long.is_ok() && started.elapsed() >= Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_delay_of_any_length_pauses_for_two_minutes_at_most() {
    let admission = one(limits());
    let refused = admission.enter(demand(1)).await.unwrap();
    refused.settle(Some(0), LoadSignal::Refused(Some(Duration::MAX)), Duration::ZERO);
    let end = paused_until(&admission).unwrap() - Instant::now();
    assert!((2 * MINUTE..MINUTE * 3).contains(&end), "{end:?}");
    assert_eq!(admission.enter(demand_by(1, 60)).await.err(), Some(Refusal::PausedTooLong));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_meet_its_deadline_is_refused_at_once() {
    let admission = one(AdmissionLimits { tokens: Some(100), ..limits() });
    drop(admission.enter(demand(100)).await.unwrap());
    let started = Instant::now();
    assert_eq!(admission.enter(demand_by(10, 59)).await.err(), Some(Refusal::TooLate));
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert!(admission.enter(demand_by(10, 61)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_mean_time_of_requests_decides_whether_a_deadline_can_be_met() {
    let admission = one(AdmissionLimits { max_concurrent: 2, ..limits() });
    admission.enter(demand(1)).await.unwrap().settle(
        None,
        LoadSignal::Accepted,
        Duration::from_secs(10),
    );
    let _under_way =
        (admission.enter(demand(1)).await.unwrap(), admission.enter(demand(1)).await.unwrap());
    assert_eq!(admission.enter(demand_by(1, 14)).await.err(), Some(Refusal::TooLate));
    let mut waits = Box::pin(admission.enter(demand_by(1, 16)));
    assert!(futures_util::poll!(&mut waits).is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_not_taken_for_a_limit_of_one_request() {
    let limits = AdmissionLimits { max_concurrent: 50, max_queued: 30, ..limits() };
    let admission = one(limits);
    let held = admission.enter(demand(1)).await.unwrap();
    held.settle(None, LoadSignal::Accepted, Duration::from_secs(10));
    pause(&admission, 0, Duration::from_secs(5));
    let mut waiting = Vec::new();
    for number in 0..49 {
        let mut next = Box::pin(admission.enter(demand_by(1, 20)));
        assert!(futures_util::poll!(&mut next).is_pending(), "{number}");
        waiting.push(next);
    }
    assert!((admission.load() - 0.98).abs() < 1e-9, "{}", admission.load());
    let full = admission.full_for(0).unwrap();
    assert!(full <= Duration::from_secs(5), "{full:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_is_reported_and_still_admits_its_requests() {
    let admission = one(AdmissionLimits { max_concurrent: 1, max_queued: 2, ..limits() });
    admission.enter(demand(1)).await.unwrap().settle(
        None,
        LoadSignal::Accepted,
        Duration::from_secs(10),
    );
    let held = admission.enter(demand(1)).await.unwrap();
    let mut waiting = Vec::new();
    for seconds in [None, None, Some(10)] {
        assert_eq!(admission.full_for(0), seconds.map(Duration::from_secs));
        let mut next = Box::pin(admission.enter(demand(1)));
        assert!(futures_util::poll!(&mut next).is_pending());
        waiting.push(next);
    }
    assert_eq!(admission.full_for(0), Some(Duration::from_secs(20)));
    drop(held);
    for next in waiting {
        drop(next.await.unwrap());
    }
    assert_eq!(admission.full_for(0), None);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_one_client_filled_is_not_full_for_another() {
    let admission = one(AdmissionLimits { max_concurrent: 1, max_queued: 4, ..limits() });
    let demand_of = |client| Demand { flow: Flow { client, ..Flow::new("", 1) }, ..demand(1) };
    let _held = admission.enter(demand_of(1)).await.unwrap();
    let mut waiting = Vec::new();
    for client in [1, 1, 1, 1, 1, 2] {
        let mut next = Box::pin(admission.enter(demand_of(client)));
        assert!(futures_util::poll!(&mut next).is_pending());
        waiting.push(next);
    }
    assert!(admission.full_for(1).is_some());
    assert_eq!(admission.full_for(2), None, "one of a share of two");
    assert_eq!(admission.full_for(3), None);
    drop(waiting);
    assert_eq!(admission.full_for(1), None);
}

#[tokio::test(start_paused = true)]
async fn a_queue_of_size_zero_is_full_only_while_a_request_waits() {
    let admission = one(AdmissionLimits { max_concurrent: 1, max_queued: 0, ..limits() });
    assert_eq!(admission.full_for(0), None);
    let _held = admission.enter(demand(1)).await.unwrap();
    assert_eq!(admission.full_for(0), None);
    let mut first = Box::pin(admission.enter(demand(1)));
    assert!(futures_util::poll!(&mut first).is_pending());
    assert_eq!(admission.full_for(0), Some(Duration::from_secs(1)));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_request_leaves_the_queue_even_if_it_watched_the_clock() {
    let admission = one(AdmissionLimits { requests: Some(1), ..limits() });
    drop(admission.enter(demand(1)).await.unwrap());
    let started = Instant::now();
    let mut keeper = Box::pin(admission.enter(demand(1)));
    assert!(futures_util::poll!(&mut keeper).is_pending());
    let mut next = Box::pin(admission.enter(demand(1)));
    assert!(futures_util::poll!(&mut next).is_pending());
    drop(keeper);
    drop(next.await.unwrap());
    assert!(
        (MINUTE..MINUTE + Duration::from_secs(1)).contains(&started.elapsed()),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_returns_to_the_head() {
    let admission = one(AdmissionLimits { max_concurrent: 1, ..limits() });
    let refused = admission.enter(demand(5)).await.unwrap();
    let order = Mutex::new(Vec::new());
    let other = async {
        let permit = admission.enter(demand(1)).await.unwrap();
        order.lock().push("other");
        drop(permit);
    };
    let back = async {
        tokio::task::yield_now().await;
        let position = Some(refused.position());
        let named = LoadSignal::Refused(Some(Duration::from_secs(1)));
        refused.settle(Some(0), named, Duration::ZERO);
        let permit = admission.enter(Demand { position, ..demand(5) }).await.unwrap();
        order.lock().push("refused");
        drop(permit);
    };
    tokio::join!(other, back);
    assert_eq!(*order.lock(), ["refused", "other"]);
}

#[tokio::test(start_paused = true)]
async fn a_refund_frees_the_quota() {
    let admission = one(AdmissionLimits { tokens: Some(100), requests: Some(1), ..limits() });
    admission.enter(demand(100)).await.unwrap().refund();
    let started = Instant::now();
    let permit = admission.enter(demand(100)).await.unwrap();
    permit.settle(Some(10), LoadSignal::Accepted, Duration::ZERO);
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_is_not_configured_is_learned_and_can_be_raised() {
    let admission = one(limits());
    let reports = |limit, remaining| QuotaReports {
        requests: vec![QuotaReport {
            limit: Some(limit),
            remaining: Some(remaining),
            reset: Some(Duration::from_secs(20)),
            ..QuotaReport::default()
        }],
        tokens: Vec::new(),
    };
    drop(admission.enter(demand(1)).await.unwrap());
    admission.sync(0, &reports(10, 0), Instant::now());
    let started = Instant::now();
    drop(admission.enter(demand(1)).await.unwrap());
    assert!((19..22).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    admission.sync(0, &reports(100, 100), Instant::now());
    for _ in 0..90 {
        drop(admission.enter(demand(1)).await.unwrap());
    }
    assert!(started.elapsed().as_secs() < 22);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_unknown_period_is_not_taken_for_one_of_a_minute() {
    for (period, configured, millis) in [
        // Counted by the second: five a second, as the reports say.
        (None, None, 0..20_000),
        (None, Some(1000), 0..20_000),
        (Some(Duration::from_secs(1)), None, 17_000..20_000),
    ] {
        let admission = one(AdmissionLimits { requests: configured, ..limits() });
        let started = Instant::now();
        for number in 0..90 {
            drop(admission.enter(demand(1)).await.unwrap());
            let report = QuotaReport {
                period,
                limit: Some(5),
                remaining: Some(4 - number % 5),
                reset: Some(Duration::from_secs(1)),
                of_unknown_period: period.is_none(),
            };
            let reports = QuotaReports { requests: vec![report], tokens: Vec::new() };
            admission.sync(0, &reports, Instant::now());
        }
        let took = started.elapsed().as_millis();
        assert!(millis.contains(&took), "{period:?} {configured:?}: {took} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_after_pauses_are_not_taken_for_a_limit_of_one_request() {
    let admission = one(AdmissionLimits { max_concurrent: 50, ..limits() });
    for _ in 0..2 {
        let permit = admission.enter(demand(1)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
        permit.settle(None, LoadSignal::Accepted, Duration::from_secs(10));
    }
    for _ in 0..2 {
        let refused = admission.enter(demand(1)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let named = LoadSignal::Refused(Some(Duration::from_secs(1)));
        refused.settle(Some(0), named, Duration::from_millis(1));
    }
    let mut waiting = Vec::new();
    for number in 0..30 {
        let mut next = Box::pin(admission.enter(demand_by(1, 20)));
        assert!(futures_util::poll!(&mut next).is_pending(), "{number}");
        waiting.push(next);
    }
}

proptest! {
    /// For any order of arrivals, cancellations and ends, no request is lost and every resource is
    /// free in the end.
    #[test]
    fn every_request_that_is_not_cancelled_is_admitted(asks in proptest::collection::vec((1u64..50, 0u64..3000, 0u8..4), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let admission = one(AdmissionLimits { max_concurrent: 3, tokens: Some(100), requests: Some(20), ..limits() });
            let all = asks.iter().map(async |(tokens, millis, kind)| {
                tokio::time::sleep(Duration::from_millis(*millis)).await;
                let entered = admission.enter(demand(*tokens));
                let permit = match kind {
                    0 => match tokio::time::timeout(Duration::from_millis(*tokens), entered).await {
                        Ok(permit) => permit.unwrap(),
                        Err(_) => return,
                    },
                    _ => entered.await.unwrap(),
                };
                tokio::time::sleep(Duration::from_millis(*millis)).await;
                match kind {
                    1 => permit.refund(),
                    2 => drop(permit),
                    _ => permit.settle(Some(tokens / 2), LoadSignal::Accepted, Duration::from_millis(*millis)),
                }
            });
            tokio::time::timeout(Duration::from_secs(3600), join_all(all)).await.expect("every request ends");
            assert_eq!(admission.load().to_bits(), 0f64.to_bits());
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_request_reserves_what_is_estimated_when_it_is_admitted() {
    let admission = one(AdmissionLimits { tokens: Some(1000), ..limits() });
    let current = Arc::new(std::sync::atomic::AtomicU64::new(500));
    let demand = || {
        let current = Arc::clone(&current);
        let now = move || current.load(std::sync::atomic::Ordering::Relaxed);
        Demand { estimate: Some(TokenEstimate::new(now)), ..demand(500) }
    };
    let first = admission.enter(demand()).await.unwrap();
    let second = admission.enter(demand()).await.unwrap();
    let enter = || tokio::time::timeout(Duration::from_secs(1), admission.enter(demand()));
    let waiting = join_all((0..9).map(|_| enter()));
    let replies = async {
        // The first reply shows that a request uses 100.
        tokio::task::yield_now().await;
        current.store(100, std::sync::atomic::Ordering::Relaxed);
        for permit in [first, second] {
            permit.settle(Some(100), LoadSignal::Accepted, Duration::ZERO);
        }
    };
    let (admitted, ()) = tokio::join!(waiting, replies);
    let admitted = admitted.iter().filter(|permit| permit.is_ok()).count();
    assert_eq!(admitted, 8, "1,000 tokens are two settled requests and eight of 100 each");
}

//! The queue under virtual time.

use futures_util::future::join_all;
use proptest::prelude::*;

use super::window::QuotaStatus;
use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn limits() -> EndpointLimits {
    EndpointLimits {
        max_concurrent: 1000,
        max_queued: 10_000,
        requests: None,
        tokens: None,
        span: MINUTE,
    }
}

fn want(tokens: u64) -> AttemptDemand {
    AttemptDemand { tokens, flow: QueueFlow::of("", 1), deadline: None, place: None }
}

fn by(tokens: u64, seconds: u64) -> AttemptDemand {
    AttemptDemand { deadline: Some(Instant::now() + Duration::from_secs(seconds)), ..want(tokens) }
}

#[tokio::test(start_paused = true)]
async fn a_minutes_worth_goes_at_once_and_the_next_waits_its_turn() {
    let limit = Limit::new(EndpointLimits { requests: Some(60), ..limits() });
    let started = Instant::now();
    for _ in 0..60 {
        drop(limit.enter(want(1)).await.unwrap());
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
    drop(limit.enter(want(1)).await.unwrap());
    assert!(
        (MINUTE..MINUTE + Duration::from_millis(5)).contains(&started.elapsed()),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_big_question_is_not_overtaken_by_small_ones() {
    let limit = Limit::new(EndpointLimits { tokens: Some(100), ..limits() });
    drop(limit.enter(want(60)).await.unwrap());
    let order = Mutex::new(Vec::new());
    let ask = async |name: &'static str, tokens| {
        drop(limit.enter(want(tokens)).await.unwrap());
        order.lock().push(name);
    };
    tokio::join!(ask("big", 90), ask("small", 10), ask("late", 10));
    assert_eq!(*order.lock(), ["big", "small", "late"]);
}

#[tokio::test(start_paused = true)]
async fn flows_share_by_weight_and_a_lone_question_does_not_queue_behind_a_batch() {
    let limit = Limit::new(EndpointLimits { max_concurrent: 1, ..limits() });
    let order = Mutex::new(Vec::new());
    let held = limit.enter(want(1)).await.unwrap();
    let ask = async |name: &'static str, weight| {
        let want = AttemptDemand { flow: QueueFlow::of(name, weight), ..want(10) };
        let permit = limit.enter(want).await.unwrap();
        order.lock().push(name);
        permit.settle(None, LoadSignal::Carried, Duration::ZERO);
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
async fn a_client_with_much_to_ask_does_not_keep_another_waiting() {
    let limit = Limit::new(EndpointLimits { max_concurrent: 1, ..limits() });
    let order = Mutex::new(Vec::new());
    let held = limit.enter(want(1)).await.unwrap();
    let ask = async |client| {
        let permit = limit
            .enter(AttemptDemand { flow: QueueFlow { client, ..QueueFlow::of("", 1) }, ..want(10) })
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
async fn pause_holds_for_all_and_rejects_short_deadlines() {
    let limit = Limit::new(limits());
    limit.pause(Duration::from_secs(30));
    assert_eq!(limit.enter(by(1, 3)).await.err(), Some(AdmissionError::PausedTooLong));
    let started = Instant::now();
    drop(limit.enter(want(1)).await.unwrap());
    assert!(started.elapsed() >= Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn pause_rejects_waiters_with_short_deadlines() {
    let limit = Limit::new(EndpointLimits { max_concurrent: 1, ..limits() });
    let held = limit.enter(want(1)).await.unwrap();
    let started = Instant::now();
    let pause = async {
        tokio::task::yield_now().await;
        limit.pause(Duration::from_secs(30));
        drop(held);
    };
    let (short, long, ()) = tokio::join!(limit.enter(by(1, 10)), limit.enter(by(1, 100)), pause);
    assert_eq!(short.err(), Some(AdmissionError::PausedTooLong));
    assert!(long.is_ok() && started.elapsed() >= Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn unreachable_deadline_is_rejected_immediately() {
    let limit = Limit::new(EndpointLimits { tokens: Some(100), ..limits() });
    drop(limit.enter(want(100)).await.unwrap());
    let started = Instant::now();
    assert_eq!(limit.enter(by(10, 59)).await.err(), Some(AdmissionError::TooLate));
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert!(limit.enter(by(10, 61)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_too_slow_for_a_deadline_is_known_from_the_attempts_before() {
    let limit = Limit::new(EndpointLimits { max_concurrent: 2, ..limits() });
    limit.enter(want(1)).await.unwrap().settle(None, LoadSignal::Carried, Duration::from_secs(10));
    let _under_way = (limit.enter(want(1)).await.unwrap(), limit.enter(want(1)).await.unwrap());
    assert_eq!(limit.enter(by(1, 14)).await.err(), Some(AdmissionError::TooLate));
    let mut waits = Box::pin(limit.enter(by(1, 16)));
    assert!(futures_util::poll!(&mut waits).is_pending());
}

#[tokio::test(start_paused = true)]
async fn full_queue_is_reported_and_keeps_admitted_questions() {
    let limit = Limit::new(EndpointLimits { max_concurrent: 1, max_queued: 2, ..limits() });
    limit.enter(want(1)).await.unwrap().settle(None, LoadSignal::Carried, Duration::from_secs(10));
    let held = limit.enter(want(1)).await.unwrap();
    let mut waiting = Vec::new();
    for seconds in [None, None, Some(10)] {
        assert_eq!(limit.full_for(), seconds.map(Duration::from_secs));
        let mut next = Box::pin(limit.enter(want(1)));
        assert!(futures_util::poll!(&mut next).is_pending());
        waiting.push(next);
    }
    assert_eq!(limit.full_for(), Some(Duration::from_secs(20)));
    drop(held);
    for next in waiting {
        drop(next.await.unwrap());
    }
    assert_eq!(limit.full_for(), None);
}

#[tokio::test(start_paused = true)]
async fn a_queue_of_size_zero_is_full_only_while_a_question_waits() {
    let limit = Limit::new(EndpointLimits { max_concurrent: 1, max_queued: 0, ..limits() });
    assert_eq!(limit.full_for(), None);
    let _held = limit.enter(want(1)).await.unwrap();
    assert_eq!(limit.full_for(), None);
    let mut first = Box::pin(limit.enter(want(1)));
    assert!(futures_util::poll!(&mut first).is_pending());
    assert_eq!(limit.full_for(), Some(Duration::from_secs(1)));
}

#[tokio::test(start_paused = true)]
async fn cancelled_timer_holder_leaves_the_queue_to_the_next() {
    let limit = Limit::new(EndpointLimits { requests: Some(1), ..limits() });
    drop(limit.enter(want(1)).await.unwrap());
    let started = Instant::now();
    let mut keeper = Box::pin(limit.enter(want(1)));
    assert!(futures_util::poll!(&mut keeper).is_pending());
    let mut next = Box::pin(limit.enter(want(1)));
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
async fn refused_attempt_returns_to_the_head() {
    let limit = Limit::new(EndpointLimits { max_concurrent: 1, ..limits() });
    let refused = limit.enter(want(5)).await.unwrap();
    let order = Mutex::new(Vec::new());
    let other = async {
        let permit = limit.enter(want(1)).await.unwrap();
        order.lock().push("other");
        drop(permit);
    };
    let back = async {
        tokio::task::yield_now().await;
        let place = Some(refused.place());
        limit.pause(Duration::from_secs(1));
        refused.settle(Some(0), LoadSignal::TooMuch(Duration::from_secs(1)), Duration::ZERO);
        let permit = limit.enter(AttemptDemand { place, ..want(5) }).await.unwrap();
        order.lock().push("refused");
        drop(permit);
    };
    tokio::join!(other, back);
    assert_eq!(*order.lock(), ["refused", "other"]);
}

#[tokio::test(start_paused = true)]
async fn a_refund_lets_the_next_one_in() {
    let limit = Limit::new(EndpointLimits { tokens: Some(100), requests: Some(1), ..limits() });
    limit.enter(want(100)).await.unwrap().refund();
    let started = Instant::now();
    let permit = limit.enter(want(100)).await.unwrap();
    permit.settle(Some(10), LoadSignal::Carried, Duration::ZERO);
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn unconfigured_quota_is_learned_and_raised_from_headers() {
    let limit = Limit::new(limits());
    let status = |limit, remaining| QuotaHeaders {
        requests: QuotaStatus {
            limit: Some(limit),
            remaining: Some(remaining),
            reset: Some(Duration::from_secs(20)),
        },
        tokens: QuotaStatus::default(),
    };
    drop(limit.enter(want(1)).await.unwrap());
    limit.sync(&status(10, 0));
    let started = Instant::now();
    drop(limit.enter(want(1)).await.unwrap());
    assert!((19..22).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    limit.sync(&status(100, 100));
    for _ in 0..90 {
        drop(limit.enter(want(1)).await.unwrap());
    }
    assert!(started.elapsed().as_secs() < 22);
}

proptest! {
    /// For every sequence of arrivals, cancellations and ends, no question is lost and all slots
    /// are free at the end.
    #[test]
    fn every_remaining_waiter_is_granted(asks in proptest::collection::vec((1u64..50, 0u64..3000, 0u8..4), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let limit = Limit::new(EndpointLimits { max_concurrent: 3, tokens: Some(100), requests: Some(20), ..limits() });
            let all = asks.iter().map(async |(tokens, millis, kind)| {
                tokio::time::sleep(Duration::from_millis(*millis)).await;
                let entered = limit.enter(want(*tokens));
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
                    _ => permit.settle(Some(tokens / 2), LoadSignal::Carried, Duration::from_millis(*millis)),
                }
            });
            tokio::time::timeout(Duration::from_secs(3600), join_all(all)).await.expect("no question waits forever");
            assert_eq!(limit.crowding().to_bits(), 0f64.to_bits());
        });
    }
}

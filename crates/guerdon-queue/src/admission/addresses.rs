//! Admission to several addresses, and to sick ones, under virtual time.

use futures_util::future::join_all;

use super::state::AdmissionState;
use super::tests::{demand, demand_by, limits, pause};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn several(addresses: usize) -> Arc<Admission> {
    Admission::new(limits(), addresses)
}

/// Ends a request that its address answered at once.
fn answered(permit: AdmissionPermit) {
    permit.settle(None, LoadSignal::Accepted, Duration::from_millis(1));
}

/// Enters until the permit is no probe. The probes end as `probe` says, while the caller waits
/// again.
async fn enter_through(
    admission: &Arc<Admission>,
    demand: Demand,
    probe: impl Fn(usize) -> bool,
) -> Result<AdmissionPermit, Refusal> {
    let (mut demand, mut in_flight) = (demand, None::<AdmissionPermit>);
    loop {
        let ends = async {
            tokio::task::yield_now().await;
            if let Some(permit) = in_flight.take() {
                let works = probe(permit.address());
                permit.probed(if works { ProbeResult::Passed } else { ProbeResult::Failed });
            }
        };
        let (entered, ()) = tokio::join!(admission.enter(demand.clone()), ends);
        let permit = entered?;
        if !permit.is_probe() {
            return Ok(permit);
        }
        (demand.position, demand.probes) = (Some(permit.position()), permit.probes());
        in_flight = Some(permit);
    }
}

#[tokio::test(start_paused = true)]
async fn the_least_loaded_address_takes_the_next_request() {
    let admission = several(3);
    let mut held = Vec::new();
    for _ in 0..9 {
        held.push(admission.enter(demand(1)).await.unwrap());
    }
    let mut counts = [0; 3];
    held.iter().for_each(|permit| counts[permit.address()] += 1);
    assert_eq!(counts, [3, 3, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_free_address_takes_what_waits_for_a_paused_one() {
    let admission = several(2);
    pause(&admission, 0, 60 * SECOND);
    let started = Instant::now();
    let served = join_all((0..100).map(async |_| {
        let permit = admission.enter(demand_by(1, 10)).await.unwrap();
        let address = permit.address();
        tokio::time::sleep(Duration::from_millis(50)).await;
        answered(permit);
        address
    }));
    assert!(served.await.iter().all(|address| *address == 1));
    assert!(started.elapsed() < SECOND, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_address_that_never_answers_holds_few_requests() {
    let admission = several(2);
    let mut served = Box::pin(join_all((0..200).map(async |_| {
        let permit = admission.enter(demand(1)).await.unwrap();
        if permit.address() == 0 {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        answered(permit);
    })));
    assert!(tokio::time::timeout(20 * SECOND, &mut served).await.is_err());
    let status = admission.status();
    assert_eq!(status.addresses[0].in_flight, 8);
    assert_eq!((status.queued, status.addresses[1].in_flight), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_request_avoids_the_address_at_which_it_failed_and_lets_others_pass() {
    let admission = Admission::new(AdmissionLimits { max_concurrent: 1, ..limits() }, 2);
    let (first, second) =
        (admission.enter(demand(1)).await.unwrap(), admission.enter(demand(1)).await.unwrap());
    assert_eq!((first.address(), second.address()), (0, 1));
    let position = Some(first.position());
    let order = Mutex::new(Vec::new());
    let retried = async {
        let demand = Demand { position, avoid: Some(0), ..demand(1) };
        let permit = admission.enter(demand).await.unwrap();
        order.lock().push(("retried", permit.address()));
    };
    let other = async {
        tokio::task::yield_now().await;
        let permit = admission.enter(demand(1)).await.unwrap();
        order.lock().push(("other", permit.address()));
    };
    let release = async {
        tokio::time::sleep(SECOND).await;
        answered(first);
        tokio::time::sleep(SECOND).await;
        answered(second);
    };
    tokio::join!(retried, other, release);
    assert_eq!(*order.lock(), [("other", 0), ("retried", 1)]);

    let admission = several(2);
    pause(&admission, 1, 60 * SECOND);
    let demand = Demand { avoid: Some(0), ..demand(1) };
    let waited = tokio::time::timeout(SECOND, admission.enter(demand)).await;
    assert!(waited.is_err(), "the paused one is an alternative");
    let started = Instant::now();
    let demand = Demand { avoid: Some(0), ..self::demand(1) };
    assert_eq!(admission.enter(demand).await.unwrap().address(), 1);
    assert_eq!(started.elapsed(), 59 * SECOND, "it is served when the pause ends");
}

#[tokio::test(start_paused = true)]
async fn a_probe_waits_for_the_end_of_a_pause() {
    for closes in [false, true] {
        let admission = several(1);
        let (first, second) =
            (admission.enter(demand(1)).await.unwrap(), admission.enter(demand(1)).await.unwrap());
        if closes {
            first.settle(None, LoadSignal::Suspect, Duration::ZERO);
            let probe = admission.enter(demand(1)).await.unwrap();
            probe.probed(ProbeResult::Closed);
        } else {
            first.settle(None, LoadSignal::Suspect, Duration::ZERO);
        }
        second.settle(None, LoadSignal::FailedFor(20 * SECOND), Duration::ZERO);
        let started = Instant::now();
        let entered = admission.enter(demand(1));
        if closes {
            let Err(Refusal::Down(opens)) = entered.await else { panic!("it is closed") };
            assert!(opens >= started + 20 * SECOND);
        } else {
            assert!(entered.await.unwrap().is_probe());
            assert!(started.elapsed() >= 20 * SECOND, "{:?}", started.elapsed());
        }
    }
}

/// The work for a request must not grow with the number of waiting requests.
#[tokio::test(start_paused = true)]
async fn many_waiters_do_not_slow_each_other_down() {
    const MANY: usize = 10_000;
    let mut state = AdmissionState::new(limits(), 2);
    let now = Instant::now();
    // The first address is free, and all waiters avoid it; the second one is busy.
    for _ in 0..8 {
        assert!(state.grant_at_once(&Demand { avoid: Some(0), ..demand(1) }, now).is_some());
    }
    for _ in 0..MANY {
        state.join(&Demand { avoid: Some(0), ..demand(1) }, (), now).unwrap();
        assert!(state.wake(now).replies.is_empty());
    }
    state.join(&demand(1), (), now).unwrap();
    assert_eq!(state.wake(now).replies.len(), 1, "one that does not avoid it passes");
    assert!(state.looks() <= 4 * MANY, "{} looks at {MANY} waiters", state.looks());

    let mut state = AdmissionState::new(limits(), 1);
    state.lanes[0].pause(60 * SECOND, now);
    for _ in 0..MANY {
        state.join(&demand_by(1, 120), (), now).unwrap();
        assert!(state.wake(now).replies.is_empty());
    }
    assert!(state.looks() <= 4 * MANY, "{} looks at {MANY} waiters", state.looks());
    state.lanes[0].pause(180 * SECOND, now);
    assert_eq!(state.wake(now).replies.len(), MANY, "a longer pause refuses them");
    assert!(state.looks() <= 8 * MANY, "{} looks at {MANY} waiters", state.looks());
}

#[tokio::test(start_paused = true)]
async fn failures_lead_to_one_probe_and_its_result_decides() {
    let admission = several(1);
    for _ in 0..8 {
        let permit = admission.enter(demand(1)).await.unwrap();
        permit.settle(None, LoadSignal::Failed, Duration::ZERO);
    }
    assert_eq!(admission.status().addresses[0].state, AddressState::HalfOpen);
    let probe = admission.enter(demand(1)).await.unwrap();
    assert!(probe.is_probe());
    let mut waits = Box::pin(admission.enter(demand_by(1, 30)));
    assert!(futures_util::poll!(&mut waits).is_pending(), "one probe at a time");
    probe.probed(ProbeResult::Passed);
    assert!(!waits.await.unwrap().is_probe());
    assert_eq!(admission.status().addresses[0].state, AddressState::Healthy);
}

#[tokio::test(start_paused = true)]
async fn requests_wait_through_a_short_outage_and_not_through_a_long_one() {
    for (outage, survives) in [(2 * SECOND, true), (60 * SECOND, false)] {
        let admission = several(1);
        admission.enter(demand(1)).await.unwrap().settle(None, LoadSignal::Suspect, Duration::ZERO);
        let started = Instant::now();
        let works = |_| started.elapsed() >= outage;
        let all = join_all((0..20).map(|_| enter_through(&admission, demand_by(1, 300), works)));
        for entered in all.await {
            assert_eq!(entered.is_ok(), survives, "{entered:?}");
        }
        let limit = if survives { outage + 2 * SECOND } else { 10 * SECOND };
        assert!(started.elapsed() <= limit, "{:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_whole_again_within_two_probes_of_a_healed_outage() {
    for outage in [15, 45, 300] {
        let admission = several(1);
        admission.enter(demand(1)).await.unwrap().settle(None, LoadSignal::Suspect, Duration::ZERO);
        let started = Instant::now();
        let works = |_| started.elapsed() >= outage * SECOND;
        let served = loop {
            let entered = enter_through(&admission, demand_by(1, 30), works).await;
            if let Ok(permit) = entered {
                answered(permit);
                break started.elapsed();
            }
            tokio::time::sleep(SECOND).await;
        };
        assert!(served <= (outage + 20) * SECOND, "{outage}: {served:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_address_refuses_at_once_until_a_probe_passes() {
    let admission = several(1);
    let permits = join_all((0..8).map(|_| admission.enter(demand(1)))).await;
    let mut waiting = Box::pin(admission.enter(demand(1)));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    for permit in permits {
        permit.unwrap().settle(Some(0), LoadSignal::Suspect, Duration::ZERO);
    }
    let probe = waiting.await.unwrap();
    assert!(probe.is_probe());
    let mut waiting = Box::pin(admission.enter(demand(1)));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    probe.probed(ProbeResult::Closed);
    assert!(matches!(waiting.await, Err(Refusal::Down(_))));
    let refused = admission.enter(demand(1)).await.err();
    assert_eq!(refused, Some(Refusal::Down(Instant::now() + 5 * SECOND)));
    tokio::time::sleep(5 * SECOND).await;
    let probe = admission.enter(demand(1)).await.unwrap();
    assert!(probe.is_probe());
    let position = Some(probe.position());
    let mut waits = Box::pin(admission.enter(Demand { position, ..demand(1) }));
    assert!(futures_util::poll!(&mut waits).is_pending(), "the result decides");
    probe.probed(ProbeResult::Failed);
    assert!(matches!(waits.await, Err(Refusal::Down(_))));
    tokio::time::sleep(10 * SECOND).await;
    assert!(enter_through(&admission, demand(1), |_| true).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_caller_with_an_alternative_does_not_wait_for_a_sick_address() {
    let admission = several(1);
    admission.enter(demand(1)).await.unwrap().settle(None, LoadSignal::Suspect, Duration::ZERO);
    let impatient = Demand { probes: 0, ..demand(1) };
    let entered = enter_through(&admission, impatient, |_| false).await;
    assert_eq!(entered.err(), Some(Refusal::Down(Instant::now() + SECOND)));
}

#[tokio::test(start_paused = true)]
async fn a_request_stalls_if_its_address_falls_silent_beside_a_healthy_one() {
    // The first address has answered within 200 ms before, and the second one has not answered.
    for (known, seconds) in [(true, 2), (false, 5)] {
        let admission = several(2);
        let mut permits = Vec::new();
        for _ in 0..4 {
            permits.push(admission.enter(demand(1)).await.unwrap());
        }
        let of = |address, permits: &mut Vec<AdmissionPermit>| {
            let index = permits.iter().position(|permit| permit.address() == address).unwrap();
            permits.swap_remove(index)
        };
        let works = of(0, &mut permits);
        works.settle(None, LoadSignal::Accepted, Duration::from_millis(200));
        tokio::time::sleep(Duration::from_millis(1)).await;
        let silent = of(usize::from(!known), &mut permits);
        let sent = Instant::now();
        admission.stalled(silent.address(), sent).await;
        assert_eq!(sent.elapsed(), seconds * SECOND, "ten times its usual time, or 5 s");
        silent.settle(None, LoadSignal::TimedOut, sent.elapsed());
    }

    let alone = several(1);
    alone.enter(demand(1)).await.unwrap().settle(
        None,
        LoadSignal::Accepted,
        Duration::from_millis(200),
    );
    let never = tokio::time::timeout(3600 * SECOND, alone.stalled(0, Instant::now()));
    assert!(never.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_slow_address_does_not_stall_beside_a_fast_one() {
    for known in [true, false] {
        let admission = several(2);
        let (fast, slow) =
            (admission.enter(demand(1)).await.unwrap(), admission.enter(demand(1)).await.unwrap());
        let address = slow.address();
        fast.settle(None, LoadSignal::Accepted, Duration::from_millis(20));
        if known {
            slow.settle(None, LoadSignal::Accepted, 3 * SECOND);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        let usual = tokio::time::timeout(4 * SECOND, admission.stalled(address, Instant::now()));
        assert!(usual.await.is_err(), "{known}");
    }
}

#[tokio::test(start_paused = true)]
async fn endless_refusals_cost_few_requests() {
    let admission = several(1);
    let started = Instant::now();
    let calls = Mutex::new(0);
    let asked = join_all((0..64).map(async |_| {
        let mut position = None;
        while started.elapsed() < 10 * SECOND {
            let demand = Demand { position, ..demand(1) };
            let permit = admission.enter(demand).await.unwrap();
            *calls.lock() += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
            position = Some(permit.position());
            let zero = LoadSignal::Refused(Some(Duration::ZERO));
            permit.settle(Some(0), zero, Duration::from_millis(1));
        }
    }));
    let _ = tokio::time::timeout(10 * SECOND, asked).await;
    assert!(*calls.lock() < 60, "{}", *calls.lock());
}

#[tokio::test(start_paused = true)]
async fn slow_start_takes_little_more_than_the_ideal_time() {
    let admission = Admission::new(AdmissionLimits { max_concurrent: 256, ..limits() }, 1);
    let started = Instant::now();
    join_all((0..1024).map(async |_| {
        let permit = admission.enter(demand(1)).await.unwrap();
        tokio::time::sleep(SECOND).await;
        permit.settle(None, LoadSignal::Accepted, SECOND);
    }))
    .await;
    let ideal = 4 * SECOND;
    assert!(started.elapsed() <= ideal.mul_f64(1.3), "{:?}", started.elapsed());
}

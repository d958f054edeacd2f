//! Queue, limits, health and budget: what is taken for a request, and given back.

use std::time::Duration;

use guerdon_queue::{Demand, LoadSignal, ProbeResult};
use guerdon_types::{AbstainReason, AbstainWhy, Finite};
use tokio::time::Instant;

use super::{Bench, ScriptedAddress, answers, config, demand, patience};
use crate::EndpointConfig;
use crate::ask::answer::{Failure, PatienceEnd};
use crate::call::ticket::{Ticket, TicketAnswer};

fn bench(config: EndpointConfig) -> Bench {
    Bench::one(config, &ScriptedAddress::that(|_| answers(1)))
}

fn capped(per_run: i32) -> EndpointConfig {
    let mut config = config();
    config.prices.prompt_per_million = Finite::from(1);
    config.budget.per_run = Some(Finite::from(per_run));
    config
}

async fn ticket(bench: &Bench, most: f64, seconds: Option<u64>) -> Result<Ticket<'_>, Failure> {
    let patience = patience(seconds);
    let demand = Demand { deadline: patience.deadline, ..demand() };
    match bench.client.ticket(demand, most, &patience).await? {
        TicketAnswer::Ticket(ticket) => Ok(ticket),
        TicketAnswer::Probe(_) => panic!("the address is healthy"),
    }
}

fn in_flight(bench: &Bench) -> usize {
    bench.client.admission.status().addresses[0].in_flight
}

#[tokio::test(start_paused = true)]
async fn a_used_up_budget_is_named_and_takes_no_place() {
    let bench = bench(capped(10));
    let failure = ticket(&bench, 11.0, None).await.unwrap_err();
    assert_eq!(
        (failure.why, failure.reason),
        (AbstainWhy::RateLimited, Some(AbstainReason::Budget))
    );
    assert!(failure.is_over_budget() && failure.detail.contains("budget of 10"), "{failure:?}");
    assert_eq!(in_flight(&bench), 0);
}

#[tokio::test(start_paused = true)]
async fn money_that_is_only_reserved_is_waited_for() {
    let bench = bench(capped(10));
    let first = ticket(&bench, 8.0, None).await.unwrap();
    let started = Instant::now();
    let release = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        first.permit.refund();
        first.reservation.settle(1.0).await;
    };
    let (second, ()) = tokio::join!(ticket(&bench, 8.0, None), release);
    let second = second.unwrap();
    assert_eq!(
        (started.elapsed(), second.waited),
        (Duration::from_secs(3), Duration::from_secs(3))
    );
    assert_eq!(in_flight(&bench), 1);
    // One that cannot wait so long gives its place back.
    let late = ticket(&bench, 8.0, Some(2)).await.unwrap_err();
    assert!(matches!(late.patience_end, Some(PatienceEnd::Deadline(_))), "{late:?}");
    assert_eq!((late.why, in_flight(&bench)), (AbstainWhy::Deadline, 1));
}

#[tokio::test(start_paused = true)]
async fn a_refused_admission_has_its_reason() {
    let bench = bench(config());
    let held = ticket(&bench, 0.0, None).await.unwrap();
    let named = Some(Duration::from_secs(60));
    held.permit.settle(None, LoadSignal::Refused(named), Duration::ZERO);
    let failure = ticket(&bench, 0.0, Some(3)).await.unwrap_err();
    assert_eq!(failure.why, AbstainWhy::RateLimited);
    assert!(failure.patience_end.is_some() && failure.detail.contains("pause"), "{failure:?}");
}

#[tokio::test(start_paused = true)]
async fn a_sick_address_is_checked_before_anything_is_reserved() {
    let bench = bench(capped(10));
    let held = ticket(&bench, 0.0, None).await.unwrap();
    held.permit.settle(None, LoadSignal::Suspect, Duration::ZERO);
    let Ok(TicketAnswer::Probe(probe)) = bench.client.ticket(demand(), 10.0, &patience(None)).await
    else {
        panic!("a probe is due")
    };
    assert!(bench.client.budget.reserve(10.0).is_ok(), "no money is taken for it here");
    probe.probed(ProbeResult::Closed);
    let failure = ticket(&bench, 1.0, None).await.unwrap_err();
    assert_eq!((failure.why, failure.patience_end), (AbstainWhy::Unreachable, None));
    assert!(failure.detail.contains("next check is in"), "{failure:?}");
}

#[tokio::test(start_paused = true)]
async fn a_spare_ticket_takes_only_what_is_free() {
    let bench = bench(EndpointConfig { hedge: Finite::new(0.5).unwrap(), ..capped(10) });
    assert!(bench.client.spare_ticket(&demand(), 5.0).is_none(), "no hedge is saved up yet");
    for _ in 0..4 {
        bench.client.hedge.patience();
    }
    assert!(bench.client.spare_ticket(&demand(), 11.0).is_none(), "no money");
    let spare = bench.client.spare_ticket(&demand(), 5.0).unwrap();
    assert_eq!((spare.waited, in_flight(&bench)), (Duration::ZERO, 1));
    assert!(bench.client.budget.reserve(6.0).is_err(), "its money is reserved");
    drop(spare);
    assert_eq!(in_flight(&bench), 0);
    assert!(bench.client.budget.reserve(10.0).is_ok());
}

//! One attempt, and a second request next to a slow one.

use std::sync::Arc;
use std::time::Duration;

use guerdon_types::Finite;
use tokio::time::Instant;

use super::{
    Bench, OTHER, ScriptedAddress, URL, answers, config, demand, patience, question, reply, spec,
};
use crate::call::attempt::AttemptOutcome;
use crate::call::ticket::TicketAnswer;
use crate::{EndpointConfig, ReplicaConfig};

fn hedged() -> EndpointConfig {
    let replica = ReplicaConfig { url: OTHER.to_owned(), api_key_env: None, api_key_file: None };
    EndpointConfig { hedge: Finite::new(0.5).unwrap(), replicas: vec![replica], ..config() }
}

/// A bench whose requests are usually answered within 100 ms.
fn bench(first: &Arc<ScriptedAddress>, second: &Arc<ScriptedAddress>) -> Bench {
    let bench = Bench::new(hedged(), &[(URL, Arc::clone(first)), (OTHER, Arc::clone(second))]);
    for _ in 0..40 {
        bench.client.hedge.patience();
        bench.client.hedge.answered(Duration::from_millis(100));
    }
    bench
}

async fn attempted(bench: &Bench) -> AttemptOutcome<'_> {
    let Ok(TicketAnswer::Ticket(ticket)) =
        bench.client.ticket(demand(), 0.0, &patience(None)).await
    else {
        panic!("an address is free")
    };
    bench.client.attempt(ticket, spec(&question()), demand()).await
}

#[tokio::test(start_paused = true)]
async fn a_quick_reply_is_alone() {
    let (first, second) =
        (ScriptedAddress::that(|_| answers(50)), ScriptedAddress::that(|_| answers(50)));
    let bench = bench(&first, &second);
    let outcome = attempted(&bench).await;
    assert!(outcome.other.is_none() && outcome.exchange.outcome.is_ok());
    assert_eq!((first.calls(), second.calls()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_first_reply_wins_and_the_other_is_recorded() {
    for (slow, quick, address, elapsed) in
        [(9_000, 200, 1, 300), (250, 9_000, 0, 250), (9_000, 9_000, 0, 9_000)]
    {
        let (first, second) = (
            ScriptedAddress::that(move |_| answers(slow)),
            ScriptedAddress::that(move |_| answers(quick)),
        );
        let bench = bench(&first, &second);
        let started = Instant::now();
        let outcome = attempted(&bench).await;
        assert_eq!(outcome.exchange.address, address, "{slow} {quick}");
        let took = started.elapsed().as_millis();
        assert!((elapsed..elapsed + 5).contains(&took), "{slow} {quick}: {took}");
        let other = outcome.other.unwrap();
        assert_eq!((other.address, other.event.outcome.as_str()), (1 - address, "hedged"));
        assert_eq!((first.calls(), second.calls()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_leaves_the_other_to_finish() {
    let fails = |_| reply(500, &serde_json::json!({}));
    let (first, second) = (ScriptedAddress::that(|_| answers(5_000)), ScriptedAddress::that(fails));
    let bench = bench(&first, &second);
    let outcome = attempted(&bench).await;
    assert!(outcome.exchange.outcome.is_ok());
    assert_eq!(outcome.exchange.address, 0);
    assert_eq!(outcome.other.unwrap().event.outcome.as_str(), "transient");
}

//! Gauges of a judge: queue, requests in flight, pauses, health and money at given moments of a
//! scripted day, under virtual time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use guerdon_judge::{AddressState, AddressStatus, EndpointConfig, ReplicaConfig};
use guerdon_types::Finite;
use tokio::time::Instant;

use crate::paused::{Act, Judge, OTHER, ScriptedTransport, URL, answer, config};

async fn ask(judge: &Judge, name: &str, count: usize) -> usize {
    let ask = async |number| judge.judge(&format!("{name} {number}")).await;
    let signals = join_all((0..count).map(ask)).await;
    signals.iter().filter(|signal| signal.part.is_some()).count()
}

fn only(judge: &Judge) -> AddressStatus {
    let [address] = judge.status().admission.addresses.try_into().unwrap();
    address
}

/// Waits until this time after `start`.
async fn until(start: Instant, seconds: f64) {
    tokio::time::sleep_until(start + Duration::from_secs_f64(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn questions_are_in_flight_or_queued_until_they_are_answered() {
    let stand_in = ScriptedTransport::that(|_| answer(2000));
    let config = EndpointConfig { max_concurrent: 4, ..config() };
    let judge = Judge::of(config, &[(URL, stand_in)]);
    let start = Instant::now();
    let watch = async {
        let mut seen = Vec::new();
        for at in [1.0, 3.0, 5.0, 7.0] {
            until(start, at).await;
            let status = judge.status().admission;
            seen.push((status.queued, status.addresses[0].in_flight, status.addresses[0].allowed));
        }
        seen
    };
    let (scored, seen) = tokio::join!(ask(&judge, "turn", 10), watch);
    assert_eq!(scored, 10);
    assert_eq!(seen, [(6, 4, 4), (2, 4, 4), (0, 2, 4), (0, 0, 4)]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_counted_down() {
    let stand_in = ScriptedTransport::that(|number| match number {
        0 => Act::Reply(429, vec![("retry-after", "10".to_owned())], "{}".to_owned()),
        _ => answer(100),
    });
    let judge = Judge::of(config(), &[(URL, stand_in)]);
    let start = Instant::now();
    let watch = async {
        until(start, 4.0).await;
        let (during, queued) = (only(&judge), judge.status().admission.queued);
        until(start, 20.0).await;
        (during, queued, only(&judge))
    };
    let (scored, (during, queued, after)) = tokio::join!(ask(&judge, "turn", 1), watch);
    assert_eq!((scored, queued), (1, 1), "the question returned to the queue");
    assert_eq!((during.state, during.in_flight), (AddressState::Paused, 0));
    // From the refusal at 0.001 s; a wait that is named is never cut short.
    let left = during.paused_for.as_secs_f64();
    assert!((6.0..=7.1).contains(&left), "{left}");
    assert_eq!((after.state, after.paused_for), (AddressState::Healthy, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn an_outage_goes_from_healthy_through_down_and_half_open_to_healthy() {
    let start = Instant::now();
    let stand_in = ScriptedTransport::that(move |_| {
        let down = (1..30).contains(&start.elapsed().as_secs());
        if down { Act::Unreachable } else { answer(100) }
    });
    let config = EndpointConfig { retries: 0, backoff: Duration::ZERO, ..config() };
    let judge = Judge::of(config, &[(URL, Arc::clone(&stand_in))]);
    assert_eq!((ask(&judge, "before", 4).await, only(&judge).state), (4, AddressState::Healthy));
    until(start, 2.0).await;
    // Eight failures in a row make it suspect, and a failed probe shows that it is down.
    assert_eq!(ask(&judge, "during", 9).await, 0);
    assert_eq!(only(&judge).state, AddressState::Down);
    until(start, 29.5).await;
    assert_eq!(only(&judge).state, AddressState::HalfOpen, "a probe is due, and nothing is asked");
    until(start, 31.0).await;
    assert_eq!((ask(&judge, "after", 4).await, only(&judge).state), (4, AddressState::Healthy));
}

#[tokio::test(start_paused = true)]
async fn a_refused_account_closes_one_address_and_leaves_the_other() {
    let closed = ScriptedTransport::that(|_| Act::Reply(401, Vec::new(), String::new()));
    let open = ScriptedTransport::that(|_| answer(100));
    let replica = ReplicaConfig { url: OTHER.to_owned(), api_key_env: None, api_key_file: None };
    let config = EndpointConfig { replicas: vec![replica], ..config() };
    let judge = Judge::of(config, &[(URL, closed), (OTHER, open)]);
    assert_eq!(ask(&judge, "turn", 20).await, 20);
    let states: Vec<_> = judge.status().admission.addresses.iter().map(|of| of.state).collect();
    assert_eq!(states, [AddressState::Closed, AddressState::Healthy]);
}

#[tokio::test(start_paused = true)]
async fn money_in_flight_counts_as_spent_until_its_cost_is_known() {
    let stand_in = ScriptedTransport::that(|_| answer(1000));
    let mut config = config();
    config.prices.completion_per_million = Finite::from(1_000_000);
    // An answer costs 60 and may cost 512.
    config.budget.per_run = Some(Finite::from(2000));
    config.budget.per_day = Some(Finite::from(5000));
    let judge = Judge::of(config, &[(URL, stand_in)]);
    assert_eq!(judge.status().budget_left, [("run", 2000.0), ("day", 5000.0)]);
    let start = Instant::now();
    let watch = async {
        until(start, 0.5).await;
        judge.status().budget_left
    };
    let (scored, during) = tokio::join!(ask(&judge, "turn", 2), watch);
    assert_eq!(scored, 2);
    assert_eq!(during, [("run", 2000.0 - 1024.0), ("day", 5000.0 - 1024.0)]);
    assert_eq!(judge.status().budget_left, [("run", 1880.0), ("day", 4880.0)]);
}

#[tokio::test(start_paused = true)]
async fn a_feature_that_was_given_up_is_named_with_its_steps() {
    let stand_in = ScriptedTransport::to(|_, text| {
        let no = |field: &str| {
            let body = format!(r#"{{"error": {{"message": "no", "param": "{field}"}}}}"#);
            Act::Reply(400, Vec::new(), body)
        };
        match (text.contains("json_schema"), text.contains("\"temperature\"")) {
            (true, _) => no("response_format"),
            (false, true) => no("temperature"),
            (false, false) => answer(100),
        }
    });
    let judge = Judge::of(config(), &[(URL, stand_in)]);
    let given_up = |judge: &Judge| -> Vec<(&'static str, u8)> {
        let [features] = judge.status().downgrades.try_into().unwrap();
        features.into_iter().filter(|(_, steps)| *steps > 0).collect()
    };
    assert_eq!(given_up(&judge), []);
    assert_eq!(ask(&judge, "turn", 1).await, 1);
    assert_eq!(given_up(&judge), [("response_format", 1), ("temperature", 1)]);
}

//! Questions of guerdon's own: what a probe and a confirmation decide, and what they cost.

use std::time::Duration;

use guerdon_queue::{AddressState, LoadSignal};
use guerdon_types::{Finite, Usage};
use serde_json::{Value, json};

use super::{
    Bench, Script, ScriptedAddress, config, demand, fails, key, question, reply, spec, verdict,
};
use crate::EndpointConfig;
use crate::call::capabilities::{Feature, FeatureRefusal};
use crate::call::transport::TransportError;

fn refuses(status: u16) -> Script {
    reply(status, &json!({ "error": { "message": "no" } }))
}

fn priced() -> EndpointConfig {
    let mut config = config();
    config.prices.prompt_per_million = Finite::from(1_000_000);
    config
}

fn state(bench: &Bench) -> AddressState {
    bench.client.admission.status().addresses[0].state
}

/// Makes the only address suspect, and sends it a probe.
async fn probe(bench: &Bench) {
    let suspect = bench.client.admission.enter(demand()).await.unwrap();
    suspect.settle(None, LoadSignal::Suspect, Duration::ZERO);
    let permit = bench.client.admission.enter(demand()).await.unwrap();
    assert!(permit.is_probe());
    bench.client.start_probe(permit, key(), &question());
    bench.client.tasks.close();
    bench.client.tasks.wait().await;
    bench.client.tasks.reopen();
}

#[tokio::test(start_paused = true)]
async fn the_result_of_a_probe_decides_about_its_address() {
    type Reacts = fn(usize) -> Script;
    let cases: [(Reacts, AddressState, &str); 10] = [
        (|_| reply(200, &verdict()), AddressState::Healthy, "checked"),
        (|_| refuses(400), AddressState::Healthy, "bad_request"),
        (|_| refuses(429), AddressState::Healthy, "rate_limited"),
        (|_| refuses(401), AddressState::Closed, "denied"),
        (|_| refuses(402), AddressState::Closed, "quota_gone"),
        (|_| refuses(404), AddressState::Closed, "denied"),
        (|_| refuses(500), AddressState::Down, "transient"),
        (|_| fails(TransportError::RefusedConnection), AddressState::Down, "unreachable"),
        (|_| fails(TransportError::Tls), AddressState::Down, "unreachable"),
        (|_| fails(TransportError::BrokeOff), AddressState::Down, "unreachable"),
    ];
    for (number, (reacts, expected, outcome)) in cases.into_iter().enumerate() {
        let bench = Bench::one(config(), &ScriptedAddress::that(reacts));
        probe(&bench).await;
        assert_eq!(state(&bench), expected, "case {number}");
        assert_eq!(bench.outcomes(), [outcome], "case {number}");
        assert_eq!(bench.client.admission.status().addresses[0].in_flight, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_holds_no_word_of_the_dialogue_and_is_paid_for() {
    let address = ScriptedAddress::that(|_| reply(200, &verdict()));
    let mut config = priced();
    config.budget.per_run = Some(Finite::from(1_000_000));
    let bench = Bench::one(config, &address);
    probe(&bench).await;
    let sent = address.sent.lock()[0].1.clone();
    assert!(!sent.to_string().contains("480"), "{sent}");
    assert!(sent["messages"][1]["content"].as_str().unwrap().contains("Hello."), "{sent}");
    let event = bench.events.lock()[0].clone();
    assert_eq!((event.attempt, event.cached, event.usage.judge_calls), (0, false, 1));
    assert_eq!(bench.client.budget.left(), [("run", 1_000_000.0 - 30.0)], "30 prompt tokens");
}

#[tokio::test(start_paused = true)]
async fn without_money_no_probe_is_sent_and_the_address_stays_down() {
    let address = ScriptedAddress::that(|_| reply(200, &verdict()));
    let mut config = priced();
    config.budget.per_run = Some(Finite::from(1));
    let bench = Bench::one(config, &address);
    probe(&bench).await;
    assert_eq!((address.calls(), state(&bench)), (0, AddressState::Down));
}

/// Confirms that the first address refuses the temperature.
async fn confirm(bench: &Bench, named: bool) -> Usage {
    let features = bench.client.address(0).capabilities.now(false);
    let refused = FeatureRefusal { feature: Feature::Temperature, named };
    bench.client.confirm(0, spec(&question()), (features, refused)).await
}

fn sends_temperature(bench: &Bench) -> bool {
    bench.client.address(0).capabilities.now(false).temperature
}

#[tokio::test(start_paused = true)]
async fn a_feature_is_given_up_only_if_a_check_is_refused_for_it_too() {
    let mentions = json!({ "error": { "message": "temperature is odd" } });
    let other = json!({ "error": { "message": "no" } });
    let cases: [(u16, Value, bool); 4] = [
        (200, verdict(), true),
        (400, mentions.clone(), false),
        (400, other, true),
        (503, mentions, true),
    ];
    for (status, body, kept) in cases {
        let address = ScriptedAddress::that(move |_| reply(status, &body));
        let bench = Bench::one(config(), &address);
        let usage = confirm(&bench, false).await;
        assert_eq!((usage.judge_calls, address.calls()), (1, 1), "{status}");
        assert_eq!(sends_temperature(&bench), kept, "{status}");
    }
    let address = ScriptedAddress::that(|_| reply(200, &verdict()));
    let bench = Bench::one(config(), &address);
    assert_eq!(confirm(&bench, true).await, Usage::default(), "a named field needs no check");
    assert_eq!((address.calls(), sends_temperature(&bench)), (0, false));
}

#[tokio::test(start_paused = true)]
async fn one_check_speaks_for_all_that_wait_for_it_and_for_a_minute() {
    let address = ScriptedAddress::that(|_| reply(200, &verdict()));
    let bench = Bench::one(config(), &address);
    let all = futures_util::future::join_all((0..20).map(|_| confirm(&bench, false)));
    let calls: u64 = all.await.iter().map(|usage| usage.judge_calls).sum();
    assert_eq!((calls, address.calls()), (1, 1));
    tokio::time::advance(Duration::from_secs(59)).await;
    confirm(&bench, false).await;
    assert_eq!(address.calls(), 1);
    tokio::time::advance(Duration::from_secs(2)).await;
    confirm(&bench, false).await;
    assert_eq!(address.calls(), 2);
}

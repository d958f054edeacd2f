//! One request to one address: what it teaches, and what it returns of what it took.

use guerdon_queue::AddressState;
use guerdon_types::Finite;
use serde_json::{Value, json};

use super::{
    Bench, Script, ScriptedAddress, config, demand, fails, question, reply, says, spec, verdict,
};
use crate::call::capabilities::Feature;
use crate::call::exchange::Exchange;
use crate::call::transport::TransportError;
use crate::{AddressStatus, EndpointConfig};

async fn exchanged(bench: &Bench) -> Exchange {
    let permit = bench.client.admission.enter(demand()).await.unwrap();
    bench.client.exchange(permit, spec(&question())).await
}

fn status(bench: &Bench) -> AddressStatus {
    bench.client.admission.status().addresses[0]
}

async fn after(script: impl Fn(usize) -> Script + Send + Sync + 'static) -> AddressStatus {
    let bench = Bench::one(config(), &ScriptedAddress::that(script));
    exchanged(&bench).await.outcome.unwrap_err();
    status(&bench)
}

#[tokio::test(start_paused = true)]
async fn every_end_returns_the_place_and_tells_the_address() {
    let error = |code: u16| move |_| reply(code, &json!({ "error": { "message": "no" } }));
    for (found, state) in [
        (after(error(429)).await, AddressState::Paused),
        (after(error(401)).await, AddressState::HalfOpen),
        (after(error(402)).await, AddressState::HalfOpen),
        (after(error(400)).await, AddressState::Healthy),
        (after(error(500)).await, AddressState::Healthy),
        (after(|_| fails(TransportError::Tls)).await, AddressState::Healthy),
    ] {
        assert_eq!((found.state, found.in_flight), (state, 0));
    }
    let bench = Bench::one(config(), &ScriptedAddress::that(|_| fails(TransportError::BrokeOff)));
    for _ in 0..8 {
        exchanged(&bench).await.outcome.unwrap_err();
    }
    assert_eq!(status(&bench).state, AddressState::HalfOpen, "failures in a row");
}

#[tokio::test(start_paused = true)]
async fn a_feature_that_is_refused_by_name_costs_no_check() {
    let named = json!({ "error": { "message": "no", "param": "temperature" } });
    let address = ScriptedAddress::that(move |_| reply(400, &named));
    let bench = Bench::one(config(), &address);
    let exchange = exchanged(&bench).await;
    assert_eq!(exchange.refused, Some(Feature::Temperature));
    assert_eq!((address.calls(), exchange.checks.judge_calls), (1, 0));
    assert!(!bench.client.address(0).capabilities.now(false).temperature, "for every question");
}

#[tokio::test(start_paused = true)]
async fn a_feature_that_is_only_mentioned_is_checked_first() {
    let mention = json!({ "error": { "message": "temperature is odd" } });
    for (refuses_check, kept) in [(false, true), (true, false)] {
        let mention = mention.clone();
        let address = ScriptedAddress::that(move |number| match number {
            0 => reply(400, &mention),
            _ if refuses_check => reply(400, &mention),
            _ => reply(200, &verdict()),
        });
        let bench = Bench::one(config(), &address);
        let exchange = exchanged(&bench).await;
        assert_eq!((address.calls(), exchange.checks.judge_calls), (2, 1));
        assert_eq!(exchange.refused, Some(Feature::Temperature), "for this question");
        assert_eq!(bench.client.address(0).capabilities.now(false).temperature, kept);
        let check = address.sent.lock()[1].1.to_string();
        assert!(!check.contains("480"), "no word of the dialogue: {check}");
    }
}

fn priced() -> EndpointConfig {
    let mut config = config();
    config.prices.prompt_per_million = Finite::from(1_000_000);
    config.prices.completion_per_million = Finite::from(1_000_000);
    config
}

/// The usage of a request with this reported usage, which may cost `most` at most.
async fn usage(config: EndpointConfig, reported: Value) -> (guerdon_types::Usage, f64, bool) {
    let mut body = says("x");
    body["usage"] = reported;
    let bench = Bench::one(config, &ScriptedAddress::that(move |_| reply(200, &body)));
    let most = bench.client.most(&question(), question().room());
    let exchange = exchanged(&bench).await;
    let implausible = exchange.outcome.as_ref().unwrap().implausible_usage;
    (bench.client.usage(&exchange.outcome, most), most, implausible)
}

#[tokio::test(start_paused = true)]
async fn usage_that_cannot_be_true_is_bounded_and_flagged() {
    for (prompt, completion) in
        [(1_000_000_000_000_000_000_u64, 6_u64), (u64::MAX, u64::MAX), (30, 1 << 40), (1 << 30, 0)]
    {
        let reported = json!({ "prompt_tokens": prompt, "completion_tokens": completion });
        let (usage, most, implausible) = usage(priced(), reported).await;
        assert!(implausible, "{prompt} {completion}");
        assert_eq!(usage.cost.to_bits(), most.to_bits(), "booked at its most");
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (0, 0));
    }
    let honest = json!({ "prompt_tokens": 30, "completion_tokens": 6 });
    let (usage, _, implausible) = usage(priced(), honest).await;
    assert!(!implausible && usage.cost.to_bits() == 36f64.to_bits());
}

#[tokio::test(start_paused = true)]
async fn cached_tokens_have_a_price_of_their_own() {
    let reported = json!({
        "prompt_tokens": 30, "completion_tokens": 6, "prompt_tokens_details": { "cached_tokens": 20 },
    });
    for (price, cost) in [(None, 36.0), (Some(0), 16.0), (Some(500_000), 26.0)] {
        let mut config = priced();
        config.prices.cached_per_million = price.map(Finite::from);
        let (usage, ..) = usage(config, reported.clone()).await;
        assert!((usage.cost - cost).abs() < 1e-9, "{price:?}: {}", usage.cost);
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_ignores_the_limit_raises_what_is_reserved() {
    let mut body = says("x");
    body["usage"] = json!({ "prompt_tokens": 30, "completion_tokens": 3000 });
    let bench = Bench::one(priced(), &ScriptedAddress::that(move |_| reply(200, &body)));
    let (before, room) = (bench.client.most(&question(), 100), 100);
    assert!(before < 3000.0);
    exchanged(&bench).await.outcome.unwrap();
    let overrun = 3000.0 / f64::from(question().room());
    let after = bench.client.most(&question(), room);
    assert!(after >= before.min(100.0) * overrun.max(1.0) - 1.0, "{before} {after}");
    assert!(bench.client.most(&question(), question().room()) >= 3000.0, "one call's worth, once");
}

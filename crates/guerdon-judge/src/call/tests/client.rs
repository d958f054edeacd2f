//! Retries and re-asks: how many there are, after which waits, and what is left at the end.

use std::time::Duration;

use guerdon_types::{AbstainReason, AbstainWhy, Usage};
use serde_json::json;
use tokio::time::Instant;

use super::{
    Bench, Script, ScriptedAddress, answers, config, key, patience, question, reply, says,
};
use crate::EndpointConfig;
use crate::ask::answer::{Failure, JudgeAnswer, PatienceEnd};

async fn call(bench: &Bench, seconds: Option<u64>) -> (Result<JudgeAnswer, Failure>, Usage) {
    let mut spent = Usage::default();
    let answer = bench.client.call(key(), &question(), &patience(seconds), &mut spent).await;
    (answer, spent)
}

fn fails(status: u16) -> Script {
    reply(status, &json!({ "error": { "message": "no" } }))
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_retried_after_growing_waits() {
    let address = ScriptedAddress::that(|_| fails(500));
    let bench = Bench::one(config(), &address);
    let (answer, spent) = call(&bench, None).await;
    let failure = answer.unwrap_err();
    assert_eq!(
        (failure.why, failure.reason),
        (AbstainWhy::EndpointError, Some(AbstainReason::EndpointFailed))
    );
    assert_eq!((address.calls(), spent.judge_calls), (4, 4), "three retries");
    let sent = address.sent.lock();
    for (pair, most) in sent.windows(2).zip([500, 1_000, 2_000]) {
        let wait = pair[1].0 - pair[0].0;
        assert!(wait <= Duration::from_millis(most + 5), "{wait:?}");
    }
    drop(sent);
    assert_eq!(bench.outcomes(), ["transient"; 4]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_question_is_final() {
    for status in [400, 413, 422] {
        let address = ScriptedAddress::that(move |_| fails(status));
        let bench = Bench::one(config(), &address);
        call(&bench, None).await.0.unwrap_err();
        assert_eq!(address.calls(), 1, "{status}");
    }
    let address = ScriptedAddress::that(|_| fails(500).header("x-should-retry", "false"));
    call(&Bench::one(config(), &address), None).await.0.unwrap_err();
    assert_eq!(address.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_is_no_answer_is_asked_for_once_more() {
    for (second, why) in
        [(answers(1), None), (reply(200, &says("no")), Some(AbstainWhy::Malformed))]
    {
        let second = std::sync::Mutex::new(Some(second));
        let address = ScriptedAddress::that(move |number| match number {
            0 => reply(200, &says("I would say ten.")),
            _ => second.lock().unwrap().take().unwrap(),
        });
        let bench = Bench::one(config(), &address);
        let (answer, spent) = call(&bench, None).await;
        assert_eq!(answer.as_ref().err().map(|failure| failure.why), why);
        assert_eq!((address.calls(), spent.prompt_tokens), (2, 60));
        if let Ok(answer) = answer {
            assert_eq!(answer.usage, spent, "an answer costs what its attempts cost");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_verdicts_that_disagree_get_no_second_chance() {
    let both = "{\"turn\": \"turn-1\", \"findings\": {\"rude\": {\"level\": \"no\", \"evidence\": null}}} \
        {\"turn\": \"turn-1\", \"findings\": {\"rude\": {\"level\": \"yes\", \"evidence\": null}}}";
    let address = ScriptedAddress::that(move |_| reply(200, &says(both)));
    let bench = Bench::one(config(), &address);
    assert_eq!(call(&bench, None).await.0.unwrap_err().why, AbstainWhy::Ambiguous);
    assert_eq!(address.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cut_off_answer_gets_twice_the_room() {
    let mut cut = says("{\"turn\"");
    cut["choices"][0]["finish_reason"] = json!("length");
    let address = ScriptedAddress::that(move |number| match number {
        0 => reply(200, &cut),
        _ => answers(1),
    });
    let bench = Bench::one(config(), &address);
    call(&bench, None).await.0.unwrap();
    let sent = address.sent.lock();
    let rooms: Vec<_> = sent.iter().map(|(_, body)| body["max_tokens"].as_u64().unwrap()).collect();
    assert_eq!(rooms[1], 2 * rooms[0]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_load_is_no_retry_and_ends_with_the_deadline() {
    let address = ScriptedAddress::that(|number| match number {
        0..5 => fails(429).header("retry-after", "1"),
        _ => answers(1),
    });
    let bench = Bench::one(EndpointConfig { retries: 0, ..config() }, &address);
    let started = Instant::now();
    call(&bench, None).await.0.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(5), "{:?}", started.elapsed());

    let address = ScriptedAddress::that(|_| fails(429).header("retry-after", "1"));
    let bench = Bench::one(config(), &address);
    let failure = call(&bench, Some(4)).await.0.unwrap_err();
    assert!(matches!(failure.patience_end, Some(PatienceEnd::Deadline(_))), "{failure:?}");
    assert!(address.calls() <= 5);
}

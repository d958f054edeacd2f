//! Cohorts: the samples of a group in several requests.

use futures_util::future::join_all;
use guerdon_testing::listed_replies;
use guerdon_tests::{Server, StandInJudge};
use serde_json::{Value, json};

use crate::groups::{judge, listwise};
use crate::judge::configured;

const REPLIES: [&str; 8] =
    ["480 a", "480 b!", "480 c", "480 d!", "480 e", "480 f", "480 g!", "480 h"];

async fn server(judge: &StandInJudge, settings: &str, limits: &str) -> Server {
    let prompt = listwise(settings);
    let config = format!("{}{limits}", configured(judge.url()));
    Server::with(&config, &[("kind.md", prompt.as_str())]).await
}

/// A request with one sample of eight.
fn request(sample: usize, deadline_ms: u64) -> Value {
    json!({ "deadline_ms": deadline_ms, "rollouts": [{
        "group": "g", "attempt": 4, "sample": sample, "samples": 8,
        "messages": [{ "role": "user", "content": "480 is our best." },
            { "role": "assistant", "content": REPLIES[sample] }] }] })
}

fn points(reply: &Value) -> Option<f64> {
    reply["results"][0]["turns"][0]["judge"]["points"].as_f64()
}

fn detail(reply: &Value) -> String {
    let abstained = &reply["results"][0]["turns"][0]["abstained"][0];
    assert_eq!(abstained["reason"], "group_incomplete", "{reply}");
    abstained["detail"].as_str().unwrap().to_owned()
}

fn wanted(sample: usize) -> Option<f64> {
    Some(if REPLIES[sample].contains('!') { -20.0 } else { 0.0 })
}

#[tokio::test]
async fn eight_requests_with_one_sample_each_are_one_call() {
    let judge = judge().await;
    // Fewer places than samples: waiting requests hold none.
    let server = server(&judge, "", "[limits]\nmax_concurrent_requests = 2\n").await;
    let requests: Vec<Value> =
        [0, 1, 2, 3, 3, 4, 5, 6, 7].map(|sample| request(sample, 30_000)).to_vec();
    let replies = join_all(requests.iter().map(|request| server.score(request))).await;
    for (request, reply) in requests.iter().zip(&replies) {
        let sample = request["rollouts"][0]["sample"].as_u64().unwrap() as usize;
        assert_eq!(points(reply), wanted(sample), "{reply}");
        assert_eq!(reply["results"][0]["turns"][0]["judge"]["group"]["rollouts"], 8);
    }
    assert_eq!(judge.calls(), 1);
    assert_eq!(listed_replies(&judge.requests()[0]).len(), 8);
    let calls = replies.iter().map(|reply| reply["usage"]["judge_calls"].as_u64().unwrap());
    assert_eq!(calls.sum::<u64>(), 1, "one request has the cost");
    // A late retry gets the stored judgement.
    let again = server.score(&request(6, 30_000)).await;
    assert_eq!((points(&again), judge.calls()), (wanted(6), 1));
    assert_eq!(again["usage"]["judge_calls"], 0);
    assert!((server.metric("guerdon_cohorts_total", "complete").await - 1.0).abs() < 1e-9);
    server.stop().await;
}

#[tokio::test]
async fn a_group_whose_samples_do_not_all_come_abstains_and_names_the_cause() {
    let judge = judge().await;
    let server = server(&judge, "", "").await;
    let requests: Vec<Value> = [0, 1, 2].map(|sample| request(sample, 1_000)).to_vec();
    let replies = join_all(requests.iter().map(|request| server.score(request))).await;
    for reply in &replies {
        let detail = detail(reply);
        assert!(detail.contains("cohort_stalled: 3 of 8 samples"), "{detail}");
        assert_eq!(points(reply), None);
    }
    let late = detail(&server.score(&request(5, 1_000)).await);
    assert!(late.contains("after the group was judged"), "{late}");
    let retry = detail(&server.score(&request(1, 1_000)).await);
    assert!(retry.contains("cohort_stalled"), "the stored answer: {retry}");
    assert_eq!(judge.calls(), 0);
    assert!((server.metric("guerdon_cohorts_total", "stalled").await - 1.0).abs() < 1e-9);
    server.stop().await;
}

#[tokio::test]
async fn min_size_allows_a_part_of_the_group() {
    let judge = judge().await;
    let server = server(&judge, "min_size = 3", "").await;
    let requests: Vec<Value> = [0, 1, 2].map(|sample| request(sample, 4_000)).to_vec();
    let replies = join_all(requests.iter().map(|request| server.score(request))).await;
    for (sample, reply) in replies.iter().enumerate() {
        assert_eq!(points(reply), wanted(sample), "{reply}");
    }
    assert_eq!(judge.calls(), 1);
    server.stop().await;
}

#[tokio::test]
async fn requests_that_disagree_abstain_at_once() {
    let judge = judge().await;
    let server = server(&judge, "", "").await;
    let mut other_size = request(1, 60_000);
    other_size["rollouts"][0]["samples"] = json!(4);
    let first = request(0, 60_000);
    let (first, second) = tokio::join!(server.score(&first), server.score(&other_size));
    for reply in [first, second] {
        let detail = detail(&reply);
        assert!(detail.contains("disagree on the number of `samples`"), "{detail}");
    }
    let mut unnamed = request(1, 60_000);
    unnamed["rollouts"][0]["attempt"] = json!(5);
    unnamed["rollouts"][0].as_object_mut().unwrap().remove("sample");
    let detail = detail(&server.score(&unnamed).await);
    assert!(detail.contains("does not name its `sample`"), "{detail}");
    assert!((server.metric("guerdon_cohorts_total", "conflict").await - 2.0).abs() < 1e-9);
    server.stop().await;
}

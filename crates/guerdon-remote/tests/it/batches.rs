//! Calls in batches, coalescing, the cache, and the headers of a call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use guerdon_fusion::{Ask, RewardSource, SourceVersion};
use guerdon_remote::{HttpSource, HttpSourceConfig, TurnCacheConfig};
use guerdon_testing::wait_until;
use guerdon_types::{Finite, Part};
use serde_json::json;
use tokio_util::task::TaskTracker;

use crate::server::{
    FunctionServer, abstention, ask, config, lengths, reply, rollout, source, value,
};

#[tokio::test]
async fn turns_of_many_rollouts_share_calls_and_get_their_own_answers() {
    let server = FunctionServer::lengths().await;
    let source = source(HttpSourceConfig {
        batch: 16,
        linger: Duration::from_millis(50),
        ..config(server.url())
    });
    let texts: Vec<String> = (0..64).map(|length| "x".repeat(length)).collect();
    let signals = join_all(texts.iter().map(|text| {
        let source = &source;
        async move { ask(source, &[text]).await }
    }))
    .await;
    for (length, signal) in signals.iter().enumerate() {
        assert_eq!(value(signal), Some(length as f64));
    }
    let received = server.received();
    assert_eq!(received.len(), 4);
    assert!(received.iter().all(|call| call.asked().len() == 16));
}

#[tokio::test]
async fn a_dialogue_is_sent_once_up_to_its_last_asked_turn() {
    let server = FunctionServer::lengths().await;
    let source = source(config(server.url()));
    let rollout = rollout(&["a", "bb", "ccc", "dddd"]);
    let signals = source.score(Ask::new(&rollout, &[0, 2], None)).await;
    assert_eq!(signals.iter().map(value).collect::<Vec<_>>(), [Some(1.0), Some(3.0)]);
    let body = server.received()[0].json();
    assert_eq!(body["dialogues"].as_array().unwrap().len(), 1);
    assert_eq!(body["dialogues"][0]["messages"].as_array().unwrap().len(), 3);
    assert_eq!(body["source"], "lengths");
}

#[tokio::test]
async fn equal_turns_share_one_question_and_later_ones_the_cache() {
    let server = FunctionServer::lengths().await;
    let source = source(config(server.url()));
    let signals = join_all((0..20).map(|_| ask(&source, &["same"]))).await;
    assert!(signals.iter().all(|signal| value(signal) == Some(4.0)));
    assert_eq!(value(&ask(&source, &["same"]).await), Some(4.0));
    let asked: Vec<String> = server.received().iter().flat_map(|call| call.asked()).collect();
    assert_eq!(asked, ["same"]);
}

#[tokio::test]
async fn a_new_version_empties_the_cache_and_is_reported() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let server = FunctionServer::start(move |received| {
        let call = counted.fetch_add(1, Ordering::Relaxed);
        lengths(received, if call < 2 { "one" } else { "two" })
    })
    .await;
    let source = source(config(server.url()));
    let texts = |version: &str| {
        SourceVersion::Texts(BTreeMap::from([("lengths".to_owned(), version.to_owned())]))
    };
    assert_eq!(source.version(), texts("unknown"));
    for text in ["a", "b", "a", "b"] {
        ask(&source, &[text]).await;
    }
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert_eq!(source.version(), texts("one"));
    let signal = ask(&source, &["c"]).await;
    let Some(Part::Other(part)) = &signal.part else { panic!("{signal:?}") };
    assert_eq!(part.version.as_deref(), Some("two"));
    assert_eq!(source.version(), texts("two"));
    ask(&source, &["a"]).await;
    assert_eq!(calls.load(Ordering::Relaxed), 4, "answers of the old version are asked again");
}

#[tokio::test]
async fn nothing_is_kept_without_a_cache_or_without_a_version() {
    let versioned = FunctionServer::lengths().await;
    let cache = TurnCacheConfig { max_entries: 0, ..TurnCacheConfig::default() };
    let uncached = source(HttpSourceConfig { cache, ..config(versioned.url()) });
    let unversioned =
        FunctionServer::start(|_| reply(json!({ "results": [{ "value": 1 }] }))).await;
    let silent = source(config(unversioned.url()));
    for _ in 0..2 {
        assert!(value(&ask(&uncached, &["a"]).await).is_some());
        assert!(value(&ask(&silent, &["a"]).await).is_some());
    }
    assert_eq!((versioned.received().len(), unversioned.received().len()), (2, 2));
}

#[tokio::test]
async fn a_call_has_a_deadline_a_key_and_a_signature() {
    let server = FunctionServer::lengths().await;
    let secret = Some("one secret".to_owned().into());
    let source =
        HttpSource::new("lengths".into(), config(server.url()), secret, &TaskTracker::new())
            .unwrap();
    ask(&source, &["a"]).await;
    let received = &server.received()[0];
    let header = |name: &str| received.headers[name].to_str().unwrap().to_owned();
    let left: u64 = header("x-guerdon-deadline-ms").parse().unwrap();
    assert!((4_000..=5_000).contains(&left), "{left}");
    assert_eq!(header("idempotency-key"), received.json()["request_id"].as_str().unwrap());
    assert!(header("x-guerdon-signature").starts_with("sha256="));
    assert_eq!(header("x-guerdon-signature").len(), "sha256=".len() + 64);
    assert_eq!(received.path, "/score");
}

#[tokio::test]
async fn components_spans_veto_and_detail_reach_the_part() {
    let server = FunctionServer::start(|_| {
        reply(json!({ "version": "1", "results": [{
            "value": -12.5, "components": { "margin": 3.0 }, "spans": [[1, 3]], "veto": true,
            "detail": { "price": 480 },
        }]}))
    })
    .await;
    let source = source(config(server.url()));
    let signal = ask(&source, &["\u{e9}480"]).await;
    let Some(Part::Other(part)) = &signal.part else { panic!("{signal:?}") };
    assert_eq!((part.points.get(), part.veto), (-12.5, true));
    assert_eq!(part.components["margin"], Finite::from(3));
    assert_eq!(part.spans, [[1, 3]]);
    assert_eq!(part.detail, json!({ "price": 480 }));
    let outside = ask(&source, &["ab"]).await;
    assert_eq!(abstention(&outside).why.as_str(), "malformed");
}

#[tokio::test]
async fn a_call_is_given_up_when_every_caller_has_left() {
    let server = FunctionServer::start(|_| {
        axum::response::Response::new(axum::body::Body::from_stream(
            futures_util::stream::pending::<Result<String, std::io::Error>>(),
        ))
    })
    .await;
    let tasks = TaskTracker::new();
    let source = HttpSource::new("lengths".into(), config(server.url()), None, &tasks).unwrap();
    let left = tokio::time::timeout(Duration::from_millis(200), ask(&source, &["a"])).await;
    assert!(left.is_err());
    assert_eq!(server.received().len(), 1);
    tasks.close();
    tokio::time::timeout(Duration::from_secs(2), tasks.wait()).await.expect("the call has ended");
}

#[tokio::test]
async fn turns_beyond_the_queue_abstain_and_the_source_reports_that_it_is_full() {
    let server = FunctionServer::start(|_| {
        axum::response::Response::new(axum::body::Body::from_stream(
            futures_util::stream::pending::<Result<String, std::io::Error>>(),
        ))
    })
    .await;
    let source = Arc::new(source(HttpSourceConfig { max_queued: 3, ..config(server.url()) }));
    let mut asked = tokio::task::JoinSet::new();
    for text in ["a", "b", "c"] {
        let source = Arc::clone(&source);
        asked.spawn(async move { ask(source.as_ref(), &[text]).await });
    }
    wait_until("three turns wait", Duration::from_secs(5), async || {
        source.full_for_client(0).is_some()
    })
    .await;
    let refused = ask(source.as_ref(), &["d"]).await;
    assert_eq!(abstention(&refused).why.as_str(), "overloaded");
    asked.abort_all();
    while asked.join_next().await.is_some() {}
    assert!(source.full_for_client(0).is_none());
}

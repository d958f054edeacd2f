//! One call for a question that all replicas ask, takeover, and stored answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use guerdon_cluster::Coordinator as _;
use guerdon_queue::Claim;
use guerdon_testing::RedisServer;

use crate::replica::{Replica, config};

const TTL: Duration = Duration::from_secs(60);

/// Asks as a judge does: claims, makes a call that takes a while, stores.
async fn ask(replica: &Replica, key: &str, calls: &AtomicUsize) -> Vec<u8> {
    match replica.redis.claim(key).await.unwrap() {
        Claim::Stored(value) => value,
        Claim::Lead(lease) => {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
            let value = format!("{key} {call}").into_bytes();
            replica.redis.put(key, value, TTL, Some(lease)).await.unwrap()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_of_four_replicas_is_asked_once() {
    let Some(server) = RedisServer::start() else { return };
    let replicas =
        join_all((0..4).map(async |_| Replica::start(&config(&server.url())).await)).await;
    let calls = AtomicUsize::new(0);
    let asked = (0..100).flat_map(|question| {
        let calls = &calls;
        replicas.iter().map(move |replica| async move {
            let key = format!("{question:064x}");
            ask(replica, &key, calls).await
        })
    });
    let answers = join_all(asked).await;
    assert_eq!(calls.load(Ordering::Relaxed), 100);
    for same in answers.chunks(4) {
        assert!(same.iter().all(|answer| *answer == same[0]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_of_a_replica_that_stopped_is_taken_over() {
    let Some(server) = RedisServer::start() else { return };
    let first = Replica::start(&config(&server.url())).await;
    let second = Replica::start(&config(&server.url())).await;
    let Claim::Lead(lease) = first.redis.claim("k").await.unwrap() else { panic!("a lease") };
    // As long as it lives, the lease is renewed beyond its length.
    let early = tokio::time::timeout(Duration::from_millis(1_500), second.redis.claim("k")).await;
    assert!(early.is_err(), "{early:?}");
    // A process that dies renews nothing and releases nothing.
    std::mem::forget(lease);
    drop(first);
    let Claim::Lead(_) = second.redis.claim("k").await.unwrap() else { panic!("taken over") };
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_call_without_an_answer_wakes_the_others() {
    let Some(server) = RedisServer::start() else { return };
    let patient =
        guerdon_cluster::ClusterConfig { lease: Duration::from_secs(60), ..config(&server.url()) };
    let first = Replica::start(&patient).await;
    let second = Replica::start(&patient).await;
    let Claim::Lead(lease) = first.redis.claim("k").await.unwrap() else { panic!("a lease") };
    let started = Instant::now();
    let (claim, ()) = tokio::join!(second.redis.claim("k"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(lease);
    });
    assert!(matches!(claim.unwrap(), Claim::Lead(_)));
    assert!(started.elapsed() < Duration::from_secs(30), "woken before the lease ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_stored_answer_wins_and_a_damaged_one_is_none() {
    let Some(server) = RedisServer::start() else { return };
    let replica = Replica::start(&config(&server.url())).await;
    let put = |value: &str| replica.redis.put("k", value.as_bytes().to_vec(), TTL, None);
    assert_eq!(put("first").await.unwrap(), b"first");
    assert_eq!(put("second").await.unwrap(), b"first", "a second payer adopts it");
    assert!(!server.cli(&["SETRANGE", "g1:test:{k}:a", "5", "damage"]).is_empty());
    let Claim::Lead(lease) = replica.redis.claim("k").await.unwrap() else { panic!("asked again") };
    let stored = replica.redis.put("k", b"third".to_vec(), TTL, Some(lease)).await.unwrap();
    assert_eq!(stored, b"third");
}

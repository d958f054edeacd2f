//! The state that a replica reports, and its behaviour without the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use guerdon_cluster::{ClusterConfig, CoordinationState, Coordinator as _, Redis};
use guerdon_queue::Claim;
use guerdon_testing::{CuttableNetwork, RedisServer, wait_until};
use parking_lot::Mutex;
use secrecy::SecretString;
use tokio_util::task::TaskTracker;

use crate::replica::{PATIENCE, Replica, config};

#[tokio::test(flavor = "multi_thread")]
async fn the_state_says_what_works_through_a_cut() {
    let Some(server) = RedisServer::start() else { return };
    let network = CuttableNetwork::before(server.address()).await;
    let replica = Replica::start(&config(&format!("redis://{}", network.address()))).await;
    assert_eq!(replica.redis.replicas(), [replica.redis.id().to_owned()]);
    network.cut(true);
    replica.is(false).await;
    let CoordinationState::Down { detail } = replica.redis.state() else { panic!("down") };
    assert!(!detail.is_empty());
    assert!(replica.redis.replicas().is_empty());
    // Commands fail at once and do not queue up.
    let started = Instant::now();
    for _ in 0..100 {
        assert!(replica.redis.claim("k").await.is_err());
    }
    assert!(started.elapsed() < Duration::from_secs(2));
    network.cut(false);
    replica.is(true).await;
    assert!(matches!(replica.redis.claim("k").await, Ok(Claim::Lead(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_was_made_in_an_outage_is_stored_afterwards() {
    let Some(mut server) = RedisServer::start() else { return };
    let first = Replica::start(&config(&server.url())).await;
    server.kill();
    let made = first.redis.put("k", b"made".to_vec(), Duration::from_secs(60), None).await;
    assert!(made.is_err());
    server.resume();
    let second = Replica::start(&config(&server.url())).await;
    wait_until("the value is stored", PATIENCE, async || {
        matches!(second.redis.claim("k").await, Ok(Claim::Stored(value)) if value == b"made")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_cached_scripts_is_enough_and_one_without_scripts_is_down() {
    let refused = ["--rename-command", "SCRIPT", "", "--rename-command", "EVALSHA", ""];
    let Some(server) = RedisServer::start_with(&refused) else { return };
    let replica = Replica::start(&config(&server.url())).await;
    assert!(matches!(replica.redis.claim("k").await, Ok(Claim::Lead(_))));
    let without = RedisServer::start_with(&["--rename-command", "EVAL", ""]).unwrap();
    let replica = Replica::unconnected(&config(&without.url()));
    wait_until("the reason is known", PATIENCE, async || {
        matches!(replica.redis.state(), CoordinationState::Down { detail } if detail.contains("EVAL"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_sent_and_a_wrong_one_is_reported() {
    let Some(server) = RedisServer::start_with(&["--requirepass", "open sesame"]) else { return };
    let state = |password: &str| {
        let (config, tasks) = (config(&server.url()), TaskTracker::new());
        let password = SecretString::from(password.to_owned());
        let redis = Redis::new(&config, Some(&password), tasks.clone()).unwrap().unwrap();
        tasks.spawn(Arc::clone(&redis).run(tokio_util::sync::CancellationToken::new()));
        redis
    };
    let (right, wrong) = (state("open sesame"), state("wrong"));
    wait_until("the right one connects", PATIENCE, async || right.state() == CoordinationState::Up)
        .await;
    wait_until("the wrong one is reported", PATIENCE, async || {
        matches!(wrong.state(), CoordinationState::Down { detail }
            if !detail.contains("not connected") && !detail.contains("wrong"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_reaches_the_other_replicas() {
    let Some(server) = RedisServer::start() else { return };
    let first = Replica::start(&config(&server.url())).await;
    let second = Replica::start(&config(&server.url())).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    second.redis.on_pause(
        "http://judge/v1",
        Arc::new(move |pause| {
            heard.lock().push(pause);
            true
        }),
    );
    first.redis.pause("http://judge/v1", Duration::from_secs(7));
    wait_until("it is told", PATIENCE, async || !told.lock().is_empty()).await;
    assert!(told.lock().iter().all(|pause| *pause <= Duration::from_secs(7)));
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_share_nothing() {
    let Some(server) = RedisServer::start() else { return };
    let other = ClusterConfig { namespace: "other".to_owned(), ..config(&server.url()) };
    let (first, second) =
        (Replica::start(&config(&server.url())).await, Replica::start(&other).await);
    let _lease = first.redis.claim("k").await.unwrap();
    assert!(matches!(second.redis.claim("k").await.unwrap(), Claim::Lead(_)));
    assert_eq!(second.redis.replicas().len(), 1);
}

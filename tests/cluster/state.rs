//! The servers say whether coordination is on.

use guerdon_testing::RedisServer;
use guerdon_tests::{JudgeThread, WAIT_LIMIT, wait_until_blocking};

use crate::deployment::{setup, wait_until_up};

#[test]
fn readiness_info_and_metrics_say_whether_coordination_is_on() {
    let Some(mut redis) = RedisServer::start() else { return };
    let judge = JudgeThread::start();
    let setup = setup(&judge, redis.address(), "", "1s");
    let (first, second) = (setup.start(), setup.start());
    for server in [&first, &second] {
        wait_until_up(server);
    }
    wait_until_blocking("the servers know each other", WAIT_LIMIT, || {
        let info = first.get("/v1/info").json();
        info["cluster"]["replicas"].as_array().is_some_and(|replicas| replicas.len() == 2)
    });
    let info = first.get("/v1/info").json();
    assert_eq!(
        (&info["cluster"]["up"], &info["cluster"]["namespace"]),
        (&true.into(), &"test".into())
    );
    assert!((first.metric("guerdon_cluster_up", "test") - 1.0).abs() < 1e-9);
    redis.kill();
    wait_until_blocking("the loss is reported", WAIT_LIMIT, || {
        first.get("/readyz").text().contains("coordination: down")
    });
    let ready = first.get("/readyz");
    assert_eq!(ready.status, 200, "it goes on alone");
    let info = first.get("/v1/info").json();
    assert_eq!(info["cluster"]["up"], false);
    assert!(!info["cluster"]["detail"].as_str().unwrap().is_empty());
    assert!(first.metric("guerdon_cluster_up", "test").abs() < 1e-9);
    redis.resume();
    wait_until_up(&first);
}

#[test]
fn a_server_without_cluster_says_nothing_of_it() {
    let judge = JudgeThread::start();
    let light = guerdon_tests::ProcessSetup::light(env!("CARGO_BIN_EXE_guerdon"));
    let server = judge.added_to(light, "").start();
    assert_eq!(server.get("/readyz").text(), "ready\n");
    assert!(server.get("/v1/info").json().get("cluster").is_none());
    assert!(!server.get("/metrics").text().contains("\nguerdon_cluster_up{"));
}

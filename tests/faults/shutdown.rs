//! A stop answers the requests that were received whole, waits for no other client, and ends with
//! exit code 0. The process always ends within its drain time and two seconds.

use std::time::{Duration, Instant};

use guerdon_tests::{
    GuerdonProcess, JudgeThread, Server, WAIT_LIMIT, WireConnection, wire_request,
};
use serde_json::{Value, json};

use crate::{leak, light, request};

/// The longest that a stop may take beyond its drain time.
const EXTRA: Duration = Duration::from_secs(2);
/// The drain time of [`light`].
const DRAIN: Duration = Duration::from_secs(3);

fn ask(server: &GuerdonProcess, body: &Value) -> WireConnection {
    let mut connection = server.connect();
    let headers = [("content-type", "application/json")];
    connection
        .send(&wire_request("POST", "/v1/score", &headers, body.to_string().as_bytes()))
        .unwrap();
    connection
}

#[test]
fn idle_server_stops_at_once_by_either_signal() {
    for signal in ["TERM", "INT"] {
        let mut server = light().start();
        let idle: Vec<_> = (0..10).map(|_| server.connect()).collect();
        let mut kept = server.connect();
        kept.send(&wire_request("GET", "/healthz", &[], b"")).unwrap();
        assert_eq!(kept.reply().unwrap().status, 200);
        server.signal(signal);
        let (status, took) = server.wait_for_exit(DRAIN);
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(took < Duration::from_secs(1), "{signal}: {took:?}");
        drop(idle);
    }
}

#[test]
fn requests_in_flight_are_answered_before_the_exit() {
    let judge = JudgeThread::start_gated(0);
    let mut server = judge.added_to(light(), "").start();
    let mut asking: Vec<_> =
        (0..20).map(|n| ask(&server, &request(&[Server::rollout(&format!("{n} ."))]))).collect();
    judge.wait_for_calls(20);
    server.signal("TERM");
    // New connections are refused or closed without an answer, never answered wrongly.
    judge.endpoint().release(1_000);
    for connection in &mut asking {
        let reply = connection.reply().unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(reply.json()["results"][0]["reward"].is_number(), "{reply:?}");
    }
    let (status, took) = server.wait_for_exit(DRAIN + EXTRA);
    assert_eq!(status.code(), Some(0), "after {took:?}: {}", server.log());
}

#[test]
fn streams_in_flight_are_finished_before_the_exit() {
    let judge = JudgeThread::start_gated(3);
    let mut server = judge.added_to(light(), "").start();
    let rollouts: Vec<Value> = (0..30).map(|n| Server::rollout(&format!("{n} ."))).collect();
    let mut connection = server.connect();
    let headers = [("content-type", "application/json"), ("accept", "application/x-ndjson")];
    let body = request(&rollouts).to_string();
    connection.send(&wire_request("POST", "/v1/score", &headers, body.as_bytes())).unwrap();
    judge.wait_for_calls(4);
    server.signal("TERM");
    judge.endpoint().release(1_000);
    let reply = connection.reply().unwrap();
    let lines: Vec<Value> =
        reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 31);
    assert_eq!(lines[30]["results"], 30);
    assert_eq!(server.wait_for_exit(DRAIN + EXTRA).0.code(), Some(0));
}

#[test]
fn stop_during_the_start_is_clean() {
    // Packs enough that the load takes some time.
    let mut setup = light();
    for pack in 0..30 {
        let rules: String = (0..40)
            .map(|rule| format!("  - {{ id: r{rule}, about: One., points: -1, match: {{ any_of: ['w{pack}x{rule}'] }} }}\n"))
            .collect();
        setup = setup.file(
            &format!("packs/p{pack}.yaml"),
            &format!("pack: p{pack}\nabout: Many.\nrules:\n{rules}"),
        );
    }
    for signal in ["TERM", "INT"] {
        for delay in [0, 5, 20, 60, 120] {
            let folder = tempfile::tempdir().unwrap();
            setup.write(folder.path());
            let mut server = setup.spawn_in(folder);
            std::thread::sleep(Duration::from_millis(delay));
            server.signal(signal);
            let (status, took) = server.wait_for_exit(WAIT_LIMIT);
            // Before its handlers exist the process ends by the signal itself, which loses nothing.
            let by_signal = std::os::unix::process::ExitStatusExt::signal(&status);
            assert!(
                status.code() == Some(0) || by_signal.is_some(),
                "{signal} after {delay} ms: {status}"
            );
            assert!(took < Duration::from_secs(10), "{signal} after {delay} ms: {took:?}");
        }
    }
}

#[test]
fn stop_with_a_silent_judge_ends_in_time() {
    let judge = JudgeThread::start_gated(0);
    let mut server = judge.added_to(light(), "timeout = \"60s\"").start();
    let asking = ask(&server, &request(&[leak()]));
    judge.wait_for_calls(1);
    let (status, took) = server.terminate(DRAIN * 3 + EXTRA);
    // The request was taken and not answered.
    assert_eq!(status.code(), Some(1), "{took:?}: {}", server.log());
    drop(asking);
}

#[test]
fn second_signal_ends_the_process_at_once() {
    let judge = JudgeThread::start_gated(0);
    let mut server = judge
        .added_to(light(), "timeout = \"60s\"")
        .server("")
        .replaced("\"3s\"", "\"30s\"")
        .start();
    let asking = ask(&server, &request(&[leak()]));
    judge.wait_for_calls(1);
    server.signal("TERM");
    guerdon_tests::wait_until_blocking("the server stops", WAIT_LIMIT, || {
        server.log().contains("stopping")
    });
    let (status, took) = server.terminate(Duration::from_secs(5));
    assert_eq!(status.code(), Some(1));
    assert!(took < Duration::from_secs(2), "{took:?}");
    drop(asking);
}

#[test]
fn stop_with_rules_checks_under_way_ends_in_time() {
    let mut server = light().start();
    let rules: String = (0..300)
        .map(|rule| format!("  - {{ id: r{rule}, about: One., points: -1, match: {{ regex: '(?:[a-z]{{{rule},500}}){{2,9}}x' }} }}\n"))
        .collect();
    let pack = json!({ "packs": [{ "name": "p.yaml", "text": format!("pack: p\nabout: Many.\nrules:\n{rules}") }] });
    let checks: Vec<_> = (0..40)
        .map(|_| {
            let mut connection = server.connect();
            let headers = [("content-type", "application/json")];
            connection
                .send(&wire_request(
                    "POST",
                    "/v1/rules/check",
                    &headers,
                    pack.to_string().as_bytes(),
                ))
                .unwrap();
            connection
        })
        .collect();
    // A scoring request beside them is answered, so the checks have begun.
    assert_eq!(server.score(&request(&[leak()]))["results"][0]["reward"], -0.5);
    let (status, took) = server.terminate(DRAIN + EXTRA);
    assert!(took < DRAIN + EXTRA, "{took:?}");
    assert!(matches!(status.code(), Some(0 | 1)), "{status}");
    drop(checks);
}

#[track_caller]
fn assert_clean_exit(server: &mut GuerdonProcess, what: &str, limit: Duration) {
    let (status, took) = server.terminate(limit);
    assert_eq!(status.code(), Some(0), "{what}: {status}\n{}", server.log());
    assert!(took < limit, "{what}: {took:?}");
}

#[test]
fn half_sent_requests_do_not_delay_a_stop() {
    let body = request(&[leak()]).to_string();
    let whole =
        wire_request("POST", "/v1/score", &[("content-type", "application/json")], body.as_bytes());
    let head = whole.len() - body.len();
    let chunks = b"POST /v1/score HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"rol";
    let halves: Vec<(String, Vec<u8>)> =
        [1, 4, 20, head / 2, head - 1, head, head + 1, whole.len() - 1]
            .into_iter()
            .map(|length| (format!("{length} of {} bytes", whole.len()), whole[..length].to_vec()))
            .chain([("half a chunk".to_owned(), chunks.to_vec())])
            .collect();
    for (what, half) in halves {
        let mut server = light().start();
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let mut connection = server.connect();
                connection.send(&half).unwrap();
                connection
            })
            .collect();
        let started = Instant::now();
        assert_clean_exit(&mut server, &what, DRAIN + EXTRA);
        assert!(started.elapsed() < Duration::from_secs(2), "{what}: {:?}", started.elapsed());
        drop(waiting);
    }
}

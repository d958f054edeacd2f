//! The start and the end of the process: reports to the service manager, signals at any moment of the
//! start, and stops while threads are busy or hang.

use std::time::Duration;

use guerdon_tests::{Server, WAIT_LIMIT, wire_request};
use serde_json::json;

use crate::{leak, light, request};

/// The drain time of [`light`].
const DRAIN: Duration = Duration::from_secs(3);
/// The longest that a stop may take beyond its drain time.
const EXTRA: Duration = Duration::from_secs(2);

#[test]
fn hangups_during_the_start_do_not_end_the_process() {
    // Packs enough that the load takes some time.
    let mut setup = light();
    for pack in 0..30 {
        let rules: String = (0..40)
            .map(|rule| format!("  - {{ id: r{rule}, about: One., points: -1, match: {{ any_of: ['w{pack}x{rule}'] }} }}\n"))
            .collect();
        let text = format!("pack: p{pack}\nabout: Many.\nrules:\n{rules}");
        setup = setup.file(&format!("packs/p{pack}.yaml"), &text);
    }
    let folder = tempfile::tempdir().unwrap();
    setup.write(folder.path());
    let mut server = setup.spawn_in(folder);
    // The signals' thread is among the first things of the process, after the program is loaded.
    let thread_is_up = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
        tasks.flatten().any(|task| {
            let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            name.starts_with("guerdon-load") || name.starts_with("tokio-rt-worker")
        })
    };
    guerdon_tests::wait_until_blocking("the load begins", WAIT_LIMIT, thread_is_up);
    for _ in 0..50 {
        server.signal("HUP");
    }
    server.wait_until_listening();
    for _ in 0..50 {
        server.signal("HUP");
    }
    assert!(server.score(&request(&[leak()]))["results"][0]["reward"].is_number());
    assert_eq!(server.terminate(DRAIN + EXTRA).0.code(), Some(0));
}

#[test]
fn stop_after_clients_of_dear_checks_have_gone_is_clean() {
    let mut server = light().start();
    let rules: String = (0..300)
        .map(|rule| format!("  - {{ id: r{rule}, about: One., points: -1, match: {{ regex: '(?:[a-z]{{{rule},500}}){{2,9}}x' }} }}\n"))
        .collect();
    let text = format!("pack: p\nabout: Many.\nrules:\n{rules}");
    let pack = json!({ "packs": [{ "name": "p.yaml", "text": text }] }).to_string();
    let head = [("content-type", "application/json")];
    let checks: Vec<_> = (0..20)
        .map(|_| {
            let mut connection = server.connect();
            connection
                .send(&wire_request("POST", "/v1/rules/check", &head, pack.as_bytes()))
                .unwrap();
            connection
        })
        .collect();
    assert!(server.score(&request(&[leak()]))["results"][0]["reward"].is_number());
    drop(checks);
    let (status, took) = server.terminate(DRAIN + EXTRA);
    assert_eq!(status.code(), Some(0), "{took:?}: {}", server.log());
}

#[test]
fn signals_of_every_kind_in_a_row_end_the_process_in_time() {
    let mut server = light().start();
    for signal in ["HUP", "TERM", "HUP", "INT", "HUP", "TERM"] {
        server.signal(signal);
    }
    let (status, took) = server.wait_for_exit(DRAIN + EXTRA);
    // A second stop signal may force the end before the first one has had its effect.
    assert!(matches!(status.code(), Some(0 | 1)), "{status}");
    assert!(took < EXTRA, "{took:?}");
}

/// The reports of a server to a service manager: the datagrams of `NOTIFY_SOCKET`.
struct Notices(std::os::unix::net::UnixDatagram);

impl Notices {
    /// The next report, as lines.
    fn next(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let length = self.0.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn service_manager_is_told_of_start_reloads_and_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(WAIT_LIMIT)).unwrap();
    let notices = Notices(socket);
    let mut server = light().variable("NOTIFY_SOCKET", path.to_str().unwrap()).start();
    assert_eq!(notices.next(), ["READY=1", "STATUS=serving generation 1"]);
    // Ready means that it scores.
    assert!(server.score(&request(&[leak()]))["results"][0]["reward"].is_number());

    let reload = |ends: &dyn Fn(&str) -> bool| {
        let begun = notices.next();
        assert_eq!(begun[0], "RELOADING=1");
        let time = begun[1].strip_prefix("MONOTONIC_USEC=").expect("the time of notify-reload");
        assert!(time.parse::<u64>().is_ok_and(|time| time > 0), "{time}");
        let ended = notices.next();
        let status = ended[1].strip_prefix("STATUS=").expect("a status");
        assert!(ended[0] == "READY=1" && ended.len() == 2 && ends(status), "{ended:?}");
    };
    server.signal("HUP");
    reload(&|status| status == "serving generation 2");
    server.replace("packs/words.yaml", "pack: [\n");
    reload(&|status| status.starts_with("the reload failed, the earlier generation serves: "));
    server.replace("packs/words.yaml", Server::pack());
    reload(&|status| status.starts_with("serving generation "));

    assert_eq!(server.terminate(DRAIN + EXTRA).0.code(), Some(0));
    assert_eq!(notices.next(), ["STOPPING=1"]);
}

#[test]
fn service_manager_that_is_away_does_not_end_the_server() {
    let setup = light().variable("NOTIFY_SOCKET", "/nowhere/notify");
    let mut server = setup.start();
    assert!(server.score(&request(&[leak()]))["results"][0]["reward"].is_number());
    assert!(server.log().contains("NOTIFY_SOCKET"), "{}", server.log());
    assert_eq!(server.terminate(DRAIN + EXTRA).0.code(), Some(0));
}

//! HTTP that is malformed, ambiguous or unusual: refused and closed where it is ambiguous, served
//! where the standard allows it.

use std::time::Duration;

use guerdon_tests::{GuerdonProcess, WireConnection, wire_request};
use serde_json::Value;

use crate::{assert_problem, assert_scores, leak, light, request};

const SCORE: &str =
    "POST /v1/score HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n";

/// The status of the only reply to `head` and `body`; `None` if the server closed without one.
fn status_of(server: &GuerdonProcess, bytes: &[u8]) -> Option<u16> {
    let mut connection = server.connect();
    connection.limit(Duration::from_secs(5)).unwrap();
    drop(connection.send(bytes));
    connection.reply().ok().map(|reply| reply.status)
}

#[test]
fn ambiguous_framing_is_refused_and_the_connection_closed() {
    let server = light().start();
    let body = request(&[leak()]).to_string();
    let length = body.len();
    let smuggled = "GET /v1/reload HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    let chunked = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    for (what, headers, body) in [
        (
            "length and chunks",
            format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"),
            chunked.clone(),
        ),
        (
            "chunks and length",
            format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n"),
            chunked.clone(),
        ),
        ("two lengths", format!("content-length: {length}\r\ncontent-length: 5\r\n"), body.clone()),
        ("a list of lengths", format!("content-length: {length}, 5\r\n"), body.clone()),
        ("a signed length", format!("content-length: +{length}\r\n"), body.clone()),
        ("a negative length", "content-length: -1\r\n".into(), body.clone()),
        ("a hexadecimal length", format!("content-length: 0x{length:x}\r\n"), body.clone()),
        ("a huge length", format!("content-length: {}\r\n", "9".repeat(30)), body.clone()),
        (
            "chunks that are not last",
            "transfer-encoding: chunked, gzip\r\n".into(),
            chunked.clone(),
        ),
        ("an unknown coding", "transfer-encoding: bogus\r\n".into(), body.clone()),
        (
            "chunks twice",
            "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n".into(),
            chunked.clone(),
        ),
        (
            "a chunk size that is no number",
            "transfer-encoding: chunked\r\n".into(),
            format!("zz\r\n{body}\r\n0\r\n\r\n"),
        ),
        (
            "a negative chunk size",
            "transfer-encoding: chunked\r\n".into(),
            format!("-5\r\n{body}\r\n0\r\n\r\n"),
        ),
        (
            "a huge chunk size",
            "transfer-encoding: chunked\r\n".into(),
            format!("{}\r\n{body}\r\n0\r\n\r\n", "f".repeat(17)),
        ),
        (
            "a chunk without its end",
            "transfer-encoding: chunked\r\n".into(),
            format!("3\r\n{body}\r\n0\r\n\r\n"),
        ),
        ("a space before the colon", format!("content-length : {length}\r\n"), body.clone()),
        ("a folded header", format!("content-length:\r\n {length}\r\n"), body.clone()),
    ] {
        let mut connection = server.connect();
        let bytes = format!("{SCORE}{headers}\r\n{body}{smuggled}");
        drop(connection.send(bytes.as_bytes()));
        let first = connection.reply();
        let refused = first
            .as_ref()
            .map_or(true, |reply| (400..500).contains(&reply.status) || reply.status == 501);
        if refused {
            // A second request behind ambiguous framing must not be answered.
            assert!(
                connection.is_closed_within(Duration::from_secs(5)),
                "{what}: not closed after {first:?}"
            );
        } else {
            let reply = first.unwrap();
            // A server may take the coding of the transfer over the length if it closes afterwards.
            assert_eq!(reply.json()["results"][0]["reward"], -0.5, "{what}: {reply:?}");
            assert!(connection.is_closed_within(Duration::from_secs(5)), "{what}: served on");
        }
    }
    assert_eq!(server.get("/v1/info").json()["generation"], 1);
    assert_scores(&server);
}

#[test]
fn requests_in_pieces_and_in_rows_are_served() {
    let server = light().start();
    let body = request(&[leak()]).to_string().into_bytes();
    let headers = [("content-type", "application/json")];
    let whole = wire_request("POST", "/v1/score", &headers, &body);

    // Twenty requests at once; replies in their order.
    let mut connection = server.connect();
    connection.send(&whole.repeat(20)).unwrap();
    for _ in 0..20 {
        assert_eq!(connection.reply().unwrap().json()["results"][0]["reward"], -0.5);
    }

    // One byte at a time, and chunks of one byte.
    let mut connection = server.connect();
    for byte in &whole {
        connection.send(&[*byte]).unwrap();
    }
    assert_eq!(connection.reply().unwrap().status, 200);
    let mut chunked = format!("{SCORE}transfer-encoding: chunked\r\n\r\n").into_bytes();
    for byte in &body {
        chunked.extend(*b"1\r\n");
        chunked.push(*byte);
        chunked.extend(*b"\r\n");
    }
    chunked.extend(*b"0\r\n\r\n");
    assert_eq!(status_of(&server, &chunked), Some(200));

    // The client waits for `100 Continue`.
    let mut connection = server.connect();
    let head = format!("{SCORE}content-length: {}\r\nexpect: 100-continue\r\n\r\n", body.len());
    connection.send(head.as_bytes()).unwrap();
    connection.send(&body).unwrap();
    let reply = connection.reply().unwrap();
    assert_eq!((reply.status, reply.continued), (200, true));

    // HTTP/1.0 closes after the reply.
    let mut connection = server.connect();
    let old = format!(
        "POST /v1/score HTTP/1.0\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.send(&[old.as_bytes(), &body].concat()).unwrap();
    assert_eq!(connection.reply().unwrap().status, 200);
    assert!(connection.is_closed_within(Duration::from_secs(5)));

    // Line feeds alone end lines, too.
    let bare = format!(
        "POST /v1/score HTTP/1.1\nhost: 127.0.0.1\ncontent-type: application/json\ncontent-length: {}\n\n",
        body.len()
    );
    assert_eq!(status_of(&server, &[bare.as_bytes(), &body].concat()), Some(200));
    assert_scores(&server);
}

#[test]
fn unusual_methods_and_targets_are_refused() {
    let server = light().start();
    for method in ["TRACE", "DELETE", "PUT", "PATCH", "OPTIONS", "PROPFIND", "GET"] {
        let reply = server
            .exchange(&wire_request(method, "/v1/score", &[("content-length", "0")], b""))
            .unwrap();
        assert!(matches!(reply.status, 403 | 405), "{method}: {reply:?}");
    }
    for (request, allowed) in [
        ("CONNECT 127.0.0.1:80 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", &[400, 403, 404, 405][..]),
        ("OPTIONS * HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", &[200, 400, 403, 404, 405]),
        ("GET http://127.0.0.1/healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", &[200]),
        ("GET healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", &[400, 404]),
        ("get /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", &[400, 405]),
        ("GET /healthz HTTP/1.2\r\nhost: 127.0.0.1\r\n\r\n", &[400, 505]),
        ("GET /healthz HTTP/9.9\r\nhost: 127.0.0.1\r\n\r\n", &[400, 505]),
        ("GET /a\0b HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", &[400]),
        ("GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\na b: c\r\n\r\n", &[400]),
        ("GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\na: \x01\r\n\r\n", &[400]),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\u{7c}", &[400]),
    ] {
        if let Some(status) = status_of(&server, request.as_bytes()) {
            assert!(allowed.contains(&status), "{request:?}: {status}");
        }
    }
    let long = format!("GET /{} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", "a".repeat(100_000));
    assert!(matches!(status_of(&server, long.as_bytes()), Some(404 | 414 | 431) | None));
    let wide =
        format!("GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\na: {}\r\n\r\n", "a".repeat(2 << 20));
    assert!(matches!(status_of(&server, wide.as_bytes()), Some(400 | 431) | None));
    let many =
        format!("GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    assert!(matches!(status_of(&server, many.as_bytes()), Some(400 | 431) | None));
    assert_scores(&server);
}

#[test]
fn invented_paths_make_no_metric_labels_and_no_html() {
    let server = light().start();
    let sizes = |server: &GuerdonProcess| server.get("/metrics").text().lines().count();
    let _ = server.get("/invented/0");
    let before = sizes(&server);
    for index in 0..300 {
        let reply = server.get(&format!("/invented/%3Cscript%3E{index}"));
        assert_problem(&reply, 404, "an invented path");
    }
    let methods = ["BREW", "LOCK", "MOVE"];
    for method in methods {
        let _ = server.exchange(&wire_request(method, "/healthz", &[], b"")).unwrap();
    }
    let text = server.get("/metrics").text();
    assert!(methods.iter().all(|method| !text.contains(method)), "{text}");
    let grown = sizes(&server).saturating_sub(before);
    assert!(grown < 60, "{grown} new lines");
}

#[test]
fn two_thousand_idle_connections_cost_little() {
    let server = light().start();
    assert_scores(&server);
    let before = server.resident_mib();
    let idle: Vec<WireConnection> = (0..2_000).map(|_| server.connect()).collect();
    assert_scores(&server);
    let grown = server.resident_mib() - before;
    assert!(grown < 60.0, "2,000 idle connections cost {grown} MiB");
    drop(idle);
    assert_scores(&server);
}

#[test]
fn http_2_is_served() {
    let server = light().start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let replies: Vec<Value> = runtime.block_on(async {
        let _ = guerdon_tests::http_client();
        let http = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
        let url = format!("http://{}/v1/score", server.address);
        let mut replies = Vec::new();
        for round in 0..10 {
            let mut sent = Vec::new();
            for _ in 0..20 {
                sent.push(http.post(&url).json(&request(&[leak()])).send());
            }
            for reply in sent {
                let reply = reply.await.unwrap();
                assert_eq!(
                    (reply.status().as_u16(), reply.version()),
                    (200, reqwest::Version::HTTP_2),
                    "{round}"
                );
                replies.push(reply.json::<Value>().await.unwrap());
            }
        }
        replies
    });
    assert!(replies.iter().all(|reply| reply["results"][0]["reward"] == -0.5));
    assert_eq!(replies.len(), 200);
}

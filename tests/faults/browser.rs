//! Requests that a web page can make a browser send: a server without tokens refuses those of
//! foreign pages and of rebound names, and serves its own.

use guerdon_tests::{GuerdonProcess, ProcessSetup, WireReply, wire_request};

use crate::{assert_scores, leak, light, request};

fn send(server: &GuerdonProcess, method: &str, route: &str, headers: &[(&str, &str)]) -> WireReply {
    let body = if method == "POST" { request(&[leak()]).to_string() } else { String::new() };
    let mut all: Vec<(&str, &str)> = Vec::new();
    if method == "POST" && !headers.iter().any(|(name, _)| *name == "content-type") {
        all.push(("content-type", "application/json"));
    }
    all.extend_from_slice(headers);
    server.exchange(&wire_request(method, route, &all, body.as_bytes())).unwrap()
}

/// Routes that are not public.
const ROUTES: [(&str, &str); 9] = [
    ("POST", "/v1/score"),
    ("POST", "/get_reward"),
    ("POST", "/profiles/light/get_reward"),
    ("POST", "/v1/rules/check"),
    ("POST", "/v1/reload"),
    ("POST", "/v1/rollback"),
    ("POST", "/v1/promote"),
    ("GET", "/v1/info"),
    ("GET", "/v1/rules"),
];
const PUBLIC: [&str; 3] = ["/healthz", "/readyz", "/openapi.json"];

#[test]
fn foreign_names_are_refused() {
    let server = light().start();
    for host in [
        "evil.example",
        "evil.example:8787",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.7",
        "192.168.1.1:80",
        "[2001:db8::1]",
        "0.0.0.0",
        "127.0.0.1@evil.example",
        "evil.example#127.0.0.1",
        "",
        "127.0.0.1, evil.example",
        "localhost\u{a0}",
        "[::ffff:10.0.0.1]",
        "LOCALHOST.evil",
        "2130706433",
        "127.1",
        "localhost:99999",
        "localhost:x",
        "..localhost",
        "-",
    ] {
        for (method, route) in ROUTES {
            let reply = send(&server, method, route, &[("host", host)]);
            assert!(matches!(reply.status, 400 | 403), "{host:?} on {route}: {reply:?}");
            if reply.status == 403 {
                assert!(reply.text().contains("hosts"), "{host:?}: {reply:?}");
            }
        }
        for route in PUBLIC {
            let reply = send(&server, "GET", route, &[("host", host)]);
            assert!(matches!(reply.status, 200 | 400), "{host:?} on {route}: {reply:?}");
        }
    }
    let port = server.address.port();
    for host in [
        "127.0.0.1".to_owned(),
        format!("127.0.0.1:{port}"),
        "localhost".into(),
        format!("localhost:{port}"),
        "LocalHost".into(),
        "localhost.".into(),
        "guerdon.localhost".into(),
        "127.8.9.10".into(),
        "[::1]".into(),
        format!("[::1]:{port}"),
    ] {
        let reply = send(&server, "POST", "/v1/score", &[("host", &host)]);
        assert_eq!(reply.status, 200, "{host}: {reply:?}");
    }
    // Two names, or none.
    let body = request(&[leak()]).to_string();
    for hosts in [
        "host: 127.0.0.1\r\nhost: evil.example\r\n",
        "host: evil.example\r\nhost: 127.0.0.1\r\n",
        "",
    ] {
        let bytes = format!(
            "POST /v1/score HTTP/1.1\r\n{hosts}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let reply = server.exchange(bytes.as_bytes()).unwrap();
        assert!(matches!(reply.status, 400 | 403), "{hosts:?}: {reply:?}");
    }
    // The name of an absolute target counts, not the header.
    let bytes = "GET http://evil.example/v1/info HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    let reply = server.exchange(bytes.as_bytes()).unwrap();
    assert!(matches!(reply.status, 400 | 403), "{reply:?}");
    assert_eq!(server.get("/v1/info").json()["generation"], 1);
}

#[test]
fn requests_of_foreign_pages_are_refused() {
    let server = light().start();
    let port = server.address.port();
    let host = format!("127.0.0.1:{port}");
    let foreign: Vec<Vec<(&str, String)>> = vec![
        vec![("origin", "https://evil.example".into())],
        vec![("origin", "null".into())],
        vec![("origin", "file://".into())],
        vec![("origin", "http://127.0.0.1".into())],
        vec![("origin", format!("http://127.0.0.1:{}", port.wrapping_add(1)))],
        vec![("origin", format!("http://localhost:{port}"))],
        vec![("origin", format!("http://127.0.0.1:{port}.evil.example"))],
        vec![("origin", format!("http://127.0.0.1:{port}@evil.example"))],
        vec![("origin", "x".repeat(5_000))],
        vec![("sec-fetch-site", "cross-site".into())],
        vec![("sec-fetch-site", "cross-site".into()), ("sec-fetch-mode", "no-cors".into())],
        vec![
            ("sec-fetch-site", "cross-site".into()),
            ("origin", format!("http://127.0.0.1:{port}")),
        ],
        vec![
            ("origin", "https://evil.example".into()),
            ("sec-fetch-site", "cross-site".into()),
            ("sec-fetch-mode", "cors".into()),
        ],
    ];
    for headers in &foreign {
        for (method, route) in ROUTES {
            let mut all: Vec<(&str, &str)> = vec![("host", &host)];
            all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
            let reply = send(&server, method, route, &all);
            assert_eq!(reply.status, 403, "{headers:?} on {route}: {reply:?}");
            assert!(reply.json()["hint"].is_string(), "{reply:?}");
            assert!(reply.body.len() < 3_000, "{} bytes", reply.body.len());
            assert!(reply.header("access-control-allow-origin").is_none(), "{reply:?}");
        }
    }
    for headers in [
        vec![("origin", format!("http://{host}"))],
        vec![("origin", format!("http://{host}")), ("sec-fetch-site", "same-origin".into())],
        vec![("sec-fetch-site", "none".into())],
        vec![],
    ] {
        let mut all: Vec<(&str, &str)> = vec![("host", &host)];
        all.extend(headers.iter().map(|(name, value): &(&str, String)| (*name, value.as_str())));
        assert_eq!(send(&server, "POST", "/v1/score", &all).status, 200, "{headers:?}");
    }
    // A link on another page to what is there to be read.
    let link = [
        ("host", host.as_str()),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    for route in ["/v1/info", "/metrics", "/docs/"] {
        assert_eq!(send(&server, "GET", route, &link).status, 200, "{route}");
    }
    assert_eq!(send(&server, "POST", "/v1/rollback", &link).status, 403);
    assert_eq!(server.get("/v1/info").json()["generation"], 1, "no page reloaded or rolled back");
    assert_scores(&server);
}

#[test]
fn admin_routes_read_json_or_nothing() {
    let server = light().start();
    for route in ["/v1/reload", "/v1/rollback", "/v1/promote"] {
        for content_type in
            ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
        {
            let reply = server
                .exchange(&wire_request("POST", route, &[("content-type", content_type)], b"a=b"))
                .unwrap();
            assert_eq!(reply.status, 415, "{route}, {content_type}: {reply:?}");
        }
    }
    assert_eq!(server.exchange(&wire_request("POST", "/v1/reload", &[], b"")).unwrap().status, 200);
    let json = [("content-type", "application/json")];
    assert_eq!(
        server.exchange(&wire_request("POST", "/v1/reload", &json, b"{}")).unwrap().status,
        200
    );
}

#[test]
fn named_hosts_and_origins_are_served() {
    let setup: ProcessSetup = light().server(
        "hosts = [\"guerdon.example\", \"10.0.0.7:8787\"]\norigins = [\"https://dash.example\"]",
    );
    let server = setup.start();
    for (headers, status) in [
        (vec![("host", "guerdon.example")], 200),
        (vec![("host", "GUERDON.example:1234")], 200),
        (vec![("host", "10.0.0.7:8787")], 200),
        (vec![("host", "10.0.0.7:8788")], 403),
        (vec![("host", "sub.guerdon.example")], 403),
        (vec![("host", "guerdon.example.evil")], 403),
        (vec![("host", "guerdon.example"), ("origin", "https://dash.example")], 200),
        (vec![("host", "guerdon.example"), ("origin", "https://dash.example:443")], 200),
        (vec![("host", "guerdon.example"), ("origin", "http://dash.example")], 403),
        (vec![("host", "guerdon.example"), ("origin", "https://dash.example.evil")], 403),
        (vec![("host", "guerdon.example"), ("origin", "https://dash.example:444")], 403),
    ] {
        let reply = send(&server, "POST", "/v1/score", &headers);
        assert_eq!(reply.status, status, "{headers:?}: {reply:?}");
    }
    for wrong in [
        "hosts = [\"https://x\"]",
        "hosts = [\"\"]",
        "origins = [\"dash.example\"]",
        "origins = [\"null\"]",
        "origins = [\"https://x/path\"]",
        "hosts = \"x\"",
    ] {
        let (code, text) = light().server(wrong).refusal();
        assert_eq!(code, Some(1), "{wrong}: {text}");
    }
}

#[test]
fn with_tokens_or_by_intention_any_name_is_served() {
    let token = "a-secret-of-enough-bytes";
    let tokens = light()
        .tables("[auth]\ntokens = [{ name = \"t\", env = \"T\", scopes = [\"score\"] }]\n")
        .variable("T", token)
        .start();
    let bearer = format!("Bearer {token}");
    assert_eq!(
        send(
            &tokens,
            "POST",
            "/v1/score",
            &[("host", "guerdon.example"), ("authorization", &bearer)]
        )
        .status,
        200
    );
    assert_eq!(send(&tokens, "POST", "/v1/score", &[("host", "guerdon.example")]).status, 401);
    let open = light().tables("[auth]\ninsecure = true\n").start();
    assert_eq!(send(&open, "POST", "/v1/score", &[("host", "guerdon.example")]).status, 200);
}

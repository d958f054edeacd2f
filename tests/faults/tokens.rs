//! Tokens open what their scopes say and nothing else, and are never shown.

use guerdon_tests::{GuerdonProcess, ProcessSetup, WireReply, wire_request};
use serde_json::json;

use crate::{leak, light, request};

/// Names, secrets and scopes.
const TOKENS: [(&str, &str, &str); 5] = [
    ("trainer", "trainer-secret-0123456789", "score"),
    ("operator", "operator-secret-0123456789", "admin"),
    ("reader", "reader-secret-0123456789", "read"),
    ("author", "author-secret-0123456789", "check"),
    ("owner", "owner-secret-0123456789", "score\", \"admin"),
];

fn with_tokens() -> ProcessSetup {
    let entries: Vec<String> = TOKENS
        .iter()
        .map(|(name, _, scopes)| {
            format!("{{ name = \"{name}\", env = \"TOKEN_{name}\", scopes = [\"{scopes}\"] }}")
        })
        .collect();
    let setup = light().tables(&format!("[auth]\ntokens = [{}]\n", entries.join(", ")));
    TOKENS
        .iter()
        .fold(setup, |setup, (name, secret, _)| setup.variable(&format!("TOKEN_{name}"), secret))
}

fn send(
    server: &GuerdonProcess,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> WireReply {
    let body = if method == "POST" { request(&[leak()]).to_string() } else { String::new() };
    let mut all = vec![("content-type", "application/json")];
    all.extend_from_slice(headers);
    server.exchange(&wire_request(method, target, &all, body.as_bytes())).unwrap()
}

/// Routes with the scopes that open them; none for a public route.
const ROUTES: [(&str, &str, &[&str]); 12] = [
    ("POST", "/v1/score", &["score"]),
    ("POST", "/get_reward", &["score"]),
    ("POST", "/rm", &["score"]),
    ("POST", "/v1/rules/check", &["score", "check"]),
    ("GET", "/v1/rules", &["score", "read", "admin"]),
    ("GET", "/v1/info", &["score", "read", "admin"]),
    ("GET", "/metrics", &["score", "read", "admin"]),
    ("POST", "/v1/promote", &["admin"]),
    ("POST", "/v1/reload", &["admin"]),
    ("GET", "/healthz", &[]),
    ("GET", "/readyz", &[]),
    ("GET", "/openapi.json", &[]),
];

#[test]
fn every_route_is_open_to_its_scopes_alone() {
    let server = with_tokens().start();
    for (method, route, scopes) in ROUTES {
        let without = send(&server, method, route, &[]);
        let wrong =
            send(&server, method, route, &[("authorization", "Bearer no-such-token-0123456789")]);
        for reply in [without, wrong] {
            let expected = !scopes.is_empty();
            assert_eq!(reply.status == 401, expected, "{route}: {reply:?}");
        }
        for (name, secret, held) in TOKENS {
            let reply =
                send(&server, method, route, &[("authorization", &format!("Bearer {secret}"))]);
            let opens = scopes.is_empty() || scopes.iter().any(|scope| held.contains(scope));
            assert_eq!(!matches!(reply.status, 401 | 403), opens, "{name} on {route}: {reply:?}");
        }
    }
    let info = server.get("/v1/info");
    assert_eq!(info.status, 401);
}

#[test]
fn malformed_credentials_are_unauthorized() {
    let server = with_tokens().start();
    let secret = TOKENS[0].1;
    let wrong = [
        String::new(),
        "Bearer".into(),
        "Bearer ".into(),
        "Basic".into(),
        "Basic !!!".into(),
        secret.into(),
        format!("Token {secret}"),
        format!("Bearer {secret}x"),
        format!("Bearer {}", &secret[..secret.len() - 1]),
        format!("Bearer {}", secret.to_uppercase()),
        format!("Bearer {}", "a".repeat(20_000)),
        format!("Bearer {secret} {secret}"),
        "Bearer \u{e9}\u{e9}".into(),
    ];
    for value in wrong {
        let reply = send(&server, "POST", "/v1/score", &[("authorization", &value)]);
        assert!(matches!(reply.status, 401 | 431 | 429), "{value:.60}: {reply:?}");
    }
    for (header, value) in [
        ("authorization", format!("Bearer {secret}")),
        ("authorization", format!("bearer {secret}")),
        ("x-api-key", secret.to_owned()),
        ("xrl-authorization", format!("Bearer {secret}")),
    ] {
        assert_eq!(send(&server, "POST", "/v1/score", &[(header, &value)]).status, 200, "{header}");
    }
    assert_eq!(send(&server, "POST", &format!("/v1/score?key={secret}"), &[]).status, 200);
}

#[test]
fn paths_that_resemble_admin_routes_open_nothing() {
    let server = with_tokens().start();
    let trainer = format!("Bearer {}", TOKENS[0].1);
    for path in [
        "/v1/reload/",
        "//v1/reload",
        "/v1//reload",
        "/v1/./reload",
        "/v1/score/../reload",
        "/v1/reload%20",
        "/v1/%72eload",
        "/V1/RELOAD",
        "/v1/reload;x",
        "/v1/reload%00",
        "/profiles/light/v1/reload",
        "/v1/reload%2f",
        "/docs/../v1/reload",
        "/docs/..%2fv1/reload",
        "/healthz/../v1/reload",
    ] {
        for token in [None, Some(("authorization", trainer.as_str()))] {
            let headers: Vec<(&str, &str)> = token.into_iter().collect();
            let reply = send(&server, "POST", path, &headers);
            assert!((400..500).contains(&reply.status), "{path}: {reply:?}");
        }
    }
    let owner = format!("Bearer {}", TOKENS[4].1);
    assert_eq!(
        send(&server, "GET", "/v1/info", &[("authorization", &owner)]).json()["generation"],
        1
    );
}

#[test]
fn tokens_are_never_shown() {
    let server = with_tokens()
        .replaced("[reload]", "[reload]\nwatch = false")
        .server("log = \"trace\"")
        .start();
    let mut shown = String::new();
    for (_, secret, _) in TOKENS {
        for (method, route, _) in ROUTES {
            for headers in [
                vec![("authorization", format!("Bearer {secret}"))],
                vec![("x-api-key", secret.to_owned())],
            ] {
                let headers: Vec<(&str, &str)> =
                    headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                shown += &format!("{:?}", send(&server, method, route, &headers));
            }
            shown += &format!("{:?}", send(&server, method, &format!("{route}?key={secret}"), &[]));
        }
    }
    let setup = with_tokens();
    for command in [&["config", "show"][..], &["config", "check"]] {
        let output = setup.command(&server.path(""), command).output().unwrap();
        shown += &String::from_utf8_lossy(&output.stdout);
        shown += &String::from_utf8_lossy(&output.stderr);
    }
    shown += &server.log();
    for (name, secret, _) in TOKENS {
        assert!(!shown.contains(secret), "the token of {name} is shown");
    }
    assert!(shown.contains("trainer"));
}

/// The error output of a server that does not start.
fn refusal(setup: &ProcessSetup) -> String {
    let (code, text) = setup.refusal();
    assert_eq!(code, Some(1), "{text}");
    text
}

#[test]
fn configurations_that_confuse_tokens_do_not_start() {
    let secret = "a-secret-of-enough-bytes";
    let auth = |tokens: &str| {
        light()
            .tables(&format!("[auth]\ntokens = [{tokens}]\n"))
            .variable("A", secret)
            .variable("B", secret)
            .variable("SHORT", "fifteen-bytes-0")
            .variable("EMPTY", "")
            .file("token", secret)
    };
    for (what, tokens, named) in [
        (
            "two entries of one secret",
            r#"{ name = "one", env = "A", scopes = ["score"] }, { name = "two", env = "B", scopes = ["admin"] }"#,
            &["one", "two"][..],
        ),
        (
            "one secret by variable and by file",
            r#"{ name = "one", env = "A", scopes = ["score"] }, { name = "two", file = "token", scopes = ["score"] }"#,
            &["one", "two"],
        ),
        (
            "variable and file both",
            r#"{ name = "one", env = "A", file = "token", scopes = ["score"] }"#,
            &["one"],
        ),
        ("neither", r#"{ name = "one", scopes = ["score"] }"#, &["one"]),
        ("15 bytes", r#"{ name = "one", env = "SHORT", scopes = ["score"] }"#, &["one", "16"]),
        ("empty", r#"{ name = "one", env = "EMPTY", scopes = ["score"] }"#, &["one"]),
        ("unset", r#"{ name = "one", env = "UNSET", scopes = ["score"] }"#, &["one", "UNSET"]),
        ("an unknown scope", r#"{ name = "one", env = "A", scopes = ["scores"] }"#, &["scores"]),
    ] {
        let text = refusal(&auth(tokens));
        assert!(named.iter().all(|name| text.contains(name)), "{what}: {text}");
        assert!(!text.contains(secret) && !text.contains("fifteen-bytes-0"), "{what}: {text}");
        assert!(!text.contains("panicked"), "{what}: {text}");
    }
    for open in ["0.0.0.0:0", "[::]:0"] {
        let text = refusal(&light().replaced("127.0.0.1:0", open));
        assert!(text.contains("auth"), "{open}: {text}");
    }
}

#[test]
fn admin_token_is_refused_in_a_url() {
    let server = with_tokens().start();
    let basic = |secret: &str| {
        // "user:" and the secret, as HTTP libraries send `http://user:secret@host/`.
        use base64::Engine as _;
        format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(format!("user:{secret}"))
        )
    };
    for (name, secret, scopes) in TOKENS {
        let is_admin = scopes.contains("admin");
        for route in ["/v1/reload", "/v1/rollback", "/v1/promote"] {
            let reply = send(&server, "POST", &format!("{route}?key={secret}"), &[]);
            assert!(matches!(reply.status, 401 | 403), "{name} on {route}: {reply:?}");
        }
        let reply = send(&server, "POST", &format!("/v1/score?key={secret}"), &[]);
        let opens = scopes.contains("score") && !is_admin;
        assert_eq!(reply.status == 200, opens, "{name}: {reply:?}");
        if scopes.contains("score") {
            let header = basic(secret);
            assert_eq!(
                send(&server, "POST", "/v1/score", &[("authorization", &header)]).status,
                200,
                "{name}"
            );
        }
    }
    assert_eq!(
        json!(1),
        send(&server, "GET", "/v1/info", &[("x-api-key", TOKENS[2].1)]).json()["generation"]
    );
}

#[test]
fn guesses_are_slowed_and_the_right_token_is_not_blocked_for_others() {
    let server = with_tokens().start();
    let mut slowed = 0;
    for guess in 0..400 {
        let value = format!("Bearer guess-number-{guess:010}");
        let reply = send(&server, "POST", "/v1/score", &[("authorization", &value)]);
        assert!(matches!(reply.status, 401 | 429), "{reply:?}");
        if reply.status == 429 {
            slowed += 1;
            assert!(reply.header("retry-after").is_some(), "{reply:?}");
        }
    }
    assert!(slowed > 200, "{slowed} of 400 guesses were slowed");
    assert!(server.log().len() < 200_000, "400 guesses wrote {} bytes of log", server.log().len());
}

//! Bodies that are not JSON are refused with the place of the error; JSON that is not a request is
//! refused with a pointer. The server goes on.

use guerdon_tests::{Server, wire_request};
use serde_json::json;

use crate::{assert_problem, assert_scores, leak, light, request};

/// A rollout with the raw JSON `text` as the content of its last message.
fn with_content(text: &str) -> String {
    format!(r#"{{"messages": [{{"role": "assistant", "content": {text}}}]}}"#)
}

fn with_rollouts(rollouts: &str) -> Vec<u8> {
    format!(r#"{{"rollouts": [{rollouts}]}}"#).into_bytes()
}

/// A rollout with the raw JSON `value` in its context.
fn with_fact(value: &str) -> String {
    format!(
        r#"{{"messages": [{{"role": "assistant", "content": "480"}}], "context": {{"target_price": {value}}}}}"#
    )
}

#[test]
fn truncated_json_is_refused_at_every_length() {
    let server = light().start();
    let whole = json!({ "rollouts": [leak()], "sources": ["rules"], "deadline_ms": 5000 });
    let whole = whole.to_string().into_bytes();
    for length in 0..whole.len() {
        let reply = server.post_bytes("/v1/score", &whole[..length]);
        assert_problem(&reply, 400, &format!("{length} bytes"));
        assert_eq!(reply.code(), "malformed_json");
    }
    assert_eq!(server.post_bytes("/v1/score", &whole).status, 200);
    assert_scores(&server);
}

#[test]
fn bytes_that_are_not_utf_8_json_are_refused() {
    let server = light().start();
    let text = request(&[leak()]).to_string();
    let utf_16 = |unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
    let mut bodies = vec![
        ("UTF-16, little endian".to_owned(), utf_16(u16::to_le_bytes)),
        ("UTF-16, big endian".to_owned(), utf_16(u16::to_be_bytes)),
        ("UTF-16 with a mark".to_owned(), [vec![0xff, 0xfe], utf_16(u16::to_le_bytes)].concat()),
        ("two documents".to_owned(), format!("{text}{text}").into_bytes()),
        ("a document and a word".to_owned(), format!("{text} x").into_bytes()),
        ("nothing but spaces".to_owned(), b" \n\t ".to_vec()),
        ("one quote".to_owned(), b"\"".to_vec()),
    ];
    // A lone continuation byte, an overlong slash, a surrogate, a code point beyond the last, and
    // cut sequences: in a text, in a name, and between tokens.
    let invalid: [&[u8]; 7] = [
        b"\x80",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
        b"\xff",
        b"\xf8\x88\x80\x80\x80",
    ];
    for bytes in invalid {
        for (before, after) in [
            (r#"{"rollouts": [{"messages": [{"role": "assistant", "content": "a"#, r#""}]}]}"#),
            (r#"{"rollouts": [], "a"#, r#"": 1}"#),
            (r#"{"rollouts": "#, "[]}"),
        ] {
            let body = [before.as_bytes(), bytes, after.as_bytes()].concat();
            bodies.push((format!("{bytes:02x?} after {before}"), body));
        }
    }
    for (what, body) in bodies {
        let reply = server.post_bytes("/v1/score", &body);
        assert_problem(&reply, 400, &what);
        assert_eq!(reply.code(), "malformed_json", "{what}");
    }
    assert_scores(&server);
}

#[test]
fn control_characters_in_a_text_are_refused_unless_escaped() {
    let server = light().start();
    for byte in 0..0x20_u8 {
        let raw = [
            &br#"{"rollouts": [{"messages": [{"role": "assistant", "content": ""#[..],
            &[byte],
            br#""}]}]}"#,
        ]
        .concat();
        let reply = server.post_bytes("/v1/score", &raw);
        assert_problem(&reply, 400, &format!("byte {byte}"));
        let escaped = with_rollouts(&with_content(&format!("\"\\u{byte:04x}\"")));
        let reply = server.post_bytes("/v1/score", &escaped);
        assert_eq!(reply.status, 200, "byte {byte}: {reply:?}");
        assert!(reply.json()["results"][0]["reward"].is_number(), "byte {byte}");
    }
}

#[test]
fn numbers_that_are_no_json_numbers_are_refused_and_large_ones_are_read() {
    let server = light().start();
    let long = "9".repeat(400);
    for number in
        ["NaN", "Infinity", "-Infinity", "nan", "+1", "01", ".5", "1.", "0x10", "1e", "--1"]
    {
        let reply = server.post_bytes("/v1/score", &with_rollouts(&with_fact(number)));
        assert_problem(&reply, 400, number);
    }
    for number in ["1e400", "-1e400", "1e309", long.as_str()] {
        // Numbers that are JSON but that no double can hold: the rollout has the error.
        let body = with_rollouts(&format!("{}, {}", with_fact(number), with_fact("1")));
        let reply = server.post_bytes("/v1/score", &body);
        if reply.status == 400 {
            continue;
        }
        let results = reply.json()["results"].clone();
        assert!(
            results[0]["reward"].is_null() && results[0]["error"].is_object(),
            "{number}: {results}"
        );
        assert!(results[1]["reward"].is_number(), "{number}: {results}");
    }
    for number in
        ["1e308", "-1e308", "1e-400", &"9".repeat(40), "-0", "0.1e1", "18446744073709551616"]
    {
        let reply = server.post_bytes("/v1/score", &with_rollouts(&with_fact(number)));
        assert_eq!(reply.status, 200, "{number}: {reply:?}");
        assert!(reply.json()["results"][0]["reward"].is_number(), "{number}: {reply:?}");
    }
    assert_scores(&server);
}

#[test]
fn repeated_names_are_refused() {
    let server = light().start();
    let rollouts = request(&[leak()])["rollouts"].to_string();
    for name in ["rollouts", "sources", "profile", "fusion", "advantages", "deadline_ms"] {
        let value = if name == "rollouts" { rollouts.as_str() } else { "null" };
        let body = format!(r#"{{"rollouts": {rollouts}, "{name}": {value}, "{name}": {value}}}"#);
        let reply = server.post_bytes("/v1/score", body.as_bytes());
        assert_problem(&reply, 422, name);
    }
    let good = with_content("\"480\"");
    for broken in [
        r#"{"messages": [{"role": "assistant", "content": "a", "content": "b"}]}"#,
        r#"{"messages": [{"role": "assistant", "role": "user", "content": "b"}]}"#,
        r#"{"messages": [{"role": "assistant", "content": "b"}], "messages": []}"#,
        r#"{"id": "a", "id": "b", "messages": [{"role": "assistant", "content": "b"}]}"#,
    ] {
        let reply = server.post_bytes("/v1/score", &with_rollouts(&format!("{good}, {broken}")));
        assert_eq!(reply.status, 200, "{broken}: {reply:?}");
        let results = reply.json()["results"].clone();
        assert!(results[0]["reward"].is_number(), "{broken}");
        assert!(results[1]["reward"].is_null(), "{broken}: {results}");
        assert_eq!(results[1]["error"]["status"], 422, "{broken}: {results}");
    }
}

#[test]
fn deep_and_wide_values_are_refused_quickly() {
    let server = light().start();
    let nested = |open: &str, close: &str, depth: usize| {
        format!("{}0{}", open.repeat(depth), close.repeat(depth))
    };
    let before = server.cpu_seconds();
    let mut bodies = vec![
        ("an array 200 deep".to_owned(), with_rollouts(&nested("[", "]", 200))),
        ("a context 200 deep".to_owned(), with_rollouts(&with_fact(&nested("[", "]", 200)))),
        (
            "a context of objects 200 deep".to_owned(),
            with_rollouts(&with_fact(&nested("{\"a\":", "}", 200))),
        ),
        ("a body 1,000,000 deep".to_owned(), nested("[", "]", 1_000_000).into_bytes()),
        ("2,000,000 opened objects".to_owned(), "{\"a\":".repeat(2_000_000).into_bytes()),
        ("a million rollouts".to_owned(), with_rollouts(&vec!["[]"; 1_000_000].join(","))),
    ];
    bodies.push((
        "a million sources".to_owned(),
        format!(r#"{{"rollouts": [], "sources": [{}]}}"#, vec!["\"x\""; 1_000_000].join(","))
            .into_bytes(),
    ));
    for (what, body) in bodies {
        let reply = server.post_bytes("/v1/score", &body);
        if reply.status == 200 {
            assert!(reply.json()["results"][0]["error"].is_object(), "{what}: {reply:?}");
        } else {
            assert!((400..500).contains(&reply.status), "{what}: {reply:?}");
            assert_problem(&reply, reply.status, &what);
        }
    }
    let spent = server.cpu_seconds() - before;
    assert!(spent < 20.0, "{spent} s of CPU for seven refusals");
    assert_scores(&server);
}

#[test]
fn every_json_route_refuses_what_is_no_request() {
    let server = light().start();
    let document = server.get("/openapi.json").json();
    let paths = document["paths"].as_object().unwrap();
    let takes_json = |(path, item): &(&String, &serde_json::Value)| {
        item["post"]["requestBody"]["content"]["application/json"]
            .is_object()
            .then(|| (*path).clone())
    };
    let routes: Vec<String> = paths.iter().filter_map(|route| takes_json(&route)).collect();
    assert!(routes.len() >= 15, "{routes:?}");
    for route in routes {
        for body in ["", "{", "nul", "\u{feff}{", "[1,2", "{\"a\":1}}"] {
            let reply = server.post_bytes(&route, body.as_bytes());
            assert!((400..500).contains(&reply.status), "{route} {body:?}: {reply:?}");
            assert!(reply.text().len() < 4_000, "{route} {body:?}");
        }
        for body in
            ["[]", "{}", "null", "17", "\"text\"", "{\"rollouts\": 1}", "[[[[]]]]", "[null]"]
        {
            let reply = server.post_bytes(&route, body.as_bytes());
            assert!(reply.status < 500 || reply.status == 503, "{route} {body:?}: {reply:?}");
        }
        let headers = [("content-type", "text/plain")];
        let form = wire_request("POST", &route, &headers, b"rollouts=1");
        assert_eq!(server.exchange(&form).unwrap().status, 415, "{route}");
    }
    assert_scores(&server);
}

#[test]
fn lone_surrogates_fail_their_rollout_alone() {
    let server = light().start();
    let good = with_content("\"480\"");
    for text in
        [r#""\ud800""#, r#""\udc00""#, r#""a \ud83d b""#, r#""\ud800\ud800""#, r#""\udfff\ud800""#]
    {
        let body = with_rollouts(&format!("{good}, {}, {good}", with_content(text)));
        let reply = server.post_bytes("/v1/score", &body);
        assert_eq!(reply.status, 200, "{text}: {reply:?}");
        let results = reply.json()["results"].clone();
        assert!(results[0]["reward"].is_number() && results[2]["reward"].is_number(), "{results}");
        assert!(results[1]["reward"].is_null() && results[1]["error"].is_object(), "{results}");
    }
    let pair = with_rollouts(&with_content(r#""\ud83d\ude00""#));
    assert!(server.post_bytes("/v1/score", &pair).json()["results"][0]["reward"].is_number());
    let turnless = json!({ "rollouts": [Server::rollout("480 ."), { "messages": [{ "role": "user", "content": "a" }] }] });
    let results = server.score(&turnless)["results"].clone();
    assert!(results[0]["reward"].is_number() && results[1]["reward"].is_null(), "{results}");
}

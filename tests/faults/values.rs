//! Valid JSON with extreme values: defined results, or a refusal with a pointer.

use guerdon_tests::Server;
use serde_json::{Value, json};

use crate::{assert_problem, assert_scores, leak, light, request};

#[test]
fn deadline_outside_its_range_is_refused_and_a_long_one_is_cut() {
    let server = light().start();
    for deadline in
        ["0", "-1", "1.5", "18446744073709551616", "\"5\"", "true", "[]", "{}", "1e3", "-0.0"]
    {
        let body = format!(r#"{{"rollouts": [{}], "deadline_ms": {deadline}}}"#, leak());
        let reply = server.post_bytes("/v1/score", body.as_bytes());
        assert_problem(&reply, 422, deadline);
        assert_eq!(reply.json()["pointer"], "/deadline_ms", "{deadline}: {reply:?}");
    }
    for deadline in [5_000, 300_000, 300_001, u64::MAX] {
        let mut body = request(&[leak()]);
        body["deadline_ms"] = json!(deadline);
        assert_eq!(server.score(&body)["results"][0]["reward"], -0.5, "{deadline}");
    }
}

#[test]
fn score_index_outside_the_messages_fails_its_rollout() {
    let server = light().start();
    let rollout = |score: &str| {
        format!(
            r#"{{"messages": [{{"role": "user", "content": "a"}}, {{"role": "assistant", "content": "480"}}], "score": {score}}}"#
        )
    };
    let bad = [
        "[-1]",
        "[2]",
        "[0]",
        "[9223372036854775808]",
        "[18446744073709551616]",
        "[1.5]",
        "[\"1\"]",
        "[null]",
        "1",
        "\"first\"",
        "{}",
        "true",
        "[]",
    ];
    for score in bad {
        let body = format!(r#"{{"rollouts": [{}, {}]}}"#, rollout("[1]"), rollout(score));
        let reply = server.post_bytes("/v1/score", body.as_bytes());
        assert_eq!(reply.status, 200, "{score}: {reply:?}");
        let results = reply.json()["results"].clone();
        assert!(results[0]["reward"].is_number(), "{score}: {results}");
        assert!(results[1]["reward"].is_null(), "{score}: {results}");
        let pointer = results[1]["error"]["pointer"].as_str().unwrap_or_default();
        assert!(pointer.starts_with("/rollouts/1"), "{score}: {results}");
    }
    let repeated = rollout(&format!("[{}]", vec!["1"; 1_000_000].join(",")));
    let reply =
        server.post_bytes("/v1/score", format!(r#"{{"rollouts": [{repeated}]}}"#).as_bytes());
    assert!(reply.status < 500, "{reply:?}");
    assert_scores(&server);
}

#[test]
fn fusion_that_breaks_a_law_is_refused_with_its_pointer() {
    let server = light().start();
    for (fusion, pointer) in [
        (r#"{"bound": 0}"#, "/fusion/bound"),
        (r#"{"bound": -1}"#, "/fusion/bound"),
        (r#"{"bound": "x"}"#, "/fusion/bound"),
        (r#"{"bound": true}"#, "/fusion/bound"),
        (r#"{"bound": 1e400}"#, "/fusion"),
        (r#"{"bound": NaN}"#, "/fusion"),
        (r#"{"weights": {"rules": -1}}"#, "/fusion/weights"),
        (r#"{"weights": {"rule": 1}}"#, "/fusion/weights"),
        (r#"{"floor": "x"}"#, "/fusion/floor"),
        (r#"{"method": "weighted-sum"}"#, "/fusion/method"),
        (r#"{"method": 1}"#, "/fusion/method"),
        (r#"{"inner": "gated"}"#, "/fusion/inner"),
        (r#"{"aggregate": "median"}"#, "/fusion/aggregate"),
        (r#"{"on_abstain": "zero"}"#, "/fusion/on_abstain"),
        (r#"{"bond": 1}"#, "/fusion"),
        ("7", "/fusion"),
    ] {
        let body = format!(r#"{{"rollouts": [{}], "fusion": {fusion}}}"#, leak());
        let reply = server.post_bytes("/v1/score", body.as_bytes());
        assert!(matches!(reply.status, 400 | 422), "{fusion}: {reply:?}");
        assert_problem(&reply, reply.status, fusion);
        let at = reply.json()["pointer"].as_str().unwrap_or_default().to_owned();
        assert!(at.starts_with(pointer), "{fusion}: {at}");
    }
    // The method that needs a reward model, and no reward model.
    for fusion in [json!({ "method": "repo" }), json!({ "method": "gated", "inner": "repo" })] {
        let mut body = request(&[leak()]);
        body["fusion"] = fusion;
        let reply = server.post("/v1/score", &body);
        assert_problem(&reply, 422, &body["fusion"].to_string());
        assert_eq!(reply.code(), "fusion_needs_source");
    }
    let mut none = request(&[leak()]);
    none["sources"] = json!([]);
    assert_problem(&server.post("/v1/score", &none), 422, "no sources");
    assert_scores(&server);
}

#[test]
fn extreme_fusion_settings_give_the_defined_finite_rewards() {
    let server = light().start();
    for (fusion, reward) in [
        (json!({ "bound": 1e-300 }), Some(-1.0)),
        (json!({ "bound": 1e300 }), Some(-50.0 / 1e300)),
        (json!({ "bound": 50 }), Some(-1.0)),
        (json!({ "weights": { "rules": 0 } }), Some(0.0)),
        (json!({ "weights": { "rules": 2.5 } }), Some(-1.25)),
        (json!({ "weights": { "rules": 1e308 } }), Some(-0.5e308)),
        (json!({ "method": "gated", "inner": "weighted_sum", "floor": 1e9 }), Some(-0.5)),
        (json!({ "method": "gated", "inner": "weighted_sum", "floor": -1e9 }), Some(-0.5)),
        (json!({ "aggregate": "sum" }), Some(-0.5)),
        (json!({ "aggregate": "min" }), Some(-0.5)),
    ] {
        let mut body = request(&[leak()]);
        body["fusion"] = fusion.clone();
        let result = server.score(&body)["results"][0].clone();
        match (result["reward"].as_f64(), reward) {
            (Some(given), Some(expected)) => {
                assert!((given - expected).abs() <= expected.abs() * 1e-12, "{fusion}: {result}");
            }
            (given, expected) => assert_eq!(given, expected, "{fusion}: {result}"),
        }
    }
    // Two vetoes do not differ from one, and the floor is the most that a vetoed turn earns.
    let vetoed = |floor: f64| {
        let mut body = request(&[Server::rollout("we guarantee it .")]);
        body["fusion"] = json!({ "method": "gated", "inner": "weighted_sum", "floor": floor });
        server.score(&body)["results"][0]["reward"].as_f64()
    };
    assert_eq!((vetoed(-2.0), vetoed(1e9)), (Some(-2.0), Some(-0.1)));
}

#[test]
fn texts_of_every_kind_are_scored() {
    let server = light().start();
    let texts: Vec<String> = vec![
        String::new(),
        "\0".into(),
        "a\0work order\0b".into(),
        "\u{feff}480".into(),
        "\u{202e}\u{200b}\u{2060}".into(),
        "\u{10ffff}\u{fffe}".into(),
        "e\u{301}".repeat(1_000),
        "👩‍👩‍👧‍👧".repeat(500),
        "work order ".repeat(10_000),
        "\r\n\t".repeat(1_000),
        "Ｗork Ｏrder".into(),
        "<script>alert(1)</script>".into(),
        "%s%n{}{{}}".into(),
        "../../etc/passwd".into(),
    ];
    let rollouts: Vec<Value> = texts.iter().map(|text| Server::rollout(text)).collect();
    let reply = server.score(&request(&rollouts));
    for (text, result) in texts.iter().zip(reply["results"].as_array().unwrap()) {
        assert!(result["reward"].is_number(), "{text:.40}: {result}");
        assert!(result.get("error").is_none(), "{text:.40}: {result}");
    }
    assert_eq!(reply["results"].as_array().unwrap().len(), texts.len());
    assert_scores(&server);
}

#[test]
fn names_of_every_kind_are_errors_or_names() {
    let server = light().start();
    let names = [
        "../../etc",
        "<script>alert(1)</script>",
        "",
        " ",
        "\0",
        "light ",
        "LIGHT",
        "light\n",
        "%00",
        "a/b",
        "{}",
        "\u{202e}thgil",
        "__proto__",
        "'; drop table profiles; --",
    ];
    for name in names {
        let mut body = request(&[leak()]);
        body["profile"] = json!(name);
        let reply = server.post("/v1/score", &body);
        assert_problem(&reply, 422, name);
        assert!(
            !reply.text().contains("<script>")
                || reply.header("content-type").unwrap().contains("json")
        );
        let mut body = request(&[leak()]);
        body["sources"] = json!([name]);
        assert_problem(&server.post("/v1/score", &body), 422, name);
        // Any text is an id, and comes back as it is.
        let mut rollout = leak();
        rollout["id"] = json!(name);
        let result = server.score(&request(&[rollout]))["results"][0].clone();
        assert!(result["id"] == name || result["error"].is_object(), "{name:?}: {result}");
    }
    assert_scores(&server);
}

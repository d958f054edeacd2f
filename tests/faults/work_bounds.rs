//! Work is bounded: no body makes a server busy for long, and no caller stops another.

use std::time::{Duration, Instant};

use guerdon_tests::{GuerdonProcess, Server, WireReply, wire_request};
use serde_json::{Value, json};

use crate::{assert_problem, assert_scores, leak, light, request};

/// CPU seconds of one request, and its reply.
fn cost(server: &GuerdonProcess, target: &str, body: &Value) -> (f64, WireReply) {
    let before = server.cpu_seconds();
    let reply = server.post(target, body);
    (server.cpu_seconds() - before, reply)
}

/// Checks that four times the input costs at most about four times the work, beyond a floor below
/// which times say nothing.
#[track_caller]
fn assert_linear(server: &GuerdonProcess, target: &str, what: &str, body: impl Fn(usize) -> Value) {
    let (small, reply) = cost(server, target, &body(1));
    assert!(reply.status < 500 || reply.status == 503, "{what}: {reply:?}");
    let (large, _) = cost(server, target, &body(4));
    assert!(
        large < 1.0 || large < small.max(0.1) * 9.0,
        "{what}: {small} s, and {large} s for four times as much"
    );
    assert!(large < 8.0, "{what}: {large} s of CPU");
}

#[test]
fn chat_templates_are_read_in_linear_time() {
    let server = light().start();
    for (name, open, repeated) in [
        ("Mistral", "[INST]a[/INST]", "x</s>"),
        ("Llama 2", "<s>[INST] a [/INST]", " b </s><s>[INST] c [/INST]"),
        ("open instructions", "", "[INST]"),
        ("ChatML", "", "<|im_start|>user\na<|im_end|>\n"),
        ("unclosed ChatML", "", "<|im_start|>assistant\n"),
        ("Llama 3", "", "<|start_header_id|>user<|end_header_id|>\n\na<|eot_id|>"),
        ("half headers", "", "<|start_header_id|>"),
        ("Gemma", "", "<start_of_turn>model\na<end_of_turn>\n"),
        ("thoughts", "<|im_start|>assistant\n", "<think></think>"),
        ("open thoughts", "<|im_start|>assistant\n", "<think>"),
        ("boundary tokens", "", "<|endoftext|>"),
        ("tool results", "[INST]a[/INST]", "[TOOL_RESULTS]"),
    ] {
        let text =
            |times: usize| format!("{open}{}", repeated.repeat(times * 200_000 / repeated.len()));
        assert_linear(&server, "/get_reward", name, |times| json!({ "query": [text(times)] }));
        assert_linear(
            &server,
            "/rm",
            name,
            |times| json!({ "prompt": text(times), "response": text(times) }),
        );
    }
    assert_scores(&server);
}

fn rules(count: usize, rule: impl Fn(usize) -> String) -> String {
    let rules: String = (0..count)
        .map(|index| {
            format!("  - {{ id: r{index}, about: One., points: -1, match: {} }}\n", rule(index))
        })
        .collect();
    format!("pack: p\nabout: Many.\nrules:\n{rules}")
}

#[test]
fn checks_of_costly_packs_are_refused_or_cheap() {
    let server = light().start();
    let packs = [
        (
            "300 counted regexes",
            rules(300, |n| format!("{{ regex: '(?:[a-z]{{1,{}}}){{2,9}}x' }}", 400 + n)),
        ),
        ("20,000 rules", rules(20_000, |n| format!("{{ any_of: ['word{n}'] }}"))),
        (
            "200,000 words",
            rules(1, |_| {
                format!(
                    "{{ any_of: [{}] }}",
                    (0..200_000).map(|n| format!("w{n}")).collect::<Vec<_>>().join(", ")
                )
            }),
        ),
        ("nested repetitions", rules(1, |_| "{ regex: '((((a{9}){9}){9}){9}){9}' }".to_owned())),
        (
            "a million alternatives",
            rules(1, |_| {
                format!(
                    "{{ regex: '{}' }}",
                    (0..200_000).map(|n| format!("a{n}")).collect::<Vec<_>>().join("|")
                )
            }),
        ),
        (
            "a YAML bomb",
            format!(
                "a: &a [x,x,x,x,x,x,x,x,x]\n{}",
                (0..9).map(|n| format!("b{n}: &b{n} [*a,*a,*a,*a,*a,*a]\n")).collect::<String>()
            ),
        ),
        ("a deep YAML", format!("pack: {}", "[".repeat(100_000))),
    ];
    for (what, pack) in packs {
        let (spent, reply) = cost(
            &server,
            "/v1/rules/check",
            &json!({ "packs": [{ "name": "p.yaml", "text": pack }] }),
        );
        assert!(reply.status < 500 || reply.status == 503, "{what}: {reply:?}");
        assert!(reply.body.len() < 2 << 20, "{what}: {} bytes of reply", reply.body.len());
        assert!(spent < 25.0, "{what}: {spent} s of CPU");
    }
    // The limits of a request hold here, too.
    let many = json!({ "packs": [], "rollouts": vec![leak(); 4_097] });
    assert_problem(&server.post("/v1/rules/check", &many), 413, "4,097 rollouts");
    let large = json!({ "packs": [{ "name": "p.yaml", "text": Server::pack() }], "rollouts": [Server::rollout(&"a".repeat(5 << 20))] });
    let reply = server.post("/v1/rules/check", &large);
    assert!(
        (400..500).contains(&reply.status) || reply.text().contains("1048576"),
        "a message of 5 MB: {reply:?}"
    );
    assert_scores(&server);
}

/// Texts that are nested more deeply than any pack, in every way in which YAML nests.
fn nested_packs() -> Vec<String> {
    let flow =
        [("[", "]"), ("{a: ", "}"), ("{? ", "}"), ("[{a: ", "}]"), ("[a: ", "]"), ("{[", "]}")];
    let mut packs = Vec::new();
    for depth in [60, 65, 70, 130, 50_000] {
        for (open, close) in flow {
            packs.push(format!("rules: {}1{}", open.repeat(depth), close.repeat(depth)));
            packs.push(format!("rules: {}", open.repeat(depth)));
        }
        packs.push(format!("rules:\n{}a", "- ".repeat(depth)));
        packs.push(format!("{}a", "? ".repeat(depth)));
        let block: String = (0..depth.min(500)).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
        packs.push(format!("rules:\n{block}"));
    }
    packs.into_iter().map(|rules| format!("pack: p\nabout: Deep.\n{rules}\n")).collect()
}

#[test]
fn nested_packs_are_refused_by_checks_and_reloads() {
    let server = light().start();
    for pack in nested_packs() {
        let what = pack.chars().take(60).collect::<String>();
        let body = json!({ "packs": [{ "name": "p.yaml", "text": pack }] });
        let reply = server.post("/v1/rules/check", &body);
        assert_eq!(reply.json()["ok"], false, "{what}: {reply:?}");
        server.write("packs/deep.yaml", &pack);
        let reply = server.post("/v1/reload", &json!({}));
        assert_problem(&reply, 422, &what);
    }
    assert_scores(&server);
}

#[test]
fn forty_checks_at_once_do_not_stop_scoring_or_reloading() {
    let mut server = light().start();
    let pack = rules(300, |n| format!("{{ regex: '(?:[a-z]{{1,{}}}){{2,9}}x' }}", 400 + n));
    let body = json!({ "packs": [{ "name": "p.yaml", "text": pack }] }).to_string();
    let bytes = wire_request(
        "POST",
        "/v1/rules/check",
        &[("content-type", "application/json")],
        body.as_bytes(),
    );
    let checks: Vec<_> = (0..40)
        .map(|_| {
            let mut connection = server.connect();
            connection.send(&bytes).unwrap();
            connection
        })
        .collect();
    let started = Instant::now();
    for _ in 0..5 {
        assert_scores(&server);
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "five requests took {took:?} beside forty checks");
    assert_eq!(server.post("/v1/reload", &json!({})).status, 200);
    let took = started.elapsed() - took;
    assert!(took < Duration::from_secs(10), "a reload took {took:?} beside forty checks");
    // The clients leave: their work ends with them.
    drop(checks);
    guerdon_tests::wait_until_blocking("the server is idle", Duration::from_secs(20), || {
        let before = server.cpu_seconds();
        std::thread::sleep(Duration::from_millis(300));
        server.cpu_seconds() - before < 0.1
    });
    let (status, _) = server.terminate(Duration::from_secs(5));
    assert_eq!(status.code(), Some(0));
}

#[test]
fn abandoned_work_ends() {
    let server = light().start();
    let rollouts: Vec<Value> = (0..2_000)
        .map(|n| Server::rollout(&format!("{n} {}", "see the order ".repeat(400))))
        .collect();
    let body = request(&rollouts).to_string();
    let bytes =
        wire_request("POST", "/v1/score", &[("content-type", "application/json")], body.as_bytes());
    for _ in 0..4 {
        let mut connection = server.connect();
        connection.send(&bytes).unwrap();
    }
    guerdon_tests::wait_until_blocking("the server is idle", Duration::from_secs(30), || {
        let before = server.cpu_seconds();
        std::thread::sleep(Duration::from_millis(300));
        server.cpu_seconds() - before < 0.1
    });
    let started = Instant::now();
    assert_scores(&server);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn rules_keep_the_deadline_of_a_request() {
    let server = light().start();
    let rollouts: Vec<Value> = (0..1_000)
        .map(|n| Server::rollout(&format!("{n} {}", "see the order ".repeat(2_000))))
        .collect();
    let mut body = request(&rollouts);
    body["deadline_ms"] = json!(50);
    let started = Instant::now();
    let reply = server.score(&body);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    for result in reply["results"].as_array().unwrap() {
        assert_eq!(result["reward"].is_null(), result["error"].is_object(), "{result}");
    }
    assert_scores(&server);
}

#[test]
fn classic_regexes_on_long_texts_are_quick() {
    let pack = [
        "(a+)+$",
        "(a|aa)+$",
        "(.*)*x",
        "^(([a-z])+.)+[A-Z]([a-z])+$",
        "(x+x+)+y",
        "(?:a?){20}a{20}",
    ];
    let rules = rules(pack.len(), |index| format!("{{ regex: '{}' }}", pack[index]));
    let server =
        light().file("packs/classic.yaml", &rules.replace("pack: p", "pack: classic")).start();
    for text in [
        "a".repeat(200_000),
        format!("{}!", "a".repeat(200_000)),
        "x".repeat(200_000),
        "ab ".repeat(70_000),
    ] {
        let (spent, reply) = cost(&server, "/v1/score", &request(&[Server::rollout(&text)]));
        assert_eq!(reply.status, 200);
        assert!(spent < 10.0, "{spent} s for {:.10}...", text);
    }
}

#[test]
fn aggregates_of_many_names_take_linear_time() {
    let server = light().start();
    let rows = |count: usize, name: fn(usize) -> String| -> Vec<Value> {
        (0..count)
            .map(|row| json!({ "_ng_task_index": row / 2, "_ng_rollout_index": row % 2, "reward": 0.5, name(row): 1.0 }))
            .collect()
    };
    for (what, name) in [
        ("a name for each row", (|row| format!("own_{row}")) as fn(usize) -> String),
        ("one name", |_| "shared".to_owned()),
    ] {
        assert_linear(
            &server,
            "/aggregate_metrics",
            what,
            |times| json!({ "verify_responses": rows(times * 2_000, name) }),
        );
    }
    let wide: serde_json::Map<String, Value> =
        (0..20_000).map(|name| (format!("n{name}"), json!(name))).collect();
    let (spent, reply) =
        cost(&server, "/aggregate_metrics", &json!({ "verify_responses": [wide] }));
    assert!(reply.status < 500 && spent < 5.0, "{spent} s: {reply:?}");
    assert_scores(&server);
}

#[test]
fn long_names_are_cut_in_replies_and_logs() {
    let server = light().start();
    let long = "x".repeat(5 << 20);
    let (before_log, before_cpu) = (server.log().len(), server.cpu_seconds());
    let quoted = json!(long).to_string();
    let rollout = leak().to_string();
    let bodies = [
        ("an unknown key", format!(r#"{{"rollouts": [], {quoted}: 1}}"#)),
        ("a profile", format!(r#"{{"rollouts": [], "profile": {quoted}}}"#)),
        ("a source", format!(r#"{{"rollouts": [], "sources": [{quoted}]}}"#)),
        ("a fusion key", format!(r#"{{"rollouts": [], "fusion": {{{quoted}: 1}}}}"#)),
        ("a method", format!(r#"{{"rollouts": [], "fusion": {{"method": {quoted}}}}}"#)),
        ("an estimator", format!(r#"{{"rollouts": [], "advantages": {{"estimator": {quoted}}}}}"#)),
        ("a deadline", format!(r#"{{"rollouts": [], "deadline_ms": {quoted}}}"#)),
        ("a digest", format!(r#"{{"rollouts": [], "expect": {{"digest": {quoted}}}}}"#)),
        (
            "a role",
            format!(r#"{{"rollouts": [{{"messages": [{{"role": {quoted}, "content": "a"}}]}}]}}"#),
        ),
        (
            "a key of a message",
            format!(
                r#"{{"rollouts": [{{"messages": [{{"role": "assistant", "content": "a", {quoted}: 1}}]}}]}}"#
            ),
        ),
        ("a key of a rollout", format!(r#"{{"rollouts": [{{"messages": [], {quoted}: 1}}]}}"#)),
        (
            "a score",
            format!(
                r#"{{"rollouts": [{{"messages": [{{"role": "assistant", "content": "a"}}], "score": {quoted}}}]}}"#
            ),
        ),
        ("no JSON", format!("{{{quoted}")),
        ("rollouts", format!(r#"{{"rollouts": {quoted}}}"#)),
        (
            "a repeated key in a context",
            format!(
                r#"{{"rollouts": [{{"messages": [{{"role": "assistant", "content": "a"}}], "context": {{{quoted}: 1, {quoted}: 2}}}}, {rollout}]}}"#
            ),
        ),
    ];
    for (what, body) in &bodies {
        let reply = server.post_bytes("/v1/score", body.as_bytes());
        assert!(reply.status < 500, "{what}: {reply:?}");
        assert!(reply.body.len() < 8_000, "{what}: {} bytes of reply", reply.body.len());
    }
    for route in
        ["/get_reward", "/rm", "/classify", "/reward", "/v1/rules/check", "/submit_task", "/verify"]
    {
        for body in [format!("{{{quoted}: 1}}"), format!("{{\"query\": {quoted}}}"), quoted.clone()]
        {
            let reply = server.post_bytes(route, body.as_bytes());
            // 503 is the answer of a trainer's route for an item without a reward.
            assert!(reply.status < 500 || reply.code() == "unscored", "{route}: {reply:?}");
            assert!(reply.body.len() < 8_000, "{route}: {} bytes of reply", reply.body.len());
        }
    }
    for target in
        [format!("/get_reward?profile={}", "x".repeat(8_000)), format!("/{}", "x".repeat(8_000))]
    {
        let reply = server.post_bytes(&target, b"{\"query\": []}");
        assert!(reply.body.len() < 20_000 && reply.status < 500, "{reply:?}");
    }
    let log = server.log().len() - before_log;
    assert!(log < 200_000, "{log} bytes of log about long names");
    let spent = server.cpu_seconds() - before_cpu;
    assert!(spent < 25.0, "{spent} s of CPU for long names");
    assert_scores(&server);
}

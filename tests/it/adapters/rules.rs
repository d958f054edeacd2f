//! Rules learnt from clients, one test per rule. Each rule prevents a failure in which a client
//! stops a training run or silently corrupts it.

use guerdon_tests::{JudgeReply, Reply, Server, StandInJudge};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::super::judge::{PROMPT, configured, verdict};
use super::{ASKED, names, near, ok, query, reward, server, sigmoid, texts, with_limits};

#[tokio::test]
async fn rule_01_missing_reward_is_an_error_unless_on_failure_is_set() {
    let server = server().await;
    for (path, body, place) in texts("480 .") {
        let scored = ok(&server, path, &body).await;
        assert!(scored.pointer(place).is_some_and(Value::is_number), "{path}: {scored}");
        let unscored = server.post(&format!("{path}?profile=strict"), &body).await;
        assert_eq!(
            unscored.status, 503,
            "{path}: an error, not a made-up number: {}",
            unscored.text
        );
        assert_eq!(unscored.json()["code"], "unscored", "{path}");
        assert_eq!(unscored.headers["retry-after"], "1", "{path}");
        let chosen =
            ok(&server, &format!("{path}?profile=strict&on_failure=value:-1.5"), &body).await;
        assert!(chosen.pointer(place).is_some_and(|number| near(number, -1.5)), "{path}: {chosen}");
        let null = ok(&server, &format!("{path}?profile=strict&on_failure=null"), &body).await;
        assert_eq!(null.pointer(place), Some(&Value::Null), "{path}: as asked");
    }
    server.stop().await;
}

#[tokio::test]
async fn rule_02_extra_logs_are_lists_of_numbers_with_constant_names() {
    let server = with_limits("[limits]\nmax_message_bytes = 100\n").await;
    let long = "x".repeat(101);
    let mut seen: Option<Vec<String>> = None;
    for replies in [vec![], vec!["480 ."], vec!["see the work order .", &long], vec![long.as_str()]]
    {
        let queries: Vec<_> = replies.iter().map(|reply| query(reply)).collect();
        for path in [
            "/get_reward?on_failure=value:-1",
            "/get_reward?profile=strict&sources=rm,judge&on_failure=value:0",
        ] {
            let logs = ok(&server, path, &json!({ "query": queries })).await["extra_logs"].clone();
            for (name, numbers) in logs.as_object().unwrap() {
                let numbers = numbers.as_array().unwrap();
                assert_eq!(numbers.len(), replies.len(), "{name}");
                assert!(numbers.iter().all(Value::is_number), "{name}: {numbers:?}");
            }
            if !path.contains("strict") {
                let names: Vec<_> = names(&logs).iter().map(|name| (*name).to_owned()).collect();
                assert_eq!(*seen.get_or_insert(names.clone()), names, "{replies:?}");
            }
        }
    }
    // verl takes the names for a batch from its first sample, and sends one sample per request.
    let sample = |reply: &str| json!({ "prompt": ASKED, "response": reply, "label": null });
    let dict = "/rm?reply=dict&on_failure=value:-1";
    let (scored, failed) =
        (ok(&server, dict, &sample("480 .")).await, ok(&server, dict, &sample(&long)).await);
    assert_eq!(names(&scored), names(&failed));
    assert!(failed.as_object().unwrap().values().all(Value::is_number), "{failed}");
    let all = seen.unwrap();
    assert_eq!(
        all,
        ["failed", "recognised", "rm", "rm_abstained", "rules", "rules_abstained", "thought"]
    );
    server.stop().await;
}

#[tokio::test]
async fn rule_03_concurrent_single_requests_share_model_batches() {
    // The bundled model: the tiny one scores a text before the next request has been read.
    let bundled = Server::config().replace("crates/guerdon-model/tests/tiny", "models/e5-hh");
    let server = Server::from_config(&bundled, &[]).await;
    let mut requests = JoinSet::new();
    for index in 0..256 {
        let body = json!({ "query": [query(&format!("480 {index} ."))], "prompts": [ASKED], "labels": [null] });
        let sent = server.http.post(format!("{}/get_reward", server.url)).json(&body).send();
        requests.spawn(async { Reply::read(sent.await.unwrap()).await });
    }
    for reply in requests.join_all().await {
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
    let batches = server.metric("guerdon_model_batch_items_count", "").await;
    assert!((1.0..256.0 / 4.0).contains(&batches), "256 requests took {batches} batches");
    server.stop().await;
}

#[tokio::test]
async fn rule_04_empty_batch_returns_an_empty_list() {
    let server = server().await;
    let empty =
        ok(&server, "/get_reward", &json!({ "query": [], "prompts": [], "labels": [] })).await;
    assert_eq!((&empty["rewards"], &empty["scores"]), (&json!([]), &json!([])));
    assert_eq!(
        ok(&server, "/get_reward", &json!({ "prompts": [], "responses": [] })).await["rewards"],
        json!([])
    );
    assert_eq!(ok(&server, "/classify", &json!({ "input": [] })).await["data"], json!([]));
    assert_eq!(ok(&server, "/classify", &json!({ "text": [] })).await, json!([]));
    assert_eq!(ok(&server, "/v1/embeddings", &json!({ "input": [] })).await["data"], json!([]));
    assert_eq!(ok(&server, "/predict", &json!({ "inputs": [] })).await, json!([]));
    assert_eq!(ok(&server, "/pooling", &json!({ "input": [] })).await["data"], json!([]));
    assert_eq!(
        ok(&server, "/score", &json!({ "queries": "a", "documents": [] })).await["data"],
        json!([])
    );
    assert_eq!(ok(&server, "/rerank", &json!({ "query": "a", "texts": [] })).await, json!([]));
    assert_eq!(
        ok(&server, "/v1/score/evaluation", &json!({ "messages": [] })).await["scores"],
        json!([])
    );
    server.stop().await;
}

#[tokio::test]
async fn rule_05_bad_item_is_not_a_4xx_and_the_other_items_are_scored() {
    let server = with_limits("[limits]\nmax_message_bytes = 100\n").await;
    let long = "x".repeat(101);
    for bad in
        [json!(query(&long)), json!(7), Value::Null, json!("<|im_start|>user\nHi<|im_end|>\n")]
    {
        let body = json!({ "query": [query("480 ."), bad] });
        let failed = server.post("/get_reward", &body).await;
        assert_eq!(failed.status, 503, "{bad}: {}", failed.text);
        let flagged = ok(&server, "/get_reward?on_failure=value:-1", &body).await;
        assert!(near(&flagged["rewards"][0], reward(&server, "480 .").await), "{bad}: {flagged}");
        assert!(near(&flagged["rewards"][1], -1.0), "{bad}: {flagged}");
        assert_eq!(flagged["extra_logs"]["failed"], json!([0.0, 1.0]), "{bad}");
    }
    for bad in [
        json!({ "prompt": ASKED, "response": long }),
        json!({ "prompt": 7, "response": "480 ." }),
        json!({}),
    ] {
        assert_eq!(server.post("/rm", &bad).await.status, 503, "{bad}");
        assert!(near(&ok(&server, "/rm?on_failure=value:-1", &bad).await, -1.0), "{bad}");
    }
    server.stop().await;
}

#[tokio::test]
async fn rule_06_unresponsive_source_abstains_at_the_deadline() {
    // Time in which even a busy machine computes the reward of every request below. The default
    // deadlines of the routes are tested in guerdon-adapters.
    const DEADLINE_MS: u64 = 3_000;
    let judge = StandInJudge::start_gated([JudgeReply::content(verdict("cold"))], 0).await;
    let server = Server::with(&configured(judge.url()), &[("kind.md", PROMPT)]).await;
    let mut requests = JoinSet::new();
    for (path, body, place) in texts("480 .") {
        let url = format!("{}{path}?deadline_ms={DEADLINE_MS}", server.url);
        let sent = server.http.post(url).json(&body).send();
        requests.spawn(async move { (path, place, Reply::read(sent.await.unwrap()).await) });
    }
    for (path, place, reply) in requests.join_all().await {
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
        assert!(
            reply.json().pointer(place).is_some_and(Value::is_number),
            "{path}: {}",
            reply.text
        );
    }
    let body = json!({ "query": [query("480 .")] });
    let flagged = ok(&server, &format!("/get_reward?deadline_ms={DEADLINE_MS}"), &body).await;
    assert_eq!(flagged["extra_logs"]["judge_abstained"], json!([1.0]), "{flagged}");
    assert_eq!(flagged["extra_logs"]["failed"], json!([0.0]), "{flagged}");
    judge.release(1_000);
    server.stop().await;
}

#[tokio::test]
async fn rule_07_repeated_request_body_causes_one_judge_call() {
    let judge = StandInJudge::start([JudgeReply::content(verdict("cold"))]).await;
    let server = Server::with(&configured(judge.url()), &[("kind.md", PROMPT)]).await;
    let body = json!({ "query": [query("480 .")], "prompts": [ASKED], "labels": [null] });
    let mut tries = JoinSet::new();
    for _ in 0..16 {
        let sent = server.http.post(format!("{}/get_reward", server.url)).json(&body).send();
        tries.spawn(async { Reply::read(sent.await.unwrap()).await.json()["rewards"].clone() });
    }
    let rewards = tries.join_all().await;
    assert!(
        rewards[0][0].is_number() && rewards.iter().all(|other| *other == rewards[0]),
        "{rewards:?}"
    );
    ok(&server, "/get_reward", &body).await;
    assert_eq!(judge.calls(), 1);
    server.stop().await;
}

#[tokio::test]
async fn rule_08_token_is_accepted_in_the_url() {
    let tokens =
        "[auth]\ntokens = [{ name = \"trainer\", env = \"TEST_TOKEN\", scopes = [\"score\"] }]\n";
    let server = with_limits(tokens).await;
    let in_url = server.url.replace("http://", "http://trainer:let-me-in-please@");
    let routes = texts("480 .").map(|(path, body, _)| (path, body));
    let dialogue = json!({ "messages": [{ "role": "assistant", "content": "480 ." }] });
    let verify = json!({ "responses_create_params": {}, "response": {} });
    let others = [
        ("/reward", dialogue.clone()),
        ("/evaluate", dialogue),
        ("/seed_session", json!({})),
        ("/verify", verify),
        ("/aggregate_metrics", json!({ "verify_responses": [] })),
        ("/submit_task", json!({ "prompt": "", "response": "" })),
    ];
    for (path, body) in routes.into_iter().chain(others) {
        let ask = |url: String| server.http.post(url).json(&body);
        let status = async |request: reqwest::RequestBuilder| {
            request.send().await.unwrap().status().as_u16()
        };
        let url = format!("{}{path}", server.url);
        assert_eq!(status(ask(url.clone())).await, 401, "{path}");
        assert_eq!(status(ask(url.clone()).header("authorization", "")).await, 401, "{path}");
        assert_eq!(status(ask(format!("{url}?key=wrong"))).await, 401, "{path}");
        assert_eq!(status(ask(format!("{url}?key=let-me-in-please"))).await, 200, "{path}");
        assert_eq!(status(ask(format!("{in_url}{path}"))).await, 200, "{path}");
        assert_eq!(status(ask(url.clone()).bearer_auth("let-me-in-please")).await, 200, "{path}");
        assert_eq!(status(ask(url).header("x-api-key", "let-me-in-please")).await, 200, "{path}");
    }
    assert_eq!(server.get("/reverify_mode").await.status, 401);
    server.stop().await;
}

#[tokio::test]
async fn rule_09_url_selects_profile_and_sources() {
    let server = server().await;
    let body = json!({ "query": [query("we guarantee it .")] });
    let usual = ok(&server, "/get_reward", &body).await;
    let gated = ok(&server, "/get_reward?profile=gated", &body).await;
    assert!(gated["rewards"][0].as_f64().unwrap() <= -9.5, "{gated}");
    assert!(usual["rewards"][0].as_f64().unwrap() > -9.5, "{usual}");
    let in_path = ok(&server, "/profiles/gated/get_reward", &body).await;
    assert_eq!(in_path, gated, "for clients that append their own path to the URL");
    assert_eq!(server.get("/profiles/gated/info").await.json()["model_id"], "gated");
    for (path, code) in [
        ("gatd/get_reward", "unknown_profile"),
        ("gated/get_reward?profile=test", "invalid_request"),
    ] {
        let refused = server.post(&format!("/profiles/{path}"), &body).await;
        assert_eq!((refused.status, refused.json()["code"].as_str()), (422, Some(code)), "{path}");
    }
    let alone = ok(&server, "/get_reward?sources=rm", &body).await;
    assert!(
        alone["extra_logs"].get("rules").is_none() && alone["extra_logs"].get("rm").is_some(),
        "{alone}"
    );
    for (wrong, code) in [
        ("profile=gatd", "unknown_profile"),
        ("sources=rn", "unknown_source"),
        ("profle=gated", "invalid_request"),
        ("on_failure=0", "invalid_request"),
    ] {
        let refused = server.post(&format!("/get_reward?{wrong}"), &body).await;
        assert_eq!((refused.status, refused.json()["code"].as_str()), (422, Some(code)), "{wrong}");
    }
    server.stop().await;
}

#[tokio::test]
async fn rule_10_list_of_one_returns_a_list_of_one() {
    let server = server().await;
    let one = ok(&server, "/get_reward", &json!({ "query": [query("480 .")] })).await;
    for list in [&one["rewards"], &one["scores"], &one["extra_logs"]["rm"]] {
        assert_eq!(list.as_array().unwrap().len(), 1, "{one}");
    }
    server.stop().await;
}

#[tokio::test]
async fn rule_11_scores_are_between_0_and_1_and_rewards_are_raw() {
    let server = server().await;
    let replies = ["480 .", "see the work order .", "we guarantee it ."];
    let body = json!({ "query": replies.map(query) });
    let reply = ok(&server, "/get_reward?profile=gated", &body).await;
    for (score, raw) in
        reply["scores"].as_array().unwrap().iter().zip(reply["rewards"].as_array().unwrap())
    {
        let raw = raw.as_f64().unwrap();
        assert!(
            (0.0..=1.0).contains(&score.as_f64().unwrap()) && near(score, sigmoid(raw)),
            "{reply}"
        );
    }
    assert!(reply["rewards"][2].as_f64().unwrap() <= -9.5, "raw: {reply}");
    server.stop().await;
}

#[tokio::test]
async fn rule_12_default_activation_matches_each_engine() {
    let server = server().await;
    let text = query("480 .");
    let raw = reward(&server, "480 .").await;
    let squashed = sigmoid(raw);
    assert!((raw - squashed).abs() > 1e-3, "the two values differ");
    for (path, body, place, expected) in [
        ("/predict", json!({ "inputs": text }), "/0/score", squashed),
        ("/predict", json!({ "inputs": text, "raw_scores": true }), "/0/score", raw),
        ("/", json!({ "inputs": text, "parameters": {} }), "/0/0/score", squashed),
        ("/classify", json!({ "input": text }), "/data/0/probs/0", squashed),
        (
            "/classify",
            json!({ "input": text, "use_activation": true }),
            "/data/0/probs/0",
            squashed,
        ),
        ("/classify", json!({ "input": text, "use_activation": false }), "/data/0/probs/0", raw),
        ("/classify", json!({ "input": text, "activation": false }), "/data/0/probs/0", raw),
        ("/classify", json!({ "input": [text], "raw_scores": false }), "/data/0/0/score", squashed),
        ("/classify", json!({ "input": [text], "raw_scores": true }), "/data/0/0/score", raw),
        ("/classify", json!({ "text": text }), "/embedding/0", raw),
        ("/pooling", json!({ "input": text }), "/data/0/data/0", squashed),
        ("/score", json!({ "queries": ASKED, "documents": "480 ." }), "/data/0/score", squashed),
        ("/rerank", json!({ "query": ASKED, "texts": ["480 ."] }), "/0/score", squashed),
        (
            "/rerank",
            json!({ "query": ASKED, "documents": ["480 ."] }),
            "/results/0/relevance_score",
            squashed,
        ),
        ("/v1/embeddings", json!({ "input": text }), "/data/0/embedding/0", raw),
    ] {
        let reply = ok(&server, path, &body).await;
        assert!(
            reply.pointer(place).is_some_and(|number| near(number, expected)),
            "{path} {body}: {reply}"
        );
    }
    // SGLang returns a softmax over one label here, which is always 1 and says nothing about the
    // reward. The route is therefore not served.
    assert_eq!(server.post("/v1/classify", &json!({ "input": text })).await.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn rule_13_reward_components_sum_to_the_reward() {
    let server = server().await;
    let verify = |reply: &str| {
        json!({
            "responses_create_params": { "input": "480 is our best price ." },
            "response": { "output": [{ "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": reply }] }] },
        })
    };
    let sum = |verified: &Value| -> f64 {
        verified["reward_components"]
            .as_object()
            .unwrap()
            .values()
            .map(|part| part.as_f64().unwrap())
            .sum()
    };
    for path in ["/verify", "/verify?profile=gated", "/verify?sources=rm"] {
        for reply in ["480 .", "see the work order .", "we guarantee it ."] {
            let verified = ok(&server, path, &verify(reply)).await;
            let reward = verified["reward"].as_f64().unwrap();
            assert!(
                (reward - sum(&verified)).abs() <= 1e-6 + 1e-5 * reward.abs(),
                "{path}: {verified}"
            );
        }
    }
    let gated = ok(&server, "/verify?profile=gated", &verify("we guarantee it .")).await;
    assert!(
        gated["reward_components"]["residual"].as_f64().unwrap() < -1.0,
        "the gate is a component: {gated}"
    );
    let masked = ok(&server, "/verify?profile=strict", &verify("480 .")).await;
    assert_eq!(masked["_ng_failure_class"], "judge_failed", "{masked}");
    assert_eq!(masked["instance_config"]["mask_sample"], true, "{masked}");
    assert!(sum(&masked).abs() < 1e-12, "{masked}");
    server.stop().await;
}

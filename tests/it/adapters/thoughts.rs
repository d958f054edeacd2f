//! Thoughts and messages are read alike on every route: one dialogue has one reward, in whatever
//! form its reply was written or its messages were sent.

use guerdon_tests::Server;
use serde_json::{Value, json};

use super::{near, ok, reward, server, texts};

/// Thoughts that would cost points if they were scored, before a reply.
const WRITTEN: [&str; 6] = [
    "<think>\nThe work order says 420 .\n</think>\n\n480 .",
    "The work order says 420 .\n</think>\n\n480 .",
    "[THINK]The work order says 420 .[/THINK]480 .",
    "The work order says 420 .[/THINK]480 .",
    "<|channel|>analysis<|message|>The work order says 420 .<|end|><|start|>assistant<|channel|>final<|message|>480 .",
    "analysisThe work order says 420 .assistantfinal480 .",
];

/// Every route that takes messages, with a body that has `messages` and the place of the reward.
fn conversations(messages: &Value) -> [(&'static str, Value, &'static str); 5] {
    let turns = messages.as_array().unwrap();
    let (prompt, reply) = turns.split_at(turns.len() - 1);
    let output =
        json!([{ "type": "message", "role": "assistant", "content": reply[0]["content"] }]);
    [
        ("/reward", json!({ "messages": messages }), "/score"),
        ("/evaluate", json!({ "messages": messages }), "/score"),
        (
            "/classify",
            json!({ "model": "rm", "messages": messages, "use_activation": false }),
            "/data/0/probs/0",
        ),
        (
            "/pooling",
            json!({ "model": "rm", "messages": messages, "use_activation": false }),
            "/data/0/data/0",
        ),
        (
            "/verify",
            json!({ "responses_create_params": { "input": prompt }, "response": { "output": output } }),
            "/reward",
        ),
    ]
}

#[tokio::test]
async fn thoughts_are_dropped_on_every_route() {
    let server = server().await;
    let wanted = reward(&server, "480 .").await;
    for written in WRITTEN {
        let rollout = Server::rollout(written);
        for (path, body, place) in
            texts(written).into_iter().chain(conversations(&rollout["messages"]))
        {
            let scored = ok(&server, path, &body).await;
            let found = scored.pointer(place).unwrap_or(&Value::Null);
            assert!(near(found, wanted), "{path}: {found} is not {wanted}: {written}");
        }
        let sample = json!({ "prompt": [rollout["messages"][0]], "response": written });
        let dict = ok(&server, "/rm?reply=dict", &sample).await;
        assert!(near(&dict["reward"], wanted) && near(&dict["thought"], 1.0), "{written}: {dict}");
        let kept =
            ok(&server, "/reward?thoughts=keep", &conversations(&rollout["messages"])[0].1).await;
        assert!(!near(&kept["score"], wanted), "{written}");
    }
    server.stop().await;
}

#[tokio::test]
async fn messages_of_every_api_have_the_same_reward() {
    let server = server().await;
    let wanted = reward(&server, "480 .").await;
    let asked = "480 is our best price .";
    for messages in [
        json!([{ "role": "human", "content": asked }, { "role": "gpt", "content": "480 ." }]),
        json!([{ "role": "User", "content": asked }, { "role": "Assistant", "content": "480 ." }]),
        json!([
            { "role": "user", "content": [{ "type": "text", "text": asked }] },
            { "role": "assistant", "content": [{ "type": "text", "text": "480 ." }] },
        ]),
        json!([
            { "role": "user", "content": [{ "type": "input_text", "text": asked }] },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "The work order says 420 ." },
                { "type": "text", "text": "480 ." },
            ] },
        ]),
        json!([
            { "role": "user", "name": "Ann", "content": asked },
            { "role": "assistant", "content": "480 .", "reasoning_content": "The work order .",
              "tool_calls": null, "refusal": null },
        ]),
    ] {
        let scored = server.score(&json!({ "rollouts": [{ "messages": messages }] })).await;
        let result = &scored["results"][0];
        assert!(near(&result["reward"], wanted), "/v1/score: {messages}: {result}");
        for (path, body, place) in conversations(&messages) {
            let scored = ok(&server, path, &body).await;
            let found = scored.pointer(place).unwrap_or(&Value::Null);
            assert!(near(found, wanted), "{path}: {found} is not {wanted}: {messages}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn rollout_that_cannot_be_read_fails_alone() {
    let server = server().await;
    let good = Server::rollout("480 .");
    let wanted = reward(&server, "480 .").await;
    let image = json!({ "messages": [
        { "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "x" } }] },
        { "role": "assistant", "content": "480 ." },
    ] });
    let scored = server.score(&json!({ "rollouts": [good, image, good] })).await;
    let results = scored["results"].as_array().unwrap();
    assert!(near(&results[0]["reward"], wanted) && near(&results[2]["reward"], wanted));
    assert!(results[1]["error"]["detail"].as_str().unwrap().contains("`image_url`"));
    let cut = |text: &str| {
        let query = serde_json::to_string(&super::query("480 .")).unwrap();
        text.replace("QUERY", &query)
    };
    let body = cut(r#"{"query": [QUERY, "half \ud83d", QUERY]}"#);
    let request = server.http.post(format!("{}/get_reward", server.url));
    let reply = request.header("content-type", "application/json").body(body).send().await.unwrap();
    let rewards: Value = serde_json::from_str(&reply.text().await.unwrap()).unwrap();
    for index in [0, 2] {
        assert!(near(&rewards["rewards"][index], wanted), "{rewards}");
    }
    assert!(rewards["rewards"][1].is_number(), "{rewards}");
    server.stop().await;
}

#[tokio::test]
async fn turn_that_only_calls_a_tool_is_no_empty_reply() {
    let pack = format!(
        "{}  - {{ id: empty, points: -60, check: {{ length: {{ min: 1 }} }}, examples: {{ hits: [''], misses: [a] }} }}\n",
        Server::pack()
    );
    let server = Server::with("", &[("rules.yaml", &pack)]).await;
    let call = json!([{ "id": "1", "type": "function", "function": { "name": "rooms", "arguments": "{}" } }]);
    let messages = json!([
        { "role": "user", "content": "480 is our best price ." },
        { "role": "assistant", "content": null, "tool_calls": call },
        { "role": "tool", "tool_call_id": "1", "content": "{\"left\": 5}" },
        { "role": "assistant", "content": "480 ." },
    ]);
    let steps = ok(&server, "/reward?score=all", &json!({ "messages": messages })).await;
    let steps = steps["step_outputs"].as_array().unwrap().clone();
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert_eq!(steps[0]["step_index"], 3);
    let rollout = json!({ "messages": messages, "score": [1, 3] });
    let scored = server.score(&json!({ "rollouts": [rollout] })).await;
    let turn = &scored["results"][0]["turns"][0];
    assert_eq!(turn["index"], 1);
    assert_eq!(turn["rules"]["points"], 0.0, "no empty reply: {turn}");
    let empty = server.score(&json!({ "rollouts": [Server::rollout("")] })).await;
    let turn = &empty["results"][0]["turns"][0];
    assert_eq!(turn["rules"]["points"], -60.0, "an empty reply: {turn}");
    server.stop().await;
}

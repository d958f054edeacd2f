//! A source that was asked and stayed silent never becomes a number; what is empty or missing is
//! refused; a configuration has an identity that clients can insist on.

use guerdon_tests::{
    JudgeThread, ProcessSetup, Server, WAIT_LIMIT, wait_until_blocking, wire_request,
};
use serde_json::{Value, json};

use crate::{LEAK_REWARD, assert_problem, leak, light, request};

/// The server of [`light`] with the small reward model.
fn modelled() -> ProcessSetup {
    light().profile("model = \"tiny\"").tables(
        "[models.tiny]\npath = \"@REPOSITORY@/crates/guerdon-model/tests/tiny\"\n\
         runtime = \"@REPOSITORY@/.guerdon/onnxruntime\"\n",
    )
}

fn fusions() -> Vec<Value> {
    let mut fusions = Vec::new();
    for method in ["repo", "weighted_sum", "gated"] {
        for inner in ["repo", "weighted_sum"] {
            for on_abstain in ["skip", "null"] {
                for aggregate in ["last", "mean", "sum", "min"] {
                    fusions.push(json!({ "method": method, "inner": inner, "on_abstain": on_abstain, "aggregate": aggregate }));
                }
            }
        }
    }
    fusions
}

#[test]
fn silent_reward_model_voids_the_reward_in_every_method() {
    let server = modelled().start();
    // Texts that are new in each request, so that no score is cached; more than the model can score
    // in a millisecond.
    let mut silent = 0;
    for (round, fusion) in fusions().iter().enumerate() {
        let rollouts: Vec<Value> = (0..40)
            .map(|n| Server::rollout(&format!("{round} {n} {} .", "we meet at 420 ".repeat(12))))
            .collect();
        let body = json!({ "rollouts": rollouts, "fusion": fusion, "deadline_ms": 1 });
        let reply = server.post("/v1/score", &body);
        if reply.status == 503 {
            continue;
        }
        let reply = reply.json();
        for result in reply["results"].as_array().unwrap() {
            for turn in result["turns"].as_array().unwrap() {
                let is_silent = turn["abstained"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|entry| entry["source"] == "rm");
                if is_silent {
                    silent += 1;
                    assert!(turn["reward"].is_null(), "{fusion}: {turn}");
                    assert!(result["reward"].is_null(), "{fusion}: {result}");
                    assert_eq!(result["error"]["code"], "unscored", "{fusion}: {result}");
                }
            }
            assert_eq!(
                result["reward"].is_null(),
                result["error"].is_object(),
                "{fusion}: {result}"
            );
        }
    }
    assert!(silent > 100, "the deadline was missed {silent} times only");
}

#[test]
fn silent_judge_is_left_out_or_voids_the_reward_as_configured() {
    let judge = JudgeThread::start_gated(0);
    let server = judge.added_to(light(), "").start();
    for (index, fusion) in fusions()
        .iter()
        .enumerate()
        .filter(|(_, fusion)| fusion["method"] != "repo" && fusion["inner"] != "repo")
    {
        let rollouts = [Server::rollout(&format!("{index} see the work order ."))];
        let mut body = json!({ "rollouts": rollouts, "fusion": fusion, "deadline_ms": 100 });
        let result = server.score(&body)["results"][0].clone();
        let expected =
            if fusion["on_abstain"] == "null" { Value::Null } else { json!(LEAK_REWARD) };
        assert_eq!(result["reward"], expected, "{fusion}: {result}");
        assert_eq!(result["turns"][0]["abstained"][0]["source"], "judge", "{fusion}: {result}");
        // The judge alone: every asked source is silent.
        body["sources"] = json!(["judge"]);
        let result = server.score(&body)["results"][0].clone();
        assert!(result["reward"].is_null(), "{fusion}: {result}");
        assert_eq!(result["error"]["code"], "unscored", "{fusion}: {result}");
    }
}

#[test]
fn group_with_a_silent_judge_is_marked_and_gets_no_advantages() {
    let judge = JudgeThread::start_gated(2);
    let server = judge.added_to(light(), "max_concurrent = 4").start();
    let with_group = |text: &str, group: &str| {
        let mut rollout = Server::rollout(text);
        rollout["group"] = json!(group);
        rollout
    };
    // The first two questions are answered, the others are too late.
    let warm = json!({ "rollouts": [with_group("1 .", "warm"), with_group("2 .", "warm")] });
    assert!(server.score(&warm)["groups"].as_array().is_none_or(Vec::is_empty));
    let rollouts = [
        with_group("1 .", "mixed"),
        with_group("see the work order 3 .", "mixed"),
        with_group("1 .", "whole"),
        with_group("2 .", "whole"),
        with_group("4 .", "silent"),
        with_group("5 .", "silent"),
    ];
    for streamed in [false, true] {
        let body = json!({ "rollouts": rollouts, "advantages": { "estimator": "grpo" }, "deadline_ms": 300 });
        let accept = if streamed { "application/x-ndjson" } else { "application/json" };
        let headers = [("content-type", "application/json"), ("accept", accept)];
        let reply = server
            .exchange(&wire_request("POST", "/v1/score", &headers, body.to_string().as_bytes()))
            .unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
        let (mut results, last) = if streamed {
            let mut lines: Vec<Value> =
                reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let last = lines.pop().unwrap();
            (lines, last)
        } else {
            (reply.json()["results"].as_array().unwrap().clone(), reply.json())
        };
        results.sort_by_key(|result| result["id"].as_str().unwrap().parse::<usize>().unwrap());
        let advantage = |index: usize| results[index]["advantage"].clone();
        assert_eq!((advantage(0), advantage(1)), (Value::Null, Value::Null), "{last}");
        assert!(advantage(2).is_number() && advantage(3).is_number(), "{results:?}");
        assert!(advantage(4).is_number() && advantage(5).is_number(), "scored alike: {results:?}");
        assert_eq!(last["groups"].as_array().unwrap().len(), 1, "{last}");
        let group = &last["groups"][0];
        assert_eq!((&group["id"], &group["comparable"]), (&json!("mixed"), &json!(false)));
        assert_eq!(group["missing"], json!([{ "source": "judge", "rollout": "1" }]));
    }
}

/// Ways in which the rules of a profile can be nothing.
fn empty_rules() -> Vec<(&'static str, ProcessSetup)> {
    let none = || light().without("packs/words.yaml");
    vec![
        ("a missing folder", none()),
        ("only a README", none().file("packs/README.md", "Packs.")),
        (
            "only hidden files",
            none().file("packs/.words.yaml", Server::pack()).file("packs/.#a.yaml", Server::pack()),
        ),
        (
            "only other files",
            none()
                .file("packs/notes.txt", "x")
                .file("packs/words.yaml.swp", Server::pack())
                .file("packs/a.yaml~", Server::pack()),
        ),
        ("an empty file", none().file("packs/words.yaml", "")),
        ("comments", none().file("packs/words.yaml", "# nothing yet\n---\n")),
        (
            "a pack without rules",
            none().file("packs/words.yaml", "pack: words\nabout: None.\nrules: []\n"),
        ),
        ("a missing file", light().replaced("[\"packs\"]", "[\"packs/none.yaml\"]")),
        ("one of two is missing", light().replaced("[\"packs\"]", "[\"packs\", \"more\"]")),
    ]
}

#[test]
fn rules_that_are_nothing_are_refused_at_the_start() {
    for (what, setup) in empty_rules() {
        let (code, text) = setup.refusal();
        assert_eq!(code, Some(1), "{what}: {text}");
        assert!(text.contains("allow_empty") || what.contains("without rules"), "{what}: {text}");
        assert!(!text.contains("panicked"), "{what}: {text}");
    }
    let judge = JudgeThread::start();
    for (what, setup) in [
        ("missing prompts", judge.added_to(light(), "").without("prompts/kind.md")),
        ("an empty prompt", judge.added_to(light(), "").file("prompts/kind.md", "")),
        (
            "a missing model",
            light().profile("model = \"m\"").tables("[models.m]\npath = \"nowhere\"\n"),
        ),
    ] {
        let (code, text) = setup.refusal();
        assert_eq!(code, Some(1), "{what}: {text}");
        assert!(!text.contains("panicked"), "{what}: {text}");
    }
}

#[test]
fn rules_that_vanish_are_refused_at_a_reload_and_the_old_ones_serve() {
    for (what, empty) in empty_rules()
        .into_iter()
        .filter(|(what, _)| !what.contains("one of two") && *what != "a missing file")
    {
        let server = light().start();
        let before = server.score(&request(&[leak()]));
        std::fs::remove_dir_all(server.path("packs")).unwrap();
        empty.write(&server.path(""));
        let refused = server.post("/v1/reload", &json!({}));
        assert_problem(&refused, 422, what);
        let after = server.score(&request(&[leak()]));
        assert_eq!(after["results"][0]["reward"], LEAK_REWARD, "{what}");
        assert_eq!(after["versions"]["digest"], before["versions"]["digest"], "{what}");
        // The folder is back: a reload works, and so does the watch.
        std::fs::create_dir_all(server.path("packs")).unwrap();
        server.replace("packs/words.yaml", &Server::pack().replace("-50", "-40"));
        wait_until_blocking(what, WAIT_LIMIT, || {
            server.score(&request(&[leak()]))["results"][0]["reward"] == -0.4
        });
    }
}

#[test]
fn emptiness_that_is_meant_is_served() {
    let setup = light().without("packs/words.yaml").profile("allow_empty = true");
    let server = setup.start();
    let reply = server.score(&request(&[leak()]));
    // No rules: nothing is deducted, by intention.
    assert_eq!(reply["results"][0]["reward"], 0.0, "{reply}");
    std::fs::create_dir_all(server.path("packs")).unwrap();
    server.replace("packs/words.yaml", Server::pack());
    wait_until_blocking("the pack is live", WAIT_LIMIT, || {
        server.score(&request(&[leak()]))["results"][0]["reward"] == LEAK_REWARD
    });
}

#[test]
fn another_configuration_is_a_conflict() {
    let server = light().start();
    let digest =
        server.score(&request(&[leak()]))["versions"]["digest"].as_str().unwrap().to_owned();
    assert!(digest.starts_with("sha256:") && digest.len() == 71, "{digest}");
    // The same files elsewhere have the same digest, whatever is not part of a reward.
    let same = light().server("log = \"warn\"").tables("[limits]\nmax_rollouts = 7\n").start();
    assert_eq!(same.score(&request(&[leak()]))["versions"]["digest"], digest);
    let other = light().file("packs/words.yaml", &Server::pack().replace("-50", "-49")).start();
    let other_digest =
        other.score(&request(&[leak()]))["versions"]["digest"].as_str().unwrap().to_owned();
    assert_ne!(other_digest, digest);
    let mut body = request(&[leak()]);
    body["expect"] = json!({ "digest": digest });
    assert_eq!(server.score(&body)["results"][0]["reward"], LEAK_REWARD);
    let conflict = other.post("/v1/score", &body);
    assert_problem(&conflict, 409, "another digest");
    assert_eq!(conflict.code(), "conflict");
    assert!(
        conflict.text().contains(&digest) && conflict.text().contains(&other_digest),
        "{conflict:?}"
    );
    for route in ["/v1/score", "/get_reward", "/rm", "/profiles/light/get_reward"] {
        let body = if route == "/v1/score" {
            request(&[leak()])
        } else {
            json!({ "query": ["a"], "prompt": "a", "response": "b" })
        };
        let send = |digest: &str| {
            let headers = [("content-type", "application/json"), ("x-guerdon-expect", digest)];
            server
                .exchange(&wire_request("POST", route, &headers, body.to_string().as_bytes()))
                .unwrap()
        };
        assert_eq!(send(&digest).status, 200, "{route}");
        assert_eq!(send(&other_digest).status, 409, "{route}");
        for malformed in ["sha256:", "x", &digest[..70], "sha512:00"] {
            assert!((400..500).contains(&send(malformed).status), "{route}: {malformed}");
        }
    }
    for malformed in [
        json!({}),
        json!({ "digest": "x" }),
        json!({ "digest": 1 }),
        json!("x"),
        json!({ "digests": digest }),
    ] {
        let mut body = request(&[leak()]);
        body["expect"] = malformed.clone();
        let reply = server.post("/v1/score", &body);
        assert!(matches!(reply.status, 422 | 200), "{malformed}: {reply:?}");
        assert!(reply.status == 422 || malformed == json!({}), "{malformed}: {reply:?}");
    }
}

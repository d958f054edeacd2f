//! Sources by name: several of a kind, their roles, their parts in replies, and a profile for each
//! rollout.
//!
//! | file | content |
//! |---|---|
//! | `ensembles.rs` | ensembles and normalisers |
//! | `faults.rs` | configurations that do not load, with the whole error |
//! | `profiles.rs` | a profile for each rollout of a request |
//! | `remote.rs` | a function behind HTTP |
//! | `stages.rs` | `screen`, `hero` and `gdpo` |

mod ensembles;
mod faults;
mod profiles;
mod remote;
mod stages;

use guerdon_tests::Server;
use serde_json::{Value, json};

/// A pack whose rule takes `points` for `word`, as a veto or not.
fn pack(id: &str, word: &str, points: i32, veto: bool) -> String {
    format!(
        "pack: {id}\nabout: One rule.\nrules:\n  - {{ id: r, about: One., points: {points}, \
         veto: {veto}, match: {{ any_of: ['{word}'] }} }}\n"
    )
}

/// The head of a configuration, with the tiny model.
const HEAD: &str = "[server]\nlisten = \"127.0.0.1:0\"\n[models.tiny]\n\
                    path = \"@REPOSITORY@/crates/guerdon-model/tests/tiny\"\n";

async fn server(profiles: &str) -> Server {
    let packs = [
        ("price.yaml", pack("price", "480", -40, false)),
        ("tone.yaml", pack("tone", "whatever", -30, false)),
        ("taboo.yaml", pack("taboo", "work order", -5, true)),
    ];
    let files: Vec<(&str, &str)> =
        packs.iter().map(|(name, text)| (*name, text.as_str())).collect();
    Server::from_config(&format!("{HEAD}{profiles}"), &files).await
}

fn near(value: &Value, expected: f64) -> bool {
    value.as_f64().is_some_and(|value| (value - expected).abs() < 1e-9)
}

const THREE_PACKS: &str = r#"
[profiles.test.sources.rm]
kind = "model"
model = "tiny"
[profiles.test.sources.tone]
kind = "rules"
rules = ["tone.yaml"]
weight = 0.5
[profiles.test.sources.price]
kind = "rules"
rules = ["price.yaml"]
scale = 2
weight = 0.25
[profiles.test.sources.taboo]
kind = "rules"
rules = ["taboo.yaml"]
role = "gate"
[profiles.test.sources.watch]
kind = "rules"
rules = ["rules.yaml"]
role = "audit"
"#;

#[tokio::test]
async fn several_sources_of_a_kind_are_weighted_and_reported_by_name() {
    let server = server(THREE_PACKS).await;
    let reply = server.score(&json!({ "rollouts": [Server::rollout("480, whatever .")] })).await;
    let turn = &reply["results"][0]["turns"][0];
    let rm = turn["rm"]["score"].as_f64().unwrap();
    // 0.5 * -30 and 0.25 * 2 * -40.
    assert!(near(&turn["enhancement"], -35.0), "{turn}");
    assert!(near(&turn["reward"], rm - rm.abs() * 0.35), "{turn}");
    let parts = &turn["parts"];
    assert!(near(&parts["rm"]["value"], rm), "{parts}");
    assert_eq!(parts["rm"]["kind"], "model");
    assert!(parts["rm"]["version"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(parts["tone"]["components"], json!({ "tone/r": -30.0 }));
    assert_eq!((&parts["tone"]["value"], &parts["tone"]["weight"]), (&json!(-30.0), &json!(0.5)));
    assert_eq!(parts["price"]["weight"], 0.5);
    assert_eq!(parts["price"]["evidence"], json!([{ "name": "price/r", "spans": [[0, 3]] }]));
    assert_eq!(parts["taboo"]["role"], "gate");
    assert_eq!(parts["watch"]["role"], "audit");
    assert!(turn.get("rules").is_none(), "no source is called `rules`: {turn}");
    let settings = &reply["versions"]["settings"]["sources"];
    assert_eq!(settings["tone"]["weight"], 0.5);
    assert_eq!(settings["taboo"]["role"], "gate");
    server.stop().await;
}

#[tokio::test]
async fn gate_lowers_to_the_floor_and_an_audit_changes_nothing() {
    let server = server(THREE_PACKS).await;
    let reward = |reply: &'static str, sources: Value| {
        let server = &server;
        async move {
            let body = json!({ "rollouts": [Server::rollout(reply)], "sources": sources });
            server.score(&body).await["results"][0]["reward"].as_f64().unwrap()
        }
    };
    let all = json!(["rm", "tone", "price", "taboo", "watch"]);
    let unaudited = json!(["rm", "tone", "price", "taboo"]);
    // `watch` would take 50 points for this text.
    let gated = reward("see the work order .", all.clone()).await;
    assert!(gated <= -2.0, "{gated}");
    let free = reward("see you .", all.clone()).await;
    let without = reward("see you .", json!(["rm", "tone", "price"])).await;
    assert!((free - without).abs() < 1e-12, "{free} and {without}");
    for text in ["see the work order .", "480 whatever guarantee ."] {
        let (one, other) = (reward(text, all.clone()).await, reward(text, unaudited.clone()).await);
        assert!((one - other).abs() < 1e-12, "{text}: {one} and {other}");
    }
    let ungated = reward("see the work order .", json!(["rm", "watch"])).await;
    let base = reward("see the work order .", json!(["rm"])).await;
    assert!((ungated - base).abs() < 1e-12, "{ungated} and {base}");
    let refused = server.post("/v1/score", &json!({ "rollouts": [], "sources": ["watch"] })).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    server.stop().await;
}

/// The profile `test` by shorthands, and with the same sources as tables.
const TWO_FORMS: [&str; 2] = [
    "[profiles.test]\nmodel = \"tiny\"\nrules = [\"rules.yaml\", \"tone.yaml\"]\n\
     [profiles.test.calibration]\nkind = \"centred\"\nmean = 0.25\n",
    "[profiles.test.calibration]\nkind = \"centred\"\nmean = 0.25\n\
     [profiles.test.sources.rules]\nkind = \"rules\"\nrules = [\"rules.yaml\", \"tone.yaml\"]\n\
     [profiles.test.sources.rm]\nkind = \"model\"\nmodel = \"tiny\"\n",
];

#[tokio::test]
async fn shorthand_and_tables_give_the_same_rewards_and_digests_bit_for_bit() {
    let texts = [
        "see the work order .",
        "480 .",
        "whatever , we guarantee it .",
        "",
        "work order whatever",
    ];
    // One rollout a request: the last bits of this model's scores depend on the batch.
    let [mut short_forms, mut long_forms] = [Vec::new(), Vec::new()];
    for (form, replies) in TWO_FORMS.into_iter().zip([&mut short_forms, &mut long_forms]) {
        let server = server(form).await;
        for text in texts {
            replies.push(server.score(&json!({ "rollouts": [Server::rollout(text)] })).await);
        }
        server.stop().await;
    }
    for (short, long) in short_forms.iter().zip(&long_forms) {
        assert_same_rewards_and_digest(short, long);
    }
}

/// Checks a reply of the profile in shorthands against that of its tables.
#[track_caller]
fn assert_same_rewards_and_digest(short_form: &Value, long_form: &Value) {
    let [short, long] = [short_form, long_form].map(|reply| {
        let mut reply = reply.clone();
        reply["request_id"] = Value::Null;
        for result in reply["results"].as_array_mut().unwrap() {
            for turn in result["turns"].as_array_mut().unwrap() {
                turn.as_object_mut().unwrap().remove("parts");
            }
        }
        reply["versions"].as_object_mut().unwrap().remove("settings");
        reply
    });
    assert_eq!(short, long);
    assert!(short_form["results"][0]["turns"][0].get("parts").is_none());
    assert!(long_form["results"][0]["turns"][0].get("parts").is_some());
}

#[tokio::test]
async fn client_of_the_second_edition_gets_parts_of_every_profile() {
    let server = Server::new().await;
    let body = json!({ "rollouts": [Server::rollout("see the work order .")] });
    let ask = async |edition: &str| {
        let request = server.http.post(format!("{}/v1/score", server.url)).json(&body);
        let reply = request.header("x-guerdon-accept", edition).send().await.unwrap();
        reply.json::<Value>().await.unwrap()
    };
    let turn = ask("2").await["results"][0]["turns"][0].clone();
    assert!(near(&turn["parts"]["rules"]["value"], -50.0), "{turn}");
    assert_eq!(turn["parts"]["rm"]["value"], turn["rm"]["score"]);
    assert_eq!(turn["parts"]["rules"]["evidence"][0]["spans"], turn["rules"]["hits"][0]["spans"]);
    let turn = ask("1").await["results"][0]["turns"][0].clone();
    assert!(turn.get("parts").is_none(), "{turn}");
    server.stop().await;
}

#[tokio::test]
async fn metrics_and_info_name_the_sources() {
    let server = server(THREE_PACKS).await;
    server.score(&json!({ "rollouts": [Server::rollout("480 ."), Server::rollout("ok .")] })).await;
    for source in ["rm", "tone", "price", "taboo", "watch"] {
        let label = format!("source=\"{source}\"");
        let count = server.metric("guerdon_source_duration_seconds_count", &label).await;
        assert!((count - 2.0).abs() < 1e-9, "{source}: {count}");
    }
    let info = server.get("/v1/info").await.json();
    let sources = info["profiles"]["test"]["sources"].as_array().unwrap();
    let ids: Vec<&str> = sources.iter().map(|source| source["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["rm", "price", "taboo", "tone", "watch"]);
    server.stop().await;
}

#[tokio::test]
async fn trainers_name_sources_in_the_url_and_get_their_numbers() {
    let server = server(THREE_PACKS).await;
    let query = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n480 whatever<|im_end|>\n";
    let body = json!({ "query": [query], "prompts": [""], "labels": [null] });
    let rewards = async |sources: &str| {
        let reply = server.post(&format!("/get_reward?sources={sources}"), &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json()
    };
    let all = rewards("rm,tone,price").await;
    let logs = &all["extra_logs"];
    assert!(near(&logs["tone"][0], -30.0), "{all}");
    assert!(near(&logs["price"][0], -40.0), "{all}");
    let base = rewards("rm").await["rewards"][0].as_f64().unwrap();
    assert!(near(&all["rewards"][0], base - base.abs() * 0.35), "{all}");
    server.stop().await;
}

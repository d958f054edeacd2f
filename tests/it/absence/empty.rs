//! A rules or prompts path that is missing or empty, and a missing model, are refused at load and at
//! reload. `allow_empty` accepts them, and a file that appears later goes live.

#![expect(clippy::disallowed_methods, reason = "a test writes its own files")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use guerdon_server::config::ConfigSource;
use guerdon_server::{Engine, LoadError};
use guerdon_tests::{Server, WAIT_LIMIT, repository, wait_until};
use serde_json::json;
use tempfile::TempDir;

use super::PROMPT;

const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"
[reload]
debounce = "20ms"
[models.tiny]
path = "tiny"
[profiles.test]
model = "tiny"
rules = ["packs"]
prompts = ["prompts"]
"#;

/// A way of taking something away, with the key that names it.
type Loss = (&'static str, &'static str, fn(&Path));

fn only(folder: &Path, name: &str, text: &str) {
    fs::remove_dir_all(folder).unwrap();
    fs::create_dir(folder).unwrap();
    if !name.is_empty() {
        fs::write(folder.join(name), text).unwrap();
    }
}

const LOSSES: [Loss; 17] = [
    ("rules", "no folder", |root| fs::remove_dir_all(root.join("packs")).unwrap()),
    ("rules", "an empty folder", |root| only(&root.join("packs"), "", "")),
    ("rules", "a README", |root| only(&root.join("packs"), "README.md", "# Packs\n")),
    ("rules", "a README that looks like a pack", |root| {
        only(&root.join("packs"), "README.yaml", Server::pack());
    }),
    ("rules", "a hidden pack", |root| only(&root.join("packs"), ".words.yaml", Server::pack())),
    ("rules", "a lock file", |root| only(&root.join("packs"), ".#words.yaml", "")),
    ("rules", "notes", |root| only(&root.join("packs"), "notes.txt", Server::pack())),
    ("rules", "an empty pack", |root| only(&root.join("packs"), "words.yaml", "")),
    ("rules", "a pack of comments", |root| only(&root.join("packs"), "words.yaml", "# x\n---\n")),
    ("rules", "a pack without rules", |root| {
        only(&root.join("packs"), "words.yaml", "pack: words\nabout: None.\nrules: []\n");
    }),
    ("rules", "a folder of folders", |root| {
        only(&root.join("packs"), "", "");
        fs::create_dir(root.join("packs/more")).unwrap();
    }),
    ("prompts", "no folder", |root| fs::remove_dir_all(root.join("prompts")).unwrap()),
    ("prompts", "an empty folder", |root| only(&root.join("prompts"), "", "")),
    ("prompts", "a README", |root| only(&root.join("prompts"), "README.md", PROMPT)),
    ("prompts", "an empty prompt", |root| only(&root.join("prompts"), "kind.md", "\n")),
    ("model", "no folder", |root| fs::remove_dir_all(root.join("tiny")).unwrap()),
    ("model", "an empty folder", |root| only(&root.join("tiny"), "", "")),
];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Puts everything in its place that `CONFIG` names.
fn fill(root: &Path, config: &str) {
    for folder in ["packs", "prompts", "tiny"] {
        if root.join(folder).exists() {
            fs::remove_dir_all(root.join(folder)).unwrap();
        }
        fs::create_dir(root.join(folder)).unwrap();
    }
    fs::write(root.join("guerdon.toml"), config).unwrap();
    fs::write(root.join("packs/words.yaml"), Server::pack()).unwrap();
    fs::write(root.join("prompts/kind.md"), PROMPT).unwrap();
    copy(&repository().join("crates/guerdon-model/tests/tiny"), &root.join("tiny"));
}

fn load(root: &Path) -> Result<Arc<Engine>, LoadError> {
    Engine::load(ConfigSource {
        file: Some(root.join("guerdon.toml")),
        environment: Arc::new(BTreeMap::new()),
        overrides: Vec::new(),
    })
}

fn folder_of(key: &str) -> &'static str {
    match key {
        "rules" => "packs",
        "prompts" => "prompts",
        _ => "tiny",
    }
}

/// Checks that `error` names the profile, the key, the path and the way to allow it.
fn check(error: &LoadError, root: &Path, (key, what, _): Loss) {
    let text = error.to_string();
    assert!(matches!(error, LoadError::Absent { .. }), "{key}, {what}: {text}");
    assert!(text.starts_with(&format!("[profiles.test] `{key}`: ")), "{what}: {text}");
    assert!(text.contains(&root.join(folder_of(key)).display().to_string()), "{what}: {text}");
    assert!(text.contains("`[profiles.test] allow_empty = true`"), "{what}: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn absence_is_refused_at_load_and_reload_and_accepted_where_it_is_meant() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    fill(root, CONFIG);
    let running = load(root).unwrap_or_else(|error| panic!("{error}"));
    let mut generation = 1;
    for loss @ (key, what, take_away) in LOSSES {
        fill(root, CONFIG);
        take_away(root);
        check(&load(root).unwrap_err(), root, loss);
        check(&running.reload().unwrap_err(), root, loss);
        let info = running.info();
        assert_eq!(info.generation, generation, "{key}, {what}: the old generation serves");
        assert!(info.last_reload_error.unwrap().contains("allow_empty"));

        fs::write(root.join("guerdon.toml"), format!("{CONFIG}allow_empty = true\n")).unwrap();
        let allowed = load(root).unwrap_or_else(|error| panic!("{key}, {what}: {error}"));
        let named: Vec<_> = allowed.info().profiles["test"].empty.clone();
        assert_eq!(named, [folder_of(key)], "{key}, {what}");
        allowed.close().await;

        fill(root, CONFIG);
        generation = running.reload().unwrap_or_else(|error| panic!("{key}, {what}: {error}"));
        assert!(running.info().last_reload_error.is_none());
    }
    running.close().await;
}

/// One named path that is empty is refused although another one is not.
#[tokio::test(flavor = "multi_thread")]
async fn every_named_path_must_have_something() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    let config = CONFIG.replace("[\"packs\"]", "[\"packs\", \"more\"]");
    fill(root, &config);
    let error = load(root).unwrap_err().to_string();
    assert!(error.contains("/more` does not exist"), "{error}");
    fs::create_dir(root.join("more")).unwrap();
    let error = load(root).unwrap_err().to_string();
    assert!(error.contains("/more` has no file of this kind"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn profile_without_rules_or_prompts_needs_no_allowance() {
    let folder = TempDir::new().unwrap();
    let config = CONFIG
        .replace("rules = [\"packs\"]\n", "rules = []\n")
        .replace("prompts = [\"prompts\"]\n", "");
    fill(folder.path(), &config);
    let engine = load(folder.path()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(engine.info().profiles["test"].empty, [""; 0]);
    engine.close().await;
}

/// A judge without prompts is asked and silent: it is no source that happens to agree.
#[tokio::test(flavor = "multi_thread")]
async fn judge_whose_prompts_are_missing_on_purpose_is_silent() {
    let config = "[server]\nlisten = \"127.0.0.1:0\"\n[judges.j]\n\
        url = \"http://127.0.0.1:9/v1\"\nmodel = \"m\"\n[profiles.test]\njudge = \"j\"\n\
        prompts = [\"prompts\"]\nrules = [\"rules.yaml\"]\nallow_empty = true\n\
        fusion = { method = \"weighted_sum\", on_abstain = \"null\" }\n";
    let server = Server::from_config(config, &[]).await;
    let score = async |sources: &[&str], on_abstain: &str| {
        let body = json!({
            "rollouts": [Server::rollout("see the work order .")], "sources": sources,
            "fusion": { "on_abstain": on_abstain },
        });
        server.score(&body).await["results"][0]["reward"].clone()
    };
    assert!(score(&["judge"], "skip").await.is_null());
    assert!(score(&["judge", "rules"], "null").await.is_null());
    assert_eq!(score(&["judge", "rules"], "skip").await, -0.5);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn model_that_is_missing_on_purpose_gives_null_until_it_appears() {
    let config = "[server]\nlisten = \"127.0.0.1:0\"\n[reload]\ndebounce = \"20ms\"\n\
        [models.tiny]\npath = \"tiny\"\n[profiles.test]\nmodel = \"tiny\"\nrules = [\"packs\"]\n\
        allow_empty = true\nfusion = { method = \"weighted_sum\" }\n";
    let server = Server::from_config(config, &[]).await;
    let request = json!({ "rollouts": [Server::rollout("see the work order .")] });
    let reply = server.score(&request).await;
    let result = &reply["results"][0];
    assert!(result["reward"].is_null(), "{result}");
    assert!(result["error"]["detail"].as_str().unwrap().contains("model `tiny` are missing"));
    assert_eq!(result["turns"][0]["abstained"][0]["source"], "rm");
    let info = server.get("/v1/info").await.json();
    assert_eq!(info["profiles"]["test"]["empty"], json!(["packs", "tiny"]), "{info}");

    fs::create_dir(server.path("packs")).unwrap();
    fs::write(server.path("packs/words.yaml"), Server::pack()).unwrap();
    copy(&repository().join("crates/guerdon-model/tests/tiny"), &server.path("tiny"));
    wait_until("the model and the rules are live", WAIT_LIMIT, async || {
        let result = server.score(&request).await["results"][0].clone();
        result["reward"].is_number() && result["turns"][0]["rules"]["points"] == -50.0
    })
    .await;
    let info = server.get("/v1/info").await.json();
    assert!(info["profiles"]["test"].get("empty").is_none(), "{info}");
    server.stop().await;
}

/// A volume that is mounted too late: the reload is refused, and its files go live by themselves.
#[tokio::test(flavor = "multi_thread")]
async fn folder_that_comes_back_after_a_refused_reload_goes_live() {
    let config = Server::config().replace("\"rules.yaml\"", "\"packs\"");
    let config = format!("{config}[reload]\ndebounce = \"20ms\"\n");
    let server = Server::from_config(&config, &[("packs/words.yaml", Server::pack())]).await;
    fs::rename(server.path("packs"), server.path("gone")).unwrap();
    let reply = server.post("/v1/reload", &json!({})).await;
    assert_eq!(reply.status, 422, "{}", reply.text);
    assert!(reply.text.contains("allow_empty") && reply.text.contains("/packs"), "{}", reply.text);
    let request = json!({ "rollouts": [Server::rollout("see the work order .")] });
    let points =
        async || server.score(&request).await["results"][0]["turns"][0]["rules"]["points"].clone();
    assert_eq!(points().await, -50.0, "the old generation serves");

    fs::create_dir(server.path("packs")).unwrap();
    let pack = Server::pack().replace("points: -50", "points: -70");
    fs::write(server.path("packs/words.yaml"), pack).unwrap();
    wait_until("the new pack is live", WAIT_LIMIT, async || points().await == -70.0).await;
    assert!(server.get("/v1/info").await.json().get("last_reload_error").is_none());
    server.stop().await;
}

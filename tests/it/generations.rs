//! Generations: what makes a new one, what undoes a rollback, and that no number is used twice.

#![expect(clippy::disallowed_methods, reason = "a test writes its own files")]

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::Path;

use guerdon_tests::{Server, WAIT_LIMIT, wait_until};
use serde_json::json;

const QUICK: &str = "[reload]\ndebounce = \"20ms\"\n";

fn pack(points: u32) -> String {
    Server::pack().replace("points: -50", &format!("points: -{points}"))
}

async fn with_folder(files: &[(&str, &str)]) -> Server {
    let config = Server::config().replace("\"rules.yaml\"", "\"packs\"");
    Server::from_config(&format!("{config}{QUICK}"), files).await
}

async fn generation(server: &Server) -> u64 {
    server.get("/v1/info").await.json()["generation"].as_u64().unwrap()
}

async fn live(server: &Server, points: u32) {
    wait_until(&format!("{points} points"), WAIT_LIMIT, async || {
        let rules = server.get("/v1/rules").await.json();
        rules["profiles"]["test"][0]["rules"][0]["points"] == json!(-f64::from(points))
    })
    .await;
}

/// Waits until `last_reload_error` is set or not, as `wanted`.
async fn refused(server: &Server, wanted: bool) {
    let what = format!("last_reload_error is set: {wanted}");
    wait_until(&what, WAIT_LIMIT, async || {
        server.get("/v1/info").await.json()["last_reload_error"].is_string() == wanted
    })
    .await;
}

type FolderChange = fn(&Path);

/// Changes of the folder that change no text of a pack.
const NOT_EDITS: [(&str, FolderChange); 9] = [
    ("an editor's swap file", |packs| std::fs::write(packs.join(".words.yaml.swp"), "x").unwrap()),
    ("an editor's lock", |packs| {
        let _ = std::fs::remove_file(packs.join(".#words.yaml"));
        symlink("user@host.123", packs.join(".#words.yaml")).unwrap();
    }),
    ("a file manager's metadata", |packs| {
        std::fs::write(packs.join("._words.yaml"), [0, 5, 22, 7]).unwrap();
    }),
    ("vim's probe", |packs| {
        std::fs::write(packs.join("4913"), "").unwrap();
        std::fs::remove_file(packs.join("4913")).unwrap();
    }),
    ("backups", |packs| {
        for name in ["words.yaml~", "#words.yaml#", "words.yaml.bak", "words.yaml.orig"] {
            std::fs::write(packs.join(name), "pack: [").unwrap();
        }
    }),
    ("notes", |packs| {
        for name in ["notes.txt", "README", "README.md", "README.yaml"] {
            std::fs::write(packs.join(name), "pack: [").unwrap();
        }
    }),
    ("touch", |packs| {
        let file = std::fs::File::options().append(true).open(packs.join("words.yaml")).unwrap();
        file.set_modified(std::time::SystemTime::now()).unwrap();
    }),
    ("the same bytes again", |packs| {
        let text = std::fs::read(packs.join("words.yaml")).unwrap();
        std::fs::write(packs.join("words.yaml"), text).unwrap();
    }),
    ("the same text in a new folder", |packs| {
        let (new, old) = (packs.with_extension("new"), packs.with_extension("old"));
        let _ = std::fs::remove_dir_all(&old);
        std::fs::create_dir(&new).unwrap();
        std::fs::copy(packs.join("words.yaml"), new.join("words.yaml")).unwrap();
        std::fs::rename(packs, &old).unwrap();
        std::fs::rename(&new, packs).unwrap();
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn only_a_change_of_text_makes_a_generation_or_undoes_a_rollback() {
    let server = with_folder(&[("packs/words.yaml", &pack(1))]).await;
    let packs = server.path("packs");
    std::fs::write(packs.join("words.yaml"), pack(2)).unwrap();
    live(&server, 2).await;
    assert_eq!(server.post("/v1/rollback", &json!({})).await.json()["repeats"], 1);
    let before = generation(&server).await;
    for (what, change) in NOT_EDITS {
        change(&packs);
        // A broken pack that comes and goes: the reload task has compared all files twice.
        std::fs::write(packs.join("broken.yaml"), "pack: [").unwrap();
        refused(&server, true).await;
        std::fs::remove_file(packs.join("broken.yaml")).unwrap();
        refused(&server, false).await;
        assert_eq!(generation(&server).await, before, "{what} made a generation");
        live(&server, 1).await;
    }
    // A text that changed loads all files as they are on disk.
    std::fs::write(packs.join("words.yaml"), pack(3)).unwrap();
    live(&server, 3).await;
    assert_eq!(generation(&server).await, before + 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folder_that_comes_back_with_the_same_text_does_not_undo_a_rollback() {
    let server = with_folder(&[("packs/words.yaml", &pack(1))]).await;
    let packs = server.path("packs");
    std::fs::write(packs.join("words.yaml"), pack(2)).unwrap();
    live(&server, 2).await;
    server.post("/v1/rollback", &json!({})).await;
    let before = generation(&server).await;
    for _ in 0..2 {
        std::fs::rename(&packs, server.path("away")).unwrap();
        refused(&server, true).await;
        std::fs::rename(server.path("away"), &packs).unwrap();
        refused(&server, false).await;
        assert_eq!(generation(&server).await, before);
        live(&server, 1).await;
    }
    assert!(server.metric("guerdon_reload_broken", "").await.abs() < 1e-9);
    // Back, and edited meanwhile.
    std::fs::rename(&packs, server.path("away")).unwrap();
    refused(&server, true).await;
    std::fs::write(server.path("away/words.yaml"), pack(5)).unwrap();
    std::fs::rename(server.path("away"), &packs).unwrap();
    live(&server, 5).await;
    server.stop().await;
}

#[tokio::test]
async fn generation_numbers_are_never_used_twice_and_the_gauge_shows_the_one_that_serves() {
    for share in ["1.0", "0.5", "0.0"] {
        let config = format!("{}[reload]\nwatch = false\nshare = {share}\n", Server::config());
        let server = Server::from_config(&config, &[]).await;
        let mut given = BTreeSet::from([1]);
        for points in 2..6 {
            server.replace("rules.yaml", &pack(points));
            let loaded = server.post("/v1/reload", &json!({})).await.json();
            assert!(given.insert(loaded["generation"].as_u64().unwrap()), "{share}: {loaded}");
            agrees(&server).await;
            if points % 2 == 0 {
                let had_candidate = server.get("/v1/info").await.json()["candidate"].is_object();
                let back = server.post("/v1/rollback", &json!({})).await.json();
                let generation = back["generation"].as_u64().unwrap();
                // Dropping a candidate makes no generation: the old one goes on serving.
                assert_eq!(given.insert(generation), !had_candidate, "{share}: {back}");
            } else {
                server.post("/v1/promote", &json!({})).await;
            }
            agrees(&server).await;
        }
        server.stop().await;
    }
}

/// The gauge, `/v1/info` and replies without a candidate name the same generation.
async fn agrees(server: &Server) {
    let info = server.get("/v1/info").await.json();
    let serving = info["generation"].as_f64().unwrap();
    let gauge = server.metric("guerdon_generation ", "").await;
    assert!((gauge - serving).abs() < 1e-9, "the gauge shows {gauge}, {serving} serves");
}

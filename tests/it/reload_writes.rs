//! Packs written under load in the ways of editors and deployments: every version becomes live, no
//! request fails, and no request sees parts of two versions.

#![expect(clippy::disallowed_methods, reason = "a test writes its own files")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use guerdon_tests::{Server, WAIT_LIMIT, wait_until};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Number of concurrent callers.
const CALLERS: usize = 4;

/// Longer than the pause between two steps of one write, even on a busy machine.
const CONFIG: &str = "[reload]\ndebounce = \"200ms\"\n";

/// A pack with two rules of one version. Its first half, up to the end of the first rule, is a
/// valid pack too, so a reload in the middle of a write would succeed.
fn pack(id: &str, version: u64) -> String {
    let rule = |id: &str| {
        format!(
            "  - {{ id: {id}, about: One., points: -{version}, match: {{ any_of: [work order] }} }}\n"
        )
    };
    format!("pack: {id}\nabout: One of many versions.\nrules:\n{}{}", rule("one"), rule("two"))
}

/// Callers that send requests without a pause until they are stopped.
struct Load {
    stopped: Arc<AtomicU64>,
    callers: JoinSet<usize>,
}

impl Load {
    /// Every answer must have `hits` hits, all of one version, and answers of one generation are of
    /// one version.
    fn start(server: &Server, hits: usize) -> Self {
        let stopped = Arc::new(AtomicU64::new(0));
        let versions: Arc<Mutex<BTreeMap<u64, f64>>> = Arc::default();
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (http, url) = (server.http.clone(), format!("{}/v1/score", server.url));
            let (stopped, versions) = (Arc::clone(&stopped), Arc::clone(&versions));
            callers.spawn(async move {
                let body = json!({ "rollouts": [Server::rollout("see the work order .")] });
                let mut asked = 0;
                while stopped.load(Ordering::Relaxed) == 0 {
                    let reply = http.post(&url).json(&body).send().await.expect("a reply");
                    assert_eq!(reply.status(), 200);
                    let reply: Value = reply.json().await.expect("JSON");
                    let turn = &reply["results"][0]["turns"][0];
                    assert!(turn["reward"].is_number(), "{reply}");
                    let found: Vec<f64> = turn["rules"]["hits"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(|hit| hit["points"].as_f64())
                        .collect();
                    assert_eq!(found.len(), hits, "a pack written in part: {turn}");
                    let generation =
                        reply["versions"]["generation"].as_u64().expect("a generation");
                    let version = *versions.lock().entry(generation).or_insert(found[0]);
                    let whole = found.iter().all(|points| points.total_cmp(&version).is_eq());
                    assert!(whole, "generation {generation} is of two versions: {turn}");
                    asked += 1;
                }
                asked
            });
        }
        Self { stopped, callers }
    }

    async fn stop(mut self) {
        self.stopped.store(1, Ordering::Relaxed);
        let mut asked = 0;
        while let Some(caller) = self.callers.join_next().await {
            asked += caller.expect("no request failed or saw a mix");
        }
        assert!(asked >= CALLERS, "{asked} requests are no load");
    }
}

/// Waits until the rules of the live packs are of `version`.
async fn live(server: &Server, version: u64) {
    wait_until(&format!("version {version} is live"), WAIT_LIMIT, async || {
        let rules = server.get("/v1/rules").await.json();
        rules["profiles"]["test"][0]["rules"][0]["points"] == json!(-(version as f64))
    })
    .await;
}

/// A way of writing `text` over a file.
type Writing = fn(&Path, &str);

const WRITINGS: [(&str, Writing); 6] = [
    ("emptied, then written in two steps, as nano and `echo >` do", |file, text| {
        let mut open = std::fs::File::create(file).unwrap();
        let (first, second) = text.split_at(text.find("  - { id: two").unwrap());
        open.write_all(first.as_bytes()).unwrap();
        open.sync_all().unwrap();
        open.write_all(second.as_bytes()).unwrap();
    }),
    ("a new file renamed over the old one, as most editors do", |file, text| {
        let draft = file.with_extension("tmp");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, file).unwrap();
    }),
    ("put away as a backup and written anew, as vim does", |file, text| {
        let (probe, backup) = (file.with_file_name("4913"), file.with_extension("yaml~"));
        std::fs::write(&probe, "").unwrap();
        std::fs::remove_file(&probe).unwrap();
        std::fs::rename(file, &backup).unwrap();
        std::fs::write(file, text).unwrap();
        std::fs::remove_file(&backup).unwrap();
    }),
    ("removed and written again, as `git checkout` does", |file, text| {
        std::fs::remove_file(file).unwrap();
        std::fs::write(file, text).unwrap();
    }),
    ("written over where it is, without being emptied", |file, text| {
        let mut open = std::fs::OpenOptions::new().write(true).open(file).unwrap();
        open.write_all(text.as_bytes()).unwrap();
        open.set_len(text.len() as u64).unwrap();
    }),
    ("edited by `sed -i` itself", |file, text| {
        let points = text.split("points: ").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
        let program = format!("s/points: -[0-9]*/points: {points}/");
        let edited = Command::new("sed").arg("-i").arg(program).arg(file).status().unwrap();
        assert!(edited.success());
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn pack_written_in_any_way_is_reloaded_whole_under_load() {
    let server = Server::with(CONFIG, &[("rules.yaml", &pack("words", 1))]).await;
    let load = Load::start(&server, 2);
    for (version, (way, write)) in (2..).zip(WRITINGS) {
        println!("{way}");
        write(&server.path("rules.yaml"), &pack("words", version));
        live(&server, version).await;
    }
    load.stop().await;
    assert!(server.get("/v1/info").await.json()["last_reload_error"].is_null());
    server.stop().await;
}

/// A ConfigMap is a folder of links into `..data`, which is a link that is swapped atomically. No
/// request may see a file of the old folder together with one of the new folder.
#[tokio::test(flavor = "multi_thread")]
#[cfg(unix)]
async fn swapped_config_map_is_reloaded_whole_under_load() {
    use std::os::unix::fs::symlink;
    let mounted = |server: &Server, version: u64| {
        let folder = server.path(&format!("packs/..{version}"));
        std::fs::create_dir_all(&folder).unwrap();
        for id in ["a", "b"] {
            std::fs::write(folder.join(format!("{id}.yaml")), pack(id, version)).unwrap();
        }
        let (next, data) = (server.path("packs/..next"), server.path("packs/..data"));
        symlink(&folder, &next).unwrap();
        std::fs::rename(next, data).unwrap();
    };
    let server = Server::with("[reload]\ndebounce = \"1ms\"\n", &[]).await;
    mounted(&server, 1);
    for id in ["a", "b"] {
        symlink(format!("..data/{id}.yaml"), server.path(&format!("packs/{id}.yaml"))).unwrap();
    }
    let config = Server::config().replace("\"rules.yaml\"", "\"packs\"");
    server.replace("guerdon.toml", &Server::resolved(&config));
    live(&server, 1).await;

    let load = Load::start(&server, 4);
    for version in 2..30 {
        mounted(&server, version);
        if version % 5 == 0 {
            live(&server, version).await;
        }
    }
    live(&server, 29).await;
    load.stop().await;
    server.stop().await;
}

//! Models that are swapped under load, damaged, or many in one server; the memory of sessions.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use guerdon_tests::{
    GuerdonProcess, ProcessSetup, Server, WAIT_LIMIT, repository, wait_until_blocking,
};
use serde_json::{Value, json};

use crate::request;

/// Models of a few kilobytes.
const SMALL: [&str; 3] = ["tiny", "tiny-decoder", "tiny-decoder-cpu"];

/// A server of these models, by the path in the configuration's folder or the repository; each has
/// a profile of its name.
fn server_of(models: &[(String, String)]) -> ProcessSetup {
    let mut config = format!(
        "default_profile = \"{}\"\n[server]\nlisten = \"127.0.0.1:0\"\n[reload]\nwatch = false\n",
        models[0].0
    );
    for (name, keys) in models {
        config += &format!(
            "[models.{name}]\n{keys}\nruntime = \"@REPOSITORY@/.guerdon/onnxruntime\"\n\
             [profiles.{name}]\nmodel = \"{name}\"\n"
        );
    }
    ProcessSetup::new(env!("CARGO_BIN_EXE_guerdon"), &config)
}

fn copy(model: &str, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let from = repository().join("crates/guerdon-model/tests").join(model);
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Makes the link `current` lead to `target`, atomically.
#[cfg(unix)]
fn link(folder: &Path, target: &str) {
    let draft = folder.join(".next");
    std::os::unix::fs::symlink(target, &draft).unwrap();
    std::fs::rename(draft, folder.join("current")).unwrap();
}

/// Stops the clients, also if an assertion fails.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn raw(reply: &Value) -> Option<f64> {
    reply["results"][0]["turns"][0]["rm"]["raw"].as_f64()
}

fn generation(server: &GuerdonProcess) -> u64 {
    server.get("/v1/info").json()["generation"].as_u64().unwrap()
}

#[cfg(unix)]
#[test]
fn model_is_swapped_under_load_without_a_failed_request() {
    const SWAPS: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    for model in ["tiny-decoder", "tiny-decoder-cpu"] {
        copy(model, &folder.path().join(model));
    }
    // A third model, since a model whose manifest is in use already is not read again.
    let damaged = folder.path().join("damaged");
    copy("tiny", &damaged);
    let bytes = std::fs::read(damaged.join("model.onnx")).unwrap();
    std::fs::write(damaged.join("model.onnx"), &bytes[..bytes.len() / 2]).unwrap();
    link(folder.path(), "tiny-decoder");
    let setup = server_of(&[("m".to_owned(), "path = \"current\"".to_owned())]);
    setup.write(folder.path());
    let server = setup.start_in(folder);

    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let failures = Mutex::new(Vec::new());
    let mut memory = Vec::new();
    std::thread::scope(|scope| {
        for client in 0..3 {
            let (server, stop, asked, failures) = (&server, &stop, &asked, &failures);
            scope.spawn(move || {
                for round in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let text = format!("{client} {round} we meet at 420 .");
                    let reply = server.post("/v1/score", &request(&[Server::rollout(&text)]));
                    if reply.status != 200 || raw(&reply.json()).is_none() {
                        failures.lock().unwrap().push(reply);
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _stop = StopOnDrop(&stop);
        let served = |more: usize| {
            let before = asked.load(Ordering::Relaxed);
            wait_until_blocking("requests are answered", WAIT_LIMIT, || {
                asked.load(Ordering::Relaxed) >= before + more
            });
        };
        for swap in 0..SWAPS {
            served(20);
            let before = generation(&server);
            link(&server.path(""), ["tiny-decoder-cpu", "tiny-decoder"][swap % 2]);
            let reply = server.post("/v1/reload", &json!({}));
            assert_eq!(reply.status, 200, "{reply:?}");
            assert_eq!(generation(&server), before + 1);
            // A damaged model is refused, and the last one serves.
            link(&server.path(""), "damaged");
            let refused = server.post("/v1/reload", &json!({}));
            assert_eq!(refused.status, 422, "{refused:?}");
            let text = refused.text();
            assert!(text.contains("sha256") && text.contains("model.onnx"), "{text}");
            assert_eq!(generation(&server), before + 1);
            served(20);
            memory.push(server.resident_mib());
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} failed: {:?}", failures.len(), failures.first());
    // The models of earlier generations are freed.
    let growth = memory[SWAPS - 1] - memory[1];
    assert!(growth < 40.0, "{growth} MiB over {SWAPS} swaps: {memory:?}");
}

#[test]
fn nine_models_in_one_server_score_as_each_does_alone() {
    let keys = |model: &str| format!("path = \"@REPOSITORY@/crates/guerdon-model/tests/{model}\"");
    let ask = |profile: &str| json!({ "profile": profile, "rollouts": [Server::rollout("480 for two nights .")] });
    let alone = SMALL.map(|model| {
        let server = server_of(&[("m".to_owned(), keys(model))]).start();
        raw(&server.score(&ask("m"))).unwrap()
    });
    let models: Vec<(String, String)> =
        (0..9).map(|n| (format!("m{n}"), keys(SMALL[n % 3]))).collect();
    let server = server_of(&models).start();
    for (n, (name, _)) in models.iter().enumerate() {
        let among = raw(&server.score(&ask(name))).unwrap();
        assert_eq!(among.to_bits(), alone[n % 3].to_bits(), "{name}: {among}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn further_sessions_take_no_memory_for_weights() {
    let resident = |sessions: usize| {
        let keys =
            format!("path = \"@REPOSITORY@/models/e5-hh\"\ninstances = {sessions}\nthreads = 1");
        // Freed memory is returned at once, so that only what is in use counts.
        let setup = server_of(&[("m".to_owned(), keys)]).variable("MIMALLOC_PURGE_DELAY", "0");
        let server = setup.start();
        assert!(raw(&server.score(&request(&[Server::rollout("480 .")]))).is_some());
        server.resident_mib()
    };
    let (two, five) = (resident(2), resident(5));
    // The weights are 65 MiB in 32 bits, and the rearranged ones another 41 MiB.
    let each = (five - two) / 3.0;
    assert!(each < 32.0, "a session takes {each} MiB: {two} for two, {five} for five");
}

//! The command line: full and closed outputs, interrupted runs of `score`, and errors before models
//! load.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use guerdon_tests::{GuerdonProcess, JudgeThread, Server, WAIT_LIMIT, wait_until_blocking};
use serde_json::{Value, json};

use crate::light;

/// Commands that write to standard output, run in a folder with a configuration and a pack.
const COMMANDS: [&[&str]; 14] = [
    &["--help"],
    &["--version"],
    &["serve", "--help"],
    &["openapi"],
    &["man"],
    &["completions", "bash"],
    &["completions", "zsh"],
    &["config", "show"],
    &["config", "check"],
    &["rules", "check", "packs"],
    &["rules", "try", "packs", "--on", "in.jsonl"],
    &["rules", "bench", "packs", "--on", "in.jsonl"],
    &["score", "in.jsonl", "--local"],
    &["score", "in.jsonl", "--local", "--table"],
];

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    light().write(folder.path());
    let lines: String = (0..300).map(|n| format!("{}\n", numbered(n))).collect();
    std::fs::write(folder.path().join("in.jsonl"), lines).unwrap();
    folder
}

fn numbered(number: usize) -> Value {
    let mut rollout = Server::rollout(&format!("{number} see the work order ."));
    rollout["id"] = json!(format!("r{number}"));
    rollout
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    light().command(folder, arguments)
}

fn assert_no_panic(output: &Output, what: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("panicked"), "{what}: {errors}");
    assert_ne!(output.status.code(), Some(101), "{what}: {errors}");
}

#[test]
fn full_and_closed_outputs_are_no_panics() {
    let folder = folder();
    for arguments in COMMANDS {
        let fine = command(folder.path(), arguments).output().unwrap();
        assert_no_panic(&fine, &format!("{arguments:?}"));
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output =
            command(folder.path(), arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
        assert_no_panic(&output, &format!("{arguments:?} to a full disk"));
        if fine.status.success() && !fine.stdout.is_empty() {
            assert!(!output.status.success(), "{arguments:?} to a full disk ends with success");
            assert!(!output.stderr.is_empty(), "{arguments:?} to a full disk says nothing");
        }
        // A pipe whose reader has gone, and no standard output at all.
        for shell in [
            "\"$0\" \"$@\" | true",
            "\"$0\" \"$@\" >&-",
            "\"$0\" \"$@\" 2>&- | head -c 1 >/dev/null",
            "\"$0\" \"$@\" 2>/dev/full",
        ] {
            let output = Command::new("sh")
                .args(["-c", shell, env!("CARGO_BIN_EXE_guerdon")])
                .args(arguments)
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .output()
                .unwrap();
            assert_no_panic(&output, &format!("{arguments:?} as {shell}"));
        }
    }
}

#[test]
fn results_are_never_lost_by_a_run_that_fails() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("out.jsonl"), "old results\n").unwrap();
    // No server, a misspelt profile, a broken setting: the old results stay.
    let server = light().start();
    let url = format!("http://{}", server.address);
    for arguments in [
        &["--url", url.as_str(), "--profile", "lihgt"][..],
        &["--url", &url, "--sources", "rulse"],
        &["--url", &url, "--fusion", "{\"bound\": 0}"],
        &["--url", &url, "--fusion", "{"],
        &["--url", &url, "--advantages", "grop"],
        &["--local", "--profile", "lihgt"],
        &["--url", "ftp://127.0.0.1:9"],
    ] {
        let mut all = vec!["score", "in.jsonl", "--out", "out.jsonl"];
        all.extend_from_slice(arguments);
        let output = command(folder.path(), &all).output().unwrap();
        assert_no_panic(&output, &format!("{arguments:?}"));
        assert!(!output.status.success(), "{arguments:?}");
        assert_eq!(
            std::fs::read_to_string(path("out.jsonl")).unwrap(),
            "old results\n",
            "{arguments:?}"
        );
    }
    // The input is never the output, under whatever name.
    let input = std::fs::read_to_string(path("in.jsonl")).unwrap();
    std::os::unix::fs::symlink("in.jsonl", path("link.jsonl")).unwrap();
    std::fs::hard_link(path("in.jsonl"), path("hard.jsonl")).unwrap();
    for out in ["in.jsonl", "./in.jsonl", "link.jsonl", "hard.jsonl"] {
        let output = command(folder.path(), &["score", "in.jsonl", "--url", &url, "--out", out])
            .output()
            .unwrap();
        assert!(!output.status.success(), "{out}");
        assert_eq!(std::fs::read_to_string(path("in.jsonl")).unwrap(), input, "{out}");
    }
    let output =
        command(folder.path(), &["score", "in.jsonl", "--url", &url, "--out", "out.jsonl"])
            .output()
            .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(results(&path("out.jsonl")).len(), 300);
}

fn results(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn spawn_score(folder: &Path, url: &str, more: &[&str]) -> Child {
    let mut all = vec!["score", "many.jsonl", "--url", url, "--out", "out.jsonl"];
    all.extend_from_slice(more);
    command(folder, &all).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn wait(child: &mut Child, what: &str) -> std::process::ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{what}: score runs on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, name: &str) {
    drop(Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status());
}

/// A judge that answers after 10 ms.
fn slow_judge() -> JudgeThread {
    JudgeThread::start_with(|level| {
        guerdon_tests::JudgeReply::content(JudgeThread::verdict(level))
            .delay(Duration::from_millis(10))
    })
}

/// A server with a judge, so that scoring takes a while, and a file of rollouts.
fn judged(judge: &JudgeThread, folder: &Path) -> GuerdonProcess {
    let lines: String = (0..400).map(|n| format!("{}\n", numbered(n))).collect();
    std::fs::write(folder.join("many.jsonl"), lines).unwrap();
    judge.added_to(light(), "max_concurrent = 4").start()
}

#[test]
fn interrupted_run_resumes_and_scores_no_line_twice() {
    for name in ["INT", "TERM", "KILL"] {
        let judge = slow_judge();
        let folder = tempfile::tempdir().unwrap();
        let server = judged(&judge, folder.path());
        let url = format!("http://{}", server.address);
        let mut child = spawn_score(folder.path(), &url, &[]);
        wait_until_blocking("some lines are scored", WAIT_LIMIT, || judge.endpoint().calls() > 60);
        signal(&child, name);
        let status = wait(&mut child, name);
        assert!(!status.success(), "{name}: {status}");
        assert!(
            !folder.path().join("out.jsonl").exists(),
            "{name}: an unfinished file has the final name"
        );
        for round in 0..3 {
            let mut child = spawn_score(folder.path(), &url, &["--resume"]);
            if round < 1 {
                std::thread::sleep(Duration::from_millis(150));
                signal(&child, name);
            }
            let _ = wait(&mut child, name);
            if folder.path().join("out.jsonl").exists() {
                break;
            }
        }
        let results = results(&folder.path().join("out.jsonl"));
        assert_eq!(results.len(), 400, "{name}");
        for (index, result) in results.iter().enumerate() {
            assert_eq!(result["id"], format!("r{index}"), "{name}");
            assert_eq!(result["reward"], -0.5, "{name}: {result}");
        }
        assert_eq!(judge.repeated_questions(), Vec::<Value>::new(), "{name}");
    }
}

#[test]
fn file_has_the_rewards_of_one_configuration_when_the_server_reloads() {
    let judge = slow_judge();
    let folder = tempfile::tempdir().unwrap();
    let server = judged(&judge, folder.path());
    let url = format!("http://{}", server.address);
    let run = command(folder.path(), &["score", "many.jsonl", "--url", &url, "--out", "out.jsonl"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until_blocking("some lines are scored", WAIT_LIMIT, || judge.endpoint().calls() > 20);
    let pack = server.read("packs/words.yaml");
    let edited = pack.replace("points: -50", "points: -40");
    assert_ne!(edited, pack);
    server.replace("packs/words.yaml", &edited);
    wait_until_blocking("the edit is live", WAIT_LIMIT, || {
        server.get("/v1/info").json()["generation"] == 2
    });
    let output = run.wait_with_output().unwrap();
    let shown = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("configuration") && shown.contains("out.jsonl.part"), "{shown}");
    assert!(!folder.path().join("out.jsonl").exists(), "{shown}");
    let resumed = command(
        folder.path(),
        &["score", "many.jsonl", "--url", &url, "--out", "out.jsonl", "--resume"],
    )
    .output()
    .unwrap();
    let shown = String::from_utf8_lossy(&resumed.stderr);
    assert!(!resumed.status.success() && shown.contains("versions that score"), "{shown}");
}

#[test]
fn configuration_errors_are_reported_before_anything_loads() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (what, setup) in [
        ("a taken port", light().replaced("127.0.0.1:0", &format!("127.0.0.1:{port}"))),
        ("no address", light().replaced("127.0.0.1:0", "nowhere")),
        ("a name that does not exist", light().replaced("127.0.0.1:0", "no-such-host.invalid:1")),
        ("an unknown judge", light().profile("judge = \"nobody\"\nprompts = []")),
        ("an unknown model", light().profile("model = \"nothing\"")),
        ("an unknown key", light().server("drian = \"3s\"")),
        ("a broken filter", light().server("log = \"guerdon==\"")),
    ] {
        let started = Instant::now();
        let (code, text) = setup.refusal();
        assert_eq!(code, Some(1), "{what}: {text}");
        assert!(!text.is_empty() && !text.contains("panicked"), "{what}: {text}");
        assert!(started.elapsed() < Duration::from_secs(10), "{what}");
    }
    let named = light().replaced("127.0.0.1:0", "localhost:0").start();
    assert_eq!(named.get("/healthz").status, 200);
}

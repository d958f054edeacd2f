//! Every command with a standard output or standard error that is closed or full.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use guerdon_testing::{JudgeReply, StandInJudge, wait_until_blocking};

use crate::help::commands;
use crate::model_init::exported;
use crate::workbench::PROMPT;
use crate::{REPOSITORY, command, folder, transcript, write};

const MODEL: &str = "crates/guerdon-model/tests/tiny-decoder";

/// Arguments of every command, and of the flags that change the form of the output. `MODEL` and
/// `RUNTIME` stand for paths.
const LINES: [&str; 63] = [
    "--help",
    "--version",
    "init fresh --template blank",
    "help",
    "help score",
    "serve --help",
    "score in.jsonl --local",
    "score in.jsonl --local --table",
    "score in.jsonl --local --out /dev/stdout",
    "view rewards.jsonl --bundle pages",
    "rules check rules.yaml",
    "rules check rules.yaml --json",
    "rules test rules.yaml",
    "rules test rules.yaml --format tap",
    "rules test rules.yaml --format junit",
    "rules try rules.yaml --text work",
    "rules try rules.yaml --text work --json",
    "rules diff rules.yaml other.yaml --on one.jsonl",
    "rules diff rules.yaml other.yaml --on one.jsonl --json",
    "rules diff rules.yaml other.yaml --on one.jsonl --fail-on rank",
    "rules label one.jsonl --packs rules.yaml",
    "rules eval rules.yaml --on one.jsonl",
    "rules eval rules.yaml --on one.jsonl --format json",
    "rules eval rules.yaml --on one.jsonl --format junit",
    "rules bench rules.yaml --on one.jsonl",
    "rules fmt rules.yaml",
    "rules new-from-badcase one.jsonl --phrase order",
    "rules lsp",
    "judge check kind.md",
    "judge check kind.md --json",
    "judge bump kind.md",
    "judge render kind.md --rollout one.jsonl",
    "judge try kind.md --rollout one.jsonl",
    "judge calibrate kind.md --gold gold.jsonl --repeats 0",
    "judge probe kind.md",
    "judge rescore made.store kind.md",
    "cache import new.store empty.jsonl",
    "cache stats made.store",
    "cache export made.store",
    "cache purge made.store --all",
    "ledger query l.sqlite",
    "ledger query l.sqlite --json",
    "ledger export l.sqlite",
    "ledger prune l.sqlite --run none",
    "ledger prune l.sqlite --max-bytes 1",
    "rescore l.sqlite --profile p",
    "rescore l.sqlite --profile p --json",
    "rm init exported --force --runtime RUNTIME",
    "rm info MODEL --runtime RUNTIME",
    "rm check MODEL --runtime RUNTIME",
    "rm bench MODEL --runtime RUNTIME --on one.jsonl --instances 1",
    "eval ratings.jsonl",
    "eval ratings.jsonl --json",
    "fit standardised --on values.jsonl",
    "fit running --on values.jsonl --json",
    "fit par --on one.jsonl --source rm",
    "plot normaliser \"raw\"",
    "plot fusion",
    "config check",
    "config show",
    "completions bash",
    "man",
    "openapi",
];

/// A folder with the input of every command.
fn inputs(judge: &str) -> tempfile::TempDir {
    let folder = folder();
    let config = std::fs::read_to_string(folder.path().join("guerdon.toml")).unwrap();
    let judge = format!(
        "judge = \"j\"\nprompts = [\"kind.md\"]\n[judges.j]\nurl = \"{judge}\"\nmodel = \"m\"\n"
    );
    exported(&folder.path().join("exported"));
    let one =
        "{\"messages\": [{\"role\": \"assistant\", \"content\": \"see the work order .\"}]}\n";
    let gold = one.replace("}]}", "}], \"labels\": {\"kind\": \"warm\"}}");
    let rules = std::fs::read_to_string(folder.path().join("rules.yaml")).unwrap();
    for (name, text) in [
        ("guerdon.toml", format!("{config}{judge}")),
        ("kind.md", PROMPT.to_owned()),
        ("other.yaml", rules.replace("-50", "-5")),
        ("one.jsonl", one.to_owned()),
        ("gold.jsonl", gold),
        ("empty.jsonl", String::new()),
        ("rewards.jsonl", "{\"id\": \"a\", \"reward\": 1.5, \"turns\": []}\n".to_owned()),
        ("values.jsonl", "{\"value\": 1}\n{\"value\": 2.5}\n".to_owned()),
        (
            "ratings.jsonl",
            "{\"measure\": \"outcome\", \"method\": \"a\", \"conversation\": \"1\", \
             \"outcome\": \"responded\", \"yes\": true}\n"
                .to_owned(),
        ),
    ] {
        write(folder.path(), name, &text);
    }
    let made = command(folder.path(), &["cache", "import", "made.store", "empty.jsonl"]).output();
    assert!(made.unwrap().status.success());
    crate::ledger::made(&folder.path().join("l.sqlite"), 20);
    folder
}

fn prepared(folder: &Path, line: &str) -> Command {
    let line = line
        .replace("MODEL", &format!("{REPOSITORY}/{MODEL}"))
        .replace("RUNTIME", &format!("{REPOSITORY}/.guerdon/onnxruntime"));
    command(folder, &line.split(' ').collect::<Vec<_>>())
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// A pipe whose reader has gone.
fn closed() -> Stdio {
    let (_, writer) = std::io::pipe().unwrap();
    writer.into()
}

fn check(output: &Output, line: &str) {
    let shown = transcript(output);
    assert!(!shown.contains("panicked"), "{line}: {shown}");
    // 101 is the exit status of a panic, and without a code a signal ended the process.
    assert!(output.status.code().is_some_and(|code| code != 101), "{line}: {shown}");
}

#[test]
fn no_command_panics_on_a_closed_or_full_output() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let judge = runtime.block_on(StandInJudge::start([JudgeReply::content("no verdict")]));
    let run = |line: &str, out: Stdio, err: Stdio| {
        let folder = inputs(judge.url());
        let output = prepared(folder.path(), line).stdout(out).stderr(err).output().unwrap();
        check(&output, line);
        output
    };
    for line in LINES {
        let usual = run(line, Stdio::piped(), Stdio::piped());
        let code = usual.status.code();

        let full_disk = run(line, full(), Stdio::piped());
        let words = transcript(&full_disk);
        if usual.stdout.is_empty() {
            assert_eq!(full_disk.status.code(), code, "{line}: {words}");
        } else {
            assert_eq!(full_disk.status.code(), Some(1), "{line}: {words}");
            assert!(
                words.contains("error: ") && words.contains("No space left"),
                "{line}: {words}"
            );
        }

        let no_reader = run(line, closed(), Stdio::piped());
        if !line.starts_with("score") {
            assert_eq!(no_reader.status.code(), code, "{line}: {}", transcript(&no_reader));
        }
        assert!(!transcript(&no_reader).contains("pipe"), "{line}: {}", transcript(&no_reader));

        for (out, err) in [(Stdio::piped(), full()), (Stdio::piped(), closed()), (full(), full())] {
            run(line, out, err);
        }
    }
}

#[test]
fn every_command_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    let listed = commands(folder.path(), &[]);
    assert!(listed.len() > 20, "{listed:?}");
    for words in listed {
        let words = words.join(" ");
        assert!(LINES.iter().any(|line| line.starts_with(&words)), "{words}");
    }
}

#[test]
fn server_runs_with_a_full_output_and_without_descriptors() {
    let folder = folder();
    for redirection in [">/dev/full 2>/dev/full", ">&- 2>&- <&-"] {
        let script = format!(
            "exec {} serve --listen 127.0.0.1:0 {redirection}",
            env!("CARGO_BIN_EXE_guerdon")
        );
        let mut child =
            Command::new("sh").args(["-c", &script]).current_dir(folder.path()).spawn().unwrap();
        let pid = child.id().to_string();
        let serves = || {
            let found = Command::new("sh")
                .args(["-c", &format!("grep -q '^SigCgt:.*[4-7c-f]...$' /proc/{pid}/status")])
                .status();
            found.unwrap().success()
        };
        // The handler of SIGTERM (bit 14) is installed before the models load.
        wait_until_blocking("the server handles SIGTERM", Duration::from_secs(30), serves);
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{redirection}");
    }
}

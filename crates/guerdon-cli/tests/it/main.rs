//! The binary `guerdon`, run as a process. Its output is compared with snapshots.
//!
//! | file | content |
//! |---|---|
//! | `documentation.rs` | the snippets of `docs/` |
//! | `help.rs` | the help of every command |
//! | `init.rs` | `init`: every template, with and without a model |
//! | `ledger.rs` | `ledger` |
//! | `ledger_rescore.rs` | `rescore` |
//! | `model_init.rs` | `rm init` |
//! | `offline.rs` | `score --in` |
//! | `outputs.rs` | every command with a closed or full output |
//! | `rescore.rs` | new points of a prompt on stored answers and results |
//! | `resume.rs` | interrupted runs of `score` |
//! | `score.rs` | `score` and `serve` |
//! | `score_advantages.rs` | `score --advantages` with every estimator |
//! | `score_files.rs` | inputs and outputs of `score` |
//! | `score_forms.rs` | rows of other forms, Parquet and pairs |
//! | `start.rs` | errors of `serve` that are reported before models load |
//! | `workbench.rs` | `rules`, `judge`, `rm` and `config` |
//! | `eval.rs` | `eval` |
//! | `fit.rs` | `fit` and `plot` |

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test writes and reads its own files")]

mod documentation;
mod eval;
mod fit;
mod help;
mod init;
mod ledger;
mod ledger_rescore;
mod model_init;
mod offline;
mod outputs;
mod rescore;
mod resume;
mod score;
mod score_advantages;
mod score_files;
mod score_forms;
mod start;
mod workbench;

use std::path::Path;
use std::process::{Command, Output};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

const ROLLOUTS: &str = r#"{"id": "good", "messages": [{"role": "user", "content": "480 ?"}, {"role": "assistant", "content": "420 ."}]}
{"id": "bad", "messages": [{"role": "robot", "content": "480 ?"}]}
{"id": "leak", "messages": [{"role": "assistant", "content": "see the work order ."}]}
"#;

const PACK: &str = r"
pack: words
about: Words that must not reach the partner.
version: 1
rules:
  - id: internal
    about: Internal words.
    points: -50
    match: { any_of: ['work order'] }
    examples: { hits: ['see the work order'], misses: ['see you'] }
";

/// A folder with a configuration of the tiny model and one pack.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[models.tiny]\npath = \"{REPOSITORY}/crates/guerdon-model/tests/tiny\"\n\
         runtime = \"{REPOSITORY}/.guerdon/onnxruntime\"\n[profiles.p]\nmodel = \"tiny\"\nrules = [\"rules.yaml\"]\n"
    );
    for (name, text) in
        [("guerdon.toml", config.as_str()), ("rules.yaml", PACK), ("in.jsonl", ROLLOUTS)]
    {
        write(folder.path(), name, text);
    }
    folder
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

/// `guerdon` with `arguments`, in `folder`.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guerdon"));
    command.args(arguments).current_dir(folder).env("COLUMNS", "100");
    for variable in
        ["GUERDON_CONFIG", "GUERDON_URL", "GUERDON_TOKEN", "GUERDON_PYTHON", "ORT_DYLIB_PATH"]
    {
        command.env_remove(variable);
    }
    command
}

fn guerdon(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Exit status, standard output and standard error in the form of a snapshot, without
/// machine-specific paths.
fn transcript(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code().map_or_else(|| "signal".to_owned(), |code| code.to_string());
    format!("exit status {code}\n--- stdout\n{}--- stderr\n{errors}", stdout(output))
        .replace(REPOSITORY, "REPOSITORY")
}

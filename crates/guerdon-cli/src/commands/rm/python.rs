//! The Python scripts of `guerdon rm init`: reference scores, and graphs in 8 bits.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use guerdon_model::Manifest;
use serde::Deserialize;
use serde_json::json;

use crate::cli::RmInitArgs;
use crate::part::replace;

/// The script that scores dialogues with transformers, its dialogues, and the script that rewrites a
/// graph in 8 bits.
const SCRIPTS: [(&str, &str); 5] = [
    ("framework.py", include_str!("../../../scripts/framework.py")),
    ("graph_scores.py", include_str!("../../../scripts/graph_scores.py")),
    (INT8_SCRIPT, include_str!("../../../scripts/onnx_int8.py")),
    ("dialogues.json", include_str!("../../../scripts/dialogues.json")),
    ("hotel_dialogues.json", include_str!("../../../scripts/hotel_dialogues.json")),
];

/// The script that rewrites a graph in 8 bits.
const INT8_SCRIPT: &str = "onnx_int8.py";

/// The result of the script.
#[derive(Deserialize)]
pub(super) struct FrameworkRun {
    /// The framework and the class.
    pub(super) by: String,
    pub(super) rows: usize,
    /// True if the rows have scores.
    pub(super) weights: bool,
}

/// Scores dialogues with transformers, and writes the rows to `out`.
pub(super) fn run_framework(
    python: &Path,
    args: &RmInitArgs,
    manifest: &Manifest,
    scratch: &Path,
    out: &Path,
) -> anyhow::Result<FrameworkRun> {
    for (name, text) in SCRIPTS {
        replace(&scratch.join(name), |file| Ok(file.write_all(text.as_bytes())?))?;
    }
    let input = &manifest.input;
    let settings = json!({
        "format": input.format,
        "prefix": input.prefix,
        "separator": input.separator,
        "max_tokens": input.max_tokens,
        "output": manifest.output,
    });
    let file = scratch.join("settings.json");
    replace(&file, |to| Ok(serde_json::to_writer(to, &settings)?))?;
    let checkpoint: PathBuf = args.checkpoint.clone().unwrap_or_else(|| args.folder.clone());
    let mut command = Command::new(python);
    command
        .arg(scratch.join(SCRIPTS[0].0))
        .arg("--checkpoint")
        .arg(&checkpoint)
        .arg("--settings")
        .arg(&file)
        .arg("--out")
        .arg(out)
        .args(args.trust_remote_code.then_some("--trust-remote-code"))
        // Only local folders are read.
        .env("HF_HUB_OFFLINE", "1")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("cannot run {}", python.display()))?;
    if !output.status.success() {
        bail!(
            "{} could not score {} with transformers ({}); it needs the packages torch and \
             transformers. Without `--python` the model is not compared",
            python.display(),
            checkpoint.display(),
            output.status
        );
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).context("the script did not report its result")
}

/// Rewrites the graph `from` in 8 bits as `to`. `written` has the reference scores; the scripts are
/// in `scratch` already.
pub(super) fn run_int8(
    python: &Path,
    manifest: &Manifest,
    (from, to): (&Path, &Path),
    (scratch, written): (&Path, &Path),
    pad: Option<u32>,
) -> anyhow::Result<()> {
    let settings = json!({
        "output": manifest.output,
        "pad": pad,
        "first_position": manifest.input.first_position,
    });
    let file = scratch.join("int8.json");
    replace(&file, |to| Ok(serde_json::to_writer(to, &settings)?))?;
    let mut command = Command::new(python);
    command
        .arg(scratch.join(INT8_SCRIPT))
        .arg("--graph")
        .arg(from)
        .arg("--reference")
        .arg(written)
        .arg("--settings")
        .arg(&file)
        .arg("--to")
        .arg(to)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    let status = command.status().with_context(|| format!("cannot run {}", python.display()))?;
    if !status.success() {
        bail!(
            "{} could not write {} in 8 bits ({status}); it needs the packages onnx and onnxruntime",
            python.display(),
            from.display()
        );
    }
    Ok(())
}

//! `guerdon rm init`: writes the manifest of a folder that another tool exported.
//!
//! The manifest is written last, after the model was loaded with it: a folder never has a manifest
//! that does not load.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use guerdon_model::{
    Device, DraftOptions, MANIFEST, Manifest, ManifestDraft, Model, ModelConfig, REFERENCE,
    ReferenceTolerance,
};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::super::setup::read;
use super::rows::{rows, scores_of};
use crate::cli::RmInitArgs;
use crate::output::outln;
use crate::part::replace;

/// The script that scores dialogues with transformers, and its dialogues.
const SCRIPT: [(&str, &str); 3] = [
    ("framework.py", include_str!("../../../../../examples/reward-model/framework.py")),
    ("dialogues.json", include_str!("../../../../../examples/reward-model/dialogues.json")),
    (
        "hotel_dialogues.json",
        include_str!("../../../../../examples/reward-model/hotel_dialogues.json"),
    ),
];

const TEMPLATE: &str = "chat_template.jinja";

/// The largest difference of a graph in 32 bits from transformers, in standard deviations.
const FP32_TOLERANCE: f64 = 1e-3;

/// The largest difference of a graph with narrower weights.
const STORED_TOLERANCE: f64 = 0.5;

pub(super) fn run(args: &RmInitArgs) -> anyhow::Result<ExitCode> {
    let path = args.folder.join(MANIFEST);
    ensure!(
        args.force || !path.exists(),
        "{} exists; `--force` replaces it, and `guerdon rm check {}` checks it",
        path.display(),
        args.folder.display()
    );
    let mut options = DraftOptions::default();
    options.graph.clone_from(&args.graph);
    (options.max_tokens, options.label) = (args.max_tokens, args.label);
    options.pair = args.pair;
    let draft = ManifestDraft::of(&args.folder, &options)?;
    for note in &draft.notes {
        let mark = if note.is_guess { "guess" } else { "     " };
        outln!("{mark}  {} = {}  ({})", note.key, note.value, note.reason)?;
    }
    let template = args.folder.join(TEMPLATE);
    if let Some(text) = &draft.chat_template {
        replace(&template, |file| Ok(file.write_all(text.as_bytes())?))?;
    }
    let finished = finish(args, &draft);
    if finished.is_err() && draft.chat_template.is_some() {
        std::fs::remove_file(&template)
            .with_context(|| format!("cannot remove {}", template.display()))?;
    }
    let section = finished?;
    replace(&path, |file| Ok(file.write_all(format!("{}{section}", draft.text).as_bytes())?))?;
    outln!("wrote {}", path.display())?;
    outln!(
        "The scores are not calibrated: set calibration = {{ kind = \"raw\" }} in the profile, or add \
         [calibration] with `mean` and `std` of scores on your own dialogues"
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Compares the model with transformers, if a Python is given, and loads it with the draft. Returns
/// the manifest's section about the reference.
fn finish(args: &RmInitArgs, draft: &ManifestDraft) -> anyhow::Result<String> {
    let manifest = Manifest::parse(&draft.text).map_err(anyhow::Error::msg)?;
    let config = ModelConfig {
        runtime: args.runtime.clone(),
        instances: Some(1),
        cache: 0,
        ..ModelConfig::new(&args.folder)
    };
    let load = |manifest| Model::load_with(&config, manifest, Arc::new(|_| {}));
    let Some(python) = &args.python else {
        load(manifest)?.shutdown();
        outln!("ok     the model loads; texts score the same alone and padded")?;
        outln!(
            "--     not compared with transformers; `--python` names a Python that has it, and writes \
             {REFERENCE}"
        )?;
        return Ok(String::new());
    };
    let reference = args.folder.join(REFERENCE);
    ensure!(
        args.force || !reference.exists(),
        "{} exists; `--force` replaces it",
        reference.display()
    );
    let scratch = tempfile::tempdir().context("cannot create a temporary folder")?;
    let written = scratch.path().join(REFERENCE);
    let framework = run_framework(python, args, &manifest, scratch.path(), &written)?;
    let text = read(&written)?;
    let section = |error: Option<(f64, f64)>| {
        let hash: String = Sha256::digest(&text).iter().fold(String::new(), |mut hash, byte| {
            let _ = write!(hash, "{byte:02x}");
            hash
        });
        let mut section = format!(
            "\n[reference]\nsha256 = \"{hash}\"\nby = {}\nstorage = \"{}\"\n",
            toml::Value::String(framework.by.clone()),
            draft.storage
        );
        if let Some((error, rms)) = error {
            let _ = writeln!(section, "error = {error:.3e}\nrms = {rms:.3e}");
        }
        section
    };
    // The load replays the file from its temporary place. The tolerance is checked below.
    let file = toml::Value::String(written.display().to_string());
    let trial = format!("{}\n[reference]\nfile = {file}\nerror = 1e6\n", draft.text);
    let model = load(Manifest::parse(&trial).map_err(anyhow::Error::msg)?)?;
    outln!("ok     {} dialogues have the token ids of {}", framework.rows, framework.by)?;
    let error = if framework.weights { Some(difference(&model, &written, draft)?) } else { None };
    model.shutdown();
    if error.is_none() {
        outln!(
            "--     scores are not compared, since the folder has no weights (model.safetensors); \
             `--checkpoint` names the folder that has"
        )?;
    }
    replace(&reference, |file| Ok(file.write_all(text.as_bytes())?))?;
    Ok(section(error))
}

/// The result of the script.
#[derive(Deserialize)]
struct FrameworkRun {
    /// The framework and the class.
    by: String,
    rows: usize,
    /// True if the rows have scores.
    weights: bool,
}

fn run_framework(
    python: &Path,
    args: &RmInitArgs,
    manifest: &Manifest,
    scratch: &Path,
    out: &Path,
) -> anyhow::Result<FrameworkRun> {
    for (name, text) in SCRIPT {
        replace(&scratch.join(name), |file| Ok(file.write_all(text.as_bytes())?))?;
    }
    let input = &manifest.input;
    let settings = json!({
        "format": input.format,
        "prefix": input.prefix,
        "separator": input.separator,
        "max_tokens": input.max_tokens,
        "index": manifest.output.index.unwrap_or(0),
    });
    let file = scratch.join("settings.json");
    replace(&file, |to| Ok(serde_json::to_writer(to, &settings)?))?;
    let checkpoint: PathBuf = args.checkpoint.clone().unwrap_or_else(|| args.folder.clone());
    let mut command = Command::new(python);
    command
        .arg(scratch.join(SCRIPT[0].0))
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

/// The largest and the root mean square difference from transformers, in standard deviations.
/// Fails if it is too large for the graph's storage.
fn difference(model: &Model, written: &Path, draft: &ManifestDraft) -> anyhow::Result<(f64, f64)> {
    let rows = rows(written)?;
    let scores = scores_of(model, &rows)?;
    let pairs: Vec<(f64, f64)> = rows
        .iter()
        .zip(&scores)
        .filter_map(|(row, score)| Some((f64::from(row.expected?), f64::from(*score))))
        .collect();
    ensure!(!pairs.is_empty(), "transformers scored no dialogue");
    let expected: Vec<f64> = pairs.iter().map(|(expected, _)| *expected).collect();
    let deviation = ReferenceTolerance::new(None, &expected, Device::Cpu).deviation;
    let errors = pairs.iter().map(|(expected, score)| (expected - score).abs() / deviation);
    let worst = errors.clone().fold(0.0, f64::max);
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 dialogues")]
    let rms = (errors.map(|error| error.powi(2)).sum::<f64>() / pairs.len() as f64).sqrt();
    let allowed = if draft.storage == "fp32" { FP32_TOLERANCE } else { STORED_TOLERANCE };
    ensure!(
        worst <= allowed,
        "the graph ({}) scores a dialogue {worst:.2e} standard deviations away from transformers, more \
         than {allowed}; nothing was written. The graph, its output or its padding is not the model's: \
         export it again",
        draft.storage
    );
    outln!(
        "ok     {} scores of the graph ({}): at most {worst:.2e} standard deviations from transformers",
        pairs.len(),
        draft.storage
    )?;
    Ok((worst, rms))
}

//! `guerdon rm init`: writes the manifest of a folder that another tool exported.
//!
//! The manifest is written last, after the model was loaded with it: a folder never has a manifest
//! that does not load.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use guerdon_model::{
    Device, DraftOptions, MANIFEST, Manifest, ManifestDraft, Model, ModelConfig, Precision,
    REFERENCE, ReferenceTolerance,
};
use sha2::{Digest as _, Sha256};

use super::super::setup::read;
use super::python::{FrameworkRun, run_framework, run_int8};
use super::rows::{rows, scores_of};
use crate::cli::{GraphPrecision, RmInitArgs};
use crate::output::outln;
use crate::part::replace;

/// The storage of a graph that computes in 8 bits, in its manifest.
const INT8_STORAGE: &str = "int8 arithmetic";

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
    (options.max_tokens, options.label) = (args.max_tokens, args.label.clone());
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
    let text = finished?;
    replace(&path, |file| Ok(file.write_all(text.as_bytes())?))?;
    outln!("wrote {}", path.display())?;
    outln!(
        "The scores are not calibrated: set calibration = {{ kind = \"raw\" }} in the profile, or add \
         [calibration] with `mean` and `std` of scores on your own dialogues"
    )?;
    Ok(ExitCode::SUCCESS)
}

/// The measured difference of a graph from the framework.
#[derive(Debug, Clone, Copy)]
struct GraphError {
    /// The largest difference in standard deviations.
    worst: f64,
    /// The root mean square.
    rms: f64,
}

/// Compares the model with transformers, if a Python is given, and loads it with the draft. Returns
/// the manifest's text.
fn finish(args: &RmInitArgs, draft: &ManifestDraft) -> anyhow::Result<String> {
    let manifest = Manifest::parse(&draft.text).map_err(anyhow::Error::msg)?;
    let Some(python) = &args.python else {
        load(args, manifest)?.shutdown();
        outln!("ok     the model loads; texts score the same alone and padded")?;
        outln!(
            "--     not compared with transformers; `--python` names a Python that has it, and writes \
             {REFERENCE}"
        )?;
        return Ok(draft.text.clone());
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
    let model = trial(args, &draft.text, &written)?;
    outln!("ok     {} dialogues have the token ids of {}", framework.rows, framework.by)?;
    let error = match framework.weights {
        true => Some(difference(&model, &written, draft.storage)?),
        false => {
            outln!(
                "--     scores are not compared, since the folder has no weights \
                 (model.safetensors); `--checkpoint` names the folder that has"
            )?;
            None
        }
    };
    let pad = model.pad_id();
    model.shutdown();
    let text = match args.precision {
        GraphPrecision::Fp32 => {
            format!("{}{}", draft.text, section(&written, &framework, draft.storage, error)?)
        }
        GraphPrecision::Int8 => {
            ensure!(
                error.is_some(),
                "`--precision int8` needs the model's weights, with which its error is measured; \
                 `--checkpoint` names the folder that has them"
            );
            let (draft, error) =
                in_8_bits(args, python, manifest, (scratch.path(), &written), pad)?;
            format!("{draft}{}", section(&written, &framework, INT8_STORAGE, Some(error))?)
        }
    };
    let rows = read(&written)?;
    replace(&reference, |file| Ok(file.write_all(rows.as_bytes())?))?;
    Ok(text)
}

fn load(args: &RmInitArgs, manifest: Manifest) -> anyhow::Result<Arc<Model>> {
    let config = ModelConfig {
        runtime: args.runtime.clone(),
        instances: Some(1),
        cache: 0,
        ..ModelConfig::new(&args.folder)
    };
    Ok(Model::load_with(&config, manifest, Arc::new(|_| {}))?)
}

/// The model with a manifest that names the reference scores at their temporary place, which the
/// load replays. Their tolerance is checked later.
fn trial(args: &RmInitArgs, text: &str, written: &Path) -> anyhow::Result<Arc<Model>> {
    let file = toml::Value::String(written.display().to_string());
    let trial = format!("{text}\n[reference]\nfile = {file}\nerror = 1e6\n");
    load(args, Manifest::parse(&trial).map_err(anyhow::Error::msg)?)
}

/// Writes the graph in 8 bits beside the given one. Returns the draft for it, and its error.
fn in_8_bits(
    args: &RmInitArgs,
    python: &Path,
    mut manifest: Manifest,
    (scratch, written): (&Path, &Path),
    pad: Option<u32>,
) -> anyhow::Result<(String, GraphError)> {
    let given = manifest.files.model.clone();
    let name = format!("{}.int8.onnx", given.file_stem().unwrap_or_default().to_string_lossy());
    manifest.files.model = given.with_file_name(name);
    let file = args.folder.join(&manifest.files.model);
    ensure!(args.force || !file.exists(), "{} exists; `--force` replaces it", file.display());
    let made = scratch.join("int8.onnx");
    let from = args.folder.join(&given);
    run_int8(python, &manifest, (&from, &made), (scratch, written), pad)?;
    #[expect(clippy::disallowed_methods, reason = "a command reads the file that it made")]
    let bytes = std::fs::read(&made).with_context(|| format!("cannot read {}", made.display()))?;
    replace(&file, |to| Ok(to.write_all(&bytes)?))?;
    manifest.files.model_sha256 = sha256(&bytes).try_into().map_err(anyhow::Error::msg)?;
    (manifest.files.model_data, manifest.files.model_data_sha256) = (Vec::new(), Vec::new());
    manifest.precision = Some(Precision::Int8);
    let text = format!("# Written by `guerdon rm init`.\n{}", toml::to_string(&manifest)?);
    let measured = trial(args, &text, written).and_then(|model| {
        let error = difference(&model, written, INT8_STORAGE);
        model.shutdown();
        error
    });
    match measured {
        Ok(error) => Ok((text, error)),
        Err(error) => {
            std::fs::remove_file(&file)
                .with_context(|| format!("cannot remove {}", file.display()))?;
            Err(error)
        }
    }
}

/// The manifest's section about the reference scores in `written`.
fn section(
    written: &Path,
    framework: &FrameworkRun,
    storage: &str,
    error: Option<GraphError>,
) -> anyhow::Result<String> {
    let mut section = format!(
        "\n[reference]\nsha256 = \"{}\"\nby = {}\nstorage = \"{storage}\"\n",
        sha256(read(written)?.as_bytes()),
        toml::Value::String(framework.by.clone()),
    );
    if let Some(GraphError { worst, rms }) = error {
        let _ = writeln!(section, "error = {worst:.3e}\nrms = {rms:.3e}");
    }
    Ok(section)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hash, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hash, "{byte:02x}");
        hash
    })
}

/// The largest and the root mean square difference from transformers, in standard deviations.
/// Fails if it is too large for the graph's storage.
fn difference(model: &Model, written: &Path, storage: &str) -> anyhow::Result<GraphError> {
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
    let allowed = if storage == "fp32" { FP32_TOLERANCE } else { STORED_TOLERANCE };
    ensure!(
        worst <= allowed,
        "the graph ({storage}) scores a dialogue {worst:.2e} standard deviations away from transformers, more \
         than {allowed}; nothing was written. The graph, its output or its padding is not the model's: \
         export it again"
    );
    outln!(
        "ok     {} scores of the graph ({storage}): at most {worst:.2e} standard deviations from \
         transformers",
        pairs.len()
    )?;
    Ok(GraphError { worst, rms })
}

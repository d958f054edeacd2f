//! The files of a run, and resuming from them.
//!
//! ```text
//! run/settings.json                 the settings of the run
//! run/tokenizer.json
//! run/reference/policy.safetensors  the reference policy of the KL, with its sizes in policy.json
//! run/checkpoints/000020/           policy and optimizer after update 20
//! run/state.json                    the latest complete checkpoint; written last
//! run/metrics.jsonl, run/curves.svg
//! ```

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::policy::{Adam, AdamConfig, DecoderConfig, Gguf, Policy, Trunk, WeightSet};
use crate::tokens::DialogueTokenizer;
use crate::{files, metrics};

/// A policy with its vocabulary.
#[derive(Debug, Clone)]
pub struct Base {
    /// The tokenizer.
    pub tokens: DialogueTokenizer,
    /// Sizes.
    pub config: DecoderConfig,
    /// The trained parameters.
    pub weights: WeightSet,
    /// The GGUF file of the frozen parameters, if there is one.
    pub gguf: Option<PathBuf>,
    /// The frozen parameters.
    pub trunk: Trunk,
}

#[derive(Serialize, Deserialize)]
struct Sizes {
    config: DecoderConfig,
    gguf: Option<PathBuf>,
}

impl Base {
    /// Creates low-rank corrections for a frozen model.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn adopt(file: &Path, rank: usize, seed: u64) -> anyhow::Result<Self> {
        let Gguf { config, tensors, vocabulary, merges } = Gguf::read(file, 512)?;
        let weights = config.adapt(rank, &mut StdRng::seed_from_u64(seed))?;
        let file =
            file.canonicalize().with_context(|| format!("cannot find {}", file.display()))?;
        Ok(Self {
            tokens: DialogueTokenizer::chat(&vocabulary, &merges)?,
            config,
            weights,
            gguf: Some(file),
            trunk: tensors,
        })
    }

    /// Reads a folder written by `train sft`, `train adopt` or [`Base::save`].
    ///
    /// # Errors
    /// A file that is missing or cannot be read.
    pub fn load(folder: &Path) -> anyhow::Result<Self> {
        let load = || {
            let Sizes { config, gguf } = from_json(&folder.join("policy.json"))?;
            anyhow::Ok(Self {
                tokens: DialogueTokenizer::load(&folder.join("tokenizer.json"))?,
                weights: WeightSet::load(&folder.join("policy.safetensors"))?,
                trunk: match &gguf {
                    Some(file) => Gguf::read(file, 0)?.tensors,
                    None => Trunk::new(),
                },
                config,
                gguf,
            })
        };
        load().with_context(|| {
            format!("{} holds no policy; make one with `train sft`", folder.display())
        })
    }

    /// Writes a folder. A GGUF file is not copied.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, folder: &Path) -> anyhow::Result<()> {
        files::create_folder(folder)?;
        self.tokens.save(&folder.join("tokenizer.json"))?;
        to_json(
            &folder.join("policy.json"),
            &Sizes { config: self.config, gguf: self.gguf.clone() },
        )?;
        self.weights.save(&folder.join("policy.safetensors"))
    }

    /// Builds the policy.
    ///
    /// # Errors
    /// A missing weight.
    pub fn policy(&self) -> anyhow::Result<Policy> {
        Policy::new(self.config, &self.weights, &self.trunk)
    }
}

/// The latest complete checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointState {
    /// Updates made.
    pub update: usize,
    /// Steps made by the optimizer of the weights.
    pub steps: u32,
}

/// The folder of a run.
#[derive(Debug, Clone)]
pub struct RunFolder(pub PathBuf);

impl RunFolder {
    /// The latest complete checkpoint; none before the first.
    ///
    /// # Errors
    /// A `state.json` that cannot be read.
    pub fn state(&self) -> anyhow::Result<Option<CheckpointState>> {
        let file = self.0.join("state.json");
        if file.exists() { from_json(&file).map(Some) } else { Ok(None) }
    }

    /// Writes a checkpoint, then `state.json`, and removes the previous checkpoint.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, update: usize, weights: &WeightSet, adam: &Adam) -> anyhow::Result<()> {
        let before = self.state()?;
        let folder = self.checkpoint(update);
        files::create_folder(&folder)?;
        let (moments, steps) = adam.memory();
        weights.save(&folder.join("policy.safetensors"))?;
        moments.save(&folder.join("adam.safetensors"))?;
        to_json(&self.0.join("state.json"), &CheckpointState { update, steps })?;
        match before {
            Some(state) if state.update != update => {
                files::remove_folder(&self.checkpoint(state.update))
            }
            _ => Ok(()),
        }
    }

    /// Reads the weights of a checkpoint.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn weights(&self, state: CheckpointState) -> anyhow::Result<WeightSet> {
        WeightSet::load(&self.checkpoint(state.update).join("policy.safetensors"))
    }

    /// Reads the optimizer of a checkpoint.
    ///
    /// # Errors
    /// A file that cannot be read or does not fit the weights.
    pub fn adam(
        &self,
        state: CheckpointState,
        config: AdamConfig,
        weights: &WeightSet,
    ) -> anyhow::Result<Adam> {
        let moments = WeightSet::load(&self.checkpoint(state.update).join("adam.safetensors"))?;
        Adam::resume(config, weights, state.steps, moments)
    }

    /// Reads the rows up to the latest checkpoint; later ones are computed again.
    ///
    /// # Errors
    /// A `metrics.jsonl` that cannot be read.
    pub fn rows(&self) -> anyhow::Result<Vec<metrics::MetricsRow>> {
        let mut rows = metrics::load(&self.metrics())?;
        let update = self.state()?.map_or(0, |state| state.update);
        rows.retain(|row| row.update <= update);
        Ok(rows)
    }

    /// Refuses to resume a run with other settings.
    ///
    /// # Errors
    /// Settings that differ from those of the run; a `settings.json` that cannot be read.
    pub fn check<S: DeserializeOwned + PartialEq + Debug>(
        &self,
        settings: &S,
    ) -> anyhow::Result<()> {
        let before: S = from_json(&self.settings())?;
        ensure!(
            before == *settings,
            "{} has a run with other settings, use another --out: {before:?}",
            self.0.display()
        );
        Ok(())
    }

    /// The path of `settings.json`.
    #[must_use]
    pub fn settings(&self) -> PathBuf {
        self.0.join("settings.json")
    }

    /// The path of `metrics.jsonl`.
    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.0.join("metrics.jsonl")
    }

    fn checkpoint(&self, update: usize) -> PathBuf {
        self.0.join(format!("checkpoints/{update:06}"))
    }
}

/// Reads a JSON file.
///
/// # Errors
/// A file that cannot be read or parsed.
pub fn from_json<T: DeserializeOwned>(file: &Path) -> anyhow::Result<T> {
    serde_json::from_str(&files::read(file)?)
        .with_context(|| format!("{} has unexpected contents", file.display()))
}

/// Writes a JSON file.
///
/// # Errors
/// A file that cannot be written.
pub fn to_json(file: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    files::write(file, serde_json::to_string_pretty(value)?.as_bytes())
}

//! What a run leaves on disk, and how it is taken up again.
//!
//! ```text
//! run/settings.json                 what the run was asked for
//! run/tokenizer.json
//! run/reference/policy.safetensors  the policy that KL is measured from, with its sizes in policy.json
//! run/checkpoints/000020/           policy and optimizer after update 20
//! run/state.json                    which checkpoint is whole; written last
//! run/metrics.jsonl, run/curves.svg
//! ```

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::policy::{Adam, AdamConfig, Gguf, Policy, PolicyConfig, Trunk, Weights};
use crate::tokens::Tokens;
use crate::{files, metrics};

/// A policy with its vocabulary.
#[derive(Debug, Clone)]
pub struct Base {
    /// Text to tokens and back.
    pub tokens: Tokens,
    /// Sizes.
    pub config: PolicyConfig,
    /// Parameters that are trained.
    pub weights: Weights,
    /// The GGUF file of those that are not, if there is one.
    pub gguf: Option<PathBuf>,
    /// Those.
    pub trunk: Trunk,
}

#[derive(Serialize, Deserialize)]
struct Sizes {
    config: PolicyConfig,
    gguf: Option<PathBuf>,
}

impl Base {
    /// Low-rank corrections of a model that is held still.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn adopt(file: &Path, rank: usize, seed: u64) -> anyhow::Result<Self> {
        let Gguf { config, tensors, vocabulary, merges } = Gguf::read(file, 512)?;
        let weights = config.adapt(rank, &mut StdRng::seed_from_u64(seed))?;
        let file =
            file.canonicalize().with_context(|| format!("cannot find {}", file.display()))?;
        Ok(Self {
            tokens: Tokens::chat(&vocabulary, &merges)?,
            config,
            weights,
            gguf: Some(file),
            trunk: tensors,
        })
    }

    /// Reads a folder that `train sft`, `train adopt` or [`Base::save`] wrote.
    ///
    /// # Errors
    /// The file that is missing or cannot be read.
    pub fn load(folder: &Path) -> anyhow::Result<Self> {
        let load = || {
            let Sizes { config, gguf } = from_json(&folder.join("policy.json"))?;
            anyhow::Ok(Self {
                tokens: Tokens::load(&folder.join("tokenizer.json"))?,
                weights: Weights::load(&folder.join("policy.safetensors"))?,
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

    /// Writes a folder. A GGUF file stays where it is.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, folder: &Path) -> anyhow::Result<()> {
        files::folder(folder)?;
        self.tokens.save(&folder.join("tokenizer.json"))?;
        to_json(
            &folder.join("policy.json"),
            &Sizes { config: self.config, gguf: self.gguf.clone() },
        )?;
        self.weights.save(&folder.join("policy.safetensors"))
    }

    /// The policy.
    ///
    /// # Errors
    /// A weight that is missing.
    pub fn policy(&self) -> anyhow::Result<Policy> {
        Policy::new(self.config, &self.weights, &self.trunk)
    }
}

/// Which checkpoint is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Updates that were made.
    pub update: usize,
    /// Steps that the optimizer made.
    pub steps: u32,
}

/// The folder of a run.
#[derive(Debug, Clone)]
pub struct Run(pub PathBuf);

impl Run {
    /// Where it stands; none before its first checkpoint.
    ///
    /// # Errors
    /// A `state.json` that cannot be read.
    pub fn state(&self) -> anyhow::Result<Option<State>> {
        let file = self.0.join("state.json");
        if file.exists() { from_json(&file).map(Some) } else { Ok(None) }
    }

    /// Writes a checkpoint, and only then says so; the one before it goes.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, update: usize, weights: &Weights, adam: &Adam) -> anyhow::Result<()> {
        let before = self.state()?;
        let folder = self.checkpoint(update);
        files::folder(&folder)?;
        let (moments, steps) = adam.memory();
        weights.save(&folder.join("policy.safetensors"))?;
        moments.save(&folder.join("adam.safetensors"))?;
        to_json(&self.0.join("state.json"), &State { update, steps })?;
        match before {
            Some(state) if state.update != update => files::remove(&self.checkpoint(state.update)),
            _ => Ok(()),
        }
    }

    /// The weights of a checkpoint.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn weights(&self, state: State) -> anyhow::Result<Weights> {
        Weights::load(&self.checkpoint(state.update).join("policy.safetensors"))
    }

    /// The optimizer of a checkpoint.
    ///
    /// # Errors
    /// A file that cannot be read, or that does not fit the weights.
    pub fn adam(
        &self,
        state: State,
        config: AdamConfig,
        weights: &Weights,
    ) -> anyhow::Result<Adam> {
        let moments = Weights::load(&self.checkpoint(state.update).join("adam.safetensors"))?;
        Adam::resume(config, weights, state.steps, moments)
    }

    /// The rows up to where it stands: what came after the checkpoint is made again.
    ///
    /// # Errors
    /// A `metrics.jsonl` that cannot be read.
    pub fn rows(&self) -> anyhow::Result<Vec<metrics::Row>> {
        let mut rows = metrics::load(&self.metrics())?;
        let update = self.state()?.map_or(0, |state| state.update);
        rows.retain(|row| row.update <= update);
        Ok(rows)
    }

    /// Refuses to go on with other settings than the folder was begun with.
    ///
    /// # Errors
    /// Those it was begun with; a `settings.json` that cannot be read.
    pub fn check<S: DeserializeOwned + PartialEq + Debug>(
        &self,
        settings: &S,
    ) -> anyhow::Result<()> {
        let before: S = from_json(&self.settings())?;
        ensure!(
            before == *settings,
            "{} was begun with other settings, so take another --out: {before:?}",
            self.0.display()
        );
        Ok(())
    }

    /// `settings.json`.
    #[must_use]
    pub fn settings(&self) -> PathBuf {
        self.0.join("settings.json")
    }

    /// `metrics.jsonl`.
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
/// The path, and what is wrong with it.
pub fn from_json<T: DeserializeOwned>(file: &Path) -> anyhow::Result<T> {
    serde_json::from_str(&files::read(file)?)
        .with_context(|| format!("{} is not what it should be", file.display()))
}

/// Writes a JSON file.
///
/// # Errors
/// A file that cannot be written.
pub fn to_json(file: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    files::write(file, serde_json::to_string_pretty(value)?.as_bytes())
}

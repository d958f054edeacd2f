//! From configuration to profiles: the only list of source kinds. A new kind of source is its crate and one line in
//! [`Loader::profile`].

mod judges;
mod models;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use guerdon_fusion::{RewardSource, Scorer};
use guerdon_judge::{Endpoint, PromptText, Prompts};
use guerdon_model::{Model, RmSource};
use guerdon_rules::{RulePacks, RulesSource, SourceText};
use guerdon_types::ProfileName;
use tokio_util::task::TaskTracker;

use crate::auth::Auth;
use crate::config::{Config, ConfigSource, ProfileConfig};
use crate::error::LoadError;
use crate::metrics::Metrics;
use crate::observed::Observed;
use crate::snapshot::{Profile, Snapshot};
use crate::texts::{PACKS, PROMPTS, texts};

/// Builds snapshots, and keeps what must outlive them: loaded models, and endpoints with their caches.
#[derive(Debug)]
pub(crate) struct Loader {
    source: ConfigSource,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    kept: Mutex<Kept>,
}

/// Keyed by everything that made them, so that a changed configuration makes a new one.
#[derive(Debug, Default)]
struct Kept {
    models: BTreeMap<String, Arc<Model>>,
    endpoints: BTreeMap<String, Arc<Endpoint>>,
}

/// What one load gathers on its way.
struct Gathered {
    files: Vec<PathBuf>,
    kept: Kept,
}

impl Loader {
    pub(crate) fn new(source: ConfigSource, metrics: Arc<Metrics>, tasks: TaskTracker) -> Self {
        Self { source, metrics, tasks, kept: Mutex::default() }
    }

    /// Reads everything and builds the snapshot of `generation`. Blocks; nothing changes if it fails. `attempted` gets
    /// every file that was read or tried, so that a broken one can be watched until it is mended.
    pub(crate) fn load(
        &self,
        generation: u64,
        attempted: &mut Vec<PathBuf>,
    ) -> Result<Snapshot, LoadError> {
        let mut gathered =
            Gathered { files: self.source.file.iter().cloned().collect(), kept: Kept::default() };
        let live = self.gather(generation, &mut gathered);
        attempted.extend(gathered.files);
        let live = live?;
        // Only now that nothing can fail any more: what the new snapshot does not use goes with the old one's last
        // request.
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = gathered.kept;
        Ok(live)
    }

    fn gather(&self, generation: u64, gathered: &mut Gathered) -> Result<Snapshot, LoadError> {
        let config = self.source.load()?;
        let root = self.source.root();
        gathered.files.extend(
            config.auth.tokens.iter().filter_map(|token| Some(root.join(token.file.as_ref()?))),
        );
        let auth = Auth::load(&config.auth, &root, self.source.environment.as_ref())?;
        // Before models are loaded, which takes long.
        let default_profile = config.default_profile().ok_or(LoadError::NoDefaultProfile)?;
        if !config.profiles.contains_key(default_profile) {
            return Err(LoadError::unknown(
                "default_profile",
                default_profile,
                "profiles",
                config.profiles.keys(),
            ));
        }
        let default_profile = ProfileName::from(default_profile);
        let mut profiles = BTreeMap::new();
        for (name, profile) in &config.profiles {
            profiles.insert(name.clone(), self.profile(name, profile, &config, &root, gathered)?);
        }
        let files = gathered.files.clone();
        Ok(Snapshot { generation, config, default_profile, profiles, auth, files })
    }

    /// Stops the device threads, once nothing asks any more.
    pub(crate) fn shutdown(&self) {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        for model in kept.models.values() {
            model.shutdown();
        }
    }

    fn profile(
        &self,
        name: &str,
        profile: &ProfileConfig,
        config: &Config,
        root: &Path,
        gathered: &mut Gathered,
    ) -> Result<Profile, LoadError> {
        let invalid = |detail: String| LoadError::Profile { profile: name.to_owned(), detail };
        profile.fusion.check().map_err(|error| invalid(format!("fusion: {error}")))?;
        let mut sources: Vec<Arc<dyn RewardSource>> = Vec::new();
        if let Some(model) = &profile.model {
            let model = self.model(model, config, root, gathered)?;
            let measured = model.manifest().calibration.as_ref().map(|c| (c.mean, c.std));
            let calibration = profile.calibration.resolve(measured).map_err(|key| {
                invalid(format!("`{key}` is stated neither here nor in the model's manifest; state it, or set calibration = {{ kind = \"raw\" }}"))
            })?;
            calibration.check().map_err(|error| invalid(error.to_string()))?;
            sources.push(Arc::new(RmSource::new(model, calibration)));
        }
        // Prompts are compiled even when no judge is configured, so that a broken one is found before it is needed.
        let prompts =
            compile_prompts(&texts(root, &profile.prompts, &PROMPTS, &mut gathered.files)?)?;
        let judge = self.judge(name, profile, prompts, config, root, gathered)?;
        if let Some(judge) = &judge {
            sources.push(Arc::clone(judge) as Arc<dyn RewardSource>);
        }
        let packs = match compile_packs(&texts(root, &profile.rules, &PACKS, &mut gathered.files)?)?
        {
            packs if profile.rules.is_empty() => {
                drop(packs);
                None
            }
            packs => Some(Arc::new(packs)),
        };
        if let Some(packs) = &packs {
            sources.push(Arc::new(RulesSource::new(Arc::clone(packs))));
        }
        let watched = |source| {
            Arc::new(Observed::new(source, Arc::clone(&self.metrics))) as Arc<dyn RewardSource>
        };
        let scorer =
            Scorer::new(sources.into_iter().map(watched).collect(), profile.fusion.clone());
        scorer.check().map_err(|error| {
            invalid(format!(
                "{}; name a `model`, or set fusion.method = \"weighted_sum\"",
                error.detail
            ))
        })?;
        Ok(Profile { name: ProfileName::from(name), scorer, packs, judge })
    }
}

fn compile_packs(texts: &[(String, String)]) -> Result<RulePacks, LoadError> {
    let packs: Vec<_> = texts
        .iter()
        .map(|(name, text)| SourceText { name: name.clone(), text: text.clone() })
        .collect();
    let (packs, warnings) = RulePacks::compile(&packs).map_err(LoadError::Rules)?;
    if !warnings.diagnostics().is_empty() {
        tracing::warn!("Rule packs have warnings:\n{warnings}");
    }
    Ok(packs)
}

fn compile_prompts(texts: &[(String, String)]) -> Result<Prompts, LoadError> {
    let prompts: Vec<_> = texts
        .iter()
        .map(|(name, text)| PromptText { name: name.clone(), text: text.clone() })
        .collect();
    let (prompts, warnings) = Prompts::compile(&prompts).map_err(LoadError::Prompts)?;
    if !warnings.diagnostics().is_empty() {
        tracing::warn!("Judge prompts have warnings:\n{warnings}");
    }
    Ok(prompts)
}

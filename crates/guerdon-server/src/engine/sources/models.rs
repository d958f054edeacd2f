//! Loads reward models. A model is loaded once and kept over reloads until one of its inputs or
//! files changes.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use guerdon_fusion::RewardSource;
use guerdon_model::{MANIFEST, Model, ModelConfig, RmSource};
use guerdon_types::Normaliser;

use super::absent_model::AbsentModel;
use super::named_paths::NamedPaths;
use super::parts::ModelKey;
use super::scale::SourceScale;
use super::{LoadJob, Loader};
use crate::error::LoadError;

impl Loader {
    /// A source with the model called `model`, and the normaliser of its score, if it is more than a
    /// calibration.
    pub(super) fn model_source(
        &self,
        load: &mut LoadJob<'_>,
        named: &mut NamedPaths<'_>,
        model: &str,
        scale: SourceScale<'_>,
    ) -> Result<(Arc<dyn RewardSource>, Option<Normaliser>), LoadError> {
        let models = &load.config.models;
        let config = models
            .get(model)
            .ok_or_else(|| LoadError::unknown("model", model, "models", models.keys()))?;
        let folder = load.root.join(&config.path);
        let manifest = load.files.read(&folder.join(MANIFEST));
        if manifest.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            let found = match folder.is_dir() {
                true => {
                    "has no guerdon.model.toml; `guerdon rm init` with this folder writes one for a \
                     model that another tool exported"
                }
                false => "has no guerdon.model.toml",
            };
            named.absent("model", &config.path, found)?;
            return Ok((Arc::new(AbsentModel::new(scale.id.clone(), model)), None));
        }
        let model = self.model(load, model, config)?;
        let measured = model.manifest().calibration.as_ref().map(|c| (c.mean, c.std));
        let (calibration, normaliser) = scale.of_model(named, measured)?;
        let source = RmSource::new(model, calibration).named(scale.id.clone());
        Ok((Arc::new(source), normaliser))
    }

    fn model(
        &self,
        load: &mut LoadJob<'_>,
        name: &str,
        config: &ModelConfig,
    ) -> Result<Arc<Model>, LoadError> {
        let environment = || self.source.environment.var("ORT_DYLIB_PATH").map(PathBuf::from);
        let runtime = config.runtime.as_ref().map(|path| load.root.join(path)).or_else(environment);
        let config = ModelConfig { path: load.root.join(&config.path), runtime, ..config.clone() };
        // A manifest that cannot be read is the model's own error to report.
        let manifest = load.files.read(&config.path.join(MANIFEST));
        let manifest = manifest.as_deref().unwrap_or_default().to_owned();
        let key = ModelKey { name: name.to_owned(), config, manifest };
        if let Some(model) = load.parts.models.get(&key) {
            return Ok(model);
        }
        load.files
            .check_entries(&key.config.path)
            .map_err(|(path, cause)| LoadError::Read { path, cause })?;
        let failed = |error| LoadError::Model { model: name.to_owned(), error };
        let kept = self.parts.lock().models.get(&key);
        // A file may have changed behind the same manifest. A server that starts would refuse it, so
        // a reload does too, and the loaded model stays in service.
        let kept = match kept {
            Some(model) => model.files_are_unchanged().map_err(failed)?.then_some(model),
            None => None,
        };
        let model = match kept {
            Some(model) => model,
            None => {
                let (metrics, label) = (Arc::clone(&self.metrics), name.to_owned());
                Model::load(&key.config, Arc::new(move |event| metrics.model(&label, event)))
                    .map_err(failed)?
            }
        };
        load.parts.models.insert(key, Arc::clone(&model));
        Ok(model)
    }
}

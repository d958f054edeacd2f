//! Loads reward models. A model is loaded once and kept over reloads until one of its inputs
//! changes.

use std::path::PathBuf;
use std::sync::Arc;

use guerdon_model::{Model, ModelConfig};

use super::parts::ModelKey;
use super::{LoadJob, Loader};
use crate::error::LoadError;

impl Loader {
    pub(super) fn model(
        &self,
        load: &mut LoadJob<'_>,
        name: &str,
    ) -> Result<Arc<Model>, LoadError> {
        let models = &load.config.models;
        let config = models
            .get(name)
            .ok_or_else(|| LoadError::unknown("model", name, "models", models.keys()))?;
        let environment = || self.source.environment.var("ORT_DYLIB_PATH").map(PathBuf::from);
        let runtime = config.runtime.as_ref().map(|path| load.root.join(path)).or_else(environment);
        let config = ModelConfig { path: load.root.join(&config.path), runtime, ..config.clone() };
        // A manifest that cannot be read is the model's own error to report.
        let manifest = load.files.read(&config.path.join(guerdon_model::MANIFEST));
        let manifest = manifest.as_deref().unwrap_or_default().to_owned();
        let key = ModelKey { name: name.to_owned(), config, manifest };
        if let Some(model) = load.parts.models.get(&key) {
            return Ok(model);
        }
        let kept = self.parts.lock().models.get(&key);
        let model = match kept {
            Some(model) => model,
            None => {
                let (metrics, label) = (Arc::clone(&self.metrics), name.to_owned());
                Model::load(&key.config, Arc::new(move |event| metrics.model(&label, event)))
                    .map_err(|error| LoadError::Model { model: name.to_owned(), error })?
            }
        };
        load.parts.models.insert(key, Arc::clone(&model));
        Ok(model)
    }
}

//! Reward models as configured: loaded once, kept over reloads for as long as nothing that made them changes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use guerdon_model::{Model, ModelConfig};

use super::{Gathered, Loader};
use crate::config::Config;
use crate::error::LoadError;

impl Loader {
    pub(super) fn model(
        &self,
        name: &str,
        config: &Config,
        root: &Path,
        gathered: &mut Gathered,
    ) -> Result<Arc<Model>, LoadError> {
        let named = config
            .models
            .get(name)
            .ok_or_else(|| LoadError::unknown("model", name, "models", config.models.keys()))?;
        let environment = || self.source.environment.var("ORT_DYLIB_PATH").map(PathBuf::from);
        let runtime = named.runtime.as_ref().map(|path| root.join(path)).or_else(environment);
        let located = ModelConfig { path: root.join(&named.path), runtime, ..named.clone() };
        let manifest = located.path.join(guerdon_model::MANIFEST);
        #[expect(
            clippy::disallowed_methods,
            reason = "read where configuration is loaded, to see whether it changed"
        )]
        let text = std::fs::read_to_string(&manifest).unwrap_or_default();
        gathered.files.push(manifest);
        let key = format!("{name}\n{located:?}\n{text}");
        if let Some(model) = gathered.kept.models.get(&key) {
            return Ok(Arc::clone(model));
        }
        let kept =
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).models.get(&key).cloned();
        let model = match kept {
            Some(model) => model,
            None => {
                let (metrics, label) = (Arc::clone(&self.metrics), name.to_owned());
                Model::load(&located, Arc::new(move |event| metrics.model(&label, event)))
                    .map_err(|error| LoadError::Model { model: name.to_owned(), error })?
            }
        };
        gathered.kept.models.insert(key, Arc::clone(&model));
        Ok(model)
    }
}

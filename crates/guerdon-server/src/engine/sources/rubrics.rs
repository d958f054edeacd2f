//! Loads the rubrics of rollouts that a file has.

use std::sync::Arc;

use guerdon_judge::RequestRubrics;

use super::loader::{LoadJob, Loader};
use super::parts::RubricsKey;
use crate::config::JudgingConfig;
use crate::engine::rollout_rubrics::{RolloutRubrics, RubricFile};
use crate::error::LoadError;

impl Loader {
    /// The rubrics of the configuration; a file is parsed only if its text is new.
    pub(super) fn rubrics(&self, load: &mut LoadJob<'_>) -> Result<RolloutRubrics, LoadError> {
        let config = load.config.rubrics.clone();
        let Some(path) = &config.path else { return Ok(RolloutRubrics { config, file: None }) };
        let path = load.root.join(path);
        let text = load.files.read(&path);
        let text = text.map_err(|cause| LoadError::Read { path: path.clone(), cause })?;
        let key = RubricsKey { hash: guerdon_text::content_hash(&*text), config: config.clone() };
        let kept = self.parts.lock().rubrics.get(&key);
        let file = match kept {
            Some(file) => file,
            None => {
                let file = RubricFile::parse(&text, &config);
                Arc::new(file.map_err(|report| LoadError::Rubrics { path, report })?)
            }
        };
        load.parts.rubrics.insert(key, Arc::clone(&file));
        Ok(RolloutRubrics { config, file: Some(file) })
    }
}

/// The way in which a judge with these settings asks the rubrics of rollouts; `None` if it asks none.
pub(super) fn asked(rubrics: &RolloutRubrics, judging: &JudgingConfig) -> Option<RequestRubrics> {
    let RolloutRubrics { config, file } = rubrics;
    let hash = file.as_ref().map(|file| file.hash.clone());
    let asked = || RequestRubrics::new(judging.rubric_mode, config.points).of_file(hash);
    config.is_used().then(asked)
}

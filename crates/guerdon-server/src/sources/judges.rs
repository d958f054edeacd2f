//! Judges as configured: an endpoint is built once and kept, with its answers and limits, over reloads for as long as
//! nothing that made it changes.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use guerdon_judge::{
    CallEvent, Endpoint, EndpointConfig, JudgeSource, KeyPlace, Prompts, Services,
};
use secrecy::ExposeSecret as _;
use sha2::Digest as _;

use super::{Gathered, Loader};
use crate::config::{Config, ProfileConfig};
use crate::error::LoadError;
use crate::secrets::{Place, SecretError, resolve};

impl Loader {
    /// The judge of profile `name`, and its panel, ready to ask `prompts`; nothing if it has none.
    pub(super) fn judge(
        &self,
        name: &str,
        profile: &ProfileConfig,
        prompts: Prompts,
        config: &Config,
        root: &Path,
        gathered: &mut Gathered,
    ) -> Result<Option<Arc<JudgeSource>>, LoadError> {
        let invalid = |detail: String| LoadError::Profile { profile: name.to_owned(), detail };
        let judging = &profile.judging;
        let Some(judge) = &profile.judge else {
            return match judging.panel.first() {
                Some(panel) => Err(invalid(format!(
                    "`judging.panel` names `{panel}`, but there is no `judge`; name the first of them there"
                ))),
                None => Ok(None),
            };
        };
        if profile.prompts.is_empty() {
            return Err(invalid(format!("judge `{judge}` has no `prompts` to ask")));
        }
        if judging.probe_every.is_some_and(|every| every.is_zero()) {
            return Err(invalid(
                "`judging.probe_every` is 0; leave it out for no probes".to_owned(),
            ));
        }
        let first = self.endpoint(judge, config, root, gathered)?;
        let mut panel = Vec::new();
        for judge in &judging.panel {
            panel.push(self.endpoint(judge, config, root, gathered)?);
        }
        let source = JudgeSource::new(first, Arc::new(prompts))
            .with_panel(panel, judging.pooling)
            .with_share(name, judging.weight)
            .with_bound(profile.fusion.bound);
        Ok(Some(Arc::new(source)))
    }

    fn endpoint(
        &self,
        name: &str,
        config: &Config,
        root: &Path,
        gathered: &mut Gathered,
    ) -> Result<Arc<Endpoint>, LoadError> {
        let named = config
            .judges
            .get(name)
            .ok_or_else(|| LoadError::unknown("judge", name, "judges", config.judges.keys()))?;
        let what = format!("judge `{name}`");
        let mut hashes = Vec::new();
        for place in key_places(named) {
            gathered.files.extend(place.file.map(|file| root.join(file)));
            let place = Place { what: &what, env: place.env, file: place.file };
            let secret = resolve(place, root, self.source.environment.as_ref())?;
            // A rotated key is a new endpoint: the hash is enough to see that it changed, and says nothing of the key.
            hashes
                .push(secret.map(|secret| sha2::Sha256::digest(secret.expose_secret().as_bytes())));
        }
        let key = format!("{name}\n{named:?}\n{hashes:?}");
        if let Some(endpoint) = gathered.kept.endpoints.get(&key) {
            return Ok(Arc::clone(endpoint));
        }
        let kept =
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).endpoints.get(&key).cloned();
        let endpoint = match kept {
            Some(endpoint) => endpoint,
            None => Endpoint::build(named.clone(), &self.services(name, root))
                .map_err(|error| LoadError::Judge { judge: name.to_owned(), error })?,
        };
        gathered.kept.endpoints.insert(key, Arc::clone(&endpoint));
        Ok(endpoint)
    }

    fn services(&self, name: &str, root: &Path) -> Services {
        let (metrics, label) = (Arc::clone(&self.metrics), name.to_owned());
        let (environment, folder) = (Arc::clone(&self.source.environment), root.to_owned());
        let what = format!("judge `{name}`");
        let cached = metrics.judges.cached(name);
        let observer = move |event: &CallEvent| {
            if event.cached {
                cached.inc();
            } else {
                metrics.judges.call(&label, event);
            }
        };
        Services::new(self.tasks.clone(), observer).with_root(root).with_keys(
            move |KeyPlace { env, file }| {
                resolve(Place { what: &what, env, file }, &folder, environment.as_ref())
                    .map_err(|error: SecretError| error.to_string())
            },
        )
    }
}

/// Where the keys of an endpoint, of its replicas and of its fallback are.
fn key_places(config: &EndpointConfig) -> Vec<KeyPlace<'_>> {
    let own = KeyPlace { env: config.api_key_env.as_deref(), file: config.api_key_file.as_deref() };
    let mut places = vec![own];
    places.extend(config.replicas.iter().map(|replica| KeyPlace {
        env: replica.api_key_env.as_deref(),
        file: replica.api_key_file.as_deref(),
    }));
    places.extend(config.fallback.as_deref().map(key_places).into_iter().flatten());
    places
}

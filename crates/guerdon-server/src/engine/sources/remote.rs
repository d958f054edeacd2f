//! Builds sources behind HTTP. A source is built once and kept over reloads, with its answers and
//! limits, until one of its inputs changes.

use std::path::Path;
use std::sync::Arc;

use guerdon_fusion::RewardSource;
use guerdon_remote::{HttpSource, HttpSourceConfig, RemoteError, RemoteRmConfig, RemoteRmSource};
use guerdon_types::SourceId;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Digest as _;

use super::parts::{RemoteConfig, RemoteKey};
use super::{LoadJob, Loader};
use crate::error::LoadError;
use crate::load::secrets::{SecretPlace, resolve_in};

impl Loader {
    /// The source `id` with a user's function.
    pub(super) fn function(
        &self,
        load: &mut LoadJob<'_>,
        id: &SourceId,
        config: &HttpSourceConfig,
    ) -> Result<Arc<dyn RewardSource>, LoadError> {
        let (env, file) = (config.secret_env.as_deref(), config.secret_file.as_deref());
        let secret = self.secret(load, id, (env, file))?;
        let key = key(id, RemoteConfig::Function(config.clone()), secret.as_ref());
        self.remote(load, key, || {
            let source = HttpSource::new(id.clone(), config.clone(), secret, &self.tasks)?;
            Ok(Arc::new(source))
        })
    }

    /// The source `id` with a reward model on another server.
    pub(super) fn remote_rm(
        &self,
        load: &mut LoadJob<'_>,
        id: &SourceId,
        config: &RemoteRmConfig,
    ) -> Result<Arc<dyn RewardSource>, LoadError> {
        let (env, file) = (config.api_key_env.as_deref(), config.api_key_file.as_deref());
        let secret = self.secret(load, id, (env, file))?;
        let key = key(id, RemoteConfig::RewardModel(config.clone()), secret.as_ref());
        self.remote(load, key, || {
            let secret = secret.as_ref();
            let source = RemoteRmSource::new(id.clone(), config.clone(), secret, &self.tasks)?;
            Ok(Arc::new(source))
        })
    }

    fn secret(
        &self,
        load: &mut LoadJob<'_>,
        id: &SourceId,
        (env, file): (Option<&str>, Option<&Path>),
    ) -> Result<Option<SecretString>, LoadError> {
        let what = format!("source `{id}`");
        let place = SecretPlace { what: &what, env, file };
        let environment = self.source.environment.as_ref();
        Ok(resolve_in(load.files, place, load.root, environment)?)
    }

    fn remote(
        &self,
        load: &mut LoadJob<'_>,
        key: RemoteKey,
        build: impl FnOnce() -> Result<Arc<dyn RewardSource>, RemoteError>,
    ) -> Result<Arc<dyn RewardSource>, LoadError> {
        if let Some(source) = load.parts.remotes.get(&key) {
            return Ok(source);
        }
        let kept = self.parts.lock().remotes.get(&key);
        let source = match kept {
            Some(source) => source,
            None => build()
                .map_err(|error| LoadError::Remote { source_name: key.id.to_string(), error })?,
        };
        load.parts.remotes.insert(key, Arc::clone(&source));
        Ok(source)
    }
}

fn key(id: &SourceId, config: RemoteConfig, secret: Option<&SecretString>) -> RemoteKey {
    let hash =
        |secret: &SecretString| sha2::Sha256::digest(secret.expose_secret().as_bytes()).into();
    RemoteKey { id: id.clone(), config, secret: secret.map(hash) }
}

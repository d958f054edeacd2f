//! Builds judges. An endpoint is built once and kept over reloads, with its answers and limits,
//! until one of its inputs changes.

use std::path::Path;
use std::sync::Arc;

use guerdon_judge::{
    CallEvent, Endpoint, EndpointConfig, JudgeSource, KeyPlace, Prompts, Services,
};
use guerdon_types::{Finite, SourceId};
use secrecy::ExposeSecret as _;
use sha2::Digest as _;

use super::loader::{LoadJob, Loader};
use super::named_paths::NamedPaths;
use super::parts::EndpointKey;
use super::plan::PlannedJudge;
use super::rubrics;
use crate::config::ProfileConfig;
use crate::engine::snapshot::ProfileJudge;
use crate::error::LoadError;
use crate::load::secrets::{SecretError, SecretPlace, resolve, resolve_in};

/// A judge that a source asks.
pub(super) struct AskedJudge<'a> {
    /// The name of the source.
    pub(super) id: &'a SourceId,
    pub(super) asked: PlannedJudge<'a>,
    /// The bound of the fusion.
    pub(super) bound: Finite,
}

/// Checks that a profile without `judge` has no settings that need one.
pub(super) fn check_unused(
    named: &NamedPaths<'_>,
    profile: &ProfileConfig,
) -> Result<(), LoadError> {
    match profile.judging.panel.first() {
        Some(panel) if profile.sources.is_empty() => Err(named.invalid(format!(
            "`judging.panel` names `{panel}`, but there is no `judge`; name the first of them there"
        ))),
        _ => Ok(()),
    }
}

impl Loader {
    /// The judge of a source of profile `name`, with its panel and `prompts`.
    pub(super) fn judge(
        &self,
        load: &mut LoadJob<'_>,
        (name, AskedJudge { id, asked, bound }): (&str, &AskedJudge<'_>),
        prompts: Arc<Prompts>,
    ) -> Result<ProfileJudge, LoadError> {
        let invalid = |detail: String| LoadError::Profile { profile: name.to_owned(), detail };
        let PlannedJudge { judge, panel: further, pooling, judging, .. } = *asked;
        if judging.probe_every.is_some_and(|every| every.is_zero()) {
            return Err(invalid(
                "`judging.probe_every` is 0; leave it out for no probes".to_owned(),
            ));
        }
        if judging.canaries.is_some_and(|share| share.get() > 0.0) && !prompts.has_known_faults() {
            return Err(invalid(
                "`judging.canaries` is set, but no prompt has a probe with a fault; add \
                 `[[probes]]` with a level that costs points, or leave it out"
                    .to_owned(),
            ));
        }
        let first = self.endpoint(load, judge)?;
        let mut panel = Vec::new();
        for judge in further {
            panel.push(self.endpoint(load, judge)?);
        }
        let source = JudgeSource::new(first, prompts)
            .named((*id).clone())
            .with_panel(panel, pooling)
            .with_share(name, judging.weight)
            .with_bound(*bound);
        let source = match rubrics::asked(&load.rubrics, judging) {
            Some(rubrics) => source.with_request_rubrics(rubrics),
            None => source,
        };
        let source = match judging.dropout {
            Some(share) => source.with_dropout(share.get()),
            None => source,
        };
        let names = std::iter::once(judge).chain(further.iter().map(String::as_str));
        Ok(ProfileJudge {
            source: Arc::new(source),
            names: names.map(str::to_owned).collect(),
            judging: judging.clone(),
        })
    }

    fn endpoint(&self, load: &mut LoadJob<'_>, name: &str) -> Result<Arc<Endpoint>, LoadError> {
        let judges = &load.config.judges;
        let config = judges
            .get(name)
            .ok_or_else(|| LoadError::unknown("judge", name, "judges", judges.keys()))?;
        let what = format!("judge `{name}`");
        let mut keys = Vec::new();
        for KeyPlace { env, file } in key_places(config) {
            let place = SecretPlace { what: &what, env, file };
            let environment = self.source.environment.as_ref();
            let secret = resolve_in(load.files, place, load.root, environment)?;
            let hash = |key: &str| sha2::Sha256::digest(key.as_bytes()).into();
            keys.push(secret.map(|secret| hash(secret.expose_secret())));
        }
        let key = EndpointKey { name: name.to_owned(), config: config.clone(), keys };
        if let Some(endpoint) = load.parts.endpoints.get(&key) {
            return Ok(endpoint);
        }
        let kept = self.parts.lock().endpoints.get(&key);
        let endpoint = match kept {
            Some(endpoint) => endpoint,
            None => Endpoint::build(config.clone(), &self.services(name, load.root))
                .map_err(|error| LoadError::Judge { judge: name.to_owned(), error })?,
        };
        load.parts.endpoints.insert(key, Arc::clone(&endpoint));
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
        let services = Services::new(self.tasks.clone(), observer)
            .with_root(root)
            .with_coordinator(self.coordinator());
        services.with_keys(move |KeyPlace { env, file }| {
            resolve(SecretPlace { what: &what, env, file }, &folder, environment.as_ref())
                .map_err(|error: SecretError| error.to_string())
        })
    }
}

/// The places of the keys of an endpoint, its replicas and its fallback.
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

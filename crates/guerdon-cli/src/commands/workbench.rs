//! Shared parts of the `guerdon judge` commands: prompt files, and the judge of the configuration.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use guerdon_judge::{
    CacheConfig, CacheMode, Endpoint, EndpointConfig, JudgeReply, JudgeSource, KeyPlace, Prompts,
    Services,
};
use guerdon_server::config::ProcessEnvironment;
use guerdon_server::secrets::{SecretPlace, resolve};
use guerdon_server::texts::{PROMPTS, texts};
use guerdon_text::SourceText;

use super::print;
use crate::cli::{ConfigurationArgs, JudgeArgs};
use crate::output::errln;

pub(super) fn prompt_texts(paths: &[PathBuf]) -> anyhow::Result<Vec<SourceText>> {
    Ok(texts(Path::new(""), paths, &PROMPTS)?)
}

pub(super) fn compiled(paths: &[PathBuf]) -> anyhow::Result<Prompts> {
    let (prompts, warnings) = Prompts::compile(&prompt_texts(paths)?)?;
    print::report(warnings.diagnostics(), &warnings.coloured(), false)?;
    Ok(prompts)
}

/// The judge that the configuration names. It reports the outcome of every attempt on standard
/// error.
pub(super) fn source(prompts: Prompts, args: &JudgeArgs) -> anyhow::Result<JudgeSource> {
    source_heard(prompts, args, drop)
}

/// The judge that the configuration names, as in [`source`]. `heard` receives the text of every
/// reply.
pub(super) fn source_heard(
    prompts: Prompts,
    args: &JudgeArgs,
    heard: impl Fn(JudgeReply) + Send + Sync + 'static,
) -> anyhow::Result<JudgeSource> {
    built(prompts, &args.configuration, heard, |_| {})
}

/// The judge that the configuration names, with `store` as its only source of answers.
pub(super) fn stored_source(
    prompts: Prompts,
    configuration: &ConfigurationArgs,
    store: &Path,
) -> anyhow::Result<JudgeSource> {
    let store = std::path::absolute(store)?;
    built(prompts, configuration, drop, |config| {
        let mode = CacheMode::ReadOnly;
        config.cache = CacheConfig { path: Some(store), mode, ttl: NEVER, ..config.cache.clone() };
        // Nothing is asked, so no key is needed.
        (config.api_key_env, config.api_key_file) = (None, None);
        (config.cassette, config.audit, config.fallback) = (None, None, None);
        config.replicas.clear();
    })
}

/// Longer than a store is kept.
const NEVER: Duration = Duration::from_secs(10 * 365 * 86_400);

fn built(
    prompts: Prompts,
    configuration: &ConfigurationArgs,
    heard: impl Fn(JudgeReply) + Send + Sync + 'static,
    adjust: impl FnOnce(&mut EndpointConfig),
) -> anyhow::Result<JudgeSource> {
    let config = configuration.source()?.load()?;
    let profile = config.default_profile().and_then(|name| config.profiles.get(name));
    let name = configuration.judge.as_ref().or(profile.and_then(|profile| profile.judge.as_ref()));
    let name = name
        .context("no judge is named: give --judge NAME, or set `judge` in the default profile")?;
    let Some(endpoint) = config.judges.get(name) else {
        bail!(
            "there is no judge `{name}`; the configuration has: {}",
            config.judges.keys().cloned().collect::<Vec<_>>().join(", ")
        )
    };
    let mut endpoint = endpoint.clone();
    adjust(&mut endpoint);
    let root = configuration.file().parent().unwrap_or(Path::new("")).to_owned();
    let (under, what) = (root.clone(), format!("judge `{name}`"));
    let services = Services::new(tokio_util::task::TaskTracker::new(), |event| {
        let seconds = event.duration.as_secs_f64();
        errln!("attempt {}: {} in {seconds:.2} s", event.attempt, event.outcome);
    })
    .with_root(root)
    .with_reply_observer(heard)
    .with_keys(move |KeyPlace { env, file }| {
        let place = SecretPlace { what: &what, env, file };
        resolve(place, &under, &ProcessEnvironment).map_err(|error| error.to_string())
    });
    Ok(JudgeSource::new(Endpoint::build(endpoint, &services)?, Arc::new(prompts))
        .with_share("workbench", NonZeroU32::MIN))
}

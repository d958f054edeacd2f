//! What the rubric author's commands share: prompt files, and the judge that the configuration names.

use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use guerdon_judge::{Endpoint, JudgeSource, KeyPlace, PromptText, Prompts, Services};
use guerdon_server::config::{Environment as _, ProcessEnvironment};
use guerdon_server::texts::{PROMPTS, texts};

use crate::cli::JudgeAt;

pub(super) fn prompt_texts(paths: &[PathBuf]) -> anyhow::Result<Vec<PromptText>> {
    let texts = texts(Path::new(""), paths, &PROMPTS, &mut Vec::new())?;
    Ok(texts.into_iter().map(|(name, text)| PromptText { name, text }).collect())
}

pub(super) fn compiled(paths: &[PathBuf]) -> anyhow::Result<Prompts> {
    let (prompts, warnings) =
        Prompts::compile(&prompt_texts(paths)?).map_err(|report| anyhow::anyhow!("{report}"))?;
    eprint!("{warnings}");
    Ok(prompts)
}

/// Beside it first, then in its place: a server that reloads never sees half a file.
pub(super) fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let failed = || format!("cannot write {}", path.display());
    #[expect(
        clippy::disallowed_methods,
        reason = "the author asked for this file to be rewritten"
    )]
    fs::write(&beside, text).with_context(failed)?;
    fs::rename(&beside, path).with_context(failed)
}

/// The judge that the configuration names, saying on standard error what every attempt came to.
pub(super) fn source(prompts: Prompts, at: &JudgeAt) -> anyhow::Result<JudgeSource> {
    let config = at.configuration.source()?.load()?;
    let profile = config.default_profile().and_then(|name| config.profiles.get(name));
    let name =
        at.configuration.judge.as_ref().or(profile.and_then(|profile| profile.judge.as_ref()));
    let name = name
        .context("no judge is named: give --judge NAME, or set `judge` in the default profile")?;
    let Some(endpoint) = config.judges.get(name) else {
        bail!(
            "`{name}` is no judge; there are: {}",
            config.judges.keys().cloned().collect::<Vec<_>>().join(", ")
        )
    };
    let root = at.configuration.config.parent().unwrap_or(Path::new("")).to_owned();
    let under = root.clone();
    let services = Services::new(tokio_util::task::TaskTracker::new(), |event| {
        let seconds = event.duration.as_secs_f64();
        eprintln!("attempt {}: {} in {seconds:.2} s", event.attempt, event.outcome);
    })
    .with_root(root)
    .with_keys(move |KeyPlace { env, file }| match (env, file) {
        (Some(name), _) => match ProcessEnvironment.var(name) {
            Some(key) => Ok(Some(key.into())),
            None => Err("the variable is not set".to_owned()),
        },
        (None, Some(file)) => match super::read(&under.join(file)) {
            Ok(key) => Ok(Some(key.trim().into())),
            Err(error) => Err(format!("{error:#}")),
        },
        (None, None) => Ok(None),
    });
    Ok(JudgeSource::new(Endpoint::build(endpoint.clone(), &services)?, Arc::new(prompts))
        .with_share("workbench", NonZeroU32::MIN))
}

//! `guerdon judge`: the rubric author's workbench.

use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use guerdon_fusion::{Ask, RewardSource as _};
use guerdon_judge::{Endpoint, JudgeSource, KeyPlace, PromptText, Prompts, Services};
use guerdon_server::config::{Environment as _, ProcessEnvironment};
use guerdon_server::texts::{PROMPTS, texts};
use guerdon_types::Rollout;
use serde_json::json;

use crate::cli::{Judge, JudgeAt};

pub(super) fn run(judge: Judge) -> anyhow::Result<ExitCode> {
    match judge {
        Judge::Check { prompts, sealed } => check(&prompts, sealed),
        Judge::Bump { prompts } => bump(&prompts),
        Judge::Render { prompt, rollout } => render(prompt, &rollout),
        Judge::Try { prompt, rollout, at } => super::runtime()?.block_on(try_on(prompt, &rollout, &at)),
        Judge::Calibrate(calibrate) => super::runtime()?.block_on(super::calibrate::run(&calibrate)),
        Judge::Probe { prompts, at } => super::runtime()?.block_on(probe(&prompts, &at)),
    }
}

fn prompt_texts(paths: &[PathBuf]) -> anyhow::Result<Vec<PromptText>> {
    let texts = texts(Path::new(""), paths, &PROMPTS, &mut Vec::new())?;
    Ok(texts.into_iter().map(|(name, text)| PromptText { name, text }).collect())
}

pub(super) fn compiled(paths: &[PathBuf]) -> anyhow::Result<Prompts> {
    let (prompts, warnings) =
        Prompts::compile(&prompt_texts(paths)?).map_err(|report| anyhow::anyhow!("{report}"))?;
    eprint!("{warnings}");
    Ok(prompts)
}

fn check(paths: &[PathBuf], sealed: bool) -> anyhow::Result<ExitCode> {
    let (prompts, warnings) = match Prompts::compile(&prompt_texts(paths)?) {
        Ok(compiled) => compiled,
        Err(report) => {
            eprint!("{report}");
            return Ok(ExitCode::FAILURE);
        }
    };
    eprint!("{warnings}");
    let mut drafts = 0;
    for prompt in prompts.summaries() {
        let draft = if prompt.sealed { "" } else { " (draft)" };
        println!("ok: {} version {}{draft}: {}", prompt.id, prompt.version, prompt.criteria.join(", "));
        if sealed && !prompt.sealed {
            drafts += 1;
            eprintln!("error: `{}` is a draft; `guerdon judge bump` seals it", prompt.id);
        }
    }
    Ok(if drafts == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn bump(paths: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let texts = prompt_texts(paths)?;
    let mended: Vec<PromptText> = texts
        .iter()
        .map(|PromptText { name, text }| PromptText { name: name.clone(), text: Prompts::sealed(text) })
        .collect();
    // All or none, and nothing that would not load.
    Prompts::compile(&mended).map_err(|report| anyhow::anyhow!("{report}"))?;
    for (before, after) in texts.iter().zip(&mended) {
        if before.text == after.text {
            println!("{}: sealed already", before.name);
            continue;
        }
        replace(Path::new(&after.name), &after.text)?;
        println!("{}: sealed", after.name);
    }
    Ok(ExitCode::SUCCESS)
}

/// Beside it first, then in its place: a server that reloads never sees half a file.
pub(super) fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let failed = || format!("cannot write {}", path.display());
    #[expect(clippy::disallowed_methods, reason = "the author asked for this file to be rewritten")]
    fs::write(&beside, text).with_context(failed)?;
    fs::rename(&beside, path).with_context(failed)
}

fn first_rollout(path: &Path) -> anyhow::Result<Rollout> {
    let text = super::read(path)?;
    let first = text.lines().next().context("the file of rollouts is empty")?;
    serde_json::from_str(first).context("the first line is no rollout")
}

fn render(prompt: PathBuf, rollouts: &Path) -> anyhow::Result<ExitCode> {
    let prompts = compiled(&[prompt])?;
    let rollout = first_rollout(rollouts)?;
    for turn in rollout.turns_to_score()? {
        for message in prompts.preview(&rollout, turn)? {
            println!("--- {} {} ---\n{}\n", message.prompt, message.role, message.content);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The judge that the configuration names, saying on standard error what every attempt came to.
pub(super) fn source(prompts: Prompts, at: &JudgeAt) -> anyhow::Result<JudgeSource> {
    let config = at.configuration.source()?.load()?;
    let profile = config.default_profile().and_then(|name| config.profiles.get(name));
    let name = at.configuration.judge.as_ref().or(profile.and_then(|profile| profile.judge.as_ref()));
    let name = name.context("no judge is named: give --judge NAME, or set `judge` in the default profile")?;
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

async fn try_on(prompt: PathBuf, rollouts: &Path, at: &JudgeAt) -> anyhow::Result<ExitCode> {
    let source = source(compiled(&[prompt])?, at)?;
    let rollout = first_rollout(rollouts)?;
    let turns = rollout.turns_to_score()?;
    let mut answered = true;
    for (turn, signal) in turns.iter().zip(source.score(Ask::new(&rollout, &turns, None)).await) {
        answered &= signal.part.is_some();
        let judge = match &signal.part {
            Some(guerdon_types::Part::Judge(part)) => json!(part),
            _ => json!(null),
        };
        let shown =
            json!({"turn": turn, "judge": judge, "abstained": signal.abstained, "usage": signal.usage});
        println!("{}", serde_json::to_string_pretty(&shown)?);
    }
    Ok(if answered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn probe(prompts: &[PathBuf], at: &JudgeAt) -> anyhow::Result<ExitCode> {
    let source = source(compiled(prompts)?, at)?;
    let outcomes = source.probe(0).await;
    for outcome in &outcomes {
        let mark = match outcome.passed {
            Some(true) => "ok",
            Some(false) => "FAILED",
            None => "no answer",
        };
        println!("{mark}: {} {}: {}", outcome.prompt, outcome.probe, outcome.detail);
    }
    let failed = outcomes.iter().any(|outcome| outcome.passed == Some(false));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

//! `guerdon judge`: the workbench for authors of judge prompts.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use guerdon_judge::{Explanation, JudgeReply, Prompts};
use guerdon_text::SourceText;
use guerdon_types::Rollout;
use parking_lot::Mutex;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::setup::{input_text, runtime, without_mark};
use super::workbench::{compiled, prompt_texts, source, source_heard};
use super::{calibrate, print};
use crate::cli::{JudgeArgs, JudgeCommand};
use crate::output::{errln, outln};
use crate::part::replace;

pub(super) fn run(judge: JudgeCommand) -> anyhow::Result<ExitCode> {
    match judge {
        JudgeCommand::Check { prompts, sealed, json } => check(&prompts, sealed, json),
        JudgeCommand::Bump { prompts } => bump(&prompts),
        JudgeCommand::Render { prompt, rollout } => render(prompt, &rollout),
        JudgeCommand::Try { prompt, rollout, judge } => {
            runtime()?.block_on(try_on(prompt, &rollout, &judge))
        }
        JudgeCommand::Rescore(rescore) => super::rescore::run(&rescore),
        JudgeCommand::Calibrate(calibrate) => runtime()?.block_on(calibrate::run(&calibrate)),
        JudgeCommand::Probe { prompts, judge } => runtime()?.block_on(probe(&prompts, &judge)),
    }
}

fn check(paths: &[PathBuf], sealed: bool, json: bool) -> anyhow::Result<ExitCode> {
    let (prompts, report) = match Prompts::check(&prompt_texts(paths)?) {
        Ok((prompts, warnings)) => (Some(prompts), warnings),
        Err(report) => (None, report),
    };
    print::report(report.diagnostics(), &report.coloured(), json)?;
    let Some(prompts) = prompts else {
        if !json {
            errln!("\n{}; nothing was loaded", report.summary());
        }
        return Ok(ExitCode::FAILURE);
    };
    let mut drafts = 0;
    for prompt in prompts.summaries() {
        let draft = if prompt.sealed { "" } else { " (draft)" };
        if !json {
            let criteria = prompt.criteria.join(", ");
            outln!("ok: {} version {}{draft}: {criteria}", prompt.id, prompt.version)?;
        }
        if sealed && !prompt.sealed {
            drafts += 1;
            errln!("error: `{}` is a draft; `guerdon judge bump` seals it", prompt.id);
        }
    }
    Ok(if drafts == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn bump(paths: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let texts = prompt_texts(paths)?;
    let sealed: Vec<SourceText> = texts
        .iter()
        .map(|SourceText { name, text }| SourceText {
            name: name.clone(),
            text: Prompts::sealed(text),
        })
        .collect();
    // Writes all files or none, and no file that would not load.
    Prompts::compile(&sealed)?;
    for (before, after) in texts.iter().zip(&sealed) {
        if before.text == after.text {
            outln!("{}: already sealed", before.name)?;
            continue;
        }
        replace(Path::new(&after.name), |file| Ok(file.write_all(after.text.as_bytes())?))?;
        outln!("{}: sealed", after.name)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The first rollout of a file of rollouts, or of a request's body. `-` is standard input.
fn first_rollout(path: &Path) -> anyhow::Result<Rollout> {
    Ok(rollouts(path, 1)?.swap_remove(0))
}

/// The first `most` rollouts of a file of rollouts, or of a request's body; at least one.
fn rollouts(path: &Path, most: usize) -> anyhow::Result<Vec<Rollout>> {
    let text = input_text(path)?;
    let text = without_mark(&text);
    let name = if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    // A request, or a rollout that is printed over several lines.
    if let Ok(mut whole) = serde_json::from_str::<Value>(text) {
        let Some(rollouts) = whole.get_mut("rollouts").map(Value::take) else {
            return Ok(vec![
                serde_json::from_value(whole)
                    .with_context(|| format!("{name} is not a rollout"))?,
            ]);
        };
        let items = rollouts.as_array().map(Vec::as_slice).unwrap_or_default();
        ensure!(!items.is_empty(), "{name} has no rollout");
        let read = |(number, item): (usize, &Value)| {
            Rollout::deserialize(item).with_context(|| {
                format!("number {} of the `rollouts` of {name} is not a rollout", number + 1)
            })
        };
        return items.iter().enumerate().take(most).map(read).collect();
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |(number, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| match number {
            0 => format!("the first line of {name} is not a rollout"),
            _ => format!("line {} of {name} is not a rollout", number + 1),
        })
    };
    let rollouts: Vec<Rollout> = lines.take(most).map(read).collect::<anyhow::Result<_>>()?;
    ensure!(!rollouts.is_empty(), "{name} has no rollout");
    Ok(rollouts)
}

/// The most rollouts of a file that are shown as a group.
const MOST_OF_GROUP: usize = 1_000;

fn render(prompt: PathBuf, path: &Path) -> anyhow::Result<ExitCode> {
    let prompts = compiled(&[prompt])?;
    let mut previews = Vec::new();
    if prompts.compare_replies() {
        previews = prompts.preview_group(&rollouts(path, MOST_OF_GROUP)?)?;
    } else {
        let rollout = first_rollout(path)?;
        for turn in rollout.turns_to_score()? {
            previews.extend(prompts.preview(&rollout, turn)?);
        }
    }
    for message in previews {
        outln!("--- {} {} ---\n{}\n", message.prompt, message.role, message.content)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn try_on(prompt: PathBuf, rollouts: &Path, judge: &JudgeArgs) -> anyhow::Result<ExitCode> {
    let replies = Arc::<Mutex<Vec<JudgeReply>>>::default();
    let heard = Arc::clone(&replies);
    let source = source_heard(compiled(&[prompt])?, judge, move |reply| heard.lock().push(reply))?;
    let rollout = first_rollout(rollouts)?;
    let mut answered = true;
    for turn in rollout.turns_to_score()? {
        let explained = source.explain(&rollout, turn).await;
        let Explanation { signal, ballots, .. } = explained.context("the turn is missing")?;
        answered &= signal.part.is_some();
        // The attempts of this turn have ended, so their replies are complete.
        let replies = std::mem::take(&mut *replies.lock());
        let judge = match &signal.part {
            Some(guerdon_types::Part::Judge(part)) => json!(part),
            _ => json!(null),
        };
        let shown = json!({
            "turn": turn,
            "judge": judge,
            "abstained": signal.abstained,
            "ballots": ballots,
            "replies": replies,
            "usage": signal.usage,
        });
        outln!("{}", serde_json::to_string_pretty(&shown)?)?;
    }
    Ok(if answered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn probe(prompts: &[PathBuf], judge: &JudgeArgs) -> anyhow::Result<ExitCode> {
    let source = source(compiled(prompts)?, judge)?;
    let outcomes = source.probe(0).await;
    for outcome in &outcomes {
        let mark = match outcome.passed {
            Some(true) => "ok",
            Some(false) => "FAILED",
            None => "no answer",
        };
        outln!("{mark}: {} {}: {}", outcome.prompt, outcome.probe, outcome.detail)?;
    }
    let failed = outcomes.iter().any(|outcome| outcome.passed == Some(false));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

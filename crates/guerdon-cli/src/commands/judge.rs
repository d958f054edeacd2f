//! `guerdon judge`: the rubric author's workbench.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use guerdon_judge::{PromptText, Prompts};
use guerdon_server::texts::{PROMPTS, texts};
use guerdon_types::Rollout;

use crate::cli::Judge;

pub(super) fn run(judge: Judge) -> anyhow::Result<ExitCode> {
    match judge {
        Judge::Check { prompts } => check(&prompts),
        Judge::Render { prompt, rollout } => render(prompt, &rollout),
    }
}

fn prompt_texts(paths: &[PathBuf]) -> anyhow::Result<Vec<PromptText>> {
    let texts = texts(Path::new(""), paths, &PROMPTS, &mut Vec::new())?;
    Ok(texts.into_iter().map(|(name, text)| PromptText { name, text }).collect())
}

fn check(paths: &[PathBuf]) -> anyhow::Result<ExitCode> {
    match Prompts::compile(&prompt_texts(paths)?) {
        Ok((prompts, warnings)) => {
            eprint!("{warnings}");
            for prompt in prompts.summaries() {
                println!("ok: {} version {}: {}", prompt.id, prompt.version, prompt.criteria.join(", "));
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(report) => {
            eprint!("{report}");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn render(prompt: PathBuf, rollouts: &Path) -> anyhow::Result<ExitCode> {
    let (prompts, _) =
        Prompts::compile(&prompt_texts(&[prompt])?).map_err(|report| anyhow::anyhow!("{report}"))?;
    let text = super::read(rollouts)?;
    let first = text.lines().next().context("the file of rollouts is empty")?;
    let rollout: Rollout = serde_json::from_str(first).context("the first line is no rollout")?;
    for turn in rollout.turns_to_score()? {
        for message in prompts.preview(&rollout, turn)? {
            println!("--- {} {} ---\n{}\n", message.prompt, message.role, message.content);
        }
    }
    Ok(ExitCode::SUCCESS)
}

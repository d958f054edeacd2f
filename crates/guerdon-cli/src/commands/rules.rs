//! `guerdon rules`: the rule author's workbench.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use guerdon_rules::{PackText, RulePacks};
use guerdon_server::texts::{PACKS, texts};
use guerdon_types::{Message, Role, Rollout};

use crate::cli::Rules;

pub(super) fn run(rules: Rules) -> anyhow::Result<ExitCode> {
    match rules {
        Rules::Check { packs, json } => check(&packs, json),
        Rules::Try { packs, text, context } => try_on(&packs, text, &context),
    }
}

fn pack_texts(paths: &[PathBuf]) -> anyhow::Result<Vec<PackText>> {
    let texts = texts(Path::new(""), paths, &PACKS, &mut Vec::new())?;
    Ok(texts.into_iter().map(|(name, text)| PackText { name, text }).collect())
}

fn check(paths: &[PathBuf], json: bool) -> anyhow::Result<ExitCode> {
    let texts = pack_texts(paths)?;
    let (packs, report) = match RulePacks::compile(&texts) {
        Ok((packs, warnings)) => (Some(packs), warnings),
        Err(report) => (None, report),
    };
    if json {
        println!("{}", serde_json::to_string_pretty(report.diagnostics())?);
    } else {
        eprint!("{report}");
        if let Some(packs) = &packs {
            let rules: usize = packs.summaries().iter().map(|pack| pack.rules.len()).sum();
            println!("ok: {} packs, {rules} rules, every example as it says", packs.summaries().len());
        }
    }
    Ok(if packs.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn try_on(paths: &[PathBuf], text: String, context: &str) -> anyhow::Result<ExitCode> {
    let (packs, _) = RulePacks::compile(&pack_texts(paths)?).map_err(|report| anyhow::anyhow!("{report}"))?;
    let context = serde_json::from_str(context).context("--context is no JSON object")?;
    let rollout =
        Rollout { messages: vec![Message::new(Role::Assistant, text)], context, ..Rollout::default() };
    println!("{}", serde_json::to_string_pretty(&packs.evaluate(&rollout, 0))?);
    Ok(ExitCode::SUCCESS)
}

//! `guerdon rules`: the workbench for authors of rule packs.
//!
//! | file | content |
//! |---|---|
//! | `input.rs` | reads rollouts |
//! | `spans.rs` | `try`: hits in the text |
//! | `diff.rs` | `diff`: the effect of an edit |
//! | `labels.rs` | labelled rollouts |
//! | `label.rs` | `label`: asks a person about hits |
//! | `eval.rs` | `eval`: precision and recall on labelled turns |
//! | `cost.rs` | `bench`: throughput and expensive rules |

mod cost;
mod diff;
mod eval;
mod input;
mod label;
mod labels;
mod spans;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use guerdon_lsp::{SessionEnd, serve};
use guerdon_rules::{DraftInput, FormattedPack, PackFiles, RecordedParts, RulePacks};
use guerdon_server::texts::packs;
use guerdon_types::{Message, Role, Rollout};

use crate::cli::{RulesCommand, TestFormat};
use crate::commands::print;
use crate::output::{errln, out, outln};
use crate::part::replace;

pub(super) fn run(rules: RulesCommand) -> anyhow::Result<ExitCode> {
    match rules {
        RulesCommand::Check { packs, json } => check(&packs, json),
        RulesCommand::Test { packs, format } => test(&packs, format),
        RulesCommand::Try { packs, text, on, context, json, color } => {
            let rollouts = match (text, on) {
                (Some(text), None) => vec![reply(text, &context)?],
                (None, Some(file)) => input::rollouts(&file)?,
                _ => bail!("give either --text or --on"),
            };
            let packs = load(&packs)?;
            spans::print(&packs, &rollouts, json, color.is_on())
        }
        RulesCommand::Diff { old, new, on, examples, json, scores, fusion, fail_on } => {
            let rollouts = input::rollouts(&on)?;
            let recorded = match scores {
                Some(file) => diff::recorded(&rollouts, &file, fusion)?,
                None => RecordedParts::none(),
            };
            let [old, new] = load_both(old, new)?;
            let diff = old.diff_with(&new, &rollouts, &recorded);
            diff::print(&diff, &rollouts, examples, json, &fail_on)
        }
        RulesCommand::Label { file, packs, labels, rule, missed, color } => {
            let csv = labels.unwrap_or_else(|| labels::file_for(&file));
            let rule = rule.as_deref();
            let questions = label::Questions { rule, missed, color: color.is_on() };
            label::run(&load(&packs)?, &file, &csv, questions)
        }
        RulesCommand::Eval {
            packs,
            on,
            labels,
            format,
            fail_under,
            fail_under_grave,
            min_hits,
        } => {
            let csv = labels.unwrap_or_else(|| labels::file_for(&on));
            let rollouts = labels::labelled(&on, &csv)?;
            let requirements = eval::Requirements { fail_under, fail_under_grave, min_hits };
            let packs = load(&packs)?;
            labels::check_rules(&rollouts, &packs)?;
            eval::print(&packs.measure(&rollouts), requirements, format)
        }
        RulesCommand::Bench { packs, on, top } => {
            let packs = load(&packs)?;
            cost::print(&packs, &input::rollouts(&on)?, top)?;
            Ok(ExitCode::SUCCESS)
        }
        RulesCommand::Lsp => lsp(),
        RulesCommand::Fmt { packs, check } => fmt(&packs, check),
        RulesCommand::NewFromBadcase { rollout, line, turn, phrase, id } => {
            let rollouts = input::rollouts(&rollout)?;
            let case = rollouts
                .get(line.saturating_sub(1))
                .with_context(|| format!("{} has no line {line}", rollout.display()))?;
            let turn = match turn {
                Some(turn) => turn,
                None => *case
                    .turns_to_score()
                    .map_err(|error| anyhow::anyhow!(error.detail))?
                    .last()
                    .unwrap_or(&0),
            };
            let bad = DraftInput { rollout: case, turn, phrase: &phrase, id: id.as_deref() };
            out!("{}", guerdon_rules::draft(bad).map_err(anyhow::Error::msg)?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The rule packs of the named paths.
fn pack_files(paths: &[PathBuf]) -> anyhow::Result<PackFiles> {
    let files = packs(Path::new(""), paths)?;
    if files == PackFiles::default() {
        let named: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
        bail!(
            "no rule pack in {}\n  help: packs are files that end in .yaml or .yml",
            named.join(", ")
        );
    }
    Ok(files)
}

fn load(paths: &[PathBuf]) -> anyhow::Result<RulePacks> {
    let (packs, _) = RulePacks::compile(&pack_files(paths)?)?;
    Ok(packs)
}

/// Loads two folders of packs, with one report of the errors of both.
fn load_both(old: PathBuf, new: PathBuf) -> anyhow::Result<[RulePacks; 2]> {
    let [old, new] = [pack_files(&[old])?, pack_files(&[new])?];
    match (RulePacks::compile(&old), RulePacks::compile(&new)) {
        (Ok((old, _)), Ok((new, _))) => Ok([old, new]),
        (old, new) => {
            let mut report = old.err().unwrap_or_default();
            report.append(new.err().unwrap_or_default());
            Err(report.into())
        }
    }
}

fn reply(text: String, context: &str) -> anyhow::Result<Rollout> {
    let context = serde_json::from_str(context).context("--context is not a JSON object")?;
    Ok(Rollout {
        messages: vec![Message::new(Role::Assistant, text)],
        context,
        ..Rollout::default()
    })
}

fn check(paths: &[PathBuf], json: bool) -> anyhow::Result<ExitCode> {
    let (packs, report) = match RulePacks::check(&pack_files(paths)?) {
        Ok((packs, warnings)) => (Some(packs), warnings),
        Err(report) => (None, report),
    };
    print::report(report.diagnostics(), &report.coloured(), json)?;
    if !json {
        match &packs {
            Some(packs) => {
                let rules: usize = packs.summaries().iter().map(|pack| pack.rules.len()).sum();
                outln!("ok: {} packs, {rules} rules, all examples pass", packs.summaries().len())?;
            }
            None => errln!("\n{}; nothing was loaded", report.summary()),
        }
    }
    Ok(if packs.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn test(paths: &[PathBuf], format: TestFormat) -> anyhow::Result<ExitCode> {
    let results = RulePacks::test(&pack_files(paths)?)?;
    let failed = results.iter().filter(|result| result.failure.is_some()).count();
    match format {
        TestFormat::Tap => out!("{}", guerdon_rules::tap(&results))?,
        TestFormat::Junit => out!("{}", guerdon_rules::junit(&results))?,
        TestFormat::Text => {
            for result in &results {
                if let Some(failure) = &result.failure {
                    outln!(
                        "{}:{}: {}/{} {}",
                        result.file,
                        result.line,
                        result.pack,
                        result.rule,
                        result.name
                    )?;
                    outln!("    {failure}")?;
                }
            }
            outln!("{} examples, {failed} failed", results.len())?;
        }
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Serves an editor. A session without a shutdown fails, as the protocol says.
fn lsp() -> anyhow::Result<ExitCode> {
    let input = std::io::stdin().lock();
    let end = serve(input, std::io::stdout()).context("the connection to the editor failed")?;
    Ok(match end {
        SessionEnd::Orderly => ExitCode::SUCCESS,
        SessionEnd::Abrupt => ExitCode::FAILURE,
    })
}

fn fmt(paths: &[PathBuf], check: bool) -> anyhow::Result<ExitCode> {
    let files = pack_files(paths)?;
    let mut report = files.report();
    let mut untidy = 0;
    for pack in files.texts {
        let (tidy, changes) = match guerdon_rules::format_pack(&pack) {
            Ok(FormattedPack { text, changes: Some(changes), .. }) => (text, changes),
            Ok(_) => continue,
            Err(found) => {
                report.append(found);
                continue;
            }
        };
        untidy += 1;
        if !check {
            replace(Path::new(&pack.name), |file| Ok(file.write_all(tidy.as_bytes())?))?;
        }
        outln!("{}{}: {changes}", if check { "untidy: " } else { "tidied: " }, pack.name)?;
    }
    print::report(report.diagnostics(), &report.coloured(), false)?;
    let failed = report.has_errors() || (check && untidy > 0);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

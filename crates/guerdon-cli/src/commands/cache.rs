//! `guerdon cache`: lists, exports, imports and removes cached judge answers. The commands also
//! work while a server has the file open.

use std::fs::File;
use std::io::{BufReader, BufWriter, stdin};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail, ensure};
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use guerdon_judge::{CacheConfig, Purge, Store, StoreStats};

use crate::cli::CacheCommand;
use crate::output::{errln, outln, standard_output};

pub(super) fn run(cache: CacheCommand) -> anyhow::Result<ExitCode> {
    match cache {
        CacheCommand::Stats { file, json } => stats(&file, json)?,
        CacheCommand::Export { file, out } => export(&file, out.as_deref())?,
        CacheCommand::Import { file, input } => {
            // Creates the file if it is missing: an import may fill a new cache.
            let store = Store::open(&file, CacheConfig::default().sync)?;
            let taken = if input.as_os_str() == "-" {
                store.import(stdin().lock())?
            } else {
                let lines = File::open(&input)
                    .with_context(|| format!("cannot read {}", input.display()))?;
                store.import(BufReader::new(lines))?
            };
            errln!("{taken} answers imported; existing answers that are not older were kept");
        }
        CacheCommand::Purge { file, older_than, prompt, all } => {
            ensure!(
                all || older_than.is_some() || prompt.is_some(),
                "select answers with --older-than 30d, --prompt empathy, or --all"
            );
            let older_than =
                older_than.as_deref().map(|text| age("--older-than", text)).transpose()?;
            let removed = existing(&file)?.purge(&Purge { older_than, prompt })?;
            errln!("{removed} answers removed; the judge is asked again when they are needed");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens an existing cache. A misspelt name must not create an empty one.
fn existing(file: &Path) -> anyhow::Result<Arc<Store>> {
    ensure!(
        file.exists(),
        "there is no cache at {}; the judge's `cache.path` names the file",
        file.display()
    );
    Ok(Store::open(file, CacheConfig::default().sync)?)
}

fn stats(file: &Path, json: bool) -> anyhow::Result<()> {
    let stats = existing(file)?.stats()?;
    if json {
        outln!("{}", serde_json::to_string_pretty(&stats)?)?;
    } else {
        outln!("{}", table(&stats))?;
        outln!("{} answers, {} bytes", stats.answers, stats.file_bytes)?;
        for (budget, cost) in &stats.spent {
            outln!("spent, {budget}: {cost:.4}")?;
        }
    }
    Ok(())
}

fn table(stats: &StoreStats) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_HORIZONTAL_ONLY)
        .set_header(["prompt", "answers", "cost", "oldest", "newest"]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for (prompt, answers) in &stats.prompts {
        table.add_row([
            prompt.clone(),
            answers.answers.to_string(),
            format!("{:.4}", answers.cost),
            ago(answers.oldest),
            ago(answers.newest),
        ]);
    }
    table
}

fn ago(at: u64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = now.as_secs().saturating_sub(at);
    match seconds {
        0..=119 => format!("{seconds} s ago"),
        120..=7199 => format!("{} min ago", seconds / 60),
        7200..=172_799 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

fn export(file: &Path, out: Option<&Path>) -> anyhow::Result<()> {
    let store = existing(file)?;
    let count = match out {
        Some(out) => {
            let to =
                File::create_new(out).with_context(|| format!("cannot make {}", out.display()))?;
            store.export(BufWriter::new(to))?
        }
        None => store.export(BufWriter::new(standard_output()))?,
    };
    errln!("{count} answers written");
    Ok(())
}

/// Parses an age such as `90s`, `15m`, `12h` or `30d`.
pub(super) fn age(option: &str, text: &str) -> anyhow::Result<Duration> {
    let wrong = || format!("{option} {text}: write a number and s, m, h or d, such as 30d");
    let (number, unit) =
        text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => bail!(wrong()),
    };
    let number: u64 = number.parse().with_context(wrong)?;
    Ok(Duration::from_secs(number.checked_mul(seconds).with_context(wrong)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_is_a_number_and_a_unit() {
        assert_eq!(age("--since", "30d").unwrap(), Duration::from_secs(30 * 86_400));
        assert_eq!(age("--since", "0s").unwrap(), Duration::ZERO);
        for bad in ["", "d", "30", "30y", "-1d", "3日"] {
            assert!(age("--since", bad).unwrap_err().to_string().contains("such as 30d"), "{bad}");
        }
    }
}

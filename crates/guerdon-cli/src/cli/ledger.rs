//! `guerdon ledger`: recorded rollouts.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ConfigurationArgs;

pub(crate) const RESCORE: &str = "\
Nothing is asked and nothing is recorded. Rules are run again where the packs differ, which needs the
texts of the ledger; rubrics get their new points from stored verdicts; the fusion is computed again.
Answers of the reward model and the judge are taken as they are stored. A rollout that cannot be
recomputed is counted, with the reason.

Example:
  guerdon rescore .guerdon/ledger.sqlite --profile hotel --run exp-12";

pub(crate) const EXAMPLES: &str = "\
Examples:
  guerdon ledger query .guerdon/ledger.sqlite --run exp-12 --failed
  guerdon ledger export .guerdon/ledger.sqlite --run exp-12 --out exp-12.parquet
  guerdon ledger prune .guerdon/ledger.sqlite --older-than 30d";

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// List rollouts, the newest first
    Query {
        /// The file named by `ledger.path`, or the URL of a database
        #[arg(value_name = "LEDGER")]
        ledger: PathBuf,
        #[command(flatten)]
        filter: LedgerFilterArgs,
        /// The number of rollouts
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: usize,
        /// Print the lines that `export` writes
        #[arg(long)]
        json: bool,
    },
    /// Write rollouts with their results: a line of JSON each, or a row of Parquet
    Export {
        /// The file named by `ledger.path`, or the URL of a database
        #[arg(value_name = "LEDGER")]
        ledger: PathBuf,
        #[command(flatten)]
        filter: LedgerFilterArgs,
        /// Write to this new file, as Parquet if its name ends in .parquet; default: JSON lines on
        /// standard output
        #[arg(long, short, value_name = "OUT")]
        out: Option<PathBuf>,
    },
    /// Remove rollouts for good
    Prune {
        /// The file named by `ledger.path`, or the URL of a database
        #[arg(value_name = "LEDGER")]
        ledger: PathBuf,
        #[command(flatten)]
        filter: LedgerFilterArgs,
        /// Only rollouts of at least this age: 90s, 15m, 12h, 30d
        #[arg(long, value_name = "AGE")]
        older_than: Option<String>,
        /// Remove the oldest rollouts until the file has this many bytes
        #[arg(long, value_name = "BYTES", conflicts_with_all = ["older_than", "all"])]
        max_bytes: Option<u64>,
        /// Remove every rollout
        #[arg(long)]
        all: bool,
    },
}

/// A selection of rollouts. All conditions must hold.
#[derive(Debug, Args)]
pub(crate) struct LedgerFilterArgs {
    /// Only this run
    #[arg(long)]
    pub(crate) run: Option<String>,
    /// Only this step, or these: 140, 100..=199
    #[arg(long, value_name = "STEPS", value_parser = steps)]
    pub(crate) step: Option<(u64, u64)>,
    /// Only this split
    #[arg(long)]
    pub(crate) split: Option<String>,
    /// Only this group
    #[arg(long)]
    pub(crate) group: Option<String>,
    /// Only rollouts with this id of their caller
    #[arg(long, value_name = "ID")]
    pub(crate) rollout: Option<String>,
    /// Only this profile
    #[arg(long, value_name = "NAME")]
    pub(crate) of_profile: Option<String>,
    /// Only this configuration, by `versions.digest` of a reply
    #[arg(long)]
    pub(crate) digest: Option<String>,
    /// Only rollouts without a reward
    #[arg(long)]
    pub(crate) failed: bool,
    /// Only rollouts of this time until now: 12h, 7d
    #[arg(long, value_name = "AGE")]
    pub(crate) since: Option<String>,
}

/// Parses a step, or the first and the last step.
fn steps(text: &str) -> Result<(u64, u64), String> {
    let number = |text: &str| text.parse::<u64>().ok();
    let range = match text.split_once("..=") {
        Some((first, last)) => number(first).zip(number(last)),
        None => number(text).map(|step| (step, step)),
    };
    range.ok_or_else(|| "write a step, such as 140, or steps, such as 100..=199".to_owned())
}

/// A ledger, and the profile with the edit.
#[derive(Debug, Args)]
pub(crate) struct LedgerRescoreArgs {
    /// The file named by `ledger.path`, or the URL of a database
    #[arg(value_name = "LEDGER")]
    pub(crate) ledger: PathBuf,
    /// The profile of the configuration whose rules, rubrics and fusion are applied
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: String,
    /// The rubrics that made the results, where the points of the profile's rubrics differ
    #[arg(long, value_name = "PROMPT", num_args = 1..)]
    pub(crate) before: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) filter: LedgerFilterArgs,
    /// Print JSON, with every result
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) configuration: ConfigurationArgs,
}

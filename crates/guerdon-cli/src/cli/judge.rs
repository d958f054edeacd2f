//! `guerdon judge` and `guerdon cache`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::configuration::ConfigurationArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum JudgeCommand {
    /// Compile judge prompts and report errors and warnings
    Check {
        /// Prompts, or folders of prompts
        #[arg(required = true, value_name = "PROMPT")]
        prompts: Vec<PathBuf>,
        /// Refuse drafts: prompts whose version is not sealed to their text
        #[arg(long)]
        sealed: bool,
        /// Print the diagnostics as JSON, for editors
        #[arg(long)]
        json: bool,
    },
    /// Seal prompts: write the hash of their text, and raise the version of edited prompts
    Bump {
        /// Prompts, or folders of prompts
        #[arg(required = true, value_name = "PROMPT")]
        prompts: Vec<PathBuf>,
    },
    /// Print the messages that a judge would receive for a rollout
    Render {
        /// The prompt
        #[arg(value_name = "PROMPT")]
        prompt: PathBuf,
        /// A file of rollouts, or a request; the first one is taken. `-` is standard input
        #[arg(long, value_name = "IN.jsonl")]
        rollout: PathBuf,
    },
    /// Ask a judge about a rollout and print its verdict
    Try {
        /// The prompt
        #[arg(value_name = "PROMPT")]
        prompt: PathBuf,
        /// A file of rollouts, or a request; the first one is taken. `-` is standard input
        #[arg(long, value_name = "IN.jsonl")]
        rollout: PathBuf,
        #[command(flatten)]
        judge: JudgeArgs,
    },
    /// Measure a judge's agreement with people and with itself
    Calibrate(CalibrateArgs),
    /// Apply a prompt's new points to stored verdicts, and show the rewards that they would have
    /// made; nothing is asked
    Rescore(RescoreArgs),
    /// Ask a judge questions with known answers, forged verdicts among them
    Probe {
        /// Prompts, or folders of prompts
        #[arg(required = true, value_name = "PROMPT")]
        prompts: Vec<PathBuf>,
        #[command(flatten)]
        judge: JudgeArgs,
    },
}

/// A judge, labels given by people, and the forms of the result.
#[derive(Debug, Args)]
pub(crate) struct CalibrateArgs {
    /// The prompt
    #[arg(value_name = "PROMPT")]
    pub(crate) prompt: PathBuf,
    /// Labels by people, JSON lines (or .gz): {"messages", "labels": {criterion: level}} and perhaps
    /// "second", the labels of another pass; or pairs {"prompt", "output_a", "output_b",
    /// "human_label"}
    #[arg(long, value_name = "FILE")]
    pub(crate) gold: PathBuf,
    /// Compare only the labels with the second labels; no judge is asked
    #[arg(long, conflicts_with_all = ["svg", "stamp", "repeats"])]
    pub(crate) labels_only: bool,
    /// Ask each item this many more times, to measure the judge's consistency
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub(crate) repeats: u32,
    /// Write a chart of kappa with its intervals to this file
    #[arg(long, value_name = "OUT.svg")]
    pub(crate) svg: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the lowest kappa into the prompt, where it is compared with `least_kappa`
    #[arg(long)]
    pub(crate) stamp: bool,
    #[command(flatten)]
    pub(crate) judge: JudgeArgs,
}

/// A store of answers, a prompt with new points, and stored results.
#[derive(Debug, Args)]
pub(crate) struct RescoreArgs {
    /// The file named by `cache.path` of a judge
    #[arg(value_name = "STORE")]
    pub(crate) store: PathBuf,
    /// The prompt with the new points
    #[arg(value_name = "PROMPT")]
    pub(crate) prompt: PathBuf,
    /// The prompt as it was before, to compare with
    #[arg(long, value_name = "PROMPT")]
    pub(crate) before: Option<PathBuf>,
    /// Count only the answers of this time until now: 12h, 7d
    #[arg(long, value_name = "AGE")]
    pub(crate) since: Option<String>,
    /// Results of `guerdon score`, or of the server, whose rewards to recompute; needs --before
    #[arg(long, value_name = "OUT.jsonl")]
    pub(crate) results: Option<PathBuf>,
    /// The rollouts of these results, to compare the order within their groups; without --results,
    /// rollouts whose points to recompute from their stored answers; needs --before
    #[arg(long, value_name = "IN.jsonl")]
    pub(crate) rollouts: Option<PathBuf>,
    /// Print JSON, with every result
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) configuration: ConfigurationArgs,
}

/// The judge to ask.
#[derive(Debug, Args)]
pub(crate) struct JudgeArgs {
    #[command(flatten)]
    pub(crate) configuration: ConfigurationArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Print the number of answers by prompt, and the money spent
    Stats {
        /// The file named by `cache.path` of a judge
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write every answer as one line of JSON
    Export {
        /// The file named by `cache.path` of a judge
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Write to this new file; default: standard output
        #[arg(long, short, value_name = "OUT.jsonl")]
        out: Option<PathBuf>,
    },
    /// Add the answers that `export` wrote; of two answers to one question the newer is kept
    Import {
        /// The file named by `cache.path` of a judge; created if it is missing
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The answers; `-` reads standard input
        #[arg(value_name = "IN.jsonl")]
        input: PathBuf,
    },
    /// Remove answers, so that the judge is asked again
    Purge {
        /// The file named by `cache.path` of a judge
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Only answers of at least this age: 90s, 15m, 12h, 30d
        #[arg(long, value_name = "AGE")]
        older_than: Option<String>,
        /// Only answers to this judge prompt
        #[arg(long, value_name = "ID")]
        prompt: Option<String>,
        /// Remove every answer
        #[arg(long, conflicts_with_all = ["older_than", "prompt"])]
        all: bool,
    },
}

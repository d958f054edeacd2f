//! `guerdon judge` and `guerdon cache`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Configuration;

#[derive(Debug, Subcommand)]
pub(crate) enum Judge {
    /// Compile judge prompts, and report like a compiler
    Check {
        /// Prompts, or folders of prompts
        #[arg(required = true, value_name = "PROMPT")]
        prompts: Vec<PathBuf>,
        /// Refuse drafts: prompts whose version is not sealed to their text
        #[arg(long)]
        sealed: bool,
    },
    /// Seal prompts: write the hash of their text, and raise the version of those that were edited since
    Bump {
        /// Prompts, or folders of prompts
        #[arg(required = true, value_name = "PROMPT")]
        prompts: Vec<PathBuf>,
    },
    /// Print what a judge would be sent for a rollout
    Render {
        /// The prompt
        #[arg(value_name = "PROMPT")]
        prompt: PathBuf,
        /// A file of rollouts; the first one is taken
        #[arg(long, value_name = "IN.jsonl")]
        rollout: PathBuf,
    },
    /// Ask a judge about a rollout, and print what it says
    Try {
        /// The prompt
        #[arg(value_name = "PROMPT")]
        prompt: PathBuf,
        /// A file of rollouts; the first one is taken
        #[arg(long, value_name = "IN.jsonl")]
        rollout: PathBuf,
        #[command(flatten)]
        at: JudgeAt,
    },
    /// Measure how far a judge agrees with people, and with itself
    Calibrate(Calibrate),
    /// Ask a judge questions whose answer is known, forged verdicts among them
    Probe {
        /// Prompts, or folders of prompts
        #[arg(required = true, value_name = "PROMPT")]
        prompts: Vec<PathBuf>,
        #[command(flatten)]
        at: JudgeAt,
    },
}

/// Measures a judge against people.
#[derive(Debug, Args)]
pub(crate) struct Calibrate {
    /// The prompt
    #[arg(value_name = "PROMPT")]
    pub(crate) prompt: PathBuf,
    /// What people said, JSON lines (or .gz): {"messages", "labels": {criterion: level}}, or pairs {"prompt", "output_a",
    /// "output_b", "human_label"}
    #[arg(long, value_name = "FILE")]
    pub(crate) gold: PathBuf,
    /// Ask each item this many more times, to see how steady the judge is
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub(crate) repeats: u32,
    /// Draw kappa with its intervals here
    #[arg(long, value_name = "OUT.svg")]
    pub(crate) svg: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the least kappa into the prompt, where its `least_kappa` is compared with it
    #[arg(long)]
    pub(crate) stamp: bool,
    #[command(flatten)]
    pub(crate) at: JudgeAt,
}

/// Which judge is asked.
#[derive(Debug, Args)]
pub(crate) struct JudgeAt {
    #[command(flatten)]
    pub(crate) configuration: Configuration,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Cache {
    /// Say what a cache holds, by prompt, and what was spent
    Stats {
        /// The file named by `cache.path` of a judge
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write every answer as one JSON line
    Export {
        /// The file named by `cache.path` of a judge
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Write here; must not exist. Default: standard output
        #[arg(long, short, value_name = "OUT.jsonl")]
        out: Option<PathBuf>,
    },
    /// Take in what `export` wrote; of two answers to one question the newer stays
    Import {
        /// The file named by `cache.path` of a judge; made if it is missing
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The answers; `-` reads standard input
        #[arg(value_name = "IN.jsonl")]
        input: PathBuf,
    },
    /// Remove answers, so that they are bought again
    Purge {
        /// The file named by `cache.path` of a judge
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Only those of at least this age: 90s, 15m, 12h, 30d
        #[arg(long, value_name = "AGE")]
        older_than: Option<String>,
        /// Only answers to this judge prompt
        #[arg(long, value_name = "ID")]
        prompt: Option<String>,
        /// All of them
        #[arg(long, conflicts_with_all = ["older_than", "prompt"])]
        all: bool,
    },
}

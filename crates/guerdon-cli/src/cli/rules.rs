//! `guerdon rules`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// Compile packs, run the examples of their rules, and report errors and warnings
    Check {
        /// Packs, or folders of packs
        #[arg(required = true, value_name = "PACK")]
        packs: Vec<PathBuf>,
        /// Print the diagnostics as JSON, for editors
        #[arg(long)]
        json: bool,
    },
    /// Run the examples of the rules as tests
    Test {
        /// Packs, or folders of packs
        #[arg(required = true, value_name = "PACK")]
        packs: Vec<PathBuf>,
        /// The form of the results
        #[arg(long, value_enum, default_value_t = TestFormat::Text)]
        format: TestFormat,
    },
    /// Show the hits of packs in a text or in dialogues, with the matched words in colour
    Try {
        /// Packs, or folders of packs
        #[arg(required = true, value_name = "PACK")]
        packs: Vec<PathBuf>,
        /// An assistant's reply
        #[arg(long, conflicts_with = "on")]
        text: Option<String>,
        /// Rollouts instead, one JSON object per line; `-` reads standard input
        #[arg(long, value_name = "IN.jsonl")]
        on: Option<PathBuf>,
        /// Context values of --text, as a JSON object: '{"target_price": 420}'
        #[arg(long, default_value = "{}", value_name = "JSON")]
        context: String,
        /// Print JSON in the form of the server's replies
        #[arg(long)]
        json: bool,
        /// The use of colour
        #[arg(long, value_enum, default_value_t = Color::Auto)]
        color: Color,
    },
    /// Compare two packs, or folders of packs, on the same rollouts: points, vetoes, shadow hits,
    /// rewards, and the order within groups
    ///
    /// Without --scores the rewards are those of the rules alone.
    Diff {
        /// The current packs
        #[arg(value_name = "OLD")]
        old: PathBuf,
        /// The edited packs
        #[arg(value_name = "NEW")]
        new: PathBuf,
        /// Rollouts, one JSON object per line; `-` reads standard input
        #[arg(long, value_name = "IN.jsonl")]
        on: PathBuf,
        /// Show this many of the most changed turns
        #[arg(long, default_value_t = 10, value_name = "N")]
        examples: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Results of `guerdon score` on the same rollouts: the parts of the other sources
        #[arg(long, value_name = "RESULTS.jsonl")]
        scores: Option<PathBuf>,
        /// The fusion of the rewards with --scores
        #[arg(long, value_enum, default_value_t = DiffFusion::Gated, requires = "scores")]
        fusion: DiffFusion,
        /// Fail if the edit changes any of these; several are separated by commas
        #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND")]
        fail_on: Vec<DiffKind>,
    },
    /// Label hits: shows each hit without a label and asks if it is right
    ///
    /// Each answer is appended to a CSV file at once. Skipped hits are asked again the next time.
    Label {
        /// Rollouts, one JSON object per line, with or without `labels`
        #[arg(value_name = "IN.jsonl")]
        file: PathBuf,
        /// Packs, or folders of packs
        #[arg(long, default_value = "rules", value_name = "PACK")]
        packs: Vec<PathBuf>,
        /// The file of labels; default: IN.labels.csv
        #[arg(long, value_name = "CSV")]
        labels: Option<PathBuf>,
        /// Ask about this rule only (pack/rule)
        #[arg(long, value_name = "RULE")]
        rule: Option<String>,
        /// Ask about the turns that RULE does not hit, too, to measure its recall
        #[arg(long)]
        missed: bool,
        /// The use of colour
        #[arg(long, value_enum, default_value_t = Color::Auto)]
        color: Color,
    },
    /// Measure the precision and recall of rules on labelled turns
    ///
    /// Labels are read from the rollouts (`"labels": {"TURN": {"pack/rule": true}}`) and from a CSV
    /// file with the columns rollout, turn, rule and label.
    Eval {
        /// Packs, or folders of packs
        #[arg(required = true, value_name = "PACK")]
        packs: Vec<PathBuf>,
        /// Rollouts, one JSON object per line; `-` reads standard input
        #[arg(long, value_name = "IN.jsonl")]
        on: PathBuf,
        /// The file of labels; default: IN.labels.csv, if it exists
        #[arg(long, value_name = "CSV")]
        labels: Option<PathBuf>,
        /// The form of the results
        #[arg(long, value_enum, default_value_t = MeasureFormat::Text)]
        format: MeasureFormat,
        /// Fail if the precision of a measured rule is lower
        #[arg(long, value_name = "SHARE", value_parser = share)]
        fail_under: Option<f64>,
        /// The same for vetoes and rules that deduct 40 points or more
        #[arg(long, value_name = "SHARE", value_parser = share)]
        fail_under_grave: Option<f64>,
        /// The number of labelled hits below which a rule is not measured
        #[arg(long, default_value_t = 20, value_name = "N")]
        min_hits: usize,
    },
    /// Measure packs on rollouts: turns per second, and the most expensive rules
    Bench {
        /// Packs, or folders of packs
        #[arg(required = true, value_name = "PACK")]
        packs: Vec<PathBuf>,
        /// Rollouts, one JSON object per line; `-` reads standard input
        #[arg(long, value_name = "IN.jsonl")]
        on: PathBuf,
        /// Show this many rules
        #[arg(long, default_value_t = 15, value_name = "N")]
        top: usize,
    },
    /// Format packs: keys in a fixed order, an empty line between rules; comments and meaning stay
    Fmt {
        /// Packs, or folders of packs
        #[arg(required = true, value_name = "PACK")]
        packs: Vec<PathBuf>,
        /// Change nothing; fail if a file would change
        #[arg(long)]
        check: bool,
    },
    /// Serve editors: diagnostics, completion, hover, quick fixes and formatting of packs
    ///
    /// Speaks the Language Server Protocol on standard input and output.
    Lsp,
    /// Draft a rule from a bad reply
    NewFromBadcase {
        /// Rollouts, one JSON object per line; `-` reads standard input
        #[arg(value_name = "IN.jsonl")]
        rollout: PathBuf,
        /// The line of the rollout, counting from 1
        #[arg(long, default_value_t = 1, value_name = "N")]
        line: usize,
        /// The index of the message; default: the last scored turn
        #[arg(long, value_name = "INDEX")]
        turn: Option<usize>,
        /// The phrase that must not occur
        #[arg(long)]
        phrase: String,
        /// The rule's id; default: derived from the phrase
        #[arg(long)]
        id: Option<String>,
    },
}

/// The form of test results.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum TestFormat {
    /// Failures and their number
    Text,
    /// Test Anything Protocol
    Tap,
    /// JUnit XML
    Junit,
}

/// A method of fusion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiffFusion {
    /// `repo`, at most the floor after a veto
    Gated,
    /// The paper's bounded modulation of the reward model
    Repo,
    /// The weighted sum
    WeightedSum,
}

/// A kind of change between two packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiffKind {
    /// Hits, or their points
    Points,
    /// Vetoes
    Veto,
    /// Hits of shadow rules
    Shadow,
    /// The reward of a turn
    Reward,
    /// The order of rollouts within a group
    Rank,
    /// Turns on which a rule cannot be decided
    Undecided,
}

/// The form of measures.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum MeasureFormat {
    /// A table
    Text,
    /// JSON
    Json,
    /// JUnit XML
    Junit,
}

/// Reads a share from 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("not from 0 to 1".to_owned()) }
}

/// The use of colour.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Color {
    pub(crate) fn is_on(self) -> bool {
        match self {
            Self::Auto => std::io::IsTerminal::is_terminal(&std::io::stdout()),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

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
    /// Compare two packs, or folders of packs, on the same rollouts: the turns whose points differ
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

//! `guerdon rules`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum Rules {
    /// Compile packs, run the examples beside their rules, and report like a compiler
    Check {
        /// Packs, or folders of packs
        #[arg(required = true, value_name = "PACK")]
        packs: Vec<PathBuf>,
        /// Print the diagnostics as JSON, for editors
        #[arg(long)]
        json: bool,
    },
    /// Run the examples beside the rules as tests
    Test {
        /// Packs, or folders of packs
        #[arg(required = true, value_name = "PACK")]
        packs: Vec<PathBuf>,
        /// How to print the results
        #[arg(long, value_enum, default_value_t = TestFormat::Text)]
        format: TestFormat,
    },
    /// Show what packs say of a text or of dialogues, the words they hit in colour
    Try {
        /// Packs, or folders of packs
        #[arg(required = true, value_name = "PACK")]
        packs: Vec<PathBuf>,
        /// An assistant's reply
        #[arg(long, conflicts_with = "on")]
        text: Option<String>,
        /// Rollouts instead, one JSON object a line; `-` reads standard input
        #[arg(long, value_name = "IN.jsonl")]
        on: Option<PathBuf>,
        /// Context values of --text, as a JSON object: '{"target_price": 420}'
        #[arg(long, default_value = "{}", value_name = "JSON")]
        context: String,
        /// Print JSON, as a reply of the server holds it
        #[arg(long)]
        json: bool,
        /// Colour
        #[arg(long, value_enum, default_value_t = Color::Auto)]
        color: Color,
    },
    /// Show whose points an edit would change: two packs, or folders of packs, on the same rollouts
    Diff {
        /// The packs as they are
        #[arg(value_name = "OLD")]
        old: PathBuf,
        /// The packs as they would be
        #[arg(value_name = "NEW")]
        new: PathBuf,
        /// Rollouts, one JSON object a line; `-` reads standard input
        #[arg(long, value_name = "IN.jsonl")]
        on: PathBuf,
        /// Show so many of the most changed turns
        #[arg(long, default_value_t = 10, value_name = "N")]
        examples: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Measure packs on rollouts: turns a second, and the dearest rules
    Bench {
        /// Packs, or folders of packs
        #[arg(required = true, value_name = "PACK")]
        packs: Vec<PathBuf>,
        /// Rollouts, one JSON object a line; `-` reads standard input
        #[arg(long, value_name = "IN.jsonl")]
        on: PathBuf,
        /// Show so many rules
        #[arg(long, default_value_t = 15, value_name = "N")]
        top: usize,
    },
    /// Tidy packs: keys in one order, an empty line between rules; comments stay, meaning too
    Fmt {
        /// Packs, or folders of packs
        #[arg(required = true, value_name = "PACK")]
        packs: Vec<PathBuf>,
        /// Change nothing; fail if something would change
        #[arg(long)]
        check: bool,
    },
    /// Draft a rule from a reply that went wrong
    NewFromBadcase {
        /// Rollouts, one JSON object a line; `-` reads standard input
        #[arg(value_name = "IN.jsonl")]
        rollout: PathBuf,
        /// Which line of them
        #[arg(long, default_value_t = 1, value_name = "N")]
        line: usize,
        /// Which message; default: the last that is scored
        #[arg(long, value_name = "INDEX")]
        turn: Option<usize>,
        /// What should not have been said
        #[arg(long)]
        phrase: String,
        /// The rule's id; default: made of the phrase
        #[arg(long)]
        id: Option<String>,
    },
}

/// How test results are printed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum TestFormat {
    /// What failed, and a count
    Text,
    /// Test Anything Protocol
    Tap,
    /// JUnit XML
    Junit,
}

/// When to use colour.
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

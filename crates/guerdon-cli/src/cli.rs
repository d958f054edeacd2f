//! Every command and flag, with its help. What they mean is in `commands/`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Rewards for RL post-training of dialogue agents: a preference reward model, an LLM judge and rules, fused, explained
/// and versioned.
#[derive(Debug, Parser)]
#[command(
    name = "guerdon",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "\
Examples:
  guerdon serve                                  serve the profile of ./guerdon.toml on loopback
  guerdon score dialogues.jsonl --local --table  score a file without a server, for people
  guerdon score dialogues.jsonl --out rewards.jsonl
                                                 score a file on the server at 127.0.0.1:8787
  guerdon rules check rules/                     compile rule packs, run their examples, report like a compiler
"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve rewards over HTTP
    Serve(Serve),
    /// Score a file of rollouts
    Score(Score),
    /// Check and try rule packs
    #[command(subcommand)]
    Rules(Rules),
    /// Check, seal, render, try and probe judge prompts
    #[command(subcommand)]
    Judge(Judge),
    /// Look at, move and purge the answers that judges were paid for
    #[command(subcommand)]
    Cache(Cache),
    /// Look at, check and measure reward models
    #[command(subcommand)]
    Rm(Rm),
    /// Check and show the configuration
    #[command(subcommand)]
    Config(Config),
    /// Print the OpenAPI document of the server
    #[command(hide = true)]
    Openapi,
}

/// Where the configuration comes from.
#[derive(Debug, Clone, Args)]
pub(crate) struct Configuration {
    /// The TOML file; paths in it are relative to its folder. Variables such as GUERDON__SERVER__LOG override it, and
    /// flags override both
    #[arg(long, env = "GUERDON_CONFIG", default_value = "guerdon.toml", value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Ask this judge, a name under `judges` in the configuration, in the default profile
    #[arg(long, value_name = "NAME")]
    pub(crate) judge: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) configuration: Configuration,
    /// Address and port; port 0 picks a free one and prints it
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct Score {
    /// The rollouts, one JSON object a line as in POST /v1/score; `-` reads standard input
    #[arg(value_name = "IN.jsonl")]
    pub(crate) input: PathBuf,
    /// Write results here, one a line in the order of the input; default: standard output
    #[arg(long, short, value_name = "OUT.jsonl")]
    pub(crate) out: Option<PathBuf>,
    /// Print a table for people instead of JSON lines
    #[arg(long)]
    pub(crate) table: bool,
    /// The server
    #[arg(long, env = "GUERDON_URL", default_value = "http://127.0.0.1:8787")]
    pub(crate) url: String,
    /// The file that holds the server's bearer token; default: the variable GUERDON_TOKEN
    #[arg(long, value_name = "FILE", conflicts_with = "local")]
    pub(crate) token_file: Option<PathBuf>,
    /// Score in this process, without a server
    #[arg(long)]
    pub(crate) local: bool,
    #[command(flatten)]
    pub(crate) configuration: Configuration,
    /// The profile; default: the server's
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Ask only these sources
    #[arg(long, value_name = "SOURCE", value_delimiter = ',')]
    pub(crate) sources: Vec<String>,
    /// Changes to the fusion, as JSON: '{"method": "weighted_sum"}'
    #[arg(long, value_name = "JSON")]
    pub(crate) fusion: Option<String>,
    /// Add group advantages: grpo, dr_grpo, rloo or batch_std
    #[arg(long, value_name = "ESTIMATOR")]
    pub(crate) advantages: Option<String>,
}

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

#[derive(Debug, Subcommand)]
pub(crate) enum Rm {
    /// Load a model folder, verify its hashes, and say what it is
    Info(RmModel),
    /// Score dialogues alone and together, and compare: with each other, and with the scores beside the model
    Check {
        #[command(flatten)]
        model: RmModel,
        /// Rollouts, one a line; default: reference.jsonl in the model's folder
        #[arg(long, value_name = "IN.jsonl")]
        on: Option<PathBuf>,
        /// How far apart two scores of one dialogue may be
        #[arg(long, default_value_t = 1e-4, value_name = "DIFFERENCE")]
        tolerance: f32,
    },
    /// Measure how fast a model scores dialogues, all of them at once
    Bench {
        #[command(flatten)]
        model: RmModel,
        /// Rollouts, one a line
        #[arg(long, value_name = "IN.jsonl")]
        on: PathBuf,
        /// Tokens of one batch; default: see `guerdon config show`
        #[arg(long, value_name = "TOKENS")]
        token_budget: Option<usize>,
        /// Sequences of one batch
        #[arg(long, value_name = "SEQUENCES")]
        max_batch: Option<usize>,
    },
}

/// A model, and what to run it with.
#[derive(Debug, Args)]
pub(crate) struct RmModel {
    /// The folder that holds guerdon.model.toml
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    /// cpu, cuda or cuda:1
    #[arg(long, default_value = "cpu")]
    pub(crate) device: guerdon_model::Device,
    /// ONNX Runtime's shared library; default: see `make onnxruntime`
    #[arg(long, env = "ORT_DYLIB_PATH", value_name = "FILE")]
    pub(crate) runtime: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Load everything that the configuration names: models, packs, prompts, secrets
    Check(Configuration),
    /// Print the configuration that is in force, every default filled in; secrets are named, never shown
    Show(Configuration),
}

//! Every command and flag, with its help. `commands/` implements them.

mod configuration;
mod eval;
mod fit;
mod init;
mod judge;
mod ledger;
mod rules;
mod view;

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};
pub(crate) use configuration::ConfigurationArgs;
pub(crate) use eval::EvalArgs;
pub(crate) use fit::{FitArgs, FittedKind, PlotCommand};
use guerdon_client::optim::RolloutEstimator;
pub(crate) use init::{InitArgs, Template};
pub(crate) use judge::{CacheCommand, CalibrateArgs, JudgeArgs, JudgeCommand, RescoreArgs};
pub(crate) use ledger::{LedgerCommand, LedgerFilterArgs, LedgerRescoreArgs};
pub(crate) use rules::{DiffFusion, DiffKind, MeasureFormat, RulesCommand, TestFormat};
pub(crate) use view::ViewArgs;

use crate::commands::score::{ExtraColumns, RowForm, Shard, Thoughts};

/// Rewards for RL post-training of dialogue agents: a preference reward model, an LLM judge and
/// rules, fused, explained and versioned.
#[derive(Debug, Parser)]
#[command(
    name = "guerdon",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "\
Examples:
  guerdon init reward                            write a configuration, rules, a rubric and a sample
  guerdon serve                                  serve the profile of ./guerdon.toml on loopback
  guerdon score dialogues.jsonl --local --table  score a file without a server, print a table
  guerdon score dialogues.jsonl --out rewards.jsonl
                                                 score a file on the server at 127.0.0.1:8787
  guerdon rules check rules/                     compile rule packs and run their examples
"
)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: TopCommand,
}

const SCORE: &str = "\
An interrupted run (Ctrl-C, SIGTERM, a killed process, a server that went away) keeps its results in
OUT.jsonl.part; OUT.jsonl itself is written when all results are there. The same command with --resume
continues the run, if input, settings and the server's versions are the same. Rollouts without an
answer of the server are scored then; with --advantages, so is every group that is not complete. A
server that loads another configuration during the run ends it, so that one file has the rewards of
one configuration. With --resume, a finished run leaves OUT.jsonl.done, by which the same command
recognises later that nothing is left to do. On the first signal, requests under way are finished,
for at most 30 s; a second signal stops at once.

Exit status: 0 if every rollout has a reward, 1 if one has none or the run failed, 2 for a wrong
command line, 130 after SIGINT, 143 after SIGTERM.";

const COMPLETIONS: &str = "\
Examples:
  guerdon completions bash > ~/.local/share/bash-completion/completions/guerdon
  guerdon completions zsh  > ~/.zfunc/_guerdon        with ~/.zfunc in fpath
  guerdon completions fish > ~/.config/fish/completions/guerdon.fish";

#[derive(Debug, Subcommand)]
pub(crate) enum TopCommand {
    /// Write a configuration with a rule pack, a rubric and a sample into a folder
    #[command(after_help = init::EXAMPLES)]
    Init(InitArgs),
    /// Serve rewards over HTTP
    Serve(ServeArgs),
    /// Score a file of rollouts
    #[command(after_help = SCORE)]
    Score(ScoreArgs),
    /// Show scored rollouts in a browser: dialogues, parts of every reward, groups, runs, edits
    #[command(after_help = view::EXAMPLES)]
    View(ViewArgs),
    /// Check and try rule packs
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Check, seal, render, try and probe judge prompts
    #[command(subcommand)]
    Judge(JudgeCommand),
    /// List, export, import and purge cached judge answers
    #[command(subcommand)]
    Cache(CacheCommand),
    /// List, export and remove the rollouts that a server recorded
    #[command(subcommand, after_help = ledger::EXAMPLES)]
    Ledger(LedgerCommand),
    /// Compute the rewards that an edited profile would have given to recorded rollouts
    #[command(after_help = ledger::RESCORE)]
    Rescore(LedgerRescoreArgs),
    /// Inspect, check and measure reward models
    #[command(subcommand)]
    Rm(RmCommand),
    /// Compute measures of methods from files of ratings, verdicts and outcomes
    Eval(EvalArgs),
    /// Fit a normaliser on a reference set, and print it for the configuration
    Fit(FitArgs),
    /// Draw a normaliser or a fusion as SVG
    #[command(subcommand)]
    Plot(PlotCommand),
    /// Check and show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the completions of a shell
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write the pages of all commands
    Man {
        /// Write guerdon.1 and a page for each command into this folder
        #[arg(long, short, value_name = "FOLDER")]
        out: Option<PathBuf>,
    },
    /// Print the OpenAPI document of the server
    #[command(hide = true)]
    Openapi,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) configuration: ConfigurationArgs,
    /// Address and port, such as 127.0.0.1:8787 or localhost:8787; port 0 picks a free one and
    /// prints it
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ScoreArgs {
    /// Rollouts, one JSON object per line as in POST /v1/score, or rows of another form (see
    /// --form); also a JSON list or a whole request; plain, gzip or zstd; or Parquet; `-` reads
    /// standard input
    #[arg(value_name = "IN.jsonl", required_unless_present = "inputs")]
    pub(crate) input: Option<PathBuf>,
    /// Score many files by parts, on any number of machines: a file, a folder, or a pattern such as
    /// 'data/*.parquet'. Files are Parquet, or JSON lines, plain,
    /// gzip or zstd. --out names the folder of the parts
    #[arg(long = "in", value_name = "PATTERN", requires = "out",
        conflicts_with_all = ["input", "table", "advantages"])]
    pub(crate) inputs: Option<String>,
    /// Score only this share of the parts; the index counts from 0
    #[arg(long, value_name = "INDEX/COUNT", requires = "inputs")]
    pub(crate) shard: Option<Shard>,
    /// With --in: the fewest rows of a part. A part has whole row groups of a Parquet file
    #[arg(long, value_name = "ROWS", default_value = "10000", hide_short_help = true)]
    pub(crate) part_rows: u64,
    /// With --in: the bytes of JSON lines of a part
    #[arg(long, value_name = "BYTES", default_value = "16777216", hide_short_help = true)]
    pub(crate) part_bytes: u64,
    /// The form of the rows; default: detected by their columns
    #[arg(long, value_enum)]
    pub(crate) form: Option<RowForm>,
    /// Handling of columns that the form does not have; default: refused in guerdon's own form,
    /// left out in others
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) extra_columns: Option<ExtraColumns>,
    /// Handling of thoughts before a reply, such as a <think> block
    #[arg(long, value_enum, default_value = "keep", value_name = "WHAT")]
    pub(crate) thoughts: Thoughts,
    /// Write results to this file, one per line in the order of the input, or as Parquet if its
    /// name ends in .parquet; default: standard output. The file is replaced when all results are
    /// there; until then they are in OUT.jsonl.part
    #[arg(long, short, value_name = "OUT.jsonl")]
    pub(crate) out: Option<PathBuf>,
    /// Continue an interrupted run from OUT.jsonl.part, and score no rollout twice. With --in: score
    /// the parts that are not in the folder
    #[arg(long, requires = "out")]
    pub(crate) resume: bool,
    /// Print a table instead of JSON lines
    #[arg(long)]
    pub(crate) table: bool,
    /// The server's URL, or the URLs of several replicas, separated by commas
    #[arg(long, env = "GUERDON_URL", default_value = "http://127.0.0.1:8787")]
    pub(crate) url: String,
    /// A file with the server's bearer token; default: the variable GUERDON_TOKEN
    #[arg(long, value_name = "FILE", conflicts_with = "local")]
    pub(crate) token_file: Option<PathBuf>,
    /// Score in this process, without a server
    #[arg(long)]
    pub(crate) local: bool,
    #[command(flatten)]
    pub(crate) configuration: ConfigurationArgs,
    /// The profile; default: the server's
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Use only these sources, separated by commas
    #[arg(long, value_name = "SOURCE", value_delimiter = ',')]
    pub(crate) sources: Vec<String>,
    /// Changes to the fusion, as JSON: '{"method": "weighted_sum"}'
    #[arg(long, value_name = "JSON")]
    pub(crate) fusion: Option<String>,
    /// Add advantages. The whole input is held in memory, and groups are scored whole
    #[arg(long, value_name = "ESTIMATOR", value_parser = PossibleValuesParser::new(RolloutEstimator::NAMES))]
    pub(crate) advantages: Option<String>,
    /// With opo: the fact of each rollout that is the number of tokens of its reply, as a path such as
    /// tokens or stats.tokens. With --extra-columns context, a column is a fact
    #[arg(long, value_name = "FACT", requires = "advantages")]
    pub(crate) lengths: Option<String>,
    /// With remax: the fact of each rollout that is the reward of the greedy answer to its prompt. A
    /// rollout without it gets no advantage
    #[arg(long, value_name = "FACT", requires = "advantages")]
    pub(crate) baselines: Option<String>,
}

const RM_INIT: &str = "\
The settings come from config.json, tokenizer_config.json, special_tokens_map.json, the tokenizer and the
graph. Each is printed with its source; what no file states is marked as a guess. The model is then
loaded: texts must score the same alone and padded. Nothing is written if that fails.

Examples:
  optimum-cli export onnx --task text-classification --model MODEL folder
  guerdon rm init folder
  guerdon rm init folder --python venv/bin/python --checkpoint original";

#[derive(Debug, Subcommand)]
pub(crate) enum RmCommand {
    /// Write guerdon.model.toml for a model folder that another tool exported
    #[command(after_help = RM_INIT)]
    Init(RmInitArgs),
    /// Load a model folder, verify its hashes and describe the model
    Info(RmModelArgs),
    /// Score dialogues one by one and in batches; compare both with each other and with reference
    /// scores
    Check {
        #[command(flatten)]
        model: RmModelArgs,
        /// Rollouts, one per line; default: reference.jsonl in the model's folder
        #[arg(long, value_name = "IN.jsonl")]
        on: Option<PathBuf>,
        /// The largest allowed difference between two scores of one dialogue; default: 0.0001, and
        /// for reference scores the error that the manifest states
        #[arg(long, value_name = "DIFFERENCE")]
        tolerance: Option<f32>,
    },
    /// Measure a model's throughput on dialogues that are all submitted at once
    Bench {
        #[command(flatten)]
        model: RmModelArgs,
        /// Rollouts, one per line
        #[arg(long, value_name = "IN.jsonl")]
        on: PathBuf,
        /// Sessions of the model on a CPU; default: one per core
        #[arg(long, value_name = "COPIES")]
        instances: Option<usize>,
        /// Threads of one run; default: the cores divided among the sessions
        #[arg(long, value_name = "THREADS")]
        threads: Option<usize>,
        /// Tokens of one batch; default: 256 on a CPU; on a GPU, found by trial
        #[arg(long, value_name = "TOKENS")]
        token_budget: Option<usize>,
        /// Tokens in a block of a paged decoder's cache; default: the smallest size that CUDA's
        /// fused kernel reads
        #[arg(long, value_name = "TOKENS")]
        block_size: Option<usize>,
        /// Sequences in one batch; default: 64 on a CPU, 512 on a GPU
        #[arg(long, value_name = "SEQUENCES")]
        max_batch: Option<usize>,
    },
}

/// A folder for which a manifest is written, and what its files do not state.
#[derive(Debug, Args)]
pub(crate) struct RmInitArgs {
    /// The folder with the ONNX file, or with an `onnx` folder, tokenizer.json and config.json
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// The ONNX file, if the folder has several; default: model.onnx
    #[arg(long, value_name = "FILE")]
    pub(crate) graph: Option<PathBuf>,
    /// The label that is the score, of a model with several labels; `all` reports every label and
    /// scores their mean; default: what the labels' names tell
    #[arg(long, value_name = "NUMBER|NAME|all")]
    pub(crate) label: Option<String>,
    /// The longest input in tokens; default: what the files state, at most 4,096
    #[arg(long, value_name = "TOKENS")]
    pub(crate) max_tokens: Option<usize>,
    /// The model reads two texts, the earlier messages and the reply, as a reranker does
    #[arg(long)]
    pub(crate) pair: bool,
    /// Replace an existing guerdon.model.toml and reference.jsonl
    #[arg(long)]
    pub(crate) force: bool,
    /// A Python with transformers and torch. It tokenizes about 100 dialogues, and scores them if
    /// the weights are there; the graph is compared with it, and reference.jsonl is written
    #[arg(long, env = "GUERDON_PYTHON", value_name = "FILE")]
    pub(crate) python: Option<PathBuf>,
    /// The folder with the model's original weights; default: FOLDER
    #[arg(long, value_name = "FOLDER", requires = "python")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Run code that the checkpoint brings; only from a local folder
    #[arg(long, requires = "python")]
    pub(crate) trust_remote_code: bool,
    /// Arithmetic of the graph. `int8` writes a second graph beside the given one, with large
    /// products in 8 bits, and states its difference from transformers in the manifest; the Python
    /// also needs onnx and onnxruntime, and the model's weights
    #[arg(long, requires = "python", default_value = "fp32", value_name = "PRECISION")]
    pub(crate) precision: GraphPrecision,
    /// ONNX Runtime's shared library; default: see `make onnxruntime`
    #[arg(long, env = "ORT_DYLIB_PATH", value_name = "FILE")]
    pub(crate) runtime: Option<PathBuf>,
}

/// The arithmetic of a graph that `rm init` writes a manifest for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum GraphPrecision {
    Fp32,
    Int8,
}

/// A model, its device and its runtime.
#[derive(Debug, Args)]
pub(crate) struct RmModelArgs {
    /// The folder that holds guerdon.model.toml
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    /// cpu, cuda, cuda:1, or cuda:0,1 for several GPUs
    #[arg(long, default_value = "cpu")]
    pub(crate) device: guerdon_model::Devices,
    /// ONNX Runtime's shared library; default: see `make onnxruntime`
    #[arg(long, env = "ORT_DYLIB_PATH", value_name = "FILE")]
    pub(crate) runtime: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Load everything that the configuration names: models, packs, prompts, secrets
    Check(ConfigurationArgs),
    /// Print the effective configuration with all defaults; secrets are named, never shown
    Show(ConfigurationArgs),
}

#[cfg(test)]
mod tests {
    use super::{CommandLine, RolloutEstimator};
    use clap::CommandFactory as _;

    #[test]
    fn score_help_lists_every_estimator() {
        let mut cli = CommandLine::command();
        let help = cli.find_subcommand_mut("score").unwrap().render_long_help().to_string();
        for name in RolloutEstimator::NAMES {
            assert!(help.contains(name), "{name}: {help}");
        }
    }
}

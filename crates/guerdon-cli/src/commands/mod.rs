//! From a parsed command to its work.

mod cache;
mod calibrate;
mod config;
mod eval;
mod judge;
mod local;
mod rm;
mod rules;
mod score;
mod serve;
mod table;
mod workbench;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use guerdon_server::config::{ConfigSource, Override, ProcessEnvironment};

use crate::cli::{Cli, Command, Configuration};

/// Runs one command.
pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(serve) => serve::run(&serve),
        Command::Score(score) => score::run(&score),
        Command::Rules(rules) => rules::run(rules),
        Command::Judge(judge) => judge::run(judge),
        Command::Cache(cache) => cache::run(cache),
        Command::Rm(rm) => rm::run(rm),
        Command::Eval(eval) => eval::run(&eval),
        Command::Config(config) => config::run(config),
        Command::Openapi => {
            print!("{}", guerdon_server::openapi_json()?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

impl Configuration {
    /// File, environment and these flags.
    fn source(&self) -> anyhow::Result<ConfigSource> {
        let environment = Arc::new(ProcessEnvironment);
        let mut source =
            ConfigSource { file: Some(self.config.clone()), environment, overrides: Vec::new() };
        if let Some(judge) = &self.judge {
            let config = source.load()?;
            let profile = config
                .default_profile()
                .context("--judge needs a default profile; set default_profile")?;
            source.overrides.push(Override::new(
                "--judge",
                &["profiles", profile, "judge"],
                judge.clone(),
            ));
        }
        Ok(source)
    }
}

/// Blocking threads tokenize: a few more than there are cores, not the hundreds that tokio would start.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(cores + 6)
        .build()
        .context("cannot start the async runtime")
}

fn read(file: &Path) -> anyhow::Result<String> {
    #[expect(clippy::disallowed_methods, reason = "a command reads the files it is given")]
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

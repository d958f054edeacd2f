//! Runs the parsed command.

mod cache;
mod calibrate;
mod config;
mod eval;
mod judge;
mod local;
mod print;
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

use crate::cli::{CommandLine, ConfigurationArgs, TopCommand};

/// Runs one command.
pub(crate) fn run(line: CommandLine) -> anyhow::Result<ExitCode> {
    match line.command {
        TopCommand::Serve(serve) => serve::run(&serve),
        TopCommand::Score(score) => score::run(&score),
        TopCommand::Rules(rules) => rules::run(rules),
        TopCommand::Judge(judge) => judge::run(judge),
        TopCommand::Cache(cache) => cache::run(cache),
        TopCommand::Rm(rm) => rm::run(rm),
        TopCommand::Eval(eval) => eval::run(&eval),
        TopCommand::Config(config) => config::run(config),
        TopCommand::Openapi => {
            print!("{}", guerdon_server::openapi_json()?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

impl ConfigurationArgs {
    /// The file, the environment and these flags, as a source that can be loaded.
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

/// An async runtime. Its blocking threads tokenize, so their number is a few more than the cores,
/// not tokio's default of 512.
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

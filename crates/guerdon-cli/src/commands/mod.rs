//! Runs the parsed command.

mod cache;
mod calibrate;
mod config;
mod eval;
mod fit;
mod init;
mod installed;
mod judge;
mod ledger;
mod local;
mod manual;
mod plot;
mod print;
mod rescore;
mod rm;
mod rules;
pub(crate) mod score;
mod serve;
mod setup;
mod signals;
mod table;
mod view;
mod workbench;

use std::process::ExitCode;

use crate::cli::{CommandLine, TopCommand};
use crate::output::out;

/// Runs one command.
pub(crate) fn run(line: CommandLine) -> anyhow::Result<ExitCode> {
    match line.command {
        TopCommand::Init(init) => init::run(&init),
        TopCommand::Serve(serve) => serve::run(&serve),
        TopCommand::Score(score) => score::run(&score),
        TopCommand::View(view) => view::run(&view),
        TopCommand::Rules(rules) => rules::run(rules),
        TopCommand::Judge(judge) => judge::run(judge),
        TopCommand::Cache(cache) => cache::run(cache),
        TopCommand::Ledger(ledger) => ledger::run(ledger),
        TopCommand::Rescore(args) => ledger::rescore::run(&args),
        TopCommand::Rm(rm) => rm::run(rm),
        TopCommand::Eval(eval) => eval::run(&eval),
        TopCommand::Fit(fit) => fit::run(&fit),
        TopCommand::Plot(plot) => plot::run(&plot),
        TopCommand::Config(config) => config::run(config),
        TopCommand::Completions { shell } => manual::completions(shell),
        TopCommand::Man { out } => manual::pages(out.as_deref()),
        TopCommand::Openapi => {
            out!("{}", guerdon_server::openapi_json()?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

//! The command line `guerdon`. It uses the server's library and the client crate, which do not
//! depend on each other. `main.rs` is the binary.
//!
//! | file or folder | content |
//! |---|---|
//! | `cli/` | every command and flag, with its help |
//! | `output.rs` | standard output and standard error |
//! | `part.rs` | results of an unfinished run, and files that are replaced as a whole |
//! | `commands/setup.rs` | loads the configuration, starts the async runtime, reads input files |
//! | `commands/init.rs` | writes a new folder from a template |
//! | `commands/installed.rs` | finds the data that is installed with the program |
//! | `commands/serve.rs` | starts the server, prints its address, stops it on a signal |
//! | `commands/signals.rs` | receives signals; ends a process whose stop takes too long |
//! | `commands/score/` | reads a file of rollouts, writes a file of results |
//! | `commands/local.rs` | runs the engine in this process, without a server |
//! | `commands/table.rs` | prints results as a table |
//! | `commands/print.rs` | prints reports of the compilers of rule packs and judge prompts |
//! | `commands/rules/` | checks, tests, tries, compares and measures rule packs |
//! | `commands/judge.rs` | checks judge prompts and asks judges |
//! | `commands/calibrate.rs` | measures a judge's agreement with people |
//! | `commands/workbench.rs` | shared parts of the judge commands |
//! | `commands/cache.rs` | lists, exports, imports and removes cached judge answers |
//! | `commands/rm.rs` | inspects, checks and measures reward models |
//! | `commands/eval/` | computes measures of methods from files of ratings |
//! | `commands/fit/` | fits normalisers on a reference set |
//! | `commands/plot/` | draws normalisers and fusions as SVG |
//! | `commands/config.rs` | checks and prints the configuration |
//! | `commands/manual.rs` | completions of shells, and manual pages |

mod cli;
mod commands;
mod output;
mod part;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let line = match cli::CommandLine::try_parse() {
        Ok(line) => line,
        Err(message) => return output::usage(&message),
    };
    commands::run(line).unwrap_or_else(|error| output::failure(&error))
}

/// The definition of every command and flag, for the generated reference.
#[must_use]
pub fn command() -> clap::Command {
    cli::CommandLine::command()
}

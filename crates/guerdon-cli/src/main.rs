//! `guerdon`: the command line. A client of the server's library and of the client crate, so that those two need not know
//! each other.
//!
//! | file | what |
//! |---|---|
//! | `cli.rs` | every command and flag |
//! | `commands/serve.rs` | start, tell where, stop when told |
//! | `commands/score.rs` | a file of rollouts in, a file of results out |
//! | `commands/local.rs` | the engine in this process, without a server |
//! | `commands/table.rs` | results for people |
//! | `commands/eval.rs` | the method's measures, from files of ratings |
//! | `commands/config.rs`, `commands/rules.rs`, `commands/judge.rs`, `commands/rm.rs` | the workbenches |

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line prints; its libraries do not"
)]

mod cli;
mod commands;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match commands::run(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            // Causes that the message already quotes would only be said twice.
            eprintln!("error: {error}");
            let mut said = error.to_string();
            for cause in error.chain().skip(1).map(ToString::to_string) {
                if !said.contains(&cause) {
                    eprintln!("  caused by: {cause}");
                    said = cause;
                }
            }
            ExitCode::FAILURE
        }
    }
}

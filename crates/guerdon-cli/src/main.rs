//! `guerdon`: the command line. It uses the server's library and the client crate, which do not
//! depend on each other.
//!
//! | file or folder | content |
//! |---|---|
//! | `cli/` | every command and flag, with its help |
//! | `output.rs` | standard output and standard error |
//! | `part.rs` | results of an unfinished run, and files that are replaced as a whole |
//! | `commands/setup.rs` | loads the configuration, starts the async runtime, reads input files |
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
//! | `commands/config.rs` | checks and prints the configuration |
//! | `commands/manual.rs` | completions of shells, and manual pages |

mod cli;
mod commands;
mod output;
mod part;

use std::process::ExitCode;

use clap::Parser as _;

/// Large bodies leave holes in the heaps of glibc's allocator, which a server's memory then keeps:
/// see docs/explanation/reliability.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let line = match cli::CommandLine::try_parse() {
        Ok(line) => line,
        Err(message) => return output::usage(&message),
    };
    commands::run(line).unwrap_or_else(|error| output::failure(&error))
}

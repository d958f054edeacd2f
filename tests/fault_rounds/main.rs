//! Fault injection: rounds of traffic against one server after another, each with faults at random
//! moments. Every reward that a client receives must be the one of a server without faults, every
//! request must be answered or fail in a way that a client can repeat, and no answer of the judge
//! may be paid for twice.
//!
//! ```text
//! make test-faults ROUNDS=60
//! cargo test -p guerdon-cli --test fault_rounds -- --rounds 1000 --seed 15 --from 0
//! ```
//!
//! A round depends on the seed and its number alone, so a run can continue at `--from`.
//!
//! | file | content |
//! |---|---|
//! | `main.rs` | command line, rounds, verdict |
//! | `plan.rs` | the faults of a round |
//! | `known.rs` | rule packs and dialogues, and their rewards without faults |
//! | `client.rs` | clients, and the check of their replies |
//! | `round.rs` | one round: a server, clients and faults |

#![expect(clippy::unwrap_used, reason = "the program fails by panicking")]
#![expect(clippy::print_stdout, reason = "the program reports to its terminal")]

mod client;
mod known;
mod plan;
mod round;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use self::round::Campaign;

/// Runs rounds of traffic with faults, and fails at the first wrong, lost or invented reward.
#[derive(Debug, Parser)]
struct RoundArgs {
    /// Rounds
    #[arg(long, default_value_t = 60)]
    rounds: u64,
    /// Number of the first round
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Seed of the rounds
    #[arg(long, default_value_t = 15)]
    seed: u64,
    /// Print every round
    #[arg(long, short)]
    verbose: bool,
    /// The binary to run
    #[arg(long, default_value = env!("CARGO_BIN_EXE_guerdon"))]
    binary: PathBuf,
}

fn main() -> ExitCode {
    let RoundArgs { rounds, from, seed, verbose, binary } = RoundArgs::parse();
    // The server runs in a folder of its own.
    let binary = std::path::absolute(binary).unwrap();
    println!("rounds {from} to {}, seed {seed}", from + rounds);
    let started = Instant::now();
    let mut campaign = Campaign::new(binary, seed);
    for number in from..from + rounds {
        let report = campaign.round(number);
        if verbose || !report.violations.is_empty() {
            println!("{report}");
        }
        if !report.violations.is_empty() {
            println!("again: --seed {seed} --from {number} --rounds 1 --verbose");
            return ExitCode::FAILURE;
        }
    }
    let violations = campaign.finish();
    println!("{campaign}");
    println!("{:.1} s", started.elapsed().as_secs_f64());
    for violation in &violations {
        println!("VIOLATION: {violation}");
    }
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

//! The memory soak: mixed traffic against one server, whose resident memory must be flat after a
//! warm-up.
//!
//! ```text
//! make soak MINUTES=3
//! cargo test -p guerdon-cli --test soak -- --minutes 3 --kinds score,stream --binary target/release/guerdon
//! ```
//!
//! | file | content |
//! |---|---|
//! | `main.rs` | command line, server, clients, verdict |
//! | `traffic.rs` | the kinds of requests |
//! | `trend.rs` | slope of the samples and its significance |

#![expect(clippy::unwrap_used, reason = "the program fails by panicking")]
#![expect(clippy::print_stdout, reason = "the program reports to its terminal")]

mod traffic;
mod trend;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use guerdon_tests::{GuerdonProcess, ProcessSetup};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use self::traffic::{Exchange, TrafficKind};
use self::trend::Trend;

/// Largest growth after the warm-up that is still called flat, in MiB a minute.
const FLAT: f64 = 1.0;
/// Time from which [`FLAT`] can be measured, in minutes after the warm-up.
const LONG: f64 = 10.0;
/// Largest growth in a shorter time, in MiB. Memory still settles then: over two minutes this is 20
/// MiB a minute, below the 24 of the growth that once was found.
const SETTLING: f64 = 40.0;

const CONFIG: &str = r#"
default_profile = "hotel"
[server]
listen = "127.0.0.1:0"
drain = "10s"
log = "warn,ort=warn"
[models.e5]
path = "@REPOSITORY@/models/e5-hh"
runtime = "@REPOSITORY@/.guerdon/onnxruntime"
@MODEL@
[profiles.hotel]
model = "e5"
rules = ["@REPOSITORY@/rules"]
[profiles.hotel.calibration]
kind = "standardised"
[profiles.light]
rules = ["@REPOSITORY@/rules"]
[profiles.light.fusion]
method = "weighted_sum"
"#;

/// Runs mixed traffic against the hotel profile and fails if resident memory grows.
#[derive(Debug, Parser)]
struct SoakArgs {
    /// Minutes of traffic, the warm-up included
    #[arg(long, default_value_t = 3.0)]
    minutes: f64,
    /// Minutes of warm-up; default: a third of all
    #[arg(long)]
    warm_up: Option<f64>,
    /// Clients at the same time
    #[arg(long, default_value_t = 4)]
    clients: usize,
    /// Kinds of requests; default: all
    #[arg(long, value_enum, value_delimiter = ',')]
    kinds: Vec<TrafficKind>,
    /// Seed of the traffic
    #[arg(long, default_value_t = 15)]
    seed: u64,
    /// Further keys of the model, as TOML
    #[arg(long, default_value = "")]
    model_keys: String,
    /// The binary to run
    #[arg(long, default_value = env!("CARGO_BIN_EXE_guerdon"))]
    binary: PathBuf,
}

fn main() -> ExitCode {
    let arguments = SoakArgs::parse();
    let config = CONFIG.replace("@MODEL@", &arguments.model_keys);
    // The server runs in a folder of its own.
    let binary = std::path::absolute(&arguments.binary).unwrap();
    let mut server = ProcessSetup::new(binary, &config).start();
    let SoakRun { samples, sent, failed } = run(&server, &arguments);
    let (status, took) = server.terminate(Duration::from_secs(30));
    println!("the server ended with {status} after {took:.1?}");
    let warm_up = arguments.warm_up.unwrap_or(arguments.minutes / 3.0);
    let after: Vec<(f64, f64)> =
        samples.into_iter().filter(|(minute, _)| *minute >= warm_up).collect();
    let Some(trend) = Trend::of(&after) else {
        println!("too few samples after the warm-up");
        return ExitCode::FAILURE;
    };
    println!("after {warm_up:.1} minutes of warm-up: {trend}");
    let measured = arguments.minutes - warm_up;
    let limit = if measured < LONG { SETTLING / measured.max(0.1) } else { FLAT };
    let flat = !trend.is_growth_over(limit);
    let verdict = if flat { "flat" } else { "NOT FLAT: memory grows" };
    println!("{verdict} (limit {limit:.1} MiB a minute)");
    let answered = sent > 0 && failed == 0;
    if !answered {
        println!("NOT ANSWERED: {failed} of {sent} requests failed");
    }
    if flat && answered && status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The traffic of one run.
struct SoakRun {
    /// Resident memory: minutes since the start, and MiB.
    samples: Vec<(f64, f64)>,
    sent: usize,
    failed: usize,
}

/// Sends traffic and samples the memory.
fn run(server: &GuerdonProcess, arguments: &SoakArgs) -> SoakRun {
    let kinds = if arguments.kinds.is_empty() {
        TrafficKind::ALL.to_vec()
    } else {
        arguments.kinds.clone()
    };
    let (stop, started) = (AtomicBool::new(false), Instant::now());
    let (sent, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let end = Duration::from_secs_f64(arguments.minutes * 60.0);
    let mut samples = Vec::new();
    let bare = (server.resident_mib(), server.descriptors());
    thread::scope(|scope| {
        for client in 0..arguments.clients {
            let (kinds, stop, sent, failed) = (&kinds, &stop, &sent, &failed);
            let mut random = StdRng::seed_from_u64(arguments.seed * 1_000 + client as u64);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let kind = *kinds.choose(&mut random).unwrap();
                    sent.fetch_add(1, Ordering::Relaxed);
                    if let Exchange::Failed(why) = kind.exchange(server.address, &mut random) {
                        failed.fetch_add(1, Ordering::Relaxed);
                        println!("{kind:?}: {why}");
                    }
                }
            });
        }
        let mut printed = 0.0;
        while started.elapsed() < end {
            thread::sleep(Duration::from_millis(500));
            let minute = started.elapsed().as_secs_f64() / 60.0;
            samples.push((minute, server.resident_mib()));
            if minute >= printed + 0.25 {
                printed = minute;
                let (sent, mib) = (sent.load(Ordering::Relaxed), server.resident_mib());
                println!("{minute:5.2} min  {mib:7.1} MiB  {sent} requests");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let (sent, failed) = (sent.into_inner(), failed.into_inner());
    println!(
        "{sent} requests, {failed} failed; {:.1} MiB and {} descriptors before, {:.1} MiB and {} after",
        bare.0,
        bare.1,
        server.resident_mib(),
        server.descriptors()
    );
    SoakRun { samples, sent, failed }
}

//! The fault matrix: what goes wrong around a server, tried on the binary as a process of its own.
//! Every fault is a family of generated inputs. A server that met a fault must afterwards score the
//! same dialogue with the same reward as before.
//!
//! | file | faults |
//! |---|---|
//! | `models.rs` | models that are swapped under load, damaged, or many; memory of sessions |
//! | `malformed.rs` | bodies that are not JSON, or JSON that is not a request |
//! | `values.rs` | valid JSON with extreme values |
//! | `sizes.rs` | large bodies and messages, compressed bombs, broken compression |
//! | `http.rs` | malformed, ambiguous and unusual HTTP |
//! | `codings.rs` | content types and codings in every spelling |
//! | `descriptors.rs` | clients that hold all file descriptors |
//! | `tokens.rs` | credentials that are missing, wrong, guessed, or in the wrong place |
//! | `browser.rs` | requests that a web page can make a browser send |
//! | `timeouts.rs` | slow, silent and vanished clients, few descriptors |
//! | `fairness.rs` | a greedy caller beside a modest one |
//! | `work_bounds.rs` | costly texts, packs, names and aggregates; abandoned work |
//! | `reload.rs` | broken, replaced, endless and irrelevant files; roll-backs; storms of signals |
//! | `exit.rs` | signals during the start, stops while threads are busy |
//! | `shutdown.rs` | signals at bad moments, half-sent requests, silent judges |
//! | `command_line.rs` | full and closed outputs, interrupted runs, mistakes at the start |
//! | `absence.rs` | silent sources, empty folders, another configuration than expected |
//! | `judge_money.rs` | kill -9, torn files, full disks and leaving clients: answers are paid once |
//! | `traces.rs` | no fault: traces from a caller to a judge; a collector that is away |
//! | `fusion_by_hand.rs` | no fault: rewards recomputed by the paper's formulas |

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test writes and reads its own files")]

mod absence;
mod browser;
mod codings;
mod command_line;
mod descriptors;
mod exit;
mod fairness;
mod fusion_by_hand;
mod http;
mod judge_money;
mod malformed;
mod models;
mod reload;
mod shutdown;
mod sizes;
mod timeouts;
mod tokens;
mod traces;
mod values;
mod work_bounds;

use guerdon_tests::{GuerdonProcess, ProcessSetup, Server};
use serde_json::{Value, json};

/// A server of rules alone.
fn light() -> ProcessSetup {
    ProcessSetup::light(env!("CARGO_BIN_EXE_guerdon"))
}

/// A request with these rollouts.
fn request(rollouts: &[Value]) -> Value {
    json!({ "rollouts": rollouts })
}

/// A reply that breaks a rule: 50 points of 100 are deducted.
fn leak() -> Value {
    Server::rollout("see the work order .")
}

/// The reward of [`leak`] by [`light`].
const LEAK_REWARD: f64 = -0.5;

/// Checks that the server scores as it did before a fault.
#[track_caller]
fn assert_scores(server: &GuerdonProcess) {
    let reply = server.score(&request(&[leak(), Server::rollout("480 .")]));
    let reward = |index: usize| reply["results"][index]["reward"].as_f64();
    assert_eq!((reward(0), reward(1)), (Some(LEAK_REWARD), Some(0.0)), "{reply}");
}

/// Checks that `reply` is a problem body with this status that states what is wrong.
#[track_caller]
fn assert_problem(reply: &guerdon_tests::WireReply, status: u16, what: &str) {
    assert_eq!(reply.status, status, "{what}: {reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{what}");
    let problem = reply.json();
    assert_eq!(problem["status"], status, "{what}: {problem}");
    for key in ["code", "title", "detail", "request_id"] {
        let text = problem[key].as_str().unwrap_or_default();
        assert!(!text.is_empty() && text.len() < 4_000, "{what}: `{key}` in {problem}");
    }
}

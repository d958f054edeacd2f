//! Entry points of the fuzz targets (`fuzz/`): each takes the bytes that a stranger would send, and
//! panics if they have an effect that no input may have. The test `fuzz_corpus` runs the kept
//! corpus through the same functions.
//!
//! | File | Contents |
//! |---|---|
//! | `request.rs` | the body of `POST /v1/score` |
//! | `served.rs` | bodies of trainers' routes, and compressed bodies, sent to a server in this process |
//! | `judge_reply.rs` | the reply of a judge's endpoint |
//! | `rule_pack.rs` | a rule pack, compiled within bounds and evaluated |

mod judge_reply;
mod request;
mod rule_pack;
mod served;

pub use judge_reply::judge_reply;
pub use request::request;
pub use rule_pack::rule_pack;
pub use served::{adapter, compressed_body};

/// A fuzz target: the name of its corpus, and its function.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// Every fuzz target.
pub const FUZZ_TARGETS: [FuzzTarget; 5] = [
    ("request", request),
    ("adapter", adapter),
    ("judge_reply", judge_reply),
    ("rule_pack", rule_pack),
    ("compressed_body", compressed_body),
];

//! The words of guerdon's wire, checked as they are read: server, client and every reward source share this one copy.
//!
//! ```
//! use guerdon_types::ScoreRequest;
//!
//! let request: ScoreRequest = serde_json::from_str(
//!     r#"{"rollouts": [{"messages": [
//!         {"role": "user", "content": "480 is our best price."},
//!         {"role": "assistant", "content": "Could we meet at 420?"}]}]}"#,
//! )?;
//! request.check()?;
//! assert_eq!(request.rollouts[0].turns_to_score()?, vec![1]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | file | what |
//! |---|---|
//! | `ids.rs` | names: rollout, group, source, profile, request |
//! | `finite.rs` | a number that is never NaN or infinite |
//! | `rollout.rs` | messages, roles, context, which turns to score |
//! | `request.rs` | the body of `POST /v1/score`, typed and as it is served |
//! | `entry.rs` | one rollout of a request, parsed and checked on its own |
//! | `parts.rs` | what each source says of a turn, and what it abstained from |
//! | `fusion.rs` | how sources become one reward: the configuration that requests may override |
//! | `response.rs` | the reply, its versions and usage |
//! | `json.rs` | JSON bytes to typed values, with a pointer to the first place that is wrong |
//! | `info.rs` | the reply of `GET /v1/info` |
//! | `problem.rs` | RFC 9457 problem bodies; the only file with status codes |

mod entry;
mod finite;
mod fusion;
mod ids;
mod info;
mod json;
mod parts;
mod problem;
mod reported;
mod request;
mod response;
mod rollout;
mod word;

pub use entry::{RolloutEntry, refuse_shared_ids, shared_id_errors};
pub use finite::{Finite, NotFinite};
pub use fusion::{
    Aggregate, Calibration, FusionConfig, FusionMethod, FusionPatch, InnerMethod, InvalidFusion,
    OnAbstain, Weights,
};
pub use ids::{GroupId, ProfileName, RequestId, RolloutId, SourceId};
pub use info::{CandidateInfo, Info, Limits, ProfileInfo, SourceInfo};
pub use json::{parse_json, unknown_name_hint};
pub use parts::{
    AbstainWhy, Abstained, CriterionVerdict, JudgePart, OtherPart, Part, RmPart, RuleAbstained,
    RuleHit, RulesPart, Signal, Usage,
};
pub use problem::{Invalid, Problem, ProblemCode};
pub use reported::{ReportedCalibration, ReportedFusion};
pub use request::{AdvantagesRequest, IncomingRequest, ScoreRequest};
pub use response::{
    Beside, RolloutResult, ScoreResponse, StreamLine, StreamSummary, StreamedResult, TurnResult,
    Versions,
};
pub use rollout::{Context, Message, NamedTurns, Role, Rollout, ScoreTurns};
pub use word::{Vocabulary, Word};

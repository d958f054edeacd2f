//! Request and response types of guerdon's HTTP API, validated during deserialisation. Server,
//! client and reward sources share them.
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
//! | file | content |
//! |---|---|
//! | `ids.rs` | names: rollout, group, source, profile, request |
//! | `finite.rs` | a number that is never NaN or infinite |
//! | `word.rs` | enum words in replies; later servers may add words |
//! | `rollout/` | messages, roles, tool calls, the turns to score, and a rubric of the rollout's own |
//! | `content.rs` | the content of a message: a text, or parts and blocks |
//! | `context.rs` | facts for rules and judge |
//! | `request.rs` | the body of `POST /v1/score`, as clients send it and as the server parses it |
//! | `entry.rs` | one rollout of a request, parsed and checked separately |
//! | `parts/` | each source's part of a turn's reward, and abstentions; parts in one form for every kind of source |
//! | `abstain.rs` | causes and reasons of abstentions, and what they do to a reward |
//! | `fusion/` | the configuration of the fusion, which requests may override, and of normalisers and ensembles |
//! | `reported.rs` | fusion and calibration as replies report them |
//! | `response.rs` | the reply, its versions and usage |
//! | `surrogates.rs` | mends halves of surrogate pairs in JSON |
//! | `json.rs` | JSON parsing, with a pointer to the first error |
//! | `info.rs` | the reply of `GET /v1/info` |
//! | `digest.rs` | the digest of everything that shapes a reward |
//! | `groups.rs` | the comparison of the sources that scored the rollouts of a group |
//! | `problem.rs` | RFC 9457 problem bodies and HTTP statuses |

mod abstain;
mod content;
mod context;
mod digest;
mod entry;
mod finite;
mod fusion;
mod groups;
mod ids;
mod info;
mod json;
mod parts;
mod problem;
mod reported;
mod request;
mod response;
mod rollout;
mod surrogates;
mod word;

pub use abstain::{
    AbstainAction, AbstainCause, AbstainEffect, AbstainPolicy, AbstainReason, ContentAction,
    InfrastructureAction, OnAbstain,
};
pub use context::Context;
pub use digest::{ConfigDigest, InvalidDigest};
pub use entry::{RolloutEntry, refuse_shared_ids, shared_id_errors};
pub use finite::{Finite, NotFinite};
pub use fusion::{
    Aggregate, Calibration, Combine, CombineMethod, FusionConfig, FusionMethod, FusionPatch,
    HeroConfig, InnerMethod, InvalidFusion, ManifestNormaliser, Normaliser, NormaliserConfig,
    RunningState, Verdict, Weights,
};
pub use groups::GroupComparison;
pub use ids::{GroupId, ProfileName, RequestId, RolloutId, SourceId};
pub use info::{CandidateInfo, ClusterInfo, Info, Limits, ProfileInfo, SourceInfo};
pub use json::{parse_json, unknown_name_hint};
pub use parts::{
    AbstainWhy, Abstention, CriterionVerdict, Evidence, GroupJudgement, JudgePart, MessagesRead,
    OtherPart, Part, RmPart, RuleAbstention, RuleHit, RulesPart, Signal, SourceKind, SourcePart,
    SourceRole, SuppressedMatch, Usage,
};
pub use problem::{Invalid, Problem, ProblemCode};
pub use reported::{ReportedCalibration, ReportedCauses, ReportedFusion};
pub use request::{
    AdvantageUnit, AdvantagesRequest, Expectation, IncomingRequest, ScoreRequest, check_count,
};
pub use response::{
    IncomparableGroup, MissingSource, OtherGenerationTurn, RolloutResult, ScoreResponse,
    StreamLine, StreamSummary, StreamedResult, TurnResult, Versions,
};
pub use rollout::{
    CheckedCriterion, CheckedForm, CheckedRubric, ExtraFields, Message, NamedTurns, ROLLOUT_RUBRIC,
    RUBRIC_CLIP, Role, Rollout, RolloutRubric, RubricCriterion, RubricKind, RubricLevel,
    ScoreTurns, ToolCall,
};
pub use surrogates::without_lone_surrogates;
pub use word::{Vocabulary, Word};

//! Trainers' own protocols, each converted to and from guerdon's score request.
//!
//! A server implements [`ScoreService`] and puts a [`ScoreHandle`] into the extensions of each
//! request; [`routes`] returns the routes to mount. The wire of each protocol, the timeouts of its
//! clients and the replies that stop them are described in `docs/how-to/trainers/`.
//!
//! ```
//! let routes = guerdon_adapters::routes();
//! assert!(routes.get_openapi().paths.paths.contains_key("/get_reward"));
//! ```
//!
//! | File or folder | Contents |
//! |---|---|
//! | `service.rs` | [`ScoreService`], the interface to the server; [`ApiError`]; [`JsonBody`] |
//! | `protocols/` | one file for each protocol, see below |
//! | `score/` | the options in the URL, the score request, results as names and numbers |
//! | `text/` | texts with chat templates and foreign messages, read as dialogues |
//!
//! | File in `protocols/` | Routes | Clients |
//! |---|---|---|
//! | `openrlhf.rs` | `/get_reward` | OpenRLHF, align-anything |
//! | `slime.rs` | `/rm` | slime, miles |
//! | `classify.rs` | `/classify` | by the body: `vllm.rs` (and verl), `sglang.rs`, `infinity.rs` |
//! | `sglang.rs` | `/v1/embeddings` | verl on SGLang |
//! | `vllm.rs`, `vllm_score.rs` | `/pooling`; `/score` | vLLM |
//! | `tei.rs` | `/predict`, `/` | text-embeddings-inference, `huggingface_hub` |
//! | `rerank.rs` | `/rerank` | by the body: text-embeddings-inference, vLLM, Infinity |
//! | `probes.rs` | `/health`, `/info`, `/v1/models` | launchers and load balancers of serving engines |
//! | `llama_factory.rs` | `/v1/score/evaluation` | LLaMA-Factory |
//! | `nemo_gym.rs` | `/seed_session`, `/verify`, `/reverify_mode` | NeMo-Gym, NeMo-RL, verifiers, prime-rl |
//! | `nemo_gym_metrics.rs` | `/aggregate_metrics` | NeMo-Gym |
//! | `reward_kit.rs` | `/reward`, `/evaluate` | reward-kit, eval-protocol |
//! | `roll.rs` | `/submit_task`, `/task_result` | ROLL |
//! | `classifier.rs` | none | shared by the servers of sequence classifiers |

mod protocols;
mod score;
mod service;
mod text;

use utoipa_axum::router::OpenApiRouter;

pub use self::score::SourceName;
pub use self::service::{
    ApiError, JsonBody, ProfileSummary, ScoreHandle, ScoreService, ScoringBatch, compute,
    json_bytes, json_reply, parse_body,
};

/// The routes of all protocols.
pub fn routes() -> OpenApiRouter {
    protocols::routes()
}

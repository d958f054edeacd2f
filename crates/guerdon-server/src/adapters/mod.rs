//! Trainers' own protocols: one file each, which converts to and from the one request of `POST /v1/score` and does nothing
//! else. What a client speaks, how long it waits and what it dies of is in `docs/trainers/`.
//!
//! | file | routes | clients |
//! |---|---|---|
//! | `openrlhf.rs` | `/get_reward` | OpenRLHF, align-anything |
//! | `slime.rs` | `/rm` | slime, miles |
//! | `classify.rs` | `/classify` | by the body: `vllm.rs` (and verl), `sglang.rs`, `infinity.rs` |
//! | `sglang.rs` | `/v1/embeddings` | verl on SGLang |
//! | `vllm.rs`, `vllm_score.rs` | `/pooling`; `/score` | vLLM |
//! | `tei.rs` | `/predict`, `/` | text-embeddings-inference, `huggingface_hub` |
//! | `rerank.rs` | `/rerank` | by the body: text-embeddings-inference, vLLM, Infinity |
//! | `probes.rs` | `/health`, `/info` | whoever asks a serving engine how it is |
//! | `llama_factory.rs` | `/v1/score/evaluation` | LLaMA-Factory |
//! | `nemo_gym.rs`, `nemo_gym_metrics.rs` | `/seed_session`, `/verify`, `/reverify_mode`; `/aggregate_metrics` | NeMo-Gym, and with it NeMo-RL, verifiers, prime-rl |
//! | `reward_kit.rs` | `/reward`, `/evaluate` | reward-kit, eval-protocol |
//! | `roll.rs` | `/submit_task`, `/task_result` | ROLL |
//!
//! `service.rs` is the interface that all of them score through; the server implements it.
//!
//! They share `choices.rs` (what rides in the URL), `chat_text.rs`, `chat_templates.rs` and `messages.rs` (foreign text to
//! turns), `asking.rs` (the engine, and what to answer when it has no reward), `numbers.rs` and `source_name.rs` (a result as names and
//! numbers), `classifiers.rs` (what vLLM, SGLang, Infinity and their like agree on).

mod asking;
mod chat_templates;
mod chat_text;
mod choices;
mod classifiers;
mod classify;
mod infinity;
mod llama_factory;
mod messages;
mod nemo_gym;
mod nemo_gym_metrics;
mod numbers;
mod openrlhf;
mod probes;
mod rerank;
mod reward_kit;
mod roll;
mod service;
mod sglang;
mod slime;
mod source_name;
mod tei;
mod vllm;
mod vllm_score;

use utoipa_axum::router::OpenApiRouter;

pub(crate) use service::{
    ApiError, JsonBody, ProfileSummary, ScoreHandle, ScoreService, ScoringBatch, parse_body,
};
pub(crate) use source_name::SourceName;

/// Every trainer's routes.
pub(crate) fn routes() -> OpenApiRouter {
    OpenApiRouter::new()
        .merge(openrlhf::routes())
        .merge(slime::routes())
        .merge(classify::routes())
        .merge(sglang::routes())
        .merge(vllm::routes())
        .merge(vllm_score::routes())
        .merge(tei::routes())
        .merge(rerank::routes())
        .merge(probes::routes())
        .merge(llama_factory::routes())
        .merge(nemo_gym::routes())
        .merge(nemo_gym_metrics::routes())
        .merge(reward_kit::routes())
        .merge(roll::routes())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::choices::OnFailure;

    #[test]
    fn rule_06_every_route_answers_before_its_client_gives_up() {
        let protocols = [
            &super::openrlhf::PROTOCOL,
            &super::slime::PROTOCOL,
            &super::classifiers::PROTOCOL,
            &super::tei::PROTOCOL,
            &super::llama_factory::PROTOCOL,
            &super::nemo_gym::PROTOCOL,
            &super::reward_kit::REWARD_KIT,
            &super::reward_kit::EVAL_PROTOCOL,
            &super::roll::PROTOCOL,
        ];
        for protocol in protocols {
            let spare = protocol.client_waits.checked_sub(protocol.deadline());
            assert!(
                spare >= Some(Duration::from_secs(5)),
                "{} would not get its answer",
                protocol.client
            );
            assert!(
                !matches!(protocol.on_failure, OnFailure::Value(_)),
                "{}: a number of ours",
                protocol.client
            );
        }
    }
}

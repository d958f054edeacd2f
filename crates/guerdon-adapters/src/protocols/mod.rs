//! The protocols: one file each, which converts requests and replies and does nothing else.

mod classifier;
mod classify;
mod infinity;
mod llama_factory;
mod nemo_gym;
mod nemo_gym_metrics;
mod openrlhf;
mod probes;
mod rerank;
mod reward_kit;
mod roll;
mod sglang;
mod slime;
mod tei;
mod vllm;
mod vllm_score;

use utoipa_axum::router::OpenApiRouter;

/// The routes of all protocols.
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

    use crate::score::OnFailure;

    #[test]
    fn rule_06_every_route_answers_before_its_client_gives_up() {
        let protocols = [
            &super::openrlhf::PROTOCOL,
            &super::slime::PROTOCOL,
            &super::classifier::PROTOCOL,
            &super::tei::PROTOCOL,
            &super::llama_factory::PROTOCOL,
            &super::nemo_gym::PROTOCOL,
            &super::reward_kit::REWARD_KIT,
            &super::reward_kit::EVAL_PROTOCOL,
            &super::roll::PROTOCOL,
        ];
        for protocol in protocols {
            let spare = protocol.client_timeout.checked_sub(protocol.deadline());
            assert!(
                spare >= Some(Duration::from_secs(5)),
                "{} would time out before its answer",
                protocol.client
            );
            assert!(
                !matches!(protocol.on_failure, OnFailure::Value(_)),
                "{}: a reward that the caller did not choose",
                protocol.client
            );
        }
    }
}

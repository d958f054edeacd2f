//! Infinity's form of `POST /classify`. The reward is sent as its sigmoid unless `raw_scores` is
//! true; Infinity's client always sends that field.

use guerdon_types::RequestId;
use serde::{Deserialize, Serialize};

use super::classifier::{LABEL, Texts, now};
use super::vllm::model_name;
use crate::score::{ItemScores, sigmoid};

/// Infinity's body.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub(super) struct ClassifyInput {
    /// Texts with the chat template's markers.
    pub(super) input: Texts,
    #[serde(default)]
    model: Option<String>,
    /// `true` returns raw rewards, `false` their sigmoids.
    raw_scores: bool,
}

/// Infinity's reply.
#[derive(Debug, Serialize)]
pub(super) struct InfinityReply {
    object: &'static str,
    data: Vec<[InfinityLabel; 1]>,
    model: String,
    usage: InfinityUsage,
    id: String,
    created: u64,
}

#[derive(Debug, Serialize)]
struct InfinityLabel {
    score: Option<f64>,
    label: &'static str,
}

#[derive(Debug, Serialize)]
struct InfinityUsage {
    prompt_tokens: usize,
    total_tokens: usize,
}

pub(super) fn classify_reply(
    request: &ClassifyInput,
    answers: &ItemScores,
    id: &RequestId,
) -> InfinityReply {
    let score = |reward: Option<f64>| if request.raw_scores { reward } else { reward.map(sigmoid) };
    let data = answers
        .rewards()
        .into_iter()
        .map(|reward| [InfinityLabel { score: score(reward), label: LABEL }]);
    let tokens = answers.tokens();
    InfinityReply {
        object: "classify",
        data: data.collect(),
        model: model_name(request.model.clone()),
        usage: InfinityUsage { prompt_tokens: tokens, total_tokens: tokens },
        id: format!("infinity-{id}"),
        created: now(),
    }
}

//! vLLM's form of `POST /classify`: what verl's reward loop asks its reward model with. One label means a sigmoid, unless
//! `use_activation` is false; verl sends that and reads `data[-1].probs[-1]`. Older servers called it `activation`.

use guerdon_types::{Context, RequestId};
use serde::{Deserialize, Serialize};

use super::asking::{Answers, Item};
use super::choices::Choices;
use super::classify::{LABEL, Texts, now, text_items};
use super::messages::{ForeignMessage, read};
use super::numbers::sigmoid;

/// vLLM's body.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
pub(super) struct ClassifyRequestBody {
    #[serde(default)]
    model: Option<String>,
    #[serde(flatten)]
    input: ClassifyInputOrChat,
    /// `false`: raw rewards. Default: their sigmoids.
    #[serde(default, alias = "activation", alias = "softmax")]
    use_activation: Option<bool>,
}

/// Texts, or one conversation.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
enum ClassifyInputOrChat {
    Input {
        /// Texts with the chat template's marks.
        input: Texts,
    },
    Chat {
        /// One conversation.
        messages: Vec<ForeignMessage>,
    },
}

/// vLLM's reply.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ClassifyReply {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    data: Vec<Classified>,
    usage: ClassifyUsage,
}

/// One text's classification.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Classified {
    index: usize,
    label: &'static str,
    /// One number: the reward, or its sigmoid.
    #[schema(value_type = Vec<f64>)]
    probs: [Option<f64>; 1],
    num_classes: usize,
}

/// Tokens that the reward model read.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ClassifyUsage {
    prompt_tokens: usize,
    total_tokens: usize,
    completion_tokens: usize,
}

pub(super) fn items(request: &ClassifyRequestBody, choices: &Choices) -> Vec<Item> {
    match &request.input {
        ClassifyInputOrChat::Input { input } => text_items(input.clone(), choices),
        ClassifyInputOrChat::Chat { messages } => {
            vec![Item::messages(read(messages.clone()), Context::new())]
        }
    }
}

pub(super) fn classified(request: &ClassifyRequestBody, answers: &Answers, id: &RequestId) -> ClassifyReply {
    let activate = request.use_activation.unwrap_or(true);
    let data = answers.rewards().into_iter().enumerate().map(|(index, reward)| Classified {
        index,
        label: LABEL,
        probs: [if activate { reward.map(sigmoid) } else { reward }],
        num_classes: 1,
    });
    let tokens = answers.tokens();
    ClassifyReply {
        id: format!("classify-{id}"),
        object: "list",
        created: now(),
        model: request.model.clone().unwrap_or_else(|| "guerdon".to_owned()),
        data: data.collect(),
        usage: ClassifyUsage { prompt_tokens: tokens, total_tokens: tokens, completion_tokens: 0 },
    }
}

//! The protocols of servers of reward models: paths, requests and replies, one file each.
//!
//! A request asks for raw outputs, without the server's activation function.

mod exchange;
pub(super) mod guerdon;
mod infinity;
pub(super) mod nemo_gym;
mod numbers;
mod open_inference;
mod openrlhf;
mod sglang;
mod tei;
mod vllm;

use guerdon_types::Rollout;
use serde_json::{Value, json};

pub(super) use self::exchange::Raw;
use self::exchange::texts;
use crate::ask::AskedTurn;
use crate::config::RmProtocol;
use crate::error::RemoteError;

/// The form in which a protocol takes turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Dialogues, each with the indices of its asked turns.
    Dialogues,
    /// The messages of one turn's dialogue.
    Messages,
    /// Rendered texts, at most as many in one request.
    Texts {
        /// The limit of the server.
        most: usize,
    },
    /// Pairs of a prompt and a reply.
    Pairs,
    /// One prompt with replies to it.
    Replies,
    /// OpenAI's response to one prompt.
    Response,
}

impl Form {
    /// The largest number of turns in one request, with a batch of at most `batch`.
    pub(super) fn most_turns(self, batch: usize) -> usize {
        match self {
            Self::Dialogues | Self::Pairs => batch,
            Self::Texts { most } => batch.min(most),
            Self::Messages | Self::Replies | Self::Response => 1,
        }
    }
}

/// The form of `protocol`, with or without a template and an index of the output.
pub(super) const fn form(protocol: RmProtocol, has_template: bool, has_output: bool) -> Form {
    match protocol {
        RmProtocol::Infinity if !has_output && !has_template => Form::Replies,
        RmProtocol::Infinity if !has_output => Form::Texts { most: 1 },
        RmProtocol::Guerdon => Form::Dialogues,
        RmProtocol::NemoGym => Form::Response,
        RmProtocol::VllmClassify | RmProtocol::VllmPooling if !has_template => Form::Messages,
        RmProtocol::VllmScore => Form::Pairs,
        RmProtocol::TeiRerank => Form::Replies,
        RmProtocol::Tei => Form::Texts { most: tei::MOST_TEXTS },
        _ => Form::Texts { most: usize::MAX },
    }
}

/// The path of `protocol`, below the base URL.
///
/// # Errors
/// The path names the model, and none is set.
pub(super) fn path(
    protocol: RmProtocol,
    model: Option<&str>,
    has_output: bool,
) -> Result<String, RemoteError> {
    Ok(match protocol {
        RmProtocol::Infinity if !has_output => "/rerank",
        RmProtocol::VllmClassify | RmProtocol::Sglang | RmProtocol::Infinity => "/classify",
        RmProtocol::VllmPooling => "/pooling",
        // vLLM serves it under `/v1/score`, too. There a guerdon has its own protocol.
        RmProtocol::VllmScore => "/score",
        RmProtocol::Tei => "/predict",
        RmProtocol::TeiRerank => "/rerank",
        RmProtocol::Openrlhf => "/get_reward",
        RmProtocol::NemoGym => "/verify",
        RmProtocol::Guerdon => "/v1/score",
        RmProtocol::OpenInference => {
            let Some(model) = model else {
                let detail = "is missing: the path of the Open Inference Protocol names it\n  help: set it to the model's name on the server";
                return Err(RemoteError::Value { key: "model", detail: detail.to_owned() });
            };
            return Ok(format!("/v2/models/{model}/infer"));
        }
    }
    .to_owned())
}

/// The path of health checks of `protocol`, below the base URL.
pub(super) const fn health(protocol: RmProtocol) -> &'static str {
    match protocol {
        RmProtocol::OpenInference => "/v2/health/ready",
        RmProtocol::Guerdon => "/healthz",
        _ => "/health",
    }
}

/// The body of a request about `turns`.
pub(super) fn request(
    protocol: RmProtocol,
    form: Form,
    model: Option<&str>,
    turns: &[AskedTurn],
) -> Vec<u8> {
    match protocol {
        RmProtocol::VllmClassify | RmProtocol::VllmPooling if form == Form::Messages => {
            vllm::classify_messages(model, texts(turns).first().copied().unwrap_or("[]"))
        }
        RmProtocol::VllmClassify | RmProtocol::VllmPooling => vllm::classify(model, turns),
        RmProtocol::VllmScore => vllm::score(model, turns),
        RmProtocol::Sglang => sglang::request(model, turns),
        RmProtocol::Tei => tei::predict(turns),
        RmProtocol::TeiRerank => tei::rerank(turns),
        RmProtocol::Infinity if form == (Form::Texts { most: usize::MAX }) => {
            infinity::classify(model, turns)
        }
        RmProtocol::Infinity => infinity::rerank(model, turns),
        RmProtocol::Openrlhf => openrlhf::request(turns),
        RmProtocol::OpenInference => open_inference::request(turns),
        RmProtocol::NemoGym => {
            texts(turns).first().copied().unwrap_or_default().as_bytes().to_vec()
        }
        RmProtocol::Guerdon => guerdon::request(model, turns),
    }
}

/// The outputs in a reply about `turns` turns.
///
/// # Errors
/// The fault of a body that is not of the protocol.
pub(super) fn reply(
    protocol: RmProtocol,
    form: Form,
    body: &[u8],
    turns: usize,
) -> Result<Vec<Raw>, String> {
    match protocol {
        RmProtocol::VllmClassify => vllm::read_classify(body),
        RmProtocol::VllmPooling => vllm::read_pooling(body),
        RmProtocol::VllmScore => vllm::read_score(body),
        RmProtocol::Sglang => sglang::read(body),
        RmProtocol::Tei => tei::read_predict(body),
        RmProtocol::TeiRerank => tei::read_rerank(body, turns),
        RmProtocol::Infinity if form == (Form::Texts { most: usize::MAX }) => {
            infinity::read_classify(body)
        }
        RmProtocol::Infinity => infinity::read_rerank(body),
        RmProtocol::Openrlhf => openrlhf::read(body),
        RmProtocol::OpenInference => open_inference::read(body, turns),
        RmProtocol::NemoGym => nemo_gym::read(body),
        RmProtocol::Guerdon => guerdon::read(body),
    }
}

/// The messages of a dialogue up to `last` as JSON, without the policy's thoughts, which are not
/// scored.
pub(super) fn messages(rollout: &Rollout, last: usize) -> String {
    let said = rollout.messages.iter().take(last.saturating_add(1)).map(|message| {
        let mut written = json!(message);
        if let Some(fields) = written.as_object_mut() {
            fields.remove("reasoning_content");
        }
        written
    });
    said.collect::<Value>().to_string()
}

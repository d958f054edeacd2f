//! The forms of rows, and the choices in reading them.

use guerdon_types::Rollout;
use serde_json::{Map, Value};

/// The form of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RowForm {
    /// Rollouts of POST /v1/score.
    Guerdon,
    /// `messages` of OpenAI's chat API, and `choices` with the reply.
    Openai,
    /// Requests or results of OpenAI's batch API.
    OpenaiBatch,
    /// `conversations` with `from` and `value`.
    Sharegpt,
    /// `prompt` and `completion`, texts or messages, as in TRL.
    Trl,
    /// `chosen` and `rejected` replies. Both are scored.
    Pairs,
    /// verl's `prompt` and `reward_model` with `responses`, or its dumps with `input` and `output`.
    Verl,
}

/// The fate of columns that a form does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ExtraColumns {
    /// They are facts for rules and judge.
    Context,
    /// They are left out.
    Ignore,
}

/// The handling of thoughts before a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Thoughts {
    /// They are scored as part of the reply.
    #[default]
    Keep,
    /// They are removed before scoring.
    Drop,
}

impl RowForm {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Guerdon => "guerdon",
            Self::Openai => "openai",
            Self::OpenaiBatch => "openai-batch",
            Self::Sharegpt => "sharegpt",
            Self::Trl => "trl",
            Self::Pairs => "pairs",
            Self::Verl => "verl",
        }
    }
}

/// Parameters of requests to OpenAI's chat API.
const OPENAI_FIELDS: &[&str] = &[
    "chat_template_kwargs",
    "choices",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "model",
    "n",
    "parallel_tool_calls",
    "presence_penalty",
    "reasoning_effort",
    "response_format",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "top_k",
    "top_logprobs",
    "top_p",
    "user",
];

/// Columns with prompts, in the order in which they are looked for.
pub(super) const PROMPTS: &[&str] = &["prompt", "instruction", "query", "question"];

/// Columns with replies, in the order in which they are looked for.
pub(super) const REPLIES: &[&str] =
    &["completion", "completions", "responses", "response", "output", "answer"];

/// The form that a row's columns have; `None` if they are no other form's.
pub(super) fn detect(columns: &Map<String, Value>) -> Option<RowForm> {
    let has = |name: &str| columns.get(name).is_some_and(|value| !value.is_null());
    let any = |names: &[&str]| names.iter().any(|name| has(name));
    if has("chosen") && has("rejected") {
        return Some(RowForm::Pairs);
    }
    if has("custom_id") && any(&["body", "response"]) {
        return Some(RowForm::OpenaiBatch);
    }
    if any(&["conversations", "conversation"]) && !has("messages") {
        return Some(RowForm::Sharegpt);
    }
    if has("messages") {
        let known = |name: &&String| {
            Rollout::field_names().contains(&name.as_str())
                || OPENAI_FIELDS.contains(&name.as_str())
        };
        return columns.keys().all(|name| known(&name)).then_some(RowForm::Openai);
    }
    if (has("prompt") && any(&["reward_model", "data_source"])) || (has("output") && has("gts")) {
        return Some(RowForm::Verl);
    }
    (any(PROMPTS) && any(REPLIES)).then_some(RowForm::Trl)
}

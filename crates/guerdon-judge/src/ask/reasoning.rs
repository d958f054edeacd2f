//! Less reasoning, for the re-ask of a question whose answer was cut off: a model that reasons can
//! spend its whole room on that and say nothing. Servers have many names for how much a model may
//! reason; whichever the endpoint is configured to send is lowered, and an endpoint that is
//! configured to send none is sent one only once a reply shows that it reasons.

use serde_json::{Map, Value};

/// Request fields in which servers read the amount of reasoning: an effort, a budget in tokens, or
/// a switch.
const FIELDS: [&str; 13] = [
    // The API's author, Gemini, vLLM, SGLang, LiteLLM.
    "/reasoning_effort",
    // OpenRouter.
    "/reasoning/effort",
    "/reasoning/max_tokens",
    // Read by chat templates at vLLM, SGLang and llama.cpp.
    "/chat_template_kwargs/reasoning_effort",
    "/chat_template_kwargs/enable_thinking",
    "/chat_template_kwargs/thinking",
    "/chat_template_kwargs/thinking_budget",
    // vLLM.
    "/thinking_token_budget",
    // Anthropic.
    "/thinking/budget_tokens",
    // Gemini.
    "/extra_body/google/thinking_config/thinking_budget",
    "/extra_body/google/thinking_config/thinking_level",
    // Qwen's own.
    "/enable_thinking",
    "/thinking_budget",
];
/// The lowest effort, half the budget, or reasoning switched off; `None` if that is not less.
const LOW: &str = "low";
/// The least budget that every server with budgets takes.
const LEAST_BUDGET: u64 = 1024;

/// The extra fields of a re-ask, and when they are sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReducedReasoning {
    pub(crate) body: Map<String, Value>,
    /// Set if the configuration does not mention reasoning. Then the fields are sent only after a
    /// reply that shows reasoning.
    pub(crate) unconfigured: bool,
}

impl ReducedReasoning {
    /// Lowers the reasoning in the configured `extra` fields; `None` if they already ask for
    /// little.
    pub(crate) fn of(extra: &Map<String, Value>) -> Option<Self> {
        let mut body = Value::Object(extra.clone());
        let mut configured = false;
        let mut reduced_reasoning = false;
        for field in FIELDS {
            let Some(value) = body.pointer_mut(field) else { continue };
            configured = true;
            if let Some(less) = less(value) {
                *value = less;
                reduced_reasoning = true;
            }
        }
        let Value::Object(mut body) = body else { return None };
        if !configured {
            body.insert("reasoning_effort".to_owned(), LOW.into());
        }
        (reduced_reasoning || !configured).then_some(Self { body, unconfigured: !configured })
    }
}

/// Field names by which a server refuses the fields of a [`ReducedReasoning`].
pub(crate) fn names(extra: &Map<String, Value>) -> Vec<&'static str> {
    let body = Value::Object(extra.clone());
    let configured = FIELDS.into_iter().filter(|field| body.pointer(field).is_some());
    // `effort`, `google` and `max_tokens` are names of other things, too.
    let telling =
        |part: &&str| ["reason", "think", "template"].iter().any(|word| part.contains(word));
    let names: Vec<&str> = configured.flat_map(|field| field.split('/')).filter(telling).collect();
    if names.is_empty() { vec!["reasoning_effort"] } else { names }
}

/// The lowest effort, half the budget, or none at all; nothing if that would not be less.
fn less(value: &Value) -> Option<Value> {
    match value {
        Value::Bool(true) => Some(false.into()),
        Value::String(effort) => {
            matches!(effort.as_str(), "medium" | "high" | "xhigh" | "max").then(|| LOW.into())
        }
        // A negative budget means no limit.
        Value::Number(budget) if budget.as_i64().is_some_and(i64::is_negative) => {
            Some(LEAST_BUDGET.into())
        }
        Value::Number(budget) => {
            let half = budget.as_u64().filter(|budget| *budget > LEAST_BUDGET)? / 2;
            Some(half.max(LEAST_BUDGET).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reduced_reasoning(extra: Value) -> Option<(Value, bool)> {
        let Value::Object(extra) = extra else { panic!("an object") };
        ReducedReasoning::of(&extra).map(|reduced_reasoning| {
            (Value::Object(reduced_reasoning.body), reduced_reasoning.unconfigured)
        })
    }

    #[test]
    fn every_reasoning_field_is_lowered_and_other_fields_stay() {
        for (configured, wanted) in [
            (
                json!({"reasoning_effort": "high", "seed": 7}),
                json!({"reasoning_effort": "low", "seed": 7}),
            ),
            (
                json!({"reasoning": {"effort": "xhigh", "exclude": true}}),
                json!({"reasoning": {"effort": "low", "exclude": true}}),
            ),
            (
                json!({"chat_template_kwargs": {"enable_thinking": true}}),
                json!({"chat_template_kwargs": {"enable_thinking": false}}),
            ),
            (json!({"thinking_token_budget": 9000}), json!({"thinking_token_budget": 4500})),
            (
                json!({"thinking": {"type": "enabled", "budget_tokens": 1500}}),
                json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}),
            ),
            (
                json!({"extra_body": {"google": {"thinking_config": {"thinking_budget": -1}}}}),
                json!({"extra_body": {"google": {"thinking_config": {"thinking_budget": 1024}}}}),
            ),
        ] {
            assert_eq!(reduced_reasoning(configured), Some((wanted, false)));
        }
    }

    #[test]
    fn little_reasoning_is_never_made_more() {
        for configured in [
            json!({"reasoning_effort": "none"}),
            json!({"reasoning_effort": "low"}),
            json!({"thinking_token_budget": 200}),
            json!({"chat_template_kwargs": {"enable_thinking": false}}),
        ] {
            assert_eq!(reduced_reasoning(configured), None);
        }
    }

    #[test]
    fn a_refusal_is_known_by_the_fields_that_are_sent() {
        for (configured, wanted) in [
            (json!({"seed": 7}), &["reasoning_effort"][..]),
            (json!({"reasoning": {"max_tokens": 9000}}), &["reasoning"]),
            (
                json!({"chat_template_kwargs": {"enable_thinking": true}}),
                &["chat_template_kwargs", "enable_thinking"],
            ),
        ] {
            let Value::Object(configured) = configured else { panic!("an object") };
            assert_eq!(names(&configured), wanted);
        }
    }

    #[test]
    fn unconfigured_reasoning_field_is_sent_only_when_needed() {
        assert_eq!(
            reduced_reasoning(json!({"seed": 7})),
            Some((json!({"seed": 7, "reasoning_effort": "low"}), true))
        );
    }
}

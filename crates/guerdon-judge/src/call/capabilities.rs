//! Request features that an endpoint accepts. They start as configured and are downgraded when the
//! endpoint refuses a field by name. The result is remembered, so that each refusal is paid for
//! once.

use crate::ask::reasoning;
use crate::call::retry::{Class, Fault};
use crate::call::wire::RequestFeatures;
use crate::config::{EndpointConfig, ResponseFormat, Seal, TokenLimit};
use parking_lot::Mutex;

/// Words by which servers refuse the form of an answer.
const FORMAT: [&str; 6] = [
    "response_format",
    "json_schema",
    "json schema",
    "json_object",
    "structured output",
    "grammar",
];

/// The refused field's place as llama-cpp-python prints it into its text.
const PYTHON_LOC: &str = "'loc': ('body', 'response_format'";

/// The belief, shared by every attempt on an endpoint.
#[derive(Debug)]
pub(crate) struct Capabilities {
    now: Mutex<RequestFeatures>,
    configured_limit: TokenLimit,
    seal: Seal,
    /// Of the fields that ask for less reasoning.
    reasoning: Vec<&'static str>,
    /// The model's name in lower case. Refusals quote it, and some names contain words such as
    /// "thinking".
    model: String,
}

impl Capabilities {
    pub(crate) fn new(config: &EndpointConfig) -> Self {
        let now = RequestFeatures {
            format: config.response_format,
            token_limit: config.token_limit,
            temperature: true,
            sealed: false,
            reduced_reasoning: true,
        };
        Self {
            now: Mutex::new(now),
            configured_limit: config.token_limit,
            seal: config.seal,
            reasoning: reasoning::names(&config.extra_body),
            model: config.model.to_lowercase(),
        }
    }

    /// Features of the next request; reduced reasoning only if requested and not refused.
    pub(crate) fn now(&self, reduce_reasoning: bool) -> RequestFeatures {
        let now = *self.now.lock();
        let sealed = match self.seal {
            Seal::Always => true,
            Seal::Never => false,
            Seal::Auto => !now.format.is_enforced(),
        };
        RequestFeatures {
            sealed,
            reduced_reasoning: now.reduced_reasoning && reduce_reasoning,
            ..now
        }
    }

    /// The endpoint took a schema and answered in another form: it enforces none, so from now on
    /// the answer must prove where it comes from. Whether that changes anything.
    pub(crate) fn distrust_schema(&self, sent: RequestFeatures) -> bool {
        let mut now = self.now.lock();
        if self.seal != Seal::Auto || !sent.format.is_enforced() {
            return false;
        }
        if now.format == sent.format {
            now.format = ResponseFormat::JsonObject;
        }
        true
    }

    /// Downgrades a feature of `sent` that `fault` refuses; returns false if there is no other way
    /// to send the request. Concurrent attempts that learn the same downgrade it once, because only
    /// features that were sent are downgraded.
    ///
    /// llama-cpp-python refuses `json_schema` with a 500, hence [`Class::Transient`]. In that case
    /// only the place of the refused field counts.
    pub(crate) fn downgrade(&self, sent: RequestFeatures, fault: &Fault) -> bool {
        if !matches!(fault.class, Class::BadRequest | Class::Transient) {
            return false;
        }
        let mut now = self.now.lock();
        if sent.reduced_reasoning && fault.class == Class::BadRequest {
            let without_model =
                Fault { text: fault.text.replace(&self.model, ""), ..fault.clone() };
            if self.reasoning.iter().any(|name| without_model.refuses(name)) {
                now.reduced_reasoning = false;
                return true;
            }
        }
        let refused = match fault.class {
            Class::BadRequest => FORMAT.iter().any(|word| fault.refuses(word)),
            _ => {
                fault.fields.iter().any(|field| field == "response_format")
                    || fault.mentions(PYTHON_LOC)
            }
        };
        if refused && let Some(weaker) = sent.format.weaker() {
            if now.format == sent.format {
                now.format = weaker;
            }
            return true;
        }
        if fault.class != Class::BadRequest {
            return false;
        }
        if sent.token_limit == self.configured_limit && fault.refuses(sent.token_limit.as_str()) {
            now.token_limit = sent.token_limit.other();
            return true;
        }
        if sent.temperature && fault.refuses("temperature") {
            now.temperature = false;
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(class: Class, text: &str) -> Fault {
        Fault { text: text.to_owned(), ..Fault::new(class, String::new()) }
    }

    #[test]
    fn two_attempts_that_learn_the_same_weaken_it_once() {
        let capabilities = Capabilities::new(&EndpointConfig::new("http://h", "m"));
        let sent = capabilities.now(false);
        let refusal = fault(Class::BadRequest, "unsupported: response_format");
        assert!(capabilities.downgrade(sent, &refusal));
        assert!(capabilities.downgrade(sent, &refusal));
        assert_eq!(capabilities.now(false).format, ResponseFormat::JsonObjectSchema);
    }

    #[test]
    fn a_limit_that_is_refused_by_name_gets_its_other_name_once() {
        let capabilities = Capabilities::new(&EndpointConfig::new("http://h", "m"));
        let refusal =
            fault(Class::BadRequest, "'max_tokens' is not supported, use 'max_completion_tokens'");
        assert!(capabilities.downgrade(capabilities.now(false), &refusal));
        assert_eq!(capabilities.now(false).token_limit, TokenLimit::MaxCompletionTokens);
        assert!(!capabilities.downgrade(capabilities.now(false), &refusal));
    }

    #[test]
    fn a_refused_temperature_is_left_out() {
        let capabilities = Capabilities::new(&EndpointConfig::new("http://h", "m"));
        assert!(capabilities.downgrade(
            capabilities.now(false),
            &fault(Class::BadRequest, "unsupported value: 'temperature'")
        ));
        assert!(!capabilities.now(false).temperature);
    }

    #[test]
    fn less_reasoning_is_asked_for_until_it_is_refused_by_name() {
        let capabilities = Capabilities::new(&EndpointConfig::new("http://h", "m"));
        let sent = capabilities.now(true);
        assert!(sent.reduced_reasoning && !capabilities.now(false).reduced_reasoning);
        let refusal = fault(Class::BadRequest, "unknown name \"reasoning_effort\"");
        assert!(
            !capabilities.downgrade(capabilities.now(false), &refusal),
            "nothing of that was sent"
        );
        assert!(
            capabilities.downgrade(sent, &refusal) && !capabilities.now(true).reduced_reasoning
        );

        let capabilities = Capabilities::new(&EndpointConfig::new("http://h", "Kimi-K2-Thinking"));
        let other = fault(Class::BadRequest, "kimi-k2-thinking cannot reason within 9000 tokens");
        assert!(
            !capabilities.downgrade(capabilities.now(true), &other)
                && capabilities.now(true).reduced_reasoning
        );
    }

    #[test]
    fn a_seal_is_asked_for_where_no_grammar_enforces_the_form() {
        let capabilities = |seal| {
            Capabilities::new(&EndpointConfig { seal, ..EndpointConfig::new("http://h", "m") })
        };
        let auto = capabilities(Seal::Auto);
        assert!(!auto.now(false).sealed);
        assert!(auto.distrust_schema(auto.now(false)));
        assert!(auto.now(false).sealed && !auto.distrust_schema(auto.now(false)));
        assert!(capabilities(Seal::Always).now(false).sealed);
        let never = capabilities(Seal::Never);
        assert!(!never.distrust_schema(never.now(false)) && !never.now(false).sealed);
    }

    #[test]
    fn a_fault_that_names_nothing_weakens_nothing() {
        let capabilities = Capabilities::new(&EndpointConfig::new("http://h", "m"));
        assert!(
            !capabilities
                .downgrade(capabilities.now(false), &fault(Class::BadRequest, "no such model"))
        );
        assert!(
            !capabilities
                .downgrade(capabilities.now(false), &fault(Class::RateLimited, "json_schema"))
        );
    }
}

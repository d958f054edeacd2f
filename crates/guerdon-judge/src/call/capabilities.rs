//! What an endpoint is believed to accept. Begins as configured; weakened when the endpoint refuses a field by name, and
//! remembered, so that each refusal is paid for once.

use std::sync::{Mutex, PoisonError};

use crate::ask::reasoning;
use crate::call::retry::{Class, Fault};
use crate::call::wire::Offer;
use crate::config::{EndpointConfig, ResponseFormat, Seal, TokenLimit};

/// What servers call the form of an answer when they refuse it.
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
pub(crate) struct Offers {
    now: Mutex<Offer>,
    configured_limit: TokenLimit,
    seal: Seal,
    /// Of the fields that ask for less reasoning.
    reasoning: Vec<&'static str>,
    /// In lower case. Refusals quote it, and some models are called after what they do.
    model: String,
}

impl Offers {
    pub(crate) fn new(config: &EndpointConfig) -> Self {
        let now = Offer {
            format: config.response_format,
            token_limit: config.token_limit,
            temperature: true,
            sealed: false,
            eased: true,
        };
        Self {
            now: Mutex::new(now),
            configured_limit: config.token_limit,
            seal: config.seal,
            reasoning: reasoning::names(&config.extra_body),
            model: config.model.to_lowercase(),
        }
    }

    /// What to send; less reasoning only if that is wanted and not refused.
    pub(crate) fn now(&self, ease: bool) -> Offer {
        let now = *self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let sealed = match self.seal {
            Seal::Always => true,
            Seal::Never => false,
            Seal::Auto => !now.format.is_enforced(),
        };
        Offer { sealed, eased: now.eased && ease, ..now }
    }

    /// The endpoint took a schema and answered in another form: it enforces none, so from now on the answer must prove
    /// where it comes from. Whether that changes anything.
    pub(crate) fn disbelieve(&self, sent: Offer) -> bool {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if self.seal != Seal::Auto || !sent.format.is_enforced() {
            return false;
        }
        if now.format == sent.format {
            now.format = ResponseFormat::JsonObject;
        }
        true
    }

    /// Whether `fault` refuses a field of `sent` that there is another way to send. Attempts that were under way at the
    /// same time learn the same and weaken it once: only what was sent is weakened.
    ///
    /// llama-cpp-python refuses `json_schema` with a 500, hence [`Class::Transient`]; then only the place of the refused field
    /// counts.
    pub(crate) fn weaken(&self, sent: Offer, fault: &Fault) -> bool {
        if !matches!(fault.class, Class::BadRequest | Class::Transient) {
            return false;
        }
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if sent.eased && fault.class == Class::BadRequest {
            let without_model =
                Fault { text: fault.text.replace(&self.model, ""), ..fault.clone() };
            if self.reasoning.iter().any(|name| without_model.refuses(name)) {
                now.eased = false;
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
        let offers = Offers::new(&EndpointConfig::new("http://h", "m"));
        let sent = offers.now(false);
        let refusal = fault(Class::BadRequest, "unsupported: response_format");
        assert!(offers.weaken(sent, &refusal));
        assert!(offers.weaken(sent, &refusal));
        assert_eq!(offers.now(false).format, ResponseFormat::JsonObjectSchema);
    }

    #[test]
    fn a_limit_that_is_refused_by_name_gets_its_other_name_once() {
        let offers = Offers::new(&EndpointConfig::new("http://h", "m"));
        let refusal =
            fault(Class::BadRequest, "'max_tokens' is not supported, use 'max_completion_tokens'");
        assert!(offers.weaken(offers.now(false), &refusal));
        assert_eq!(offers.now(false).token_limit, TokenLimit::MaxCompletionTokens);
        assert!(!offers.weaken(offers.now(false), &refusal));
    }

    #[test]
    fn a_refused_temperature_is_left_out() {
        let offers = Offers::new(&EndpointConfig::new("http://h", "m"));
        assert!(offers.weaken(
            offers.now(false),
            &fault(Class::BadRequest, "unsupported value: 'temperature'")
        ));
        assert!(!offers.now(false).temperature);
    }

    #[test]
    fn less_reasoning_is_asked_for_until_it_is_refused_by_name() {
        let offers = Offers::new(&EndpointConfig::new("http://h", "m"));
        let sent = offers.now(true);
        assert!(sent.eased && !offers.now(false).eased);
        let refusal = fault(Class::BadRequest, "unknown name \"reasoning_effort\"");
        assert!(!offers.weaken(offers.now(false), &refusal), "nothing of that was sent");
        assert!(offers.weaken(sent, &refusal) && !offers.now(true).eased);

        let offers = Offers::new(&EndpointConfig::new("http://h", "Kimi-K2-Thinking"));
        let other = fault(Class::BadRequest, "kimi-k2-thinking cannot reason within 9000 tokens");
        assert!(!offers.weaken(offers.now(true), &other) && offers.now(true).eased);
    }

    #[test]
    fn a_seal_is_asked_for_where_no_grammar_enforces_the_form() {
        let offers =
            |seal| Offers::new(&EndpointConfig { seal, ..EndpointConfig::new("http://h", "m") });
        let auto = offers(Seal::Auto);
        assert!(!auto.now(false).sealed);
        assert!(auto.disbelieve(auto.now(false)));
        assert!(auto.now(false).sealed && !auto.disbelieve(auto.now(false)));
        assert!(offers(Seal::Always).now(false).sealed);
        let never = offers(Seal::Never);
        assert!(!never.disbelieve(never.now(false)) && !never.now(false).sealed);
    }

    #[test]
    fn a_fault_that_names_nothing_weakens_nothing() {
        let offers = Offers::new(&EndpointConfig::new("http://h", "m"));
        assert!(!offers.weaken(offers.now(false), &fault(Class::BadRequest, "no such model")));
        assert!(!offers.weaken(offers.now(false), &fault(Class::RateLimited, "json_schema")));
    }
}

//! What an endpoint is believed to accept. Begins as configured; weakened when the endpoint refuses a field by name, and
//! remembered, so that each refusal is paid for once.

use std::sync::{Mutex, PoisonError};

use crate::config::{EndpointConfig, ResponseFormat, Seal, TokenLimit};
use crate::retry::{Class, Fault};
use crate::wire::Offer;

/// What servers call the form of an answer when they refuse it.
const FORMAT: [&str; 6] =
    ["response_format", "json_schema", "json schema", "json_object", "structured output", "grammar"];

/// The belief, shared by every attempt on an endpoint.
#[derive(Debug)]
pub(crate) struct Offers {
    now: Mutex<Offer>,
    configured_limit: TokenLimit,
    seal: Seal,
}

impl Offers {
    pub(crate) const fn new(config: &EndpointConfig) -> Self {
        let now = Offer {
            format: config.response_format,
            token_limit: config.token_limit,
            temperature: true,
            sealed: false,
        };
        Self { now: Mutex::new(now), configured_limit: config.token_limit, seal: config.seal }
    }

    pub(crate) fn now(&self) -> Offer {
        let now = *self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let sealed = match self.seal {
            Seal::Always => true,
            Seal::Never => false,
            Seal::Auto => !now.format.is_enforced(),
        };
        Offer { sealed, ..now }
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
    /// llama-cpp-python refuses `json_schema` with a 500, hence [`Class::Transient`].
    pub(crate) fn weaken(&self, sent: Offer, fault: &Fault) -> bool {
        if !matches!(fault.class, Class::BadRequest | Class::Transient) {
            return false;
        }
        let names = |words: &[&str]| words.iter().any(|word| fault.haystack.contains(word));
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if names(&FORMAT)
            && let Some(weaker) = sent.format.weaker()
        {
            if now.format == sent.format {
                now.format = weaker;
            }
            return true;
        }
        if fault.class != Class::BadRequest {
            return false;
        }
        if sent.token_limit == self.configured_limit && names(&[sent.token_limit.as_str()]) {
            now.token_limit = sent.token_limit.other();
            return true;
        }
        if sent.temperature && names(&["temperature"]) {
            now.temperature = false;
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(class: Class, haystack: &str) -> Fault {
        Fault { haystack: haystack.to_owned(), ..Fault::new(class, String::new()) }
    }

    #[test]
    fn two_attempts_that_learn_the_same_weaken_it_once() {
        let offers = Offers::new(&EndpointConfig::new("http://h", "m"));
        let sent = offers.now();
        let refusal = fault(Class::BadRequest, "unsupported: response_format");
        assert!(offers.weaken(sent, &refusal));
        assert!(offers.weaken(sent, &refusal));
        assert_eq!(offers.now().format, ResponseFormat::JsonObjectSchema);
    }

    #[test]
    fn a_limit_that_is_refused_by_name_gets_its_other_name_once() {
        let offers = Offers::new(&EndpointConfig::new("http://h", "m"));
        let refusal = fault(Class::BadRequest, "'max_tokens' is not supported, use 'max_completion_tokens'");
        assert!(offers.weaken(offers.now(), &refusal));
        assert_eq!(offers.now().token_limit, TokenLimit::MaxCompletionTokens);
        assert!(!offers.weaken(offers.now(), &refusal));
    }

    #[test]
    fn a_refused_temperature_is_left_out() {
        let offers = Offers::new(&EndpointConfig::new("http://h", "m"));
        assert!(offers.weaken(offers.now(), &fault(Class::BadRequest, "unsupported value: 'temperature'")));
        assert!(!offers.now().temperature);
    }

    #[test]
    fn a_seal_is_asked_for_where_no_grammar_enforces_the_form() {
        let offers = |seal| Offers::new(&EndpointConfig { seal, ..EndpointConfig::new("http://h", "m") });
        let auto = offers(Seal::Auto);
        assert!(!auto.now().sealed);
        assert!(auto.disbelieve(auto.now()));
        assert!(auto.now().sealed && !auto.disbelieve(auto.now()));
        assert!(offers(Seal::Always).now().sealed);
        let never = offers(Seal::Never);
        assert!(!never.disbelieve(never.now()) && !never.now().sealed);
    }

    #[test]
    fn a_fault_that_names_nothing_weakens_nothing() {
        let offers = Offers::new(&EndpointConfig::new("http://h", "m"));
        assert!(!offers.weaken(offers.now(), &fault(Class::BadRequest, "no such model")));
        assert!(!offers.weaken(offers.now(), &fault(Class::RateLimited, "json_schema")));
    }
}

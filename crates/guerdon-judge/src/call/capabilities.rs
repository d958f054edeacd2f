//! Request features that an address accepts. They start as configured. One that the address refuses
//! by the name of its field is left out from then on, so that each refusal is paid for once. Most
//! servers name the field only in the text of the error, where they also quote their input; such a
//! refusal is [confirmed](crate::call::check) before it counts for other questions.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::ask::reasoning;
use crate::call::fault::Fault;
use crate::call::fault::classes::Class;
use crate::call::wire::RequestFeatures;
use crate::config::{EndpointConfig, ResponseFormat, Seal, TokenLimit};

/// Time for which an answered check speaks for the features that it was sent with.
const VOUCHED: Duration = Duration::from_secs(60);

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

/// A feature of a request that an address may refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    ReducedReasoning,
    Format,
    TokenLimit,
    Temperature,
}

/// A feature that an address seems to refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FeatureRefusal {
    pub(crate) feature: Feature,
    /// True if the error has a field that names it, so that no quotation can.
    pub(crate) named: bool,
}

/// A feature that an address refused for one question. The question is sent to this address without
/// the feature, even if a [check](crate::call::check) shows that the address accepts the feature
/// otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QuestionRefusal {
    /// The index of the address.
    pub(crate) address: usize,
    /// The features of the request that was refused.
    pub(crate) sent: RequestFeatures,
    pub(crate) feature: Feature,
}

/// The belief, shared by every attempt on an address.
#[derive(Debug)]
pub(crate) struct Capabilities {
    now: Mutex<RequestFeatures>,
    /// The features of the last check that was answered, and its time.
    vouched: Mutex<Option<(RequestFeatures, Instant)>>,
    /// Held while a check is sent.
    pub(crate) checking: tokio::sync::Mutex<()>,
    configured_format: ResponseFormat,
    configured_limit: TokenLimit,
    sealed: bool,
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
            vouched: Mutex::default(),
            checking: tokio::sync::Mutex::default(),
            configured_format: config.response_format,
            configured_limit: config.token_limit,
            sealed: config.seal != Seal::Never,
            reasoning: reasoning::names(&config.extra_body),
            model: config.model.to_lowercase(),
        }
    }

    /// Features of the next request; reduced reasoning only if requested and not refused.
    pub(crate) fn now(&self, reduce_reasoning: bool) -> RequestFeatures {
        let now = *self.now.lock();
        RequestFeatures {
            sealed: self.sealed,
            reduced_reasoning: now.reduced_reasoning && reduce_reasoning,
            ..now
        }
    }

    /// Features of the next request about a question to the address with this index, which has
    /// refused some of them for it.
    pub(crate) fn for_question(
        &self,
        address: usize,
        reduce_reasoning: bool,
        refusals: &[QuestionRefusal],
    ) -> RequestFeatures {
        let mut features = self.now(reduce_reasoning);
        for refusal in refusals.iter().filter(|refusal| refusal.address == address) {
            let QuestionRefusal { sent, feature, .. } = *refusal;
            if features.uses(feature, sent) {
                features = self.without(features, feature).unwrap_or(features);
            }
        }
        features
    }

    /// The features that are given up, each with the number of steps.
    pub(crate) fn downgrades(&self) -> Vec<(&'static str, u8)> {
        let now = *self.now.lock();
        let formats = std::iter::successors(Some(self.configured_format), |format| format.weaker());
        let steps = formats.take_while(|format| *format != now.format).count();
        vec![
            ("response_format", u8::try_from(steps).unwrap_or(u8::MAX)),
            ("token_limit", u8::from(now.token_limit != self.configured_limit)),
            ("temperature", u8::from(!now.temperature)),
            ("reduced_reasoning", u8::from(!now.reduced_reasoning)),
        ]
    }

    /// The feature of `sent` that `fault` refuses, if there is a way to do without it. A field that
    /// the error names comes before words of its text.
    ///
    /// llama-cpp-python refuses `json_schema` with a 500, hence [`Class::Transient`]. In that case
    /// only the place of the refused field counts.
    pub(crate) fn refused(&self, sent: RequestFeatures, fault: &Fault) -> Option<FeatureRefusal> {
        if !matches!(fault.class, Class::BadRequest | Class::Transient) {
            return None;
        }
        let in_order =
            [Feature::ReducedReasoning, Feature::Format, Feature::TokenLimit, Feature::Temperature];
        let possible = || in_order.into_iter().filter(|f| self.without(sent, *f).is_some());
        let named = possible().find(|feature| self.is_named(sent, *feature, fault));
        let named = named.map(|feature| FeatureRefusal { feature, named: true });
        named.or_else(|| {
            let feature = possible().find(|feature| self.is_mentioned(sent, *feature, fault))?;
            Some(FeatureRefusal { feature, named: false })
        })
    }

    fn is_named(&self, sent: RequestFeatures, feature: Feature, fault: &Fault) -> bool {
        let bad_request = fault.class == Class::BadRequest;
        match feature {
            Feature::Format if bad_request => FORMAT.iter().any(|word| fault.names(word)),
            Feature::Format => fault.fields.iter().any(|field| field == "response_format"),
            Feature::ReducedReasoning if bad_request => {
                self.reasoning.iter().any(|name| fault.names(name))
            }
            Feature::TokenLimit if bad_request => fault.names(sent.token_limit.as_str()),
            Feature::Temperature if bad_request => fault.names("temperature"),
            _ => false,
        }
    }

    fn is_mentioned(&self, sent: RequestFeatures, feature: Feature, fault: &Fault) -> bool {
        let bad_request = fault.class == Class::BadRequest;
        match feature {
            Feature::Format if bad_request => FORMAT.iter().any(|word| fault.mentions(word)),
            Feature::Format => fault.mentions(PYTHON_LOC),
            Feature::ReducedReasoning if bad_request => {
                let without_model =
                    Fault { text: fault.text.replace(&self.model, ""), ..fault.clone() };
                self.reasoning.iter().any(|name| without_model.mentions(name))
            }
            Feature::TokenLimit if bad_request => fault.mentions(sent.token_limit.as_str()),
            Feature::Temperature if bad_request => fault.mentions("temperature"),
            _ => false,
        }
    }

    /// `sent` without `feature`; `None` if there is no way to do without it.
    pub(crate) fn without(
        &self,
        sent: RequestFeatures,
        feature: Feature,
    ) -> Option<RequestFeatures> {
        match feature {
            Feature::ReducedReasoning => sent
                .reduced_reasoning
                .then_some(RequestFeatures { reduced_reasoning: false, ..sent }),
            Feature::Format => Some(RequestFeatures { format: sent.format.weaker()?, ..sent }),
            Feature::TokenLimit => (sent.token_limit == self.configured_limit)
                .then(|| RequestFeatures { token_limit: sent.token_limit.other(), ..sent }),
            Feature::Temperature => {
                sent.temperature.then_some(RequestFeatures { temperature: false, ..sent })
            }
        }
    }

    /// True if `feature` of `sent` is still used, and no check has been answered with it lately.
    pub(crate) fn is_in_doubt(&self, sent: RequestFeatures, feature: Feature) -> bool {
        let used = self.now(sent.reduced_reasoning).uses(feature, sent);
        let vouched = self.vouched.lock();
        let is_vouched =
            vouched.is_some_and(|(features, at)| features == sent && at.elapsed() < VOUCHED);
        used && !is_vouched
    }

    /// Records that a check with these features was answered.
    pub(crate) fn vouch(&self, features: RequestFeatures) {
        *self.vouched.lock() = Some((features, Instant::now()));
    }

    /// Leaves out `feature` of `sent` from now on. Concurrent attempts that learn the same leave it
    /// out once, because only a feature that was sent is left out.
    pub(crate) fn leave_out(&self, sent: RequestFeatures, feature: Feature) {
        let Some(weaker) = self.without(sent, feature) else { return };
        let mut now = self.now.lock();
        match feature {
            Feature::ReducedReasoning => now.reduced_reasoning = false,
            Feature::Format if now.format == sent.format => now.format = weaker.format,
            Feature::Format => {}
            Feature::TokenLimit => now.token_limit = weaker.token_limit,
            Feature::Temperature => now.temperature = false,
        }
        tracing::warn!(?feature, now = ?*now, "the judge endpoint refuses a feature of requests");
    }
}

impl RequestFeatures {
    /// True if `feature` is in use as it was in `sent`.
    fn uses(&self, feature: Feature, sent: Self) -> bool {
        match feature {
            Feature::ReducedReasoning => self.reduced_reasoning,
            Feature::Format => self.format == sent.format,
            Feature::TokenLimit => self.token_limit == sent.token_limit,
            Feature::Temperature => self.temperature,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(class: Class, text: &str) -> Fault {
        Fault { text: text.to_owned(), ..Fault::new(class, String::new()) }
    }

    fn capabilities() -> Capabilities {
        Capabilities::new(&EndpointConfig::new("http://h", "m"))
    }

    fn refused(capabilities: &Capabilities, fault: &Fault) -> Option<FeatureRefusal> {
        capabilities.refused(capabilities.now(true), fault)
    }

    #[test]
    fn two_attempts_that_learn_the_same_leave_it_out_once() {
        let capabilities = capabilities();
        let sent = capabilities.now(false);
        let refusal = fault(Class::BadRequest, "unsupported: response_format");
        let found = capabilities.refused(sent, &refusal).unwrap();
        assert_eq!(found, FeatureRefusal { feature: Feature::Format, named: false });
        capabilities.leave_out(sent, found.feature);
        capabilities.leave_out(sent, found.feature);
        assert_eq!(capabilities.now(false).format, ResponseFormat::JsonObjectSchema);
        assert_eq!(capabilities.downgrades()[0], ("response_format", 1));
        assert!(capabilities.downgrades()[1..].iter().all(|(_, steps)| *steps == 0));
    }

    #[test]
    fn a_refusal_for_one_question_counts_at_its_address_and_only_once() {
        let capabilities = capabilities();
        let sent = capabilities.now(true);
        let refusal = |sent, feature| QuestionRefusal { address: 1, sent, feature };
        let mut refusals = vec![refusal(sent, Feature::Format)];
        let second = capabilities.for_question(1, true, &refusals);
        assert_eq!(second.format, ResponseFormat::JsonObjectSchema);
        assert_eq!(capabilities.for_question(0, true, &refusals), sent, "another address");
        assert!(!capabilities.for_question(1, false, &refusals).reduced_reasoning);
        refusals.push(refusal(second, Feature::Format));
        refusals.push(refusal(second, Feature::Temperature));
        refusals.push(refusal(second, Feature::ReducedReasoning));
        let third = capabilities.for_question(1, true, &refusals);
        assert_eq!((third.format, third.temperature), (ResponseFormat::JsonObject, false));
        assert!(!third.reduced_reasoning);
        // Once the address is known to refuse it, the question's own refusal changes nothing more.
        capabilities.leave_out(sent, Feature::Format);
        assert_eq!(capabilities.for_question(1, true, &refusals), third);
    }

    #[test]
    fn a_field_of_the_error_names_and_its_text_only_mentions() {
        let capabilities = capabilities();
        let text = fault(Class::BadRequest, "grammar");
        assert!(!refused(&capabilities, &text).unwrap().named);
        let both = Fault { fields: vec!["temperature".to_owned()], ..text };
        let named = FeatureRefusal { feature: Feature::Temperature, named: true };
        assert_eq!(refused(&capabilities, &both), Some(named));
    }

    #[test]
    fn a_limit_that_is_refused_by_name_gets_its_other_name_once() {
        let capabilities = capabilities();
        let refusal =
            fault(Class::BadRequest, "'max_tokens' is not supported, use 'max_completion_tokens'");
        assert_eq!(refused(&capabilities, &refusal).unwrap().feature, Feature::TokenLimit);
        capabilities.leave_out(capabilities.now(false), Feature::TokenLimit);
        assert_eq!(capabilities.now(false).token_limit, TokenLimit::MaxCompletionTokens);
        assert_eq!(refused(&capabilities, &refusal), None);
    }

    #[test]
    fn less_reasoning_is_asked_for_until_it_is_refused() {
        let capabilities = capabilities();
        let refusal = fault(Class::BadRequest, "unknown name \"reasoning_effort\"");
        let sent = capabilities.now(false);
        assert_eq!(capabilities.refused(sent, &refusal), None, "nothing of that was sent");
        assert_eq!(refused(&capabilities, &refusal).unwrap().feature, Feature::ReducedReasoning);
        capabilities.leave_out(capabilities.now(true), Feature::ReducedReasoning);
        assert!(!capabilities.now(true).reduced_reasoning);

        let thinking = Capabilities::new(&EndpointConfig::new("http://h", "Kimi-K2-Thinking"));
        let other = fault(Class::BadRequest, "kimi-k2-thinking cannot reason within 9000 tokens");
        assert_eq!(refused(&thinking, &other), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answered_check_speaks_for_its_features_for_a_while() {
        let capabilities = capabilities();
        let sent = capabilities.now(false);
        assert!(capabilities.is_in_doubt(sent, Feature::Format));
        capabilities.vouch(sent);
        assert!(!capabilities.is_in_doubt(sent, Feature::Format));
        tokio::time::advance(VOUCHED).await;
        assert!(capabilities.is_in_doubt(sent, Feature::Format));
        capabilities.leave_out(sent, Feature::Format);
        assert!(!capabilities.is_in_doubt(sent, Feature::Format), "it is known already");
    }

    #[test]
    fn a_seal_is_asked_for_unless_it_is_switched_off() {
        let capabilities = |seal| {
            Capabilities::new(&EndpointConfig { seal, ..EndpointConfig::new("http://h", "m") })
        };
        assert!(capabilities(Seal::Auto).now(false).sealed);
        assert!(capabilities(Seal::Always).now(false).sealed);
        assert!(!capabilities(Seal::Never).now(false).sealed);
    }

    #[test]
    fn a_fault_that_mentions_nothing_refuses_nothing() {
        let capabilities = capabilities();
        assert_eq!(refused(&capabilities, &fault(Class::BadRequest, "no such model")), None);
        assert_eq!(refused(&capabilities, &fault(Class::RateLimited, "json_schema")), None);
    }
}

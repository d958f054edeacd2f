//! Failed attempts: their class, and what the endpoint said.
//!
//! The class follows from the status, the headers and the identifiers in an error's known fields
//! ([`classes`](crate::call::fault::classes)). The text of an error is for people: servers quote their
//! input there, and the policy wrote the judged turn. Text decides two things only, and neither
//! beyond the question itself: the name of the reason `too_long`, and a suspicion that the endpoint
//! lacks a feature, which a [question of guerdon's own](crate::call::check) confirms.

pub(crate) mod classes;

use std::time::{Duration, SystemTime};

use guerdon_queue::{Backoff, QuotaReports, named_delay};
use guerdon_types::AbstainReason;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use self::classes::Class;
use crate::ask::answer::Failure;
use crate::ask::render::ChatMessage;
use crate::call::transport::TransportError;
use crate::call::wire::EndpointError;

/// No endpoint is waited for longer than this; one that asks for more is given up.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// Longest wait of the own backoff.
pub(crate) const LONGEST_BACKOFF: Duration = Duration::from_secs(8);
/// Base of the backoff after a refusal for load if the configured one is shorter, or zero.
const SHORTEST_BACKOFF: Duration = Duration::from_millis(50);

/// One failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) class: Class,
    /// A narrower reason than the class.
    pub(crate) reason: Option<AbstainReason>,
    /// Text that may be shown to clients: it contains neither keys nor headers.
    pub(crate) detail: String,
    /// The delay that the endpoint asks for.
    pub(crate) delay: Option<Duration>,
    /// Names in lower case of the request's fields that the error refers to.
    pub(crate) fields: Vec<String>,
    /// The error's text in lower case. It may quote the question: see [`Fault::mentions`].
    pub(crate) text: String,
    /// Letters and digits of the question, if it was compared.
    pub(crate) question: String,
    /// Set by `x-should-retry: false`: the endpoint refuses retries.
    pub(crate) forbids_repeats: bool,
    /// No reply within the time limit.
    pub(crate) timed_out: bool,
    /// The endpoint never saw it.
    pub(crate) unsent: bool,
    /// Set if the attempt may have been billed, but its usage is unknown.
    pub(crate) uncounted: bool,
}

impl Fault {
    /// From a status, headers and an error body.
    pub(crate) fn answered(
        status: StatusCode,
        headers: &HeaderMap,
        complaint: EndpointError,
        now: SystemTime,
    ) -> Self {
        let says_retry = headers.get("x-should-retry").and_then(|value| value.to_str().ok());
        let class = match (classes::of(status, &complaint), says_retry) {
            (Class::BadRequest, Some("true")) => Class::Transient,
            (class, _) => class,
        };
        let EndpointError { codes, fields, message, text, delay, .. } = complaint;
        let detail = match status {
            // Endpoints like to quote the key here.
            StatusCode::UNAUTHORIZED => {
                let named = codes.iter().find(|code| code.parse::<u16>().is_err());
                let named = named.map(|code| format!(", `{code}`")).unwrap_or_default();
                format!("the judge endpoint refused the API key (HTTP {status}{named})")
            }
            _ => format!("HTTP {status}: {}", without_secrets(&message)),
        };
        // Every reply may name the reset of a quota. It is a delay only after a refusal for load.
        let reset = || {
            (class == Class::RateLimited)
                .then(|| QuotaReports::read(headers, now).delay())
                .flatten()
        };
        let delay = named_delay(headers, now).or(delay).or_else(reset);
        let forbids_repeats = says_retry == Some("false");
        // A model that answered, or was answering when a proxy gave up, may have billed the call.
        let uncounted = status.is_success()
            || [StatusCode::REQUEST_TIMEOUT, StatusCode::BAD_GATEWAY, StatusCode::GATEWAY_TIMEOUT]
                .contains(&status);
        Self { delay, fields, text, forbids_repeats, uncounted, ..Self::new(class, detail) }
    }

    /// From a success whose content type is not that of an API.
    pub(crate) fn foreign(content: &str) -> Self {
        let detail =
            format!("the judge endpoint answered with `{content}` instead of JSON; check the URL");
        Self { uncounted: true, ..Self::new(Class::Denied, detail) }
    }

    /// From an attempt that brought nothing back.
    pub(crate) fn undelivered(why: TransportError) -> Self {
        let reason = match why {
            TransportError::UnknownHost => Some(AbstainReason::UnknownHost),
            TransportError::RefusedConnection => Some(AbstainReason::ConnectionRefused),
            TransportError::Tls => Some(AbstainReason::Tls),
            TransportError::ConnectTimeout => Some(AbstainReason::ConnectTimeout),
            TransportError::BrokeOff => Some(AbstainReason::BrokeOff),
            TransportError::NotReached | TransportError::TooLong => None,
        };
        let unreachable = |what: &str| {
            let detail = format!("the judge endpoint {what}");
            Self { reason, ..Self::new(Class::Unreachable, detail) }
        };
        match why {
            TransportError::NotReached => {
                Self { unsent: true, ..unreachable("could not be reached") }
            }
            TransportError::UnknownHost => {
                Self { unsent: true, ..unreachable("could not be reached: its host is not known") }
            }
            TransportError::RefusedConnection => {
                Self { unsent: true, ..unreachable("could not be reached: connection refused") }
            }
            TransportError::Tls => {
                let what = "could not be reached: the TLS handshake failed; check the certificate";
                Self { unsent: true, ..unreachable(what) }
            }
            TransportError::ConnectTimeout => {
                Self { unsent: true, ..unreachable("could not be reached: connecting timed out") }
            }
            TransportError::BrokeOff => Self { uncounted: true, ..unreachable("broke off") },
            TransportError::TooLong => {
                let detail = "the judge endpoint's reply is too long to be a verdict".to_owned();
                Self { uncounted: true, ..Self::new(Class::BadRequest, detail) }
            }
        }
    }

    /// From an attempt that ran out of time.
    pub(crate) fn timed_out() -> Self {
        let detail = "the judge endpoint did not answer in time".to_owned();
        Self {
            timed_out: true,
            uncounted: true,
            reason: Some(AbstainReason::TimedOut),
            ..Self::new(Class::Unreachable, detail)
        }
    }

    /// From an attempt that was given up because its address fell silent beside a healthy one.
    pub(crate) fn stalled() -> Self {
        let detail = "the judge's address fell silent while another one was ready".to_owned();
        Self { detail, ..Self::timed_out() }
    }

    /// Attaches the messages that were sent, so that [`Fault::mentions`] can recognise quotations.
    pub(crate) fn after(mut self, messages: &[ChatMessage]) -> Self {
        self.question = messages.iter().map(|message| squashed(&message.content)).collect();
        if self.class == Class::BadRequest
            && classes::TOO_LONG_TEXTS.iter().any(|words| self.mentions(words))
        {
            self.class = Class::TooLong;
            self.reason = self.class.reason();
        }
        self
    }

    /// True if a field of the error names this field of the request.
    pub(crate) fn names(&self, field: &str) -> bool {
        let is = |name: &String| name.split(['.', '[', '/']).any(|part| part == field);
        self.fields.iter().any(is)
    }

    /// True if the error's text holds `words` and the question does not. Servers quote their input,
    /// so words that may come from the judged turn are not evidence.
    pub(crate) fn mentions(&self, words: &str) -> bool {
        self.text.contains(words) && !self.question.contains(&squashed(words))
    }

    /// The failure of a question for which this attempt was the last one.
    pub(crate) fn failure(&self) -> Failure {
        Failure::new(self.class.why(), self.detail.clone()).because(self.reason)
    }

    pub(crate) const fn new(class: Class, detail: String) -> Self {
        Self {
            class,
            reason: class.reason(),
            detail,
            delay: None,
            fields: Vec::new(),
            text: String::new(),
            question: String::new(),
            forbids_repeats: false,
            timed_out: false,
            unsent: false,
            uncounted: false,
        }
    }
}

/// `message` without words that may be keys: long ones with digits in them.
fn without_secrets(message: &str) -> String {
    let shown = |word: &str| {
        let long = word.chars().filter(|c| c.is_ascii_alphanumeric()).count() >= 16;
        let secret = word.contains("sk-") || (long && word.chars().any(|c| c.is_ascii_digit()));
        if secret { "…".to_owned() } else { word.to_owned() }
    };
    message.split_whitespace().map(shown).collect::<Vec<_>>().join(" ")
}

/// Lower-case letters and digits: a quotation may be wrapped, escaped or spaced differently.
fn squashed(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The waits between attempts, for a configured `base`. Own waits are at most [`LONGEST_BACKOFF`].
pub(crate) const fn backoff(base: Duration) -> Backoff {
    Backoff { base, cap: LONGEST_BACKOFF, floor: SHORTEST_BACKOFF }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_shown_without_what_may_be_a_key() {
        let message = "Key sk-1 (team 4f9a0b1c2d3e4f5a6b7c) has no access to model m-2";
        assert_eq!(without_secrets(message), "Key … (team … has no access to model m-2");
    }

    #[test]
    fn words_of_the_question_are_no_evidence() {
        let message =
            |content: &str| ChatMessage { role: "user".into(), content: content.to_owned() };
        let fault = |text: &str| Fault {
            text: text.to_owned(),
            ..Fault::new(Class::BadRequest, String::new())
        };
        let refusal = "bad grammar; maximum context length";
        let innocent = fault(refusal).after(&[message("480?")]);
        assert!(innocent.mentions("grammar") && innocent.class == Class::TooLong);
        let quoted =
            fault(refusal).after(&[message("My GRAM-mar?"), message("maximum\ncontext length")]);
        assert!(!quoted.mentions("grammar") && quoted.class == Class::BadRequest);
        assert!(
            Fault { fields: vec!["response_format.type".to_owned()], ..quoted }
                .names("response_format")
        );
    }

    #[test]
    fn a_pause_is_never_shorter_than_half_the_own_backoff_nor_than_the_named_delay() {
        for named in [None, Some(0), Some(1), Some(3_000), Some(120_000)] {
            let named = named.map(Duration::from_millis);
            for (base, refusals, floor) in
                [(0, 0, 25), (0, 3, 200), (500, 0, 250), (500, 2, 1000), (500, 40, 4000)]
            {
                let pause = backoff(Duration::from_millis(base)).pause(named, refusals);
                assert!(pause >= Duration::from_millis(floor), "{named:?} {base} {refusals}");
                assert!(pause >= named.unwrap_or_default());
                assert!(pause <= LONGEST_WAIT.mul_f64(1.1));
            }
        }
    }

    #[test]
    fn backoff_grows_but_never_beyond_its_bound() {
        let backoff = backoff(Duration::from_millis(500));
        for retries in [0, 1, 5, 40] {
            let most = backoff.base.saturating_mul(2u32.saturating_pow(retries));
            assert!(backoff.full_jitter(retries) <= most.min(LONGEST_BACKOFF));
        }
    }
}

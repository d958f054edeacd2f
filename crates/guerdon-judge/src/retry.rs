//! What a failed attempt means, and how long to wait before the next.

use std::time::{Duration, SystemTime};

use guerdon_types::AbstainWhy;
use rand::Rng as _;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use crate::limit::headers::Quotas;
use crate::transport::Undelivered;
use crate::wire::Complaint;

/// No endpoint is waited for longer than this; one that asks for more is given up.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(120);
pub(crate) const LONGEST_BACKOFF: Duration = Duration::from_secs(8);
/// Base of the backoff after a refusal for load if the configured one is shorter, or zero.
const SHORTEST_BACKOFF: Duration = Duration::from_millis(50);

/// What a failed attempt means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    RateLimited,
    /// No money or no daily quota left; waiting does not help.
    QuotaGone,
    /// The endpoint failed; it may recover.
    Transient,
    /// It was not reached, or broke off, or took too long.
    Unreachable,
    BadRequest,
    TooLong,
    /// A filter before the model refused the question.
    Filtered,
}

impl Class {
    pub(crate) const fn can_be_repeated(self) -> bool {
        matches!(self, Self::RateLimited | Self::Transient | Self::Unreachable)
    }

    pub(crate) const fn why(self) -> AbstainWhy {
        match self {
            Self::RateLimited => AbstainWhy::RateLimited,
            Self::Unreachable => AbstainWhy::Unreachable,
            Self::QuotaGone | Self::Transient | Self::BadRequest => AbstainWhy::EndpointError,
            Self::TooLong => AbstainWhy::TooLong,
            Self::Filtered => AbstainWhy::Refused,
        }
    }

    /// The outcome of an attempt, for metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::QuotaGone => "quota_gone",
            Self::Transient => "transient",
            Self::Unreachable => "unreachable",
            Self::BadRequest => "bad_request",
            Self::TooLong => "too_long",
            Self::Filtered => "filtered",
        }
    }
}

/// One failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) class: Class,
    /// May be shown to whoever asked: it names neither key nor headers.
    pub(crate) detail: String,
    /// The delay that the endpoint asks for.
    pub(crate) delay: Option<Duration>,
    /// Where to look for the names of refused fields.
    pub(crate) haystack: String,
    /// The endpoint says that a repeat is useless (`x-should-retry: false`).
    pub(crate) forbids_repeats: bool,
    /// No reply within the time limit.
    pub(crate) timed_out: bool,
    /// The endpoint never saw it.
    pub(crate) unsent: bool,
    /// It may have been paid for, and nobody will ever know how much.
    pub(crate) uncounted: bool,
}

impl Fault {
    /// From a status, headers and an error body.
    pub(crate) fn answered(
        status: StatusCode,
        headers: &HeaderMap,
        complaint: Complaint,
        now: SystemTime,
    ) -> Self {
        let Complaint { code, message, delay, haystack } = complaint;
        let says_retry = headers.get("x-should-retry").and_then(|value| value.to_str().ok());
        let class = match (class(status, &code, &haystack), says_retry) {
            (Class::BadRequest, Some("true")) => Class::Transient,
            (class, _) => class,
        };
        let detail = match status {
            // Endpoints like to quote the key here.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                format!("the judge endpoint refused the API key (HTTP {status})")
            }
            _ => format!("HTTP {status}: {message}"),
        };
        // A quota's reset is news with every reply; it is a delay only for whoever was refused for rate.
        let reset =
            || (class == Class::RateLimited).then(|| Quotas::read(headers, now).delay()).flatten();
        let delay = asked_delay(headers, now).or(delay).or_else(reset);
        let forbids_repeats = says_retry == Some("false");
        // A model that answered, or was at it when somebody in between lost patience, is paid.
        let uncounted = status.is_success()
            || [StatusCode::REQUEST_TIMEOUT, StatusCode::BAD_GATEWAY, StatusCode::GATEWAY_TIMEOUT]
                .contains(&status);
        Self { delay, haystack, forbids_repeats, uncounted, ..Self::new(class, detail) }
    }

    /// From an attempt that brought nothing back.
    pub(crate) fn undelivered(why: Undelivered) -> Self {
        let unreachable =
            |what: &str| Self::new(Class::Unreachable, format!("the judge endpoint {what}"));
        match why {
            Undelivered::NotReached => Self { unsent: true, ..unreachable("could not be reached") },
            Undelivered::BrokeOff => Self { uncounted: true, ..unreachable("broke off") },
            Undelivered::TooLong => {
                let detail = "the judge endpoint's reply is too long to be a verdict".to_owned();
                Self { uncounted: true, ..Self::new(Class::BadRequest, detail) }
            }
        }
    }

    /// From an attempt that ran out of time.
    pub(crate) fn timed_out() -> Self {
        let detail = "the judge endpoint did not answer in time".to_owned();
        Self { timed_out: true, uncounted: true, ..Self::new(Class::Unreachable, detail) }
    }

    pub(crate) const fn new(class: Class, detail: String) -> Self {
        Self {
            class,
            detail,
            delay: None,
            haystack: String::new(),
            forbids_repeats: false,
            timed_out: false,
            unsent: false,
            uncounted: false,
        }
    }
}

fn class(status: StatusCode, code: &str, haystack: &str) -> Class {
    let says = |words: &[&str]| words.iter().any(|word| haystack.contains(word));
    if says(&["context_length_exceeded", "exceed_context_size", "maximum context length"]) {
        return Class::TooLong;
    }
    if says(&["insufficient_quota", "perday"]) || status == StatusCode::PAYMENT_REQUIRED {
        return Class::QuotaGone;
    }
    if says(&["content_filter", "responsibleaipolicyviolation"]) {
        return Class::Filtered;
    }
    // A router may put the real status into the body.
    let effective = code
        .parse::<u16>()
        .ok()
        .filter(|code| (400..600).contains(code))
        .unwrap_or(status.as_u16());
    match effective {
        429 | 529 => Class::RateLimited,
        503 if says(&["resource_exhausted"]) => Class::RateLimited,
        408 | 409 => Class::Transient,
        400..=499 => Class::BadRequest,
        _ => Class::Transient,
    }
}

/// The delay that headers ask for: `retry-after-ms`, then `retry-after` in seconds or as an HTTP date.
fn asked_delay(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let header =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let millis = header("retry-after-ms").or_else(|| header("x-ms-retry-after-ms"));
    if let Some(delay) =
        millis.and_then(|text| text.parse::<f64>().ok()).and_then(|ms| seconds(ms / 1000.0))
    {
        return Some(delay);
    }
    let text = header("retry-after")?;
    text.parse::<f64>().ok().and_then(seconds).or_else(|| {
        let date = httpdate::parse_http_date(text).ok()?;
        // A date that has passed means: now.
        Some(date.duration_since(now).unwrap_or_default())
    })
}

fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

/// Full jitter: anything between nothing and `base`·2ⁿ, so that those who failed together do not return together.
pub(crate) fn backoff(base: Duration, retries: u32) -> Duration {
    let most = base.saturating_mul(2u32.saturating_pow(retries)).min(LONGEST_BACKOFF);
    most.mul_f64(rand::rng().random_range(0.0..=1.0))
}

/// Pause after a refusal for load, or after a reply that names a delay: the longer of the two waits.
///
/// - The named delay, at most [`LONGEST_WAIT`], plus up to a tenth, so that clients that were given the same delay do not
///   return together.
/// - The own exponential backoff: between half and all of `base`·2ⁿ for the n-th refusal in a row, at most
///   [`LONGEST_BACKOFF`]. It is a floor, because an endpoint may name no delay, a delay of zero or a date in the past.
pub(crate) fn pause(named: Option<Duration>, base: Duration, refusals: u32) -> Duration {
    let longest = base
        .max(SHORTEST_BACKOFF)
        .saturating_mul(2u32.saturating_pow(refusals))
        .min(LONGEST_BACKOFF);
    let own = longest.mul_f64(rand::rng().random_range(0.5..=1.0));
    let named = named.unwrap_or_default().min(LONGEST_WAIT);
    own.max(named + named.mul_f64(rand::rng().random_range(0.0..=0.1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_delay_is_read_in_each_of_its_forms() {
        let now = httpdate::parse_http_date("Mon, 23 Nov 2026 09:00:00 GMT").unwrap();
        let delay = |pairs: &[(&'static str, &str)]| asked_delay(&headers(pairs), now);
        assert_eq!(
            delay(&[("retry-after-ms", "250"), ("retry-after", "9")]),
            Some(Duration::from_millis(250))
        );
        assert_eq!(delay(&[("x-ms-retry-after-ms", "1500")]), Some(Duration::from_millis(1500)));
        assert_eq!(delay(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(delay(&[("retry-after", "0.5")]), Some(Duration::from_millis(500)));
        assert_eq!(
            delay(&[("retry-after", "Mon, 23 Nov 2026 09:00:30 GMT")]),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            delay(&[("retry-after", "Mon, 23 Nov 2026 08:00:00 GMT")]),
            Some(Duration::ZERO)
        );
        assert_eq!(delay(&[("retry-after", "soon")]), None);
        assert_eq!(delay(&[("retry-after", "-1")]), None);
        assert_eq!(delay(&[]), None);
    }

    #[test]
    fn classes_follow_the_body_where_the_status_lies() {
        let of = |status: u16, code: &str, body: &str| {
            class(StatusCode::from_u16(status).unwrap(), code, body)
        };
        assert_eq!(of(200, "429", ""), Class::RateLimited);
        assert_eq!(of(429, "insufficient_quota", "insufficient_quota"), Class::QuotaGone);
        assert_eq!(of(400, "", "this model's maximum context length is 4096"), Class::TooLong);
        assert_eq!(of(400, "content_filter", "content_filter"), Class::Filtered);
        assert_eq!(of(503, "", "loading model"), Class::Transient);
        assert_eq!(of(529, "", "overloaded"), Class::RateLimited);
        assert_eq!(of(404, "", "no such model"), Class::BadRequest);
        assert_eq!(of(200, "", "the reply has no choices"), Class::Transient);
    }

    #[test]
    fn a_pause_is_never_shorter_than_half_the_own_backoff_nor_than_the_named_delay() {
        for named in [None, Some(0), Some(1), Some(3_000), Some(500_000)] {
            let named = named.map(Duration::from_millis);
            for (base, refusals, floor) in
                [(0, 0, 25), (0, 3, 200), (500, 0, 250), (500, 2, 1000), (500, 40, 4000)]
            {
                let pause = pause(named, Duration::from_millis(base), refusals);
                assert!(pause >= Duration::from_millis(floor), "{named:?} {base} {refusals}");
                assert!(pause >= named.unwrap_or_default().min(LONGEST_WAIT));
                assert!(pause <= LONGEST_WAIT.mul_f64(1.1));
            }
        }
    }

    #[test]
    fn backoff_grows_but_never_beyond_its_bound() {
        for retries in [0, 1, 5, 40] {
            let most = Duration::from_millis(500).saturating_mul(2u32.saturating_pow(retries));
            assert!(backoff(Duration::from_millis(500), retries) <= most.min(LONGEST_BACKOFF));
        }
    }
}

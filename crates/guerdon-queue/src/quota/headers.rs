//! Rate-limit headers of language model endpoints.
//!
//! Two families of names are read: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` (OpenAI,
//! Azure, vLLM gateways, LiteLLM, Groq, Cerebras) and
//! `anthropic-ratelimit-{requests,tokens}-{limit,remaining,reset}`.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

use super::window::QuotaReport;

/// An endpoint's report about its quotas of requests and of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaReports {
    /// The quota of requests.
    pub requests: QuotaReport,
    /// The quota of tokens.
    pub tokens: QuotaReport,
}

impl QuotaReports {
    /// Reads the headers of a reply that arrived at `now`. Headers in other forms are ignored.
    #[must_use]
    pub fn read(headers: &HeaderMap, now: SystemTime) -> Self {
        let report = |of: &str| {
            let header = |field: &str| {
                let openai = format!("x-ratelimit-{field}-{of}");
                let anthropic = format!("anthropic-ratelimit-{of}-{field}");
                let value = headers.get(&openai).or_else(|| headers.get(&anthropic))?;
                value.to_str().ok().map(str::trim)
            };
            let count = |text: &str| text.parse::<f64>().ok().and_then(whole);
            QuotaReport {
                limit: header("limit").and_then(count),
                remaining: header("remaining").and_then(count),
                reset: header("reset").and_then(|text| parse_reset(text, now)),
            }
        };
        Self { requests: report("requests"), tokens: report("tokens") }
    }

    /// Time until the quota that is used up is reset; for refusals without a `retry-after`. If no
    /// quota is reported as used up, the later of the two resets.
    #[must_use]
    pub fn delay(&self) -> Option<Duration> {
        let reports = [self.requests, self.tokens];
        let used_up = reports.iter().filter(|report| report.remaining == Some(0));
        let used_up = used_up.filter_map(|report| report.reset).max();
        used_up.or_else(|| reports.iter().filter_map(|report| report.reset).max())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked first"
)]
fn whole(number: f64) -> Option<u64> {
    (0.0..=9e15).contains(&number).then_some(number as u64)
}

/// Reads the value of a reset header as the time from `now`: a Go duration (`6m0s`, `120ms`,
/// `1h2m3.5s`), seconds (`17`, `0.25`), seconds or milliseconds since 1970, or a date as in RFC
/// 3339 (`2026-11-23T09:00:00Z`). A time before `now` is zero.
#[must_use]
pub fn parse_reset(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(number) = text.parse::<f64>() {
        let seconds = match number {
            0.0..1e9 => return Duration::try_from_secs_f64(number).ok(),
            1e9..1e12 => number,
            _ => number / 1e3,
        };
        let since_1970 = Duration::try_from_secs_f64(seconds).ok()?;
        let at = SystemTime::UNIX_EPOCH.checked_add(since_1970)?;
        return Some(at.duration_since(now).unwrap_or_default());
    }
    if let Ok(at) = humantime::parse_rfc3339(text) {
        return Some(at.duration_since(now).unwrap_or_default());
    }
    go_duration(text)
}

fn go_duration(text: &str) -> Option<Duration> {
    if text.is_empty() {
        return None;
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        total += number.parse::<f64>().ok()?
            * match unit {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = after;
    }
    Duration::try_from_secs_f64(total).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let parsed = pairs.iter().map(|(name, value)| {
            let name: http::HeaderName = name.parse().unwrap();
            (name, value.parse().unwrap())
        });
        parsed.collect()
    }

    #[test]
    fn resets_are_read_in_every_spelling() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        for (text, millis) in [
            ("6m0s", 360_000),
            ("120ms", 120),
            ("0s", 0),
            ("1h2m3.5s", 3_723_500),
            ("17", 17_000),
            ("0.25", 250),
            ("1795000030", 30_000),
            ("1795000030000", 30_000),
            ("1700000000", 0),
            ("2026-11-18T11:07:10Z", 30_000),
        ] {
            assert_eq!(parse_reset(text, now), Some(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "soon", "m", "6x", "-1s", "1.2.3s", "1e30"] {
            assert_eq!(parse_reset(bad, now), None, "{bad}");
        }
    }

    #[test]
    fn the_delay_is_the_reset_of_the_quota_that_is_used_up() {
        let headers = headers(&[
            ("x-ratelimit-limit-requests", "5000"),
            ("x-ratelimit-remaining-requests", "4999"),
            ("x-ratelimit-reset-requests", "12ms"),
            ("x-ratelimit-limit-tokens", "160000"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "4.5s"),
        ]);
        let reports = QuotaReports::read(&headers, SystemTime::now());
        assert_eq!((reports.requests.limit, reports.tokens.remaining), (Some(5000), Some(0)));
        assert_eq!(reports.delay(), Some(Duration::from_millis(4500)));
        let none = QuotaReports::read(&HeaderMap::new(), SystemTime::now());
        assert_eq!((none, none.delay()), (QuotaReports::default(), None));
    }

    #[test]
    fn the_other_family_of_names_is_read_too() {
        let headers = headers(&[("anthropic-ratelimit-tokens-remaining", "7")]);
        let reports = QuotaReports::read(&headers, SystemTime::now());
        assert_eq!(reports.tokens.remaining, Some(7));
    }

    proptest! {
        #[test]
        fn no_reset_panics(text in "\\PC{0,30}|[0-9.]{1,30}(h|m|s|ms|µs)?") {
            let _ = parse_reset(&text, SystemTime::now());
        }
    }
}

//! Quota headers of endpoints: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` (OpenAI,
//! Azure, vLLM gateways, `LiteLLM`, Groq, Cerebras) and
//! `anthropic-ratelimit-{requests,tokens}-{limit,remaining}`. A reset is a Go duration (`6m0s`,
//! `120ms`), seconds, a time since 1970, or a date (RFC 3339).

use std::time::{Duration, SystemTime};

use reqwest::header::HeaderMap;

use super::window::QuotaStatus;

/// The status of both quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct QuotaHeaders {
    pub(crate) requests: QuotaStatus,
    pub(crate) tokens: QuotaStatus,
}

impl QuotaHeaders {
    pub(crate) fn read(headers: &HeaderMap, now: SystemTime) -> Self {
        let status = |of: &str| {
            let header = |openai: &str| {
                let name = format!("x-ratelimit-{openai}-{of}");
                let other = format!("anthropic-ratelimit-{of}-{openai}");
                headers.get(&name).or_else(|| headers.get(&other))?.to_str().ok().map(str::trim)
            };
            let count = |text: &str| text.parse::<f64>().ok().and_then(whole);
            QuotaStatus {
                limit: header("limit").and_then(count),
                remaining: header("remaining").and_then(count),
                reset: header("reset").and_then(|text| duration(text, now)),
            }
        };
        Self { requests: status("requests"), tokens: status("tokens") }
    }

    /// Time until the exhausted quota resets, for replies without `retry-after`.
    pub(crate) fn delay(&self) -> Option<Duration> {
        let quotas = [self.requests, self.tokens];
        let used_up = quotas
            .iter()
            .filter(|status| status.remaining == Some(0))
            .filter_map(|status| status.reset)
            .max();
        used_up.or_else(|| quotas.iter().filter_map(|status| status.reset).max())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to lie within"
)]
fn whole(number: f64) -> Option<u64> {
    (0.0..=9e15).contains(&number).then_some(number as u64)
}

/// `6m0s`, `120ms`, `1h2m3.5s`, `17` (seconds), seconds or milliseconds since 1970, or
/// `2026-11-23T09:00:00Z`.
pub(crate) fn duration(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(number) = text.parse::<f64>() {
        let seconds = match number {
            0.0..1e9 => return Duration::try_from_secs_f64(number).ok(),
            1e9..1e12 => number,
            _ => number / 1e3,
        };
        let at = SystemTime::UNIX_EPOCH + Duration::try_from_secs_f64(seconds).ok()?;
        return Some(at.duration_since(now).unwrap_or_default());
    }
    if let Ok(at) = humantime::parse_rfc3339(text) {
        return Some(at.duration_since(now).unwrap_or_default());
    }
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
    use super::*;

    #[test]
    fn resets_come_in_many_spellings() {
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
            assert_eq!(duration(text, now), Some(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "soon", "m", "6x", "-1s", "1.2.3s"] {
            assert_eq!(duration(bad, now), None, "{bad}");
        }
    }

    #[test]
    fn the_quota_that_is_used_up_says_how_long() {
        let headers: HeaderMap = [
            ("x-ratelimit-limit-requests", "5000"),
            ("x-ratelimit-remaining-requests", "4999"),
            ("x-ratelimit-reset-requests", "12ms"),
            ("x-ratelimit-limit-tokens", "160000"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "4.5s"),
        ]
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect();
        let quotas = QuotaHeaders::read(&headers, SystemTime::now());
        assert_eq!((quotas.requests.limit, quotas.tokens.remaining), (Some(5000), Some(0)));
        assert_eq!(quotas.delay(), Some(Duration::from_millis(4500)));
        assert_eq!(
            QuotaHeaders::read(&HeaderMap::new(), SystemTime::now()),
            QuotaHeaders::default()
        );
    }

    #[test]
    fn the_other_family_of_names_is_read_too() {
        let headers: HeaderMap = [("anthropic-ratelimit-tokens-remaining", "7")]
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        assert_eq!(QuotaHeaders::read(&headers, SystemTime::now()).tokens.remaining, Some(7));
    }
}

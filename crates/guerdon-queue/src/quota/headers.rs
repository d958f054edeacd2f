//! Rate-limit headers of language model endpoints.
//!
//! | Headers | Servers |
//! |---|---|
//! | `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` | OpenAI ("Rate limits"), Azure, Groq ("Rate limits": requests a day, tokens a minute), LiteLLM, vLLM gateways |
//! | the same with `-minute`, `-hour` or `-day` behind | Cerebras ("Rate limits"), SambaNova |
//! | `x-ratelimit-{limit,remaining,reset}` | OpenRouter ("Limits"), Together |
//! | `ratelimit-{limit,remaining,reset}`, `ratelimit-policy` | the IETF draft "RateLimit header fields for HTTP" |
//! | `anthropic-ratelimit-{requests,tokens,input-tokens}-{limit,remaining,reset}` | Anthropic ("Rate limits") |
//!
//! Headers without a kind do not name the period over which the limit is counted: some servers
//! count by the second, others by the day. The period is read from a policy (`100;w=60`). Without a
//! policy, the remainder and the reset are followed and the limit is ignored.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

use super::remainder::QuotaReport;

/// An endpoint's reports about its quotas of requests and of tokens, one for each period.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QuotaReports {
    /// Quotas of requests.
    pub requests: Vec<QuotaReport>,
    /// Quotas of tokens.
    pub tokens: Vec<QuotaReport>,
}

/// Suffixes that name a period, and the period in seconds.
const PERIODS: [(&str, Option<u64>); 4] =
    [("", None), ("-minute", Some(60)), ("-hour", Some(3600)), ("-day", Some(86_400))];

impl QuotaReports {
    /// Reads the headers of a reply that arrived at `now`. Headers in other forms are ignored.
    #[must_use]
    pub fn read(headers: &HeaderMap, now: SystemTime) -> Self {
        let header = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
        let count = |text: &str| text.parse::<f64>().ok().and_then(whole);
        let report = |period: Option<u64>, name: &dyn Fn(&str) -> String| {
            let field = |field: &str| header(&name(field));
            let report = QuotaReport {
                period: period.map(Duration::from_secs),
                limit: field("limit").and_then(first_item).and_then(count),
                remaining: field("remaining").and_then(count),
                reset: field("reset").and_then(|text| parse_reset(text, now)),
                of_unknown_period: false,
            };
            Some(report).filter(|report| !report.is_empty())
        };
        let of = |kind: &str, anthropic: &[&str], bare: bool| {
            let mut reports: Vec<QuotaReport> = PERIODS
                .iter()
                .filter_map(|(suffix, period)| {
                    report(*period, &|field| format!("x-ratelimit-{field}-{kind}{suffix}"))
                })
                .collect();
            let anthropic = anthropic.iter().filter_map(|kind| {
                report(Some(60), &|field| format!("anthropic-ratelimit-{kind}-{field}"))
            });
            reports.extend(anthropic.take(1));
            if bare && reports.is_empty() {
                let bare = ["x-ratelimit", "ratelimit"].into_iter().find_map(|prefix| {
                    let report = report(None, &|field| format!("{prefix}-{field}"))?;
                    let policies = [header("ratelimit-policy"), header(&format!("{prefix}-limit"))];
                    let period = policies
                        .into_iter()
                        .flatten()
                        .find_map(|policy| policy_window(policy, report.limit));
                    Some(QuotaReport { period, of_unknown_period: period.is_none(), ..report })
                });
                reports.extend(bare);
            }
            reports
        };
        Self {
            requests: of("requests", &["requests"], true),
            // `tokens` is the most restrictive of Anthropic's limits.
            tokens: of("tokens", &["tokens", "input-tokens"], false),
        }
    }

    /// Time until the quota that is used up is reset; for refusals without a `retry-after`. If no
    /// quota is reported as used up, the latest of the resets.
    #[must_use]
    pub fn delay(&self) -> Option<Duration> {
        let reports = || self.requests.iter().chain(&self.tokens);
        let used_up = reports().filter(|report| report.remaining == Some(0));
        let used_up = used_up.filter_map(|report| report.reset).max();
        used_up.or_else(|| reports().filter_map(|report| report.reset).max())
    }
}

/// The value of the first item of a list of items with parameters.
fn first_item(list: &str) -> Option<&str> {
    Some(list.split([',', ';']).next()?.trim())
}

/// The window of the policy of `limit` units in a list of policies: `100;w=60, 1000;w=3600`, or
/// `"burst";q=100;w=60`.
fn policy_window(policies: &str, limit: Option<u64>) -> Option<Duration> {
    let whole = |text: &str| text.trim().trim_matches('"').parse::<u64>().ok();
    policies.split(',').find_map(|policy| {
        let mut parts = policy.split(';').map(str::trim);
        let name = parts.next()?;
        let (mut quota, mut window) = (whole(name), None);
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match key.trim() {
                "q" => quota = whole(value),
                "w" => window = whole(value),
                _ => {}
            }
        }
        let window = window.filter(|seconds| *seconds > 0 && quota == limit)?;
        Some(Duration::from_secs(window))
    })
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
    fn a_limit_without_a_kind_has_the_period_of_its_policy_or_none() {
        let read = |pairs: &[(&'static str, &str)]| {
            let reports = QuotaReports::read(&headers(pairs), SystemTime::now()).requests;
            assert_eq!(reports.len(), 1, "{pairs:?}");
            (reports[0].limit, reports[0].period, reports[0].of_unknown_period)
        };
        let window = |seconds| Some(Duration::from_secs(seconds));
        for prefix in ["x-ratelimit-limit", "ratelimit-limit"] {
            assert_eq!(read(&[(prefix, "5")]), (Some(5), None, true));
            for policy in
                ["5;w=1", "100;w=60, 5;w=1", "\"a\";q=5;w=1", "\"b\";q=7;w=9,\"a\";w=1;q=5"]
            {
                let found = read(&[(prefix, "5"), ("ratelimit-policy", policy)]);
                assert_eq!(found, (Some(5), window(1), false), "{policy}");
            }
            assert_eq!(read(&[(prefix, "5, 5;w=10, 50;w=60")]), (Some(5), window(10), false));
            for policy in ["7;w=60", "5;w=0", "5;w=x", "5", "", ";;=,"] {
                let found = read(&[(prefix, "5"), ("ratelimit-policy", policy)]);
                assert_eq!(found, (Some(5), None, true), "{policy}");
            }
        }
        let kind = read(&[("x-ratelimit-limit-requests", "5")]);
        assert_eq!(kind, (Some(5), None, false), "counted by the minute, as is usual");
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
        assert_eq!((reports.requests[0].limit, reports.tokens[0].remaining), (Some(5000), Some(0)));
        assert_eq!(reports.delay(), Some(Duration::from_millis(4500)));
        let none = QuotaReports::read(&HeaderMap::new(), SystemTime::now());
        assert_eq!((none.delay(), none), (None, QuotaReports::default()));
    }

    #[test]
    fn every_family_of_names_is_read() {
        let read =
            |pairs: &[(&'static str, &str)]| QuotaReports::read(&headers(pairs), SystemTime::now());
        let anthropic = read(&[
            ("anthropic-ratelimit-tokens-remaining", "7"),
            ("anthropic-ratelimit-input-tokens-remaining", "9"),
        ]);
        assert_eq!((anthropic.tokens.len(), anthropic.tokens[0].remaining), (1, Some(7)));
        let cerebras = read(&[
            ("x-ratelimit-limit-requests-day", "14400"),
            ("x-ratelimit-remaining-requests-day", "14399"),
            ("x-ratelimit-reset-requests-day", "33011.38"),
            ("x-ratelimit-remaining-tokens-minute", "59000"),
        ]);
        assert_eq!(cerebras.requests[0].period, Some(Duration::from_secs(86_400)));
        assert_eq!(cerebras.tokens[0].period, Some(Duration::from_secs(60)));
        let bare = read(&[("ratelimit-limit", "10"), ("ratelimit-remaining", "2")]);
        assert_eq!(bare.requests[0].remaining, Some(2));
        assert!(bare.tokens.is_empty());
        assert_eq!(read(&[("x-ratelimit-limit-requests", "many")]), QuotaReports::default());
    }

    proptest! {
        #[test]
        fn no_reset_panics(text in "\\PC{0,30}|[0-9.]{1,30}(h|m|s|ms|µs)?") {
            let _ = parse_reset(&text, SystemTime::now());
        }
    }
}

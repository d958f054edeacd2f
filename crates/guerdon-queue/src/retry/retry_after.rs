//! Delays that servers name in the headers of a reply.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

/// The delay that the headers of a reply set: `retry-after-ms` or `x-ms-retry-after-ms`, then
/// `retry-after`. `now` is the time at which the reply arrived. Ignores values that are neither
/// numbers nor dates.
#[must_use]
pub fn named_delay(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    ["retry-after-ms", "x-ms-retry-after-ms"]
        .into_iter()
        .filter_map(header)
        .find_map(|millis| {
            let millis: f64 = millis.trim().parse().ok()?;
            Duration::try_from_secs_f64(millis / 1000.0).ok()
        })
        .or_else(|| parse_retry_after(header("retry-after")?, now))
}

/// Reads the value of a `Retry-After` header: seconds, fractions allowed, or an HTTP date (RFC
/// 9110, section 10.2.3). A date before `now` is a delay of zero.
#[must_use]
pub fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    if let Ok(seconds) = value.parse() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn delay(headers: &[(&'static str, &str)]) -> Option<Duration> {
        let headers = headers.iter().map(|(name, value)| {
            let name: http::HeaderName = name.parse().unwrap();
            (name, value.parse().unwrap())
        });
        let now = httpdate::parse_http_date("Mon, 23 Nov 2026 09:00:00 GMT").unwrap();
        named_delay(&headers.collect(), now)
    }

    #[test]
    fn every_form_of_a_delay_is_read() {
        for (headers, millis) in [
            (vec![("retry-after-ms", "250"), ("retry-after", "9")], 250),
            (vec![("retry-after-ms", "soon"), ("x-ms-retry-after-ms", "1500")], 1500),
            (vec![("retry-after-ms", "soon"), ("retry-after", "9")], 9000),
            (vec![("retry-after", "7")], 7000),
            (vec![("retry-after", " 7 ")], 7000),
            (vec![("retry-after", "0.5")], 500),
            (vec![("retry-after", "Mon, 23 Nov 2026 09:00:30 GMT")], 30_000),
            (vec![("retry-after", "Mon, 23 Nov 2026 08:00:00 GMT")], 0),
        ] {
            assert_eq!(delay(&headers), Some(Duration::from_millis(millis)), "{headers:?}");
        }
        let longest = u64::MAX.to_string();
        assert_eq!(delay(&[("retry-after", &longest)]), Some(Duration::from_secs(u64::MAX)));
    }

    #[test]
    fn other_values_are_ignored() {
        for value in ["soon", "-1", "NaN", "inf", "1e300", ""] {
            assert_eq!(delay(&[("retry-after", value)]), None, "{value}");
        }
        assert_eq!(delay(&[]), None);
    }

    proptest! {
        #[test]
        fn no_value_panics(value in "\\PC{0,40}") {
            let _ = parse_retry_after(&value, SystemTime::UNIX_EPOCH);
        }
    }
}

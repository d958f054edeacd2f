//! Numbers, hashes and times as texts.

use guerdon_text::cut;

/// A number with at most three decimals, or four significant digits if it is small.
pub(crate) fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let size = value.abs();
    let text = if !value.is_finite() {
        format!("{value}")
    } else if !(1e-4..1e7).contains(&size) {
        format!("{value:.2e}")
    } else if size < 0.1 {
        trimmed(format!("{value:.5}"))
    } else {
        trimmed(format!("{value:.3}"))
    };
    text.replace('-', "−")
}

fn trimmed(text: String) -> String {
    if text.contains('.') {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text
}

/// A number with its sign.
pub(crate) fn signed(value: f64) -> String {
    if value > 0.0 { format!("+{}", number(value)) } else { number(value) }
}

/// A number, or a dash.
pub(crate) fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), number)
}

/// A share in percent.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn percent(part: usize, whole: usize) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    format!("{:.1} %", part as f64 / whole as f64 * 100.0)
}

/// The first characters of a digest.
pub(crate) fn short_digest(digest: &str) -> String {
    let hash = digest.split_once(':').map_or(digest, |(_, hash)| hash);
    cut(hash, 10).trim_end_matches('…').to_owned()
}

/// A time in UTC, from milliseconds since 1970.
pub(crate) fn time(ms: i64) -> String {
    let days = ms.div_euclid(86_400_000);
    let seconds = ms.rem_euclid(86_400_000) / 1_000;
    let (year, month, day) = civil(days);
    let (hour, minute) = (seconds / 3_600, seconds / 60 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{:02} UTC", seconds % 60)
}

/// The date of a day since 1970-01-01 in the Gregorian calendar (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (-1.25, "−1.25"),
            (0.333_333, "0.333"),
            (0.012_345_6, "0.01235"),
            (1_234.5, "1234.5"),
            (1e-9, "1.00e−9"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(signed(2.0), "+2");
    }

    #[test]
    fn times_are_dates_in_utc() {
        assert_eq!(time(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(time(951_782_400_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(time(1_796_083_199_000), "2026-11-30 23:59:59 UTC");
        assert_eq!(time(-1_000), "1969-12-31 23:59:59 UTC");
    }
}

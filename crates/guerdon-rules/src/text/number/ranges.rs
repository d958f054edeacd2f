//! Ranges such as `400-450元`: both ends are prices, and each gets the bounds of the range. Ranges
//! do not depend on the units that rules use, so that the hits of a rule do not depend on other
//! rules.

use super::text_number::TextNumber;

/// Units before the second number of a range.
const BEFORE: [&str; 12] =
    ["", "¥", "$", "rmb", "cny", "usd", "€", "£", "hk$", "us$", "eur", "hkd"];
/// Units after the first number of a range.
const AFTER: [&str; 32] = [
    "", "元", "块", "块钱", "rmb", "cny", "usd", "yuan", "dollars", "%", "折", "间", "晚", "天",
    "人", "万", "圆", "€", "£", "eur", "hkd", "euros", "pounds", "percent", "个点", "美元", "欧元",
    "港元", "日元", "个", "个月", "年",
];
/// Words between the two numbers. The second numbers of the first ones may be smaller.
const JOINTS: [(&str, bool); 9] = [
    ("--", true),
    ("-", true),
    ("~", true),
    ("到", true),
    ("至", true),
    ("to", true),
    ("and", false),
    ("或", false),
    ("or", false),
];

/// The greatest length of the text between the numbers of a range, in bytes: a unit, a word, a unit
/// and spaces.
const MAX_BETWEEN: usize = 24;

/// Finds the ranges among `numbers` and gives both ends their bounds and their units.
pub(super) fn join(text: &str, numbers: &mut [TextNumber]) {
    for index in 1..numbers.len() {
        let beyond = numbers.get(index + 1).map(|next| next.bytes.start);
        let before = index.checked_sub(2).and_then(|at| numbers.get(at)).map(|one| one.bytes.end);
        let Some([left, right]) = numbers.get_mut(index - 1..=index) else { continue };
        if left.bytes == right.bytes {
            continue;
        }
        let between =
            text.get(left.unit_at.max(left.bytes.end)..right.bytes.start).unwrap_or_default();
        let Some((left_unit, right_unit, may_fall)) = joined(between) else { continue };
        let hyphen = |from: Option<usize>, to: Option<usize>| {
            from.zip(to).and_then(|(from, to)| text.get(from..to)).is_some_and(|gap| gap == "-")
        };
        // A date or a telephone number.
        let chained =
            hyphen(before, Some(left.bytes.start)) || hyphen(Some(right.bytes.end), beyond);
        let zeros = leads_with_zero(text, left) || leads_with_zero(text, right);
        if (chained || zeros) && between == "-" {
            continue;
        }
        share_magnitude(text, left, right, left_unit);
        let rises = left.value < right.value;
        let falls = left.value > right.value && may_fall && is_price_range(text, left, right);
        if !(rises || falls) {
            continue;
        }
        let bounds = [left.value.min(right.value), left.value.max(right.value)];
        for end in [&mut *left, &mut *right] {
            end.low = end.low.min(bounds[0]);
            end.high = end.high.max(bounds[1]);
        }
        // `one or two` is no amount without a unit.
        let latin = |number: &TextNumber| {
            let written = text.get(number.bytes.clone()).unwrap_or_default();
            written.starts_with(|c: char| c.is_ascii_lowercase())
        };
        if !(left.bare && latin(left) || right.bare && latin(right)) {
            (left.bare, right.bare) = (false, false);
        }
        // A unit that is written once belongs to both numbers. Only the number next to it
        // includes it in its span.
        if left_unit.is_empty() {
            left.shared = right.units.clone();
        }
        if right_unit.is_empty() {
            right.shared = left.units.clone();
        }
    }
}

/// Reads `1-2万` as 10,000 to 20,000: a number without a unit takes the magnitude of a greater
/// coefficient.
fn share_magnitude(text: &str, left: &mut TextNumber, right: &TextNumber, left_unit: &str) {
    if right.times <= 1.0 || left.times > 1.0 || !left_unit.is_empty() {
        return;
    }
    let priced =
        text.get(..left.bytes.start).unwrap_or_default().trim_end().ends_with(['$', '¥', '€', '£']);
    if !priced && left.value > 0.0 && left.value < right.value / right.times {
        left.scale(right.times);
    }
}

/// Returns true for 01 and 010, which are parts of dates and telephone numbers.
fn leads_with_zero(text: &str, number: &TextNumber) -> bool {
    let written = text.get(number.bytes.clone()).unwrap_or_default();
    written.len() > 1 && written.starts_with('0') && !written.starts_with("0.")
}

/// Returns true if falling numbers are a range, and not a sum, a date or a telephone number.
fn is_price_range(text: &str, left: &TextNumber, right: &TextNumber) -> bool {
    let after = text.get(right.bytes.end..).unwrap_or_default().trim_start_matches(' ');
    let similar = right.value > 0.0 && left.value <= 10.0 * right.value;
    similar && !after.starts_with(['=', '-'])
}

/// The units at both ends of the text between two numbers, if that text makes them the ends of a
/// range, and whether the second number may be the smaller one.
fn joined(between: &str) -> Option<(&str, &str, bool)> {
    if between.len() > MAX_BETWEEN {
        return None;
    }
    let between = between.trim();
    JOINTS.iter().find_map(|(joint, may_fall)| {
        let (left, right) = between.split_once(joint)?;
        let (left, right) = (left.trim(), right.trim());
        (AFTER.contains(&left) && BEFORE.contains(&right)).then_some((left, right, *may_fall))
    })
}

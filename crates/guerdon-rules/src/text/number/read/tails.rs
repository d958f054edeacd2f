//! Text around a number that belongs to it: `百分之` before it, and `多`, `+`, `块5毛` after it.

use crate::text::number::reading::{BuiltIn, NumberText, ReadNumber, magnitude, numeral};

/// Words that make a number approximate. Its unit follows them.
const APPROXIMATORS: [&str; 6] = ["多", "余", "来", "几", "+", "出头"];
/// Characters that may follow an amount such as 420块5. Any other may be what the 5 counts.
const AFTER_AMOUNT: &str = "的吧了啊呢哦行成可就卖给怎不每一,.!?;:，。！？；：、)）\"'」』 \n~";

/// Extends `number` by the text around it.
/// `last` is the end of the number before it.
pub(super) fn extend(text: NumberText<'_>, number: &mut ReadNumber, last: usize) {
    per(text, number, last);
    coins(text, number);
    half_tenth(text, number);
    approximate(text, number);
}

/// Reads the share that 百分之, 千分之 and 万分之 announce, in percent.
fn per(text: NumberText<'_>, number: &mut ReadNumber, last: usize) {
    let before = text.text.get(..number.bytes.start).unwrap_or_default();
    let shares = [("百分之", 1.0), ("千分之", 10.0), ("万分之", 100.0)];
    let Some((word, parts)) = shares.into_iter().find(|(word, _)| before.ends_with(word)) else {
        return;
    };
    if number.bytes.start - word.len() < last {
        return;
    }
    number.value /= parts;
    number.low = number.low.map(|low| low / parts);
    number.times = 1.0;
    number.bare = false;
    number.bytes.start -= word.len();
    number.built_in = Some(BuiltIn::Percent);
}

/// Reads `八折半` as 8.5 in ten.
fn half_tenth(text: NumberText<'_>, number: &mut ReadNumber) {
    let rest = text.rest(number.bytes.end);
    let closes = rest
        .strip_prefix("折半")
        .is_some_and(|after| after.chars().next().is_none_or(|c| AFTER_AMOUNT.contains(c)));
    if closes && number.value < 10.0 && number.value.fract().abs() < f64::EPSILON {
        number.value += 0.5;
    }
}

/// Reads `420块5毛`, `420块5`, `4元5角2分`, `三块半` and `三毛五` as one amount.
fn coins(text: NumberText<'_>, number: &mut ReadNumber) {
    let end = number.bytes.end;
    let rest = text.rest(end);
    let whole = number.value.fract().abs() < f64::EPSILON && number.low.is_none();
    let Some(unit) =
        rest.chars().next().filter(|c| whole && matches!(c, '块' | '元' | '圆' | '毛'))
    else {
        return;
    };
    let at = end + unit.len_utf8();
    let Some(c) = text.rest(at).chars().next() else { return };
    let closes = |at: usize| text.rest(at).chars().next().is_none_or(|c| AFTER_AMOUNT.contains(c));
    let amount = if c == '半' && unit == '块' && closes(at + c.len_utf8()) {
        Some((0.5, at + c.len_utf8()))
    } else {
        coin(text, at).and_then(|(digit, next)| {
            if let (true, Some(next)) = (unit != '毛', suffix(text, next, ['毛', '角'])) {
                let cents = coin(text, next)
                    .and_then(|(cents, next)| Some((cents, suffix(text, next, ['分', '分'])?)));
                return Some(match cents {
                    Some((cents, next)) => (digit / 10.0 + cents / 100.0, next),
                    None => (digit / 10.0, next),
                });
            }
            let cents = suffix(text, next, ['分', '分']).filter(|_| unit == '毛');
            let next = cents.unwrap_or(next);
            (matches!(unit, '块' | '毛') && (cents.is_some() || closes(next)))
                .then_some((digit / 10.0, next))
        })
    };
    if let Some((part, next)) = amount {
        number.value += part;
        number.bytes.end = next;
        number.unit_at = end;
        number.bare = false;
        number.times = 1.0;
    }
}

/// The single digit or numeral at `at`, and the byte after it.
fn coin(text: NumberText<'_>, at: usize) -> Option<(f64, usize)> {
    let mut chars = text.rest(at).chars();
    let c = chars.next()?;
    let digit = c.to_digit(10).map(f64::from).or_else(|| numeral(c))?;
    let next = chars.next();
    let more =
        next.is_some_and(|c| c.is_ascii_digit() || numeral(c).is_some() || magnitude(c).is_some());
    (digit > 0.5 && !more).then_some((digit, at + c.len_utf8()))
}

fn suffix(text: NumberText<'_>, at: usize, words: [char; 2]) -> Option<usize> {
    let c = text.rest(at).chars().next()?;
    words.contains(&c).then(|| at + c.len_utf8())
}

/// Reads `400多元` as 400 with its unit behind the word, and `10多万` with its magnitude.
fn approximate(text: NumberText<'_>, number: &mut ReadNumber) {
    if number.unit_at != number.bytes.end {
        return;
    }
    let end = number.bytes.end;
    let rest = text.rest(end);
    let Some(word) = APPROXIMATORS.iter().find(|word| rest.starts_with(**word)) else { return };
    let after = end + word.len();
    // `420+60` is a sum.
    if *word == "+" && text.is_digit(after) {
        return;
    }
    number.unit_at = after;
    let next = text.rest(after).chars().next();
    if let Some((c, times)) = next.and_then(|c| Some((c, magnitude(c)?)))
        && times > 99.0
        && number.low.is_none()
    {
        number.value *= times;
        number.bytes.end = after + c.len_utf8();
        number.unit_at = number.bytes.end;
        number.bare = false;
    }
}

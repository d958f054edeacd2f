//! Checks of what a reply computes and claims: sums that are wrong, numbers that nobody gave, prices that do not fit one
//! another.

use std::ops::Range;

use guerdon_types::Context;
use serde_json::Value as Json;

use super::Measured;
use crate::engine::expr::{Expr, Facts, Truth};
use crate::text::literals::Found;
use crate::text::near::ends_sentence;
use crate::text::number::Capture;
use crate::text::steps;

/// Sums written out in `text`, such as `480 * 0.9 = 432元`, that are off by more than `tolerance` of their result.
pub(crate) fn wrong_sums(text: &str, numbers: &[Capture<'_>], tolerance: f64) -> Option<Measured> {
    let mut spans = Vec::new();
    let mut told = Vec::new();
    for [one, two, result] in
        numbers.windows(3).filter_map(|three| <&[Capture<'_>; 3]>::try_from(three).ok())
    {
        let between = |a: &Capture<'_>, b: &Capture<'_>| {
            let words = text.get(a.bytes.end..b.bytes.start).unwrap_or_default();
            words.trim_matches(|c: char| c == ' ' || "元块折%¥$".contains(c)).to_owned()
        };
        let right = match between(one, two).as_str() {
            "+" | "加" | "加上" | "plus" => one.value + two.value,
            "-" | "减" | "减去" | "minus" => one.value - two.value,
            "*" | "x" | "×" | "乘" | "乘以" | "times" => one.value * factor(two),
            "/" | "÷" | "除以" => one.value / two.value,
            _ => continue,
        };
        if !matches!(between(two, result).as_str(), "=" | "等于" | "equals" | "is" | "是") {
            continue;
        }
        if !right.is_finite()
            || (result.value - right).abs() > tolerance * right.abs().max(1.0) + 1e-9
        {
            spans.push(one.bytes.start..result.bytes.end);
            told.push(format!("{} is told, {} is right", result.value, rounded(right)));
        }
    }
    (!spans.is_empty()).then(|| Measured { spans, detail: told.join("; ") })
}

/// What a price is multiplied by: `9折` is 0.9, `15%` is 0.15.
fn factor(capture: &Capture<'_>) -> f64 {
    match capture.unit {
        Some("%") => capture.value / 100.0,
        Some("折") => 1.0 - capture.percent_off().unwrap_or(0.0) / 100.0,
        _ => capture.value,
    }
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Numbers of a reply that are neither among `known` nor in `context`.
pub(crate) fn unsupported(
    numbers: &[Capture<'_>],
    least: f64,
    known: &[f64],
    context: &Context,
) -> Option<Measured> {
    let mut facts = known.to_vec();
    context.values().for_each(|value| gather(value, &mut facts));
    facts.retain(|fact| fact.is_finite());
    facts.sort_unstable_by(f64::total_cmp);
    let same = |fact: f64, value: f64| (fact - value).abs() <= 1e-6 * fact.abs().max(1.0);
    // A value is never negative, so that the nearest fact on either side is the likeliest to be the same.
    let is_known = |value: f64| {
        let above = facts.partition_point(|fact| {
            steps::add(1);
            *fact < value
        });
        let nearest = [above.checked_sub(1), Some(above)];
        let mut nearest = nearest.into_iter().flatten().filter_map(|at| facts.get(at));
        nearest.any(|fact| same(*fact, value))
    };
    let strangers: Vec<&Capture<'_>> = numbers
        .iter()
        .filter(|capture| capture.value >= least && !is_known(capture.value))
        .collect();
    let told: Vec<String> =
        strangers.iter().take(3).map(|capture| capture.value.to_string()).collect();
    let spans: Vec<Range<usize>> = strangers.iter().map(|capture| capture.bytes.clone()).collect();
    let detail = format!("{} neither in the dialogue nor in the context", told.join(", "));
    (!spans.is_empty()).then_some(Measured { spans, detail })
}

/// Every number of a context value; of a text, those it begins with or consists of.
fn gather(value: &Json, facts: &mut Vec<f64>) {
    match value {
        Json::Number(number) => facts.extend(number.as_f64()),
        Json::String(text) => {
            let digits = |c: char| !(c.is_ascii_digit() || c == '.');
            facts.extend(text.split(digits).filter_map(|part| part.parse::<f64>().ok()));
        }
        Json::Array(items) => items.iter().for_each(|item| gather(item, facts)),
        Json::Object(map) => map.values().for_each(|item| gather(item, facts)),
        Json::Null | Json::Bool(_) => {}
    }
}

/// Numbers that a rule gives names to, and what must hold between them.
#[derive(Debug)]
pub(crate) struct Prices {
    /// For each name, the leaf of the words that announce it.
    pub(crate) leaves: Vec<u32>,
    pub(crate) must: Expr,
}

/// A name and its number stand no further apart than this, in characters.
const APART: usize = 10;

impl Prices {
    /// What is broken in `text`; `Err` with the reason if it cannot be told.
    pub(crate) fn broken(
        &self,
        text: &str,
        numbers: &[Capture<'_>],
        found: &Found,
        context: &Context,
    ) -> Result<Option<Measured>, String> {
        let mut named = Vec::new();
        let mut spans = Vec::new();
        for leaf in &self.leaves {
            let Some(capture) = named_by(text, numbers, found, *leaf) else { return Ok(None) };
            named.push(capture.value);
            spans.push(capture.bytes.clone());
        }
        match self.must.truth(Facts::of(context).with_named(&named)) {
            Truth::Yes => Ok(None),
            Truth::Unknown(why) => Err(why),
            Truth::No => {
                let told: Vec<String> = named.iter().map(f64::to_string).collect();
                Ok(Some(Measured { spans, detail: format!("with {}", told.join(" and ")) }))
            }
        }
    }
}

/// The number that the first of a leaf's words announces: the next one, if it is near and in the same sentence.
fn named_by<'n, 'u>(
    text: &str,
    numbers: &'n [Capture<'u>],
    found: &Found,
    leaf: u32,
) -> Option<&'n Capture<'u>> {
    // Words come by where they end, so that no number before this one can follow the next word.
    let (mut next, mut last_end) = (0, 0);
    found.of(leaf).find_map(|word| {
        if word.end < last_end {
            // Words that only a loose reading found come last, in a second pass over the text.
            next = 0;
        }
        last_end = word.end;
        while numbers.get(next).is_some_and(|capture| capture.bytes.start < word.end) {
            steps::add(1);
            next += 1;
        }
        let number = numbers.get(next)?;
        let between = text.get(word.end..number.bytes.start)?;
        let parts = |c: char| ends_sentence(c) || matches!(c, ',' | '，');
        let mut near = between.chars().inspect(|_| steps::add(1)).take(APART + 1);
        let is_near = near.by_ref().take(APART).all(|c| !parts(c)) && near.next().is_none();
        is_near.then_some(number)
    })
}

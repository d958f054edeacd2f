//! Checks of a reply's numbers: wrong sums, numbers without support, and prices that contradict
//! each other.

use std::ops::Range;

use guerdon_types::Context;
use serde_json::Value as Json;

use super::CheckHit;
use crate::engine::expr::{Expr, ExprFacts, Truth};
use crate::text::literals::LiteralHits;
use crate::text::number::{Capture, is_percent};
use crate::text::sentences::ends_sentence;
use crate::text::steps;

/// Finds sums written out in `text`, such as `480 * 0.9 = 432元`, that are off by more than
/// `tolerance` times their result.
pub(crate) fn wrong_sums(text: &str, numbers: &[Capture<'_>], tolerance: f64) -> Option<CheckHit> {
    let mut spans = Vec::new();
    let mut details = Vec::new();
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
            details.push(format!("{} is given, {} is right", result.value, rounded(right)));
        }
    }
    (!spans.is_empty()).then(|| CheckHit { spans, detail: details.join("; ") })
}

/// The number as a factor: `9折` is 0.9, `15%` is 0.15.
fn factor(capture: &Capture<'_>) -> f64 {
    match capture.unit {
        Some(unit) if is_percent(unit) => capture.value / 100.0,
        Some("折") => 1.0 - capture.percent_off().unwrap_or(0.0) / 100.0,
        _ => capture.value,
    }
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Finds numbers of a reply that occur neither in `known` nor in `context`.
pub(crate) fn unsupported(
    numbers: &[Capture<'_>],
    least: f64,
    known: &[f64],
    context: &Context,
) -> Option<CheckHit> {
    let mut facts = known.to_vec();
    context.values().for_each(|value| gather(value, &mut facts));
    facts.retain(|fact| fact.is_finite());
    facts.sort_unstable_by(f64::total_cmp);
    let same = |fact: f64, value: f64| (fact - value).abs() <= 1e-6 * fact.abs().max(1.0);
    // A value is never negative, so the nearest facts on both sides are the only candidates.
    let is_known = |value: f64| {
        let above = facts.partition_point(|fact| {
            steps::add(1);
            *fact < value
        });
        let nearest = [above.checked_sub(1), Some(above)];
        let mut nearest = nearest.into_iter().flatten().filter_map(|at| facts.get(at));
        nearest.any(|fact| same(*fact, value))
    };
    let unknown: Vec<&Capture<'_>> = numbers
        .iter()
        .filter(|capture| capture.value >= least && !is_known(capture.value))
        .collect();
    let words: Vec<String> =
        unknown.iter().take(3).map(|capture| capture.value.to_string()).collect();
    let spans: Vec<Range<usize>> = unknown.iter().map(|capture| capture.bytes.clone()).collect();
    let detail = format!("{} neither in the dialogue nor in the context", words.join(", "));
    (!spans.is_empty()).then_some(CheckHit { spans, detail })
}

/// Collects every number of a context value, including numbers within texts.
fn gather(value: &Json, facts: &mut Vec<f64>) {
    match value {
        Json::Number(number) => facts.extend(number.as_f64()),
        Json::String(text) => {
            let is_separator = |c: char| !(c.is_ascii_digit() || c == '.');
            facts.extend(text.split(is_separator).filter_map(|part| part.parse::<f64>().ok()));
        }
        Json::Array(items) => items.iter().for_each(|item| gather(item, facts)),
        Json::Object(map) => map.values().for_each(|item| gather(item, facts)),
        Json::Null | Json::Bool(_) => {}
    }
}

/// Numbers with names, and the relation that must hold between them.
#[derive(Debug)]
pub(crate) struct PriceRelation {
    /// For each name, the leaf of the words that announce it.
    pub(crate) leaves: Vec<u32>,
    pub(crate) must: Expr,
}

/// The greatest distance between a name and its number, in characters.
const MAX_DISTANCE: usize = 10;

impl PriceRelation {
    /// Finds numbers in `text` that violate the relation.
    ///
    /// # Errors
    /// The reason why the relation cannot be evaluated, such as a missing fact.
    pub(crate) fn broken(
        &self,
        text: &str,
        numbers: &[Capture<'_>],
        found: &LiteralHits,
        context: &Context,
    ) -> Result<Option<CheckHit>, String> {
        let mut named = Vec::new();
        let mut spans = Vec::new();
        for leaf in &self.leaves {
            let Some(capture) = announced_number(text, numbers, found, *leaf) else {
                return Ok(None);
            };
            named.push(capture.value);
            spans.push(capture.bytes.clone());
        }
        match self.must.truth(ExprFacts::of(context).with_named(&named)) {
            Truth::Yes => Ok(None),
            Truth::Unknown(why) => Err(why),
            Truth::No => {
                let words: Vec<String> = named.iter().map(f64::to_string).collect();
                Ok(Some(CheckHit { spans, detail: format!("with {}", words.join(" and ")) }))
            }
        }
    }
}

/// The number that the first of a leaf's words announces: the next number, if it is near and in the
/// same sentence.
fn announced_number<'n, 'u>(
    text: &str,
    numbers: &'n [Capture<'u>],
    found: &LiteralHits,
    leaf: u32,
) -> Option<&'n Capture<'u>> {
    // Words come in the order of their ends, so a number before this word is also before every
    // later word, and the search continues from the last number.
    let (mut next, mut last_end) = (0, 0);
    found.of(leaf).find_map(|word| {
        if word.end < last_end {
            // Hits of loose forms come after all exact hits, again from the start of the text.
            next = 0;
        }
        last_end = word.end;
        while numbers.get(next).is_some_and(|capture| capture.bytes.start < word.end) {
            steps::add(1);
            next += 1;
        }
        let number = numbers.get(next)?;
        let between = text.get(word.end..number.bytes.start)?;
        let separates = |(at, c): (usize, char)| {
            ends_sentence(text, word.end + at, c) || matches!(c, ',' | '，')
        };
        let mut near = between.char_indices().inspect(|_| steps::add(1)).take(MAX_DISTANCE + 1);
        let is_near =
            near.by_ref().take(MAX_DISTANCE).all(|at| !separates(at)) && near.next().is_none();
        is_near.then_some(number)
    })
}

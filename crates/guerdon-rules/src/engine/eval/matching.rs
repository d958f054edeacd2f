//! Runs a matcher on a text. `regexes.rs` has regexes.

use std::cell::RefCell;
use std::ops::Range;

use super::outcome::MatchOutcome;
use super::scope::{TextInScope, TurnView};
use crate::engine::checks;
use crate::engine::compiled_rule::{LiteralMatcher, Matcher, NumberMatcher};
use crate::engine::expr::{ExprFacts, Truth};
use crate::engine::scan::{ScannedText, Suppression, TextReading};
use crate::syntax::pack::{Across, Language};
use crate::text::literals::leftmost_longest;
use crate::text::near;
use crate::text::number::{Capture, NumberSpec};

impl<'a> TurnView<'_, 'a> {
    /// Runs `matcher` on one text.
    pub(super) fn run(&self, matcher: &Matcher, seen: &TextInScope<'_, 'a>) -> MatchOutcome {
        match matcher {
            Matcher::Literals(matcher) => literals(matcher, seen),
            Matcher::Regex(matcher) => self.regex(matcher, seen),
            Matcher::Number(matcher) => self.number(matcher, seen),
            Matcher::All { matchers, count } => {
                let mut sum = MatchOutcome { yes: true, ..MatchOutcome::no() };
                let mut blocked = false;
                for matcher in matchers {
                    let next = self.run(matcher, seen);
                    if !next.yes && next.unknown.is_none() {
                        if next.suppressed.is_empty() {
                            return MatchOutcome::no();
                        }
                        blocked = true;
                    }
                    sum.yes &= next.yes;
                    sum.absorb(next);
                }
                if blocked {
                    return MatchOutcome { suppressed: sum.suppressed, ..MatchOutcome::no() };
                }
                sum.at_least_if_found(*count)
            }
            Matcher::Any { matchers, count } => {
                let mut sum = MatchOutcome::no();
                for matcher in matchers {
                    sum.join_distinct(self.run(matcher, seen));
                }
                sum.at_least_if_found(*count)
            }
            Matcher::Not(matcher) => {
                let inner = self.run(matcher, seen);
                match inner.unknown {
                    Some(why) if !inner.yes => MatchOutcome::unknown(why),
                    _ => MatchOutcome { yes: !inner.yes, ..MatchOutcome::no() },
                }
            }
            Matcher::ToolCall(matcher) => self.tool_call(matcher, seen),
            Matcher::ToolCalls(test) => self.tool_calls(test, seen),
            Matcher::JsonSchema(matcher) => self.json_schema(matcher, seen),
            _ => self.check(matcher, seen).unwrap_or_else(MatchOutcome::unknown),
        }
    }

    fn number(&self, matcher: &NumberMatcher, seen: &TextInScope<'_, 'a>) -> MatchOutcome {
        let NumberMatcher { spec, unless, condition, count } = matcher;
        let mut outcome = MatchOutcome::no();
        let plain = self.captures(spec, seen.text);
        let unmasked = self.unmasked_captures(spec, seen.text, &plain);
        let all = plain.iter().map(|capture| (capture, None));
        let odd = unmasked.iter().map(|(capture, place)| (capture, Some(place)));
        for (capture, odd) in all.chain(odd) {
            let truth = condition.as_ref().map_or(Truth::Yes, |condition| {
                condition.truth(ExprFacts::of(self.context()).with_capture(capture))
            });
            let (reading, place) = match odd {
                Some(place) => (TextReading::Unmasked, place),
                None => (TextReading::Folded, &capture.bytes),
            };
            let why = || seen.text.suppression(reading, place, *unless, Some(place));
            match truth {
                Truth::No => {}
                Truth::Yes | Truth::Unknown(_) if let Some(why) = why() => {
                    seen.suppress(&mut outcome, &capture.bytes, why);
                }
                Truth::Yes => {
                    let detail = match capture.unit {
                        Some(unit) => format!("{} {unit}", capture.value),
                        None => capture.value.to_string(),
                    };
                    seen.add(&mut outcome, true, &capture.bytes, Some(detail));
                    outcome.disguised |= capture.spaced || odd.is_some();
                }
                Truth::Unknown(why) => outcome.add_unknown(why),
            }
        }
        outcome.at_least(*count)
    }

    /// Runs a check. Returns the reason if a missing fact prevents it.
    fn check(&self, matcher: &Matcher, seen: &TextInScope<'_, 'a>) -> Result<MatchOutcome, String> {
        let (text, original) = (seen.text.view(true), &seen.text.original);
        Ok(match matcher {
            Matcher::Length { of, min, max } => {
                seen.measured(false, checks::length(original, *of, *min, *max))
            }
            Matcher::Unclosed => seen.measured(true, checks::unclosed(text)),
            Matcher::State(check) => seen.measured(false, self.state(check)?),
            Matcher::Json => seen.measured(false, checks::no_json(original)),
            Matcher::Prices { numbers, prices } => {
                let captures = self.captures(numbers, seen.text);
                let found = &seen.text.scan().found;
                seen.measured(true, prices.broken(text, &captures, found, self.context())?)
            }
            Matcher::Arithmetic { numbers, tolerance } => {
                let captures = self.captures(numbers, seen.text);
                seen.measured(true, checks::wrong_sums(text, &captures, *tolerance))
            }
            Matcher::UnsupportedNumbers { numbers, least } => {
                let captures = self.captures(numbers, seen.text);
                let known: Vec<f64> = self
                    .all_before(seen)
                    .flat_map(|text| text.scan().numbers.iter().map(|number| number.value))
                    .collect();
                seen.measured(true, checks::unsupported(&captures, *least, &known, self.context()))
            }
            Matcher::Repetition { across: Across::Within, of } => {
                seen.measured(true, checks::repeats_within(seen.text.tokens(), *of))
            }
            Matcher::Repetition { across: Across::Previous, of } => {
                let earlier = self.before(seen);
                let earlier: Vec<_> = earlier.iter().map(|text| text.tokens()).collect();
                seen.measured(true, checks::repeats_earlier(seen.text.tokens(), &earlier, *of))
            }
            Matcher::LanguageMix { language, mix } => {
                let language = language.map_or_else(|| self.language(), Ok)?;
                let is_name = |at| seen.text.original_at(at).is_some_and(char::is_uppercase);
                let tokens = seen.text.tokens();
                seen.measured(true, checks::language_mix(text, tokens, language, mix, is_name))
            }
            // `run` handles patterns and compositions.
            _ => MatchOutcome::no(),
        })
    }

    /// The numbers that only the text without disguise shows, at their bytes of the folded text,
    /// each with its bytes of the text without disguise.
    fn unmasked_captures<'t>(
        &'t self,
        numbers: &'t NumberSpec,
        text: &'t ScannedText<'a>,
        plain: &[Capture<'t>],
    ) -> Vec<(Capture<'t>, Range<usize>)> {
        let Some((unmasked, around)) = text.unmasked() else { return Vec::new() };
        let places: Vec<Range<usize>> = plain.iter().map(|capture| capture.bytes.clone()).collect();
        let units = &self.plan().scanner.units;
        let captures = numbers.captures(&text.scan().unmasked_numbers, units, around);
        let odd = captures.filter_map(|capture| {
            let bytes = unmasked.folded_bytes(&capture.bytes)?;
            let same = plain
                .get(places.partition_point(|place| place.end <= bytes.start))
                .is_some_and(|known| {
                    known.bytes.start < bytes.end && known.value.total_cmp(&capture.value).is_eq()
                });
            let place = capture.bytes.clone();
            (unmasked.is_odd(&place) && !same).then_some((Capture { bytes, ..capture }, place))
        });
        odd.take_while(|_| !text.is_over()).collect()
    }

    fn captures<'t>(
        &'t self,
        numbers: &'t NumberSpec,
        text: &'t ScannedText<'a>,
    ) -> Vec<Capture<'t>> {
        let (numbers_of, units) = (&text.scan().numbers, &self.plan().scanner.units);
        let captures = numbers.captures(numbers_of, units, text.surroundings(true));
        captures.take_while(|_| !text.is_over()).collect()
    }

    fn language(&self) -> Result<Language, String> {
        match self.context().get("language") {
            None | Some(serde_json::Value::Null) => Err("context.language is missing".into()),
            Some(value) => value
                .as_str()
                .and_then(Language::parse)
                .ok_or_else(|| "context.language is neither \"zh\" nor \"en\"".into()),
        }
    }
}

fn literals(matcher: &LiteralMatcher, seen: &TextInScope<'_, '_>) -> MatchOutcome {
    let LiteralMatcher { leaf, fold, word, near, unless, count } = matcher;
    let scan = seen.text.scan();
    let found = if *fold { &scan.found } else { &scan.raw_found };
    let view = seen.text.view(*fold);
    let around = seen.text.surroundings(*fold);
    let suppressed = RefCell::new(MatchOutcome::no());
    let counts = |why: Option<Suppression>, bytes: &Range<usize>| match why {
        Some(why) => {
            seen.suppress(&mut suppressed.borrow_mut(), bytes, why);
            false
        }
        None => true,
    };
    let fits = |range: &Range<usize>| {
        (!word || near::is_whole(view, range))
            && near.holds(range, around)
            && counts(seen.text.suppression(TextReading::Folded, range, *unless, None), range)
    };
    let mut hits = found.of(*leaf).take_while(|_| !seen.text.is_over()).filter(fits);
    let mut outcome = MatchOutcome::no();
    if let Some((text, around)) = fold.then(|| seen.text.unmasked()).flatten()
        && around.found.has(*leaf)
    {
        let unmasked = around
            .found
            .of(*leaf)
            .take_while(|_| !seen.text.is_over())
            .filter(|range| text.is_odd(range) && text.is_certain(range))
            .filter(|range| near::is_whole(around.text, range))
            .filter(|range| near.holds(range, around))
            .filter_map(|range| {
                let bytes = text.folded_bytes(&range)?;
                let why = seen.text.suppression(TextReading::Unmasked, &range, *unless, None);
                counts(why, &bytes).then_some(bytes)
            });
        let mut odd: Vec<Range<usize>> = unmasked.collect();
        if !odd.is_empty() {
            odd.extend(&mut hits);
            leftmost_longest(&mut odd);
            odd.iter().for_each(|range| seen.add(&mut outcome, true, range, None));
            outcome.disguised = true;
            outcome.suppressed = suppressed.take().suppressed;
            return outcome.at_least(*count);
        }
    }
    let Some(first) = hits.next() else {
        return MatchOutcome { suppressed: suppressed.take().suppressed, ..outcome };
    };
    match hits.next() {
        // Most turns have one hit, for which nothing is allocated.
        None => seen.add(&mut outcome, *fold, &first, None),
        Some(second) => {
            let mut ranges: Vec<Range<usize>> =
                [first, second].into_iter().chain(&mut hits).collect();
            leftmost_longest(&mut ranges);
            ranges.iter().for_each(|range| seen.add(&mut outcome, *fold, range, None));
        }
    }
    outcome.suppressed = suppressed.take().suppressed;
    outcome.at_least(*count)
}

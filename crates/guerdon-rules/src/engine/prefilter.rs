//! Which rules a text can hit at all: those of whose necessary conditions it meets one.
//!
//! A thousand rules cost a turn little more than two hundred, because a turn meets the conditions of a few.

use crate::engine::compiled_rule::{CompiledRule, Matcher};
use crate::engine::pattern::Gate;
use crate::engine::scan::Text;
use crate::syntax::pack::On;
use crate::text::number::NumberSpec;

/// For each rule, what it waits for; and for each leaf, the rules that wait for it.
#[derive(Debug, Default)]
pub(crate) struct Triggers {
    /// For each rule, conditions of which one must hold.
    of_rule: Vec<Vec<Trigger>>,
    /// Rules by leaf: folded, raw. Of those that read the scored turn.
    by_leaf: [Vec<Vec<u32>>; 2],
    /// Rules with a condition that is no leaf.
    gated: Vec<(u32, Trigger)>,
    /// Rules that always run, or read other texts than the scored turn.
    always: Vec<u32>,
    words: usize,
}

/// A necessary condition.
#[derive(Debug, Clone, PartialEq)]
enum Trigger {
    Leaf {
        fold: bool,
        leaf: u32,
    },
    /// A number with one of these units.
    Unit(u64),
    AnyNumber,
    Gate {
        fold: bool,
        gate: Gate,
    },
    Always,
}

/// Rules that may hit, by index.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    bits: Vec<u64>,
}

impl Triggers {
    /// Plans the triggers of `rules`, given the number of leaves of each view.
    pub(crate) fn new(rules: &[CompiledRule], leaves: [u32; 2]) -> Self {
        let mut triggers = Self {
            of_rule: rules.iter().map(|rule| of(&rule.matcher)).collect(),
            by_leaf: leaves.map(|leaves| vec![Vec::new(); leaves as usize]),
            words: rules.len().div_ceil(64),
            ..Self::default()
        };
        for ((index, rule), waits) in (0_u32..).zip(rules).zip(&triggers.of_rule) {
            if rule.on != On::SCORED || waits.contains(&Trigger::Always) {
                triggers.always.push(index);
                continue;
            }
            for trigger in waits {
                match trigger {
                    Trigger::Leaf { fold, leaf } => {
                        let side = triggers.by_leaf.get_mut(usize::from(!fold));
                        if let Some(rules) = side.and_then(|side| side.get_mut(*leaf as usize)) {
                            rules.push(index);
                        }
                    }
                    other => triggers.gated.push((index, other.clone())),
                }
            }
        }
        triggers
    }

    /// The rules that may hit a dialogue whose scored turn is `scored`.
    pub(crate) fn candidates(&self, scored: Option<&Text<'_>>, candidates: &mut Candidates) {
        candidates.bits.clear();
        candidates.bits.resize(self.words, 0);
        for rule in &self.always {
            candidates.add(*rule);
        }
        let Some(text) = scored else { return };
        let scan = text.scan();
        for (by_leaf, found) in self.by_leaf.iter().zip([&scan.found, &scan.raw_found]) {
            for leaf in &found.touched {
                for rule in by_leaf.get(*leaf as usize).into_iter().flatten() {
                    candidates.add(*rule);
                }
            }
        }
        for (rule, trigger) in &self.gated {
            if trigger.holds(text) {
                candidates.add(*rule);
            }
        }
    }

    /// Whether rule `index` may hit a text.
    pub(crate) fn may_hit(&self, index: usize, text: &Text<'_>) -> bool {
        self.of_rule.get(index).is_none_or(|waits| waits.iter().any(|trigger| trigger.holds(text)))
    }
}

impl Candidates {
    fn add(&mut self, rule: u32) {
        if let Some(word) = self.bits.get_mut(rule as usize / 64) {
            *word |= 1 << (rule % 64);
        }
    }

    /// The candidates, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        self.bits.iter().enumerate().flat_map(|(word, bits)| {
            let mut rest = *bits;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                rest &= rest.checked_sub(1)?;
                Some(word * 64 + bit as usize)
            })
        })
    }
}

impl Trigger {
    fn holds(&self, text: &Text<'_>) -> bool {
        let scan = text.scan();
        match self {
            Self::Leaf { fold: true, leaf } => scan.found.has(*leaf),
            Self::Leaf { fold: false, leaf } => scan.raw_found.has(*leaf),
            Self::Unit(mask) => scan.numbers.may_have(*mask),
            Self::AnyNumber => scan.numbers.has_plain(),
            Self::Gate { fold, gate } => text.passes(gate, *fold),
            Self::Always => true,
        }
    }

    /// What it costs a turn that the rule waits for this: a guess at how often it holds.
    const fn cost(&self) -> usize {
        match self {
            Self::Leaf { .. } => 1,
            Self::Unit(_) => 4,
            Self::Gate { .. } => 10,
            Self::AnyNumber => 20,
            Self::Always => 1000,
        }
    }
}

fn of(matcher: &Matcher) -> Vec<Trigger> {
    match matcher {
        Matcher::Literals { leaf, fold, .. } => vec![Trigger::Leaf { fold: *fold, leaf: *leaf }],
        Matcher::Regex { pattern, fold, .. } => match pattern.leaves() {
            Some(leaves) => {
                leaves.into_iter().map(|leaf| Trigger::Leaf { fold: *fold, leaf }).collect()
            }
            None => vec![Trigger::Gate { fold: *fold, gate: pattern.gate().clone() }],
        },
        Matcher::Number { spec, .. } => vec![number(spec)],
        // All must hold, so the rarest will do.
        Matcher::All { matchers, .. } => matchers
            .iter()
            .map(of)
            .min_by_key(|waits| waits.iter().map(Trigger::cost).sum::<usize>())
            .unwrap_or_else(|| vec![Trigger::Always]),
        Matcher::Any { matchers, .. } => matchers.iter().flat_map(of).collect(),
        Matcher::Prices { prices, .. } => prices
            .leaves
            .first()
            .map(|leaf| Trigger::Leaf { fold: true, leaf: *leaf })
            .into_iter()
            .collect(),
        Matcher::Arithmetic { numbers, .. } | Matcher::UnsupportedNumbers { numbers, .. } => {
            vec![number(numbers)]
        }
        Matcher::Not(_)
        | Matcher::Length { .. }
        | Matcher::Unclosed
        | Matcher::Json
        | Matcher::Repetition { .. }
        | Matcher::LanguageMix { .. } => vec![Trigger::Always],
    }
}

fn number(spec: &NumberSpec) -> Trigger {
    match (spec.near.one, spec.units.is_empty() || spec.optional) {
        (Some(leaf), _) => Trigger::Leaf { fold: true, leaf },
        (None, false) => Trigger::Unit(spec.mask()),
        (None, true) => Trigger::AnyNumber,
    }
}

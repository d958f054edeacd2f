//! Rule prefilter: selects the rules whose required literal, unit or character class occurs in the
//! text.
//!
//! A thousand rules take little more time per turn than two hundred, because a turn meets the
//! requirements of only a few.

use crate::engine::compiled_rule::{CompiledRule, Matcher, RegexMatcher};
use crate::engine::pattern::Gate;
use crate::engine::scan::ScannedText;
use crate::syntax::pack::MessageSelector;
use crate::text::number::NumberSpec;

/// The requirements of each rule, and an index from leaves to rules. A leaf is a set of literals,
/// see [`Literals`](crate::text::literals::Literals).
#[derive(Debug, Default)]
pub(crate) struct Prefilter {
    /// The requirements of each rule. A rule may hit if one of them is met.
    of_rule: Vec<Vec<Requirement>>,
    /// The rules that read the scored turn, by leaf; first the leaves of folded text, then those of
    /// unfolded text.
    by_leaf: [Vec<Vec<u32>>; 2],
    /// Rules with a requirement that is not a leaf.
    gated: Vec<(u32, Requirement)>,
    /// Rules that always run, or that read other texts than the scored turn.
    always: Vec<u32>,
    /// The length of [`Candidates::bits`].
    words: usize,
}

/// A necessary condition for a hit.
#[derive(Debug, Clone, PartialEq)]
enum Requirement {
    Leaf {
        fold: bool,
        leaf: u32,
    },
    /// A number with one of the units of this mask.
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
    /// One bit per rule.
    bits: Vec<u64>,
}

impl Prefilter {
    /// Collects the requirements of `rules`. `leaves` is the number of leaves of folded and of
    /// unfolded text.
    pub(crate) fn new(rules: &[CompiledRule], leaves: [u32; 2]) -> Self {
        let mut prefilter = Self {
            of_rule: rules.iter().map(|rule| requirements_of(&rule.matcher)).collect(),
            by_leaf: leaves.map(|leaves| vec![Vec::new(); leaves as usize]),
            words: rules.len().div_ceil(64),
            ..Self::default()
        };
        for ((index, rule), requirements) in (0_u32..).zip(rules).zip(&prefilter.of_rule) {
            if rule.on != MessageSelector::SCORED || requirements.contains(&Requirement::Always) {
                prefilter.always.push(index);
                continue;
            }
            for requirement in requirements {
                match requirement {
                    Requirement::Leaf { fold, leaf } => {
                        let by_leaf = prefilter.by_leaf.get_mut(usize::from(!fold));
                        if let Some(rules) =
                            by_leaf.and_then(|leaves| leaves.get_mut(*leaf as usize))
                        {
                            rules.push(index);
                        }
                    }
                    other => prefilter.gated.push((index, other.clone())),
                }
            }
        }
        prefilter
    }

    /// Collects the rules that may hit a dialogue whose scored turn is `scored`.
    pub(crate) fn candidates(&self, scored: Option<&ScannedText<'_>>, candidates: &mut Candidates) {
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
        for leaf in scan.unmasked_found.touched.iter().chain(&scan.figured_found.touched) {
            let rules = self.by_leaf.first().and_then(|leaves| leaves.get(*leaf as usize));
            for rule in rules.into_iter().flatten() {
                candidates.add(*rule);
            }
        }
        for (rule, requirement) in &self.gated {
            if requirement.holds(text) {
                candidates.add(*rule);
            }
        }
    }

    /// Returns true if the rule at `index` may hit a text.
    pub(crate) fn may_hit(&self, index: usize, text: &ScannedText<'_>) -> bool {
        self.of_rule.get(index).is_none_or(|requirements| {
            requirements.iter().any(|requirement| requirement.holds(text))
        })
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

impl Requirement {
    fn holds(&self, text: &ScannedText<'_>) -> bool {
        let scan = text.scan();
        match self {
            Self::Leaf { fold: true, leaf } => scan.has(*leaf),
            Self::Leaf { fold: false, leaf } => scan.raw_found.has(*leaf),
            Self::Unit(mask) => {
                scan.numbers.may_have(*mask) || scan.unmasked_numbers.may_have(*mask)
            }
            Self::AnyNumber => scan.numbers.has_plain() || scan.unmasked_numbers.has_plain(),
            Self::Gate { fold, gate } => text.passes(gate, *fold),
            Self::Always => true,
        }
    }

    /// A rough relative estimate of how many turns meet the requirement.
    const fn frequency(&self) -> usize {
        match self {
            Self::Leaf { .. } => 1,
            Self::Unit(_) => 4,
            Self::Gate { .. } => 10,
            Self::AnyNumber => 20,
            Self::Always => 1000,
        }
    }
}

fn requirements_of(matcher: &Matcher) -> Vec<Requirement> {
    match matcher {
        Matcher::Literals(words) => vec![Requirement::Leaf { fold: words.fold, leaf: words.leaf }],
        Matcher::Regex(RegexMatcher { pattern, fold, .. }) => match pattern.leaves() {
            Some(leaves) => {
                leaves.into_iter().map(|leaf| Requirement::Leaf { fold: *fold, leaf }).collect()
            }
            None => vec![Requirement::Gate { fold: *fold, gate: pattern.gate().clone() }],
        },
        Matcher::Number(matcher) => vec![number_requirement(&matcher.spec)],
        // All parts must hold, so the requirement that is met least often is enough.
        Matcher::All { matchers, .. } => matchers
            .iter()
            .map(requirements_of)
            .min_by_key(|requirements| {
                requirements.iter().map(Requirement::frequency).sum::<usize>()
            })
            .unwrap_or_else(|| vec![Requirement::Always]),
        Matcher::Any { matchers, .. } => matchers.iter().flat_map(requirements_of).collect(),
        Matcher::Prices { prices, .. } => prices
            .leaves
            .first()
            .map(|leaf| Requirement::Leaf { fold: true, leaf: *leaf })
            .into_iter()
            .collect(),
        Matcher::Arithmetic { numbers, .. } | Matcher::UnsupportedNumbers { numbers, .. } => {
            vec![number_requirement(numbers)]
        }
        Matcher::Not(_)
        | Matcher::Length { .. }
        | Matcher::Unclosed
        | Matcher::Json
        | Matcher::Repetition { .. }
        | Matcher::LanguageMix { .. }
        | Matcher::ToolCall(_)
        | Matcher::ToolCalls(_)
        | Matcher::JsonSchema(_)
        | Matcher::State(_) => vec![Requirement::Always],
    }
}

fn number_requirement(spec: &NumberSpec) -> Requirement {
    match (spec.near.one, spec.units.is_empty() || spec.optional) {
        (Some(leaf), _) => Requirement::Leaf { fold: true, leaf },
        (None, false) => Requirement::Unit(spec.mask()),
        (None, true) => Requirement::AnyNumber,
    }
}

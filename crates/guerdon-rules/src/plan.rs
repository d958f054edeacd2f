//! What packs become: rules whose patterns are compiled, one automaton for the literals of all of them, and for each
//! literal the rules that cannot hit without it.

use crate::checks::Prices;
use crate::expr::Expr;
use crate::literals::Literals;
use crate::number::{NumberSpec, Units};
use crate::pack::{Across, Condition, Language, Measure, On, Repeated};
use crate::pattern::{Pattern, Register, RunClass};
use crate::scan::Buffers;
use crate::trigger::Triggers;

/// All rules of all packs, in pack and rule order.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) rules: Vec<CompiledRule>,
    pub(crate) needles: Needles,
    pub(crate) units: Units,
    pub(crate) triggers: Triggers,
    pub(crate) buffers: Buffers,
}

/// What a scan of a text looks for.
#[derive(Debug, Default)]
pub(crate) struct Needles {
    /// Literals of folded texts.
    pub(crate) folded: Literals,
    /// Literals of texts as they are.
    pub(crate) raw: Literals,
    /// The skeletons of folded literals, for loose readings; leaves are those of `folded`.
    pub(crate) loose: Literals,
    /// The leaf of each view that every digit is a hit of: folded, raw.
    pub(crate) digits: [Option<u32>; 2],
    /// Classes whose longest run is asked for, of each view.
    pub(crate) runs: [Vec<RunClass>; 2],
    /// Whether any rule asks for numbers.
    pub(crate) numbers: bool,
    /// Whether any pattern of raw text has no literal.
    pub(crate) raw_gates: bool,
}

/// A view of the needles that patterns of folded, or of raw, text register with.
pub(crate) struct Side<'n> {
    pub(crate) needles: &'n mut Needles,
    pub(crate) fold: bool,
}

impl Register for Side<'_> {
    fn leaf(&mut self, literals: Vec<String>) -> u32 {
        self.needles.literals(self.fold).leaf(literals)
    }

    fn digits(&mut self) -> u32 {
        let side = usize::from(!self.fold);
        if let Some(Some(leaf)) = self.needles.digits.get(side) {
            return *leaf;
        }
        let leaf = self.needles.literals(self.fold).leaf([]);
        if let Some(digits) = self.needles.digits.get_mut(side) {
            *digits = Some(leaf);
        }
        leaf
    }

    fn run(&mut self, class: RunClass) -> u32 {
        let Some(runs) = self.needles.runs.get_mut(usize::from(!self.fold)) else { return 0 };
        let at = runs.iter().position(|known| *known == class).unwrap_or_else(|| {
            runs.push(class);
            runs.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }
}

impl Needles {
    pub(crate) const fn literals(&mut self, fold: bool) -> &mut Literals {
        if fold { &mut self.folded } else { &mut self.raw }
    }

    pub(crate) fn build(&mut self) -> Result<(), String> {
        self.folded.build()?;
        self.raw.build()?;
        self.loose.build()
    }
}

/// One rule, ready to run.
#[derive(Debug)]
pub(crate) struct CompiledRule {
    pub(crate) pack: String,
    pub(crate) id: String,
    pub(crate) points: f64,
    pub(crate) per_hit: bool,
    pub(crate) cap: Option<f64>,
    pub(crate) veto: bool,
    pub(crate) shadow: bool,
    pub(crate) on: On,
    pub(crate) when: Vec<Condition>,
    /// `where` without a capture: said of the context alone.
    pub(crate) condition: Option<Expr>,
    pub(crate) matcher: Matcher,
}

/// A test, compiled.
#[derive(Debug)]
pub(crate) enum Matcher {
    Literals { leaf: u32, fold: bool, word: bool, count: usize },
    Regex { pattern: Box<Pattern>, fold: bool, condition: Option<Expr>, count: usize },
    Number { spec: NumberSpec, condition: Option<Expr>, count: usize },
    All { matchers: Vec<Self>, count: usize },
    Any { matchers: Vec<Self>, count: usize },
    Not(Box<Self>),
    Length { of: Measure, min: Option<usize>, max: Option<usize> },
    Unclosed,
    Json,
    Prices { numbers: NumberSpec, prices: Box<Prices> },
    Arithmetic { numbers: NumberSpec, tolerance: f64 },
    UnsupportedNumbers { numbers: NumberSpec, least: f64 },
    Repetition { across: Across, of: Repeated },
    LanguageMix { language: Option<Language>, share: f64, min: usize, allow: Vec<String> },
}

impl Plan {
    /// Bytes on the heap that grow with the packs, caches aside.
    pub(crate) fn memory(&self) -> usize {
        let literals = [&self.needles.folded, &self.needles.raw, &self.needles.loose];
        let literals: usize = literals.into_iter().map(Literals::memory).sum();
        literals + self.rules.iter().map(|rule| rule.matcher.memory()).sum::<usize>()
    }
}

impl Matcher {
    fn memory(&self) -> usize {
        match self {
            Self::Regex { pattern, .. } => pattern.memory(),
            Self::All { matchers, .. } | Self::Any { matchers, .. } => {
                matchers.iter().map(Self::memory).sum()
            }
            Self::Not(matcher) => matcher.memory(),
            _ => 0,
        }
    }
}

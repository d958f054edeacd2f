//! The literals that a scan of a text looks for, and the properties that patterns without a literal
//! require.

use crate::engine::pattern::{PatternRegistry, RunClass};
use crate::text::literals::Literals;

/// The targets of a scan.
#[derive(Debug, Default)]
pub(crate) struct Needles {
    /// Literals of folded texts.
    pub(crate) folded: Literals,
    /// Literals of unfolded texts.
    pub(crate) raw: Literals,
    /// The loose forms of folded literals. Leaves are those of `folded`.
    pub(crate) loose: Literals,
    /// The leaf that every digit hits: in folded and in unfolded text.
    pub(crate) digits: [Option<u32>; 2],
    /// Classes whose longest run is measured: in folded and in unfolded text.
    pub(crate) runs: [Vec<RunClass>; 2],
    /// Set if a rule uses numbers.
    pub(crate) numbers: bool,
    /// Set if a regex captures a number of folded text.
    pub(crate) figures: bool,
    /// Set if a pattern for unfolded text may have no literal.
    pub(crate) raw_gates: bool,
}

/// The needles for folded or for unfolded text, with which patterns register.
pub(crate) struct Side<'n> {
    pub(crate) needles: &'n mut Needles,
    pub(crate) fold: bool,
}

impl PatternRegistry for Side<'_> {
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

    fn run_class(&mut self, class: RunClass) -> u32 {
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

    /// The size on the heap, in bytes.
    pub(crate) fn memory(&self) -> usize {
        [&self.folded, &self.raw, &self.loose].into_iter().map(Literals::memory).sum()
    }
}

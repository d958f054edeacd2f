//! What a scan of a text looks for: the literals of all patterns, and what else patterns without a literal ask for.

use crate::engine::pattern::{Register, RunClass};
use crate::text::literals::Literals;

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

    /// Bytes on the heap.
    pub(crate) fn memory(&self) -> usize {
        [&self.folded, &self.raw, &self.loose].into_iter().map(Literals::memory).sum()
    }
}

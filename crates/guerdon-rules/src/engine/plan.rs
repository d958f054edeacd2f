//! The plan that packs are compiled to: compiled rules, one scanner for all of them, and the
//! prefilter.

use crate::engine::compiled_rule::CompiledRule;
use crate::engine::pattern::MAX_TOTAL_BYTES;
use crate::engine::prefilter::Prefilter;
use crate::engine::scan::Scanner;

/// All rules of all packs, in the order of packs and rules.
#[derive(Debug, Default)]
pub(crate) struct RulePlan {
    pub(crate) rules: Vec<CompiledRule>,
    pub(crate) scanner: Scanner,
    pub(crate) prefilter: Prefilter,
}

impl RulePlan {
    /// Builds the automata and the prefilter after the last rule was added.
    pub(crate) fn build(&mut self) -> Result<(), String> {
        self.scanner.needles.build()?;
        let bytes = self.memory();
        if bytes > MAX_TOTAL_BYTES {
            let limit = MAX_TOTAL_BYTES >> 20;
            return Err(format!("{} MiB when compiled, at most {limit}", bytes >> 20));
        }
        let leaves = [self.scanner.needles.folded.leaves(), self.scanner.needles.raw.leaves()];
        self.prefilter = Prefilter::new(&self.rules, leaves);
        Ok(())
    }

    /// The size on the heap that grows with the packs, without caches, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.scanner.needles.memory()
            + self.rules.iter().map(|rule| rule.matcher.memory()).sum::<usize>()
    }
}

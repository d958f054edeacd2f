//! What packs become: rules whose patterns are compiled, one scanner for what all of them look for, and for each literal
//! the rules that cannot hit without it.

use crate::engine::compiled_rule::CompiledRule;
use crate::engine::prefilter::Triggers;
use crate::engine::scan::Scanner;

/// Bound on all compiled patterns and literals together, in bytes.
const MAX_BYTES: usize = 256 * 1024 * 1024;

/// All rules of all packs, in pack and rule order.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) rules: Vec<CompiledRule>,
    pub(crate) scanner: Scanner,
    pub(crate) triggers: Triggers,
}

impl Plan {
    /// Builds the automata and the triggers, once all rules are there.
    pub(crate) fn build(&mut self) -> Result<(), String> {
        self.scanner.needles.build()?;
        let bytes = self.memory();
        if bytes > MAX_BYTES {
            return Err(format!("{} MiB when compiled, at most {}", bytes >> 20, MAX_BYTES >> 20));
        }
        let leaves = [self.scanner.needles.folded.leaves(), self.scanner.needles.raw.leaves()];
        self.triggers = Triggers::new(&self.rules, leaves);
        Ok(())
    }

    /// Bytes on the heap that grow with the packs, caches aside.
    pub(crate) fn memory(&self) -> usize {
        self.scanner.needles.memory()
            + self.rules.iter().map(|rule| rule.matcher.memory()).sum::<usize>()
    }
}

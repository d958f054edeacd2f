//! The registration of a pattern's needs with the scanner.

use super::run_class::RunClass;

/// A registry of literals, digits and classes.
pub(crate) trait Register {
    /// Adds a leaf for these literals.
    fn leaf(&mut self, literals: Vec<String>) -> u32;
    /// The leaf that every ASCII digit hits.
    fn digits(&mut self) -> u32;
    /// Registers a class whose longest run is to be measured and returns its index.
    fn run(&mut self, class: RunClass) -> u32;
}

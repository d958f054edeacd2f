//! Registration of a pattern's literals, digits and character classes with the scanner.

use super::run_class::RunClass;

/// The part of the scanner that patterns register with.
pub(crate) trait PatternRegistry {
    /// Adds a leaf for these literals.
    fn leaf(&mut self, literals: Vec<String>) -> u32;
    /// The leaf that every ASCII digit hits.
    fn digits(&mut self) -> u32;
    /// Registers a class whose longest run the scan measures, and returns its index.
    fn run_class(&mut self, class: RunClass) -> u32;
}

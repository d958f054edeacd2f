//! What a pattern asks of the scanner that it becomes part of.

use super::run_class::RunClass;

/// Whoever takes in literals, digits and classes.
pub(crate) trait Register {
    /// A leaf for these literals.
    fn leaf(&mut self, literals: Vec<String>) -> u32;
    /// The leaf that every ASCII digit is a hit of.
    fn digits(&mut self) -> u32;
    /// A number for a class whose longest run is to be measured.
    fn run(&mut self, class: RunClass) -> u32;
}

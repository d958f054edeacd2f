//! Both readings of a text in disguise, made from one pass over its characters.

use super::digit_words::{self, DigitWord};
use super::loose::LooseReading;
use super::spelling::Spelling;
use super::unmasked::UnmaskedText;

/// The loose reading, for words, and the unmasked one, for patterns and numbers.
#[derive(Debug, Default)]
pub(crate) struct DisguiseReadings {
    spelling: Spelling,
    /// The words of numbers that are spelt digit by digit, ascending.
    digits: Vec<DigitWord>,
    pub(crate) loose: LooseReading,
    pub(crate) unmasked: UnmaskedText,
}

impl DisguiseReadings {
    /// Replaces both readings by those of `folded`.
    pub(crate) fn read(&mut self, folded: &str) {
        self.spelling.read(folded);
        digit_words::find(&self.spelling.pieces, &mut self.digits);
        self.loose.read(&self.spelling);
        self.unmasked.read(&self.spelling, &self.digits);
    }

    /// Empties the unmasked reading, for a text that shows no sign of a disguise.
    pub(crate) fn clear(&mut self) {
        self.unmasked.clear();
    }
}

//! The tokens and sentences of a text, made once for all checks.
//!
//! A token is a Chinese, Japanese or Korean character, or a run of other letters and digits. Eight
//! tokens are therefore about the same amount of text in any language, and punctuation and spacing
//! do not hide a repetition.
//!
//! Tokens are compared by a hash of 61 bits, so that runs of any length are compared in constant
//! time (Rabin and Karp). For a text of a million tokens the chance that two different runs have
//! one hash is below one in a million.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use crate::text::sentences::ends_sentence;
use crate::text::steps;

/// The tokens of one text.
#[derive(Debug, Default)]
pub(crate) struct TokenizedText {
    pub(crate) tokens: Vec<Token>,
    /// The index of the first token of each sentence.
    sentences: Vec<u32>,
}

/// One token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    start: u32,
    end: u32,
    /// The number of its letters.
    pub(crate) letters: u32,
    /// Set for a character of Chinese, Japanese or Korean.
    pub(crate) cjk: bool,
    hash: u64,
}

/// A sentence: its tokens, and the hash of all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sentence {
    pub(crate) tokens: Range<usize>,
    hash: u64,
}

impl Sentence {
    /// A value that equal sentences share.
    pub(crate) const fn key(&self) -> (usize, u64) {
        (self.tokens.end - self.tokens.start, self.hash)
    }
}

/// The modulus of the hashes, a Mersenne prime.
const MODULUS: u64 = (1 << 61) - 1;
const BASE: u64 = 0x0b4e_0ef3_7bc3_2127;

fn times(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    let low = u64::try_from(product & u128::from(MODULUS)).unwrap_or_default();
    let high = u64::try_from(product >> 61).unwrap_or_default();
    plus(low, high)
}

const fn plus(a: u64, b: u64) -> u64 {
    let sum = a + b;
    if sum >= MODULUS { sum - MODULUS } else { sum }
}

impl Token {
    pub(crate) const fn bytes(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    fn new(text: &str, bytes: Range<usize>, cjk: bool) -> Self {
        let word = text.get(bytes.clone()).unwrap_or_default();
        let letters = word.chars().filter(|c| c.is_alphabetic()).count();
        let mut hasher = DefaultHasher::new();
        word.hash(&mut hasher);
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            start: place(bytes.start),
            end: place(bytes.end),
            letters: place(letters),
            cjk,
            // Zero would vanish at the head of a run.
            hash: hasher.finish() % (MODULUS - 1) + 1,
        }
    }
}

impl TokenizedText {
    pub(crate) fn new(text: &str) -> Self {
        Self::until(text, || false)
    }

    /// Reads `text`. Asks `is_over` at each character, and stops if it returns true.
    pub(crate) fn until(text: &str, is_over: impl Fn() -> bool) -> Self {
        let mut read = Self::default();
        let mut open: Option<usize> = None;
        let mut parted = true;
        for (at, c) in text.char_indices() {
            steps::add(1);
            if is_over() {
                return read;
            }
            let cjk = is_cjk(c);
            if !cjk && c.is_alphanumeric() {
                open.get_or_insert(at);
                continue;
            }
            if let Some(start) = open.take() {
                read.push(Token::new(text, start..at, false), &mut parted);
            }
            if cjk {
                read.push(Token::new(text, at..at + c.len_utf8(), true), &mut parted);
            } else {
                parted = parted || ends_sentence(text, at, c);
            }
        }
        if let Some(start) = open {
            read.push(Token::new(text, start..text.len(), false), &mut parted);
        }
        read
    }

    fn push(&mut self, token: Token, parted: &mut bool) {
        if std::mem::take(parted) {
            self.sentences.push(u32::try_from(self.tokens.len()).unwrap_or(u32::MAX));
        }
        self.tokens.push(token);
    }

    pub(crate) fn sentence_count(&self) -> usize {
        self.sentences.len()
    }

    pub(crate) fn sentences(&self) -> impl Iterator<Item = Sentence> {
        self.sentences.iter().enumerate().map(|(index, first)| {
            let next = self.sentences.get(index + 1).map_or(self.tokens.len(), |at| *at as usize);
            let tokens = *first as usize..next;
            let all = self.tokens.get(tokens.clone()).unwrap_or_default();
            let hash = all.iter().fold(0, |hash, token| plus(times(hash, BASE), token.hash));
            Sentence { tokens, hash }
        })
    }

    /// The bytes from the first to the last of `tokens`.
    pub(crate) fn bytes(&self, tokens: &Range<usize>) -> Range<usize> {
        let first = self.tokens.get(tokens.start).map_or(0, |token| token.start);
        let last = tokens.end.checked_sub(1).and_then(|last| self.tokens.get(last));
        first as usize..last.map_or(first, |token| token.end) as usize
    }

    /// The hash of each run of `n` tokens.
    pub(crate) fn runs(&self, n: usize) -> impl Iterator<Item = u64> {
        let n = n.max(1);
        let leading = (0..n.min(self.tokens.len())).fold(1, |power, _| times(power, BASE));
        let mut hash = 0;
        self.tokens.iter().enumerate().filter_map(move |(at, token)| {
            steps::add(1);
            hash = plus(times(hash, BASE), token.hash);
            if let Some(left) = at.checked_sub(n).and_then(|left| self.tokens.get(left)) {
                hash = plus(hash, MODULUS - times(left.hash, leading));
            }
            (at + 1 >= n).then_some(hash)
        })
    }
}

pub(crate) const fn is_cjk(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_are_equal_exactly_if_their_hashes_are(
            text in "(?:[ab工单 ]|a b |工单){0,40}",
            n in 1_usize..12,
        ) {
            let read = TokenizedText::new(&text);
            let words: Vec<&str> = read.tokens.iter().map(|token| &text[token.bytes()]).collect();
            let hashes: Vec<u64> = read.runs(n).collect();
            let runs: Vec<&[&str]> = words.windows(n).collect();
            prop_assert_eq!(runs.len(), hashes.len());
            let (mut by_run, mut by_hash) = (HashMap::new(), HashMap::new());
            for (run, hash) in runs.into_iter().zip(hashes) {
                prop_assert_eq!(*by_run.entry(run).or_insert(hash), hash);
                prop_assert_eq!(*by_hash.entry(hash).or_insert(run), run);
            }
        }
    }

    #[test]
    fn sentences_begin_behind_the_mark_that_ends_the_last_one() {
        let text = "一。two, 2.5 three! Four. five";
        let read = TokenizedText::new(text);
        let said: Vec<&str> =
            read.sentences().map(|sentence| &text[read.bytes(&sentence.tokens)]).collect();
        assert_eq!(said, ["一", "two, 2.5 three", "Four", "five"]);
    }
}

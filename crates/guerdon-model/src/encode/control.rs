//! Control tokens: the added tokens that delimit turns and texts, which a message must not produce.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use daachorse::{DoubleArrayAhoCorasick, DoubleArrayAhoCorasickBuilder, MatchKind};
use tokenizers::{Encoding, Model as _, Tokenizer};

/// The character that marks the name of a control token in a neutral tokenizer. It is the last
/// private-use character of Unicode; a text that holds it is read with U+FFFD instead.
pub(crate) const NAME_MARK: char = '\u{10FFFD}';

/// The control tokens of a tokenizer.
#[derive(Debug)]
pub(crate) struct ControlTokens {
    tokens: Vec<ControlToken>,
    /// Finds every added token, as the tokenizer does.
    finder: LiteralFinder,
    /// The control token of each pattern of `finder`, if it is one.
    of_pattern: Vec<Option<usize>>,
    ids: HashSet<u32>,
    unknown: Option<u32>,
}

/// A control token.
#[derive(Debug)]
pub(crate) struct ControlToken {
    pub(crate) text: String,
    pub(crate) id: u32,
    pub(crate) special: bool,
}

impl ControlTokens {
    /// The special tokens of the tokenizer, those in `named`, and the added tokens that look like
    /// control tokens: `<|...|>`, or any text in brackets that `frame` holds, which is the source
    /// of the chat template or the text around the messages. Other added tokens, such as runs of
    /// spaces, words and HTML tags, are ordinary text.
    pub(crate) fn of(tokenizer: &Tokenizer, named: &[&str], frame: &str) -> Result<Self, String> {
        let mut added: Vec<_> = tokenizer.get_added_tokens_decoder().into_iter().collect();
        added.sort_unstable_by_key(|(id, _)| *id);
        let mut tokens: Vec<ControlToken> = Vec::new();
        let (mut patterns, mut of_pattern) = (Vec::new(), Vec::new());
        for (id, token) in &added {
            let text = token.content.as_str();
            let control = token.special
                || named.contains(&text)
                || is_piped(text)
                || (is_bracketed(text) && frame.contains(text));
            of_pattern.push(control.then_some(tokens.len()));
            patterns.push(text);
            if control {
                tokens.push(ControlToken {
                    text: text.to_owned(),
                    id: *id,
                    special: token.special,
                });
            }
        }
        for text in named {
            if let (false, Some(id)) = (patterns.contains(text), tokenizer.token_to_id(text)) {
                of_pattern.push(Some(tokens.len()));
                patterns.push(text);
                tokens.push(ControlToken { text: (*text).to_owned(), id, special: true });
            }
        }
        let ids: HashSet<u32> = tokens.iter().map(|token| token.id).collect();
        let unknown = unknown_id(tokenizer).filter(|id| ids.contains(id));
        let finder =
            LiteralFinder::of(&patterns).map_err(|error| format!("the added tokens: {error}"))?;
        Ok(Self { tokens, finder, of_pattern, ids, unknown })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    pub(crate) fn tokens(&self) -> &[ControlToken] {
        &self.tokens
    }

    /// The control tokens that `text` spells, with their places.
    pub(crate) fn find<'t>(
        &'t self,
        text: &'t [u8],
    ) -> impl Iterator<Item = (Range<usize>, usize)> + 't {
        let found = self.finder.find(text);
        found.filter_map(|(place, pattern)| Some((place, self.of_pattern[pattern]?)))
    }

    /// The ids of the control tokens that `text` spells, in order.
    pub(crate) fn sequence(&self, text: &[u8]) -> Vec<u32> {
        self.find(text).map(|(_, token)| self.tokens[token].id).collect()
    }

    /// The control tokens among `ids`, in order, without the unknown token, which delimits nothing.
    pub(crate) fn of_ids(&self, ids: &[u32]) -> Vec<u32> {
        let control = |id: &&u32| self.ids.contains(id) && Some(**id) != self.unknown;
        ids.iter().filter(control).copied().collect()
    }

    /// True if a control token of the encoding comes from a message: if its text overlaps a byte
    /// of `text` that is 0 in `skeleton`. An unknown word is not a control token, unless the text
    /// spells the unknown token.
    pub(crate) fn in_contents(&self, encoding: &Encoding, text: &str, skeleton: &[u8]) -> bool {
        encoding.get_ids().iter().zip(encoding.get_offsets()).any(|(id, &(start, end))| {
            self.ids.contains(id)
                && skeleton.get(start..end).is_some_and(|bytes| bytes.contains(&0))
                && (self.unknown != Some(*id) || self.spells(*id, &text[start..end]))
        })
    }

    fn spells(&self, id: u32, text: &str) -> bool {
        self.tokens.iter().any(|token| token.id == id && token.text == text.trim())
    }

    /// The punctuation of the control tokens. A text without these characters spells no control
    /// token, and no part of one other than a word.
    pub(crate) fn punctuation(&self) -> HashSet<char> {
        let all = self.tokens.iter().flat_map(|token| token.text.chars());
        all.filter(|letter| !letter.is_alphanumeric() && !letter.is_whitespace()).collect()
    }
}

/// Finds literals in a text: the leftmost, and of these the longest.
pub(crate) struct LiteralFinder(Option<DoubleArrayAhoCorasick<u32>>);

impl LiteralFinder {
    /// A finder of the literals, which differ and are not empty.
    pub(crate) fn of(literals: &[&str]) -> Result<Self, String> {
        if literals.is_empty() {
            return Ok(Self(None));
        }
        DoubleArrayAhoCorasickBuilder::new()
            .match_kind(MatchKind::LeftmostLongest)
            .build(literals)
            .map(|finder| Self(Some(finder)))
            .map_err(|error| error.to_string())
    }

    /// The places of literals in the text, with the literals' numbers.
    pub(crate) fn find<'t>(
        &'t self,
        text: &'t [u8],
    ) -> impl Iterator<Item = (Range<usize>, usize)> + 't {
        let found = self.0.iter().flat_map(move |finder| finder.leftmost_find_iter(text));
        found.map(|found| (found.start()..found.end(), found.value() as usize))
    }
}

impl fmt::Debug for LiteralFinder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiteralFinder")
    }
}

fn is_piped(text: &str) -> bool {
    ["<|", "<｜", "[|", "{|"].iter().any(|start| text.starts_with(start))
        && ["|>", "｜>", "|]", "|}"].iter().any(|end| text.ends_with(end))
}

fn is_bracketed(text: &str) -> bool {
    [('<', '>'), ('[', ']'), ('{', '}'), ('＜', '＞'), ('【', '】')]
        .iter()
        .any(|(start, end)| text.len() > 2 && text.starts_with(*start) && text.ends_with(*end))
}

/// The id that stands for text outside the vocabulary: that of a private-use character.
fn unknown_id(tokenizer: &Tokenizer) -> Option<u32> {
    let pieces = tokenizer.get_model().tokenize(&NAME_MARK.to_string()).ok()?;
    pieces.first().map(|piece| piece.id)
}

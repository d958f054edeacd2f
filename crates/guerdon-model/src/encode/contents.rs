//! The parts of a rendered dialogue that come from its messages.
//!
//! A chat template writes the messages between control tokens such as `<|im_end|>`. A message may
//! spell such a token too, and would then forge a turn. A rendered text does not show which of its
//! characters come from messages. The template is therefore rendered a second time with opaque
//! messages: each character other than white space is replaced by one from a private-use plane.
//! Templates trim, cut and join messages, but most templates do not look inside them. The two texts
//! then agree in everything that the template wrote, and the private-use characters mark the text
//! of the messages.

use std::collections::HashMap;

use crate::encode::control::{ControlTokens, LiteralFinder};
use crate::encode::steps::STEP;
use crate::encode::template::ChatTemplate;
use crate::encode::turns::Turn;

/// A rendered dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DialogueText {
    pub(crate) text: String,
    /// The bytes of `text`, with 0 for those of the messages. White space is never 0.
    pub(crate) skeleton: Vec<u8>,
    /// Set if the template looked into messages, so that `skeleton` does not mark them. The text
    /// then spells no control tokens other than the template's own.
    pub(crate) looked_into: bool,
}

impl DialogueText {
    /// Text that is not from any message.
    pub(crate) fn of_template(text: String) -> Self {
        Self { skeleton: text.clone().into_bytes(), text, looked_into: false }
    }

    /// Replaces a character by text from outside the messages.
    pub(crate) fn replace(&mut self, letter: char, with: &str) {
        let old = std::mem::replace(self, Self::of_template(String::new()));
        self.looked_into = old.looked_into;
        let mut start = 0;
        let places = old.text.match_indices(letter).chain([(old.text.len(), "")]);
        for (place, found) in places {
            self.text.push_str(&old.text[start..place]);
            self.skeleton.extend_from_slice(&old.skeleton[start..place]);
            start = place + found.len();
            if !found.is_empty() {
                self.push_frame(with);
            }
        }
    }

    /// Adds text from outside the messages.
    pub(crate) fn push_frame(&mut self, text: &str) {
        self.text.push_str(text);
        self.skeleton.extend_from_slice(text.as_bytes());
    }

    /// Adds a message's content.
    pub(crate) fn push_content(&mut self, text: &str) {
        self.text.push_str(text);
        for letter in text.chars() {
            let mut bytes = [0; 4];
            let bytes = letter.encode_utf8(&mut bytes).as_bytes();
            match letter.is_whitespace() {
                true => self.skeleton.extend_from_slice(bytes),
                false => self.skeleton.resize(self.skeleton.len() + bytes.len(), 0),
            }
        }
    }
}

/// Renders dialogues and separates the template's text from the messages'.
#[derive(Debug)]
pub(crate) struct ContentTracker {
    /// Strings that the template may look for in a message: its literals without the characters
    /// of control tokens.
    needles: LiteralFinder,
    /// Control tokens that occur in a literal of the template and are not special, such as
    /// `</think>`: templates look for them.
    sought: Vec<bool>,
}

impl ContentTracker {
    pub(crate) fn of(template: &ChatTemplate, control: &ControlTokens) -> Result<Self, String> {
        let punctuation = control.punctuation();
        let plain = |literal: &&String| {
            !literal.trim().is_empty()
                && !literal.chars().any(|letter| punctuation.contains(&letter))
                && !control.tokens().iter().any(|token| token.text.contains(literal.as_str()))
        };
        let needles: Vec<&str> =
            template.literals().iter().filter(plain).map(String::as_str).collect();
        let needles = LiteralFinder::of(&needles)
            .map_err(|error| format!("the template's literals: {error}"))?;
        let sought = control.tokens().iter().map(|token| {
            !token.special && template.literals().iter().any(|text| text.contains(&token.text))
        });
        Ok(Self { needles, sought: sought.collect() })
    }

    /// Renders the turns. The error is the template's refusal, or that the template's own control
    /// tokens cannot be distinguished from those in messages.
    ///
    /// A template that looks into messages renders opaque messages differently. The result is the
    /// first of these candidates that fits:
    /// 1. the text, if it agrees with the text of opaque messages;
    /// 2. the text, if it agrees with the text of messages that are opaque except for the words
    ///    that the template may look for;
    /// 3. the text, if it holds the same control tokens as the text of opaque messages;
    /// 4. the text with the control tokens in messages replaced, except those that the template
    ///    looks for, if the rest holds the same control tokens as the text of opaque messages;
    /// 5. candidate 4 without the exception;
    /// 6. the text of opaque messages, with the characters put back.
    ///
    /// In every candidate, the control tokens outside the messages are those that the template
    /// writes around messages without control tokens.
    pub(crate) fn render(
        &self,
        template: &ChatTemplate,
        control: &ControlTokens,
        turns: &[Turn<'_>],
    ) -> Result<DialogueText, String> {
        let text = template.render(turns)?;
        if control.is_empty() {
            return Ok(DialogueText::of_template(text));
        }
        let mut alphabet = Alphabet::default();
        let blank = covered(template, turns, |content| alphabet.cover(content));
        if let Some(skeleton) = blank.as_ref().ok().and_then(|blank| aligned(&text, blank)) {
            return Ok(DialogueText { text, skeleton, looked_into: false });
        }
        let wordy = covered(template, turns, |content| self.except_needles(content, &mut alphabet));
        if let Some(skeleton) = wordy.as_ref().ok().and_then(|wordy| aligned(&text, wordy)) {
            return Ok(DialogueText { text, skeleton, looked_into: false });
        }
        let Some(safe) = wordy.or(blank).ok() else {
            return Err("the chat template refuses messages whose characters are replaced, so its control \
                        tokens cannot be distinguished from those in messages; change the template, or set \
                        `trusted = true` in [input] if no message can hold control tokens"
                .to_owned());
        };
        let structure = control.sequence(safe.as_bytes());
        if control.sequence(text.as_bytes()) == structure {
            return Ok(DialogueText { looked_into: true, ..DialogueText::of_template(text) });
        }
        for keep_sought in [true, false] {
            let cover = |content: &str| {
                let (mut text, mut end) = (String::with_capacity(content.len() * 2), 0);
                for (place, token) in control.find(content.as_bytes()) {
                    if keep_sought && self.sought[token] {
                        continue;
                    }
                    alphabet.keep(&content[end..place.start], &mut text);
                    text.push_str(&alphabet.cover(&content[place.clone()]));
                    end = place.end;
                }
                alphabet.keep(&content[end..], &mut text);
                text
            };
            if let Ok(rest) = covered(template, turns, cover)
                && control.sequence(rest.as_bytes()) == structure
            {
                return Ok(alphabet.uncover(&rest));
            }
        }
        Ok(alphabet.uncover(&safe))
    }

    fn except_needles(&self, content: &str, alphabet: &mut Alphabet) -> String {
        let (mut text, mut end) = (String::with_capacity(content.len() * 2), 0);
        for (place, _) in self.needles.find(content.as_bytes()) {
            text.push_str(&alphabet.cover(&content[end..place.start]));
            alphabet.keep(&content[place.clone()], &mut text);
            end = place.end;
        }
        text.push_str(&alphabet.cover(&content[end..]));
        text
    }
}

/// True for a character that is not covered: white space, and the mark of a step.
fn stays(letter: char) -> bool {
    letter.is_whitespace() || letter == STEP
}

/// The text of the turns with their contents covered by `cover`.
fn covered(
    template: &ChatTemplate,
    turns: &[Turn<'_>],
    mut cover: impl FnMut(&str) -> String,
) -> Result<String, String> {
    let covered: Vec<Turn<'_>> = turns
        .iter()
        .map(|turn| Turn { role: turn.role, content: cover(&turn.content).into() })
        .collect();
    template.render(&covered)
}

/// The skeleton of `text`, if it differs from `covered` only in covered characters.
fn aligned(text: &str, covered: &str) -> Option<Vec<u8>> {
    let mut skeleton = Vec::with_capacity(text.len());
    let mut others = covered.chars();
    for letter in text.chars() {
        match others.next()? {
            cover if cover >= COVER => skeleton.resize(skeleton.len() + letter.len_utf8(), 0),
            same if same == letter => {
                skeleton.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => return None,
        }
    }
    others.next().is_none().then_some(skeleton)
}

/// The first character that covers others. Those beyond it are private too.
const COVER: char = '\u{F0000}';

/// The number of covers: the private-use planes without the characters that Unicode reserves and
/// the mark of names.
const COVERS: u32 = 0x1_FFF0;

/// Covers characters with private-use ones, a different one for each.
#[derive(Debug, Default)]
struct Alphabet {
    covers: HashMap<char, char>,
    letters: HashMap<char, char>,
}

impl Alphabet {
    /// The text with each character covered, except white space.
    fn cover(&mut self, text: &str) -> String {
        text.chars().map(|letter| if stays(letter) { letter } else { self.of(letter) }).collect()
    }

    /// Appends the text as it is. Private-use characters are covered, so as not to be taken for
    /// covers.
    fn keep(&mut self, text: &str, onto: &mut String) {
        onto.extend(text.chars().map(
            |letter| {
                if letter < COVER { letter } else { self.of(letter) }
            },
        ));
    }

    fn of(&mut self, letter: char) -> char {
        if let Some(cover) = self.covers.get(&letter) {
            return *cover;
        }
        // Beyond the number of covers, which no real text reaches, letters share one.
        let number = u32::try_from(self.covers.len()).unwrap_or(COVERS).min(COVERS);
        // The last two characters of a plane are reserved.
        let skip = if number >= 0xFFFE { 2 } else { 0 };
        let cover = char::from_u32(u32::from(COVER) + number + skip).unwrap_or(COVER);
        self.covers.insert(letter, cover);
        self.letters.entry(cover).or_insert(letter);
        cover
    }

    /// The text with its letters put back, which are the messages'.
    fn uncover(&self, covered: &str) -> DialogueText {
        let mut rendered = DialogueText::of_template(String::with_capacity(covered.len()));
        for cover in covered.chars() {
            match self.letters.get(&cover) {
                Some(letter) => rendered.push_content(letter.encode_utf8(&mut [0; 4])),
                None => rendered.push_frame(cover.encode_utf8(&mut [0; 4])),
            }
        }
        rendered
    }
}

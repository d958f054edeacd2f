//! When two questions are the same: a hash of everything that decides the answer.
//!
//! Everything is taken apart by name below, so that a new field does not compile until someone decides whether it
//! belongs to the question. How the endpoint wants the form spelt (its [`Offer`](crate::wire::Offer)) does not: it is
//! found out while asking, and the answer has to pass the same checks either way. Nor does the secret behind a block's
//! name, of which nothing in an answer depends.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::prompt::{Criterion, Rubric, Scoring, hex};
use crate::render::ChatMessage;

/// Counts changes to how answers are read or messages are laid out that the hashed bytes do not show.
const READER: u32 = 2;

/// One question to a judge.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) rubric: std::sync::Arc<Rubric>,
    /// Which of the rubric's criteria are asked, in their order.
    pub(crate) order: Vec<usize>,
    pub(crate) messages: Vec<ChatMessage>,
    /// The name of the judged turn's block.
    pub(crate) tag: String,
    /// Tells repeated samples of one question apart; 0 while there is one.
    pub(crate) sample: u32,
}

impl Question {
    /// The criteria that are asked, in their order.
    pub(crate) fn criteria(&self) -> Vec<&Criterion> {
        self.order.iter().filter_map(|index| self.rubric.criteria.get(*index)).collect()
    }

    /// The criterion that is to be answered with a letter, if that is how the rubric is scored.
    pub(crate) fn letter(&self) -> Option<&Criterion> {
        let first = self.order.first().filter(|_| self.rubric.scoring == Scoring::Expected)?;
        self.rubric.criteria.get(*first)
    }
}

/// Who is asked.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) url: String,
    pub(crate) model: String,
    pub(crate) extra_body: serde_json::Map<String, serde_json::Value>,
    pub(crate) read_reasoning: bool,
}

/// A question's hash; in hexadecimal where it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Key([u8; 32]);

impl Key {
    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        hex(&key.0)
    }
}

impl TryFrom<String> for Key {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err("a key has 64 hexadecimal digits");
        }
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            let digits = text.get(at..at + 2).unwrap_or_default();
            *byte = u8::from_str_radix(digits, 16).map_err(|_| "a key has 64 hexadecimal digits")?;
        }
        Ok(Self(bytes))
    }
}

/// The key of `question` put to `identity`.
pub(crate) fn of(identity: &Identity, question: &Question) -> Key {
    let Identity { url, model, extra_body, read_reasoning } = identity;
    let Question { rubric, order, messages, tag, sample } = question;
    // The hash stands for every word of the file: version, criteria and their points, limits, examples.
    let Rubric {
        id,
        hash,
        max_tokens,
        temperature,
        about: _,
        version: _,
        sealed: _,
        grouping: _,
        scoring: _,
        samples: _,
        shuffle: _,
        criteria: _,
        examples: _,
        probes: _,
        context: _,
        body: _,
    } = &**rubric;
    let mut hasher = Sha256::new();
    let mut part = |bytes: &[u8]| {
        // Each part's length goes first: else ("ab", "c") would be ("a", "bc").
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(&READER.to_le_bytes());
    part(url.as_bytes());
    part(model.as_bytes());
    part(&json(extra_body));
    part(&[u8::from(*read_reasoning)]);
    part(id.as_bytes());
    part(hash.as_bytes());
    part(&max_tokens.to_le_bytes());
    part(&temperature.to_le_bytes());
    part(&json(order));
    part(&sample.to_le_bytes());
    for ChatMessage { role, content } in messages {
        part(role.as_bytes());
        // The tag is made of the text and of a secret. The text is in the key; the secret must not be, or a restart
        // would buy everything again.
        for piece in content.split(tag.as_str()) {
            part(piece.as_bytes());
        }
    }
    Key(hasher.finalize().into())
}

/// JSON with text keys always has a text; an unlikely failure must not make two questions the same, so it says itself.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|error| error.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{PromptText, Prompts};

    fn question() -> Question {
        let text = include_str!("../../../judge-prompts/empathy.md").to_owned();
        let texts = [PromptText { name: "empathy.md".to_owned(), text }];
        let (prompts, _) = Prompts::compile(&texts).unwrap();
        let message = |role, content: &str| ChatMessage { role, content: content.to_owned() };
        let messages = vec![message("system", "s"), message("user", "u <turn-1>x</turn-1>")];
        let (order, tag) = (vec![0, 1], "turn-1".to_owned());
        Question { rubric: Arc::clone(&prompts.rubrics()[0]), order, messages, tag, sample: 0 }
    }

    fn identity() -> Identity {
        let (url, model) = ("http://h/v1".to_owned(), "m".to_owned());
        Identity { url, model, extra_body: serde_json::Map::new(), read_reasoning: false }
    }

    #[test]
    fn a_key_is_written_and_read_back() {
        let key = of(&identity(), &question());
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!(text.len(), 66);
        assert_eq!(serde_json::from_str::<Key>(&text).unwrap(), key);
        for bad in ["\"ab\"".to_owned(), text.replace(&text[1..3], "+1"), format!("\"{}\"", "é".repeat(32))]
        {
            assert!(serde_json::from_str::<Key>(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn whatever_is_asked_or_who_is_asked_changes_the_key() {
        let key = of(&identity(), &question());
        assert_eq!(key, of(&identity(), &question()));
        assert_ne!(key, of(&Identity { model: "n".to_owned(), ..identity() }, &question()));
        assert_ne!(key, of(&Identity { url: "http://i/v1".to_owned(), ..identity() }, &question()));
        assert_ne!(key, of(&identity(), &Question { sample: 1, ..question() }));
        assert_ne!(key, of(&identity(), &Question { order: vec![1, 0], ..question() }));
        let mut seeded = identity();
        seeded.extra_body.insert("seed".to_owned(), 7.into());
        assert_ne!(key, of(&seeded, &question()));
        let mut moved = question();
        moved.messages[0].content = "su".to_owned();
        moved.messages[1].content = String::new();
        assert_ne!(key, of(&identity(), &moved));
    }

    #[test]
    fn another_secret_behind_the_tag_is_the_same_question() {
        let mut other = question();
        other.tag = "turn-2".to_owned();
        other.messages[1].content = other.messages[1].content.replace("turn-1", "turn-2");
        assert_eq!(of(&identity(), &question()), of(&identity(), &other));
        other.messages[1].content = other.messages[1].content.replace('x', "y");
        assert_ne!(of(&identity(), &question()), of(&identity(), &other));
    }
}

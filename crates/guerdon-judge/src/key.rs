//! When two questions are the same: a hash of everything that decides the answer.
//!
//! Everything is taken apart by name below, so that a new field does not compile until someone decides whether it
//! belongs to the question. How the endpoint wants the form spelt (its [`Offer`](crate::wire::Offer)) does not: it is
//! found out while asking, and the answer has to pass the same checks either way.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::prompt::Rubric;
use crate::render::ChatMessage;

/// Counts changes to how answers are read or messages are laid out that the hashed bytes do not show.
const READER: u32 = 1;

/// One question to a judge.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) rubric: std::sync::Arc<Rubric>,
    pub(crate) messages: Vec<ChatMessage>,
    /// Tells repeated samples of one question apart; 0 while there is one.
    pub(crate) sample: u32,
}

/// Who is asked.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) url: String,
    pub(crate) model: String,
    pub(crate) extra_body: serde_json::Map<String, serde_json::Value>,
    pub(crate) read_reasoning: bool,
}

/// A question's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 32]);

/// The key of `question` put to `identity`.
pub(crate) fn of(identity: &Identity, question: &Question) -> Key {
    let Identity { url, model, extra_body, read_reasoning } = identity;
    let Question { rubric, messages, sample } = question;
    // The hash stands for every word of the file: criteria and their points, schema, limits and version.
    let Rubric {
        id,
        hash,
        max_tokens,
        temperature,
        schema,
        about: _,
        version: _,
        criteria: _,
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
    part(&json(schema));
    part(&sample.to_le_bytes());
    for ChatMessage { role, content } in messages {
        part(role.as_bytes());
        part(content.as_bytes());
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
        let messages = vec![message("system", "s"), message("user", "u")];
        Question { rubric: Arc::clone(&prompts.rubrics()[0]), messages, sample: 0 }
    }

    fn identity() -> Identity {
        let (url, model) = ("http://h/v1".to_owned(), "m".to_owned());
        Identity { url, model, extra_body: serde_json::Map::new(), read_reasoning: false }
    }

    #[test]
    fn whatever_is_asked_or_who_is_asked_changes_the_key() {
        let key = of(&identity(), &question());
        assert_eq!(key, of(&identity(), &question()));
        assert_ne!(key, of(&Identity { model: "n".to_owned(), ..identity() }, &question()));
        assert_ne!(key, of(&Identity { url: "http://i/v1".to_owned(), ..identity() }, &question()));
        assert_ne!(key, of(&identity(), &Question { sample: 1, ..question() }));
        let mut seeded = identity();
        seeded.extra_body.insert("seed".to_owned(), 7.into());
        assert_ne!(key, of(&seeded, &question()));
        let mut moved = question();
        moved.messages[0].content = "su".to_owned();
        moved.messages[1].content = String::new();
        assert_ne!(key, of(&identity(), &moved));
    }
}

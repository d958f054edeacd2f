//! One turn that is asked, and the key under which its answer is kept.

use std::fmt;
use std::sync::Arc;

use guerdon_text::hex;
use sha2::{Digest as _, Sha256};

use super::dialogue::DialogueJson;

/// The hash of everything that an answer may depend on: the messages up to the turn, the context
/// and the tools, or the text made of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TurnKey(pub(crate) [u8; 32]);

impl TurnKey {
    /// The key of a text, or of a pair of texts.
    pub(crate) fn of_texts(texts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for text in texts {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        Self(hash.finalize().into())
    }

    /// The key as 64 hexadecimal digits.
    pub(crate) fn to_hex(self) -> String {
        hex(&self.0)
    }
}

impl fmt::Debug for TurnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// The content of one turn, in the form that the protocol sends.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    /// A dialogue and the index of the asked message.
    Dialogue { dialogue: Arc<DialogueJson>, message: usize },
    /// A text.
    Text(String),
    /// A prompt and a reply to it.
    Pair { prompt: String, reply: String },
}

impl Payload {
    /// The index of the asked message, if the dialogue is sent.
    pub(crate) const fn message(&self) -> Option<usize> {
        match self {
            Self::Dialogue { message, .. } => Some(*message),
            Self::Text(_) | Self::Pair { .. } => None,
        }
    }

    /// True if both are sent with the same dialogue.
    pub(crate) fn has_dialogue_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dialogue { dialogue, .. }, Self::Dialogue { dialogue: other, .. }) => {
                Arc::ptr_eq(dialogue, other)
            }
            _ => false,
        }
    }

    /// The approximate size in a request, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Dialogue { dialogue, message } => dialogue.bytes(*message),
            Self::Text(text) => text.len(),
            Self::Pair { prompt, reply } => prompt.len() + reply.len(),
        }
    }
}

/// One turn that is asked.
#[derive(Debug, Clone)]
pub(crate) struct AskedTurn {
    pub(crate) key: TurnKey,
    pub(crate) payload: Payload,
}

impl AskedTurn {
    /// A turn that is sent as a text.
    pub(crate) fn text(text: String) -> Self {
        Self { key: TurnKey::of_texts(&[&text]), payload: Payload::Text(text) }
    }

    /// A turn that is sent as a prompt and a reply.
    pub(crate) fn pair(prompt: String, reply: String) -> Self {
        Self {
            key: TurnKey::of_texts(&[&prompt, &reply]),
            payload: Payload::Pair { prompt, reply },
        }
    }

    /// A turn that is sent with its dialogue.
    pub(crate) fn of(dialogue: &Arc<DialogueJson>, message: usize) -> Self {
        let payload = Payload::Dialogue { dialogue: Arc::clone(dialogue), message };
        Self { key: dialogue.key(message), payload }
    }
}

//! One turn that is asked.

use std::sync::Arc;

use super::dialogue::DialogueJson;
use super::key::TurnKey;

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

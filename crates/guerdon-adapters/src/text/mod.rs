//! From the texts and messages that trainers send to dialogues.

mod dialogue;
mod messages;

pub(crate) use self::dialogue::{ForeignDialogue, continued, of_messages, reply_to, split, whole};
pub(crate) use self::messages::{ForeignMessage, facts, read, text_of};

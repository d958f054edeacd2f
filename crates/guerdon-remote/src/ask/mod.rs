//! Turns that are asked, their answers, and the collection of turns into calls.

mod answer;
mod cache;
mod collector;
mod dialogue;
mod key;
mod turn;
mod wire;

pub(crate) use self::answer::{Silence, TurnAnswer};
pub(crate) use self::collector::{Collector, CollectorConfig, TurnOutcome};
pub(crate) use self::dialogue::DialogueJson;
pub(crate) use self::turn::{AskedTurn, Payload};
pub(crate) use self::wire::{BatchReply, Wire};

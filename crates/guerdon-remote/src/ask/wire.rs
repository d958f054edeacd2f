//! The interface of a protocol: the turns that it sends, its requests and its replies.

use std::fmt;
use std::sync::Arc;

use guerdon_types::Rollout;
use reqwest::header::HeaderMap;

use super::answer::{Silence, TurnAnswer};
use super::dialogue::DialogueJson;
use super::turn::AskedTurn;

/// A reply that has the form of the protocol.
#[derive(Debug)]
pub(crate) struct BatchReply {
    /// The version that the other side declared.
    pub(crate) version: Option<Arc<str>>,
    /// One answer for each turn of the request, in order.
    pub(crate) answers: Vec<Result<TurnAnswer, Silence>>,
}

/// A protocol.
pub(crate) trait Wire: fmt::Debug + Send + Sync + 'static {
    /// The largest number of turns in one request.
    fn most_turns(&self) -> usize;

    /// The turn of `rollout` at the index `message`, in the form that is sent.
    fn turn(
        &self,
        rollout: &Rollout,
        dialogue: &Arc<DialogueJson>,
        message: usize,
    ) -> Result<AskedTurn, Silence>;

    /// The body of a request about `turns`.
    fn request(&self, turns: &[AskedTurn]) -> Vec<u8>;

    /// Headers of a request beside those of every request.
    fn headers(&self, turns: &[AskedTurn], body: &[u8]) -> HeaderMap {
        let _ = (turns, body);
        HeaderMap::new()
    }

    /// Reads the reply to a request about `turns` turns.
    ///
    /// # Errors
    /// The fault of a body that is not of this protocol.
    fn reply(&self, body: &[u8], turns: usize) -> Result<BatchReply, String>;
}

//! The texts of asked turns, and the outputs in a reply, in the types that all protocols use.

use serde::de::DeserializeOwned;

use crate::ask::{AskedTurn, Payload, Silence};

/// The outputs of the model about one turn.
#[derive(Debug)]
pub(crate) enum Raw {
    Numbers(Vec<f64>),
    Silent(Silence),
}

/// Reads a reply as `T`.
pub(super) fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body)
        .map_err(|error| format!("the reply is not of the protocol: {error}"))
}

/// The rendered texts of `turns`.
pub(super) fn texts(turns: &[AskedTurn]) -> Vec<&str> {
    let texts = turns.iter().filter_map(|turn| match &turn.payload {
        Payload::Text(text) => Some(text.as_str()),
        Payload::Pair { .. } | Payload::Dialogue { .. } => None,
    });
    texts.collect()
}

/// The prompts and the replies of `turns`.
pub(super) fn pairs(turns: &[AskedTurn]) -> (Vec<&str>, Vec<&str>) {
    let pairs = turns.iter().filter_map(|turn| match &turn.payload {
        Payload::Pair { prompt, reply } => Some((prompt.as_str(), reply.as_str())),
        Payload::Text(_) | Payload::Dialogue { .. } => None,
    });
    pairs.unzip()
}

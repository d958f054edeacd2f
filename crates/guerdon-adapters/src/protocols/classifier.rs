//! Shared by the servers of sequence classifiers: the timeout, the label, and texts to score.

use std::time::Duration;

use guerdon_types::Context;
use serde::Deserialize;

use crate::score::{Item, OnFailure, Protocol, ScoreCall};
use crate::service::ApiError;
use crate::text::whole;

/// verl sets no timeout and repeats every reply but a 4xx up to sixteen times. Infinity's generated
/// client waits five minutes.
pub(super) const PROTOCOL: Protocol = Protocol {
    client: "verl",
    client_timeout: Duration::from_secs(300),
    on_failure: OnFailure::Error,
};

/// The label of a classifier with one label.
pub(super) const LABEL: &str = "LABEL_0";

/// One text, or several.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(
    untagged,
    expecting = "expected a text or a list of texts; tokens of the client's model cannot be read here"
)]
pub(super) enum Texts {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Texts {
    /// Takes the texts out. The emptied value still distinguishes one text from a list, which
    /// decides the form of some replies.
    pub(super) fn take(&mut self) -> Self {
        let emptied = match self {
            Self::One(_) => Self::One(String::new()),
            Self::Several(_) => Self::Several(Vec::new()),
        };
        std::mem::replace(self, emptied)
    }

    pub(super) fn list(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Several(texts) => texts,
        }
    }
}

/// The dialogue of each text.
pub(super) async fn text_items(call: &ScoreCall, texts: Texts) -> Result<Vec<Item>, ApiError> {
    let texts = texts.list();
    call.check_count(texts.len())?;
    call.compute(move |options| {
        let item = |text: &String| Item::text(whole(text, options.thoughts), Context::new());
        texts.iter().map(item).collect()
    })
    .await
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

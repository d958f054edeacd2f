//! vLLM's classification, pooling and pair scores, with raw outputs (`use_activation`). Text inputs
//! come in batches; messages come alone, and the server renders them with the model's own template.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::exchange::{Raw, pairs, parsed, texts};
use super::numbers::NumberList;
use crate::ask::AskedTurn;

#[derive(Deserialize)]
struct VllmList<T> {
    data: Vec<T>,
}

#[derive(Deserialize)]
struct VllmEntry<T> {
    #[serde(default)]
    index: Option<usize>,
    #[serde(flatten)]
    output: T,
}

#[derive(Deserialize)]
struct Probs {
    probs: NumberList,
}

#[derive(Deserialize)]
struct PoolingData {
    data: NumberList,
}

#[derive(Deserialize)]
struct Score {
    score: NumberList,
}

fn with_model(model: Option<&str>, mut body: Map<String, Value>) -> Vec<u8> {
    if let Some(model) = model {
        body.insert("model".to_owned(), model.into());
    }
    body.insert("use_activation".to_owned(), false.into());
    Value::Object(body).to_string().into_bytes()
}

/// A request of `/classify` and `/pooling` about texts.
pub(super) fn classify(model: Option<&str>, turns: &[AskedTurn]) -> Vec<u8> {
    with_model(model, Map::from_iter([("input".to_owned(), json!(texts(turns)))]))
}

/// A request of `/classify` and `/pooling` about `messages`, a list in JSON.
pub(super) fn classify_messages(model: Option<&str>, messages: &str) -> Vec<u8> {
    let mut body = format!("{{\"messages\":{messages},").into_bytes();
    let rest = with_model(model, Map::new());
    body.extend_from_slice(rest.get(1..).unwrap_or_default());
    body
}

/// A request of `/score`.
pub(super) fn score(model: Option<&str>, turns: &[AskedTurn]) -> Vec<u8> {
    let (prompts, replies) = pairs(turns);
    let body = [("text_1".to_owned(), json!(prompts)), ("text_2".to_owned(), json!(replies))];
    with_model(model, Map::from_iter(body))
}

pub(super) fn read_classify(body: &[u8]) -> Result<Vec<Raw>, String> {
    let reply: VllmList<VllmEntry<Probs>> = parsed(body)?;
    in_order(reply, |output| output.probs)
}

pub(super) fn read_pooling(body: &[u8]) -> Result<Vec<Raw>, String> {
    let reply: VllmList<VllmEntry<PoolingData>> = parsed(body)?;
    in_order(reply, |output| output.data)
}

pub(super) fn read_score(body: &[u8]) -> Result<Vec<Raw>, String> {
    let reply: VllmList<VllmEntry<Score>> = parsed(body)?;
    in_order(reply, |output| output.score)
}

fn in_order<T>(
    mut reply: VllmList<VllmEntry<T>>,
    numbers: impl Fn(T) -> NumberList,
) -> Result<Vec<Raw>, String> {
    reply.data.sort_by_key(|entry| entry.index);
    Ok(reply.data.into_iter().map(|entry| numbers(entry.output).raw()).collect())
}

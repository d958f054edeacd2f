//! The request to a function: the dialogues, each once, and the turns that are asked.

use std::sync::Arc;

use guerdon_types::{Rollout, SourceId};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::reply;
use super::signature::signature;
use crate::ask::{AskedTurn, BatchReply, DialogueJson, Payload, Silence, Wire};

/// The header with the signature of the body.
const SIGNATURE: HeaderName = HeaderName::from_static("x-guerdon-signature");
/// The header with a key that is equal for the retries of one call.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The protocol of a user's function.
#[derive(Debug)]
pub(super) struct FunctionWire {
    pub(super) source: SourceId,
    pub(super) batch: usize,
    pub(super) secret: Option<SecretString>,
}

impl FunctionWire {
    /// The same for every attempt at the same turns.
    fn idempotency_key(&self, turns: &[AskedTurn]) -> String {
        let mut hash = Sha256::new();
        hash.update(self.source.as_str());
        for turn in turns {
            hash.update(turn.key.0);
        }
        let digest: [u8; 32] = hash.finalize().into();
        guerdon_text::hex(digest.get(..16).unwrap_or(&digest))
    }
}

impl Wire for FunctionWire {
    fn most_turns(&self) -> usize {
        self.batch
    }

    fn turn(
        &self,
        _: &Rollout,
        dialogue: &Arc<DialogueJson>,
        message: usize,
    ) -> Result<AskedTurn, Silence> {
        Ok(AskedTurn::of(dialogue, message))
    }

    fn request(&self, turns: &[AskedTurn]) -> Vec<u8> {
        let bytes: usize = turns.iter().map(|turn| turn.payload.bytes() + 128).sum();
        let mut body = Vec::with_capacity(bytes + 128);
        body.extend_from_slice(b"{\"source\":");
        body.extend_from_slice(Value::from(self.source.as_str()).to_string().as_bytes());
        body.extend_from_slice(b",\"request_id\":\"");
        body.extend_from_slice(self.idempotency_key(turns).as_bytes());
        body.extend_from_slice(b"\",\"dialogues\":[");
        let mut asked = Vec::with_capacity(turns.len() * 100);
        let groups = turns.chunk_by(|one, other| one.payload.has_dialogue_of(&other.payload));
        for (index, group) in groups.enumerate() {
            if index > 0 {
                body.push(b',');
            }
            let messages = group.iter().filter_map(|turn| turn.payload.message());
            if let Some(Payload::Dialogue { dialogue, message }) =
                group.first().map(|turn| &turn.payload)
            {
                dialogue.put(messages.max().unwrap_or(*message), &mut body);
            }
            for turn in group {
                if !asked.is_empty() {
                    asked.push(b',');
                }
                let message = turn.payload.message().unwrap_or_default();
                let id = turn.key.to_hex();
                let one = format!("{{\"id\":\"{id}\",\"dialogue\":{index},\"message\":{message}}}");
                asked.extend_from_slice(one.as_bytes());
            }
        }
        body.extend_from_slice(b"],\"turns\":[");
        body.append(&mut asked);
        body.extend_from_slice(b"]}");
        body
    }

    fn headers(&self, turns: &[AskedTurn], body: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Ok(key) = HeaderValue::from_str(&self.idempotency_key(turns)) {
            headers.insert(IDEMPOTENCY_KEY, key);
        }
        let signed = self.secret.as_ref().and_then(|secret| signature(secret, body));
        if let Some(Ok(signed)) = signed.map(|signed| HeaderValue::from_str(&signed)) {
            headers.insert(SIGNATURE, signed);
        }
        headers
    }

    fn reply(&self, body: &[u8], _: usize) -> Result<BatchReply, String> {
        reply::read(body)
    }
}

#[cfg(test)]
mod tests {
    use guerdon_types::{Message, Role};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn wire() -> FunctionWire {
        FunctionWire { source: "pricing".into(), batch: 8, secret: None }
    }

    fn dialogue(texts: &[String]) -> Arc<DialogueJson> {
        let messages = texts.iter().map(|text| Message::new(Role::Assistant, text.clone()));
        let rollout = Rollout { messages: messages.collect(), ..Rollout::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let written = runtime.block_on(DialogueJson::write(&rollout, texts.len() - 1));
        Arc::new(written.unwrap())
    }

    proptest! {
        /// Each dialogue is in the body once, up to its last asked turn, and each turn names its
        /// dialogue and its message.
        #[test]
        fn a_request_holds_each_dialogue_once_and_the_turns_in_order(
            dialogues in proptest::collection::vec(
                (proptest::collection::vec("\\PC{0,6}", 1..5), proptest::collection::vec(0usize..5, 1..4)),
                1..5,
            ),
        ) {
            let mut turns = Vec::new();
            let mut expected = Vec::new();
            for (texts, asked) in &dialogues {
                let dialogue = dialogue(texts);
                let asked: std::collections::BTreeSet<usize> =
                    asked.iter().map(|index| index % texts.len()).collect();
                turns.extend(asked.iter().map(|message| AskedTurn::of(&dialogue, *message)));
                expected.push((texts, asked));
            }
            let body: Value = serde_json::from_slice(&wire().request(&turns)).unwrap();
            prop_assert_eq!(&body["source"], &json!("pricing"));
            prop_assert_eq!(body["dialogues"].as_array().unwrap().len(), dialogues.len());
            let mut place = 0;
            for (index, (texts, asked)) in expected.iter().enumerate() {
                let last = *asked.last().unwrap();
                let sent = body["dialogues"][index]["messages"].as_array().unwrap();
                let contents: Vec<&str> = sent.iter().map(|m| m["content"].as_str().unwrap()).collect();
                prop_assert_eq!(&contents[..], &texts[..=last]);
                for message in asked {
                    let turn = &body["turns"][place];
                    prop_assert_eq!(&turn["dialogue"], &json!(index));
                    prop_assert_eq!(&turn["message"], &json!(message));
                    prop_assert_eq!(&turn["id"], &json!(turns[place].key.to_hex()));
                    place += 1;
                }
            }
            prop_assert_eq!(body["turns"].as_array().unwrap().len(), place);
        }
    }

    #[test]
    fn retries_of_the_same_turns_have_the_same_key() {
        let turn = |text: &str| AskedTurn::of(&dialogue(&[text.to_owned()]), 0);
        let key = |turns: &[AskedTurn]| wire().headers(turns, b"")["idempotency-key"].clone();
        assert_eq!(key(&[turn("a"), turn("b")]), key(&[turn("a"), turn("b")]));
        assert_ne!(key(&[turn("a"), turn("b")]), key(&[turn("a")]));
    }
}

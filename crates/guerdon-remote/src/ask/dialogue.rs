//! A dialogue as JSON, written once and sent up to any of its messages.

use guerdon_types::Rollout;
use sha2::{Digest as _, Sha256};

use super::key::TurnKey;

/// The amount of work after which other tasks get a turn, in bytes.
const YIELD_EVERY: usize = 64 << 10;

/// The JSON of a dialogue's messages, and of the rest of its rollout.
#[derive(Debug)]
pub(crate) struct DialogueJson {
    /// The members `rollout` and `group`, each followed by a comma.
    head: Vec<u8>,
    /// The messages, separated by commas.
    messages: Vec<u8>,
    /// The members `context` and `tools`, each after a comma.
    tail: Vec<u8>,
    /// The end of each message in `messages`, and the key of a question about it.
    marks: Vec<(usize, TurnKey)>,
}

impl DialogueJson {
    /// Writes the messages of `rollout` up to the message `last`. Other tasks get a turn after each
    /// 64 KiB.
    ///
    /// # Errors
    /// A part of the rollout cannot be written as JSON.
    pub(crate) async fn write(rollout: &Rollout, last: usize) -> serde_json::Result<Self> {
        let (mut head, mut tail) = (Vec::new(), Vec::new());
        if let Some(id) = &rollout.id {
            member(&mut head, b"\"rollout\":", id)?;
            head.push(b',');
        }
        if let Some(group) = &rollout.group {
            member(&mut head, b"\"group\":", group)?;
            head.push(b',');
        }
        if !rollout.context.is_empty() {
            member(&mut tail, b",\"context\":", &rollout.context)?;
        }
        if !rollout.tools.is_empty() {
            member(&mut tail, b",\"tools\":", &rollout.tools)?;
        }
        let mut hash = Sha256::new();
        let mut paced = HashPace::default();
        paced.update(&mut hash, &tail).await;
        let mut messages = Vec::new();
        let mut marks = Vec::new();
        for message in rollout.messages.iter().take(last.saturating_add(1)) {
            if !messages.is_empty() {
                messages.push(b',');
            }
            let start = messages.len();
            serde_json::to_writer(&mut messages, message)?;
            // JSON of one line: no two dialogues have the same bytes.
            hash.update(b"\n");
            paced.update(&mut hash, messages.get(start..).unwrap_or_default()).await;
            marks.push((messages.len(), TurnKey(hash.clone().finalize().into())));
        }
        Ok(Self { head, messages, tail, marks })
    }

    /// The key of a question about the message `message`.
    pub(crate) fn key(&self, message: usize) -> TurnKey {
        self.marks.get(message).map_or(TurnKey([0; 32]), |(_, key)| *key)
    }

    /// The messages up to `last`, without brackets.
    fn up_to(&self, last: usize) -> &[u8] {
        let end = self.marks.get(last).map_or(self.messages.len(), |(end, _)| *end);
        self.messages.get(..end).unwrap_or_default()
    }

    /// The approximate size in bytes up to the message `last`.
    pub(crate) fn bytes(&self, last: usize) -> usize {
        self.head.len() + self.up_to(last).len() + self.tail.len() + 96
    }

    /// Writes the object of this dialogue up to the message `last`, with the names of the rollout
    /// and its group.
    pub(crate) fn put(&self, last: usize, body: &mut Vec<u8>) {
        body.push(b'{');
        body.extend_from_slice(&self.head);
        self.put_members(last, body);
        body.push(b'}');
    }

    /// Writes the members `messages`, `context` and `tools`.
    pub(crate) fn put_members(&self, last: usize, body: &mut Vec<u8>) {
        body.extend_from_slice(b"\"messages\":[");
        body.extend_from_slice(self.up_to(last));
        body.push(b']');
        body.extend_from_slice(&self.tail);
    }
}

fn member(out: &mut Vec<u8>, name: &[u8], value: &impl serde::Serialize) -> serde_json::Result<()> {
    out.extend_from_slice(name);
    serde_json::to_writer(out, value)
}

/// Hashes in blocks, and lets other tasks run between them.
#[derive(Debug, Default)]
struct HashPace {
    done: usize,
}

impl HashPace {
    async fn update(&mut self, hash: &mut Sha256, bytes: &[u8]) {
        for block in bytes.chunks(YIELD_EVERY) {
            hash.update(block);
            self.done += block.len();
            if self.done >= YIELD_EVERY {
                self.done = 0;
                tokio::task::yield_now().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use guerdon_types::{Message, Role};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn block<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn rollout(texts: &[String], context: &Value) -> Rollout {
        let messages = texts.iter().map(|text| Message::new(Role::Assistant, text.clone()));
        let context = context.as_object().cloned().unwrap_or_default();
        Rollout { messages: messages.collect(), context, ..Rollout::default() }
    }

    fn written(dialogue: &DialogueJson, last: usize) -> Value {
        let mut body = Vec::new();
        dialogue.put(last, &mut body);
        serde_json::from_slice(&body).unwrap()
    }

    proptest! {
        #[test]
        fn a_prefix_is_the_dialogue_of_its_messages_with_the_same_key(
            texts in proptest::collection::vec("\\PC{0,12}", 1..6),
            at in 0usize..6,
            fact in "\\PC{0,6}",
        ) {
            let at = at.min(texts.len() - 1);
            let context = json!({ "fact": fact });
            let whole = block(DialogueJson::write(&rollout(&texts, &context), texts.len() - 1)).unwrap();
            let short = rollout(&texts[..=at], &context);
            let prefix = block(DialogueJson::write(&short, at)).unwrap();
            prop_assert_eq!(whole.key(at), prefix.key(at));
            let json = written(&whole, at);
            prop_assert_eq!(&json, &written(&prefix, at));
            prop_assert_eq!(&json["messages"], &serde_json::to_value(&short.messages).unwrap());
            prop_assert_eq!(&json["context"], &context);
        }

        #[test]
        fn another_content_has_another_key(
            texts in proptest::collection::vec("[ab]{0,3}", 1..4),
            others in proptest::collection::vec("[ab]{0,3}", 1..4),
            (fact, other_fact) in (0u8..2, 0u8..2),
        ) {
            let key = |texts: &[String], fact: u8| {
                let rollout = rollout(texts, &json!({ "fact": fact }));
                block(DialogueJson::write(&rollout, texts.len() - 1)).unwrap().key(texts.len() - 1)
            };
            let same = texts == others && fact == other_fact;
            prop_assert_eq!(key(&texts, fact) == key(&others, other_fact), same);
        }
    }

    #[test]
    fn names_of_rollout_and_group_are_sent_and_do_not_change_the_key() {
        let plain = rollout(&["a".to_owned()], &Value::Null);
        let named = Rollout { id: Some("r-17".into()), group: Some("g".into()), ..plain.clone() };
        let (plain, named) = (
            block(DialogueJson::write(&plain, 0)).unwrap(),
            block(DialogueJson::write(&named, 0)).unwrap(),
        );
        assert_eq!(plain.key(0), named.key(0));
        let json = written(&named, 0);
        assert_eq!((&json["rollout"], &json["group"]), (&json!("r-17"), &json!("g")));
        assert_eq!(
            written(&plain, 0),
            json!({ "messages": [{ "role": "assistant", "content": "a" }] })
        );
    }
}

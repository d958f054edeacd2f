//! Chat-template text back to turns. Many clients send a dialogue only as the text that their policy read and wrote, with
//! the template's marks still in it.
//!
//! Where the client sends the prompt beside the text, everything after it is the policy's one reply, whatever marks it
//! contains: a policy that writes `<|im_start|>user` into its reply has not made the partner speak. Where only the whole
//! text is known that cannot be told apart.

use guerdon_types::{Message, Role};

use super::choices::Thoughts;

mod templates;

use templates::Turn;

/// A text as a dialogue.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dialogue {
    pub(crate) messages: Vec<Message>,
    /// Whether its turns were found; if not, a whole text stands for one turn.
    pub(crate) recognised: bool,
    /// Whether a `<think>` block was dropped from the reply.
    pub(crate) thought: bool,
}

/// The dialogue of `query`, the text of prompt and reply, with the `prompt` alone where the client sent it.
pub(crate) fn split(query: &str, prompt: Option<&str>, thoughts: Thoughts) -> Dialogue {
    match prompt.and_then(|prompt| Some((prompt, after_prompt(query, prompt)?))) {
        Some((prompt, reply)) => continued(prompt, reply, thoughts),
        None => whole(query, thoughts),
    }
}

/// The dialogue of a prompt and the policy's reply to it.
pub(crate) fn continued(prompt: &str, reply: &str, thoughts: Thoughts) -> Dialogue {
    let Some(mut turns) = templates::turns(prompt) else {
        let prompt = bare(prompt);
        let asked = (!prompt.is_empty()).then(|| Message::new(Role::User, prompt));
        let (reply, thought) = said(reply, thoughts);
        let messages = asked.into_iter().chain([Message::new(Role::Assistant, reply)]).collect();
        return Dialogue { messages, recognised: false, thought };
    };
    // The mark that asks for a reply opens an assistant's turn, and may begin it: `<think>`.
    let begun = turns.pop_if(|turn| turn.open && turn.role == Role::Assistant);
    let reply = format!("{}{reply}", begun.map_or("", |turn| turn.content));
    let mut messages = messages(&turns, thoughts);
    let (reply, thought) = said(&reply, thoughts);
    messages.push(Message::new(Role::Assistant, reply));
    Dialogue { messages, recognised: true, thought }
}

/// The reply to a prompt that came as messages.
pub(crate) fn reply_to(mut messages: Vec<Message>, reply: &str, thoughts: Thoughts) -> Dialogue {
    let (reply, thought) = said(reply, thoughts);
    messages.push(Message::new(Role::Assistant, reply));
    Dialogue { messages, recognised: true, thought }
}

/// The dialogue of a whole text, whose last turn is the policy's.
pub(crate) fn whole(text: &str, thoughts: Thoughts) -> Dialogue {
    let Some(mut turns) = templates::turns(text) else {
        let (reply, thought) = said(text_of(text), thoughts);
        return Dialogue { messages: vec![Message::new(Role::Assistant, reply)], recognised: false, thought };
    };
    let last = turns.pop_if(|turn| turn.role == Role::Assistant);
    let mut messages = messages(&turns, thoughts);
    let mut thought = false;
    if let Some(last) = last {
        let (reply, thinks) = said(last.content, thoughts);
        messages.push(Message::new(Role::Assistant, reply));
        thought = thinks;
    }
    Dialogue { messages, recognised: true, thought }
}

/// What of `query` comes after `prompt`. A tokenizer may have put marks in front of it that the prompt lacks, or the other way.
fn after_prompt<'a>(query: &'a str, prompt: &str) -> Option<&'a str> {
    if prompt.is_empty() {
        return None;
    }
    query.strip_prefix(prompt).or_else(|| text_of(query).strip_prefix(text_of(prompt)))
}

fn messages(turns: &[Turn<'_>], thoughts: Thoughts) -> Vec<Message> {
    let message = |turn: &Turn<'_>| {
        let content = match (turn.role, thoughts) {
            (Role::Assistant, Thoughts::Drop) => without_thoughts(turn.content).0,
            _ => turn.content,
        };
        Message::new(turn.role, content)
    };
    turns.iter().map(message).collect()
}

/// What the policy said, of what it wrote; and whether it thought before.
fn said(written: &str, thoughts: Thoughts) -> (String, bool) {
    let written = without_end(written);
    let (said, thought) = match thoughts {
        Thoughts::Drop => without_thoughts(written),
        Thoughts::Keep => (written, false),
    };
    (said.to_owned(), thought)
}

/// A reply without the `<think>` block that opens it. A block that never ends was cut off: nothing was said.
fn without_thoughts(reply: &str) -> (&str, bool) {
    let Some(thinking) = reply.trim_start().strip_prefix("<think>") else { return (reply, false) };
    (thinking.split_once("</think>").map_or("", |(_, said)| said.trim_start_matches('\n')), true)
}

/// Marks of beginning, end and padding, of the tokenizers whose templates are known.
const BOUNDS: [&str; 14] = [
    "<s>",
    "</s>",
    "<bos>",
    "<eos>",
    "<pad>",
    "<unk>",
    "[PAD]",
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|finetune_right_pad_id|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|im_end|>",
    "<end_of_turn>",
];

/// `text` without the marks in front of it.
fn text_of(mut text: &str) -> &str {
    while let Some(rest) = BOUNDS.iter().find_map(|bound| text.trim_start().strip_prefix(bound)) {
        text = rest;
    }
    text
}

/// `text` without the marks behind it.
fn without_end(mut text: &str) -> &str {
    while let Some(rest) = BOUNDS.iter().find_map(|bound| text.trim_end().strip_suffix(bound)) {
        text = rest;
    }
    text
}

fn bare(text: &str) -> &str {
    without_end(text_of(text)).trim()
}

#[cfg(test)]
mod tests;

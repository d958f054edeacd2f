//! Tests of encoding: truncation by messages, and the marks of replies.

use std::io::Write as _;
use std::path::Path;

use guerdon_types::{Message, Role};

use super::tokenize::{EncodedTurn, Encoder};
use super::tokens::TokenSequence;
use crate::load::manifest::Manifest;

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tiny");
const CHAT: &str = "{{ bos_token }}{% for m in messages %}\
    {% if loop.first and m.role == 'tool' %}{{ raise_exception('no tool first') }}{% endif %}\
    {{ m.role }} : {{ m.content }} {{ eos_token }}{% endfor %}";

fn say(turns: &[(Role, &str)]) -> Vec<Message> {
    turns.iter().map(|(role, content)| Message::new(*role, *content)).collect()
}

/// The tiny tokenizer with a chat template that begins with [CLS] and ends each message with
/// [SEP].
fn chat(max_tokens: usize) -> Encoder {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(format!("{TINY}/tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    std::fs::File::create(folder.path().join("chat.jinja"))
        .unwrap()
        .write_all(CHAT.as_bytes())
        .unwrap();
    let zeros = "0".repeat(64);
    let manifest = Manifest::parse(&format!(
        "name = \"chat\"\n[files]\nmodel = \"m\"\nmodel_sha256 = \"{zeros}\"\n\
         tokenizer = \"tokenizer.json\"\ntokenizer_sha256 = \"{zeros}\"\nchat_template = \"chat.jinja\"\n\
         [input]\nformat = \"chat_template\"\nmax_tokens = {max_tokens}\n\
         bos_token = \"[CLS]\"\neos_token = \"[SEP]\"\n"
    ));
    Encoder::load(folder.path(), &manifest.unwrap()).unwrap()
}

fn words(encoder: &Encoder, encoded: &EncodedTurn) -> String {
    let words: Vec<String> = encoded.tokens.ids.iter().map(|id| encoder.token(*id)).collect();
    words.join(" ")
}

#[test]
fn tokenizer_adds_no_special_tokens_to_a_rendered_template() {
    let encoder = chat(24);
    let dialogue = say(&[(Role::User, "480 ?"), (Role::Assistant, "No .")]);
    let encoded = encoder.encode(&dialogue, 1).unwrap();
    assert_eq!(words(&encoder, &encoded), "[CLS] user : 480 ? [SEP] assistant : no . [SEP]");
    assert!(!encoded.truncated);
}

#[test]
fn system_message_is_kept_while_older_turns_are_dropped() {
    let dialogue = say(&[
        (Role::System, "be kind"),
        (Role::User, "480 ?"),
        (Role::Assistant, "420 !"),
        (Role::User, "no ."),
        (Role::Assistant, "deal ."),
    ]);
    let read = |max_tokens| {
        let encoder = chat(max_tokens);
        let encoded = encoder.encode(&dialogue, 4).unwrap();
        assert!(encoded.tokens.len() <= max_tokens);
        (words(&encoder, &encoded), encoded.truncated)
    };
    let (system, user, last) =
        ("system : be kind [SEP]", "user : no . [SEP]", "assistant : deal . [SEP]");
    assert!(!read(26).1);
    assert_eq!(read(25).0, format!("[CLS] {system} assistant : 420 ! [SEP] {user} {last}"));
    assert_eq!(read(20).0, format!("[CLS] {system} {user} {last}"));
    assert_eq!(read(15), (format!("[CLS] {system} {last}"), true));
    // There is no room for the system message; the scored turn stays.
    assert_eq!(read(10), (format!("[CLS] {last}"), true));
    assert_eq!(read(4), ("[CLS] deal . [SEP]".to_owned(), true));
}

#[test]
fn windows_that_the_template_refuses_are_skipped() {
    let dialogue = say(&[(Role::User, "480 ?"), (Role::Tool, "500"), (Role::Assistant, "deal .")]);
    let encoder = chat(14);
    // Tool and assistant would fit, but this template refuses a dialogue that begins with a
    // tool message.
    assert_eq!(
        words(&encoder, &encoder.encode(&dialogue, 2).unwrap()),
        "[CLS] assistant : deal . [SEP]"
    );
    let refused = encoder.encode(&dialogue[1..], 1).unwrap_err();
    assert!(refused.contains("no tool first"), "{refused}");
}

#[test]
fn plain_text_is_never_read_as_special_tokens() {
    let folder = Path::new(TINY);
    let encoder = Encoder::load(folder, &Manifest::load(folder).unwrap()).unwrap();
    let encoded = encoder.encode(&say(&[(Role::Assistant, "deal [SEP] deal")]), 0).unwrap();
    assert_eq!(words(&encoder, &encoded), "[CLS] assistant : deal [UNK] [UNK] [UNK] deal [SEP]");
}

#[test]
fn reply_mark_covers_exactly_the_scored_message() {
    let folder = Path::new(TINY);
    let mut encoder = Encoder::load(folder, &Manifest::load(folder).unwrap()).unwrap();
    encoder.mark_replies().unwrap();
    let marked = |dialogue: &[Message]| {
        let TokenSequence { ids, reply, .. } =
            encoder.encode(dialogue, dialogue.len() - 1).unwrap().tokens;
        let words: Vec<_> = ids[reply].iter().map(|id| encoder.token(*id)).collect();
        words.join(" ")
    };
    let ask = (Role::User, "480 ?");
    assert_eq!(marked(&say(&[ask, (Role::Assistant, "no deal .")])), "no deal .");
    // A turn marker that the policy writes marks nothing.
    assert_eq!(marked(&say(&[ask, (Role::Assistant, "no assistant : yes")])), "no assistant : yes");
    assert_eq!(marked(&say(&[ask, (Role::Assistant, "")])), "");
    // The text exceeds the limit: the rest of it is all of the input except special tokens.
    assert_eq!(
        marked(&say(&[ask, (Role::Assistant, &"deal ".repeat(40))])),
        ["deal"; 22].join(" ")
    );
    assert!(chat(24).mark_replies().unwrap_err().contains("format = \"plain\""));
}

#[test]
fn missing_turn_is_an_error() {
    let encoder = chat(24);
    assert!(encoder.encode(&say(&[(Role::Assistant, "deal")]), 3).is_err());
}

//! Tests of truncation: serving reads what training reads, in rows that `tests/make_cuts.py`
//! computes with the functions of the training recipe; and no prompt vanishes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use guerdon_types::{Message, Role};
use proptest::prelude::*;
use serde::Deserialize;

use super::tokenize::{EncodedTurn, Encoder};
use crate::load::files::read_text;
use crate::load::manifest::Manifest;

#[derive(Deserialize)]
struct Golden {
    dialogues: Vec<Vec<Message>>,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    tokenizer: String,
    template: Option<String>,
    truncation: String,
    keep_system: bool,
    limit: usize,
    /// Lines of the manifest for roles that the template refuses.
    roles: String,
    /// Length and digest of the ids for each dialogue, or `None` for a refusal.
    read: Vec<Option<String>>,
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// An encoder of a tokenizer in `tests/cuts` and perhaps a template in `tests/templates`, with more
/// lines in the manifest's section `[input]`.
pub(super) fn encoder(
    tokenizer: &str,
    template: Option<&str>,
    limit: usize,
    lines: &str,
) -> Result<Encoder, crate::Error> {
    let zeros = "0".repeat(64);
    let mut text = format!(
        "name = \"golden\"\n[files]\nmodel = \"m\"\nmodel_sha256 = \"{zeros}\"\n\
         tokenizer = \"cuts/{tokenizer}.json\"\ntokenizer_sha256 = \"{zeros}\"\n"
    );
    match template {
        Some(template) => write!(
            text,
            "chat_template = \"templates/{template}.jinja\"\n[input]\nformat = \"chat_template\"\n\
             bos_token = \"<s>\"\neos_token = \"</s>\"\nmax_tokens = {limit}\n{lines}\n"
        ),
        None => write!(
            text,
            "[input]\nformat = \"plain\"\nmax_tokens = {limit}\n{lines}\n[input.prefix]\n\
             system = \"system: \"\nuser = \"user: \"\nassistant = \"assistant: \"\ntool = \"tool: \"\n"
        ),
    }
    .unwrap();
    Encoder::load(&tests(), &Manifest::parse(&text).unwrap())
}

/// An encoder of a tokenizer in `tests/cuts` with the template `source`.
pub(super) fn encoder_of(tokenizer: &str, source: &str) -> Result<Encoder, crate::Error> {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = tests().join(format!("cuts/{tokenizer}.json"));
    std::fs::copy(tokenizer, folder.path().join("tokenizer.json")).unwrap();
    let mut file = std::fs::File::create(folder.path().join("chat.jinja")).unwrap();
    std::io::Write::write_all(&mut file, source.as_bytes()).unwrap();
    let zeros = "0".repeat(64);
    let manifest = Manifest::parse(&format!(
        "name = \"chat\"\n[files]\nmodel = \"m\"\nmodel_sha256 = \"{zeros}\"\n\
         tokenizer = \"tokenizer.json\"\ntokenizer_sha256 = \"{zeros}\"\nchat_template = \"chat.jinja\"\n\
         [input]\nformat = \"chat_template\"\nmax_tokens = 4000\nbos_token = \"<s>\"\n"
    ));
    Encoder::load(folder.path(), &manifest.unwrap())
}

/// The form of `tests/cuts/golden.json`: the number of ids, a digest, and a mark of truncation.
fn digest(EncodedTurn { tokens, truncated, .. }: &EncodedTurn) -> String {
    let ids: Vec<String> = tokens.ids.iter().map(u32::to_string).collect();
    let digest = crate::load::files::Sha256Hex::of(ids.join(" "));
    let cut = if *truncated { " cut" } else { "" };
    format!("{} {}{cut}", tokens.ids.len(), &digest.as_str()[..12])
}

#[test]
fn serving_reads_the_ids_that_the_training_recipe_reads() {
    let golden: Golden =
        serde_json::from_str(&read_text(&tests().join("cuts/golden.json")).unwrap()).unwrap();
    let (mut read, mut wrong) = (0, Vec::new());
    for row in &golden.rows {
        let Row { tokenizer, template, truncation, keep_system, limit, roles, .. } = row;
        let lines = format!("truncation = \"{truncation}\"\nkeep_system = {keep_system}\n{roles}");
        let encoder = encoder(tokenizer, template.as_deref(), *limit, &lines).unwrap();
        for (number, (dialogue, expected)) in golden.dialogues.iter().zip(&row.read).enumerate() {
            let encoded = encoder.encode(dialogue, dialogue.len() - 1);
            read += usize::from(encoded.is_ok());
            if encoded.as_ref().ok().map(digest) != *expected {
                let got = encoded.map(|encoded| digest(&encoded));
                wrong.push(format!("{tokenizer} {template:?} {truncation} {keep_system} {limit} {roles:?}, dialogue {number}: {got:?} instead of {expected:?}"));
            }
        }
    }
    assert!(read > 1_000, "only {read} dialogues were read");
    assert!(
        wrong.is_empty(),
        "{} of {read}:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(25)].join("\n")
    );
}

fn say(turns: &[(Role, &str)]) -> Vec<Message> {
    turns.iter().map(|(role, content)| Message::new(*role, *content)).collect()
}

fn words(encoder: &Encoder, encoded: &EncodedTurn) -> String {
    let words: Vec<String> = encoded.tokens.ids.iter().map(|id| encoder.token(*id)).collect();
    words.join(" ")
}

#[test]
fn a_long_prompt_never_vanishes_and_a_long_reply_keeps_both_ends() {
    let long = |word: &str, count: usize| vec![word; count].join(" ");
    let encoder = small("truncation = \"tokens\"\nkeep_system = true");
    let read = |dialogue: &[Message]| {
        let encoded = encoder.encode(dialogue, dialogue.len() - 1).unwrap();
        assert!(encoded.truncated && (50..=64).contains(&encoded.tokens.len()), "{encoded:?}");
        (words(&encoder, &encoded), encoded.read)
    };
    let count = |text: &str, word: &str| text.split(' ').filter(|found| *found == word).count();

    let prompt = say(&[(Role::User, &long("price", 500)), (Role::Assistant, "deal ok final")]);
    let (text, spans) = read(&prompt);
    assert!(text.ends_with("deal ok final [SEP]"), "{text}");
    assert!(count(&text, "price") > 45, "{text}");
    let [prompt, reply] = spans[..] else { panic!("{spans:?}") };
    assert_eq!((prompt.first, prompt.last, prompt.cut), (0, 0, true));
    assert_eq!((reply.first, reply.tokens, reply.cut), (1, 3, false));
    assert_eq!(prompt.tokens, count(&text, "price"));

    let reply = format!("ok {} final", long("deal", 500));
    let (text, spans) = read(&say(&[(Role::User, &long("price", 500)), (Role::Assistant, &reply)]));
    assert!(text.contains(" ok deal deal") && text.ends_with("deal final [SEP]"), "{text}");
    assert!(text.contains("deal . . . deal"), "{text}");
    assert!((16..20).contains(&count(&text, "price")), "a quarter of the limit: {text}");
    assert_eq!(spans.iter().map(|span| span.cut).collect::<Vec<_>>(), [true, true]);

    let system = format!("breakfast {}", long("night", 80));
    let (text, spans) = read(&say(&[
        (Role::System, &system),
        (Role::User, &long("price", 60)),
        (Role::Assistant, "no"),
        (Role::User, "420"),
        (Role::Assistant, "deal"),
    ]));
    assert!(text.contains("breakfast night") && text.contains("price"), "{text}");
    let places: Vec<_> = spans.iter().map(|span| (span.first, span.last, span.cut)).collect();
    assert_eq!(places, [(0, 0, true), (1, 1, true), (2, 4, false)]);
    assert_eq!(spans[0].tokens, 16);
}

/// An encoder of the tokenizer `words` in the plain format, at 64 tokens.
fn small(lines: &str) -> Encoder {
    encoder("words", None, 64, lines).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cut_dialogues_fit_and_hold_the_reply_and_the_prompt(
        sizes in prop::collection::vec(0usize..90, 2..7), limit in 24usize..100, chat: bool, system: bool,
    ) {
        let template = chat.then_some("chatml");
        let lines = format!("truncation = \"tokens\"\nkeep_system = {system}");
        let encoder = encoder("bytes", template, limit, &lines).unwrap();
        let last = sizes.len() - 1;
        let dialogue: Vec<Message> = sizes.iter().enumerate().map(|(place, size)| {
            let role = match (last - place) % 2 {
                0 => Role::Assistant,
                _ if place == 0 && system => Role::System,
                _ => Role::User,
            };
            Message::new(role, vec!["offer"; *size].join(" "))
        }).collect();
        let encoded = encoder.encode(&dialogue, last).unwrap();
        prop_assert!(encoded.tokens.len() <= limit);
        prop_assert_eq!(encoded.truncated, !encoded.read.is_empty());
        if encoded.truncated {
            let spans = &encoded.read;
            prop_assert!(spans.len() <= 4 && spans.last().unwrap().last == last, "{:?}", spans);
            let reply = spans.last().unwrap().tokens;
            prop_assert!(reply >= sizes[last].min(limit / 4) * 3 / 4, "{:?}", spans);
            if sizes[last - 1] > 0 && limit >= 48 {
                let before = spans.iter().any(|span| (span.first..=span.last).contains(&(last - 1)) && span.tokens > 0);
                prop_assert!(before, "{:?}", spans);
            }
        }
    }
}

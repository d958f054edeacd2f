//! Encoding of a dialogue as token ids, and its truncation to the model's limit.

use std::path::Path;

use guerdon_types::{Message, Role};
use tokenizers::{Encoding, Tokenizer};

use crate::Error;
use crate::encode::pair::PairFormat;
use crate::encode::steps::{StepFormat, step_places};
use crate::encode::template::ChatTemplate;
use crate::encode::tokens::TokenSequence;
use crate::encode::window::widest_window;
use crate::engine::head::Head;
use crate::load::files::read_text;
use crate::load::manifest::{InputFormat, Manifest, RolePrefixes};
use crate::load::output::{ModelOutput, TokenRef};

/// Converts dialogues to token ids.
#[derive(Debug)]
pub(crate) struct Encoder {
    tokenizer: Tokenizer,
    text: TextFormat,
    /// The longest text, without the suffix.
    max_tokens: usize,
    /// The token that ends every text.
    suffix: Option<u32>,
    /// The marks after the steps of the scored message, and the token that holds their scores.
    steps: Option<(StepFormat, u32)>,
    pad: Option<u32>,
    bos: Option<u32>,
    mark_replies: bool,
}

#[derive(Debug)]
enum TextFormat {
    Plain { prefix: RolePrefixes, separator: String },
    Chat(ChatTemplate),
    Pair(PairFormat),
}

/// The model input for one turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EncodedTurn {
    pub(crate) tokens: TokenSequence,
    /// Set when anything was dropped.
    pub(crate) truncated: bool,
}

impl Encoder {
    /// Loads the encoder that `manifest` describes, and encodes a plain dialogue once to detect a
    /// faulty template or tokenizer.
    pub(crate) fn load(folder: &Path, manifest: &Manifest) -> Result<Self, Error> {
        let path = folder.join(&manifest.files.tokenizer);
        let refused = |detail: String| Error::Tokenizer { path: path.clone(), detail };
        let mut tokenizer: Tokenizer = read_text(&path)?
            .parse()
            .map_err(|error: tokenizers::Error| refused(error.to_string()))?;
        // Tokenizer files often contain a truncation and a padding length, such as 128, either of
        // which would change scores.
        tokenizer.with_truncation(None).map_err(|error| refused(error.to_string()))?;
        let input = &manifest.input;
        let special = |key: &str, token: &Option<String>| {
            let id = |token: &String| {
                tokenizer
                    .token_to_id(token)
                    .ok_or_else(|| refused(format!("has no token `{token}` (`input.{key}`)")))
            };
            token.as_ref().map(id).transpose()
        };
        let bos = special("bos_token", &input.bos_token)?;
        let pad = special("pad_token", &input.pad_token)?
            .or_else(|| tokenizer.get_padding().map(|padding| padding.pad_id));
        tokenizer.with_padding(None);
        let text = match (input.format, &input.prefix, &manifest.files.chat_template) {
            (InputFormat::ChatTemplate, _, Some(template)) => {
                let path = folder.join(template);
                let [bos, eos] = [&input.bos_token, &input.eos_token]
                    .map(|token| token.as_deref().unwrap_or_default());
                let template = ChatTemplate::compile(&read_text(&path)?, bos, eos)
                    .map_err(|detail| Error::Template { path, detail })?;
                TextFormat::Chat(template)
            }
            (format, prefix, _) => {
                // Message text is never read as special tokens here. Otherwise a policy that learns
                // to write `[SEP]` into its replies could steer its own reward model.
                tokenizer.set_encode_special_tokens(true);
                let prefix = prefix.clone().unwrap_or_else(|| RolePrefixes {
                    system: String::new(),
                    user: String::new(),
                    assistant: String::new(),
                    tool: String::new(),
                });
                let separator = input.separator.clone();
                if format == InputFormat::Pair {
                    PairFormat::check(&tokenizer).map_err(refused)?;
                    TextFormat::Pair(PairFormat { prefix, separator })
                } else {
                    TextFormat::Plain { prefix, separator }
                }
            }
        };
        let known = |key: &str, token: TokenRef| {
            token_id(&tokenizer, &token)
                .map_err(|detail| refused(format!("`input.{key}`: {detail}")))
        };
        let suffix = input.suffix.clone().map(|token| known("suffix", token)).transpose()?;
        let steps = input
            .steps
            .clone()
            .map(|steps| known("steps.token", steps.token()).map(|token| (steps, token)))
            .transpose()?;
        let max_tokens = input.max_tokens.saturating_sub(usize::from(suffix.is_some())).max(1);
        let encoder =
            Self { tokenizer, text, max_tokens, suffix, steps, pad, bos, mark_replies: false };
        encoder.probe().map_err(|detail| match &manifest.files.chat_template {
            Some(template) => Error::Template { path: folder.join(template), detail },
            None => refused(detail),
        })?;
        Ok(encoder)
    }

    /// Enables marking of the scored message's tokens, for graphs with an input `reply_mask`. A
    /// marker in the text would be unsafe, since a policy could write the marker itself.
    pub(crate) fn mark_replies(&mut self) -> Result<(), String> {
        match self.text {
            TextFormat::Plain { .. } | TextFormat::Pair(_) => self.mark_replies = true,
            TextFormat::Chat(_) => {
                return Err(
                    "takes `reply_mask`, which format = \"plain\" and \"pair\" can fill: a chat template \
                            does not report where it puts a message"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }

    /// Number of token ids, added tokens included. The model must accept all of them.
    pub(crate) fn vocabulary(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The encoding of a plain two-message dialogue.
    pub(crate) fn probe(&self) -> Result<EncodedTurn, String> {
        let dialogue = [
            Message::new(Role::User, "480 is our best price."),
            Message::new(Role::Assistant, "And 420?"),
        ];
        self.encode(&dialogue, 1)
    }

    /// The longest text that the model reads, with its suffix.
    pub(crate) fn max_tokens(&self) -> usize {
        self.max_tokens + usize::from(self.suffix.is_some())
    }

    /// The head of the manifest's output section, with the ids of its tokens.
    pub(crate) fn head(&self, output: &ModelOutput) -> Result<Head, String> {
        Head::new(output, |token| token_id(&self.tokenizer, token))
    }

    /// Two texts of different lengths, for a trial of the graph's outputs. They have at least two
    /// tokens if the model reads as many.
    pub(crate) fn trial_texts(&self) -> Result<(Vec<u32>, Vec<u32>), String> {
        let probe = self.probe()?.tokens.ids;
        let long = probe.len().max(3).min(self.max_tokens().max(2));
        let text = |length: usize| probe.iter().copied().cycle().take(length).collect();
        Ok((text(long - 1), text(long)))
    }

    /// The id that pads the shorter texts of a batch, if the model's files name one.
    pub(crate) const fn pad(&self) -> Option<u32> {
        self.pad
    }

    /// The text of a token.
    pub(crate) fn token(&self, id: u32) -> String {
        self.tokenizer.id_to_token(id).unwrap_or_default()
    }

    /// The model input for message `turn`: that message and as many earlier ones as fit. The error
    /// is the reason why the dialogue cannot be encoded.
    pub(crate) fn encode(&self, messages: &[Message], turn: usize) -> Result<EncodedTurn, String> {
        let dialogue =
            messages.get(..=turn).ok_or_else(|| format!("the dialogue has no message {turn}"))?;
        let Some((steps, token)) = &self.steps else { return self.encode_dialogue(dialogue) };
        let Some((scored, earlier)) = dialogue.split_last() else {
            return Err("the dialogue is empty".to_owned());
        };
        let marked = steps.marked(&scored.content);
        // A reply may also hold the mark itself, if the mark is no special token.
        let count = self
            .encoding(&steps.written(&marked), false)?
            .get_ids()
            .iter()
            .filter(|id| *id == token)
            .count();
        let scored = Message::new(scored.role, marked);
        let dialogue: Vec<Message> = earlier.iter().cloned().chain([scored]).collect();
        let mut encoded = self.encode_dialogue(&dialogue)?;
        encoded.tokens.steps = step_places(&encoded.tokens.ids, *token, count);
        match encoded.tokens.steps.is_empty() {
            true => Err("the reply has no step to score".to_owned()),
            false => Ok(encoded),
        }
    }

    fn encode_dialogue(&self, dialogue: &[Message]) -> Result<EncodedTurn, String> {
        // Except in long runs of spaces, a token seldom exceeds a few bytes. A dialogue with more
        // than sixteen bytes per token does not fit, so encoding it whole is pointless.
        let bytes: usize = dialogue.iter().map(|message| message.content.len()).sum();
        let try_whole = bytes <= self.max_tokens.saturating_mul(16);
        let encoded = match &self.text {
            TextFormat::Plain { prefix, separator } => {
                self.plain(dialogue, prefix, separator, try_whole)
            }
            TextFormat::Chat(template) => self.chat(dialogue, template, try_whole),
            TextFormat::Pair(pair) => pair
                .encode(&self.tokenizer, dialogue, self.max_tokens, self.mark_replies)
                .map(|(tokens, truncated)| EncodedTurn { tokens, truncated }),
        }?;
        let encoded = match self.suffix.filter(|suffix| encoded.tokens.ids.last() != Some(suffix)) {
            Some(suffix) => EncodedTurn { tokens: encoded.tokens.ended_by(suffix), ..encoded },
            None => encoded,
        };
        match encoded.tokens.ids.is_empty() {
            true => Err("the turn is empty and the tokenizer adds no special token".to_owned()),
            false => Ok(encoded),
        }
    }

    fn plain(
        &self,
        dialogue: &[Message],
        prefix: &RolePrefixes,
        separator: &str,
        try_whole: bool,
    ) -> Result<EncodedTurn, String> {
        let last = dialogue.len() - 1;
        let mut alone = None;
        let fitting = widest_window(0, last, try_whole, |start| {
            let lines: Vec<String> = dialogue[start..]
                .iter()
                .map(|m| format!("{}{}", prefix.of(m.role), m.content))
                .collect();
            let text = lines.join(separator);
            let encoding = self.encoding(&text, true)?;
            let fits = encoding.get_ids().len() <= self.max_tokens;
            let tokens = self.mark_reply(&encoding, text.len() - dialogue[last].content.len());
            if start == last && !fits {
                alone = Some((encoding, tokens));
                return Ok(None);
            }
            Ok::<_, String>(fits.then_some(tokens))
        })?;
        Ok(match (fitting, alone) {
            (Some((start, tokens)), _) => EncodedTurn { tokens, truncated: start > 0 },
            (None, Some((encoding, tokens))) => {
                let special = encoding.get_special_tokens_mask();
                let head = special.iter().take_while(|&&special| special == 1).count();
                EncodedTurn { tokens: tokens.keep_end(head, self.max_tokens), truncated: true }
            }
            (None, None) => return Err("the turn could not be encoded".to_owned()),
        })
    }

    fn chat(
        &self,
        dialogue: &[Message],
        template: &ChatTemplate,
        try_whole: bool,
    ) -> Result<EncodedTurn, String> {
        let last = dialogue.len() - 1;
        // The template must accept the whole dialogue. It may refuse a part of it and accept a
        // smaller part.
        let render = |window: &[&Message]| {
            let text = template.render(window)?;
            Ok::<_, String>(match &self.steps {
                Some((steps, _)) => steps.written(&text),
                None => text,
            })
        };
        let whole = render(&dialogue.iter().collect::<Vec<_>>())?;
        if try_whole {
            let ids = self.encode_rendered(&whole)?;
            if ids.len() <= self.max_tokens {
                return Ok(EncodedTurn { tokens: TokenSequence::unmarked(ids), truncated: false });
            }
        }
        let system = dialogue.first().filter(|message| message.role == Role::System && last > 0);
        let first = usize::from(system.is_some());
        let mut shortest: Option<String> = None;
        // The system message is dropped if the turn does not fit together with it.
        for system in system.map(Some).into_iter().chain([None]) {
            let fitting = widest_window(first, last, false, |start| {
                for start in start..=last {
                    let window: Vec<&Message> =
                        system.into_iter().chain(&dialogue[start..]).collect();
                    let Ok(text) = render(&window) else {
                        continue;
                    };
                    let ids = self.encode_rendered(&text)?;
                    if ids.len() <= self.max_tokens {
                        return Ok(Some((window.len(), ids)));
                    }
                    if shortest.as_ref().is_none_or(|shortest| text.len() < shortest.len()) {
                        shortest = Some(text);
                    }
                    return Ok(None);
                }
                Ok::<_, String>(None)
            })?;
            if let Some((_, (kept, ids))) = fitting {
                return Ok(EncodedTurn {
                    tokens: TokenSequence::unmarked(ids),
                    truncated: kept < dialogue.len(),
                });
            }
        }
        let ids = self.encode_rendered(shortest.as_ref().unwrap_or(&whole))?;
        let head = usize::from(ids.first().copied() == self.bos && self.bos.is_some());
        Ok(EncodedTurn {
            tokens: TokenSequence::unmarked(ids).keep_end(head, self.max_tokens),
            truncated: true,
        })
    }

    /// Encodes rendered text, which holds its special tokens already.
    fn encode_rendered(&self, text: &str) -> Result<Vec<u32>, String> {
        let ids = self.encoding(text, false)?.get_ids().to_vec();
        match (self.bos, ids.as_slice()) {
            (Some(bos), [first, second, ..]) if *first == bos && *second == bos => {
                Err("the rendered dialogue begins with two BOS tokens".to_owned())
            }
            _ => Ok(ids),
        }
    }

    fn encoding(&self, text: &str, add_special_tokens: bool) -> Result<Encoding, String> {
        // Offsets are needed only to mark replies; encoding without them is faster.
        let encoding = match self.mark_replies {
            true => self.tokenizer.encode(text, add_special_tokens),
            false => self.tokenizer.encode_fast(text, add_special_tokens),
        };
        encoding.map_err(|error| error.to_string())
    }

    /// The ids, with the tokens at or after byte `reply` of the text marked, special tokens
    /// excepted.
    fn mark_reply(&self, encoding: &Encoding, reply: usize) -> TokenSequence {
        let mut tokens = TokenSequence::unmarked(encoding.get_ids());
        if self.mark_replies {
            let special = encoding.get_special_tokens_mask();
            let own =
                |place: &usize| special[*place] == 0 && encoding.get_offsets()[*place].1 > reply;
            let mut places = (0..tokens.len()).filter(own);
            if let Some(first) = places.next() {
                tokens.reply = first..places.next_back().unwrap_or(first) + 1;
            }
        }
        tokens
    }
}

/// The id of a token. A text that the vocabulary does not have may be the text of one token.
fn token_id(tokenizer: &Tokenizer, token: &TokenRef) -> Result<u32, String> {
    let vocabulary = tokenizer.get_vocab_size(true);
    let text = match token {
        TokenRef::Id(id) if tokenizer.id_to_token(*id).is_some() => return Ok(*id),
        // A model may have more rows than its tokenizer has tokens.
        TokenRef::Id(id) => {
            return Err(format!("the tokenizer has no id {id}; it has {vocabulary} tokens"));
        }
        TokenRef::Text(text) => text,
    };
    if let Some(id) = tokenizer.token_to_id(text) {
        return Ok(id);
    }
    // `encode_fast` returns no texts of the tokens, which the error names.
    let encoding = tokenizer.encode(text.as_str(), false).map_err(|error| error.to_string())?;
    match encoding.get_ids() {
        [id] if !is_unknown(tokenizer, *id) => Ok(*id),
        _ => Err(format!(
            "`{text}` is not one token of the tokenizer, but {}; name one token as tokenizer.json \
             spells it, or give its id",
            encoding
                .get_tokens()
                .iter()
                .take(8)
                .map(|token| format!("`{token}`"))
                .collect::<Vec<_>>()
                .join(", ")
        )),
    }
}

/// True for the token that stands for text outside the vocabulary.
fn is_unknown(tokenizer: &Tokenizer, id: u32) -> bool {
    // No vocabulary has a word for the last private character.
    let unknown = tokenizer.encode_fast("\u{10FFFD}", false);
    unknown.is_ok_and(|unknown| unknown.get_ids() == [id])
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

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
        std::fs::copy(format!("{TINY}/tokenizer.json"), folder.path().join("tokenizer.json"))
            .unwrap();
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
        let words: Vec<String> = encoded
            .tokens
            .ids
            .iter()
            .map(|id| encoder.tokenizer.id_to_token(*id).unwrap())
            .collect();
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
        let dialogue =
            say(&[(Role::User, "480 ?"), (Role::Tool, "500"), (Role::Assistant, "deal .")]);
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
        assert_eq!(
            words(&encoder, &encoded),
            "[CLS] assistant : deal [UNK] [UNK] [UNK] deal [SEP]"
        );
    }

    #[test]
    fn reply_mark_covers_exactly_the_scored_message() {
        let folder = Path::new(TINY);
        let mut encoder = Encoder::load(folder, &Manifest::load(folder).unwrap()).unwrap();
        encoder.mark_replies().unwrap();
        let marked = |dialogue: &[Message]| {
            let TokenSequence { ids, reply, .. } =
                encoder.encode(dialogue, dialogue.len() - 1).unwrap().tokens;
            let words: Vec<_> =
                ids[reply].iter().map(|id| encoder.tokenizer.id_to_token(*id).unwrap()).collect();
            words.join(" ")
        };
        let ask = (Role::User, "480 ?");
        assert_eq!(marked(&say(&[ask, (Role::Assistant, "no deal .")])), "no deal .");
        // A turn marker that the policy writes marks nothing.
        assert_eq!(
            marked(&say(&[ask, (Role::Assistant, "no assistant : yes")])),
            "no assistant : yes"
        );
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
}

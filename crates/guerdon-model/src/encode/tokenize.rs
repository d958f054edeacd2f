//! From a dialogue to the token ids that a model reads, and what is dropped when it is too long.

use std::path::Path;

use guerdon_types::{Message, Role};
use tokenizers::{Encoding, Tokenizer};

use crate::Error;
use crate::encode::template::ChatTemplate;
use crate::encode::tokens::Tokens;
use crate::encode::window::widest;
use crate::load::files::read_text;
use crate::load::manifest::{Format, Manifest, Prefix};

/// Turns dialogues into token ids.
#[derive(Debug)]
pub(crate) struct Encoder {
    tokenizer: Tokenizer,
    text: Text,
    max_tokens: usize,
    pad: Option<u32>,
    bos: Option<u32>,
    mark_replies: bool,
}

#[derive(Debug)]
enum Text {
    Plain { prefix: Prefix, separator: String },
    Chat(ChatTemplate),
}

/// What a model reads of one turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) tokens: Tokens,
    /// Whether anything was dropped.
    pub(crate) truncated: bool,
}

impl Encoder {
    /// The encoder that `manifest` describes. Encodes a plain dialogue once, so that a template or a tokenizer that
    /// cannot is noticed here.
    pub(crate) fn load(folder: &Path, manifest: &Manifest) -> Result<Self, Error> {
        let path = folder.join(&manifest.files.tokenizer);
        let refused = |detail: String| Error::Tokenizer { path: path.clone(), detail };
        let mut tokenizer: Tokenizer = read_text(&path)?
            .parse()
            .map_err(|error: tokenizers::Error| refused(error.to_string()))?;
        // Files are often shipped with a length of 128 or so and padding to it, either of which would change scores.
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
            (Format::ChatTemplate, _, Some(template)) => {
                let path = folder.join(template);
                let [bos, eos] = [&input.bos_token, &input.eos_token]
                    .map(|token| token.as_deref().unwrap_or_default());
                let template = ChatTemplate::compile(&read_text(&path)?, bos, eos)
                    .map_err(|detail| Error::Template { path, detail })?;
                Text::Chat(template)
            }
            (_, prefix, _) => {
                // What is said is never a special token here. A policy that learns to write `[SEP]` into its replies
                // would otherwise be steering its own reward model.
                tokenizer.set_encode_special_tokens(true);
                let prefix = prefix.clone().unwrap_or_else(|| Prefix {
                    system: String::new(),
                    user: String::new(),
                    assistant: String::new(),
                    tool: String::new(),
                });
                Text::Plain { prefix, separator: input.separator.clone() }
            }
        };
        let encoder =
            Self { tokenizer, text, max_tokens: input.max_tokens, pad, bos, mark_replies: false };
        encoder.probe().map_err(|detail| match &manifest.files.chat_template {
            Some(template) => Error::Template { path: folder.join(template), detail },
            None => refused(detail),
        })?;
        Ok(encoder)
    }

    /// From now on marks the scored message's tokens, for a graph that wants to be told which they are. A marker in
    /// the text would not do: a policy that writes the marker would move it.
    pub(crate) fn mark_replies(&mut self) -> Result<(), String> {
        match self.text {
            Text::Plain { .. } => self.mark_replies = true,
            Text::Chat(_) => {
                return Err("asks for `reply_mask`, which only format = \"plain\" can fill: a chat template does not tell \
                            where it put a message"
                    .to_owned());
            }
        }
        Ok(())
    }

    /// How many ids the tokenizer knows, added ones included: each must be one that the model knows.
    pub(crate) fn vocabulary(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// What a plain dialogue is to this model.
    pub(crate) fn probe(&self) -> Result<Encoded, String> {
        let dialogue = [
            Message::new(Role::User, "480 is our best price."),
            Message::new(Role::Assistant, "And 420?"),
        ];
        self.encode(&dialogue, 1)
    }

    pub(crate) const fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// The id that fills up the shorter texts of a batch, if the model's files name one.
    pub(crate) const fn pad(&self) -> Option<u32> {
        self.pad
    }

    /// The text of a token.
    pub(crate) fn token(&self, id: u32) -> String {
        self.tokenizer.id_to_token(id).unwrap_or_default()
    }

    /// What the model reads to score message `turn`: that message, and as many before it as fit. The error is why this
    /// dialogue cannot be encoded.
    pub(crate) fn encode(&self, messages: &[Message], turn: usize) -> Result<Encoded, String> {
        let dialogue =
            messages.get(..=turn).ok_or_else(|| format!("the dialogue has no message {turn}"))?;
        // Tokens are not shorter than a character on average, bar long runs of spaces; beyond sixteen bytes each the
        // dialogue certainly does not fit, and is not worth encoding to see that.
        let bytes: usize = dialogue.iter().map(|message| message.content.len()).sum();
        let try_whole = bytes <= self.max_tokens.saturating_mul(16);
        let encoded = match &self.text {
            Text::Plain { prefix, separator } => self.plain(dialogue, prefix, separator, try_whole),
            Text::Chat(template) => self.chat(dialogue, template, try_whole),
        }?;
        match encoded.tokens.ids.is_empty() {
            true => Err("nothing is left to read: the turn is empty and the tokenizer adds no special token"
                .to_owned()),
            false => Ok(encoded),
        }
    }

    fn plain(
        &self,
        dialogue: &[Message],
        prefix: &Prefix,
        separator: &str,
        try_whole: bool,
    ) -> Result<Encoded, String> {
        let last = dialogue.len() - 1;
        let mut alone = None;
        let fitting = widest(0, last, try_whole, |start| {
            let lines: Vec<String> = dialogue[start..]
                .iter()
                .map(|m| format!("{}{}", prefix.of(m.role), m.content))
                .collect();
            let text = lines.join(separator);
            let encoding = self.encoding(&text, true)?;
            let fits = encoding.get_ids().len() <= self.max_tokens;
            let tokens = self.marked(&encoding, text.len() - dialogue[last].content.len());
            if start == last && !fits {
                alone = Some((encoding, tokens));
                return Ok(None);
            }
            Ok::<_, String>(fits.then_some(tokens))
        })?;
        Ok(match (fitting, alone) {
            (Some((start, tokens)), _) => Encoded { tokens, truncated: start > 0 },
            (None, Some((encoding, tokens))) => {
                let special = encoding.get_special_tokens_mask();
                let head = special.iter().take_while(|&&special| special == 1).count();
                Encoded { tokens: tokens.keep_end(head, self.max_tokens), truncated: true }
            }
            (None, None) => return Err("the turn could not be encoded".to_owned()),
        })
    }

    fn chat(
        &self,
        dialogue: &[Message],
        template: &ChatTemplate,
        try_whole: bool,
    ) -> Result<Encoded, String> {
        let last = dialogue.len() - 1;
        // A template that refuses the whole dialogue refuses it; one that refuses a part may take a smaller one.
        let whole = template.render(&dialogue.iter().collect::<Vec<_>>())?;
        if try_whole {
            let ids = self.templated(&whole)?;
            if ids.len() <= self.max_tokens {
                return Ok(Encoded { tokens: Tokens::unmarked(ids), truncated: false });
            }
        }
        let system = dialogue.first().filter(|message| message.role == Role::System && last > 0);
        let first = usize::from(system.is_some());
        let mut shortest: Option<String> = None;
        // Without the system message if it leaves the turn no room.
        for system in system.map(Some).into_iter().chain([None]) {
            let fitting = widest(first, last, false, |start| {
                for start in start..=last {
                    let window: Vec<&Message> =
                        system.into_iter().chain(&dialogue[start..]).collect();
                    let Ok(text) = template.render(&window) else {
                        continue;
                    };
                    let ids = self.templated(&text)?;
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
                return Ok(Encoded {
                    tokens: Tokens::unmarked(ids),
                    truncated: kept < dialogue.len(),
                });
            }
        }
        let ids = self.templated(shortest.as_ref().unwrap_or(&whole))?;
        let head = usize::from(ids.first().copied() == self.bos && self.bos.is_some());
        Ok(Encoded {
            tokens: Tokens::unmarked(ids).keep_end(head, self.max_tokens),
            truncated: true,
        })
    }

    /// Encodes what a template rendered: the special tokens are in the text already.
    fn templated(&self, text: &str) -> Result<Vec<u32>, String> {
        let ids = self.encoding(text, false)?.get_ids().to_vec();
        match (self.bos, ids.as_slice()) {
            (Some(bos), [first, second, ..]) if *first == bos && *second == bos => {
                Err("the rendered dialogue begins with two BOS tokens".to_owned())
            }
            _ => Ok(ids),
        }
    }

    fn encoding(&self, text: &str, add_special_tokens: bool) -> Result<Encoding, String> {
        // Without a reply to mark nobody asks where in the text a token lies, and not keeping track is faster.
        let encoding = match self.mark_replies {
            true => self.tokenizer.encode(text, add_special_tokens),
            false => self.tokenizer.encode_fast(text, add_special_tokens),
        };
        encoding.map_err(|error| error.to_string())
    }

    /// The ids, with those that lie at or after byte `reply` of the text marked, special ones excepted.
    fn marked(&self, encoding: &Encoding, reply: usize) -> Tokens {
        let mut tokens = Tokens::unmarked(encoding.get_ids());
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

    /// The tiny tokenizer behind a chat template that begins with [CLS] and ends each message with [SEP].
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

    fn words(encoder: &Encoder, encoded: &Encoded) -> String {
        let words: Vec<String> = encoded
            .tokens
            .ids
            .iter()
            .map(|id| encoder.tokenizer.id_to_token(*id).unwrap())
            .collect();
        words.join(" ")
    }

    #[test]
    fn a_template_brings_its_special_tokens_and_the_tokenizer_adds_none() {
        let encoder = chat(24);
        let dialogue = say(&[(Role::User, "480 ?"), (Role::Assistant, "No .")]);
        let encoded = encoder.encode(&dialogue, 1).unwrap();
        assert_eq!(words(&encoder, &encoded), "[CLS] user : 480 ? [SEP] assistant : no . [SEP]");
        assert!(!encoded.truncated);
    }

    #[test]
    fn the_system_message_stays_while_older_turns_go() {
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
        // No room for the system message: the turn is what is scored.
        assert_eq!(read(10), (format!("[CLS] {last}"), true));
        assert_eq!(read(4), ("[CLS] deal . [SEP]".to_owned(), true));
    }

    #[test]
    fn a_window_that_the_template_refuses_is_passed_over() {
        let dialogue =
            say(&[(Role::User, "480 ?"), (Role::Tool, "500"), (Role::Assistant, "deal .")]);
        let encoder = chat(14);
        // Tool and assistant would fit, but this template takes no dialogue that a tool begins.
        assert_eq!(
            words(&encoder, &encoder.encode(&dialogue, 2).unwrap()),
            "[CLS] assistant : deal . [SEP]"
        );
        let refused = encoder.encode(&dialogue[1..], 1).unwrap_err();
        assert!(refused.contains("no tool first"), "{refused}");
    }

    #[test]
    fn what_is_said_never_becomes_a_special_token_in_plain_text() {
        let folder = Path::new(TINY);
        let encoder = Encoder::load(folder, &Manifest::load(folder).unwrap()).unwrap();
        let encoded = encoder.encode(&say(&[(Role::Assistant, "deal [SEP] deal")]), 0).unwrap();
        assert_eq!(
            words(&encoder, &encoded),
            "[CLS] assistant : deal [UNK] [UNK] [UNK] deal [SEP]"
        );
    }

    #[test]
    fn a_marked_reply_is_the_message_itself_whatever_it_says() {
        let folder = Path::new(TINY);
        let mut encoder = Encoder::load(folder, &Manifest::load(folder).unwrap()).unwrap();
        encoder.mark_replies().unwrap();
        let marked = |dialogue: &[Message]| {
            let Tokens { ids, reply } =
                encoder.encode(dialogue, dialogue.len() - 1).unwrap().tokens;
            let words: Vec<_> =
                ids[reply].iter().map(|id| encoder.tokenizer.id_to_token(*id).unwrap()).collect();
            words.join(" ")
        };
        let ask = (Role::User, "480 ?");
        assert_eq!(marked(&say(&[ask, (Role::Assistant, "no deal .")])), "no deal .");
        // The marker of a turn, written by the policy, marks nothing.
        assert_eq!(
            marked(&say(&[ask, (Role::Assistant, "no assistant : yes")])),
            "no assistant : yes"
        );
        assert_eq!(marked(&say(&[ask, (Role::Assistant, "")])), "");
        // Longer than the model reads: what is left of it is all of the input that is not special.
        assert_eq!(
            marked(&say(&[ask, (Role::Assistant, &"deal ".repeat(40))])),
            ["deal"; 22].join(" ")
        );
        assert!(chat(24).mark_replies().unwrap_err().contains("format = \"plain\""));
    }

    #[test]
    fn a_turn_that_is_not_there_is_an_error_and_no_panic() {
        let encoder = chat(24);
        assert!(encoder.encode(&say(&[(Role::Assistant, "deal")]), 3).is_err());
    }
}

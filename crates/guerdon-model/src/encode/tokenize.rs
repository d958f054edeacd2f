//! Encoding of a dialogue as token ids.

use std::path::Path;
use std::sync::OnceLock;

use guerdon_types::{Message, MessagesRead, Role};
use tokenizers::{Encoding, Tokenizer};

use crate::Error;
use crate::encode::contents::{ContentTracker, DialogueText};
use crate::encode::control::ControlTokens;
use crate::encode::cut::{FittedWindow, TokenCut, WindowReader, too_long_to_try};
use crate::encode::neutral::NeutralTokenizer;
use crate::encode::pair::{PairFormat, ReadPair};
use crate::encode::pieces::{Fragment, Pieces};
use crate::encode::steps::{STEP, StepFormat, step_places};
use crate::encode::template::ChatTemplate;
use crate::encode::token_ref::token_id;
use crate::encode::tokens::TokenSequence;
use crate::encode::turns::{RoleRules, Turn};
use crate::engine::head::Head;
use crate::load::files::read_text;
use crate::load::input::{InputFormat, RolePrefixes, Truncation};
use crate::load::manifest::Manifest;
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
    truncation: Truncation,
    keep_system: bool,
    pad: Option<u32>,
    bos: Option<u32>,
    ignored_end: Option<u32>,
    mark_replies: bool,
    /// The tokens that messages must not produce; `None` if the manifest trusts them.
    control: Option<ControlTokens>,
    neutral: OnceLock<Result<NeutralTokenizer, String>>,
}

#[derive(Debug)]
enum TextFormat {
    Plain { prefix: RolePrefixes, separator: String },
    Chat { template: Box<ChatTemplate>, tracker: Option<ContentTracker>, rules: RoleRules },
    Pair(PairFormat),
}

/// The model input for one turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EncodedTurn {
    pub(crate) tokens: TokenSequence,
    /// Set when anything was left out.
    pub(crate) truncated: bool,
    /// The messages that the tokens hold, if anything was left out.
    pub(crate) read: Vec<MessagesRead>,
}

/// The text of turns, before it is encoded.
#[derive(Debug)]
pub(crate) struct RenderedTurns {
    rendered: DialogueText,
    /// First byte of the last message's content; only in the plain format.
    reply: usize,
}

impl RenderedTurns {
    /// Length of the text in bytes.
    pub(crate) const fn length(&self) -> usize {
        self.rendered.text.len()
    }
}

/// The encoding of turns, of any length.
#[derive(Debug)]
pub(crate) struct ReadTurns {
    pub(crate) tokens: TokenSequence,
    /// Number of special tokens at the beginning.
    head: usize,
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
        let ignored_end = special("ignored_end", &input.ignored_end)?;
        let bos = special("bos_token", &input.bos_token)?;
        let pad = special("pad_token", &input.pad_token)?
            .or_else(|| tokenizer.get_padding().map(|padding| padding.pad_id));
        tokenizer.with_padding(None);
        let named: Vec<&str> = [&input.bos_token, &input.eos_token, &input.pad_token]
            .into_iter()
            .filter_map(Option::as_deref)
            .collect();
        let control = |frame: &str| {
            (!input.trusted).then(|| ControlTokens::of(&tokenizer, &named, frame)).transpose()
        };
        let (text, control) = match (input.format, &input.prefix, &manifest.files.chat_template) {
            (InputFormat::ChatTemplate, _, Some(template)) => {
                let path = folder.join(template);
                let [bos, eos] = [&input.bos_token, &input.eos_token]
                    .map(|token| token.as_deref().unwrap_or_default());
                let source = read_text(&path)?;
                let template = ChatTemplate::compile(&source, bos, eos)
                    .map_err(|detail| Error::Template { path, detail })?;
                let control = control(&source).map_err(refused)?;
                let tracker = control
                    .as_ref()
                    .map(|control| ContentTracker::of(&template, control))
                    .transpose()
                    .map_err(refused)?;
                let (template, rules) = (Box::new(template), RoleRules::of(input));
                (TextFormat::Chat { template, tracker, rules }, control)
            }
            (format, prefix, _) => {
                let prefix = prefix.clone().unwrap_or_else(|| RolePrefixes {
                    system: String::new(),
                    user: String::new(),
                    assistant: String::new(),
                    tool: String::new(),
                });
                let frame = [Role::System, Role::User, Role::Assistant, Role::Tool]
                    .map(|role| prefix.of(role))
                    .join(&input.separator);
                let control = control(&frame).map_err(refused)?;
                // Text is never read as special tokens here. Otherwise a policy that learns to
                // write `[SEP]` into its replies could steer its own reward model.
                tokenizer.set_encode_special_tokens(!input.trusted);
                let separator = input.separator.clone();
                if format == InputFormat::Pair {
                    PairFormat::check(&tokenizer).map_err(refused)?;
                    (TextFormat::Pair(PairFormat { prefix, separator }), control)
                } else {
                    (TextFormat::Plain { prefix, separator }, control)
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
        let encoder = Self {
            tokenizer,
            max_tokens: input.max_tokens.saturating_sub(usize::from(suffix.is_some())).max(1),
            suffix,
            steps,
            truncation: input.truncation,
            keep_system: input
                .keep_system
                .unwrap_or(matches!(input.format, InputFormat::ChatTemplate)),
            text,
            pad,
            bos,
            ignored_end,
            mark_replies: false,
            control,
            neutral: OnceLock::new(),
        };
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
            TextFormat::Chat { .. } => {
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

    /// The longest text, without the suffix.
    pub(crate) const fn limit(&self) -> usize {
        self.max_tokens
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

    /// The tokens that messages must not produce.
    #[cfg(test)]
    pub(crate) const fn control(&self) -> Option<&ControlTokens> {
        self.control.as_ref()
    }

    /// The text of a token.
    pub(crate) fn token(&self, id: u32) -> String {
        self.tokenizer.id_to_token(id).unwrap_or_default()
    }

    /// The model input for message `turn`: that message and as much of the earlier ones as fits.
    /// The error is the reason why the dialogue cannot be encoded.
    pub(crate) fn encode(&self, messages: &[Message], turn: usize) -> Result<EncodedTurn, String> {
        let dialogue =
            messages.get(..=turn).ok_or_else(|| format!("the dialogue has no message {turn}"))?;
        let Some((steps, _)) = &self.steps else { return self.encode_dialogue(dialogue) };
        let Some((scored, earlier)) = dialogue.split_last() else {
            return Err("the dialogue is empty".to_owned());
        };
        let marked = steps.marked(&scored.content);
        let count = marked.matches(STEP).count();
        let scored = Message::new(scored.role, marked);
        let dialogue: Vec<Message> = earlier.iter().cloned().chain([scored]).collect();
        let mut encoded = self.encode_dialogue(&dialogue)?;
        // Earlier marks are those of the template.
        let places = &encoded.tokens.steps;
        encoded.tokens.steps = places[places.len().saturating_sub(count)..].into();
        match encoded.tokens.steps.is_empty() {
            true => Err("the reply has no step to score".to_owned()),
            false => Ok(encoded),
        }
    }

    fn encode_dialogue(&self, dialogue: &[Message]) -> Result<EncodedTurn, String> {
        let encoded = match &self.text {
            TextFormat::Pair(pair) => self.pair(pair, dialogue),
            _ => self.one_text(dialogue),
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

    /// The tokens that the model reads: without `input.ignored_end` at the end, but at least one.
    pub(crate) fn read_tokens(&self, tokens: TokenSequence) -> TokenSequence {
        let Some(ignored) = self.ignored_end else { return tokens };
        let ends = tokens.ids.iter().rev().take_while(|id| **id == ignored).count();
        let kept = (tokens.len() - ends).max(1);
        tokens.keep_start(kept)
    }

    fn pair(&self, pair: &PairFormat, dialogue: &[Message]) -> Result<EncodedTurn, String> {
        let (limit, mark) = (self.max_tokens, self.mark_replies);
        let mut read = pair.encode(&self.tokenizer, dialogue, limit, mark)?;
        if let Some(control) = &self.control
            && control.of_ids(&read.tokens.ids).len() > PairFormat::added_tokens(&self.tokenizer)
        {
            let neutral = self.neutral(control)?;
            read = pair.encode(neutral.tokenizer(), dialogue, limit, mark)?;
            read.tokens.ids = read.tokens.ids.iter().map(|id| neutral.id(*id)).collect();
        }
        let ReadPair { tokens, context, reply, cut } = read;
        let mut spans = Vec::new();
        let last = dialogue.len() - 1;
        if cut && context > 0 {
            // The messages whose ends are the context, from the last one on.
            let (mut first, mut tokens) = (last, 0);
            while first > 0 && tokens < context {
                first -= 1;
                tokens += self.count(&dialogue[first].content, limit)?;
            }
            spans.push(MessagesRead { first, last: last - 1, tokens: context, cut: true });
        }
        if cut {
            let whole = reply == self.count(&dialogue[last].content, limit)?;
            spans.push(MessagesRead { first: last, last, tokens: reply, cut: !whole });
        }
        Ok(EncodedTurn { tokens, truncated: cut, read: spans })
    }

    fn one_text(&self, dialogue: &[Message]) -> Result<EncodedTurn, String> {
        let turns: Vec<Turn<'_>> = dialogue.iter().map(Turn::of).collect();
        match self.render(&turns) {
            Ok(rendered) => self.fit(dialogue, &rendered, 0),
            Err(refusal) => {
                let (shortened, dropped) =
                    self.without_leading(dialogue).ok_or_else(|| refusal.clone())?;
                let turns: Vec<Turn<'_>> = shortened.iter().map(Turn::of).collect();
                let rendered = self.render(&turns).map_err(|_| refusal)?;
                self.fit(&shortened, &rendered, dropped)
            }
        }
    }

    /// The dialogue without its leading assistant's messages, and their number, if the manifest
    /// drops them.
    fn without_leading(&self, dialogue: &[Message]) -> Option<(Vec<Message>, usize)> {
        let TextFormat::Chat { rules, .. } = &self.text else { return None };
        let dropped = rules.dropped(dialogue);
        let system = usize::from(dialogue.first().is_some_and(|first| first.role == Role::System));
        let kept = dialogue[..system].iter().chain(&dialogue[system + dropped..]).cloned();
        (dropped > 0).then(|| (kept.collect(), dropped))
    }

    /// Encodes the rendered dialogue, or as much of it as fits. `dropped` messages are missing
    /// after its system message.
    fn fit(
        &self,
        dialogue: &[Message],
        whole: &RenderedTurns,
        dropped: usize,
    ) -> Result<EncodedTurn, String> {
        // Encoding a dialogue that cannot fit is pointless.
        if !too_long_to_try(dialogue, self.max_tokens) {
            let ReadTurns { tokens, .. } = self.encode_rendered(whole)?;
            if tokens.len() <= self.max_tokens {
                let read = match dropped {
                    0 => Vec::new(),
                    _ => self.all_but_leading(dialogue, dropped)?,
                };
                return Ok(EncodedTurn { tokens, truncated: dropped > 0, read });
            }
        }
        let (skipped, keep_system) = (dropped, self.keep_system);
        if self.truncation == Truncation::Messages {
            let mut encoded = self.drop_messages(dialogue, skipped, keep_system)?;
            encoded.truncated |= dropped > 0;
            return Ok(encoded);
        }
        let cut = TokenCut { reader: self, dialogue, skipped, limit: self.max_tokens, keep_system };
        match cut.fit()? {
            Some(FittedWindow { tokens, complete: true, .. }) if dropped > 0 => {
                let read = self.all_but_leading(dialogue, dropped)?;
                return Ok(EncodedTurn { tokens, truncated: true, read });
            }
            Some(FittedWindow { tokens, read, complete }) => {
                return Ok(EncodedTurn { tokens, truncated: !complete, read });
            }
            None => {}
        }
        // The limit is smaller than the text that the template writes around the shortest window.
        let last = dialogue.len() - 1;
        let reply = Fragment::tail(self, &dialogue[last].content, self.max_tokens)?;
        let alone = [Turn::with(dialogue[last].role, &reply.text)];
        let mut turns: Vec<Turn<'_>> =
            dialogue[..last].iter().map(|message| Turn::with(message.role, "")).collect();
        turns.extend(alone.iter().cloned());
        let rendered = self.render(&alone).or_else(|_| self.render(&turns))?;
        Ok(self.keep_end(&self.encode_rendered(&rendered)?, last + dropped))
    }

    /// The end of an encoding that does not fit.
    pub(crate) fn keep_end(&self, read: &ReadTurns, reply: usize) -> EncodedTurn {
        let tokens = read.tokens.keep_end(read.head, self.max_tokens);
        let count = tokens.len().saturating_sub(read.head);
        let span = MessagesRead { first: reply, last: reply, tokens: count, cut: true };
        EncodedTurn { tokens, truncated: true, read: vec![span] }
    }

    /// The messages of a dialogue that is read whole but for `dropped` leading ones.
    fn all_but_leading(
        &self,
        dialogue: &[Message],
        dropped: usize,
    ) -> Result<Vec<MessagesRead>, String> {
        let count = |messages: &[Message]| -> Result<usize, String> {
            messages.iter().map(|message| self.count(&message.content, self.max_tokens)).sum()
        };
        let system = usize::from(dialogue[0].role == Role::System);
        let mut spans = Vec::with_capacity(2);
        if system == 1 {
            let tokens = count(&dialogue[..1])?;
            spans.push(MessagesRead { first: 0, last: 0, tokens, cut: false });
        }
        let last = dialogue.len() - 1 + dropped;
        let tokens = count(&dialogue[system..])?;
        spans.push(MessagesRead { first: system + dropped, last, tokens, cut: false });
        Ok(spans)
    }

    /// The text of the turns. The error is the template's refusal.
    pub(crate) fn render(&self, turns: &[Turn<'_>]) -> Result<RenderedTurns, String> {
        match &self.text {
            TextFormat::Plain { prefix, separator } => {
                let mut rendered = DialogueText::of_template(String::new());
                let mut reply = 0;
                for (place, turn) in turns.iter().enumerate() {
                    if place > 0 {
                        rendered.push_frame(separator);
                    }
                    rendered.push_frame(prefix.of(turn.role));
                    reply = rendered.text.len();
                    rendered.push_content(&turn.content);
                }
                Ok(RenderedTurns { rendered, reply })
            }
            TextFormat::Chat { template, tracker, rules } => {
                let render = |turns: &[Turn<'_>]| match (tracker, &self.control) {
                    (Some(tracker), Some(control)) => tracker.render(template, control, turns),
                    _ => template.render(turns).map(DialogueText::of_template),
                };
                let mut rendered = render(turns).or_else(|refusal| match rules.adapt(turns) {
                    Some(adapted) => render(&adapted).map_err(|_| refusal),
                    None => Err(refusal),
                })?;
                if let Some((steps, _)) = &self.steps {
                    rendered.replace(STEP, &steps.mark);
                }
                Ok(RenderedTurns { rendered, reply: 0 })
            }
            TextFormat::Pair(_) => Err("a pair is no single text".to_owned()),
        }
    }

    /// Encodes rendered turns. The tokenizer adds special tokens in the plain format; a chat
    /// template has written them.
    pub(crate) fn encode_rendered(&self, turns: &RenderedTurns) -> Result<ReadTurns, String> {
        let RenderedTurns { rendered, reply } = turns;
        let plain = matches!(self.text, TextFormat::Plain { .. });
        let encoding = self.encoding(&rendered.text, plain)?;
        let forged = self.control.as_ref().filter(|control| {
            control.in_contents(&encoding, &rendered.text, &rendered.skeleton)
                || (rendered.looked_into
                    && control.of_ids(encoding.get_ids()) != control.sequence(&rendered.skeleton))
        });
        let (ids, encoding, reply) = match forged {
            None => (encoding.get_ids().to_vec(), encoding, *reply),
            Some(control) => self.neutral(control)?.encode(rendered, control, plain, *reply)?,
        };
        if !plain
            && let (Some(bos), [first, second, ..]) = (self.bos, ids.as_slice())
            && *first == bos
            && *second == bos
        {
            return Err("the rendered dialogue begins with two BOS tokens".to_owned());
        }
        let head = match plain {
            true => {
                encoding.get_special_tokens_mask().iter().take_while(|mask| **mask == 1).count()
            }
            false => usize::from(ids.first().copied() == self.bos && self.bos.is_some()),
        };
        let mut tokens = self.mark_reply(ids, &encoding, reply);
        if let Some((_, mark)) = &self.steps {
            // A message may hold the mark too, if that is no control token.
            let own = |place: usize| {
                let (start, end) = encoding.get_offsets()[place];
                forged.is_some() || !rendered.skeleton[start..end].contains(&0)
            };
            tokens.steps = step_places(&tokens.ids, *mark, own);
        }
        Ok(ReadTurns { tokens, head })
    }

    fn neutral(&self, control: &ControlTokens) -> Result<&NeutralTokenizer, String> {
        let new = || NeutralTokenizer::of(&self.tokenizer, control);
        self.neutral.get_or_init(new).as_ref().map_err(Clone::clone)
    }

    fn encoding(&self, text: &str, add_special_tokens: bool) -> Result<Encoding, String> {
        // Offsets mark replies and find the origin of control tokens; encoding without them is
        // faster.
        let encoding = match self.mark_replies || self.control.is_some() {
            true => self.tokenizer.encode(text, add_special_tokens),
            false => self.tokenizer.encode_fast(text, add_special_tokens),
        };
        encoding.map_err(|error| error.to_string())
    }

    /// The ids, with the tokens at or after byte `reply` of the text marked, special tokens
    /// excepted.
    fn mark_reply(&self, ids: Vec<u32>, encoding: &Encoding, reply: usize) -> TokenSequence {
        let mut tokens = TokenSequence::unmarked(ids);
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

impl Pieces for Encoder {
    fn pieces(&self, text: &str) -> Result<Vec<(usize, usize)>, String> {
        let encoding = self.tokenizer.encode_char_offsets(text, false);
        Ok(encoding.map_err(|error| error.to_string())?.get_offsets().to_vec())
    }
}

impl WindowReader for Encoder {
    fn read(&self, turns: &[Turn<'_>]) -> Result<Option<TokenSequence>, String> {
        match self.render(turns) {
            Ok(rendered) => self.encode_rendered(&rendered).map(|read| Some(read.tokens)),
            Err(_) => Ok(None),
        }
    }
}

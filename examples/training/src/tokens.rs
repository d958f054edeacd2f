//! The tokenizer: a byte-level BPE with one token per digit, trained on the imitation data or read
//! from a GGUF file.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use guerdon_client::Role;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, Tokenizer, TokenizerBuilder};

use crate::scene::{NegotiationFacts, Scene};

const PAD: &str = "<pad>";
const FACTS: &str = "<facts>";
const PARTNER: &str = "<partner>";
const AGENT: &str = "<agent>";
const END: &str = "<end>";

const CHAT_BEGIN: &str = "<|im_start|>";
const CHAT_END: &str = "<|im_end|>";

/// A tokenizer and the ids that the loop needs.
#[derive(Debug, Clone)]
pub struct DialogueTokenizer {
    tokenizer: Tokenizer,
    /// Set when prompts are written as ChatML.
    chat: bool,
    /// The padding id, never a target.
    pub pad: u32,
    /// The end id of a reply.
    pub end: u32,
}

impl DialogueTokenizer {
    /// Trains a vocabulary of at most `size` tokens on prompts and replies.
    ///
    /// # Errors
    /// The errors of the tokenizers crate.
    pub fn train(pairs: &[(Scene, String)], size: usize) -> anyhow::Result<Self> {
        let fault = |error: tokenizers::Error| anyhow!("cannot train the tokenizer: {error}");
        let special: Vec<_> = [PAD, FACTS, PARTNER, AGENT, END]
            .iter()
            .map(|name| AddedToken::from(*name, true))
            .collect();
        let byte_level = || ByteLevel::new(false, false, true);
        let mut tokenizer = TokenizerBuilder::default()
            .with_model(BPE::default())
            .with_normalizer(None::<tokenizers::normalizers::NFC>)
            .with_pre_tokenizer(Some(Sequence::new(vec![
                Digits::new(true).into(),
                byte_level().into(),
            ])))
            .with_post_processor(Some(byte_level()))
            .with_decoder(Some(byte_level()))
            .build()
            .map_err(fault)?;
        let mut trainer = BpeTrainerBuilder::new()
            .show_progress(false)
            .vocab_size(size)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(special)
            .build();
        let texts = pairs.iter().flat_map(|(scene, reply)| {
            scene
                .messages
                .iter()
                .map(|message| message.content.clone())
                .chain([facts(scene), reply.clone()])
        });
        tokenizer.train(&mut trainer, texts.collect::<Vec<_>>().into_iter()).map_err(fault)?;
        let text = tokenizer.to_string(false).map_err(fault)?;
        Self::parse(&text)
    }

    /// The tokenizer of a GGUF file for a ChatML model, from its tokens by id and its merges.
    ///
    /// # Errors
    /// The errors of the tokenizers crate; a vocabulary without the tokens of ChatML.
    pub fn chat(vocabulary: &[String], merges: &[String]) -> anyhow::Result<Self> {
        let fault = |error: tokenizers::Error| anyhow!("cannot build the tokenizer: {error}");
        let ids: Vocab =
            vocabulary.iter().zip(0_u32..).map(|(token, id)| (token.clone(), id)).collect();
        let pair =
            |merge: &String| merge.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
        let merges = merges.iter().filter_map(pair).collect();
        let bpe = BPE::builder().vocab_and_merges(ids, merges).build().map_err(fault)?;
        let mut tokenizer = Tokenizer::new(bpe);
        let byte_level = || ByteLevel::new(false, false, true);
        let split = Sequence::new(vec![Digits::new(true).into(), byte_level().into()]);
        tokenizer.with_pre_tokenizer(Some(split)).with_decoder(Some(byte_level()));
        let special = [CHAT_BEGIN, CHAT_END].map(|name| AddedToken::from(name, true));
        tokenizer.add_special_tokens(special).map_err(fault)?;
        Self::parse(&tokenizer.to_string(false).map_err(fault)?)
    }

    /// Reads a tokenizer written by [`DialogueTokenizer::save`].
    ///
    /// # Errors
    /// A file that cannot be read, is not a tokenizer, or lacks one of this example's special
    /// tokens.
    pub fn load(file: &Path) -> anyhow::Result<Self> {
        let text = crate::files::read(file)?;
        Self::parse(&text)
            .with_context(|| format!("{} is not a tokenizer of this example", file.display()))
    }

    /// Writes `tokenizer.json`.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, file: &Path) -> anyhow::Result<()> {
        let text = self.tokenizer.to_string(true).map_err(|error| anyhow!("{error}"))?;
        crate::files::write(file, text.as_bytes())
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let tokenizer: Tokenizer = text.parse().map_err(|error| anyhow!("{error}"))?;
        let id = |name: &str| {
            tokenizer.token_to_id(name).with_context(|| format!("it has no token {name}"))
        };
        let chat = id(CHAT_BEGIN).is_ok();
        let (pad, end) = if chat {
            (id(CHAT_END)?, id(CHAT_END)?)
        } else {
            id(FACTS).and(id(PARTNER)).and(id(AGENT))?;
            (id(PAD)?, id(END)?)
        };
        Ok(Self { tokenizer, chat, pad, end })
    }

    /// The number of ids.
    #[must_use]
    pub fn size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The prompt of a scene: its facts, the dialogue, and the marker of the agent's turn.
    ///
    /// # Errors
    /// The errors of the tokenizers crate.
    pub fn prompt(&self, scene: &Scene) -> anyhow::Result<Vec<u32>> {
        if self.chat {
            return self.encode(&in_words(scene));
        }
        let mut text = format!("{FACTS}{}", facts(scene));
        for message in &scene.messages {
            text.push_str(if message.role == Role::Assistant { AGENT } else { PARTNER });
            text.push_str(&message.content);
        }
        text.push_str(AGENT);
        self.encode(&text)
    }

    /// The tokens of a reply, with the end token.
    ///
    /// # Errors
    /// The errors of the tokenizers crate.
    pub fn reply(&self, reply: &str) -> anyhow::Result<Vec<u32>> {
        let mut ids = self.encode(reply)?;
        ids.push(self.end);
        Ok(ids)
    }

    /// The text of a reply's tokens.
    ///
    /// # Errors
    /// The errors of the tokenizers crate.
    pub fn text(&self, ids: &[u32]) -> anyhow::Result<String> {
        self.tokenizer.decode(ids, true).map_err(|error| anyhow!("cannot decode a reply: {error}"))
    }

    fn encode(&self, text: &str) -> anyhow::Result<Vec<u32>> {
        let encoding = self
            .tokenizer
            .encode(text, false)
            .map_err(|error| anyhow!("cannot encode: {error}"))?;
        Ok(encoding.get_ids().to_vec())
    }
}

/// The agent's briefing. It omits the selling price, which no good reply needs.
fn facts(scene: &Scene) -> String {
    let facts = &scene.facts;
    let (agent, hotel, room) = (facts.agent, facts.hotel, facts.room);
    format!(
        "{} {} {} {} {agent} {hotel} {room}",
        scene.stage, facts.net, facts.target, facts.currency
    )
}

/// The prompt for an instruction-tuned model.
fn in_words(scene: &Scene) -> String {
    let NegotiationFacts { agent, hotel, room, net, target, currency, .. } = &scene.facts;
    let mut text = format!(
        "{CHAT_BEGIN}system\nYou are {agent} from a travel platform, and you talk to {hotel} in a chat. The {room} costs \
         {net} {currency} now; ask politely for {target} {currency}. Answer in one or two short sentences.{CHAT_END}\n"
    );
    for message in &scene.messages {
        let role = message.role.as_str();
        text.push_str(&format!("{CHAT_BEGIN}{role}\n{}{CHAT_END}\n", message.content));
    }
    text + CHAT_BEGIN + "assistant\n"
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;
    use crate::scene::DataSplit;

    #[test]
    fn a_reply_round_trips_through_tokens() {
        let mut rng = StdRng::seed_from_u64(1);
        let pairs: Vec<_> = (0..200)
            .map(|_| {
                let scene = Scene::draw(&mut rng, DataSplit::Train);
                let reply = scene.imitate(&mut rng, 0.5);
                (scene, reply)
            })
            .collect();
        let tokens = DialogueTokenizer::train(&pairs, 600).unwrap();
        for (scene, reply) in &pairs {
            let ids = tokens.reply(reply).unwrap();
            assert_eq!(&tokens.text(&ids).unwrap(), reply);
            assert_eq!(
                tokens.prompt(scene).unwrap().iter().filter(|id| **id == tokens.end).count(),
                0
            );
        }
        assert!(tokens.size() <= 600);
    }
}

//! The decoder itself: token ids in, log-probs and values out.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::attention::{KeyValueCache, Rotary, attend, mask};
use super::fused::{log_probs, rms_norm, swiglu};
use super::projection::{FrozenMatrix, Projection};
use super::weights::WeightSet;

const EPS: f64 = 1e-5;

/// The sizes of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DecoderConfig {
    /// Token ids.
    pub vocabulary: usize,
    /// Width of a hidden state.
    pub width: usize,
    /// Blocks of attention and feed-forward.
    pub layers: usize,
    /// Attention heads; divides `width` into even parts.
    pub heads: usize,
    /// Heads of keys and values; divides `heads`.
    pub key_heads: usize,
    /// Width of the feed-forward part.
    pub inner: usize,
    /// The longest dialogue, in tokens.
    pub positions: usize,
    /// The base of the rotary positions.
    pub theta: f64,
}

/// Parameters that are not trained, by name.
pub type Trunk = BTreeMap<String, Tensor>;

impl DecoderConfig {
    /// The small policy: 1.15 million parameters with a vocabulary of 1,024.
    #[must_use]
    pub const fn small(vocabulary: usize) -> Self {
        Self {
            vocabulary,
            width: 128,
            layers: 5,
            heads: 4,
            key_heads: 4,
            inner: 352,
            positions: 192,
            theta: 10_000.0,
        }
    }

    /// Draws the weights of a new policy.
    ///
    /// # Errors
    /// The errors of candle.
    pub fn draw(&self, rng: &mut impl Rng) -> Result<WeightSet> {
        let Self { vocabulary, width, inner, .. } = *self;
        let mut weights = WeightSet::default();
        weights.draw("embed", &[vocabulary, width], 0.05, rng)?;
        for layer in 0..self.layers {
            for norm in ["attention.norm", "feed.norm"] {
                weights.fill(format!("{layer}.{norm}"), &[width], 1.0)?;
            }
            for (name, outputs) in [("q", width), ("k", self.keys()), ("v", self.keys())] {
                weights.draw(format!("{layer}.{name}"), &[outputs, width], scale(width), rng)?;
            }
            weights.draw(format!("{layer}.o"), &[width, width], 0.3 * scale(width), rng)?;
            weights.draw(format!("{layer}.gate"), &[inner, width], scale(width), rng)?;
            weights.draw(format!("{layer}.up"), &[inner, width], scale(width), rng)?;
            weights.draw(format!("{layer}.down"), &[width, inner], 0.3 * scale(inner), rng)?;
        }
        weights.fill("norm", &[width], 1.0)?;
        self.draw_critic(&mut weights, rng)?;
        Ok(weights)
    }

    /// Draws the parameters trained on top of a trunk: low-rank corrections of queries and values,
    /// and the critic. Until the first step, the policy equals that of the trunk.
    ///
    /// # Errors
    /// The errors of candle.
    pub fn adapt(&self, rank: usize, rng: &mut impl Rng) -> Result<WeightSet> {
        let mut weights = WeightSet::default();
        for layer in 0..self.layers {
            for (name, outputs) in [("q", self.width), ("v", self.keys())] {
                weights.draw(
                    format!("{layer}.{name}.down"),
                    &[rank, self.width],
                    scale(self.width),
                    rng,
                )?;
                weights.fill(format!("{layer}.{name}.up"), &[outputs, rank], 0.0)?;
            }
        }
        self.draw_critic(&mut weights, rng)?;
        Ok(weights)
    }

    /// Width of all key heads together.
    const fn keys(&self) -> usize {
        self.width / self.heads * self.key_heads
    }

    fn draw_critic(&self, weights: &mut WeightSet, rng: &mut impl Rng) -> Result<()> {
        weights.draw("critic.hidden", &[self.width, self.width], scale(self.width), rng)?;
        weights.draw("critic.out", &[1, self.width], 0.1 * scale(self.width), rng)
    }
}

/// The bound of initial weights with this number of inputs.
fn scale(inputs: usize) -> f32 {
    (3.0 / inputs as f32).sqrt()
}

/// A policy over some weights. It shares their storage, so that a step of the optimizer takes
/// effect at once.
#[derive(Debug, Clone)]
pub struct Policy {
    config: DecoderConfig,
    /// Also the output matrix.
    embed: Projection,
    blocks: Vec<DecoderLayer>,
    norm: Tensor,
    critic: [Projection; 2],
    rotary: Rotary,
}

#[derive(Debug, Clone)]
struct DecoderLayer {
    attention_norm: Tensor,
    feed_norm: Tensor,
    attention: [Projection; 4],
    feed: [Projection; 3],
}

/// A batch of dialogues. Prompts are padded on the left and replies on the right, so that all
/// replies begin in the same column.
#[derive(Debug, Clone)]
pub struct Dialogues {
    /// Token ids, `[B, P + T]`.
    pub ids: Tensor,
    /// Flags of the slots that are tokens, `[B][P + T]`.
    pub valid: Vec<Vec<bool>>,
    /// `P`, the columns of the prompts.
    pub prompt: usize,
    /// Reply lengths.
    pub lens: Vec<usize>,
}

impl Dialogues {
    /// Pads prompts and replies to a batch.
    ///
    /// # Errors
    /// The errors of candle.
    pub fn new(prompts: &[&[u32]], replies: &[&[u32]], pad: u32) -> Result<Self> {
        let longest = |rows: &[&[u32]]| rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let (prompt, width) = (longest(prompts), longest(replies));
        let (mut ids, mut valid) = (Vec::new(), Vec::new());
        for (before, reply) in prompts.iter().zip(replies) {
            let gaps = [prompt - before.len(), width - reply.len()];
            ids.extend(std::iter::repeat_n(pad, gaps[0]));
            ids.extend_from_slice(before);
            ids.extend_from_slice(reply);
            ids.extend(std::iter::repeat_n(pad, gaps[1]));
            valid.push(
                (0..prompt + width)
                    .map(|at| (gaps[0]..prompt + reply.len()).contains(&at))
                    .collect(),
            );
        }
        let ids = Tensor::from_vec(ids, (prompts.len(), prompt + width), &Device::Cpu)?;
        Ok(Self { ids, valid, prompt, lens: replies.iter().map(|reply| reply.len()).collect() })
    }

    /// `T`, the columns of the replies.
    #[must_use]
    pub fn width(&self) -> usize {
        self.valid.first().map_or(0, Vec::len) - self.prompt
    }

    /// The replies' ids as numbers, `[B, T]`, padding -1.
    fn targets(&self, dtype: DType) -> Result<Tensor> {
        let ids = self.ids.narrow(1, self.prompt, self.width())?.to_vec2::<u32>()?;
        let row = |(ids, len): (&Vec<u32>, &usize)| {
            let number = |(at, id): (usize, &u32)| if at < *len { f64::from(*id) } else { -1.0 };
            ids.iter().enumerate().map(number).collect::<Vec<_>>()
        };
        let numbers: Vec<f64> = ids.iter().zip(&self.lens).flat_map(row).collect();
        Tensor::from_vec(numbers, (self.lens.len(), self.width()), &Device::Cpu)?.to_dtype(dtype)
    }
}

impl Policy {
    /// A policy of these sizes over these weights, and over the trunk for missing ones.
    ///
    /// # Errors
    /// A weight that is in neither.
    pub fn new(config: DecoderConfig, weights: &WeightSet, trunk: &Trunk) -> anyhow::Result<Self> {
        let vector = |name: &str| match trunk.get(name) {
            Some(tensor) => Ok(tensor.clone()),
            None => weights.get(name).cloned(),
        };
        let matrix = |name: &str| match trunk.get(name) {
            None => weights.get(name).cloned().map(Projection::Whole),
            Some(tensor) => {
                let frozen = FrozenMatrix(tensor.clone());
                let low_rank = |part: &str| weights.get(&format!("{name}.{part}")).cloned();
                Ok(match (low_rank("down"), low_rank("up")) {
                    (Ok(down), Ok(up)) => Projection::Adapted { frozen, down, up },
                    _ => Projection::FrozenMatrix(frozen),
                })
            }
        };
        let mut blocks = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            let (vector, matrix) = (
                |name| vector(&format!("{layer}.{name}")),
                |name| matrix(&format!("{layer}.{name}")),
            );
            blocks.push(DecoderLayer {
                attention_norm: vector("attention.norm")?,
                feed_norm: vector("feed.norm")?,
                attention: [matrix("q")?, matrix("k")?, matrix("v")?, matrix("o")?],
                feed: [matrix("gate")?, matrix("up")?, matrix("down")?],
            });
        }
        let (embed, norm) = (matrix("embed")?, vector("norm")?);
        let rotary =
            Rotary::new(config.positions, config.width / config.heads, config.theta, norm.dtype())?;
        let critic = [matrix("critic.hidden")?, matrix("critic.out")?];
        Ok(Self { config, embed, blocks, norm, critic, rotary })
    }

    /// The same policy without gradients, over the same storage.
    #[must_use]
    pub fn detached(&self) -> Self {
        let blocks = self.blocks.iter().map(|block| DecoderLayer {
            attention_norm: block.attention_norm.detach(),
            feed_norm: block.feed_norm.detach(),
            attention: block.attention.each_ref().map(Projection::detached),
            feed: block.feed.each_ref().map(Projection::detached),
        });
        Self {
            config: self.config,
            embed: self.embed.detached(),
            blocks: blocks.collect(),
            norm: self.norm.detach(),
            critic: self.critic.each_ref().map(Projection::detached),
            rotary: self.rotary.clone(),
        }
    }

    /// Computes log-probs of the replies' tokens, 0 in padded slots, and values of the states
    /// before them, undefined in padded slots; both `[B, T]`.
    ///
    /// # Errors
    /// The errors of candle.
    pub fn forward(&self, batch: &Dialogues) -> Result<(Tensor, Tensor)> {
        let width = batch.width();
        let mask = mask(&batch.valid, batch.valid.first().map_or(0, Vec::len), self.dtype())?;
        let hidden = self.hidden(&batch.ids, &mask, None)?;
        let before = hidden.narrow(1, batch.prompt - 1, width)?.contiguous()?;
        let logp = log_probs(&self.logits(&before)?, &batch.targets(self.dtype())?)?;
        Ok((logp, self.values(&before)?))
    }

    /// Computes hidden states `[B, S, width]` of token ids `[B, S]`.
    pub(super) fn hidden(
        &self,
        ids: &Tensor,
        mask: &Tensor,
        memory: Option<&mut [KeyValueCache]>,
    ) -> Result<Tensor> {
        let (rows, len) = ids.dims2()?;
        let mut x = self.embed.weight().embedding(&ids.flatten_all()?)?.reshape((
            rows,
            len,
            self.config.width,
        ))?;
        let mut memory = memory.map(|memory| memory.iter_mut());
        for block in &self.blocks {
            let remembered = memory.as_mut().and_then(Iterator::next);
            let normed = rms_norm(&x, &block.attention_norm, EPS)?;
            let [q, k, v, o] = &block.attention;
            let (q, k, v) = (q.apply(&normed)?, k.apply(&normed)?, v.apply(&normed)?);
            let heads = [self.config.heads, self.config.key_heads];
            x = (x + o.apply(&attend([&q, &k, &v], heads, &self.rotary, mask, remembered)?)?)?;
            let normed = rms_norm(&x, &block.feed_norm, EPS)?;
            let [gate, up, down] = &block.feed;
            x = (&x + down.apply(&swiglu(&gate.apply(&normed)?, &up.apply(&normed)?)?)?)?;
        }
        rms_norm(&x, &self.norm, EPS)
    }

    /// Computes logits `[B, S, vocabulary]`; the output matrix is the embedding.
    pub(super) fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.embed.apply(hidden)
    }

    /// Computes the critic's values. Its gradient stops at the policy's features.
    fn values(&self, hidden: &Tensor) -> Result<Tensor> {
        let [inner, out] = &self.critic;
        out.apply(&inner.apply(&hidden.detach())?.tanh()?)?.squeeze(2)
    }

    pub(super) fn memory(&self) -> Vec<KeyValueCache> {
        vec![KeyValueCache::default(); self.blocks.len()]
    }

    pub(super) fn dtype(&self) -> DType {
        self.norm.dtype()
    }
}

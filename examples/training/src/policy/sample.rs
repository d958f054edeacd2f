//! Samples replies token by token with a key-value cache.

use candle_core::{DType, Device, Tensor};
use rand::Rng;

use super::attention::mask;
use super::decoder::{Dialogues, Policy};

/// A sampled reply.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplyTokens {
    /// Its tokens, including the end token if it was reached.
    pub ids: Vec<u32>,
    /// Set when the reply ended within the limit.
    pub ended: bool,
}

/// The settings of sampling.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// The temperature; 0 takes the most likely token.
    pub temperature: f64,
    /// Maximum tokens of a reply.
    pub limit: usize,
    /// The padding id.
    pub pad: u32,
    /// The end id.
    pub end: u32,
}

/// Samples one reply to each prompt, without gradients.
///
/// # Errors
/// The errors of candle.
pub fn sample(
    policy: &Policy,
    prompts: &[&[u32]],
    Sampling { temperature, limit, pad, end }: Sampling,
    rng: &mut impl Rng,
) -> candle_core::Result<Vec<ReplyTokens>> {
    let policy = policy.detached();
    let none: Vec<&[u32]> = vec![&[]; prompts.len()];
    let Dialogues { mut ids, mut valid, .. } = Dialogues::new(prompts, &none, pad)?;
    let mut replies = vec![ReplyTokens { ids: Vec::new(), ended: false }; prompts.len()];
    let mut memory = policy.memory();
    for _ in 0..limit {
        let len = ids.dim(1)?;
        let hidden = policy.hidden(&ids, &mask(&valid, len, policy.dtype())?, Some(&mut memory))?;
        let logits = policy.logits(&hidden.narrow(1, len - 1, 1)?.contiguous()?)?.squeeze(1)?;
        let logits: Vec<Vec<f32>> = logits.to_dtype(DType::F32)?.to_vec2()?;
        let mut next = Vec::with_capacity(prompts.len());
        for ((reply, logits), valid) in replies.iter_mut().zip(&logits).zip(&mut valid) {
            // Drawn for ended rows too, so that a row's numbers do not depend on the lengths of
            // others.
            let drawn = draw(logits, temperature, rng);
            valid.push(!reply.ended);
            if reply.ended {
                next.push(pad);
                continue;
            }
            reply.ids.push(drawn);
            reply.ended = drawn == end;
            next.push(drawn);
        }
        if replies.iter().all(|reply| reply.ended) {
            break;
        }
        ids = Tensor::from_vec(next, (prompts.len(), 1), &Device::Cpu)?;
    }
    Ok(replies)
}

fn draw(logits: &[f32], temperature: f64, rng: &mut impl Rng) -> u32 {
    let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let point = rng.random::<f64>();
    let weight = |logit: f32| {
        if temperature > 0.0 {
            (f64::from(logit - best) / temperature).exp()
        } else {
            f64::from(u8::from(logit >= best))
        }
    };
    let total: f64 = logits.iter().copied().map(weight).sum();
    let mut left = point * total;
    let place = logits.iter().position(|logit| {
        left -= weight(*logit);
        left < 0.0
    });
    u32::try_from(place.unwrap_or(logits.len() - 1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn tokens_are_drawn_with_their_probabilities() {
        let mut rng = StdRng::seed_from_u64(3);
        let logits = [0.0_f32, 2.0_f32.ln(), f32::NEG_INFINITY, 1.0_f32.ln()];
        let mut counts = [0.0_f64; 4];
        for _ in 0..20_000 {
            counts[draw(&logits, 1.0, &mut rng) as usize] += 1.0 / 20_000.0;
        }
        for (count, share) in counts.iter().zip([0.25, 0.5, 0.0, 0.25]) {
            assert!((count - share).abs() < 0.015, "{counts:?}");
        }
        assert_eq!(draw(&logits, 0.0, &mut rng), 1);
    }
}

//! Causal attention with rotary positions.

use candle_core::{DType, Device, Result, Tensor};

use super::fused::{rotate, softmax};

/// Cosines and sines of the positions, `[positions, width]`.
#[derive(Debug, Clone)]
pub(crate) struct Rotary(Tensor);

impl Rotary {
    /// The table for `positions` positions and heads of `width`.
    pub(crate) fn new(positions: usize, width: usize, theta: f64, dtype: DType) -> Result<Self> {
        #[expect(clippy::cast_precision_loss, reason = "positions and widths are small")]
        let angles: Vec<f64> = (0..positions)
            .flat_map(|at| {
                (0..width / 2)
                    .map(move |pair| at as f64 / theta.powf(2.0 * pair as f64 / width as f64))
            })
            .collect();
        let angles = Tensor::from_vec(angles, (positions, width / 2), &Device::Cpu)?;
        Ok(Self(Tensor::cat(&[angles.cos()?, angles.sin()?], 1)?.to_dtype(dtype)?))
    }

    fn turn(&self, heads: &Tensor, from: usize) -> Result<Tensor> {
        rotate(heads, &self.0.narrow(0, from, heads.dim(2)?)?)
    }
}

/// Keys and values of earlier tokens, `[B, H, S, width]`.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyValueCache(Option<(Tensor, Tensor)>);

impl KeyValueCache {
    /// The number of tokens in the cache.
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |(keys, _)| keys.dims()[2])
    }

    fn extend(&mut self, keys: Tensor, values: Tensor) -> Result<(Tensor, Tensor)> {
        let all = match &self.0 {
            Some((k, v)) => (Tensor::cat(&[k, &keys], 2)?, Tensor::cat(&[v, &values], 2)?),
            None => (keys, values),
        };
        self.0 = Some(all.clone());
        Ok(all)
    }
}

/// Computes attention of `q` (`[B, S, H·width]`) over `k` and `v` (`[B, S, K·width]`, `K` dividing
/// `H`). `mask` (`[B, 1, S, all]`) is added to the scores. With a cache, earlier keys and values
/// come first, and the new ones are appended to it.
pub(crate) fn attend(
    [q, k, v]: [&Tensor; 3],
    heads: [usize; 2],
    rotary: &Rotary,
    mask: &Tensor,
    memory: Option<&mut KeyValueCache>,
) -> Result<Tensor> {
    let (rows, len, wide) = q.dims3()?;
    let [query_heads, key_heads] = heads;
    let width = wide / query_heads;
    let split = |x: &Tensor, heads: usize| {
        x.reshape((rows, len, heads, width))?.transpose(1, 2)?.contiguous()
    };
    let from = memory.as_ref().map_or(0, |memory| memory.len());
    let q = rotary.turn(&split(q, query_heads)?, from)?;
    let (k, v) = (rotary.turn(&split(k, key_heads)?, from)?, split(v, key_heads)?);
    let (k, v) = match memory {
        Some(memory) => memory.extend(k, v)?,
        None => (k, v),
    };
    let (k, v) = (shared(&k, query_heads / key_heads)?, shared(&v, query_heads / key_heads)?);
    #[expect(clippy::cast_precision_loss, reason = "a head is narrow")]
    let scale = 1.0 / (width as f64).sqrt();
    let weights = softmax(&q.matmul(&k.transpose(2, 3)?)?, mask, scale)?;
    weights.matmul(&v)?.transpose(1, 2)?.reshape((rows, len, wide))
}

/// Repeats each key head for `times` query heads.
fn shared(heads: &Tensor, times: usize) -> Result<Tensor> {
    if times == 1 {
        return Ok(heads.clone());
    }
    let (rows, count, len, width) = heads.dims4()?;
    heads.unsqueeze(2)?.expand((rows, count, times, len, width))?.reshape((
        rows,
        count * times,
        len,
        width,
    ))
}

/// The mask added to scores: 0 for visible keys, a large negative number for keys ahead of the
/// query and for padding. `valid` is `[B][all]`; queries are the last `len` positions.
pub(crate) fn mask(valid: &[Vec<bool>], len: usize, dtype: DType) -> Result<Tensor> {
    let all = valid.first().map_or(0, Vec::len);
    let mut numbers = Vec::with_capacity(valid.len() * len * all);
    for row in valid {
        for query in all - len..all {
            // Not minus infinity, because a row without visible keys (padding) would become NaN.
            numbers
                .extend((0..all).map(|key| if key <= query && row[key] { 0.0_f32 } else { -1e9 }));
        }
    }
    Tensor::from_vec(numbers, (valid.len(), 1, len, all), &Device::Cpu)?.to_dtype(dtype)
}

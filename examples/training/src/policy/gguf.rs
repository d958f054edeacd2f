//! Reads a Llama-like model from a GGUF file: sizes, tensors and vocabulary.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context as _, ensure};
use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{Device, Tensor};

use super::decoder::DecoderConfig;

/// The contents of a GGUF file, in `f32`.
#[derive(Debug, Clone)]
pub struct Gguf {
    /// Sizes.
    pub config: DecoderConfig,
    /// Tensors, by the names that the decoder asks for.
    pub tensors: BTreeMap<String, Tensor>,
    /// Tokens, by id.
    pub vocabulary: Vec<String>,
    /// Merges of the byte-level BPE, most frequent first.
    pub merges: Vec<String>,
}

/// Pairs of tensor names: in the decoder, and in GGUF files.
const LAYER: [(&str, &str); 9] = [
    ("attention.norm", "attn_norm"),
    ("feed.norm", "ffn_norm"),
    ("q", "attn_q"),
    ("k", "attn_k"),
    ("v", "attn_v"),
    ("o", "attn_output"),
    ("gate", "ffn_gate"),
    ("up", "ffn_up"),
    ("down", "ffn_down"),
];

impl Gguf {
    /// Reads a file. Dialogues can have up to `positions` tokens.
    ///
    /// # Errors
    /// A file that cannot be read, has another architecture, or has a separate output matrix.
    pub fn read(file: &Path, positions: usize) -> anyhow::Result<Self> {
        let read = || {
            let mut reader = BufReader::new(File::open(file)?);
            let content = Content::read(&mut reader)?;
            let text = |key: &str| {
                anyhow::Ok(content.metadata.get(key).context(key.to_owned())?.to_string()?.clone())
            };
            let whole = |key: &str| -> anyhow::Result<usize> {
                Ok(content.metadata.get(key).context(key.to_owned())?.to_u32()? as usize)
            };
            let real = |key: &str| {
                anyhow::Ok(content.metadata.get(key).context(key.to_owned())?.to_f32()?)
            };
            let list = |key: &str| -> anyhow::Result<Vec<String>> {
                let values = content.metadata.get(key).context(key.to_owned())?.to_vec()?;
                values.iter().map(|value: &Value| Ok(value.to_string()?.clone())).collect()
            };
            ensure!(
                text("general.architecture")? == "llama",
                "only the architecture `llama` is known"
            );
            ensure!(
                !content.tensor_infos.contains_key("output.weight"),
                "an untied output is not supported"
            );
            let vocabulary = list("tokenizer.ggml.tokens")?;
            let config = DecoderConfig {
                vocabulary: vocabulary.len(),
                width: whole("llama.embedding_length")?,
                layers: whole("llama.block_count")?,
                heads: whole("llama.attention.head_count")?,
                key_heads: whole("llama.attention.head_count_kv")?,
                inner: whole("llama.feed_forward_length")?,
                theta: f64::from(real("llama.rope.freq_base")?),
                positions,
            };
            let mut tensors = BTreeMap::new();
            let mut take = |here: String, there: String| -> anyhow::Result<()> {
                let tensor = content.tensor(&mut reader, &there, &Device::Cpu).context(there)?;
                tensors.insert(here, tensor.dequantize(&Device::Cpu)?);
                Ok(())
            };
            take("embed".to_owned(), "token_embd.weight".to_owned())?;
            take("norm".to_owned(), "output_norm.weight".to_owned())?;
            for layer in 0..config.layers {
                for (here, there) in LAYER {
                    take(format!("{layer}.{here}"), format!("blk.{layer}.{there}.weight"))?;
                }
            }
            for (name, heads) in [("q", config.heads), ("k", config.key_heads)] {
                for layer in 0..config.layers {
                    let key = format!("{layer}.{name}");
                    if let Some(tensor) = tensors.get_mut(&key) {
                        *tensor = halves(tensor, heads)?;
                    }
                }
            }
            anyhow::Ok(Self { config, tensors, vocabulary, merges: list("tokenizer.ggml.merges")? })
        };
        read().with_context(|| format!("{} cannot be used", file.display()))
    }
}

/// Permutes rows for the rotation, in which GGUF pairs neighbours and the decoder pairs halves:
/// rows `2j + h` become rows `h · width/2 + j` of each head.
fn halves(matrix: &Tensor, heads: usize) -> candle_core::Result<Tensor> {
    let (rows, inputs) = matrix.dims2()?;
    matrix
        .reshape((heads, rows / heads / 2, 2, inputs))?
        .transpose(1, 2)?
        .contiguous()?
        .reshape((rows, inputs))
}

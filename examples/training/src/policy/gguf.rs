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
    /// The sizes of the model.
    pub config: DecoderConfig,
    /// Tensors, by their names in the decoder.
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
            let value = |key: &str| {
                content.metadata.get(key).with_context(|| format!("the key `{key}` is missing"))
            };
            let text = |key: &str| anyhow::Ok(value(key)?.to_string()?.clone());
            let integer =
                |key: &str| -> anyhow::Result<usize> { Ok(value(key)?.to_u32()? as usize) };
            let float = |key: &str| anyhow::Ok(value(key)?.to_f32()?);
            let list = |key: &str| -> anyhow::Result<Vec<String>> {
                let values = value(key)?.to_vec()?;
                values.iter().map(|value: &Value| Ok(value.to_string()?.clone())).collect()
            };
            ensure!(
                text("general.architecture")? == "llama",
                "only the architecture `llama` is supported"
            );
            ensure!(
                !content.tensor_infos.contains_key("output.weight"),
                "a separate output matrix is not supported"
            );
            let vocabulary = list("tokenizer.ggml.tokens")?;
            let config = DecoderConfig {
                vocabulary: vocabulary.len(),
                width: integer("llama.embedding_length")?,
                layers: integer("llama.block_count")?,
                heads: integer("llama.attention.head_count")?,
                key_heads: integer("llama.attention.head_count_kv")?,
                inner: integer("llama.feed_forward_length")?,
                theta: f64::from(float("llama.rope.freq_base")?),
                positions,
            };
            let mut tensors = BTreeMap::new();
            let mut take = |name: String, gguf_name: String| -> anyhow::Result<()> {
                let tensor =
                    content.tensor(&mut reader, &gguf_name, &Device::Cpu).context(gguf_name)?;
                tensors.insert(name, tensor.dequantize(&Device::Cpu)?);
                Ok(())
            };
            take("embed".to_owned(), "token_embd.weight".to_owned())?;
            take("norm".to_owned(), "output_norm.weight".to_owned())?;
            for layer in 0..config.layers {
                for (name, gguf_name) in LAYER {
                    take(format!("{layer}.{name}"), format!("blk.{layer}.{gguf_name}.weight"))?;
                }
            }
            for (name, heads) in [("q", config.heads), ("k", config.key_heads)] {
                for layer in 0..config.layers {
                    let key = format!("{layer}.{name}");
                    if let Some(tensor) = tensors.get_mut(&key) {
                        *tensor = pair_halves(tensor, heads)?;
                    }
                }
            }
            anyhow::Ok(Self { config, tensors, vocabulary, merges: list("tokenizer.ggml.merges")? })
        };
        read().with_context(|| format!("{} cannot be used", file.display()))
    }
}

/// Permutes the rows of each head for the rotary embedding: GGUF rotates neighbouring rows
/// together, the decoder rows that are half a head apart. Row `2j + h` becomes row `h · width/2 +
/// j`.
fn pair_halves(matrix: &Tensor, heads: usize) -> candle_core::Result<Tensor> {
    let (rows, inputs) = matrix.dims2()?;
    matrix
        .reshape((heads, rows / heads / 2, 2, inputs))?
        .transpose(1, 2)?
        .contiguous()?
        .reshape((rows, inputs))
}

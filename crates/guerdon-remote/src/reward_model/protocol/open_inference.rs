//! The Open Inference Protocol, version 2 (KServe, Triton, MLServer): one input tensor of texts
//! with the shape \[turns, 1\], and a numeric output whose first dimension is the turns.

use serde::Deserialize;
use serde_json::{Value, json};

use super::exchange::{Raw, parsed, texts};
use crate::ask::{AskedTurn, Silence};

#[derive(Deserialize)]
struct InferReply {
    outputs: Vec<Tensor>,
}

#[derive(Deserialize)]
struct Tensor {
    datatype: String,
    data: Vec<Value>,
}

pub(super) fn request(turns: &[AskedTurn]) -> Vec<u8> {
    let texts = texts(turns);
    let input =
        json!({ "name": "text", "shape": [texts.len(), 1], "datatype": "BYTES", "data": texts });
    json!({ "inputs": [input] }).to_string().into_bytes()
}

pub(super) fn read(body: &[u8], turns: usize) -> Result<Vec<Raw>, String> {
    let reply: InferReply = parsed(body)?;
    let numeric = |tensor: &&Tensor| tensor.datatype.starts_with("FP") || tensor.datatype == "BF16";
    let tensor = reply.outputs.iter().find(numeric).ok_or("the reply has no output of floats")?;
    let mut flat = Vec::new();
    flatten(&tensor.data, &mut flat);
    let width = flat.len().checked_div(turns).unwrap_or_default();
    if width == 0 || width * turns != flat.len() {
        return Err(format!("the output has {} numbers for {turns} turns", flat.len()));
    }
    let rows =
        flat.chunks(width).map(|row| match row.iter().copied().collect::<Option<Vec<f64>>>() {
            Some(numbers) => Raw::Numbers(numbers),
            None => Raw::Silent(Silence::malformed("the reply has no number for this turn")),
        });
    Ok(rows.collect())
}

/// Data may be flat or nested as the shape is.
fn flatten(data: &[Value], flat: &mut Vec<Option<f64>>) {
    for value in data {
        match value {
            Value::Array(inner) => flatten(inner, flat),
            number => flat.push(number.as_f64()),
        }
    }
}

//! The model on its device: padded batches of token ids in, one raw score each out.
//!
//! [`Engine`] is the seam between the device thread and what runs the model, so that the thread's promises (batching,
//! deadlines, isolation of a poisoned sequence) are tested without a model, and another engine can take this one's place.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use ort::ep;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, TensorElementType, TensorRef};

use crate::manifest::Output;
use crate::{Device, Error, runtime};

/// What runs a model. It lives on one thread.
pub(crate) trait Engine: Send + 'static {
    /// One raw score per sequence, in order; NaN and infinities are the caller's to judge. Sequences are never empty.
    fn run(&mut self, sequences: &[&[u32]]) -> Result<Vec<f32>, String>;
}

/// What a session is made from.
#[derive(Debug)]
pub(crate) struct SessionConfig<'a> {
    pub(crate) model: &'a Path,
    pub(crate) output: &'a Output,
    pub(crate) device: Device,
    pub(crate) threads: Option<usize>,
    pub(crate) runtime: Option<&'a Path>,
    /// What stands in the padding; the mask hides it.
    pub(crate) pad: u32,
}

/// An ONNX Runtime session. `Session::run` is `&mut`, and on CUDA must be: whoever owns the engine is alone with it.
#[derive(Debug)]
pub(crate) struct OrtEngine {
    session: Session,
    inputs: Vec<(String, Fill)>,
    output: Output,
    pad: i64,
}

/// What an input of the graph is filled with; `[batch, longest]` of int64.
#[derive(Debug, Clone, Copy)]
enum Fill {
    /// Token ids, padded on the right.
    Ids,
    /// 1 for a token, 0 for padding.
    Mask,
    /// Segment ids: all 0, for a dialogue is one segment.
    Types,
    /// Positions from 0.
    Positions,
}

const FILLS: [(&str, Fill); 4] = [
    ("input_ids", Fill::Ids),
    ("attention_mask", Fill::Mask),
    ("token_type_ids", Fill::Types),
    ("position_ids", Fill::Positions),
];

impl OrtEngine {
    pub(crate) fn load(config: &SessionConfig<'_>) -> Result<Self, Error> {
        let environment = runtime::environment(config.runtime)?;
        let refused = |detail: String| Error::Model { path: PathBuf::from(config.model), detail };
        let session = Session::builder(&environment)
            .and_then(|builder| commit(builder, config))
            .map_err(|error| refused(format!("does not load on {}: {error}", config.device)))?;
        let inputs = session
            .inputs()
            .iter()
            .map(|input| {
                let fill = fill(input.name(), input.dtype().tensor_type()).map_err(refused)?;
                Ok((input.name().to_owned(), fill))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let outputs: Vec<&str> = session.outputs().iter().map(ort::value::Outlet::name).collect();
        if !outputs.contains(&config.output.name.as_str()) {
            let named = outputs.join("`, `");
            let wanted = &config.output.name;
            return Err(refused(format!("has no output `{wanted}`; name one of `{named}` as `output.name`")));
        }
        Ok(Self { session, inputs, output: config.output.clone(), pad: i64::from(config.pad) })
    }
}

fn commit(builder: SessionBuilder, config: &SessionConfig<'_>) -> ort::Result<Session> {
    let mut builder = builder
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_inter_threads(1)?
        // Spinning would burn the cores between batches, and the tokenizers want them.
        .with_intra_op_spinning(false)?;
    if let Some(threads) = config.threads {
        builder = builder.with_intra_threads(threads)?;
    }
    if let Device::Cuda(number) = config.device {
        let cuda = ep::CUDA::default()
            .with_device_id(i32::from(number))
            // Doubling overshoots when shapes vary as much as dialogues do.
            .with_arena_extend_strategy(ep::ArenaExtendStrategy::SameAsRequested)
            // A score must not depend on its batch, and TF32 rounds by the shape of the kernel.
            .with_tf32(false)
            // Without this a CUDA that does not load becomes the CPU, silently and fifty times slower. The stronger
            // switch, `disable_cpu_ep_fallback`, is no use: it refuses the shape arithmetic that belongs on the CPU.
            .build()
            .error_on_failure();
        builder = builder.with_execution_providers([cuda])?;
    }
    builder.commit_from_file(config.model)
}

fn fill(name: &str, kind: Option<TensorElementType>) -> Result<Fill, String> {
    let Some((_, fill)) = FILLS.iter().find(|(known, _)| *known == name) else {
        let known = FILLS.map(|(known, _)| known).join("`, `");
        return Err(format!("has an input `{name}`, which guerdon cannot fill; it knows `{known}`"));
    };
    match kind {
        Some(TensorElementType::Int64) => Ok(*fill),
        _ => Err(format!("takes something other than int64 as `{name}`; export it with int64 inputs")),
    }
}

impl Engine for OrtEngine {
    fn run(&mut self, sequences: &[&[u32]]) -> Result<Vec<f32>, String> {
        let longest = sequences.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let shape = [sequences.len(), longest];
        let filled: Vec<Vec<i64>> =
            self.inputs.iter().map(|(_, fill)| fill.tensor(sequences, longest, self.pad)).collect();
        let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::with_capacity(filled.len());
        for ((name, _), data) in self.inputs.iter().zip(&filled) {
            let tensor =
                TensorRef::from_array_view((shape, data.as_slice())).map_err(|error| error.to_string())?;
            inputs.push((Cow::Borrowed(name), tensor.into()));
        }
        let outputs = self.session.run(inputs).map_err(|error| error.to_string())?;
        let output =
            outputs.get(&self.output.name).ok_or_else(|| format!("gave no `{}`", self.output.name))?;
        column(output, sequences.len(), &self.output)
    }
}

impl Fill {
    fn tensor(self, sequences: &[&[u32]], longest: usize, pad: i64) -> Vec<i64> {
        let mut data = Vec::with_capacity(sequences.len() * longest);
        for (row, ids) in sequences.iter().enumerate() {
            match self {
                Self::Ids => data.extend(ids.iter().copied().map(i64::from)),
                Self::Mask => data.extend(std::iter::repeat_n(1, ids.len())),
                Self::Types => {}
                Self::Positions => data.extend((0i64..).take(longest)),
            }
            data.resize((row + 1) * longest, if matches!(self, Self::Ids) { pad } else { 0 });
        }
        data
    }
}

/// The score of each row of an output of shape `[rows]` or `[rows, labels]`.
fn column(output: &DynValue, rows: usize, wanted: &Output) -> Result<Vec<f32>, String> {
    let (shape, data) = output
        .try_extract_tensor::<f32>()
        .map_err(|error| format!("`{}` is not a tensor of float32: {error}", wanted.name))?;
    let shape = shape.to_vec();
    let labels = match shape.as_slice() {
        [_] => 1,
        [_, labels] => usize::try_from(*labels).unwrap_or(0),
        _ => {
            return Err(format!(
                "`{}` has shape {shape:?}; a score is [batch] or [batch, labels]",
                wanted.name
            ));
        }
    };
    let index = match wanted.index {
        Some(index) if index < labels => index,
        Some(index) => {
            return Err(format!("`output.index` is {index}, but `{}` has {labels} labels", wanted.name));
        }
        None if labels == 1 => 0,
        None => {
            return Err(format!(
                "`{}` has {labels} labels; say which is the score with `output.index`",
                wanted.name
            ));
        }
    };
    if data.len() != rows * labels {
        return Err(format!(
            "`{}` has {} values for {rows} sequences of {labels} labels",
            wanted.name,
            data.len()
        ));
    }
    Ok(data.iter().copied().skip(index).step_by(labels).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_on_the_right_and_masked() {
        let sequences: [&[u32]; 2] = [&[5, 6, 7], &[8]];
        assert_eq!(Fill::Ids.tensor(&sequences, 3, 9), [5, 6, 7, 8, 9, 9]);
        assert_eq!(Fill::Mask.tensor(&sequences, 3, 9), [1, 1, 1, 1, 0, 0]);
        assert_eq!(Fill::Types.tensor(&sequences, 3, 9), [0; 6]);
        assert_eq!(Fill::Positions.tensor(&sequences, 3, 9), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn an_input_that_cannot_be_filled_is_refused_with_those_that_can() {
        assert!(fill("pixel_values", Some(TensorElementType::Float32)).unwrap_err().contains("`input_ids`"));
        assert!(fill("input_ids", Some(TensorElementType::Int32)).unwrap_err().contains("int64"));
    }
}

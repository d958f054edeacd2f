//! The model on its device: token ids in, one raw score per sequence out.
//!
//! [`InferenceEngine`] separates the device thread from the inference library. The thread's
//! behaviour (batches, deadlines, isolation of a failing sequence) is tested without a model, and
//! the library can be replaced.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use ort::ep;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session, SessionInputValue, SessionOutputs};
use ort::value::TensorRef;

use crate::encode::tokens::TokenSequence;
use crate::engine::batch_plan::Layout;
use crate::engine::chunks::Chunks;
use crate::engine::graph::PackedGraph;
use crate::engine::head::{Head, HeadTensors, RawScore, TrialShape};
use crate::engine::kv_cache::KvCache;
use crate::engine::packed::Packing;
use crate::engine::padded::{Fill, PaddedInput, PaddedRows};
use crate::engine::sharing::Sharing;
use crate::engine::values::OutputTensor;
use crate::engine::weights::SharedWeights;
use crate::load::runtime;
use crate::{Device, Error};

/// An engine that runs a model. It is used by one thread only.
pub(crate) trait InferenceEngine: Send + 'static {
    /// The layout of sequences in a batch, which decides which sequences run well together.
    fn layout(&self) -> Layout;

    /// Returns one raw score per sequence, in order. Scores may be NaN or infinite; the caller
    /// checks them. Sequences are never empty.
    fn run(&mut self, sequences: &[&TokenSequence]) -> Result<Vec<RawScore>, String>;

    /// Allocates a cache for `tokens` tokens, if the engine has one.
    fn reserve(&mut self, _tokens: usize) -> Result<(), String> {
        Ok(())
    }
}

/// The metadata key of an exported graph that holds its number of positions.
const MAX_POSITIONS: &str = "guerdon.max_tokens";

/// The parameters of a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionConfig<'a> {
    pub(crate) model: &'a Path,
    pub(crate) head: &'a Head,
    pub(crate) device: Device,
    pub(crate) threads: usize,
    pub(crate) runtime: Option<&'a Path>,
    /// The weights of the model, if several sessions share them.
    pub(crate) weights: Option<&'a SharedWeights>,
    /// Tokens per block of the cache, if there is one.
    pub(crate) block_size: Option<usize>,
    /// The id that pads the shorter texts of a padded batch; `None` if texts must not be padded.
    pub(crate) pad: Option<u32>,
    /// The position of a padded text's first token.
    pub(crate) first_position: u32,
}

#[cfg(test)]
impl<'a> SessionConfig<'a> {
    /// A session of its own on one thread of a CPU, for texts that are not padded.
    pub(crate) const fn on_cpu(model: &'a Path, head: &'a Head) -> Self {
        Self {
            model,
            head,
            device: Device::Cpu,
            threads: 1,
            runtime: None,
            weights: None,
            block_size: None,
            pad: None,
            first_position: 0,
        }
    }
}

/// An ONNX Runtime session. `Session::run` takes `&mut self`, so an engine serves one caller at a
/// time.
#[derive(Debug)]
pub(crate) struct OrtEngine {
    session: Session,
    inputs: Inputs,
    head: Head,
    pad: Option<i64>,
    first_position: i64,
}

/// The inputs of the graph.
#[derive(Debug)]
enum Inputs {
    /// One row per sequence, each input `[batch, longest]`.
    Padded(Vec<PaddedInput>),
    /// Every distinct token once.
    Packed(PackedGraph, Sharing),
    /// Every distinct token once, over blocks of a cache.
    Paged(Box<KvCache>),
}

type NamedInputs<'a> = Vec<(Cow<'a, str>, SessionInputValue<'a>)>;

/// The weights of `config.model`, for several sessions on a CPU; `None` if they cannot be shared.
pub(crate) fn shared_weights(config: &SessionConfig<'_>) -> Result<Option<SharedWeights>, Error> {
    let environment = runtime::environment(config.runtime)?;
    let shared = Session::builder(&environment)
        .and_then(|builder| session_options(builder, config))
        .map_err(|error| error.to_string())
        .and_then(|builder| SharedWeights::load(builder, config.model));
    // A model that does not load fails again without shared weights, with the message of that
    // failure.
    Ok(shared.unwrap_or_else(|error| {
        tracing::debug!(error, "the weights of the reward model are not shared");
        None
    }))
}

impl OrtEngine {
    pub(crate) fn load(config: &SessionConfig<'_>) -> Result<Self, Error> {
        let environment = runtime::environment(config.runtime)?;
        let refused = |detail: String| Error::Model { path: PathBuf::from(config.model), detail };
        let session = Session::builder(&environment)
            .and_then(|builder| build_session(builder, config))
            .map_err(|error| refused(load_failure(config.device, &error.to_string())))?;
        let inputs = Inputs::of(&session, config).map_err(refused)?;
        check_outputs(&session, &inputs, config.head).map_err(refused)?;
        Ok(Self {
            session,
            inputs,
            head: config.head.clone(),
            pad: config.pad.map(i64::from),
            first_position: i64::from(config.first_position),
        })
    }

    /// Changes the id of the padding; `None` if texts must not be padded.
    pub(crate) fn set_pad(&mut self, pad: Option<u32>) {
        self.pad = pad.map(i64::from);
    }

    /// True if an input of the graph marks the tokens of the scored message.
    pub(crate) fn needs_reply_mask(&self) -> bool {
        match &self.inputs {
            Inputs::Padded(inputs) => inputs.iter().any(|input| input.fill == Fill::Reply),
            Inputs::Packed(graph, _) => *graph == PackedGraph::Encoder,
            Inputs::Paged(_) => false,
        }
    }

    /// The number of positions of the graph, if its metadata states it. Beyond them, the rotary
    /// operators may read out of range without an error.
    pub(crate) fn max_positions(&self) -> Option<usize> {
        self.session.metadata().ok()?.custom(MAX_POSITIONS)?.parse().ok()
    }

    /// Checks the manifest's output section against the shapes that a padded graph returns for two
    /// texts of different lengths. A packed graph returns one row per text.
    pub(crate) fn check_head(&mut self, short: &[u32], long: &[u32]) -> Result<(), String> {
        let Inputs::Padded(wanted) = &self.inputs else { return Ok(()) };
        let mut trial = |ids: &[u32]| {
            let tokens = TokenSequence::unmarked(ids);
            let rows =
                PaddedRows { longest: ids.len(), pad: 0, first_position: self.first_position };
            let data = PaddedData::of(wanted, &[&tokens], rows)?;
            let outputs = self
                .session
                .run(data.inputs(1, ids.len())?)
                .map_err(|error| format!("does not run: {error}"))?;
            let shape = tensor_of(&outputs, self.head.name())?.shape;
            Ok::<_, String>(TrialShape { shape, tokens: ids.len() })
        };
        let (short, long) = (trial(short)?, trial(long)?);
        self.head.check(&short, &long)
    }

    fn scores(
        &mut self,
        inputs: NamedInputs<'_>,
        sequences: &[&TokenSequence],
        longest: usize,
    ) -> Result<Vec<RawScore>, String> {
        let outputs = self.session.run(inputs).map_err(|error| error.to_string())?;
        read_scores(&outputs, &self.head, sequences, longest)
    }
}

/// The values of the inputs of a padded graph, as the graph's types.
struct PaddedData<'a>(Vec<(&'a str, PaddedValues)>);

enum PaddedValues {
    Wide(Vec<i64>),
    Narrow(Vec<i32>),
}

impl<'a> PaddedData<'a> {
    fn of(
        wanted: &'a [PaddedInput],
        sequences: &[&TokenSequence],
        rows: PaddedRows,
    ) -> Result<Self, String> {
        let fill = |input: &'a PaddedInput| {
            let wide = input.fill.tensor(sequences, rows);
            let values = if input.narrow {
                let narrow = wide.into_iter().map(i32::try_from).collect::<Result<_, _>>();
                PaddedValues::Narrow(narrow.map_err(|error| format!("`{}`: {error}", input.name))?)
            } else {
                PaddedValues::Wide(wide)
            };
            Ok((input.name.as_str(), values))
        };
        wanted.iter().map(fill).collect::<Result<_, String>>().map(Self)
    }

    fn inputs(&self, rows: usize, longest: usize) -> Result<NamedInputs<'_>, String> {
        let shape = || vec![rows, longest];
        (self.0.iter())
            .map(|(name, values)| match values {
                PaddedValues::Wide(data) => named(name, tensor(shape(), data)),
                PaddedValues::Narrow(data) => named(name, tensor(shape(), data)),
            })
            .collect()
    }
}

/// Checks that the graph has the outputs of `head`.
fn check_outputs(session: &Session, inputs: &Inputs, head: &Head) -> Result<(), String> {
    let outputs: Vec<&str> = session.outputs().iter().map(ort::value::Outlet::name).collect();
    if let Some((key, wanted)) = head.outputs().find(|(_, wanted)| !outputs.contains(wanted)) {
        let named = outputs.join("`, `");
        return Err(format!("has no output `{wanted}`; name one of `{named}` as `{key}`"));
    }
    if let (Some(position), Inputs::Packed(..) | Inputs::Paged(_)) = (head.position(), inputs) {
        return Err(format!(
            "is a packed graph, which returns one row per text; remove `output.position` = \
             \"{position}\", or export it with `--layout padded`"
        ));
    }
    if let (Some((key, _)), Inputs::Paged(_)) = (head.outputs().nth(1), inputs) {
        return Err(format!("is a paged graph, which returns one output; remove `{key}`"));
    }
    Ok(())
}

impl Inputs {
    fn of(session: &Session, config: &SessionConfig<'_>) -> Result<Self, String> {
        let inputs =
            session.inputs().iter().map(|input| (input.name(), input.dtype().tensor_type()));
        let graph = PackedGraph::of(&inputs)?;
        if graph == Some(PackedGraph::PagedDecoder) {
            let cache =
                KvCache::new(session, config.device, config.head.name(), config.block_size)?;
            return Ok(Self::Paged(Box::new(cache)));
        }
        if let Some(tokens) = config.block_size {
            return Err(format!(
                "has no cache, so `block_size` = {tokens} does not apply; remove it"
            ));
        }
        if let Some((graph, sharing)) = graph.and_then(|graph| Some((graph, graph.sharing()?))) {
            return Ok(Self::Packed(graph, sharing));
        }
        inputs
            .map(|(name, kind)| PaddedInput::of(name, kind))
            .collect::<Result<_, _>>()
            .map(Self::Padded)
    }
}

impl InferenceEngine for OrtEngine {
    fn layout(&self) -> Layout {
        match &self.inputs {
            Inputs::Padded(_) if self.pad.is_some() => Layout::Padded,
            Inputs::Padded(_) => Layout::EqualLengths,
            Inputs::Packed(_, sharing) => Layout::Packed(*sharing),
            Inputs::Paged(cache) => Layout::Packed(Sharing::Blocks(cache.block())),
        }
    }

    fn reserve(&mut self, tokens: usize) -> Result<(), String> {
        match &mut self.inputs {
            Inputs::Paged(cache) => cache.reserve(tokens),
            Inputs::Padded(_) | Inputs::Packed(..) => Ok(()),
        }
    }

    fn run(&mut self, sequences: &[&TokenSequence]) -> Result<Vec<RawScore>, String> {
        let rows = sequences.len();
        let longest = sequences.iter().map(|tokens| tokens.len()).max().unwrap_or(0);
        match &mut self.inputs {
            Inputs::Paged(cache) => {
                let outputs = cache.run(&mut self.session, sequences)?;
                read_scores(&outputs, &self.head, sequences, longest)
            }
            Inputs::Padded(wanted) => {
                if self.pad.is_none() && sequences.iter().any(|tokens| tokens.len() != longest) {
                    return Err(
                        "the batch holds texts of different lengths, but the padding token is \
                                unknown"
                            .to_owned(),
                    );
                }
                let pad = self.pad.unwrap_or_default();
                let shape = PaddedRows { longest, pad, first_position: self.first_position };
                let data = PaddedData::of(wanted, sequences, shape)?;
                let outputs = self
                    .session
                    .run(data.inputs(rows, longest)?)
                    .map_err(|error| error.to_string())?;
                read_scores(&outputs, &self.head, sequences, longest)
            }
            Inputs::Packed(graph, sharing) => {
                let (graph, sharing) = (*graph, *sharing);
                let too_many =
                    || format!("{rows} sequences of up to {longest} tokens are too many to pack");
                let packing = Packing::of(sequences, sharing).ok_or_else(too_many)?;
                let chunked = graph == PackedGraph::ChunkedDecoder;
                let chunks = if chunked {
                    Chunks::of(&packing).ok_or_else(too_many)?
                } else {
                    Chunks::default()
                };
                let Chunks { long, short, .. } = &chunks;
                let (nodes, total_len) = (packing.token_ids.len(), [packing.total_len]);
                let scatter_idx = if chunked { &chunks.scatter_idx } else { &packing.scatter_idx };
                let input = |name: &'static str| match name {
                    "token_ids" => named(name, tensor(vec![nodes], &packing.token_ids)),
                    "position_ids" => named(name, tensor(vec![nodes], &packing.position_ids)),
                    "scatter_idx" => named(name, tensor(vec![nodes], scatter_idx)),
                    "gather_idx" => named(name, tensor(vec![rows, longest], &packing.gather_idx)),
                    "lengths" => named(name, tensor(vec![rows], &packing.lengths)),
                    "context_lens" => named(name, tensor(vec![rows], &packing.context_lens)),
                    "seqlens_k" => named(name, tensor(vec![rows], &packing.seqlens_k)),
                    "total_len" => named(name, tensor(vec![], &total_len)),
                    "last_idx" => named(name, tensor(vec![rows], &packing.last_idx)),
                    "long_query_idx" => {
                        named(name, tensor(vec![long.starts.len(), long.width], &long.query_idx))
                    }
                    "long_key_idx" => {
                        named(name, tensor(vec![long.starts.len(), long.keys], &long.key_idx))
                    }
                    "long_starts" => named(name, tensor(vec![long.starts.len()], &long.starts)),
                    "short_query_idx" => {
                        named(name, tensor(vec![short.starts.len(), short.width], &short.query_idx))
                    }
                    "short_key_idx" => {
                        named(name, tensor(vec![short.starts.len(), short.keys], &short.key_idx))
                    }
                    "short_starts" => named(name, tensor(vec![short.starts.len()], &short.starts)),
                    other => Err(format!("no packed graph takes `{other}`")),
                };
                let inputs =
                    graph.inputs().iter().map(|(name, _)| input(name)).collect::<Result<_, _>>()?;
                self.scores(inputs, sequences, longest)
            }
        }
    }
}

/// A tensor that borrows `data`.
fn tensor<T>(shape: Vec<usize>, data: &[T]) -> Result<SessionInputValue<'_>, String>
where
    T: ort::value::PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static,
{
    TensorRef::from_array_view((shape, data)).map(Into::into).map_err(|error| error.to_string())
}

fn named<'a>(
    name: &'a str,
    tensor: Result<SessionInputValue<'a>, String>,
) -> Result<(Cow<'a, str>, SessionInputValue<'a>), String> {
    tensor.map(|tensor| (Cow::Borrowed(name), tensor))
}

fn build_session(builder: SessionBuilder, config: &SessionConfig<'_>) -> ort::Result<Session> {
    let mut builder = session_options(builder, config)?;
    match config.weights {
        Some(weights) => weights.commit(builder),
        None => builder.commit_from_file(config.model),
    }
}

fn session_options(
    builder: SessionBuilder,
    config: &SessionConfig<'_>,
) -> ort::Result<SessionBuilder> {
    let mut builder = builder
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_inter_threads(1)?
        // Spinning would occupy the cores between batches, which the tokenizers need.
        .with_intra_op_spinning(false)?
        .with_intra_threads(config.threads)?;
    if config.device == Device::Cpu {
        // The arena doubles whenever it grows and returns nothing, which takes more than the weights
        // of a small model. A pattern of memory is kept for every shape, and dialogues have many.
        let cpu = ep::CPU::default().with_arena_allocator(false).build();
        builder = builder.with_memory_pattern(false)?.with_execution_providers([cpu])?;
    }
    if let Device::Cuda(number) = config.device {
        let cuda = ep::CUDA::default()
            .with_device_id(i32::from(number))
            // Doubling the arena overshoots when shapes vary as much as those of dialogues.
            .with_arena_extend_strategy(ep::ArenaExtendStrategy::SameAsRequested)
            // A score must not depend on its batch, and TF32 rounding depends on the kernel's
            // shape.
            .with_tf32(false)
            // Without this, a CUDA provider that fails to load silently becomes the CPU, fifty
            // times slower. The stricter switch `disable_cpu_ep_fallback` is unsuitable: it also
            // refuses shape arithmetic, which belongs on the CPU.
            .build()
            .error_on_failure();
        builder = builder.with_execution_providers([cuda])?;
    }
    Ok(builder)
}

fn load_failure(device: Device, error: &str) -> String {
    let hint = match device {
        Device::Cpu if error.contains("PagedAttention") => {
            "; paged attention needs CUDA: set `device = \"cuda\"` for the model, or export it \
             with `--attention chunks`"
        }
        _ => "",
    };
    format!("does not load on {device}: {error}{hint}")
}

/// The scores of a run of `sequences` in rows of `longest` tokens.
fn read_scores(
    outputs: &SessionOutputs<'_>,
    head: &Head,
    sequences: &[&TokenSequence],
    longest: usize,
) -> Result<Vec<RawScore>, String> {
    let optional = |name: Option<&str>| name.map(|name| tensor_of(outputs, name)).transpose();
    let tensors = HeadTensors {
        scores: tensor_of(outputs, head.name())?,
        gating: optional(head.gating())?,
        objectives: optional(head.objectives())?,
    };
    head.read(&tensors, sequences, longest)
}

fn tensor_of<'a>(outputs: &'a SessionOutputs<'_>, name: &str) -> Result<OutputTensor<'a>, String> {
    let output = outputs.get(name).ok_or_else(|| format!("gave no `{name}`"))?;
    OutputTensor::of(output, name)
}

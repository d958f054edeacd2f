//! The weights of a model on a CPU, in memory once for all of its sessions.
//!
//! ONNX Runtime can run one session from many threads, but its Rust binding lends a session to one
//! caller at a time. Several batches at once therefore need several sessions, and each would have
//! weights of its own. Here ONNX Runtime optimises the graph once and writes it to memory. The
//! sessions are made of that graph and read its large constants from the same tensors; they also
//! share the rearranged copies that the kernels make of them. A further session then takes only the
//! memory of its graph and of its intermediate results.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, PrepackedWeights, SessionBuilder};
use ort::value::{DynValue, Tensor};
use prost::Message as _;

use crate::load::onnx_file::{EXTERNAL, OnnxConstant, OnnxModel};

/// The largest optimised graph whose weights are shared. The tensors of a matrix product are in
/// memory twice, as stored and as rearranged, so beyond this size one session takes less.
const MAX_GRAPH_BYTES: u64 = 256 << 20;

/// Smaller constants stay in the graph.
const MIN_SHARED_BYTES: usize = 4_096;

/// `TensorProto.DataType`.
const FLOAT: i32 = 1;
const UINT8: i32 = 2;
const INT8: i32 = 3;

/// An optimised graph with its large constants.
#[derive(Debug)]
pub(crate) struct SharedWeights {
    graph: Bytes,
    constants: Vec<(String, Arc<DynValue>)>,
    packed: PrepackedWeights,
}

impl SharedWeights {
    /// Optimises `model` with a session that is dropped afterwards. Returns `None` if the graph is
    /// too large, if its weights are in a file of their own, or if the system has no files in
    /// memory.
    ///
    /// # Errors
    ///
    /// Returns ONNX Runtime's message if the model does not load, and a message if the optimised
    /// graph cannot be read back.
    pub(crate) fn load(builder: SessionBuilder, model: &Path) -> Result<Option<Self>, String> {
        let failed = |error: ort::Error| error.to_string();
        let Some(file) = MemoryFile::create() else { return Ok(None) };
        let session = to_optimise(builder, &file.path)
            .and_then(|mut builder| builder.commit_from_file(model))
            .map_err(failed)?;
        drop(session);
        let Some(graph) = file.read(MAX_GRAPH_BYTES).map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let graph = Bytes::from(graph);
        let parsed = OnnxModel::decode(graph.clone()).map_err(|error| error.to_string())?;
        let constants = parsed.graph.unwrap_or_default().initializer;
        // A graph in memory has no folder, from which ONNX Runtime would read a file of weights.
        if constants.iter().any(|constant| constant.data_location == EXTERNAL) {
            return Ok(None);
        }
        let constants = constants
            .into_iter()
            .filter(|constant| constant.raw_data.len() >= MIN_SHARED_BYTES)
            .filter_map(|constant| {
                let value = tensor(&constant).transpose()?;
                Some(value.map(|value| (constant.name, value)))
            })
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        Ok(Some(Self { graph, constants, packed: PrepackedWeights::new() }))
    }

    /// A session with these weights.
    pub(crate) fn commit(&self, builder: SessionBuilder) -> ort::Result<Session> {
        // The graph is optimised already. Further rewriting could change the last bits of a score.
        let mut builder = builder
            .with_optimization_level(GraphOptimizationLevel::Disable)?
            .with_prepacked_weights(&self.packed)?;
        for (name, value) in &self.constants {
            builder = builder.with_initializer(name, Arc::clone(value))?;
        }
        builder.commit_from_memory(&self.graph)
    }
}

/// Options of a session that writes its optimised graph to `path` and never runs.
fn to_optimise(builder: SessionBuilder, path: &Path) -> ort::Result<SessionBuilder> {
    let builder = builder.with_optimized_model_path(path)?.with_prepacking(false)?;
    // ONNX Runtime warns that the graph suits this processor only.
    Ok(builder.with_log_level(LogLevel::Error)?)
}

/// A tensor that owns a copy of the constant's elements; `None` if they are of a type that weights
/// do not have.
fn tensor(constant: &OnnxConstant) -> ort::Result<Option<Arc<DynValue>>> {
    let (dims, bytes) = (constant.dims.clone(), &constant.raw_data);
    let value = match constant.data_type {
        FLOAT => {
            let (elements, _) = bytes.as_chunks::<4>();
            let elements: Vec<f32> = elements.iter().map(|e| f32::from_le_bytes(*e)).collect();
            Tensor::from_array((dims, elements))?.into_dyn()
        }
        UINT8 => Tensor::from_array((dims, bytes.to_vec()))?.into_dyn(),
        INT8 => {
            let elements: Vec<i8> = bytes.iter().map(|e| e.cast_signed()).collect();
            Tensor::from_array((dims, elements))?.into_dyn()
        }
        _ => return Ok(None),
    };
    Ok(Some(Arc::new(value)))
}

/// A file without a name, in memory.
struct MemoryFile {
    file: File,
    path: PathBuf,
}

impl MemoryFile {
    /// Returns `None` where the system has no such files, or does not name them in `/proc`.
    #[cfg(target_os = "linux")]
    fn create() -> Option<Self> {
        use std::os::fd::AsRawFd as _;

        use rustix::fs::{MemfdFlags, memfd_create};

        let file = File::from(memfd_create("guerdon-model", MemfdFlags::CLOEXEC).ok()?);
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        path.exists().then_some(Self { file, path })
    }

    #[cfg(not(target_os = "linux"))]
    fn create() -> Option<Self> {
        None
    }

    /// The content, or `None` if it is longer than `most` bytes.
    fn read(mut self, most: u64) -> io::Result<Option<Vec<u8>>> {
        let length = self.file.metadata()?.len();
        if length > most {
            return Ok(None);
        }
        let mut content = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        self.file.read_to_end(&mut content)?;
        Ok(Some(content))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::path::Path;

    use super::{FLOAT, INT8, tensor};
    use crate::encode::tokens::TokenSequence;
    use crate::engine::head::Head;
    use crate::engine::session::{InferenceEngine as _, OrtEngine, SessionConfig, shared_weights};
    use crate::load::manifest::Manifest;
    use crate::load::onnx_file::OnnxConstant;

    fn constant(data_type: i32, dims: Vec<i64>, raw_data: &'static [u8]) -> OnnxConstant {
        OnnxConstant { dims, data_type, raw_data: raw_data.into(), ..OnnxConstant::default() }
    }

    #[test]
    fn shape_that_disagrees_with_its_data_is_an_error() {
        crate::load::runtime::environment(None).unwrap();
        assert!(tensor(&constant(FLOAT, vec![2], &[0; 8])).unwrap().is_some());
        assert!(tensor(&constant(FLOAT, vec![3], &[0; 8])).is_err());
        assert!(tensor(&constant(INT8, vec![2, 2], &[255; 4])).unwrap().is_some());
        assert!(tensor(&constant(7, vec![1], &[0; 8])).unwrap().is_none());
    }

    /// Texts of many lengths, some of which share a prefix.
    fn texts() -> Vec<TokenSequence> {
        let text = |number: u32| {
            let own = (0..number * 7 % 23).map(move |place| (place * 5 + number) % 20);
            let ids: Vec<u32> = (0..number % 4 * 6).map(|place| place % 19).chain(own).collect();
            TokenSequence::unmarked([vec![1], ids, vec![2]].concat())
        };
        (0..24).map(text).collect()
    }

    #[test]
    fn sessions_with_shared_weights_return_the_bits_of_a_session_of_its_own() {
        let folders = ["tests/tiny-decoder", "tests/tiny-decoder-cpu", "tests/tiny-decoder-paged"];
        for folder in folders.into_iter().chain(["../../models/e5-hh"]) {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            let manifest = Manifest::load(&folder).unwrap();
            let head = Head::new(&manifest.output, |token| Err(token.to_string())).unwrap();
            let model = folder.join(&manifest.files.model);
            let alone = SessionConfig::on_cpu(&model, &head);
            let (texts, weights) = (texts(), shared_weights(&alone).unwrap().unwrap());
            let batch: Vec<&TokenSequence> = texts.iter().collect();
            let bits = |engine: &mut OrtEngine| -> Vec<u32> {
                engine.run(&batch).unwrap().iter().map(|score| score.value.to_bits()).collect()
            };
            let mut own = OrtEngine::load(&alone).unwrap();
            let expected = bits(&mut own);
            let [mut wide, mut narrow] = [2, 1].map(|threads| {
                let config = SessionConfig { threads, weights: Some(&weights), ..alone };
                OrtEngine::load(&config).unwrap()
            });
            // The weights outlive this value and the first session.
            drop(weights);
            assert_eq!(
                (bits(&mut wide), wide.max_positions()),
                (expected.clone(), own.max_positions())
            );
            drop(wide);
            assert_eq!(bits(&mut narrow), expected, "{}", folder.display());
        }
    }

    #[test]
    fn sum_over_tokens_has_the_same_bits_in_all_batches_of_two_or_more() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tiny");
        let manifest = Manifest::load(&folder).unwrap();
        let head = Head::new(&manifest.output, |token| Err(token.to_string())).unwrap();
        let model = folder.join(&manifest.files.model);
        let config = SessionConfig { pad: Some(0), ..SessionConfig::on_cpu(&model, &head) };
        let mut engine = OrtEngine::load(&config).unwrap();
        let texts = texts();
        let mut bits = |batch: &[&TokenSequence]| -> Vec<u32> {
            engine.run(batch).unwrap().iter().map(|score| score.value.to_bits()).collect()
        };
        let all = bits(&texts.iter().collect::<Vec<_>>());
        for (text, together) in texts.iter().zip(&all) {
            assert_eq!(bits(&[text, text]), [*together; 2], "{} tokens", text.len());
        }
    }
}

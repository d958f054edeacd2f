//! The cache of keys and values for paged attention: memory on the model's device, and its binding
//! to a session.
//!
//! The graph takes each layer's keys and values as an input and returns them as an output. Both are
//! the same memory, which is updated in place. A batch writes all entries that it reads, so only
//! the memory is kept from one batch to the next. It is allocated once, when the model is loaded,
//! for the largest batch.

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, Session, SessionOutputs};
use ort::value::{DynTensor, PrimitiveTensorElementType, Tensor, TensorElementType};

use crate::Device;
use crate::encode::tokens::TokenSequence;
use crate::engine::graph::is_cache;
use crate::engine::paged::Pages;

/// A session's cache and its binding.
#[derive(Debug)]
pub(crate) struct KvCache {
    binding: IoBinding,
    parts: Vec<CachePart>,
    /// The device's memory.
    memory: Allocator,
    /// Host memory that the GPU reads without an additional copy by the driver.
    pinned: Option<Allocator>,
    /// Host memory for the scores.
    host: MemoryInfo<'static>,
    /// The name of the output with the scores.
    output: String,
    /// The number of tokens per block.
    block: usize,
    /// The number of allocated blocks.
    blocks: usize,
    /// The number of blocks of the last failed allocation.
    failed_size: Option<usize>,
}

/// The keys or the values of one layer.
#[derive(Debug)]
struct CachePart {
    input: String,
    kind: TensorElementType,
    kv_heads: i64,
    /// The width of a head.
    head: i64,
}

impl KvCache {
    /// The cache of a paged graph, without memory. `output` is the name of the output with the
    /// scores.
    pub(crate) fn new(
        session: &Session,
        device: Device,
        output: &str,
        block_size: Option<usize>,
    ) -> Result<Self, String> {
        const EXPORT_AGAIN: &str = "export it again with packed_decoder.py";
        let inputs = session.inputs().iter().filter(|input| is_cache(input.name()));
        let part = |input: &ort::value::Outlet| {
            let (kind, shape) = (input.dtype().tensor_type(), input.dtype().tensor_shape());
            match (kind, shape.map(|shape| &**shape)) {
                (Some(kind), Some(&[_, _, kv_heads, head])) if kv_heads > 0 && head > 0 => {
                    Ok(CachePart { input: input.name().to_owned(), kind, kv_heads, head })
                }
                _ => Err(format!(
                    "takes `{}`, which is not [blocks, block, kv heads, head]; {EXPORT_AGAIN}",
                    input.name()
                )),
            }
        };
        let parts: Vec<CachePart> = inputs.map(part).collect::<Result<_, _>>()?;
        let head = parts
            .first()
            .map(|part| part.head)
            .ok_or_else(|| format!("takes no cache; {EXPORT_AGAIN}"))?;
        let has_output = |name: &str| session.outputs().iter().any(|output| output.name() == name);
        if let Some(part) = parts.iter().find(|part| !has_output(&part.output())) {
            let (input, output) = (&part.input, part.output());
            return Err(format!(
                "takes `{input}` but does not return it as `{output}`; {EXPORT_AGAIN}"
            ));
        }
        let create = || -> ort::Result<_> {
            let host = MemoryInfo::new(
                AllocationDevice::CPU,
                0,
                AllocatorType::Device,
                MemoryType::CPUOutput,
            )?;
            Ok((session.create_binding()?, device_allocator(session, device)?, host))
        };
        let (binding, memory, host) = create().map_err(|error| error.to_string())?;
        Ok(Self {
            binding,
            parts,
            memory,
            pinned: pinned_allocator(session, device),
            host,
            output: output.to_owned(),
            block: block_size.unwrap_or_else(|| fused_block(head)),
            blocks: 0,
            failed_size: None,
        })
    }

    /// The number of tokens per block.
    pub(crate) const fn block(&self) -> usize {
        self.block
    }

    /// Allocates memory for exactly `tokens` tokens, rounded up to whole blocks.
    pub(crate) fn reserve(&mut self, tokens: usize) -> Result<(), String> {
        let blocks = tokens.div_ceil(self.block);
        if blocks == self.blocks { Ok(()) } else { self.allocate(blocks) }
    }

    /// Runs one batch. The scores are in the output `output`, in the order of `sequences`.
    pub(crate) fn run<'a>(
        &'a mut self,
        session: &'a mut Session,
        sequences: &[&TokenSequence],
    ) -> Result<SessionOutputs<'a>, String> {
        let too_many =
            || format!("{} sequences have too many tokens; lower `token_budget`", sequences.len());
        let pages = Pages::of(sequences, self.block).ok_or_else(too_many)?;
        if pages.blocks > self.blocks {
            self.allocate(pages.blocks)?;
        }
        self.bind(pages, sequences.len()).map_err(|error| error.to_string())?;
        session.run_binding(&self.binding).map_err(|error| error.to_string())
    }

    fn bind(&mut self, pages: Pages, rows: usize) -> ort::Result<()> {
        let widest = pages.block_table.len() / rows.max(1);
        self.bind_input("token_ids", vec![pages.token_ids.len()], pages.token_ids)?;
        self.bind_input("cu_seqlens", vec![rows + 1], pages.cu_seqlens)?;
        self.bind_input("past_seqlens", vec![rows], pages.past_seqlens)?;
        self.bind_input("block_table", vec![rows, widest], pages.block_table)?;
        self.bind_input("last_idx", vec![rows], pages.last_idx)?;
        // Read on the host, to size the kernels that are launched on the device.
        let metadata =
            Tensor::from_array((vec![pages.attention_metadata.len()], pages.attention_metadata))?;
        self.binding.bind_input("attention_metadata", &metadata)?;
        // Bound again for every batch, because a bound output keeps the shape of its first run.
        self.binding.bind_output_to_device(self.output.as_str(), &self.host)
    }

    /// Binds `data`, which is copied to the device.
    fn bind_input<T>(&mut self, name: &str, shape: Vec<usize>, data: Vec<T>) -> ort::Result<()>
    where
        T: PrimitiveTensorElementType + std::fmt::Debug + Copy + 'static,
    {
        let tensor = match &self.pinned {
            Some(pinned) => {
                let mut tensor = Tensor::<T>::new(pinned, shape)?;
                tensor.try_extract_tensor_mut::<T>()?.1.copy_from_slice(&data);
                tensor
            }
            None => Tensor::from_array((shape, data))?,
        };
        self.binding.bind_input(name, &tensor)
    }

    /// Allocates `blocks` blocks. A size that has failed once is not tried again, since an attempt
    /// frees the existing cache.
    fn allocate(&mut self, blocks: usize) -> Result<(), String> {
        let (tokens, block) = (blocks * self.block, self.block);
        let no_memory = |detail: &str| {
            format!(
                "no memory for a cache of {tokens} tokens in blocks of {block}; lower `token_budget` or `max_tokens`{detail}"
            )
        };
        if self.failed_size.is_some_and(|too_many| blocks >= too_many) {
            return Err(no_memory(""));
        }
        let before = self.blocks;
        self.try_allocate(blocks).map_err(|error| {
            self.failed_size = Some(blocks);
            // Restores the previous cache. If this fails too, the next batch returns the error.
            let _ = self.try_allocate(before);
            no_memory(&format!(": {error}"))
        })
    }

    fn try_allocate(&mut self, blocks: usize) -> ort::Result<()> {
        // Freed before the new memory is allocated, because the device may not have room for both.
        self.binding.clear();
        self.blocks = 0;
        let int64 = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for part in &self.parts {
            let shape = [int64(blocks), int64(self.block), part.kv_heads, part.head];
            #[cfg_attr(
                not(test),
                expect(
                    unused_mut,
                    reason = "tests fill the cache with NaN, to detect reads of unwritten entries"
                )
            )]
            let mut tensor = DynTensor::new(&self.memory, part.kind, shape)?;
            #[cfg(test)]
            tensor.try_extract_tensor_mut::<f32>()?.1.fill(f32::NAN);
            self.binding.bind_input(part.input.as_str(), &tensor)?;
            self.binding.bind_output(part.output(), tensor)?;
        }
        self.blocks = blocks;
        Ok(())
    }
}

impl CachePart {
    fn output(&self) -> String {
        format!("{}.out", self.input)
    }
}

/// The smallest block that the fused kernel of ONNX Runtime's PagedAttention reads for heads of
/// this width (`flash_min_block_size` in its paged_attention.cc). With smaller blocks, more tokens
/// are shared, but every layer has to gather its keys and values.
const fn fused_block(head: i64) -> usize {
    match head {
        ..=64 => 256,
        65..=128 => 128,
        _ => 64,
    }
}

/// An allocator of the device's memory.
fn device_allocator(session: &Session, device: Device) -> ort::Result<Allocator> {
    let (kind, number) = match device {
        Device::Cpu => (AllocationDevice::CPU, 0),
        Device::Cuda(number) => (AllocationDevice::CUDA, i32::from(number)),
    };
    Allocator::new(
        session,
        MemoryInfo::new(kind, number, AllocatorType::Device, MemoryType::Default)?,
    )
}

/// An allocator of pinned host memory, for a GPU. Without it, inputs are copied once more.
fn pinned_allocator(session: &Session, device: Device) -> Option<Allocator> {
    let Device::Cuda(number) = device else { return None };
    let kind = AllocationDevice::CUDA_PINNED;
    let pinned =
        MemoryInfo::new(kind, i32::from(number), AllocatorType::Device, MemoryType::CPUInput)
            .and_then(|info| Allocator::new(session, info));
    pinned
        .inspect_err(
            |error| tracing::warn!(%error, "cannot allocate pinned host memory; inputs are copied once more"),
        )
        .ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::engine::head::Head;
    use crate::engine::session::{InferenceEngine as _, OrtEngine, SessionConfig};
    use crate::load::manifest::Manifest;

    fn engine(block_size: Option<usize>) -> OrtEngine {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tiny-decoder-paged");
        let manifest = Manifest::load(&folder).unwrap();
        let model = folder.join(&manifest.files.model);
        let head = Head::new(&manifest.output, |token| Err(token.to_string())).unwrap();
        let config = SessionConfig { block_size, ..SessionConfig::on_cpu(&model, &head) };
        OrtEngine::load(&config).unwrap()
    }

    /// Sequences with common prefixes, a sequence of one token, a sequence that another one
    /// continues, and a duplicate.
    fn texts() -> Vec<TokenSequence> {
        let long =
            |last: u32| (0..60).map(|place| place * 7 % 23).chain([last]).collect::<Vec<u32>>();
        let texts = [
            long(1),
            vec![5],
            long(2),
            long(1),
            long(3)[..20].to_vec(),
            vec![9; 40],
            long(3)[..16].to_vec(),
        ];
        texts.map(TokenSequence::unmarked).into()
    }

    #[test]
    fn scores_do_not_depend_on_block_or_cache_size() {
        let texts = texts();
        let together: Vec<&TokenSequence> = texts.iter().collect();
        let mut default_engine = engine(None);
        assert_eq!(default_engine.layout(), engine(Some(256)).layout());
        let alone: Vec<f32> =
            texts.iter().map(|text| default_engine.run(&[text]).unwrap()[0].value).collect();
        for block in [16, 32, 64, 256] {
            let mut engine = engine(Some(block));
            // The cache grows, shrinks and grows again; it is never cleared.
            engine.run(&together[1..2]).unwrap();
            for _ in 0..2 {
                for (score, alone) in engine.run(&together).unwrap().iter().zip(&alone) {
                    assert!(
                        (score.value - alone).abs() < 1e-5,
                        "{block}: {score:?} against {alone}"
                    );
                }
                engine.reserve(16).unwrap();
            }
        }
    }

    #[test]
    fn oversized_cache_is_refused_with_its_size_and_smaller_batches_still_run() {
        let mut engine = engine(Some(16));
        for _ in 0..2 {
            let error = engine.reserve(1 << 50).unwrap_err();
            assert!(
                error.contains("1125899906842624 tokens") && error.contains("`token_budget`"),
                "{error}"
            );
            assert!(
                engine.run(&[&TokenSequence::unmarked([1, 2, 3])]).unwrap()[0].value.is_finite()
            );
        }
    }

    #[test]
    fn fused_kernel_block_sizes_match_onnx_runtime() {
        assert_eq!([32, 64, 80, 128, 256].map(fused_block), [256, 256, 128, 128, 64]);
    }
}

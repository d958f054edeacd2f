//! The cache of keys and values that paged attention works in: memory on the model's device that stays there, and the binding of it.
//!
//! The graph takes each layer's keys and values as an input and gives them back as an output, and both are the same memory: it
//! is updated in place. Nothing in it outlives a batch, which writes what it reads; what is kept is the memory, which
//! grows to what the largest batch so far has needed. A model's first runs are its largest.

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, Session, SessionOutputs};
use ort::value::{DynTensor, PrimitiveTensorElementType, Tensor, TensorElementType};

use crate::Device;
use crate::graph::is_cache;
use crate::paged::Pages;
use crate::sharing::BLOCK_SIZES;
use crate::tokens::Tokens;

/// A session's cache and its binding.
#[derive(Debug)]
pub(crate) struct KvCache {
    binding: IoBinding,
    layers: Vec<Layer>,
    memory: Allocator,
    /// Memory of the host that the GPU reads without a copy of the driver's between.
    pinned: Option<Allocator>,
    host: MemoryInfo<'static>,
    output: String,
    block: usize,
    blocks: usize,
}

/// The keys or the values of one layer.
#[derive(Debug)]
struct Layer {
    input: String,
    kind: TensorElementType,
    kv_heads: i64,
    head: i64,
}

impl KvCache {
    /// The cache of a paged graph, with no memory yet. `output` is the scores' name.
    pub(crate) fn new(session: &Session, device: Device, output: &str) -> Result<Self, String> {
        let layers: Vec<Layer> = session
            .inputs()
            .iter()
            .filter(|input| is_cache(input.name()))
            .map(|input| {
                let (kind, shape) = (input.dtype().tensor_type(), input.dtype().tensor_shape());
                match (kind, shape.map(|shape| &**shape)) {
                    (Some(kind), Some(&[_, _, kv_heads, head])) if kv_heads > 0 && head > 0 => {
                        Ok(Layer { input: input.name().to_owned(), kind, kv_heads, head })
                    }
                    _ => {
                        Err(format!("takes `{}`, which is not [blocks, block, kv heads, head]", input.name()))
                    }
                }
            })
            .collect::<Result<_, _>>()?;
        let outputs = session.outputs();
        if let Some(layer) =
            layers.iter().find(|layer| outputs.iter().all(|out| out.name() != layer.output()))
        {
            return Err(format!("takes `{}` and does not give it back as `{}`", layer.input, layer.output()));
        }
        let parts = || -> ort::Result<_> {
            let host =
                MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::CPUOutput)?;
            Ok((session.create_binding()?, memory(session, device)?, host))
        };
        let (binding, memory, host) = parts().map_err(|error| error.to_string())?;
        let pinned = pinned(session, device);
        Ok(Self {
            binding,
            layers,
            memory,
            pinned,
            host,
            output: output.to_owned(),
            block: BLOCK_SIZES[0],
            blocks: 0,
        })
    }

    /// Tokens of a block.
    pub(crate) const fn block(&self) -> usize {
        self.block
    }

    /// Sets them, and gives the memory of blocks of another size back.
    pub(crate) fn set_block(&mut self, tokens: usize) {
        if tokens != self.block {
            self.binding.clear();
            (self.block, self.blocks) = (tokens, 0);
        }
    }

    /// Runs one batch. The scores are the outputs' `output`, in the order of `sequences`.
    pub(crate) fn run<'a>(
        &'a mut self,
        session: &'a mut Session,
        sequences: &[&Tokens],
    ) -> Result<SessionOutputs<'a>, String> {
        let too_many = || format!("{} sequences are too many to page", sequences.len());
        let pages = Pages::of(sequences, self.block).ok_or_else(too_many)?;
        self.bind(pages, sequences.len()).map_err(|error| error.to_string())?;
        session.run_binding(&self.binding).map_err(|error| error.to_string())
    }

    fn bind(&mut self, pages: Pages, rows: usize) -> ort::Result<()> {
        self.grow(pages.blocks)?;
        let widest = pages.block_table.len() / rows.max(1);
        self.bind_input("token_ids", vec![pages.token_ids.len()], pages.token_ids)?;
        self.bind_input("cu_seqlens", vec![rows + 1], pages.cu_seqlens)?;
        self.bind_input("past_seqlens", vec![rows], pages.past_seqlens)?;
        self.bind_input("block_table", vec![rows, widest], pages.block_table)?;
        self.bind_input("last_idx", vec![rows], pages.last_idx)?;
        // Read on the host, to size what is launched on the device.
        let bounds = Tensor::from_array((vec![pages.attention_metadata.len()], pages.attention_metadata))?;
        self.binding.bind_input("attention_metadata", &bounds)?;
        // Anew for every batch: what is bound keeps the shape that its first run gave it.
        self.binding.bind_output_to_device(self.output.as_str(), &self.host)
    }

    /// Binds a copy of `data` that is on its way to the device.
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

    /// Makes room for so many blocks, and a quarter more, so that batches that vary a little do not each take memory anew.
    fn grow(&mut self, blocks: usize) -> ort::Result<()> {
        if blocks <= self.blocks {
            return Ok(());
        }
        // Given back before more is taken: the two may not fit side by side.
        self.binding.clear();
        self.blocks = 0;
        let blocks = blocks + blocks / 4;
        let int64 = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for layer in &self.layers {
            let shape = [int64(blocks), int64(self.block), layer.kv_heads, layer.head];
            let tensor = DynTensor::new(&self.memory, layer.kind, shape)?;
            self.binding.bind_input(layer.input.as_str(), &tensor)?;
            self.binding.bind_output(layer.output(), tensor)?;
        }
        self.blocks = blocks;
        Ok(())
    }
}

impl Layer {
    fn output(&self) -> String {
        format!("{}.out", self.input)
    }
}

/// The device's own memory.
fn memory(session: &Session, device: Device) -> ort::Result<Allocator> {
    let (kind, number) = match device {
        Device::Cpu => (AllocationDevice::CPU, 0),
        Device::Cuda(number) => (AllocationDevice::CUDA, i32::from(number)),
    };
    Allocator::new(session, MemoryInfo::new(kind, number, AllocatorType::Device, MemoryType::Default)?)
}

/// Pinned memory of the host, on a GPU. Without it inputs are copied once more.
fn pinned(session: &Session, device: Device) -> Option<Allocator> {
    let Device::Cuda(number) = device else { return None };
    let kind = AllocationDevice::CUDA_PINNED;
    let pinned = MemoryInfo::new(kind, i32::from(number), AllocatorType::Device, MemoryType::CPUInput)
        .and_then(|info| Allocator::new(session, info));
    pinned.inspect_err(|error| tracing::warn!(%error, "no pinned memory; inputs are copied once more")).ok()
}

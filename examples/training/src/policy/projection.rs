//! Matrices of a policy: trained whole, held still, or held still with a low-rank correction.

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};

/// A matrix `W` `[outputs, inputs]`, applied as `x W^T`.
#[derive(Debug, Clone)]
pub(super) enum Projection {
    /// Trained.
    Whole(Tensor),
    /// Not trained.
    Frozen(Frozen),
    /// LoRA (Hu et al., arXiv 2106.09685): `x W^T + x D^T U^T`, with `W` frozen, `D` `[rank, inputs]` drawn at random and
    /// `U` `[outputs, rank]` 0 at first. The usual `alpha / rank` is 1 here.
    Adapted { frozen: Frozen, down: Tensor, up: Tensor },
}

impl Projection {
    /// `x W^T` for `x` `[B, S, inputs]`. Rows are joined first: candle's backward pass would otherwise make one gradient of
    /// `W` for each `B` and add them up.
    pub(super) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, len, inputs) = x.dims3()?;
        let x = x.reshape((rows * len, inputs))?;
        let y = match self {
            Self::Whole(weight) => x.matmul(&weight.t()?)?,
            Self::Frozen(frozen) => frozen.apply(&x)?,
            Self::Adapted { frozen, down, up } => {
                (frozen.apply(&x)? + x.matmul(&down.t()?)?.matmul(&up.t()?)?)?
            }
        };
        y.reshape((rows, len, ()))
    }

    /// The matrix itself, less its correction.
    pub(super) const fn weight(&self) -> &Tensor {
        match self {
            Self::Whole(weight)
            | Self::Frozen(Frozen(weight))
            | Self::Adapted { frozen: Frozen(weight), .. } => weight,
        }
    }

    /// The same without gradients.
    pub(super) fn detached(&self) -> Self {
        match self {
            Self::Whole(weight) => Self::Whole(weight.detach()),
            Self::Frozen(frozen) => Self::Frozen(frozen.clone()),
            Self::Adapted { frozen, down, up } => {
                Self::Adapted { frozen: frozen.clone(), down: down.detach(), up: up.detach() }
            }
        }
    }
}

/// A matrix that is never trained. candle's own backward pass of a product makes the gradient of both sides, wanted or
/// not; this one makes that of `x` alone.
#[derive(Debug, Clone)]
pub(super) struct Frozen(pub(super) Tensor);

impl Frozen {
    /// `x W^T` for `x` `[N, inputs]`.
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        match x.device() {
            Device::Cpu if x.track_op() => x.contiguous()?.apply_op1(self.clone()),
            _ => x.matmul(&self.0.t()?),
        }
    }
}

impl CustomOp1 for Frozen {
    fn name(&self) -> &'static str {
        "frozen-projection"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Some((from, to)) = layout.contiguous_offsets() else {
            bail!("a frozen projection of a strided tensor")
        };
        let product = |x: Tensor| x.matmul(&self.0.t()?);
        let shape = layout.shape();
        match storage {
            CpuStorage::F32(x) => {
                let y = product(Tensor::from_slice(&x[from..to], shape, &Device::Cpu)?)?;
                Ok((CpuStorage::F32(y.flatten_all()?.to_vec1()?), y.shape().clone()))
            }
            CpuStorage::F64(x) => {
                let y = product(Tensor::from_slice(&x[from..to], shape, &Device::Cpu)?)?;
                Ok((CpuStorage::F64(y.flatten_all()?.to_vec1()?), y.shape().clone()))
            }
            _ => bail!(
                "a frozen projection of something else than {:?} and {:?}",
                DType::F32,
                DType::F64
            ),
        }
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        gradient.matmul(&self.0).map(Some)
    }
}

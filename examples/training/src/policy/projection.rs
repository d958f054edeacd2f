//! The matrices of a policy: trained in full, frozen, or frozen with a low-rank correction.

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};

/// A matrix `W` `[outputs, inputs]`, applied as `x W^T`.
#[derive(Debug, Clone)]
pub(super) enum Projection {
    /// Trained.
    Whole(Tensor),
    /// Not trained.
    FrozenMatrix(FrozenMatrix),
    /// LoRA (Hu et al., arXiv 2106.09685): `x W^T + x D^T U^T`, with `W` frozen, `D` `[rank,
    /// inputs]` drawn at random and `U` `[outputs, rank]` initialised to 0. The usual `alpha /
    /// rank` is 1 here.
    Adapted { frozen: FrozenMatrix, down: Tensor, up: Tensor },
}

impl Projection {
    /// Computes `x W^T` for `x` `[B, S, inputs]`. Rows are joined first; otherwise candle's
    /// backward pass would compute one gradient of `W` for each `B` and add them up.
    pub(super) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, len, inputs) = x.dims3()?;
        let x = x.reshape((rows * len, inputs))?;
        let y = match self {
            Self::Whole(weight) => x.matmul(&weight.t()?)?,
            Self::FrozenMatrix(frozen) => frozen.apply(&x)?,
            Self::Adapted { frozen, down, up } => {
                (frozen.apply(&x)? + x.matmul(&down.t()?)?.matmul(&up.t()?)?)?
            }
        };
        y.reshape((rows, len, ()))
    }

    /// The matrix without its correction.
    pub(super) const fn weight(&self) -> &Tensor {
        match self {
            Self::Whole(weight)
            | Self::FrozenMatrix(FrozenMatrix(weight))
            | Self::Adapted { frozen: FrozenMatrix(weight), .. } => weight,
        }
    }

    /// The same projection without gradients.
    pub(super) fn detached(&self) -> Self {
        match self {
            Self::Whole(weight) => Self::Whole(weight.detach()),
            Self::FrozenMatrix(frozen) => Self::FrozenMatrix(frozen.clone()),
            Self::Adapted { frozen, down, up } => {
                Self::Adapted { frozen: frozen.clone(), down: down.detach(), up: up.detach() }
            }
        }
    }
}

/// A frozen matrix. candle's backward pass of a product computes the gradients of both factors;
/// this one computes that of `x` only.
#[derive(Debug, Clone)]
pub(super) struct FrozenMatrix(pub(super) Tensor);

impl FrozenMatrix {
    /// `x W^T` for `x` `[N, inputs]`.
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        match x.device() {
            Device::Cpu if x.track_op() => x.contiguous()?.apply_op1(self.clone()),
            _ => x.matmul(&self.0.t()?),
        }
    }
}

impl CustomOp1 for FrozenMatrix {
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

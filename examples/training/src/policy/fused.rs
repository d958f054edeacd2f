//! Fused operations of the decoder: one pass forward, one pass backward.
//!
//! candle-nn's fused operations have no backward pass, and its composed ones make a dozen passes.
//! The gradient tests compare these with finite differences of the whole loss.

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, WithDType, bail};

/// Computes the softmax over the last dimension of `scale · scores + mask`, for `scores` `[B, H, S,
/// all]` and a `mask` `[B, 1, S, all]` that is 0 for visible keys.
pub(super) fn softmax(scores: &Tensor, mask: &Tensor, scale: f64) -> Result<Tensor> {
    let (_, heads, queries, width) = scores.dims4()?;
    apply(scores, mask, SoftmaxOp { scale, heads, queries, width })
}

/// Computes `x / rms(x) · weight` over the last dimension.
pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    apply(x, weight, RmsNormOp { eps })
}

/// Computes `silu(gate) · up` for two tensors of one shape.
pub(super) fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    apply(gate, up, SwiGluOp)
}

/// Rotates pairs of `x` `[.., S, width]`, one from each half, by `angles` `[S, width]`: cosines,
/// then sines.
pub(super) fn rotate(x: &Tensor, angles: &Tensor) -> Result<Tensor> {
    apply(x, angles, RotateOp { width: x.dim(candle_core::D::Minus1)? })
}

/// Computes the log-probs of `targets` `[.., 1]` under `logits` `[.., vocabulary]`. Targets are ids
/// as numbers; one below 0 is padding, whose log-prob is 0 and has no gradient.
pub(super) fn log_probs(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    apply(logits, targets, LogProbsOp { width: logits.dim(candle_core::D::Minus1)? })
}

fn apply<F: FusedOp + 'static>(x: &Tensor, y: &Tensor, op: F) -> Result<Tensor> {
    x.contiguous()?.apply_op2(&y.contiguous()?, FusedOpAdapter(op))
}

/// Arithmetic of `f32` and `f64`.
trait Real: WithDType {
    fn exp(self) -> Self;
    fn ln(self) -> Self;
    fn sqrt(self) -> Self;
}

macro_rules! real {
    ($($float:ident),*) => {$(
        impl Real for $float {
            fn exp(self) -> Self { Self::exp(self) }
            fn ln(self) -> Self { Self::ln(self) }
            fn sqrt(self) -> Self { Self::sqrt(self) }
        }
    )*};
}
real!(f32, f64);

/// An operation on two contiguous tensors. `x` has the result's shape, which lacks the last
/// dimension if [`FusedOp::FOLDS`].
trait FusedOp: Send + Sync {
    const NAME: &'static str;
    const FOLDS: bool = false;

    fn forward<T: Real>(&self, x: &[T], y: &[T]) -> Vec<T>;

    /// Computes the gradients by `x` and `y` from the result `z` and its gradient `dz`; `None` for
    /// `y` if it is never trained.
    fn backward<T: Real>(&self, xy: [&[T]; 2], z: &[T], dz: &[T]) -> (Vec<T>, Option<Vec<T>>);
}

struct FusedOpAdapter<F>(F);

impl<F: FusedOp> FusedOpAdapter<F> {
    fn back<T: Real>(
        &self,
        [x, y, z, dz]: [&Tensor; 4],
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let numbers = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<T>();
        let (dx, dy) = self.0.backward([&numbers(x)?, &numbers(y)?], &numbers(z)?, &numbers(dz)?);
        let dx = Tensor::from_vec(dx, x.shape(), x.device())?;
        let dy = dy.map(|dy| Tensor::from_vec(dy, y.shape(), y.device())).transpose()?;
        Ok((Some(dx), dy))
    }
}

impl<F: FusedOp> CustomOp2 for FusedOpAdapter<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (Some((x0, x1)), Some((y0, y1))) =
            (x_layout.contiguous_offsets(), y_layout.contiguous_offsets())
        else {
            bail!("{} of a strided tensor", F::NAME)
        };
        let dims = x_layout.dims();
        let shape = Shape::from(&dims[..dims.len() - usize::from(F::FOLDS)]);
        match (x, y) {
            (CpuStorage::F32(x), CpuStorage::F32(y)) => {
                Ok((CpuStorage::F32(self.0.forward(&x[x0..x1], &y[y0..y1])), shape))
            }
            (CpuStorage::F64(x), CpuStorage::F64(y)) => {
                Ok((CpuStorage::F64(self.0.forward(&x[x0..x1], &y[y0..y1])), shape))
            }
            _ => bail!(
                "{} of something else than two {:?} or two {:?}",
                F::NAME,
                DType::F32,
                DType::F64
            ),
        }
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        z: &Tensor,
        dz: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        match x.dtype() {
            DType::F32 => self.back::<f32>([x, y, z, dz]),
            _ => self.back::<f64>([x, y, z, dz]),
        }
    }
}

struct SoftmaxOp {
    scale: f64,
    heads: usize,
    queries: usize,
    width: usize,
}

impl FusedOp for SoftmaxOp {
    const NAME: &'static str = "softmax";

    fn forward<T: Real>(&self, scores: &[T], mask: &[T]) -> Vec<T> {
        let Self { heads, queries, width, .. } = *self;
        let scale = T::from_f64(self.scale);
        let far = T::from_f64(-1e6); // a weight this far below the largest is 0 in both types
        let mut out = scores.to_vec();
        for (at, row) in out.chunks_exact_mut(width).enumerate() {
            let place = at / (heads * queries) * queries + at % queries;
            let mask = &mask[place * width..][..width];
            let mut most = T::from_f64(f64::NEG_INFINITY);
            for (x, m) in row.iter_mut().zip(mask) {
                *x = *x * scale + *m;
                if *x > most {
                    most = *x;
                }
            }
            let mut total = T::zero();
            for x in row.iter_mut() {
                let below = *x - most;
                *x = if below < far { T::zero() } else { below.exp() };
                total += *x;
            }
            let share = T::one() / total;
            row.iter_mut().for_each(|x| *x *= share);
        }
        out
    }

    fn backward<T: Real>(&self, _: [&[T]; 2], z: &[T], dz: &[T]) -> (Vec<T>, Option<Vec<T>>) {
        let scale = T::from_f64(self.scale);
        let mut dx = dz.to_vec();
        for (dx, z) in dx.chunks_exact_mut(self.width).zip(z.chunks_exact(self.width)) {
            let mean = dot(dx, z);
            dx.iter_mut().zip(z).for_each(|(dx, z)| *dx = (*dx - mean) * *z * scale);
        }
        (dx, None)
    }
}

struct RmsNormOp {
    eps: f64,
}

impl RmsNormOp {
    /// One over the root mean square.
    fn inverse<T: Real>(&self, row: &[T]) -> T {
        T::one() / (dot(row, row) / count(row.len()) + T::from_f64(self.eps)).sqrt()
    }
}

impl FusedOp for RmsNormOp {
    const NAME: &'static str = "rms-norm";

    fn forward<T: Real>(&self, x: &[T], weight: &[T]) -> Vec<T> {
        let mut out = x.to_vec();
        for row in out.chunks_exact_mut(weight.len()) {
            let inverse = self.inverse(row);
            row.iter_mut().zip(weight).for_each(|(x, w)| *x = *x * inverse * *w);
        }
        out
    }

    fn backward<T: Real>(
        &self,
        [x, weight]: [&[T]; 2],
        _: &[T],
        dz: &[T],
    ) -> (Vec<T>, Option<Vec<T>>) {
        let width = weight.len();
        let (mut dx, mut dweight) = (dz.to_vec(), vec![T::zero(); width]);
        for (dx, x) in dx.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
            let inverse = self.inverse(x);
            for ((dx, x), (w, dw)) in dx.iter_mut().zip(x).zip(weight.iter().zip(&mut dweight)) {
                *dw += *dx * *x * inverse;
                *dx *= *w;
            }
            let pull = dot(dx, x) * inverse * inverse / count(width);
            dx.iter_mut().zip(x).for_each(|(dx, x)| *dx = (*dx - *x * pull) * inverse);
        }
        (dx, Some(dweight))
    }
}

struct SwiGluOp;

impl FusedOp for SwiGluOp {
    const NAME: &'static str = "swiglu";

    fn forward<T: Real>(&self, gate: &[T], up: &[T]) -> Vec<T> {
        gate.iter().zip(up).map(|(g, u)| *g * sigmoid(*g) * *u).collect()
    }

    fn backward<T: Real>(
        &self,
        [gate, up]: [&[T]; 2],
        _: &[T],
        dz: &[T],
    ) -> (Vec<T>, Option<Vec<T>>) {
        let (mut dgate, mut dup) = (dz.to_vec(), dz.to_vec());
        for ((dg, du), (g, u)) in dgate.iter_mut().zip(&mut dup).zip(gate.iter().zip(up)) {
            let open = sigmoid(*g);
            *dg *= *u * open * (T::one() + *g * (T::one() - open));
            *du *= *g * open;
        }
        (dgate, Some(dup))
    }
}

struct RotateOp {
    width: usize,
}

impl RotateOp {
    fn turn<T: Real>(&self, x: &[T], angles: &[T], way: T) -> Vec<T> {
        let half = self.width / 2;
        let mut out = x.to_vec();
        for (row, angles) in
            out.chunks_exact_mut(self.width).zip(angles.chunks_exact(self.width).cycle())
        {
            let (a, b) = row.split_at_mut(half);
            let (cos, sin) = angles.split_at(half);
            for ((a, b), (cos, sin)) in a.iter_mut().zip(b).zip(cos.iter().zip(sin)) {
                let sin = *sin * way;
                (*a, *b) = (*a * *cos - *b * sin, *a * sin + *b * *cos);
            }
        }
        out
    }
}

impl FusedOp for RotateOp {
    const NAME: &'static str = "rotate";

    fn forward<T: Real>(&self, x: &[T], angles: &[T]) -> Vec<T> {
        self.turn(x, angles, T::one())
    }

    fn backward<T: Real>(
        &self,
        [_, angles]: [&[T]; 2],
        _: &[T],
        dz: &[T],
    ) -> (Vec<T>, Option<Vec<T>>) {
        (self.turn(dz, angles, T::from_f64(-1.0)), None)
    }
}

struct LogProbsOp {
    width: usize,
}

/// The index of a target; `None` for padding.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an id, checked not to be below 0"
)]
fn place<T: Real>(target: T) -> Option<usize> {
    let target = target.to_f64();
    (target >= 0.0).then_some(target as usize)
}

impl FusedOp for LogProbsOp {
    const NAME: &'static str = "log-probs";
    const FOLDS: bool = true;

    fn forward<T: Real>(&self, logits: &[T], targets: &[T]) -> Vec<T> {
        let one = |(row, target): (&[T], &T)| {
            let Some(at) = place(*target) else { return T::zero() };
            let most = row.iter().copied().fold(row[at], |a, b| if b > a { b } else { a });
            let mut total = T::zero();
            row.iter().for_each(|x| total += (*x - most).exp());
            row[at] - most - total.ln()
        };
        logits.chunks_exact(self.width).zip(targets).map(one).collect()
    }

    fn backward<T: Real>(
        &self,
        [logits, targets]: [&[T]; 2],
        z: &[T],
        dz: &[T],
    ) -> (Vec<T>, Option<Vec<T>>) {
        let mut dx = vec![T::zero(); logits.len()];
        let rows = dx.chunks_exact_mut(self.width).zip(logits.chunks_exact(self.width));
        for ((dx, row), ((target, logp), slope)) in rows.zip(targets.iter().zip(z).zip(dz)) {
            let Some(at) = place(*target).filter(|_| *slope != T::zero()) else { continue };
            let total = row[at] - *logp; // the logarithm of the sum of exponentials
            dx.iter_mut()
                .zip(row)
                .for_each(|(dx, x)| *dx = T::zero() - *slope * (*x - total).exp());
            dx[at] += *slope;
        }
        (dx, None)
    }
}

fn sigmoid<T: Real>(x: T) -> T {
    T::one() / (T::one() + (T::zero() - x).exp())
}

/// The dot product, with eight accumulators to shorten the chain of dependent additions.
fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    let mut strands = [T::zero(); 8];
    let (wide_a, wide_b) = (a.chunks_exact(8), b.chunks_exact(8));
    let mut total = T::zero();
    wide_a.remainder().iter().zip(wide_b.remainder()).for_each(|(a, b)| total += *a * *b);
    for (a, b) in wide_a.zip(wide_b) {
        strands.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += *a * *b);
    }
    strands.into_iter().for_each(|strand| total += strand);
    total
}

fn count<T: Real>(len: usize) -> T {
    #[expect(clippy::cast_precision_loss, reason = "a row is short")]
    T::from_f64(len as f64)
}

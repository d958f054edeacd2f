//! How a gradient that was computed outside of candle gets into it.
//!
//! `sum(dlogp · logp) + sum(dvalue · values)`, with `dlogp` and `dvalue` held constant, has exactly `dlogp` and `dvalue` as
//! its gradients; the chain rule does the rest. Its value means nothing: report the optimizer's loss.

use candle_core::{Result, Tensor, WithDType};

/// The surrogate of the gradients `dlogp` and `dvalue` (row-major, the shape of `logp` and `values`).
///
/// # Errors
/// What candle refuses: slices of another size, above all.
pub fn surrogate<F: WithDType>(
    logp: &Tensor,
    values: &Tensor,
    dlogp: &[F],
    dvalue: &[F],
) -> Result<Tensor> {
    let term = |by: &Tensor, slope: &[F]| -> Result<Tensor> {
        let slope = Tensor::from_slice(slope, by.shape(), by.device())?.to_dtype(by.dtype())?;
        (by * slope)?.sum_all()
    };
    term(logp, dlogp)? + term(values, dvalue)?
}

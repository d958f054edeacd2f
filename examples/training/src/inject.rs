//! Injection of externally computed gradients into candle.
//!
//! `sum(dlogp · logp) + sum(dvalue · values)`, with `dlogp` and `dvalue` held constant, has exactly
//! `dlogp` and `dvalue` as its gradients; the chain rule does the rest. Its value has no meaning:
//! report the optimizer's loss instead.

use candle_core::{Result, Tensor, WithDType};

/// Builds the scalar whose gradients by `logp` and `values` are `dlogp` and `dvalue` (row-major, of
/// the same shapes).
///
/// # Errors
/// The errors of candle, such as slices of another size.
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

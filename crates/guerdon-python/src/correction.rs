//! Importance weights and masks for the gap between engine and trainer; documented in
//! `guerdon/optim/correction.py`.

use guerdon_client::optim::{self, CorrectionBatch, Rejection};
use numpy::PyArray1;
use pyo3::prelude::{Bound, PyAnyMethods, PyResult, Python, pyfunction};
use pyo3::types::PyDict;

use crate::arrays::{
    Array, InputArray, Mask, NumpyFloat, compute, in_type_of, report, scored, table as out_table,
};
use crate::settings::{CorrectionSettings, RejectionSettings, read};

/// Computes `(weights [B, T], figures)`.
#[pyfunction]
pub(crate) fn importance_weights<'py>(
    settings: &str,
    mask: &Array<'py>,
    old_logp: &Array<'py>,
    rollout_logp: &Array<'py>,
) -> PyResult<(Array<'py>, Bound<'py, PyDict>)> {
    in_type_of!(old_logp, importance_weights_in(settings, mask, old_logp, rollout_logp))
}

fn importance_weights_in<'py, F: NumpyFloat>(
    settings: &str,
    mask: &Array<'py>,
    old_logp: &Array<'py>,
    rollout_logp: &Array<'py>,
) -> PyResult<(Array<'py>, Bound<'py, PyDict>)> {
    let config = read::<CorrectionSettings>(settings)?.into();
    let py = old_logp.py();
    let (old_logp, shape) = InputArray::<F>::table(old_logp, "old_logp")?;
    let rollout_logp = InputArray::<F>::read(rollout_logp, "rollout_logp", &shape)?;
    let mask = Mask::read(mask, shape)?;
    let batch = CorrectionBatch::new(mask.rows()?, old_logp.slice()?, rollout_logp.slice()?);
    let mut out = vec![F::ZERO; shape[0] * shape[1]];
    let done = compute(py, || optim::importance_weights(&config, &batch, &mut out))?;
    let figures = [("mean_weight", done.mean_weight), ("bounded", done.bounded), ("kl", done.kl)];
    Ok((out_table(py, out, shape)?, report(py, figures)?))
}

/// Computes `(kept [B, T], share of tokens kept)`.
#[pyfunction]
pub(crate) fn rejection_mask<'py>(
    rules: &str,
    mask: &Array<'py>,
    old_logp: &Array<'py>,
    rollout_logp: &Array<'py>,
) -> PyResult<(Array<'py>, f64)> {
    in_type_of!(old_logp, rejection_mask_in(rules, mask, old_logp, rollout_logp))
}

fn rejection_mask_in<'py, F: NumpyFloat>(
    rules: &str,
    mask: &Array<'py>,
    old_logp: &Array<'py>,
    rollout_logp: &Array<'py>,
) -> PyResult<(Array<'py>, f64)> {
    let rules: Vec<Rejection> =
        read::<Vec<RejectionSettings>>(rules)?.into_iter().map(Rejection::from).collect();
    let py = old_logp.py();
    let (old_logp, shape) = InputArray::<F>::table(old_logp, "old_logp")?;
    let rollout_logp = InputArray::<F>::read(rollout_logp, "rollout_logp", &shape)?;
    let mask = Mask::read(mask, shape)?;
    let batch = CorrectionBatch::new(mask.rows()?, old_logp.slice()?, rollout_logp.slice()?);
    let mut kept = vec![0; shape[0] * shape[1]];
    let share = compute(py, || optim::rejection_mask(&rules, &batch, &mut kept))?;
    let flags = flags(py, &kept)?.call_method1("reshape", (shape,))?;
    Ok((flags, share))
}

/// Computes the rows `[B]` to be dropped.
#[pyfunction]
pub(crate) fn off_policy_rows<'py>(
    delta: f64,
    mask: &Array<'py>,
    old_logp: &Array<'py>,
    logp: &Array<'py>,
    advantages: &Array<'py>,
) -> PyResult<Array<'py>> {
    in_type_of!(old_logp, off_policy_rows_in(delta, mask, old_logp, logp, advantages))
}

fn off_policy_rows_in<'py, F: NumpyFloat>(
    delta: f64,
    mask: &Array<'py>,
    old_logp: &Array<'py>,
    logp: &Array<'py>,
    advantages: &Array<'py>,
) -> PyResult<Array<'py>> {
    let py = old_logp.py();
    let (old_logp, shape) = InputArray::<F>::table(old_logp, "old_logp")?;
    let logp = InputArray::<F>::read(logp, "logp", &shape)?;
    let advantages = scored(InputArray::<F>::read(advantages, "advantages", &shape[..1])?.slice()?);
    let mask = Mask::read(mask, shape)?;
    // The first slice of the batch is the policy in training, the second the policy that sampled.
    let batch = CorrectionBatch::new(mask.rows()?, logp.slice()?, old_logp.slice()?);
    let mut dropped = vec![0; shape[0]];
    compute(py, || optim::off_policy_rows(delta, &batch, &advantages, &mut dropped))?;
    flags(py, &dropped)
}

fn flags<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Array<'py>> {
    let flags = bytes.iter().map(|byte| *byte != 0).collect();
    Ok(PyArray1::from_vec(py, flags).into_any())
}

//! Policy and value losses with their gradients, and the weights of tokens; documented in
//! `guerdon/optim/losses.py`.

use guerdon_client::optim::{self, Normaliser, PolicyBatch, ValueBatch};
use pyo3::prelude::{Bound, PyResult, pyfunction};
use pyo3::types::PyDict;

use crate::arrays::{
    Array, InputArray, Mask, NumpyFloat, compute, in_type_of, optional_slice, report,
    table as out_table,
};
use crate::errors::optim_error;
use crate::settings::{PolicySettings, ValueSettings, aggregation, divisors, read};

/// Tokens, rows and horizon of a whole batch.
type Divisors = Option<(f64, f64, f64)>;

/// Computes `(gradient by logp [B, T], figures)` from `arrays`: logp, old_logp and advantages.
#[pyfunction]
pub(crate) fn policy_loss<'py>(
    settings: &str,
    mask: &Array<'py>,
    arrays: [Array<'py>; 3],
    correction: Option<&Array<'py>>,
    normaliser: Divisors,
) -> PyResult<(Array<'py>, Bound<'py, PyDict>)> {
    let normaliser = divisors(normaliser);
    in_type_of!(&arrays[0], policy_loss_in(settings, mask, arrays, correction, normaliser))
}

fn policy_loss_in<'py, F: NumpyFloat>(
    settings: &str,
    mask: &Array<'py>,
    [logp, old_logp, advantages]: [Array<'py>; 3],
    correction: Option<&Array<'py>>,
    normaliser: Option<Normaliser>,
) -> PyResult<(Array<'py>, Bound<'py, PyDict>)> {
    let config = read::<PolicySettings>(settings)?.config()?;
    let py = logp.py();
    let (logp, shape) = InputArray::<F>::table(&logp, "logp")?;
    let old_logp = InputArray::<F>::read(&old_logp, "old_logp", &shape)?;
    let advantages = InputArray::<F>::read(&advantages, "advantages", &shape)?;
    let correction = InputArray::<F>::optional(correction, "correction", &shape)?;
    let mask = Mask::read(mask, shape)?;
    let mut batch =
        PolicyBatch::new(mask.rows()?, logp.slice()?, old_logp.slice()?, advantages.slice()?);
    if let Some(weights) = optional_slice(&correction)? {
        batch = batch.with_correction(weights);
    }
    if let Some(normaliser) = normaliser {
        batch = batch.with_normaliser(normaliser);
    }
    let mut dlogp = vec![F::ZERO; shape[0] * shape[1]];
    let loss = compute(py, || optim::policy_loss(&config, &batch, &mut dlogp))?;
    let figures = [
        ("loss", loss.loss),
        ("clip_fraction", loss.clip_fraction),
        ("dual_clip_fraction", loss.dual_clip_fraction),
        ("approx_kl", loss.approx_kl),
        ("approx_kl_k3", loss.approx_kl_k3),
        ("max_ratio", loss.max_ratio),
        ("tokens", loss.tokens as f64),
    ];
    Ok((out_table(py, dlogp, shape)?, report(py, figures)?))
}

/// Computes `(gradient by values [B, T], figures)` from `arrays`: values, old_values and returns.
#[pyfunction]
pub(crate) fn value_loss<'py>(
    settings: &str,
    mask: &Array<'py>,
    arrays: [Array<'py>; 3],
    normaliser: Divisors,
) -> PyResult<(Array<'py>, Bound<'py, PyDict>)> {
    let normaliser = divisors(normaliser);
    in_type_of!(&arrays[0], value_loss_in(settings, mask, arrays, normaliser))
}

fn value_loss_in<'py, F: NumpyFloat>(
    settings: &str,
    mask: &Array<'py>,
    [values, old_values, returns]: [Array<'py>; 3],
    normaliser: Option<Normaliser>,
) -> PyResult<(Array<'py>, Bound<'py, PyDict>)> {
    let config = read::<ValueSettings>(settings)?.into();
    let py = values.py();
    let (values, shape) = InputArray::<F>::table(&values, "values")?;
    let old_values = InputArray::<F>::read(&old_values, "old_values", &shape)?;
    let returns = InputArray::<F>::read(&returns, "returns", &shape)?;
    let mask = Mask::read(mask, shape)?;
    let mut batch =
        ValueBatch::new(mask.rows()?, values.slice()?, old_values.slice()?, returns.slice()?);
    if let Some(normaliser) = normaliser {
        batch = batch.with_normaliser(normaliser);
    }
    let mut dvalues = vec![F::ZERO; shape[0] * shape[1]];
    let loss = compute(py, || optim::value_loss(&config, &batch, &mut dvalues))?;
    let figures = [
        ("loss", loss.loss),
        ("clip_fraction", loss.clip_fraction),
        ("mean_error", loss.mean_error),
        ("explained_variance", loss.explained_variance),
        ("tokens", loss.tokens as f64),
    ];
    Ok((out_table(py, dvalues, shape)?, report(py, figures)?))
}

/// Computes the weight of every token, `[B, T]` of `float64`.
#[pyfunction]
pub(crate) fn aggregation_weights<'py>(
    name: &str,
    mask: &Array<'py>,
    normaliser: Divisors,
) -> PyResult<Array<'py>> {
    let py = mask.py();
    let mask = Mask::table(mask)?;
    let [rows, width] = mask.shape();
    let mut out = vec![0.0_f64; rows * width];
    aggregation(name)?
        .weights(&mask.rows()?, divisors(normaliser), &mut out)
        .map_err(|error| optim_error(&error))?;
    out_table(py, out, [rows, width])
}

/// Computes the divisors `(tokens, rows, horizon)` of a batch.
#[pyfunction]
pub(crate) fn normaliser(mask: &Array<'_>) -> PyResult<(f64, f64, f64)> {
    let mask = Mask::table(mask)?;
    let Normaliser { tokens, rows, horizon } = Normaliser::of(&mask.rows()?);
    Ok((tokens, rows, horizon))
}

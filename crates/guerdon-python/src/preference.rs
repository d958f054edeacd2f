//! Losses on preferences and the imitation loss; documented in `guerdon/optim/preference.py`.

use guerdon_client::optim::{self, KtoConfig, PairLoss, PreferenceBatch};
use pyo3::prelude::{Bound, PyResult, pyfunction};
use pyo3::types::PyDict;
use serde::Deserialize;

use crate::arrays::{
    Array, InputArray, Mask, NumpyFloat, compute, in_type_of, optional_slice, report,
    rollout_numbers, table as out_table,
};
use crate::settings::{aggregation, divisors, read};

/// Settings of [`PairLoss`], by the loss's name.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, tag = "loss", rename_all = "lowercase")]
enum PairSettings {
    Dpo { beta: f64, label_smoothing: f64 },
    Ipo { beta: f64, mean: bool },
    SimPo { beta: f64, gamma: f64 },
    Orpo { lambda: f64 },
}

impl From<PairSettings> for PairLoss {
    fn from(settings: PairSettings) -> Self {
        match settings {
            PairSettings::Dpo { beta, label_smoothing } => Self::Dpo { beta, label_smoothing },
            PairSettings::Ipo { beta, mean } => Self::Ipo { beta, mean },
            PairSettings::SimPo { beta, gamma } => Self::SimPo { beta, gamma },
            PairSettings::Orpo { lambda } => Self::Orpo { lambda },
        }
    }
}

/// Computes `(gradient by logp [2 P, T], figures)`.
#[pyfunction]
pub(crate) fn pair_loss<'py>(
    settings: &str,
    mask: &Array<'py>,
    logp: &Array<'py>,
    reference: Option<&Array<'py>>,
    count: Option<f64>,
) -> PyResult<(Array<'py>, Bound<'py, PyDict>)> {
    in_type_of!(logp, pair_loss_in(settings, mask, logp, reference, count))
}

fn pair_loss_in<'py, F: NumpyFloat>(
    settings: &str,
    mask: &Array<'py>,
    logp: &Array<'py>,
    reference: Option<&Array<'py>>,
    count: Option<f64>,
) -> PyResult<(Array<'py>, Bound<'py, PyDict>)> {
    let config = read::<PairSettings>(settings)?.into();
    let py = logp.py();
    let (logp, shape) = InputArray::<F>::table(logp, "logp")?;
    let reference = InputArray::<F>::optional(reference, "reference", &shape)?;
    let mask = Mask::read(mask, shape)?;
    let batch = batch(PreferenceBatch::new(mask.rows()?, logp.slice()?), &reference, count)?;
    let mut dlogp = vec![F::ZERO; shape[0] * shape[1]];
    let loss = compute(py, || optim::pair_loss(config, &batch, &mut dlogp))?;
    let figures = [
        ("loss", loss.loss),
        ("accuracy", loss.accuracy),
        ("margin", loss.margin),
        ("chosen", loss.chosen),
        ("rejected", loss.rejected),
        ("pairs", loss.pairs as f64),
    ];
    Ok((out_table(py, dlogp, shape)?, report(py, figures)?))
}

fn batch<'a, F: NumpyFloat>(
    mut batch: PreferenceBatch<'a, F>,
    reference: &'a Option<InputArray<'_, F>>,
    count: Option<f64>,
) -> PyResult<PreferenceBatch<'a, F>> {
    if let Some(reference) = optional_slice(reference)? {
        batch = batch.with_reference(reference);
    }
    if let Some(count) = count {
        batch = batch.with_count(count);
    }
    Ok(batch)
}

/// Settings of [`KtoConfig`], and the KL.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KtoSettings {
    beta: f64,
    desirable_weight: f64,
    undesirable_weight: f64,
    kl: f64,
}

/// Computes `(gradient by logp [B, T], figures)` from `arrays`: logp and reference.
#[pyfunction]
pub(crate) fn kto_loss<'py>(
    settings: &str,
    mask: &Array<'py>,
    arrays: [Array<'py>; 2],
    desirable: &Array<'py>,
    count: Option<f64>,
) -> PyResult<(Array<'py>, Bound<'py, PyDict>)> {
    in_type_of!(&arrays[0], kto_loss_in(settings, mask, arrays, desirable, count))
}

fn kto_loss_in<'py, F: NumpyFloat>(
    settings: &str,
    mask: &Array<'py>,
    [logp, reference]: [Array<'py>; 2],
    desirable: &Array<'py>,
    count: Option<f64>,
) -> PyResult<(Array<'py>, Bound<'py, PyDict>)> {
    let KtoSettings { beta, desirable_weight, undesirable_weight, kl } = read(settings)?;
    let config = KtoConfig { beta, desirable: desirable_weight, undesirable: undesirable_weight };
    let py = logp.py();
    let (logp, shape) = InputArray::<F>::table(&logp, "logp")?;
    let reference = Some(InputArray::<F>::read(&reference, "reference", &shape)?);
    let labels: Vec<bool> = rollout_numbers(desirable, "desirable", shape[0])?;
    let mask = Mask::read(mask, shape)?;
    let batch = batch(PreferenceBatch::new(mask.rows()?, logp.slice()?), &reference, count)?;
    let mut dlogp = vec![F::ZERO; shape[0] * shape[1]];
    let loss = compute(py, || optim::kto_loss(&config, &batch, &labels, kl, &mut dlogp))?;
    let figures = [
        ("loss", loss.loss),
        ("desirable", loss.desirable),
        ("undesirable", loss.undesirable),
        ("rows", loss.rows as f64),
    ];
    Ok((out_table(py, dlogp, shape)?, report(py, figures)?))
}

/// Computes `(loss, gradient by logp [B, T])`.
#[pyfunction]
pub(crate) fn sft_loss<'py>(
    name: &str,
    mask: &Array<'py>,
    logp: &Array<'py>,
    normaliser: Option<(f64, f64, f64)>,
) -> PyResult<(f64, Array<'py>)> {
    in_type_of!(logp, sft_loss_in(name, mask, logp, normaliser))
}

fn sft_loss_in<'py, F: NumpyFloat>(
    name: &str,
    mask: &Array<'py>,
    logp: &Array<'py>,
    normaliser: Option<(f64, f64, f64)>,
) -> PyResult<(f64, Array<'py>)> {
    let (aggregation, normaliser) = (aggregation(name)?, divisors(normaliser));
    let py = logp.py();
    let (logp, shape) = InputArray::<F>::table(logp, "logp")?;
    let mask = Mask::read(mask, shape)?;
    let (mask, logp) = (mask.rows()?, logp.slice()?);
    let mut dlogp = vec![F::ZERO; logp.len()];
    let loss = compute(py, || optim::sft_loss(aggregation, &mask, logp, normaliser, &mut dlogp))?;
    Ok((loss, out_table(py, dlogp, shape)?))
}

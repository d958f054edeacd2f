//! Token rewards, KL, whitening and combined rewards; documented in `guerdon/optim/rewards.py`.

use guerdon_client::optim::reward::combine;
use guerdon_client::optim::{self, KlBatch, KlRewardConfig};
use pyo3::prelude::{Bound, PyAnyMethods, PyResult, pyfunction};
use pyo3::types::PyDict;

use crate::arrays::{
    Array, InputArray, Mask, NumpyFloat, compute, in_type_of, optional_slice, report,
    table as out_table,
};
use crate::errors::optim_error;
use crate::settings::{KlSettings, WhitenSettings, read};

type Figures<'py> = Bound<'py, PyDict>;

/// Computes `(token rewards [B, T], figures)` from `log_probs` (logp and ref_logp) and rewards
/// `[B]`.
#[pyfunction]
pub(crate) fn token_rewards<'py>(
    settings: &str,
    beta: f64,
    mask: &Array<'py>,
    log_probs: [Array<'py>; 2],
    rewards: &Array<'py>,
) -> PyResult<(Array<'py>, Figures<'py>)> {
    in_type_of!(&log_probs[0], token_rewards_in(settings, beta, mask, log_probs, rewards))
}

fn token_rewards_in<'py, F: NumpyFloat>(
    settings: &str,
    beta: f64,
    mask: &Array<'py>,
    [logp, ref_logp]: [Array<'py>; 2],
    rewards: &Array<'py>,
) -> PyResult<(Array<'py>, Figures<'py>)> {
    let config = KlRewardConfig { kl: read::<KlSettings>(settings)?.into(), beta };
    let py = logp.py();
    let (logp, shape) = InputArray::<F>::table(&logp, "logp")?;
    let ref_logp = InputArray::<F>::read(&ref_logp, "ref_logp", &shape)?;
    let rewards = InputArray::<F>::read(rewards, "rewards", &shape[..1])?;
    let mask = Mask::read(mask, shape)?;
    let (batch, rewards) =
        (KlBatch::new(mask.rows()?, logp.slice()?, ref_logp.slice()?), rewards.slice()?);
    let mut out = vec![F::ZERO; shape[0] * shape[1]];
    let kl = compute(py, || optim::token_rewards(&config, &batch, rewards, &mut out))?;
    let figures = [
        ("token_mean", kl.token_mean),
        ("row_mean", kl.row_mean),
        ("unplaced", kl.unplaced as f64),
    ];
    Ok((out_table(py, out, shape)?, report(py, figures)?))
}

/// Computes `(KL estimates, their derivatives by logp)`, both `[B, T]`.
#[pyfunction]
pub(crate) fn kl_penalty<'py>(
    settings: &str,
    mask: &Array<'py>,
    logp: &Array<'py>,
    ref_logp: &Array<'py>,
    old_logp: Option<&Array<'py>>,
) -> PyResult<(Array<'py>, Array<'py>)> {
    in_type_of!(logp, kl_penalty_in(settings, mask, logp, ref_logp, old_logp))
}

fn kl_penalty_in<'py, F: NumpyFloat>(
    settings: &str,
    mask: &Array<'py>,
    logp: &Array<'py>,
    ref_logp: &Array<'py>,
    old_logp: Option<&Array<'py>>,
) -> PyResult<(Array<'py>, Array<'py>)> {
    let config = read::<KlSettings>(settings)?.into();
    let py = logp.py();
    let (logp, shape) = InputArray::<F>::table(logp, "logp")?;
    let ref_logp = InputArray::<F>::read(ref_logp, "ref_logp", &shape)?;
    let old_logp = InputArray::<F>::optional(old_logp, "old_logp", &shape)?;
    let mask = Mask::read(mask, shape)?;
    let mut batch = KlBatch::new(mask.rows()?, logp.slice()?, ref_logp.slice()?);
    if let Some(old_logp) = optional_slice(&old_logp)? {
        batch = batch.with_old_logp(old_logp);
    }
    let [mut kl, mut dlogp] =
        [vec![F::ZERO; shape[0] * shape[1]], vec![F::ZERO; shape[0] * shape[1]]];
    compute(py, || optim::kl_penalty(&config, &batch, &mut kl, &mut dlogp))?;
    Ok((out_table(py, kl, shape)?, out_table(py, dlogp, shape)?))
}

/// Computes count, mean and variance over tokens.
#[pyfunction]
pub(crate) fn moments<'py>(mask: &Array<'py>, values: &Array<'py>) -> PyResult<Figures<'py>> {
    in_type_of!(values, moments_in(mask, values))
}

fn moments_in<'py, F: NumpyFloat>(
    mask: &Array<'py>,
    values: &Array<'py>,
) -> PyResult<Figures<'py>> {
    let py = values.py();
    let (values, shape) = InputArray::<F>::table(values, "values")?;
    let mask = Mask::read(mask, shape)?;
    let (mask, values) = (mask.rows()?, values.slice()?);
    figures(py, compute(py, || optim::moments(&mask, values))?)
}

/// Computes `(whitened values [B, T], moments before)`.
#[pyfunction]
pub(crate) fn whiten<'py>(
    settings: &str,
    mask: &Array<'py>,
    values: &Array<'py>,
) -> PyResult<(Array<'py>, Figures<'py>)> {
    in_type_of!(values, whiten_in(settings, mask, values))
}

fn whiten_in<'py, F: NumpyFloat>(
    settings: &str,
    mask: &Array<'py>,
    values: &Array<'py>,
) -> PyResult<(Array<'py>, Figures<'py>)> {
    let config = read::<WhitenSettings>(settings)?.into();
    let py = values.py();
    let (values, shape) = InputArray::<F>::table(values, "values")?;
    let mask = Mask::read(mask, shape)?;
    let (mask, mut out) = (mask.rows()?, values.slice()?.to_vec());
    let before = compute(py, || optim::whiten(&config, &mask, &mut out))?;
    Ok((out_table(py, out, shape)?, figures(py, before)?))
}

fn figures(py: pyo3::Python<'_>, moments: optim::Moments) -> PyResult<Figures<'_>> {
    let optim::Moments { tokens, mean, variance, .. } = moments;
    report(py, [("tokens", tokens as f64), ("mean", mean), ("variance", variance)])
}

/// Computes REPO's reward of one turn.
#[pyfunction]
pub(crate) fn repo_reward(rm: f64, points: f64, bound: f64) -> PyResult<f64> {
    combine::repo(rm, points, bound).map_err(|error| optim_error(&error))
}

/// Computes the probability that an answer is preferred to a reference answer.
#[pyfunction]
pub(crate) fn preference(reward: f64, reference: f64) -> f64 {
    combine::preference(reward, reference)
}

/// Computes the soft minimum of several rewards; `None` if there are none.
#[pyfunction]
pub(crate) fn soft_min(sharpness: f64, rewards: &Array<'_>) -> PyResult<Option<f64>> {
    let rewards: Vec<f64> = rewards.extract()?;
    combine::soft_min(sharpness, &rewards).map_err(|error| optim_error(&error))
}

/// Applies a hard gate to a reward.
#[pyfunction]
pub(crate) fn veto(reward: f64, passed: bool, floor: f64) -> f64 {
    combine::veto(reward, passed, floor)
}

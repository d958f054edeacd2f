//! Advantages by turn, and by position in the rollouts of a group; documented in
//! `guerdon/optim/advantages.py`.

use guerdon_client::optim::{self, OtbBatch, OtbConfig, TokenAlignment, TurnBatch, TurnGroupBatch};
use pyo3::prelude::{PyResult, pyfunction};
use serde::Deserialize;

use crate::arrays::{
    Array, InputArray, Mask, NumpyFloat, compute, in_type_of, optional_slice, table as out_table,
};
use crate::settings::{GaeSettings, GroupSettings, parse_name, read};

/// Settings of [`OtbConfig`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OtbSettings {
    #[serde(deserialize_with = "parse_name")]
    alignment: TokenAlignment,
    zero_tail: bool,
    eps: f64,
}

/// Computes `(advantages, returns)`, both `[B, T]`, from `arrays`: rewards, old_logp and
/// sum_pi_squared.
#[pyfunction]
pub(crate) fn optimal_token_baseline<'py>(
    settings: &str,
    mask: &Array<'py>,
    arrays: [Array<'py>; 3],
    correction: Option<&Array<'py>>,
    groups: Vec<usize>,
) -> PyResult<(Array<'py>, Array<'py>)> {
    in_type_of!(&arrays[0], otb_in(settings, mask, arrays, correction, groups))
}

fn otb_in<'py, F: NumpyFloat>(
    settings: &str,
    mask: &Array<'py>,
    [rewards, old_logp, sum_pi_squared]: [Array<'py>; 3],
    correction: Option<&Array<'py>>,
    groups: Vec<usize>,
) -> PyResult<(Array<'py>, Array<'py>)> {
    let OtbSettings { alignment, zero_tail, eps } = read(settings)?;
    let py = rewards.py();
    let (rewards, shape) = InputArray::<F>::table(&rewards, "rewards")?;
    let old_logp = InputArray::<F>::read(&old_logp, "old_logp", &shape)?;
    let sum_pi_squared = InputArray::<F>::read(&sum_pi_squared, "sum_pi_squared", &shape)?;
    let correction = InputArray::<F>::optional(correction, "correction", &shape)?;
    let mask = Mask::read(mask, shape)?;
    let (mask, rewards, old_logp) = (mask.rows()?, rewards.slice()?, old_logp.slice()?);
    let (sum_pi_squared, correction) = (sum_pi_squared.slice()?, optional_slice(&correction)?);
    let [mut advantages, mut returns] = [(); 2].map(|()| vec![F::ZERO; rewards.len()]);
    let outs = (&mut advantages[..], &mut returns[..]);
    compute(py, move || {
        let groups = &groups;
        let batch = OtbBatch { mask, rewards, old_logp, sum_pi_squared, correction, groups };
        let config = OtbConfig { alignment, zero_tail, eps };
        optim::optimal_token_baseline(&config, &batch, outs.0, outs.1)
    })?;
    Ok((out_table(py, advantages, shape)?, out_table(py, returns, shape)?))
}

/// Computes `(advantages, returns)`, both `[B, T]`, from `arrays`: rewards and values.
#[pyfunction]
pub(crate) fn turn_gae<'py>(
    settings: &str,
    mask: &Array<'py>,
    arrays: [Array<'py>; 2],
    bootstrap: Option<&Array<'py>>,
) -> PyResult<(Array<'py>, Array<'py>)> {
    in_type_of!(&arrays[0], turn_gae_in(settings, mask, arrays, bootstrap))
}

fn turn_gae_in<'py, F: NumpyFloat>(
    settings: &str,
    mask: &Array<'py>,
    [rewards, values]: [Array<'py>; 2],
    bootstrap: Option<&Array<'py>>,
) -> PyResult<(Array<'py>, Array<'py>)> {
    let config = read::<GaeSettings>(settings)?.into();
    let py = rewards.py();
    let (rewards, shape) = InputArray::<F>::table(&rewards, "rewards")?;
    let values = InputArray::<F>::read(&values, "values", &shape)?;
    let bootstrap = InputArray::<F>::optional(bootstrap, "bootstrap", &shape[..1])?;
    let mask = Mask::read(mask, shape)?;
    let batch = TurnBatch {
        mask: mask.rows()?,
        rewards: rewards.slice()?,
        values: values.slice()?,
        bootstrap: optional_slice(&bootstrap)?,
    };
    let [mut advantages, mut returns] = [(); 2].map(|()| vec![F::ZERO; shape[0] * shape[1]]);
    compute(py, || optim::turn_gae(&config, &batch, &mut advantages, &mut returns))?;
    Ok((out_table(py, advantages, shape)?, out_table(py, returns, shape)?))
}

/// Computes advantages `[B, T]` from `arrays`: turn rewards `[B, T]` and outcomes `[B]`.
#[pyfunction]
pub(crate) fn turn_group_advantages<'py>(
    settings: &str,
    coefficient: f64,
    mask: &Array<'py>,
    arrays: [Array<'py>; 2],
    groups: Vec<usize>,
) -> PyResult<Array<'py>> {
    in_type_of!(&arrays[0], turn_group_in(settings, coefficient, mask, arrays, groups))
}

fn turn_group_in<'py, F: NumpyFloat>(
    settings: &str,
    coefficient: f64,
    mask: &Array<'py>,
    [turn_rewards, outcomes]: [Array<'py>; 2],
    groups: Vec<usize>,
) -> PyResult<Array<'py>> {
    let config = read::<GroupSettings>(settings)?.into();
    let py = turn_rewards.py();
    let (turn_rewards, shape) = InputArray::<F>::table(&turn_rewards, "turn_rewards")?;
    let outcomes = InputArray::<F>::read(&outcomes, "outcomes", &shape[..1])?;
    let mask = Mask::read(mask, shape)?;
    let (mask, turn_rewards, outcomes) = (mask.rows()?, turn_rewards.slice()?, outcomes.slice()?);
    let mut out = vec![F::ZERO; turn_rewards.len()];
    let advantages = &mut out[..];
    compute(py, move || {
        let batch = TurnGroupBatch { mask, turn_rewards, outcomes, groups: &groups };
        optim::turn_group_advantages(&config, coefficient, &batch, advantages)
    })?;
    out_table(py, out, shape)
}

//! Advantages from a critic, from siblings and from rewards-to-go; documented in
//! `guerdon/optim/advantages.py`.

pub(crate) mod by_turn;

use guerdon_client::optim::{self, GaeBatch, GroupBatch, RewardPart};
use pyo3::prelude::{PyResult, pyfunction};

use crate::arrays::{
    Array, InputArray, Mask, NumpyFloat, column, compute, in_type_of, optional_slice, scored,
    table as out_table,
};
use crate::errors::optim_error;
use crate::settings::{GaeSettings, GroupSettings, read};

/// Computes `(advantages, returns)`, both `[B, T]`, from `arrays`: rewards and values.
#[pyfunction]
pub(crate) fn gae<'py>(
    settings: &str,
    mask: &Array<'py>,
    arrays: [Array<'py>; 2],
    bootstrap: Option<&Array<'py>>,
    lams: Option<&Array<'py>>,
) -> PyResult<(Array<'py>, Array<'py>)> {
    in_type_of!(&arrays[0], gae_in(settings, mask, arrays, bootstrap, lams))
}

fn gae_in<'py, F: NumpyFloat>(
    settings: &str,
    mask: &Array<'py>,
    [rewards, values]: [Array<'py>; 2],
    bootstrap: Option<&Array<'py>>,
    lams: Option<&Array<'py>>,
) -> PyResult<(Array<'py>, Array<'py>)> {
    let config = read::<GaeSettings>(settings)?.into();
    let py = rewards.py();
    let (rewards, shape) = InputArray::<F>::table(&rewards, "rewards")?;
    let values = InputArray::<F>::read(&values, "values", &shape)?;
    let bootstrap = InputArray::<F>::optional(bootstrap, "bootstrap", &shape[..1])?;
    let lams = InputArray::<F>::optional(lams, "lams", &shape[..1])?;
    let mask = Mask::read(mask, shape)?;
    let mut batch = GaeBatch::new(mask.rows()?, rewards.slice()?, values.slice()?);
    if let Some(bootstrap) = optional_slice(&bootstrap)? {
        batch = batch.with_bootstrap(bootstrap);
    }
    if let Some(lams) = optional_slice(&lams)? {
        batch = batch.with_lambdas(lams);
    }
    let [mut advantages, mut returns] =
        [vec![F::ZERO; shape[0] * shape[1]], vec![F::ZERO; shape[0] * shape[1]]];
    compute(py, || optim::gae(&config, &batch, &mut advantages, &mut returns))?;
    Ok((out_table(py, advantages, shape)?, out_table(py, returns, shape)?))
}

/// Computes advantages `[B]` against siblings, NaN for rollouts without a reward.
#[pyfunction]
pub(crate) fn group_advantages<'py>(
    settings: &str,
    rewards: &Array<'py>,
    groups: Vec<usize>,
) -> PyResult<Array<'py>> {
    in_type_of!(rewards, group_advantages_in(settings, rewards, groups))
}

fn group_advantages_in<'py, F: NumpyFloat>(
    settings: &str,
    rewards: &Array<'py>,
    groups: Vec<usize>,
) -> PyResult<Array<'py>> {
    let config = read::<GroupSettings>(settings)?.into();
    let (numbers, _) = InputArray::<F>::column(rewards, "rewards")?;
    let numbers = scored(numbers.slice()?);
    let advantages =
        compute(rewards.py(), move || optim::advantages_with(&config, &numbers, &groups))?;
    column::<F>(rewards.py(), &advantages)
}

/// Copies the advantages against siblings to the tokens, `[B, T]`. A rollout without tokens is not a
/// sibling.
#[pyfunction]
pub(crate) fn token_advantages<'py>(
    settings: &str,
    mask: &Array<'py>,
    rewards: &Array<'py>,
    groups: Vec<usize>,
) -> PyResult<Array<'py>> {
    in_type_of!(rewards, token_advantages_in(settings, mask, rewards, groups))
}

fn token_advantages_in<'py, F: NumpyFloat>(
    settings: &str,
    mask: &Array<'py>,
    rewards: &Array<'py>,
    groups: Vec<usize>,
) -> PyResult<Array<'py>> {
    let config = read::<GroupSettings>(settings)?.into();
    let mask = Mask::table(mask)?;
    let (py, shape) = (rewards.py(), mask.shape());
    let rewards = InputArray::<F>::read(rewards, "rewards", &shape[..1])?;
    let (mask, rewards) = (mask.rows()?, rewards.slice()?);
    let out = compute(py, move || {
        let mut out = vec![F::ZERO; shape[0] * shape[1]];
        let batch = GroupBatch::new(mask, rewards, &groups);
        optim::token_advantages(&config, &batch, &mut out).map(|()| out)
    })?;
    out_table(py, out, shape)
}

/// Computes OPO's advantages `[B]`.
#[pyfunction]
pub(crate) fn opo<'py>(
    rewards: &Array<'py>,
    lens: Vec<usize>,
    groups: Vec<usize>,
) -> PyResult<Array<'py>> {
    in_type_of!(rewards, opo_in(rewards, lens, groups))
}

fn opo_in<'py, F: NumpyFloat>(
    rewards: &Array<'py>,
    lens: Vec<usize>,
    groups: Vec<usize>,
) -> PyResult<Array<'py>> {
    let (numbers, _) = InputArray::<F>::column(rewards, "rewards")?;
    let numbers = scored(numbers.slice()?);
    let advantages = compute(rewards.py(), move || optim::opo(&numbers, &lens, &groups))?;
    column::<F>(rewards.py(), &advantages)
}

/// Computes GDPO's advantages `[B]` from parts, each a weight and rewards `[B]`. `first` is one of
/// their arrays and defines the number type.
#[pyfunction]
pub(crate) fn gdpo<'py>(
    settings: &str,
    first: &Array<'py>,
    parts: Vec<(f64, Array<'py>)>,
    groups: Vec<usize>,
) -> PyResult<Array<'py>> {
    in_type_of!(first, gdpo_in(settings, first, parts, groups))
}

fn gdpo_in<'py, F: NumpyFloat>(
    settings: &str,
    first: &Array<'py>,
    parts: Vec<(f64, Array<'py>)>,
    groups: Vec<usize>,
) -> PyResult<Array<'py>> {
    let config = read::<GroupSettings>(settings)?.into();
    let mut columns = Vec::with_capacity(parts.len());
    for (weight, rewards) in parts {
        columns.push((
            weight,
            scored(InputArray::<F>::read(&rewards, "part", &[groups.len()])?.slice()?),
        ));
    }
    let advantages = compute(first.py(), move || {
        let parts: Vec<RewardPart<'_>> = columns
            .iter()
            .map(|(weight, rewards)| RewardPart { weight: *weight, rewards })
            .collect();
        optim::gdpo(&config, &parts, &groups)
    })?;
    column::<F>(first.py(), &advantages)
}

/// Scales the scored numbers of `[B]` to mean 0 and deviation 1.
#[pyfunction]
pub(crate) fn standardise<'py>(scores: &Array<'py>, eps: f64) -> PyResult<Array<'py>> {
    in_type_of!(scores, standardise_in(scores, eps))
}

fn standardise_in<'py, F: NumpyFloat>(scores: &Array<'py>, eps: f64) -> PyResult<Array<'py>> {
    let (numbers, _) = InputArray::<F>::column(scores, "scores")?;
    let mut numbers = scored(numbers.slice()?);
    optim::standardise(&mut numbers, eps);
    column::<F>(scores.py(), &numbers)
}

/// Copies one number per rollout `[B]` to each of its tokens `[B, T]`.
#[pyfunction]
pub(crate) fn spread<'py>(mask: &Array<'py>, advantages: &Array<'py>) -> PyResult<Array<'py>> {
    in_type_of!(advantages, spread_in(mask, advantages))
}

fn spread_in<'py, F: NumpyFloat>(
    mask: &Array<'py>,
    advantages: &Array<'py>,
) -> PyResult<Array<'py>> {
    let mask = Mask::table(mask)?;
    let [rows, width] = mask.shape();
    let py = advantages.py();
    let advantages = scored(InputArray::<F>::read(advantages, "advantages", &[rows])?.slice()?);
    let mut out = vec![F::ZERO; rows * width];
    optim::spread(&mask.rows()?, &advantages, &mut out).map_err(|error| optim_error(&error))?;
    out_table(py, out, [rows, width])
}

/// Computes discounted rewards-to-go `[B, T]`.
#[pyfunction]
pub(crate) fn returns_to_go<'py>(
    gamma: f64,
    mask: &Array<'py>,
    rewards: &Array<'py>,
) -> PyResult<Array<'py>> {
    in_type_of!(rewards, returns_to_go_in(gamma, mask, rewards))
}

fn returns_to_go_in<'py, F: NumpyFloat>(
    gamma: f64,
    mask: &Array<'py>,
    rewards: &Array<'py>,
) -> PyResult<Array<'py>> {
    let py = rewards.py();
    let (rewards, shape) = InputArray::<F>::table(rewards, "rewards")?;
    let mask = Mask::read(mask, shape)?;
    let (mask, rewards) = (mask.rows()?, rewards.slice()?);
    let mut out = vec![F::ZERO; rewards.len()];
    compute(py, || optim::returns_to_go(gamma, &mask, rewards, &mut out))?;
    out_table(py, out, shape)
}

/// Computes ReMax's advantages `[B, T]`.
#[pyfunction]
pub(crate) fn remax<'py>(
    mask: &Array<'py>,
    rewards: &Array<'py>,
    baselines: &Array<'py>,
) -> PyResult<Array<'py>> {
    in_type_of!(rewards, remax_in(mask, rewards, baselines))
}

fn remax_in<'py, F: NumpyFloat>(
    mask: &Array<'py>,
    rewards: &Array<'py>,
    baselines: &Array<'py>,
) -> PyResult<Array<'py>> {
    let py = rewards.py();
    let (rewards, shape) = InputArray::<F>::table(rewards, "rewards")?;
    let baselines = InputArray::<F>::read(baselines, "baselines", &shape[..1])?;
    let mask = Mask::read(mask, shape)?;
    let (mask, rewards, baselines) = (mask.rows()?, rewards.slice()?, baselines.slice()?);
    let mut out = vec![F::ZERO; rewards.len()];
    compute(py, || optim::remax(&mask, rewards, baselines, &mut out))?;
    out_table(py, out, shape)
}

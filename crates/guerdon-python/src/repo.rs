//! One update, from rewards to gradients. The number type is that of the first batch; what is remembered
//! between updates is in it.

use guerdon_client::optim::{self, Parts, RepoBatch, RepoConfig, Update};
use pyo3::prelude::{
    Bound, PyAny, PyAnyMethods, PyDictMethods, PyResult, Python, pyclass, pymethods,
};
use pyo3::types::PyDict;

use crate::arrays::{Mask, Number, Numbers, is_single, optional_slice, table as out_table};
use crate::errors::{refused, unfit};
use crate::repo_settings::config;
use crate::settings::divisors;

/// The optimizer.
#[pyclass(module = "guerdon._guerdon")]
pub(crate) struct Repo {
    config: RepoConfig,
    state: State,
}

/// What is remembered, in the number type of the batches.
enum State {
    Fresh,
    Single(Box<optim::Repo<f32>>),
    Double(Box<optim::Repo<f64>>),
}

#[pymethods]
impl Repo {
    #[new]
    fn new(settings: &str) -> PyResult<Self> {
        let config = config(settings)?;
        // Settings that cannot work are refused now, not in the first update.
        optim::Repo::<f64>::new(config).map_err(|error| refused(&error))?;
        Ok(Self { config, state: State::Fresh })
    }

    /// The price of a nat now.
    #[getter]
    fn beta(&self) -> f64 {
        match &self.state {
            State::Fresh => self.config.beta.value(),
            State::Single(repo) => repo.beta(),
            State::Double(repo) => repo.beta(),
        }
    }

    /// One update of a batch whose keys are known to exist.
    fn step<'py>(&mut self, batch: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
        let single = is_single(&needed(batch, "logp")?)?;
        if matches!(self.state, State::Fresh) {
            let start = |error| refused(&error);
            self.state = if single {
                State::Single(Box::new(optim::Repo::new(self.config).map_err(start)?))
            } else {
                State::Double(Box::new(optim::Repo::new(self.config).map_err(start)?))
            };
        }
        match &mut self.state {
            State::Single(repo) if single => step(repo, batch),
            State::Double(repo) if !single => step(repo, batch),
            _ => {
                let (was, is) =
                    if single { ("float64", "float32") } else { ("float32", "float64") };
                Err(unfit(format!(
                    "this Repo has stepped on {was}, and logp is {is}; stay with one of them"
                )))
            }
        }
    }
}

fn step<'py, F: Number>(
    repo: &mut optim::Repo<F>,
    given: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyDict>> {
    let py = given.py();
    let (logp, shape) = Numbers::<F>::table(&needed(given, "logp")?, "logp")?;
    let table = |name: &str| Numbers::<F>::optional(given.get_item(name)?.as_ref(), name, &shape);
    let column =
        |name: &str| Numbers::<F>::optional(given.get_item(name)?.as_ref(), name, &shape[..1]);
    let old_logp = Numbers::<F>::read(&needed(given, "old_logp")?, "old_logp", &shape)?;
    let rewards = Numbers::<F>::read(&needed(given, "rewards")?, "rewards", &shape[..1])?;
    let (reference, values, old_values) =
        (table("reference")?, table("values")?, table("old_values")?);
    let (correction, entropy) = (table("correction")?, table("entropy")?);
    let (bootstrap, baselines) = (column("bootstrap")?, column("baselines")?);
    let (rm, judge, rules) = (column("rm")?, column("judge")?, column("rules")?);
    let groups: Option<Vec<usize>> = match given.get_item("groups")? {
        Some(groups) => groups.extract()?,
        None => None,
    };
    let normaliser = match given.get_item("normaliser")? {
        Some(normaliser) => divisors(normaliser.extract()?),
        None => None,
    };
    let no_mask = py.None().into_bound(py);
    let mask = Mask::read(&given.get_item("mask")?.unwrap_or(no_mask), shape)?;

    let mut batch =
        RepoBatch::new(mask.rows()?, logp.slice()?, old_logp.slice()?, rewards.slice()?);
    batch = batch.with_parts(Parts {
        rm: optional_slice(&rm)?.unwrap_or_default(),
        judge: optional_slice(&judge)?.unwrap_or_default(),
        rules: optional_slice(&rules)?.unwrap_or_default(),
    });
    if let Some(reference) = optional_slice(&reference)? {
        batch = batch.with_reference(reference);
    }
    match (optional_slice(&values)?, optional_slice(&old_values)?) {
        (Some(values), Some(old_values)) => batch = batch.with_critic(values, old_values),
        (None, None) => {}
        _ => {
            return Err(unfit(
                "`values` and `old_values` go together; give both, or neither without a critic",
            ));
        }
    }
    if let Some(bootstrap) = optional_slice(&bootstrap)? {
        batch = batch.with_bootstrap(bootstrap);
    }
    if let Some(groups) = &groups {
        batch = batch.with_groups(groups);
    }
    if let Some(baselines) = optional_slice(&baselines)? {
        batch = batch.with_baselines(baselines);
    }
    if let Some(correction) = optional_slice(&correction)? {
        batch = batch.with_correction(correction);
    }
    if let Some(entropy) = optional_slice(&entropy)? {
        batch = batch.with_entropy(entropy);
    }
    if let Some(normaliser) = normaliser {
        batch = batch.with_normaliser(normaliser);
    }
    let update = py.detach(|| repo.step(&batch)).map_err(|error| refused(&error))?;
    told(py, &update, shape)
}

/// The update as a dictionary. Copied: the optimizer's memory is used again by the next one.
fn told<'py, F: Number>(
    py: Python<'py>,
    update: &Update<'_, F>,
    shape: [usize; 2],
) -> PyResult<Bound<'py, PyDict>> {
    let told = PyDict::new(py);
    let arrays = [
        ("advantages", update.advantages),
        ("returns", update.returns),
        ("dlogp", update.dlogp),
        ("dvalue", update.dvalue),
        ("dentropy", update.dentropy),
    ];
    for (name, numbers) in arrays {
        told.set_item(name, out_table(py, numbers.to_vec(), shape)?)?;
    }
    told.set_item("loss", update.loss)?;
    let metrics = PyDict::new(py);
    for (name, figure) in update.metrics.named() {
        metrics.set_item(name, figure)?;
    }
    told.set_item("metrics", metrics)?;
    Ok(told)
}

fn needed<'py>(batch: &Bound<'py, PyDict>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    batch
        .get_item(name)?
        .filter(|value| !value.is_none())
        .ok_or_else(|| unfit(format!("the batch has no `{name}`, which every update needs")))
}

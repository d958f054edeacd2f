//! One update, from rewards to gradients. The optimizer's state has the number type of the first
//! batch.

use guerdon_client::optim::{self, RepoBatch, RepoConfig, SourceRewards, Update};
use pyo3::prelude::{
    Bound, PyAny, PyAnyMethods, PyDictMethods, PyResult, Python, pyclass, pymethods,
};
use pyo3::types::PyDict;

use crate::arrays::{InputArray, Mask, NumpyFloat, is_single, optional_slice, table as out_table};
use crate::errors::{input_error, optim_error};
use crate::repo_settings::config;
use crate::settings::divisors;

/// The optimizer, exported as `Repo`.
#[pyclass(name = "Repo", module = "guerdon._guerdon")]
pub(crate) struct PyRepo {
    config: RepoConfig,
    state: TypedRepo,
}

/// The optimizer in the number type of the batches, chosen by the first batch.
enum TypedRepo {
    Fresh,
    Single(Box<optim::Repo<f32>>),
    Double(Box<optim::Repo<f64>>),
}

#[pymethods]
impl PyRepo {
    #[new]
    fn new(settings: &str) -> PyResult<Self> {
        let config = config(settings)?;
        // Refuses invalid settings now instead of in the first update.
        optim::Repo::<f64>::new(config).map_err(|error| optim_error(&error))?;
        Ok(Self { config, state: TypedRepo::Fresh })
    }

    /// The current coefficient of the KL charge.
    #[getter]
    fn beta(&self) -> f64 {
        match &self.state {
            TypedRepo::Fresh => self.config.beta.value(),
            TypedRepo::Single(repo) => repo.beta(),
            TypedRepo::Double(repo) => repo.beta(),
        }
    }

    /// Runs one update. The Python wrapper has checked the keys of `batch`.
    fn step<'py>(&mut self, batch: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
        let single = is_single(&required(batch, "logp")?)?;
        if matches!(self.state, TypedRepo::Fresh) {
            let start = |error| optim_error(&error);
            self.state = if single {
                TypedRepo::Single(Box::new(optim::Repo::new(self.config).map_err(start)?))
            } else {
                TypedRepo::Double(Box::new(optim::Repo::new(self.config).map_err(start)?))
            };
        }
        match &mut self.state {
            TypedRepo::Single(repo) if single => step(repo, batch),
            TypedRepo::Double(repo) if !single => step(repo, batch),
            _ => {
                let (was, is) =
                    if single { ("float64", "float32") } else { ("float32", "float64") };
                Err(input_error(format!(
                    "this Repo has run on {was}, and logp is {is}; use one dtype for all updates"
                )))
            }
        }
    }
}

fn step<'py, F: NumpyFloat>(
    repo: &mut optim::Repo<F>,
    given: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyDict>> {
    let py = given.py();
    let (logp, shape) = InputArray::<F>::table(&required(given, "logp")?, "logp")?;
    let table =
        |name: &str| InputArray::<F>::optional(given.get_item(name)?.as_ref(), name, &shape);
    let column =
        |name: &str| InputArray::<F>::optional(given.get_item(name)?.as_ref(), name, &shape[..1]);
    let old_logp = InputArray::<F>::read(&required(given, "old_logp")?, "old_logp", &shape)?;
    let rewards = InputArray::<F>::read(&required(given, "rewards")?, "rewards", &shape[..1])?;
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
    batch = batch.with_parts(SourceRewards {
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
            return Err(input_error(
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
    let update = py.detach(|| repo.step(&batch)).map_err(|error| optim_error(&error))?;
    update_dict(py, &update, shape)
}

/// Converts an update to a dictionary. Arrays are copied, because the next update reuses the
/// buffers.
fn update_dict<'py, F: NumpyFloat>(
    py: Python<'py>,
    update: &Update<'_, F>,
    shape: [usize; 2],
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let arrays = [
        ("advantages", update.advantages),
        ("returns", update.returns),
        ("dlogp", update.dlogp),
        ("dvalue", update.dvalue),
        ("dentropy", update.dentropy),
    ];
    for (name, numbers) in arrays {
        dict.set_item(name, out_table(py, numbers.to_vec(), shape)?)?;
    }
    dict.set_item("loss", update.loss)?;
    let metrics = PyDict::new(py);
    for (name, figure) in update.metrics.named() {
        metrics.set_item(name, figure)?;
    }
    dict.set_item("metrics", metrics)?;
    Ok(dict)
}

fn required<'py>(batch: &Bound<'py, PyDict>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    batch
        .get_item(name)?
        .filter(|value| !value.is_none())
        .ok_or_else(|| input_error(format!("the batch has no `{name}`, which every update needs")))
}

//! One update, from rewards to gradients. The optimizer's state has the number type of the first
//! batch.

use guerdon_client::optim::{
    self, Estimate, Minibatch, MonitorState, RepoBatch, RepoConfig, RepoState, SourceRewards,
};
use pyo3::prelude::{Bound, PyAnyMethods, PyDictMethods, PyResult, Python, pyclass, pymethods};
use pyo3::types::PyDict;

use crate::arrays::{
    Array, InputArray, Mask, NumpyFloat, flags, is_single, optional_slice, rollout_numbers, scored,
    table as out_table,
};
use crate::errors::{input_error, optim_error};
use crate::repo_settings::config;
use crate::settings::divisors;

/// The optimizer, exported as `Repo`.
#[pyclass(name = "Repo", module = "guerdon._guerdon")]
pub(crate) struct PyRepo {
    config: RepoConfig,
    state: TypedRepo,
    /// A saved state that the first batch takes up.
    restored: Option<RepoState>,
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
        Ok(Self { config, state: TypedRepo::Fresh, restored: None })
    }

    /// The current coefficient of the KL charge.
    #[getter]
    fn beta(&self) -> f64 {
        self.current().beta
    }

    /// The state to be saved: the coefficient, and the monitors' updates and trends.
    fn state(&self) -> (f64, SavedTrends) {
        let RepoState { beta, monitor } = self.current();
        (beta, (monitor.updates, monitor.trends))
    }

    /// Takes up a saved state. The next batch determines the dtype anew.
    fn restore(&mut self, beta: f64, trends: SavedTrends) -> PyResult<()> {
        let state = RepoState { beta, monitor: monitor_state(trends) };
        self.fresh::<f64>()?.restore(&state).map_err(|error| optim_error(&error))?;
        (self.state, self.restored) = (TypedRepo::Fresh, Some(state));
        Ok(())
    }

    /// Runs one update. The Python wrapper has checked the keys of `batch`.
    fn step<'py>(&mut self, batch: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
        match self.typed(batch, "logp")? {
            RunningRepo::Single(repo) => step(repo, batch),
            RunningRepo::Double(repo) => step(repo, batch),
        }
    }

    /// Computes the advantages of a batch.
    fn estimate<'py>(&mut self, batch: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
        match self.typed(batch, "old_logp")? {
            RunningRepo::Single(repo) => estimate(repo, batch),
            RunningRepo::Double(repo) => estimate(repo, batch),
        }
    }

    /// Computes the losses of a minibatch from its advantages.
    fn improve<'py>(&mut self, minibatch: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
        match self.typed(minibatch, "logp")? {
            RunningRepo::Single(repo) => improve(repo, minibatch),
            RunningRepo::Double(repo) => improve(repo, minibatch),
        }
    }
}

/// Updates, and the short-term and long-term mean of each source.
pub(crate) type SavedTrends = (usize, [Option<(f64, f64)>; 3]);

pub(crate) fn monitor_state((updates, trends): SavedTrends) -> MonitorState {
    MonitorState { updates, trends }
}

/// A running optimizer in one number type.
enum RunningRepo<'a> {
    Single(&'a mut optim::Repo<f32>),
    Double(&'a mut optim::Repo<f64>),
}

impl PyRepo {
    fn current(&self) -> RepoState {
        match &self.state {
            TypedRepo::Fresh => self
                .restored
                .unwrap_or(RepoState { beta: self.config.beta.value(), ..RepoState::default() }),
            TypedRepo::Single(repo) => repo.state(),
            TypedRepo::Double(repo) => repo.state(),
        }
    }

    fn fresh<F: NumpyFloat>(&self) -> PyResult<Box<optim::Repo<F>>> {
        let mut repo = optim::Repo::new(self.config).map_err(|error| optim_error(&error))?;
        if let Some(state) = &self.restored {
            repo.restore(state).map_err(|error| optim_error(&error))?;
        }
        Ok(Box::new(repo))
    }

    /// The optimizer in the number type of the batch's array `first`.
    fn typed(&mut self, batch: &Bound<'_, PyDict>, first: &str) -> PyResult<RunningRepo<'_>> {
        let single = is_single(&required(batch, first)?)?;
        if matches!(self.state, TypedRepo::Fresh) {
            self.state = if single {
                TypedRepo::Single(self.fresh()?)
            } else {
                TypedRepo::Double(self.fresh()?)
            };
        }
        match &mut self.state {
            TypedRepo::Single(repo) if single => Ok(RunningRepo::Single(repo)),
            TypedRepo::Double(repo) if !single => Ok(RunningRepo::Double(repo)),
            _ => {
                let (was, is) =
                    if single { ("float64", "float32") } else { ("float32", "float64") };
                Err(input_error(format!(
                    "this Repo has run on {was}, and {first} is {is}; use one dtype for all updates"
                )))
            }
        }
    }
}

/// The arrays that a whole update and an estimate share.
struct BatchArrays<'py, F: NumpyFloat> {
    mask: Mask<'py>,
    old_logp: InputArray<'py, F>,
    rewards: InputArray<'py, F>,
    reference: Option<InputArray<'py, F>>,
    old_values: Option<InputArray<'py, F>>,
    correction: Option<InputArray<'py, F>>,
    sum_pi_squared: Option<InputArray<'py, F>>,
    turn_rewards: Option<InputArray<'py, F>>,
    /// `bootstrap`, `baselines`, `rm`, `judge` and `rules`.
    columns: [Option<InputArray<'py, F>>; 5],
    groups: Option<Vec<usize>>,
}

impl<'py, F: NumpyFloat> BatchArrays<'py, F> {
    fn read(given: &Bound<'py, PyDict>, shape: [usize; 2]) -> PyResult<Self> {
        let column = |name: &str| {
            InputArray::<F>::optional(given.get_item(name)?.as_ref(), name, &shape[..1])
        };
        let groups = given.get_item("groups")?.map(|groups| groups.extract()).transpose()?;
        Ok(Self {
            mask: mask_of(given, shape)?,
            old_logp: InputArray::read(&required(given, "old_logp")?, "old_logp", &shape)?,
            rewards: InputArray::read(&required(given, "rewards")?, "rewards", &shape[..1])?,
            reference: table(given, "reference", &shape)?,
            old_values: table(given, "old_values", &shape)?,
            correction: table(given, "correction", &shape)?,
            sum_pi_squared: table(given, "sum_pi_squared", &shape)?,
            turn_rewards: table(given, "turn_rewards", &shape)?,
            columns: [
                column("bootstrap")?,
                column("baselines")?,
                column("rm")?,
                column("judge")?,
                column("rules")?,
            ],
            groups,
        })
    }

    fn batch<'a>(&'a self, logp: &'a [F]) -> PyResult<RepoBatch<'a, F>> {
        let mut batch =
            RepoBatch::new(self.mask.rows()?, logp, self.old_logp.slice()?, self.rewards.slice()?);
        let [bootstrap, baselines, rm, judge, rules] = &self.columns;
        batch = batch.with_parts(SourceRewards {
            rm: optional_slice(rm)?.unwrap_or_default(),
            judge: optional_slice(judge)?.unwrap_or_default(),
            rules: optional_slice(rules)?.unwrap_or_default(),
        });
        if let Some(reference) = optional_slice(&self.reference)? {
            batch = batch.with_reference(reference);
        }
        if let Some(old_values) = optional_slice(&self.old_values)? {
            batch = batch.with_old_values(old_values);
        }
        if let Some(correction) = optional_slice(&self.correction)? {
            batch = batch.with_correction(correction);
        }
        if let Some(sums) = optional_slice(&self.sum_pi_squared)? {
            batch = batch.with_sum_pi_squared(sums);
        }
        if let Some(rewards) = optional_slice(&self.turn_rewards)? {
            batch = batch.with_turn_rewards(rewards);
        }
        if let Some(bootstrap) = optional_slice(bootstrap)? {
            batch = batch.with_bootstrap(bootstrap);
        }
        if let Some(groups) = &self.groups {
            batch = batch.with_groups(groups);
        }
        if let Some(baselines) = optional_slice(baselines)? {
            batch = batch.with_baselines(baselines);
        }
        Ok(batch)
    }
}

fn step<'py, F: NumpyFloat>(
    repo: &mut optim::Repo<F>,
    given: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyDict>> {
    let py = given.py();
    let (logp, shape) = InputArray::<F>::table(&required(given, "logp")?, "logp")?;
    let sampled = BatchArrays::<F>::read(given, shape)?;
    let (values, entropy) =
        (table::<F>(given, "values", &shape)?, table::<F>(given, "entropy", &shape)?);
    let mut batch = sampled.batch(logp.slice()?)?;
    match (optional_slice(&values)?, optional_slice(&sampled.old_values)?) {
        (Some(values), Some(old_values)) => batch = batch.with_critic(values, old_values),
        (None, None) => {}
        _ => {
            return Err(input_error(
                "`values` and `old_values` go together; give both, or neither without a critic",
            ));
        }
    }
    if let Some(entropy) = optional_slice(&entropy)? {
        batch = batch.with_entropy(entropy);
    }
    if let Some(normaliser) = normaliser(given)? {
        batch = batch.with_normaliser(normaliser);
    }
    let update = py.detach(|| repo.step(&batch)).map_err(|error| optim_error(&error))?;
    // Arrays are copied, because the next update reuses the buffers.
    let arrays = [
        ("advantages", update.advantages),
        ("returns", update.returns),
        ("dlogp", update.dlogp),
        ("dvalue", update.dvalue),
        ("dentropy", update.dentropy),
    ];
    let dict = tables(py, arrays, shape)?;
    dict.set_item("loss", update.loss)?;
    dict.set_item("metrics", figures(py, update.metrics.named())?)?;
    Ok(dict)
}

fn estimate<'py, F: NumpyFloat>(
    repo: &mut optim::Repo<F>,
    given: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyDict>> {
    let py = given.py();
    let (old_logp, shape) = InputArray::<F>::table(&required(given, "old_logp")?, "old_logp")?;
    let sampled = BatchArrays::<F>::read(given, shape)?;
    let batch = sampled.batch(old_logp.slice()?)?;
    let Estimate { advantages, returns, dropped, normaliser, metrics, .. } =
        py.detach(|| repo.estimate(&batch)).map_err(|error| optim_error(&error))?;
    let dict = PyDict::new(py);
    dict.set_item("advantages", out_table(py, advantages, shape)?)?;
    dict.set_item("returns", out_table(py, returns, shape)?)?;
    dict.set_item("scored", flags(py, dropped.iter().map(|&dropped| dropped == 0)))?;
    dict.set_item("normaliser", (normaliser.tokens, normaliser.rows, normaliser.horizon))?;
    dict.set_item("metrics", figures(py, metrics.named())?)?;
    Ok(dict)
}

fn improve<'py, F: NumpyFloat>(
    repo: &mut optim::Repo<F>,
    given: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyDict>> {
    let py = given.py();
    let (logp, shape) = InputArray::<F>::table(&required(given, "logp")?, "logp")?;
    let old_logp = InputArray::<F>::read(&required(given, "old_logp")?, "old_logp", &shape)?;
    let [values, old_values, returns, reference, correction, entropy] =
        ["values", "old_values", "returns", "reference", "correction", "entropy"]
            .map(|name| table::<F>(given, name, &shape));
    let (values, old_values, returns) = (values?, old_values?, returns?);
    let (reference, correction, entropy) = (reference?, correction?, entropy?);
    let mask = mask_of(given, shape)?;
    let mut dropped = match given.get_item("scored")? {
        Some(scored) => rollout_numbers::<bool>(&scored, "scored", shape[0])?
            .into_iter()
            .map(|scored| u8::from(!scored))
            .collect(),
        None => vec![0; shape[0]],
    };
    let advantages = required(given, "advantages")?;
    let (copied, borrowed);
    let advantages: &[F] = if advantages.getattr("ndim").is_ok_and(|n| n.eq(2).unwrap_or(false)) {
        borrowed = InputArray::<F>::read(&advantages, "advantages", &shape)?;
        borrowed.slice()?
    } else {
        copied = per_rollout::<F>(&advantages, &mask, shape, &mut dropped)?;
        &copied
    };
    let mut minibatch = Minibatch::new(
        mask.rows()?.without(&dropped).map_err(|error| optim_error(&error))?,
        logp.slice()?,
        old_logp.slice()?,
        advantages,
    );
    match (&values, &old_values, &returns) {
        (Some(values), Some(old_values), Some(returns)) => {
            minibatch =
                minibatch.with_critic(values.slice()?, old_values.slice()?, returns.slice()?);
        }
        (None, _, _) => {}
        _ => {
            return Err(input_error(
                "`values` needs `old_values` and `returns`; give all three, or leave `values` out",
            ));
        }
    }
    if let Some(reference) = optional_slice(&reference)? {
        minibatch = minibatch.with_reference(reference);
    }
    if let Some(correction) = optional_slice(&correction)? {
        minibatch = minibatch.with_correction(correction);
    }
    if let Some(entropy) = optional_slice(&entropy)? {
        minibatch = minibatch.with_entropy(entropy);
    }
    if let Some(normaliser) = normaliser(given)? {
        minibatch = minibatch.with_normaliser(normaliser);
    }
    let improved = py.detach(|| repo.improve(&minibatch)).map_err(|error| optim_error(&error))?;
    let arrays =
        [("dlogp", improved.dlogp), ("dvalue", improved.dvalue), ("dentropy", improved.dentropy)];
    let dict = tables(py, arrays, shape)?;
    dict.set_item("loss", improved.loss)?;
    dict.set_item("metrics", figures(py, improved.metrics.named())?)?;
    Ok(dict)
}

/// Copies one advantage per rollout to its tokens; a rollout whose advantage is NaN is dropped.
fn per_rollout<F: NumpyFloat>(
    advantages: &Array<'_>,
    mask: &Mask<'_>,
    shape: [usize; 2],
    dropped: &mut [u8],
) -> PyResult<Vec<F>> {
    let numbers = scored(InputArray::<F>::read(advantages, "advantages", &shape[..1])?.slice()?);
    for (dropped, number) in dropped.iter_mut().zip(&numbers) {
        *dropped |= u8::from(number.is_none());
    }
    let mut out = vec![F::ZERO; shape[0] * shape[1]];
    optim::spread(&mask.rows()?, &numbers, &mut out).map_err(|error| optim_error(&error))?;
    Ok(out)
}

fn table<'py, F: NumpyFloat>(
    given: &Bound<'py, PyDict>,
    name: &str,
    shape: &[usize; 2],
) -> PyResult<Option<InputArray<'py, F>>> {
    InputArray::<F>::optional(given.get_item(name)?.as_ref(), name, shape)
}

fn mask_of<'py>(given: &Bound<'py, PyDict>, shape: [usize; 2]) -> PyResult<Mask<'py>> {
    let no_mask = given.py().None().into_bound(given.py());
    Mask::read(&given.get_item("mask")?.unwrap_or(no_mask), shape)
}

fn normaliser(given: &Bound<'_, PyDict>) -> PyResult<Option<optim::Normaliser>> {
    Ok(match given.get_item("normaliser")? {
        Some(normaliser) => divisors(normaliser.extract()?),
        None => None,
    })
}

/// Copies results `[B, T]` into arrays by name.
fn tables<'py, F: NumpyFloat, const N: usize>(
    py: Python<'py>,
    arrays: [(&str, &[F]); N],
    shape: [usize; 2],
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, numbers) in arrays {
        dict.set_item(name, out_table(py, numbers.to_vec(), shape)?)?;
    }
    Ok(dict)
}

fn figures<'py>(
    py: Python<'py>,
    named: impl Iterator<Item = (&'static str, f64)>,
) -> PyResult<Bound<'py, PyDict>> {
    let metrics = PyDict::new(py);
    for (name, figure) in named {
        metrics.set_item(name, figure)?;
    }
    Ok(metrics)
}

fn required<'py>(batch: &Bound<'py, PyDict>, name: &str) -> PyResult<Array<'py>> {
    batch
        .get_item(name)?
        .filter(|value| !value.is_none())
        .ok_or_else(|| input_error(format!("the batch has no `{name}`, which every update needs")))
}

//! What is remembered from update to update: the price of KL, and trends of the rewards.

use guerdon_client::optim;
use guerdon_client::optim::monitors::{Monitors, Parts};
use pyo3::prelude::{Bound, PyAny, PyAnyMethods, PyDictMethods, PyResult, pyclass, pymethods};
use pyo3::types::PyDict;

use crate::arrays::{Mask, Number, Numbers, in_type_of, optional_slice};
use crate::errors::refused;
use crate::repo_settings::{self, Monitors as Settings};
use crate::settings::read;

type Array<'py> = Bound<'py, PyAny>;

/// The price of a nat.
#[pyclass(module = "guerdon._guerdon")]
pub(crate) struct KlController(optim::KlController);

#[pymethods]
impl KlController {
    #[new]
    #[pyo3(signature = (beta, target=None, horizon=None))]
    fn new(beta: f64, target: Option<f64>, horizon: Option<f64>) -> PyResult<Self> {
        repo_settings::controller(beta, target, horizon).map(Self)
    }

    /// The coefficient now, in reward units a nat.
    #[getter]
    fn value(&self) -> f64 {
        self.0.value()
    }

    /// After a batch of `rollouts` with mean KL `kl`.
    fn update(&mut self, kl: f64, rollouts: usize) {
        self.0.update(kl, rollouts);
    }
}

/// Watches the rewards of one update after another.
#[pyclass(module = "guerdon._guerdon")]
pub(crate) struct Monitor(optim::monitors::Monitor);

#[pymethods]
impl Monitor {
    #[new]
    fn new(settings: &str) -> PyResult<Self> {
        let monitor = optim::monitors::Monitor::new(read::<Settings>(settings)?.into());
        monitor.map(Self).map_err(|error| refused(&error))
    }

    /// The figures of one batch; `parts` are those of reward model, judge and rules.
    fn watch<'py>(
        &mut self,
        mask: &Array<'py>,
        rewards: &Array<'py>,
        parts: &Array<'py>,
        groups: &Array<'py>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let (parts, groups): ([Option<Array<'py>>; 3], Option<Vec<usize>>) =
            (parts.extract()?, groups.extract()?);
        let monitors =
            in_type_of!(rewards, watch_in(&mut self.0, mask, rewards, &parts, groups.as_deref()))?;
        figures(rewards, monitors)
    }
}

fn watch_in<F: Number>(
    monitor: &mut optim::monitors::Monitor,
    mask: &Array<'_>,
    rewards: &Array<'_>,
    [rm, judge, rules]: &[Option<Array<'_>>; 3],
    groups: Option<&[usize]>,
) -> PyResult<Monitors> {
    let mask = Mask::table(mask)?;
    let [rows, _] = mask.shape();
    let rewards = Numbers::<F>::read(rewards, "rewards", &[rows])?;
    let rm = Numbers::<F>::optional(rm.as_ref(), "rm", &[rows])?;
    let judge = Numbers::<F>::optional(judge.as_ref(), "judge", &[rows])?;
    let rules = Numbers::<F>::optional(rules.as_ref(), "rules", &[rows])?;
    let parts = Parts {
        rm: optional_slice(&rm)?.unwrap_or_default(),
        judge: optional_slice(&judge)?.unwrap_or_default(),
        rules: optional_slice(&rules)?.unwrap_or_default(),
    };
    monitor.watch(&mask.rows()?, rewards.slice()?, &parts, groups).map_err(|error| refused(&error))
}

/// The figures by the names of [`Metrics::named`](optim::Metrics::named): one vocabulary for the log.
fn figures<'py>(of: &Array<'py>, monitors: Monitors) -> PyResult<Bound<'py, PyDict>> {
    let mut metrics = optim::Metrics::default();
    metrics.monitors = monitors;
    let figures = PyDict::new(of.py());
    for (name, figure) in metrics.named() {
        if ["reward/", "rm/", "judge/", "rules/"].iter().any(|stage| name.starts_with(stage)) {
            figures.set_item(name, figure)?;
        }
    }
    Ok(figures)
}

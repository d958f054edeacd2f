//! State that is kept over updates: the KL coefficient and trends of the rewards.

use std::collections::HashMap;

use guerdon_client::optim::{self, MonitorReport, SourceRewards};
use pyo3::prelude::{Bound, PyAny, PyAnyMethods, PyDictMethods, PyResult, pyclass, pymethods};
use pyo3::types::PyDict;

use crate::arrays::{Array, InputArray, Mask, NumpyFloat, in_type_of, optional_slice};
use crate::errors::{input_error, optim_error};
use crate::repo::{SavedTrends, monitor_state};
use crate::repo_settings::{self, MonitorSettings};
use crate::settings::read;

/// The KL coefficient, exported as `KlController`.
#[pyclass(name = "KlController", module = "guerdon._guerdon")]
pub(crate) struct PyKlController(optim::KlController);

#[pymethods]
impl PyKlController {
    #[new]
    #[pyo3(signature = (beta, target=None, horizon=None))]
    fn new(beta: f64, target: Option<f64>, horizon: Option<f64>) -> PyResult<Self> {
        repo_settings::controller(beta, target, horizon).map(Self)
    }

    fn __repr__(&self) -> String {
        format!("<KlController: {}>", self.0.value())
    }

    /// The current coefficient, in reward units per nat.
    #[getter]
    fn value(&self) -> f64 {
        self.0.value()
    }

    /// Adapts the coefficient after a batch of `rollouts` with mean KL `kl`.
    fn update(&mut self, kl: f64, rollouts: usize) {
        self.0.update(kl, rollouts);
    }

    /// The state to be saved: the current coefficient.
    fn state_dict(&self) -> HashMap<&'static str, f64> {
        HashMap::from([("beta", self.0.value())])
    }

    /// Takes up a saved state.
    fn load_state_dict(&mut self, state: &Bound<'_, PyAny>) -> PyResult<()> {
        let beta = state.get_item("beta").and_then(|beta| beta.extract()).map_err(|error| {
            input_error(format!("the state has no number `beta`: {error}; pass a state_dict()"))
        })?;
        self.0 = self.0.at(beta).map_err(|error| optim_error(&error))?;
        Ok(())
    }

    /// The constructor's arguments, for pickle and copies.
    fn __getnewargs__(&self) -> (f64, Option<f64>, Option<f64>) {
        let (target, horizon) = self.0.target().unzip();
        (self.0.value(), target, horizon)
    }
}

/// Health figures of the rewards, exported as `Monitor`.
#[pyclass(name = "Monitor", module = "guerdon._guerdon")]
pub(crate) struct PyMonitor(optim::RewardMonitor);

#[pymethods]
impl PyMonitor {
    #[new]
    fn new(settings: &str) -> PyResult<Self> {
        let monitor = optim::RewardMonitor::new(read::<MonitorSettings>(settings)?.into());
        monitor.map(Self).map_err(|error| optim_error(&error))
    }

    /// The state to be saved: updates, and the trends of the sources.
    fn state(&self) -> SavedTrends {
        let optim::MonitorState { updates, trends } = self.0.state();
        (updates, trends)
    }

    /// Takes up a saved state.
    fn restore(&mut self, trends: SavedTrends) -> PyResult<()> {
        self.0.restore(&monitor_state(trends)).map_err(|error| optim_error(&error))
    }

    /// Computes the figures of one batch; `parts` are the rewards of reward model, judge and rules.
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

fn watch_in<F: NumpyFloat>(
    monitor: &mut optim::RewardMonitor,
    mask: &Array<'_>,
    rewards: &Array<'_>,
    [rm, judge, rules]: &[Option<Array<'_>>; 3],
    groups: Option<&[usize]>,
) -> PyResult<MonitorReport> {
    let mask = Mask::table(mask)?;
    let [rows, _] = mask.shape();
    let rewards = InputArray::<F>::read(rewards, "rewards", &[rows])?;
    let rm = InputArray::<F>::optional(rm.as_ref(), "rm", &[rows])?;
    let judge = InputArray::<F>::optional(judge.as_ref(), "judge", &[rows])?;
    let rules = InputArray::<F>::optional(rules.as_ref(), "rules", &[rows])?;
    let parts = SourceRewards {
        rm: optional_slice(&rm)?.unwrap_or_default(),
        judge: optional_slice(&judge)?.unwrap_or_default(),
        rules: optional_slice(&rules)?.unwrap_or_default(),
    };
    monitor
        .watch(&mask.rows()?, rewards.slice()?, &parts, groups)
        .map_err(|error| optim_error(&error))
}

/// The figures under the names of [`UpdateMetrics::named`](optim::UpdateMetrics::named), so that
/// logs use one set of names.
fn figures<'py>(of: &Array<'py>, monitors: MonitorReport) -> PyResult<Bound<'py, PyDict>> {
    let mut metrics = optim::UpdateMetrics::default();
    metrics.monitors = monitors;
    let figures = PyDict::new(of.py());
    for (name, figure) in metrics.named() {
        if ["reward/", "rm/", "judge/", "rules/"].iter().any(|stage| name.starts_with(stage)) {
            figures.set_item(name, figure)?;
        }
    }
    Ok(figures)
}

//! Log-probs and entropies of logits, and gradients with respect to logits; documented in
//! `guerdon/optim/logits.py`.

use guerdon_client::optim::{self, LogitsBatch};
use numpy::PyArray1;
use pyo3::prelude::{PyResult, pyfunction};

use crate::arrays::{
    Array, InputArray, NumpyFloat, compute, in_type_of, lengths, table as out_table,
};

/// Computes `(log-probs [N], entropies [N])`.
#[pyfunction]
pub(crate) fn token_logp<'py>(
    temperature: f64,
    valid: Option<Vec<bool>>,
    logits: &Array<'py>,
    labels: &Array<'py>,
) -> PyResult<(Array<'py>, Array<'py>)> {
    let tokens = LabelInputs::read(temperature, valid, labels)?;
    in_type_of!(logits, token_logp_in(&tokens, logits))
}

fn token_logp_in<'py, F: NumpyFloat>(
    tokens: &LabelInputs,
    logits: &Array<'py>,
) -> PyResult<(Array<'py>, Array<'py>)> {
    let py = logits.py();
    let (logits, [rows, vocabulary]) = InputArray::<F>::table(logits, "logits")?;
    let batch = tokens.batch(logits.slice()?, vocabulary);
    let [mut logp, mut entropy] = [vec![F::ZERO; rows], vec![F::ZERO; rows]];
    compute(py, || optim::token_logp(&batch, &mut logp, &mut entropy))?;
    Ok((PyArray1::from_vec(py, logp).into_any(), PyArray1::from_vec(py, entropy).into_any()))
}

/// Computes the gradient with respect to the logits, `[N, V]`, from the gradients with respect to
/// the log-probs and to the entropies.
#[pyfunction]
pub(crate) fn logits_gradient<'py>(
    temperature: f64,
    valid: Option<Vec<bool>>,
    logits: &Array<'py>,
    labels: &Array<'py>,
    gradients: [Array<'py>; 2],
) -> PyResult<Array<'py>> {
    let tokens = LabelInputs::read(temperature, valid, labels)?;
    in_type_of!(logits, logits_gradient_in(&tokens, logits, gradients))
}

fn logits_gradient_in<'py, F: NumpyFloat>(
    tokens: &LabelInputs,
    logits: &Array<'py>,
    [dlogp, dentropy]: [Array<'py>; 2],
) -> PyResult<Array<'py>> {
    let py = logits.py();
    let (logits, shape) = InputArray::<F>::table(logits, "logits")?;
    let dlogp = InputArray::<F>::read(&dlogp, "dlogp", &shape[..1])?;
    let dentropy = InputArray::<F>::read(&dentropy, "dentropy", &shape[..1])?;
    let batch = tokens.batch(logits.slice()?, shape[1]);
    let (dlogp, dentropy) = (dlogp.slice()?, dentropy.slice()?);
    let mut out = vec![F::ZERO; shape[0] * shape[1]];
    compute(py, || optim::logits_gradient(&batch, dlogp, dentropy, &mut out))?;
    out_table(py, out, shape)
}

/// The sampled tokens, their temperature, and the flags of the valid ones.
struct LabelInputs {
    labels: Vec<usize>,
    valid: Option<Vec<u8>>,
    temperature: f64,
}

impl LabelInputs {
    fn read(temperature: f64, valid: Option<Vec<bool>>, labels: &Array<'_>) -> PyResult<Self> {
        let valid = valid.map(|flags| flags.into_iter().map(u8::from).collect());
        Ok(Self { labels: lengths(labels)?, valid, temperature })
    }

    fn batch<'a, F: NumpyFloat>(
        &'a self,
        logits: &'a [F],
        vocabulary: usize,
    ) -> LogitsBatch<'a, F> {
        let batch =
            LogitsBatch::new(logits, &self.labels, vocabulary).with_temperature(self.temperature);
        match &self.valid {
            Some(valid) => batch.with_valid(valid),
            None => batch,
        }
    }
}

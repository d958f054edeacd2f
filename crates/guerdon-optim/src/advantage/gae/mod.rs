//! Generalized advantage estimation over ragged rows.

use crate::error::{OptimError, require};
use crate::kernel::blocks::{FiniteCheck, RowKernel, over_rows};
use crate::kernel::float::Float;
use crate::kernel::rows::RowMask;
use crate::kernel::scan::{BackwardScan, ScanBuffer, backwards};

/// The discount and lambda of the estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaeConfig {
    /// Discount per token, within 0..=1. Default 1.0: dialogue rewards come at the end of short
    /// episodes.
    pub gamma: f64,
    /// Trade of bias (0) against variance (1). Default a constant 0.95.
    pub lambda: Lambda,
    /// A separate lambda, within 0..=1, for the returns that the critic is fitted to (VAPO's
    /// decoupled GAE, which uses 1). Default none: the lambda of the advantages.
    pub value_lambda: Option<f64>,
}

/// The lambda of a row's advantages.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Lambda {
    /// The same for every row, within 0..=1.
    Constant(f64),
    /// `1 - 1 / (alpha n)` for a row of `n` tokens, at least 0, with `alpha` above 0. In long
    /// answers the reward still reaches the first token. Source: VAPO (arXiv 2504.05118), section
    /// 4.2, with alpha 0.05.
    LengthAdaptive {
        /// The rate at which lambda approaches 1 as rows get longer.
        alpha: f64,
    },
}

impl Lambda {
    pub(crate) fn of_row(self, tokens: usize) -> f64 {
        match self {
            Self::Constant(lambda) => lambda,
            Self::LengthAdaptive { alpha } => (1.0 - (alpha * tokens as f64).recip()).max(0.0),
        }
    }
}

impl Default for GaeConfig {
    fn default() -> Self {
        Self { gamma: 1.0, lambda: Lambda::Constant(0.95), value_lambda: None }
    }
}

impl GaeConfig {
    pub(crate) fn check(&self) -> Result<(), OptimError> {
        let share = "within 0..=1";
        require((0.0..=1.0).contains(&self.gamma), "gamma", self.gamma, share)?;
        match self.lambda {
            Lambda::Constant(lambda) => {
                require((0.0..=1.0).contains(&lambda), "lambda", lambda, share)?
            }
            Lambda::LengthAdaptive { alpha } => {
                require(alpha > 0.0 && alpha.is_finite(), "alpha", alpha, "finite and above 0")?;
            }
        }
        let value_lambda = self.value_lambda.unwrap_or(1.0);
        require((0.0..=1.0).contains(&value_lambda), "value_lambda", value_lambda, share)
    }
}

/// Rewards and value estimates of a batch.
#[derive(Clone, Copy, Debug)]
pub struct GaeBatch<'a, F> {
    mask: RowMask<'a>,
    rewards: &'a [F],
    values: &'a [F],
    bootstrap: Option<&'a [F]>,
    lambdas: Option<&'a [F]>,
}

impl<'a, F: Float> GaeBatch<'a, F> {
    /// `rewards` and `values` are `[B, T]`; `values[t]` is the critic's estimate of the state
    /// *before* token `t` (verl#1960 and #1850 were shifted by one). Every row counts as finished:
    /// the value after its last token is 0.
    pub fn new(mask: RowMask<'a>, rewards: &'a [F], values: &'a [F]) -> Self {
        Self { mask, rewards, values, bootstrap: None, lambdas: None }
    }

    /// Sets the value of the state *after* the last valid token of each row (`[B]`): the critic's
    /// estimate for a truncated row, 0 for a row that ended by itself.
    #[must_use]
    pub fn with_bootstrap(mut self, bootstrap: &'a [F]) -> Self {
        self.bootstrap = Some(bootstrap);
        self
    }

    /// Sets the lambda of each row's advantages (`[B]`, within 0..=1) instead of the configured
    /// one.
    #[must_use]
    pub fn with_lambdas(mut self, lambdas: &'a [F]) -> Self {
        self.lambdas = Some(lambdas);
        self
    }

    fn non_finite_error(&self) -> OptimError {
        let per_row =
            |slice: Option<&[F]>| slice.and_then(|slice| slice.iter().position(|x| !x.is_finite()));
        if let Some(row) = per_row(self.bootstrap) {
            return OptimError::NonFinite { what: "bootstrap", row, token: 0 };
        }
        self.mask
            .non_finite_error("advantages", &[("rewards", self.rewards), ("values", self.values)])
    }
}

/// Writes the advantage and the return (the critic's target) of every valid token; padded slots get
/// 0.
///
/// With `t'` the next *valid* token of the row (verl's carry-forward: observation tokens in between
/// carry no reward and no discount, so a row with gaps equals the same row without them):
///
/// ```text
/// delta_t  = r_t + gamma * V_t' - V_t
/// A_t      = delta_t + gamma * lambda * A_t'
/// return_t = A_t + V_t
/// ```
///
/// Units are those of the reward; advantages are not whitened (see
/// [`whiten`](crate::advantage::whiten::whiten)). All slices are row-major `[B, T]`. Source:
/// Schulman et al., "High-Dimensional Continuous Control Using Generalized Advantage Estimation"
/// (arXiv 1506.02438), equation 16.
///
/// # Errors
/// [`OptimError::Config`] for gamma or lambda out of range, [`OptimError::Shape`] for a slice of
/// the wrong length, [`OptimError::NonFinite`] for a NaN or infinity in a valid slot.
pub fn gae<F: Float>(
    config: &GaeConfig,
    batch: &GaeBatch<'_, F>,
    advantages: &mut [F],
    returns: &mut [F],
) -> Result<(), OptimError> {
    config.check()?;
    let GaeBatch { mask, rewards, values, bootstrap, lambdas } = *batch;
    mask.check_all(&[
        ("rewards", rewards.len()),
        ("values", values.len()),
        ("advantages", advantages.len()),
        ("returns", returns.len()),
    ])?;
    mask.check_rows("bootstrap", bootstrap.map_or(mask.rows(), <[F]>::len))?;
    mask.check_rows("lambdas", lambdas.map_or(mask.rows(), <[F]>::len))?;
    for &lambda in lambdas.unwrap_or_default() {
        let lambda = lambda.to_f64();
        require((0.0..=1.0).contains(&lambda), "lambdas", lambda, "within 0..=1")?;
    }
    let scan = |lambda| BackwardScan::new(config.gamma * lambda);
    let kernel = GaeKernel {
        config,
        batch,
        scan: scan(config.lambda.of_row(1)),
        value_scan: config.value_lambda.map(scan),
    };
    let check = over_rows(&kernel, &mask, [advantages, returns]);
    if check.passed() { Ok(()) } else { Err(batch.non_finite_error()) }
}

struct GaeKernel<'a, F> {
    config: &'a GaeConfig,
    batch: &'a GaeBatch<'a, F>,
    /// The recursion of a constant lambda.
    scan: BackwardScan<F>,
    value_scan: Option<BackwardScan<F>>,
}

impl<F: Float> RowKernel<F, 2> for GaeKernel<'_, F> {
    /// The check covers the first advantage of each row. NaN and infinity survive every step of the
    /// recursion (`0 * inf` is NaN), so that advantage is finite only if the whole row is.
    type Sums = FiniteCheck;
    type Block = ScanBuffer<F>;

    #[inline(always)]
    fn open(&self) -> ScanBuffer<F> {
        ScanBuffer::new()
    }

    #[inline(always)]
    fn close(&self, _room: ScanBuffer<F>, _check: &mut FiniteCheck) {}

    #[inline(always)]
    fn row(
        &self,
        row: usize,
        [advantages, returns]: [&mut [F]; 2],
        buffer: &mut ScanBuffer<F>,
        check: &mut FiniteCheck,
    ) {
        // By reference: a copy on the stack would have to complete before it is read.
        let GaeBatch { mask, rewards, values, bootstrap, lambdas } = self.batch;
        let scan = |lambda: f64| BackwardScan::new(self.config.gamma * lambda);
        let own = match (lambdas, self.config.lambda) {
            (Some(lambdas), _) => Some(scan(lambdas[row].to_f64())),
            (None, Lambda::Constant(_)) => None,
            (None, lambda) => Some(scan(lambda.of_row(mask.count(row)))),
        };
        let scan = own.as_ref().unwrap_or(&self.scan);
        let gamma = F::from_f64(self.config.gamma);
        let mut next_value = bootstrap.map_or(F::ZERO, |bootstrap| bootstrap[row]);
        let (mut carry, mut value_carry) = (F::ZERO, F::ZERO);
        let start = row * mask.width();
        let mut done = mask.width();
        for slots in backwards(mask, row) {
            let here = slots.start - start..slots.end - start;
            let (rewards, values, tokens) =
                (&rewards[slots.clone()], &values[slots.clone()], slots.len());
            buffer.set_tail(tokens, carry);
            deltas(gamma, rewards, values, next_value, &mut buffer.terms);
            carry = scan.run(buffer, tokens, carry);
            advantages[here.clone()].copy_from_slice(&buffer.results[..tokens]);
            if let Some(scan) = &self.value_scan {
                buffer.set_tail(tokens, value_carry);
                value_carry = scan.run(buffer, tokens, value_carry);
            }
            for ((target, &advantage), &value) in
                returns[here.clone()].iter_mut().zip(&buffer.results).zip(values)
            {
                *target = advantage + value;
            }
            next_value = values[0];
            // Last, because a write to memory outside the cache delays the writes after it.
            advantages[here.end..done].fill(F::ZERO);
            returns[here.end..done].fill(F::ZERO);
            done = here.start;
        }
        advantages[..done].fill(F::ZERO);
        returns[..done].fill(F::ZERO);
        check.add(carry.to_f64() + value_carry.to_f64());
    }
}

/// Writes the temporal differences of neighbouring tokens.
#[inline(always)]
fn deltas<F: Float>(gamma: F, rewards: &[F], values: &[F], next_value: F, out: &mut [F]) {
    let last = values.len() - 1;
    out[last] = rewards[last] + gamma * next_value - values[last];
    for (((delta, &reward), &value), &next) in
        out.iter_mut().zip(rewards).zip(values).zip(&values[1..])
    {
        *delta = reward + gamma * next - value;
    }
}

#[cfg(test)]
mod tests;

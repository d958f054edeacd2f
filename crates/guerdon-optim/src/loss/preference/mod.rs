//! Losses on pairs and on labelled replies, without rewards: DPO, IPO, SimPO, ORPO, KTO; and the
//! imitation loss (SFT).
//!
//! Each depends on a reply's tokens through the sum (or the mean) of their log-probs, so the
//! gradient of a token is that of its row times 1 (or `1 / n`).

use crate::error::{OptimError, require};
use crate::kernel::float::Float;
use crate::kernel::rows::RowMask;
use crate::loss::aggregate::{Aggregation, Normaliser};

/// A loss of pairs: row `2 i` of a batch is the chosen reply of pair `i`, and row `2 i + 1` the
/// rejected one.
///
/// `h` is the margin between the two: the difference of `log pi - log pi_ref`, summed over each
/// reply's tokens; `m` that of the mean log-probs without a reference.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum PairLoss {
    /// `-(1 - e) log sigmoid(beta h) - e log sigmoid(-beta h)`. DPO (arXiv 2305.18290), equation
    /// 7; `e` above 0 is cDPO's label smoothing. Needs a reference.
    Dpo {
        /// The strength of the preference per nat, above 0; usual is 0.1.
        beta: f64,
        /// The probability `e` that a label is wrong, within 0 and below 0.5.
        label_smoothing: f64,
    },
    /// `(h - 1 / (2 beta))^2`. IPO (arXiv 2310.12036), equation 17. Needs a reference.
    Ipo {
        /// The strength of the preference per nat, above 0.
        beta: f64,
        /// Takes `h` of the means over tokens instead of the sums, as TRL does.
        mean: bool,
    },
    /// `-log sigmoid(beta m - gamma)`. SimPO (arXiv 2405.14734), equation 6. No reference.
    SimPo {
        /// The strength of the preference per nat, above 0; the paper's is 2 to 2.5.
        beta: f64,
        /// The margin, 0 or more; the paper's is 0.3 to 1.6.
        gamma: f64,
    },
    /// `-lambda log sigmoid(log odds(chosen) - log odds(rejected))` plus the negative mean log-prob
    /// of the chosen reply, with `odds = p / (1 - p)` of `p = exp(mean log-prob)`. ORPO (arXiv
    /// 2403.07691), equations 6 and 7. No reference.
    Orpo {
        /// The coefficient of the odds ratio, 0 or more; the paper's is 0.1.
        lambda: f64,
    },
}

impl PairLoss {
    /// True if the loss needs the log-probs of a reference policy.
    #[must_use]
    pub const fn needs_reference(self) -> bool {
        matches!(self, Self::Dpo { .. } | Self::Ipo { .. })
    }

    fn check(self) -> Result<(), OptimError> {
        let above =
            |field, x: f64| require(x > 0.0 && x.is_finite(), field, x, "finite and above 0");
        let from =
            |field, x: f64| require(x >= 0.0 && x.is_finite(), field, x, "finite, 0 or more");
        match self {
            Self::Dpo { beta, label_smoothing } => {
                above("beta", beta)?;
                let range = "within 0 and below 0.5";
                let fits = (0.0..0.5).contains(&label_smoothing);
                require(fits, "label_smoothing", label_smoothing, range)
            }
            Self::Ipo { beta, .. } => above("beta", beta),
            Self::SimPo { beta, gamma } => {
                above("beta", beta)?;
                from("gamma", gamma)
            }
            Self::Orpo { lambda } => from("lambda", lambda),
        }
    }

    /// True if a row's log-prob is the mean over its tokens.
    const fn uses_mean(self) -> bool {
        matches!(self, Self::SimPo { .. } | Self::Orpo { .. } | Self::Ipo { mean: true, .. })
    }

    /// The loss of a pair, and its derivatives by the two rows' log-probs (less the reference's,
    /// if there is one).
    fn pair(self, chosen: f64, rejected: f64) -> (f64, [f64; 2]) {
        let h = chosen - rejected;
        match self {
            Self::Dpo { beta, label_smoothing: e } => {
                let x = beta * h;
                let slope = -beta * ((1.0 - e) * sigmoid(-x) - e * sigmoid(x));
                ((1.0 - e) * softplus(-x) + e * softplus(x), [slope, -slope])
            }
            Self::Ipo { beta, .. } => {
                let miss = h - (2.0 * beta).recip();
                (miss * miss, [2.0 * miss, -2.0 * miss])
            }
            Self::SimPo { beta, gamma } => {
                let x = beta * h - gamma;
                let slope = -beta * sigmoid(-x);
                (softplus(-x), [slope, -slope])
            }
            Self::Orpo { lambda } => {
                // log odds = p - log(1 - e^p), whose derivative is 1 / (1 - e^p).
                let odds = |p: f64| (p - log_one_minus_exp(p), (-p.exp_m1()).recip());
                let ((a, da), (b, db)) = (odds(chosen), odds(rejected));
                let slope = -lambda * sigmoid(b - a);
                (lambda * softplus(b - a) - chosen, [slope * da - 1.0, -slope * db])
            }
        }
    }
}

/// Figures of a [`pair_loss`], over the pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PairReport {
    /// The mean loss, to be minimised.
    pub loss: f64,
    /// Share of pairs whose chosen reply is the likelier one (less the reference, if there is one).
    pub accuracy: f64,
    /// Mean margin `h` (or `m`), in nats.
    pub margin: f64,
    /// Mean log-prob of the chosen replies (less the reference): falls when both become unlikely.
    pub chosen: f64,
    /// Mean log-prob of the rejected replies (less the reference).
    pub rejected: f64,
    /// Pairs.
    pub pairs: usize,
}

/// Computes the mean loss of pairs and writes its gradient by `logp` into `dlogp` (`[2 P, T]`, 0 in
/// padded slots). `logp` and `reference` are `[2 P, T]`, in nats. The mean is over the pairs with
/// tokens on both sides; `pairs` replaces their number, for a part of a batch.
///
/// # Errors
/// [`OptimError::Shape`] for a slice of the wrong length or an odd number of rows,
/// [`OptimError::Config`], [`OptimError::Missing`] for a reference, [`OptimError::NonFinite`] for a
/// NaN or infinity in a valid slot, [`OptimError::Overflow`].
pub fn pair_loss<F: Float>(
    config: PairLoss,
    batch: &PreferenceBatch<'_, F>,
    dlogp: &mut [F],
) -> Result<PairReport, OptimError> {
    config.check()?;
    let rows = batch.mask.rows();
    if !rows.is_multiple_of(2) {
        return Err(OptimError::Shape { what: "rows", expected: rows + 1, got: rows });
    }
    let scores = batch.row_scores(config.needs_reference(), config.uses_mean(), dlogp)?;
    let whole = |pair: usize| Some((scores[2 * pair]?, scores[2 * pair + 1]?));
    let count = (0..rows / 2).filter_map(whole).count();
    let share = batch.share(count)?;
    let mut report = PairReport { pairs: count, ..PairReport::default() };
    for pair in 0..rows / 2 {
        let Some((chosen, rejected)) = whole(pair) else { continue };
        let (loss, slopes) = config.pair(chosen, rejected);
        report.loss += share * loss;
        report.margin += chosen - rejected;
        report.chosen += chosen;
        report.rejected += rejected;
        report.accuracy += f64::from(u8::from(chosen > rejected));
        for (side, slope) in slopes.into_iter().enumerate() {
            batch.write(2 * pair + side, share * slope, config.uses_mean(), dlogp)?;
        }
    }
    for figure in
        [&mut report.margin, &mut report.chosen, &mut report.rejected, &mut report.accuracy]
    {
        *figure /= count.max(1) as f64;
    }
    if report.loss.is_finite() { Ok(report) } else { Err(OptimError::Overflow { what: "loss" }) }
}

/// Settings of [`kto_loss`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KtoConfig {
    /// The strength per nat, above 0. Default 0.1 (the paper's).
    pub beta: f64,
    /// The weight of desirable replies, 0 or more. Default 1.
    pub desirable: f64,
    /// The weight of undesirable replies, 0 or more. Default 1.
    pub undesirable: f64,
}

impl Default for KtoConfig {
    fn default() -> Self {
        Self { beta: 0.1, desirable: 1.0, undesirable: 1.0 }
    }
}

/// Figures of [`kto_loss`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct KtoReport {
    /// The mean loss, to be minimised.
    pub loss: f64,
    /// Mean `log pi - log pi_ref` of the desirable replies, in nats; 0 without one.
    pub desirable: f64,
    /// Mean `log pi - log pi_ref` of the undesirable replies, in nats; 0 without one.
    pub undesirable: f64,
    /// Replies with tokens.
    pub rows: usize,
}

/// Computes the KTO loss of labelled replies and writes its gradient by `logp` into `dlogp` (`[B,
/// T]`, 0 in padded slots).
///
/// With `r` the sum of `log pi - log pi_ref` over a reply's tokens and `z` the KL to the reference:
///
/// ```text
/// desirable     w (1 - sigmoid(beta (r - z)))
/// undesirable   w (1 - sigmoid(beta (z - r)))
/// ```
///
/// `z` (`kl`, in nats, 0 or more) is a constant, estimated by the caller on mismatched pairs of
/// prompt and reply, or 0. Source: KTO (arXiv 2402.01306), equation 8.
///
/// # Errors
/// The errors of [`pair_loss`], and [`OptimError::Shape`] for labels that are not `[B]`.
pub fn kto_loss<F: Float>(
    config: &KtoConfig,
    batch: &PreferenceBatch<'_, F>,
    desirable: &[bool],
    kl: f64,
    dlogp: &mut [F],
) -> Result<KtoReport, OptimError> {
    let KtoConfig { beta, .. } = *config;
    require(beta > 0.0 && beta.is_finite(), "beta", beta, "finite and above 0")?;
    for (field, weight) in [("desirable", config.desirable), ("undesirable", config.undesirable)] {
        require(weight >= 0.0 && weight.is_finite(), field, weight, "finite and 0 or more")?;
    }
    require(kl >= 0.0 && kl.is_finite(), "kl", kl, "finite and 0 or more")?;
    batch.mask.check_rows("desirable", desirable.len())?;
    let scores = batch.row_scores(true, false, dlogp)?;
    let count = scores.iter().flatten().count();
    let share = batch.share(count)?;
    let mut report = KtoReport { rows: count, ..KtoReport::default() };
    let mut counts = [0_usize; 2];
    for (row, score) in scores.iter().enumerate() {
        let Some(score) = *score else { continue };
        let good = desirable[row];
        let (weight, sign) =
            if good { (config.desirable, 1.0) } else { (config.undesirable, -1.0) };
        let x = sign * beta * (score - kl);
        report.loss += share * weight * sigmoid(-x);
        let slope = -share * weight * sign * beta * sigmoid(x) * sigmoid(-x);
        batch.write(row, slope, false, dlogp)?;
        let mean = if good { &mut report.desirable } else { &mut report.undesirable };
        let seen = &mut counts[usize::from(good)];
        *seen += 1;
        *mean += (score - *mean) / *seen as f64;
    }
    if report.loss.is_finite() { Ok(report) } else { Err(OptimError::Overflow { what: "loss" }) }
}

/// Computes the imitation loss, `-log pi` of every token with its weight, and writes its gradient
/// by `logp` into `dlogp` (`[B, T]`, 0 in padded slots). Returns the loss.
///
/// # Errors
/// The errors of [`Aggregation::weights`], and [`OptimError::NonFinite`] for a NaN or infinity in a
/// valid slot.
pub fn sft_loss<F: Float>(
    aggregation: Aggregation,
    mask: &RowMask<'_>,
    logp: &[F],
    normaliser: Option<Normaliser>,
    dlogp: &mut [F],
) -> Result<f64, OptimError> {
    mask.check("logp", logp.len())?;
    aggregation.weights(mask, normaliser, dlogp)?;
    let mut loss = 0.0;
    for slot in (0..mask.rows()).flat_map(|row| mask.spans(row).flatten()) {
        dlogp[slot] = -dlogp[slot];
        loss += dlogp[slot].to_f64() * logp[slot].to_f64();
    }
    if loss.is_finite() { Ok(loss) } else { Err(mask.non_finite_error("loss", &[("logp", logp)])) }
}

/// Log-probs of replies, `[B, T]` in nats.
#[derive(Clone, Copy, Debug)]
pub struct PreferenceBatch<'a, F> {
    mask: RowMask<'a>,
    logp: &'a [F],
    reference: Option<&'a [F]>,
    count: Option<f64>,
}

impl<'a, F: Float> PreferenceBatch<'a, F> {
    /// Log-probs of the replies' tokens under the policy being trained.
    pub fn new(mask: RowMask<'a>, logp: &'a [F]) -> Self {
        Self { mask, logp, reference: None, count: None }
    }

    /// Sets the log-probs under the reference policy.
    #[must_use]
    pub fn with_reference(self, reference: &'a [F]) -> Self {
        Self { reference: Some(reference), ..self }
    }

    /// Sets the divisor of the mean: the pairs (or rows) of the whole batch, of which this is a
    /// part. The losses and gradients of the parts then add up.
    #[must_use]
    pub fn with_count(self, count: f64) -> Self {
        Self { count: Some(count), ..self }
    }

    /// The weight of one pair or row.
    fn share(&self, count: usize) -> Result<f64, OptimError> {
        let divisor = self.count.unwrap_or(count.max(1) as f64);
        require(divisor > 0.0 && divisor.is_finite(), "count", divisor, "finite and above 0")?;
        Ok(divisor.recip())
    }

    /// The sum (or mean) of each row's log-probs, less the reference's; `None` for a row without
    /// tokens. Fills `dlogp` with 0.
    fn row_scores(
        &self,
        referenced: bool,
        mean: bool,
        dlogp: &mut [F],
    ) -> Result<Vec<Option<f64>>, OptimError> {
        let (mask, logp) = (self.mask, self.logp);
        let reference = match (referenced, self.reference) {
            (true, None) => {
                let why = "the loss compares the policy with it";
                return Err(OptimError::Missing { what: "reference", why });
            }
            (true, given) => given,
            (false, _) => None,
        };
        mask.check_all(&[
            ("logp", logp.len()),
            ("ref_logp", reference.map_or(mask.slots(), <[F]>::len)),
            ("dlogp", dlogp.len()),
        ])?;
        dlogp.fill(F::ZERO);
        let token = |slot: usize| {
            logp[slot].to_f64() - reference.map_or(0.0, |reference| reference[slot].to_f64())
        };
        let score = |row: usize| {
            mask.last(row)?;
            let sum: f64 = mask.spans(row).flatten().map(token).sum();
            Some(if mean { sum / mask.count(row) as f64 } else { sum })
        };
        let scores: Vec<Option<f64>> = (0..mask.rows()).map(score).collect();
        if scores.iter().flatten().all(|score| score.is_finite()) {
            return Ok(scores);
        }
        let inputs = [("logp", logp), ("ref_logp", reference.unwrap_or(logp))];
        Err(mask.non_finite_error("log-prob of a reply", &inputs))
    }

    /// Writes the slope of a row to its tokens.
    fn write(&self, row: usize, slope: f64, mean: bool, dlogp: &mut [F]) -> Result<(), OptimError> {
        let tokens = if mean { self.mask.count(row) as f64 } else { 1.0 };
        let slope = F::from_f64(slope / tokens);
        if !slope.is_finite() {
            return Err(OptimError::Overflow { what: "gradient" });
        }
        for span in self.mask.spans(row) {
            dlogp[span].fill(slope);
        }
        Ok(())
    }
}

fn sigmoid(x: f64) -> f64 {
    (1.0 + (-x).exp()).recip()
}

/// `log(1 + e^x)` without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `log(1 - e^p)` for `p` below 0, without cancellation.
fn log_one_minus_exp(p: f64) -> f64 {
    if p > -std::f64::consts::LN_2 { (-p.exp_m1()).ln() } else { (-p.exp()).ln_1p() }
}

#[cfg(test)]
mod tests;

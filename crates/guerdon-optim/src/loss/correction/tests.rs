//! Importance weights, rejection masks and off-policy rows on small batches.

use super::{
    CorrectionBatch, CorrectionConfig, CorrectionLevel, Divergence, Rejection, RejectionScope,
    WeightBound, importance_weights, off_policy_rows, rejection_mask,
};
use crate::error::OptimError;
use crate::kernel::rows::RowMask;
use crate::testing::assert_close;

/// The log-ratios of two rows. The ratios are 4 and 1/4 in the first row, 3 in the second; the
/// padded slot is NaN.
fn log_ratios() -> [f64; 4] {
    [4.0_f64.ln(), -4.0_f64.ln(), 3.0_f64.ln(), f64::NAN]
}

fn weights(config: &CorrectionConfig) -> Vec<f64> {
    let mut out = vec![9.0; 4];
    let mask = RowMask::lens(&[2, 1], 2).unwrap();
    importance_weights(config, &CorrectionBatch::new(mask, &log_ratios(), &[0.0; 4]), &mut out)
        .unwrap();
    out
}

#[test]
fn weights_are_truncated_or_dropped_as_configured() {
    let config = CorrectionConfig::default();
    assert_close(&weights(&config), &[2.0, 0.25, 2.0, 0.0], 1e-12);
    let drop = CorrectionConfig { bound: WeightBound::Drop { low: 0.5, high: 3.5 }, ..config };
    assert_close(&weights(&drop), &[0.0, 0.0, 3.0, 0.0], 1e-12);
    let rows = CorrectionConfig { bound: WeightBound::DropRows { low: 0.5, high: 2.0 }, ..config };
    assert_close(&weights(&rows), &[4.0, 0.25, 0.0, 0.0], 1e-12);
}

#[test]
fn a_sequence_weight_is_the_product_of_the_row_ratios_and_normalising_makes_the_mean_one() {
    let config =
        CorrectionConfig { level: CorrectionLevel::Sequence, ..CorrectionConfig::default() };
    assert_close(&weights(&config), &[1.0, 1.0, 2.0, 0.0], 1e-12);
    let normalised = weights(&CorrectionConfig { normalise: true, ..config });
    assert_close(&normalised, &[2.0 / 3.0, 2.0 / 3.0, 4.0 / 3.0, 0.0], 1e-12);
    let tokens = weights(&CorrectionConfig { normalise: true, ..CorrectionConfig::default() });
    assert_close(&[tokens.iter().sum::<f64>()], &[3.0], 1e-12);
}

#[test]
fn a_token_is_kept_only_if_every_rule_keeps_it() {
    let mask = RowMask::lens(&[2, 1], 2).unwrap();
    let mut kept = [9; 4];
    let batch = CorrectionBatch::new(mask, &[0.0; 4], &[0.0; 4]);
    assert_close(&[rejection_mask(&[], &batch, &mut kept).unwrap()], &[1.0], 0.0);
    assert_eq!(kept, [1, 1, 1, 0]);
    let log_ratios = log_ratios();
    let batch = CorrectionBatch::new(mask, &log_ratios, &[0.0; 4]);
    let token = Rejection::of_ratio(RejectionScope::Token, 0.2, 3.5);
    let row = Rejection::above(RejectionScope::RowMean, Divergence::K2, 0.7);
    // pi_rollout / pi_old is 1/4, 4 and 1/3.
    rejection_mask(&[token], &batch, &mut kept).unwrap();
    assert_eq!(kept, [1, 0, 1, 0]);
    let share = rejection_mask(&[token, row], &batch, &mut kept).unwrap();
    assert_eq!(kept, [0, 0, 1, 0]);
    assert_close(&[share], &[1.0 / 3.0], 1e-12);
}

#[test]
fn only_rows_with_a_negative_advantage_are_dropped_as_off_policy() {
    let mask = RowMask::full(3, 1);
    let batch = CorrectionBatch::new(mask, &[-3.0, -3.0, -1.0], &[-1.0; 3]);
    let mut dropped = [9; 3];
    off_policy_rows(1.0, &batch, &[Some(-1.0), Some(1.0), Some(-1.0)], &mut dropped).unwrap();
    assert_eq!(dropped, [1, 0, 0]);
}

#[test]
fn an_infinite_log_prob_is_reported() {
    let batch = CorrectionBatch::new(RowMask::full(1, 2), &[0.0; 2], &[0.0, f64::NEG_INFINITY]);
    let error =
        importance_weights(&CorrectionConfig::default(), &batch, &mut [0.0; 2]).unwrap_err();
    assert_eq!(error, OptimError::NonFinite { what: "rollout_logp", row: 0, token: 1 });
}

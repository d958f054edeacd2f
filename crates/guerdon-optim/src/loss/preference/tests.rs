//! The losses of preferences against finite differences and torch's autograd, and their edges.

use proptest::prelude::{prop, proptest};

use super::{KtoConfig, PairLoss, PreferenceBatch, kto_loss, pair_loss, sft_loss};
use crate::error::OptimError;
use crate::kernel::rows::RowMask;
use crate::loss::aggregate::{Aggregation, Normaliser};
use crate::testing::{assert_close, central_difference};

const ROWS: usize = 6;
const WIDTH: usize = 4;
const SLOTS: usize = ROWS * WIDTH;

fn every_loss() -> Vec<PairLoss> {
    vec![
        PairLoss::Dpo { beta: 0.3, label_smoothing: 0.0 },
        PairLoss::Dpo { beta: 0.7, label_smoothing: 0.2 },
        PairLoss::Ipo { beta: 0.4, mean: false },
        PairLoss::Ipo { beta: 0.4, mean: true },
        PairLoss::SimPo { beta: 2.0, gamma: 0.5 },
        PairLoss::Orpo { lambda: 0.3 },
    ]
}

proptest! {
    #[test]
    fn gradients_match_central_differences(
        logp in prop::collection::vec(-3.0..-0.05_f64, SLOTS),
        reference in prop::collection::vec(-3.0..-0.05_f64, SLOTS),
        flags in prop::collection::vec(0_u8..2, SLOTS),
        labels in prop::collection::vec(prop::bool::ANY, ROWS),
        kl in 0.0..0.5_f64,
    ) {
        let mask = RowMask::bytes(&flags, ROWS, WIDTH).unwrap();
        let check = |run: &dyn Fn(&[f64], &mut [f64]) -> f64| {
            let mut slopes = [9.0; SLOTS];
            run(&logp, &mut slopes);
            for (slot, &slope) in slopes.iter().enumerate() {
                let want = central_difference(&logp, slot, |moved| run(moved, &mut [0.0; SLOTS]));
                assert_close(&[slope], &[want], 1e-6);
            }
        };
        for config in every_loss() {
            check(&|logp, out| {
                let batch = PreferenceBatch::new(mask, logp).with_reference(&reference);
                pair_loss(config, &batch, out).unwrap().loss
            });
        }
        let config = KtoConfig { beta: 0.5, desirable: 1.3, undesirable: 0.8 };
        check(&|logp, out| {
            let batch = PreferenceBatch::new(mask, logp).with_reference(&reference);
            kto_loss(&config, &batch, &labels, kl, out).unwrap().loss
        });
        for &aggregation in Aggregation::ALL {
            check(&|logp, out| sft_loss(aggregation, &mask, logp, None, out).unwrap());
        }
    }

    /// A part with the count of the whole batch is its share of the sum.
    #[test]
    fn parts_add_up_to_the_whole(logp in prop::collection::vec(-3.0..-0.05_f64, SLOTS), cut in 1..3_usize) {
        let reference = vec![-1.0; SLOTS];
        let at = cut * 2 * WIDTH;
        for config in every_loss() {
            let run = |logp: &[f64], reference: &[f64], count: f64| {
                let batch = PreferenceBatch::new(RowMask::full(logp.len() / WIDTH, WIDTH), logp)
                    .with_reference(reference)
                    .with_count(count);
                let mut out = vec![9.0; logp.len()];
                (pair_loss(config, &batch, &mut out).unwrap().loss, out)
            };
            let whole = run(&logp, &reference, 3.0);
            let head = run(&logp[..at], &reference[..at], 3.0);
            let tail = run(&logp[at..], &reference[at..], 3.0);
            assert_close(&[head.0 + tail.0], &[whole.0], 1e-12);
            assert_close(&[head.1, tail.1].concat(), &whole.1, 1e-15);
        }
        let mask = RowMask::full(ROWS, WIDTH);
        let mut out = [9.0; SLOTS];
        let normaliser = Normaliser { tokens: 48.0, rows: 12.0, horizon: 4.0 };
        let half = sft_loss(Aggregation::TokenMean, &mask, &logp, Some(normaliser), &mut out).unwrap();
        assert_close(&[2.0 * half], &[sft_loss(Aggregation::TokenMean, &mask, &logp, None, &mut out).unwrap()], 1e-12);
    }
}

/// `tests/golden/preference.py` computes them with torch in f64.
#[test]
fn losses_and_gradients_equal_those_of_torch() {
    let json: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/golden/preference.json")).unwrap();
    let list = |value: &serde_json::Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    };
    let (logp, reference) = (list(&json["logp"]), list(&json["reference"]));
    let flags: Vec<u8> = list(&json["mask"]).into_iter().map(|flag| u8::from(flag > 0.5)).collect();
    let labels: Vec<bool> = list(&json["desirable"]).into_iter().map(|flag| flag > 0.5).collect();
    let rows = labels.len();
    let mask = RowMask::bytes(&flags, rows, flags.len() / rows).unwrap();
    let batch = PreferenceBatch::new(mask, &logp).with_reference(&reference);
    let mut compared = 0;
    let mut agrees = |name: &str, loss: f64, slopes: &[f64]| {
        assert_close(&[loss], &[json["outputs"][name]["loss"].as_f64().unwrap()], 1e-12);
        assert_close(slopes, &list(&json["outputs"][name]["grad"]), 1e-12);
        compared += 1;
    };
    let mut out = vec![9.0; flags.len()];
    for (name, config) in [
        ("dpo", PairLoss::Dpo { beta: 0.1, label_smoothing: 0.0 }),
        ("cdpo", PairLoss::Dpo { beta: 0.1, label_smoothing: 0.1 }),
        ("ipo", PairLoss::Ipo { beta: 0.1, mean: false }),
        ("ipo_mean", PairLoss::Ipo { beta: 0.1, mean: true }),
        ("simpo", PairLoss::SimPo { beta: 2.0, gamma: 0.5 }),
        ("orpo", PairLoss::Orpo { lambda: 0.1 }),
    ] {
        let report = pair_loss(config, &batch, &mut out).unwrap();
        agrees(name, report.loss, &out);
    }
    let config = KtoConfig { beta: 0.1, desirable: 1.0, undesirable: 1.5 };
    let report = kto_loss(&config, &batch, &labels, 0.25, &mut out).unwrap();
    agrees("kto", report.loss, &out);
    let loss = sft_loss(Aggregation::TokenMean, &mask, &logp, None, &mut out).unwrap();
    agrees("sft", loss, &out);
    assert_eq!(compared, json["outputs"].as_object().unwrap().len());
}

#[test]
fn a_pair_with_an_empty_side_is_left_out_and_padding_is_not_read() {
    let nan = f64::NAN;
    let logp = [-1.0, nan, -2.0, nan, -1.0, -1.0, nan, nan];
    let reference = [-1.5, nan, -1.0, nan, -1.0, -1.0, nan, nan];
    let mask = RowMask::lens(&[1, 1, 2, 0], 2).unwrap();
    let batch = PreferenceBatch::new(mask, &logp).with_reference(&reference);
    let mut out = [9.0; 8];
    let dpo = PairLoss::Dpo { beta: 1.0, label_smoothing: 0.0 };
    let report = pair_loss(dpo, &batch, &mut out).unwrap();
    let slope = -1.0 / (1.0 + 1.5_f64.exp());
    assert_close(&out, &[slope, 0.0, -slope, 0.0, 0.0, 0.0, 0.0, 0.0], 1e-15);
    assert_close(&[report.accuracy, report.margin, report.chosen], &[1.0, 1.5, 0.5], 1e-15);
    assert_eq!(report.pairs, 1);
}

#[test]
fn invalid_inputs_are_refused_by_name() {
    let (logp, mask) = ([-1.0_f64; 6], RowMask::full(3, 2));
    let dpo = PairLoss::Dpo { beta: 0.1, label_smoothing: 0.0 };
    let batch = PreferenceBatch::new(mask, &logp).with_reference(&logp);
    assert!(matches!(
        pair_loss(dpo, &batch, &mut [0.0; 6]),
        Err(OptimError::Shape { what: "rows", expected: 4, got: 3 })
    ));
    let two = PreferenceBatch::new(RowMask::full(2, 2), &logp[..4]);
    let run = |config, batch: &PreferenceBatch<'_, f64>| pair_loss(config, batch, &mut [0.0; 4]);
    assert!(matches!(run(dpo, &two), Err(OptimError::Missing { what: "reference", .. })));
    let config = |field| move |error| matches!(error, OptimError::Config { field: named, .. } if named == field);
    let referenced = two.with_reference(&logp[..4]);
    for (field, wrong) in [
        ("beta", PairLoss::Dpo { beta: 0.0, label_smoothing: 0.0 }),
        ("label_smoothing", PairLoss::Dpo { beta: 0.1, label_smoothing: 0.5 }),
        ("beta", PairLoss::Ipo { beta: f64::NAN, mean: false }),
        ("gamma", PairLoss::SimPo { beta: 1.0, gamma: -1.0 }),
        ("lambda", PairLoss::Orpo { lambda: f64::INFINITY }),
    ] {
        assert!(run(wrong, &referenced).is_err_and(config(field)), "{field}");
    }
    let spoilt = [-1.0, f64::NAN, -1.0, -1.0];
    let place = OptimError::NonFinite { what: "logp", row: 0, token: 1 };
    let spoilt = PreferenceBatch::new(RowMask::full(2, 2), &spoilt).with_reference(&logp[..4]);
    assert_eq!(run(dpo, &spoilt), Err(place));
    // A certain reply has infinite odds.
    let certain = PreferenceBatch::new(RowMask::full(2, 2), &[0.0, 0.0, -1.0, -1.0]);
    assert!(matches!(
        run(PairLoss::Orpo { lambda: 0.1 }, &certain),
        Err(OptimError::Overflow { .. })
    ));
}

/// In f32 and far from the reference nothing overflows on the way.
#[test]
fn far_replies_have_finite_losses() {
    for far in [1e2_f32, 1e4, 1e6] {
        for config in [
            PairLoss::Dpo { beta: 1.0, label_smoothing: 0.1 },
            PairLoss::SimPo { beta: 2.0, gamma: 0.0 },
        ] {
            let logp = [-far, -far, -0.1, -0.1];
            let batch =
                PreferenceBatch::new(RowMask::full(2, 2), &logp).with_reference(&[-1.0_f32; 4]);
            let mut out = [9.0_f32; 4];
            let report = pair_loss(config, &batch, &mut out).unwrap();
            assert!(report.loss.is_finite() && out.iter().all(|slope| slope.is_finite()));
        }
    }
}

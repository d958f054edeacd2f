//! The policy loss against hand-computed tokens and finite differences, and its invariants.

use proptest::prelude::{Just, Strategy, prop, proptest};

use super::{ClipRange, PolicyBatch, PolicyConfig, PolicyReport, Surrogate, policy_loss};
use crate::error::OptimError;
use crate::kernel::rows::RowMask;
use crate::loss::aggregate::{Aggregation, Normaliser};
use crate::loss::ppo::{PpoConfig, ppo_loss};
use crate::testing::{assert_close, central_difference};

const ROWS: usize = 4;
const WIDTH: usize = 3;

#[derive(Clone, Debug)]
struct Case {
    bytes: Vec<u8>,
    logp: Vec<f64>,
    old: Vec<f64>,
    advantages: Vec<f64>,
    config: PpoConfig,
}

fn cases() -> impl Strategy<Value = Case> {
    let slots =
        prop::collection::vec((0_u8..2, -3.0_f64..0.0, -1.0_f64..1.0, -2.0_f64..2.0), ROWS * WIDTH);
    let modes = prop::sample::select(Aggregation::ALL);
    let dual = prop::sample::select(vec![None, Some(1.5), Some(3.0)]);
    (slots, modes, dual, 0.1_f64..0.3, 0.1_f64..0.4).prop_flat_map(
        |(slots, mode, dual, low, high)| {
            let config =
                PpoConfig { clip_low: low, clip_high: high, dual_clip: dual, aggregation: mode };
            Just(Case {
                bytes: slots.iter().map(|slot| slot.0).collect(),
                logp: slots.iter().map(|slot| slot.1).collect(),
                old: slots.iter().map(|slot| slot.1 - slot.2).collect(),
                advantages: slots.iter().map(|slot| slot.3).collect(),
                config,
            })
        },
    )
}

impl Case {
    fn mask(&self) -> RowMask<'_> {
        RowMask::bytes(&self.bytes, self.bytes.len() / WIDTH, WIDTH).unwrap()
    }

    fn run(&self, normaliser: Option<Normaliser>) -> (PolicyReport, Vec<f64>) {
        let mut batch = PolicyBatch::new(self.mask(), &self.logp, &self.old, &self.advantages);
        if let Some(normaliser) = normaliser {
            batch = batch.with_normaliser(normaliser);
        }
        let mut dlogp = vec![9.0; self.logp.len()];
        (ppo_loss(&self.config, &batch, &mut dlogp).unwrap(), dlogp)
    }

    fn near_a_kink(&self, slot: usize) -> bool {
        let r = (self.logp[slot] - self.old[slot]).exp();
        let edges = [1.0 - self.config.clip_low, 1.0 + self.config.clip_high];
        edges.into_iter().chain(self.config.dual_clip).any(|edge| (r - edge).abs() < 1e-4)
    }

    fn rows(&self, pick: impl Iterator<Item = usize> + Clone) -> Self {
        let slots = pick.flat_map(|row| row * WIDTH..(row + 1) * WIDTH);
        let take = |xs: &[f64]| slots.clone().map(|slot| xs[slot]).collect::<Vec<_>>();
        Self {
            bytes: slots.clone().map(|slot| self.bytes[slot]).collect(),
            logp: take(&self.logp),
            old: take(&self.old),
            advantages: take(&self.advantages),
            config: self.config,
        }
    }
}

fn token(config: PpoConfig, ratio: f64, advantage: f64) -> (PolicyReport, f64) {
    let mut slope = [9.0];
    let (logp, advantage) = ([ratio.ln()], [advantage]);
    let batch = PolicyBatch::new(RowMask::full(1, 1), &logp, &[0.0], &advantage);
    (ppo_loss(&config, &batch, &mut slope).unwrap(), slope[0])
}

/// rllm-org/rllm#81: the upper limit was computed but not used.
#[test]
fn clip_higher_moves_the_upper_edge_only() {
    let config = PpoConfig { clip_low: 0.2, clip_high: 0.4, ..PpoConfig::default() };
    let (inside, slope) = token(config, 1.3, 1.0);
    assert_close(&[inside.loss, slope, inside.clip_fraction], &[-1.3, -1.3, 0.0], 1e-12);
    let (above, slope) = token(config, 1.5, 1.0);
    assert_close(&[above.loss, slope, above.clip_fraction], &[-1.4, 0.0, 1.0], 1e-12);
    let (below, slope) = token(config, 0.7, -1.0);
    assert_close(&[below.loss, slope, below.clip_fraction], &[0.8, 0.0, 1.0], 1e-12);
}

#[test]
fn the_pessimistic_side_is_never_clipped() {
    let (report, slope) = token(PpoConfig::default(), 0.5, 1.0);
    assert_close(&[report.loss, slope], &[-0.5, -0.5], 1e-12);
    let (report, slope) = token(PpoConfig::default(), 5.0, -1.0);
    assert_close(&[report.loss, slope], &[5.0, 5.0], 1e-12);
}

#[test]
fn dual_clip_bounds_the_loss_of_a_bad_token() {
    let config = PpoConfig { dual_clip: Some(3.0), ..PpoConfig::default() };
    let (report, slope) = token(config, 5.0, -1.0);
    assert_close(&[report.loss, slope, report.dual_clip_fraction], &[3.0, 0.0, 1.0], 1e-12);
    let (report, slope) = token(config, 5.0, 1.0);
    assert_close(&[report.loss, slope, report.dual_clip_fraction], &[-1.2, 0.0, 0.0], 1e-12);
}

#[test]
fn on_policy_the_gradient_is_the_policy_gradient() {
    let (report, slope) = token(PpoConfig::default(), 1.0, 0.7);
    assert_close(
        &[report.loss, slope, report.approx_kl, report.max_ratio],
        &[-0.7, -0.7, 0.0, 1.0],
        1e-15,
    );
}

#[test]
fn an_extreme_log_ratio_is_clamped_and_has_no_gradient() {
    let mut slope = [9.0_f32];
    let batch = PolicyBatch::new(RowMask::full(1, 1), &[0.0], &[-1e4], &[-1.0]);
    let report = ppo_loss(&PpoConfig::default(), &batch, &mut slope).unwrap();
    assert!(report.loss.is_finite() && slope[0].abs() < f32::MIN_POSITIVE, "{report:?}");
}

#[test]
fn a_batch_without_tokens_has_loss_zero() {
    let mask = RowMask::lens(&[0, 0], 1).unwrap();
    let nan = [f64::NAN; 2];
    let mut slope = [9.0; 2];
    let report =
        ppo_loss(&PpoConfig::default(), &PolicyBatch::new(mask, &nan, &nan, &nan), &mut slope);
    assert_eq!((report, slope), (Ok(PolicyReport::default()), [0.0; 2]));
}

#[test]
fn a_log_prob_of_minus_infinity_under_both_policies_is_reported() {
    let logp = [-1.0, f64::NEG_INFINITY];
    let batch = PolicyBatch::new(RowMask::full(2, 1), &logp, &logp, &[1.0, 1.0]);
    let error = ppo_loss(&PpoConfig::default(), &batch, &mut [0.0; 2]).unwrap_err();
    assert_eq!(error, OptimError::NonFinite { what: "logp", row: 1, token: 0 });
}

#[test]
fn a_dual_clip_of_one_or_less_is_refused() {
    let config = PpoConfig { dual_clip: Some(1.0), ..PpoConfig::default() };
    let batch = PolicyBatch::new(RowMask::full(0, 0), &[0.0_f64; 0], &[], &[]);
    assert!(ppo_loss(&config, &batch, &mut []).is_err());
}

fn every_surrogate() -> Vec<Surrogate> {
    let clip = ClipRange { low: 0.2, high: 0.3 };
    vec![
        Surrogate::Ppo { clip, dual: Some(2.0) },
        Surrogate::Gspo { clip },
        Surrogate::GspoToken { clip },
        Surrogate::DppoTv { clip: ClipRange { low: 0.05, high: 0.1 }, max_ratio: 1.3 },
        Surrogate::DppoKl { clip: ClipRange { low: 0.01, high: 0.02 }, max_ratio: 1.3 },
        Surrogate::ClipCov { clip, share: 0.3, low: 0.01, high: 5.0, seed: 3 },
        Surrogate::KlCov { share: 0.3, coefficient: 0.7 },
        Surrogate::Gmpo { clip },
        Surrogate::Cispo { clip },
        Surrogate::Sapo { tau_positive: 1.0, tau_negative: 1.05 },
        Surrogate::Dro { beta: 0.1 },
        Surrogate::Reinforce,
    ]
}

/// areal-project/AReaL#1346: the mean of a row's log-ratios counted its padding.
#[test]
fn the_ratio_of_a_row_is_over_its_valid_tokens() {
    let mask = RowMask::bytes(&[1, 0, 1], 1, 3).unwrap();
    let (logp, old, advantages) = ([-1.0, f64::NAN, -1.0], [-1.05, f64::NAN, -1.15], [1.0; 3]);
    let surrogate = Surrogate::Gspo { clip: ClipRange::default() };
    let config = PolicyConfig { surrogate, aggregation: Aggregation::TokenMean };
    let mut slope = [9.0; 3];
    let report =
        policy_loss(&config, &PolicyBatch::new(mask, &logp, &old, &advantages), &mut slope)
            .unwrap();
    let ratio = 0.1_f64.exp();
    assert_close(
        &[report.loss, slope[0], slope[1], slope[2]],
        &[-ratio, -ratio / 2.0, 0.0, -ratio / 2.0],
        1e-12,
    );
}

/// Covers every surrogate's slope, weight and correction.
#[test]
fn the_gradient_of_every_surrogate_matches_central_differences() {
    let noise = |seed: usize| (0..12).map(move |at| ((at * 7 + seed * 13) as f64 * 1.7).sin());
    let logp: Vec<f64> = noise(1).map(|x| 0.6 * x - 1.0).collect();
    let old: Vec<f64> = logp.iter().zip(noise(2)).map(|(logp, x)| logp + 0.45 * x).collect();
    let per_row: Vec<f64> = (0..12).map(|slot| [1.3, -0.7, 0.4, -1.1][slot / 3]).collect();
    let varying: Vec<f64> = per_row.iter().zip(noise(4)).map(|(row, x)| row + x).collect();
    let bytes = [1, 1, 1, 1, 0, 1, 0, 0, 0, 1, 1, 0];
    let mask = RowMask::bytes(&bytes, 4, 3).unwrap();
    let corrections: Vec<f64> = noise(3).map(|x| 1.0 + 0.5 * x).collect();
    for (surrogate, &aggregation) in pairs(&every_surrogate(), Aggregation::ALL) {
        let config = PolicyConfig { surrogate, aggregation };
        // The gradient of GSPO-token is that of another function, unless the tokens of a row are
        // alike.
        let alike = matches!(surrogate, Surrogate::GspoToken { .. });
        let advantages = if alike { &per_row } else { &varying };
        let run = |logp: &[f64], old: &[f64]| {
            let mut batch = PolicyBatch::new(mask, logp, old, advantages);
            if !alike {
                batch = batch.with_correction(&corrections);
            }
            let mut slopes = vec![9.0; 12];
            (policy_loss(&config, &batch, &mut slopes).unwrap().loss, slopes)
        };
        let (_, slopes) = run(&logp, &old);
        for (slot, &slope) in slopes.iter().enumerate() {
            let want = central_difference(&logp, slot, |moved| {
                // CISPO and DPPO treat the ratio as a constant, so both policies are moved.
                let follow = |(at, old): (usize, &f64)| old + moved[at] - logp[at];
                let followed: Vec<f64> = old.iter().enumerate().map(follow).collect();
                let constant_ratio = matches!(
                    surrogate,
                    Surrogate::Cispo { .. } | Surrogate::DppoTv { .. } | Surrogate::DppoKl { .. }
                );
                run(moved, if constant_ratio { &followed } else { &old }).0
            });
            assert_close(&[slope], &[want], 1e-6);
        }
    }
}

#[test]
fn padding_changes_nothing_in_any_surrogate() {
    let (clean, spoilt) = ([-1.0, 7.0, -0.5], [-1.0, f64::NAN, -0.5]);
    let (old, spoilt_old) = ([-1.1, 3.0, -0.4], [-1.1, f64::INFINITY, -0.4]);
    let mask = RowMask::bytes(&[1, 0, 1], 1, 3).unwrap();
    for surrogate in every_surrogate() {
        let config = PolicyConfig { surrogate, ..PolicyConfig::default() };
        let run = |logp: &[f64], old: &[f64], advantages: &[f64], weights: &[f64]| {
            let batch = PolicyBatch::new(mask, logp, old, advantages).with_correction(weights);
            let mut slopes = [9.0; 3];
            (policy_loss(&config, &batch, &mut slopes).unwrap(), slopes)
        };
        let spoilt = run(&spoilt, &spoilt_old, &[1.0, f64::NAN, 1.0], &[0.5, f64::NAN, 1.5]);
        assert_eq!(run(&clean, &old, &[1.0; 3], &[0.5, 1.0, 1.5]), spoilt);
    }
}

/// A token far from the old policy gives finite numbers, or an error that names the loss; never an
/// infinite one.
#[test]
fn far_tokens_are_finite_or_reported_by_name() {
    let far = [20.0_f32, 30.0, 87.0, 89.0, 200.0, 1e4, 3e38];
    let mask = RowMask::lens(&[2, 3], 3).unwrap();
    for (surrogate, &distance) in
        every_surrogate().iter().flat_map(|s| far.iter().map(move |d| (*s, d)))
    {
        for (place, advantage) in [(0, 1.0_f32), (1, -1.0), (4, -1.0)] {
            let (mut logp, mut old, mut slopes) = ([-1.0_f32; 6], [-1.0_f32; 6], [9.0_f32; 6]);
            if advantage > 0.0 {
                logp[place] = -distance;
            } else {
                old[place] = -distance;
            }
            let config = PolicyConfig { surrogate, ..PolicyConfig::default() };
            let advantages = [advantage; 6];
            let batch = PolicyBatch::new(mask, &logp, &old, &advantages);
            match policy_loss(&config, &batch, &mut slopes) {
                Ok(report) => {
                    assert!(report.loss.is_finite(), "{surrogate:?} {distance}");
                    assert!(slopes.iter().all(|x| x.is_finite()), "{surrogate:?} {distance}");
                }
                Err(error) => assert_eq!(error, OptimError::Overflow { what: "loss" }),
            }
        }
    }
}

/// The choice is the same on every call, moves with the seed, and has the size asked for.
#[test]
fn clip_cov_leaves_out_the_share_of_tokens_that_it_says() {
    let noise = |seed: usize| (0..400).map(move |at| ((at * 7 + seed * 13) as f64 * 1.7).sin());
    let logp: Vec<f64> = noise(1).map(|x| x - 2.0).collect();
    let advantages: Vec<f64> = noise(2).collect();
    let run = |seed, share| {
        let surrogate =
            Surrogate::ClipCov { clip: ClipRange::default(), share, low: -9.0, high: 9.0, seed };
        let batch = PolicyBatch::new(RowMask::full(20, 20), &logp, &logp, &advantages);
        let mut slopes = vec![9.0; 400];
        let config = PolicyConfig { surrogate, ..PolicyConfig::default() };
        let report = policy_loss(&config, &batch, &mut slopes).unwrap();
        (report.clip_fraction, slopes)
    };
    assert_eq!(run(1, 0.05), run(1, 0.05));
    assert_ne!(run(1, 0.05).1, run(2, 0.05).1);
    for (share, want) in [(0.05, 20.0 / 400.0), (1e-9, 1.0 / 400.0)] {
        let (fraction, slopes) = run(1, share);
        assert_close(&[fraction], &[want], 1e-15);
        let zeros = slopes.iter().filter(|slope| slope.abs() < 1e-300).count();
        assert_close(&[zeros as f64], &[want * 400.0], 1e-12);
    }
}

/// All pairs of a surrogate and an aggregation.
fn pairs<'a>(
    surrogates: &'a [Surrogate],
    modes: &'a [Aggregation],
) -> impl Iterator<Item = (Surrogate, &'a Aggregation)> {
    surrogates.iter().flat_map(move |&surrogate| modes.iter().map(move |mode| (surrogate, mode)))
}

proptest! {
    #[test]
    fn the_gradient_matches_central_differences(case in cases()) {
        let (_, dlogp) = case.run(None);
        for (slot, &slope) in dlogp.iter().enumerate() {
            if case.near_a_kink(slot) {
                continue;
            }
            let want = central_difference(&case.logp, slot, |logp| {
                Case { logp: logp.to_vec(), ..case.clone() }.run(None).0.loss
            });
            assert_close(&[slope], &[want], 1e-6);
        }
    }

    #[test]
    fn padding_changes_nothing(
        case in cases(),
        junk in prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300]),
    ) {
        let spoil = |xs: &[f64]| -> Vec<f64> {
            xs.iter().zip(&case.bytes).map(|(&x, &valid)| if valid == 0 { junk } else { x }).collect()
        };
        let spoilt = Case {
            logp: spoil(&case.logp),
            old: spoil(&case.old),
            advantages: spoil(&case.advantages),
            ..case.clone()
        };
        assert_eq!(case.run(None), spoilt.run(None));
    }

    #[test]
    fn the_order_of_rows_does_not_matter(case in cases()) {
        let (report, dlogp) = case.run(None);
        let (backwards, reversed) = case.rows((0..ROWS).rev()).run(None);
        assert_close(&[backwards.loss, backwards.approx_kl], &[report.loss, report.approx_kl], 1e-12);
        let back: Vec<f64> = reversed.chunks(WIDTH).rev().flatten().copied().collect();
        assert_eq!(back, dlogp);
    }

    /// verl#5625, #7200, #7321, #906: every micro-batch was divided by its own count.
    #[test]
    fn micro_batches_with_the_divisors_of_the_whole_batch_add_up_to_it(case in cases(), cut in 1..ROWS) {
        let (whole, dlogp) = case.run(None);
        let (head, tail) = (case.rows(0..cut), case.rows(cut..ROWS));
        let normaliser = Normaliser::of(&head.mask()).merge(Normaliser::of(&tail.mask()));
        let (a, b) = (head.run(Some(normaliser)), tail.run(Some(normaliser)));
        assert_close(&[a.0.loss + b.0.loss], &[whole.loss], 1e-12);
        assert_close(&[a.1, b.1].concat(), &dlogp, 1e-15);
    }

    #[test]
    fn f32_agrees_with_f64(case in cases()) {
        let single = |xs: &[f64]| xs.iter().map(|&x| x as f32).collect::<Vec<f32>>();
        let (logp, old, advantages) = (single(&case.logp), single(&case.old), single(&case.advantages));
        let mut dlogp = vec![0.0_f32; ROWS * WIDTH];
        let batch = PolicyBatch::new(case.mask(), &logp, &old, &advantages);
        let report = ppo_loss(&case.config, &batch, &mut dlogp).unwrap();
        let (want, slopes) = case.run(None);
        assert_close(&[report.loss], &[want.loss], 2e-5);
        for slot in (0..ROWS * WIDTH).filter(|&slot| !case.near_a_kink(slot)) {
            assert_close(&[f64::from(dlogp[slot])], &[slopes[slot]], 2e-5);
        }
    }
}

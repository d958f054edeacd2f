//! Rollout corrections, controllers and the fusion.

use guerdon_optim::reward::combine::repo;
use guerdon_optim::{
    CorrectionBatch, CorrectionConfig, CorrectionLevel, Divergence, Float, KlController, Rejection,
    RejectionScope, WeightBound, importance_weights, rejection_mask,
};

use crate::golden::COUNT;
use crate::golden::case::{Case, all};

fn weights_agree<F: Float>(case: &Case) {
    let (old, rollout) = (case.input::<F>("old"), case.input::<F>("rollout"));
    let token = CorrectionConfig::default();
    let ops = [
        ("is_token_2", token),
        ("is_seq_2", CorrectionConfig { level: CorrectionLevel::Sequence, ..token }),
        (
            "is_token_icepop_0.9_1.1",
            CorrectionConfig { bound: WeightBound::Drop { low: 0.9, high: 1.1 }, ..token },
        ),
        ("is_token_2_batchnorm", CorrectionConfig { normalise: true, ..token }),
    ];
    for (op, config) in ops {
        let mut out = case.zeros::<F>();
        importance_weights(&config, &CorrectionBatch::new(case.mask(), &old, &rollout), &mut out)
            .unwrap();
        case.expect(&out, op, "out", COUNT);
    }
}

#[test]
fn importance_weights_agree() {
    for case in all().iter().filter(|case| case.output("is_token_2", "out").is_some()) {
        weights_agree::<f64>(case);
        weights_agree::<f32>(case);
    }
}

#[test]
fn rejection_masks_agree() {
    let above = Rejection::above;
    let ops = [
        ("rs_token_k1", Rejection::of_ratio(RejectionScope::Token, 0.9, 1.1)),
        ("rs_token_k2", above(RejectionScope::Token, Divergence::K2, 0.005)),
        ("rs_token_k3", above(RejectionScope::Token, Divergence::K3, 0.005)),
        ("rs_seq_sum_k1", Rejection::of_ratio(RejectionScope::RowSum, 0.8, 1.2)),
        ("rs_seq_mean_k1", Rejection::of_ratio(RejectionScope::RowMean, 0.95, 1.05)),
        ("rs_seq_mean_k3", above(RejectionScope::RowMean, Divergence::K3, 0.002)),
        ("rs_seq_max_k2", above(RejectionScope::RowMax, Divergence::K2, 0.01)),
        ("rs_seq_max_k3", above(RejectionScope::RowMax, Divergence::K3, 0.01)),
    ];
    let mut compared = 0;
    for case in all().iter().filter(|case| case.output("rs_token_k1", "out").is_some()) {
        let (old, rollout) = (case.input::<f64>("old"), case.input::<f64>("rollout"));
        for (op, rule) in ops {
            let mut kept = vec![9; case.mask.len()];
            rejection_mask(&[rule], &CorrectionBatch::new(case.mask(), &old, &rollout), &mut kept)
                .unwrap();
            let kept: Vec<f64> = kept.into_iter().map(f64::from).collect();
            compared += usize::from(case.expect(&kept, op, "out", 0.0));
        }
    }
    assert!(compared >= 40, "{compared}");
}

#[test]
fn the_adaptive_controller_and_the_fusion_agree() {
    let json: serde_json::Value =
        serde_json::from_str(include_str!("../../golden/controllers.json")).unwrap();
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    let kl = &json["adaptive_kl"];
    let mut beta =
        KlController::adaptive(number(&kl["init"]), number(&kl["target"]), number(&kl["horizon"]))
            .unwrap();
    for step in kl["steps"].as_array().unwrap() {
        beta.update(number(&step["kl"]), number(&kl["n_steps"]) as usize);
        assert!((beta.value() - number(&step["value"])).abs() < 1e-14, "{step}");
    }
    let points = json["repo_fusion"].as_array().unwrap();
    assert_eq!(points.len(), 49);
    for point in points {
        let got = repo(number(&point["r_model"]), number(&point["raw"]), 100.0).unwrap();
        assert!((got - number(&point["r_total"])).abs() <= 1e-15 * got.abs(), "{point}");
    }
}

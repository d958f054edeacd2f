//! Policy and value losses with their gradients, and the log-probs and entropies of logits.

use guerdon_optim::{
    Aggregation, ClipRange, CorrectionBatch, CorrectionConfig, Float, LogitsBatch, PolicyBatch,
    PolicyConfig, Surrogate, ValueBatch, ValueConfig, WeightBound, importance_weights,
    logits_gradient, policy_loss, token_logp, value_loss,
};

use crate::golden::case::{Case, all, flat};
use crate::golden::{COUNT, EXACT};

/// The advantages that the references used: whitened where verl could whiten, else the token
/// rewards. One file holds neither; there they are read off the gradient of token-sum PPO, which on
/// policy is `-A`.
fn advantages<F: Float>(case: &Case) -> Vec<F> {
    let from_gradient = || {
        let slopes = case.output("ppo_vanilla__token-sum", "grad")?;
        Some(slopes.into_iter().map(|slope| -slope).collect())
    };
    let from = case.output("gae_g0.99_l0.95", "adv_white");
    let from: Option<Vec<f64>> =
        from.or_else(|| case.output("token_rewards_k1", "out")).or_else(from_gradient);
    from.unwrap().into_iter().map(F::from_f64).collect()
}

/// Runs one configuration against one reference; the correction is one of the trainer's own making.
fn agrees<F: Float>(
    case: &Case,
    op: &str,
    config: PolicyConfig,
    correction: Option<CorrectionConfig>,
) {
    let (logp, old, advantages) =
        (case.input::<F>("logp"), case.input::<F>("old"), advantages(case));
    let (mut slope, mut weights) = (case.zeros::<F>(), case.zeros::<F>());
    let mut batch = PolicyBatch::new(case.mask(), &logp, &old, &advantages);
    if let Some(correction) = correction {
        let rollout = case.input::<F>("rollout");
        let engines = CorrectionBatch::new(case.mask(), &old, &rollout);
        importance_weights(&correction, &engines, &mut weights).unwrap();
        batch = batch.with_correction(&weights);
    }
    let report = policy_loss(&config, &batch, &mut slope).unwrap();
    let number = |x: f64| [F::from_f64(x)];
    case.expect(&number(report.loss), op, "loss", COUNT);
    case.expect(&slope, op, "grad", COUNT);
    // For GMPO verl counts every log-ratio outside the range, ours those that the clip took the
    // gradient of.
    if !op.starts_with("geo_mean") {
        case.expect(&number(report.clip_fraction), op, "pg_clipfrac", COUNT);
        case.expect(&number(report.dual_clip_fraction), op, "pg_clipfrac_lower", COUNT);
        case.expect(&number(report.clip_fraction), op, "clip_ratio", COUNT);
    }
    // GSPO and DRO report the KL of unclamped log-ratios; ours are clamped to 20.
    // KL-Cov reports the mean of absolute log-ratios.
    if case.name != "extreme_ratio" && !op.starts_with("kl_cov") {
        case.expect(&number(report.approx_kl), op, "ppo_kl", COUNT);
    }
}

/// Batches with ratios beyond ours, which are clamped; verl's Clip-Cov and KL-Cov do not clamp.
const UNCLAMPED: [&str; 1] = ["extreme_ratio"];

fn both(op: &str, config: PolicyConfig, correction: Option<CorrectionConfig>) {
    for case in all() {
        agrees::<f64>(&case, op, config, correction);
        agrees::<f32>(&case, op, config, correction);
    }
}

fn ppo(clip: ClipRange, dual: Option<f64>) -> PolicyConfig {
    PolicyConfig { surrogate: Surrogate::Ppo { clip, dual }, ..PolicyConfig::default() }
}

#[test]
fn ppo_agrees_in_every_aggregation() {
    for &aggregation in Aggregation::ALL {
        let op = format!("ppo_vanilla__{}", aggregation.name().replace('_', "-"));
        both(&op, PolicyConfig { aggregation, ..ppo(ClipRange::default(), Some(3.0)) }, None);
    }
}

#[test]
fn clip_higher_dual_clip_and_the_forms_of_openrlhf_agree() {
    let clip = ClipRange::default();
    both("ppo_cliphigher_c2", ppo(ClipRange { high: 0.28, ..clip }, Some(2.0)), None);
    both("openrlhf_ppo", ppo(clip, None), None);
    both("openrlhf_ppo_dual3", ppo(clip, Some(3.0)), None);
    let rows = PolicyConfig { aggregation: Aggregation::SeqMeanTokenMean, ..ppo(clip, None) };
    both("openrlhf_seqmean", rows, None);
}

#[test]
fn corrected_losses_agree() {
    let (clip, config) = (ClipRange::default(), CorrectionConfig::default());
    both("ppo_tis_token", ppo(clip, Some(3.0)), Some(config));
    let drop = CorrectionConfig { bound: WeightBound::Drop { low: 0.9, high: 1.1 }, ..config };
    both("openrlhf_icepop", ppo(clip, None), Some(drop));
    let rows =
        CorrectionConfig { bound: WeightBound::DropRows { low: 0.95, high: 1.05 }, ..config };
    both("openrlhf_seqmasktis", ppo(clip, None), Some(rows));
}

#[test]
fn the_other_surrogates_agree() {
    let clip = ClipRange::default();
    let narrow = ClipRange { low: 3e-4, high: 4e-4 };
    let rows = |surrogate| PolicyConfig { surrogate, aggregation: Aggregation::SeqMeanTokenMean };
    let tokens = |surrogate| PolicyConfig { surrogate, ..PolicyConfig::default() };
    let sapo = Surrogate::Sapo { tau_positive: 1.0, tau_negative: 1.05 };
    // verl's advantages vary within rows, so its GSPO is GSPO-token.
    both("gspo__seq-mean-token-mean", rows(Surrogate::GspoToken { clip: narrow }), None);
    both("gspo__token-mean", tokens(Surrogate::GspoToken { clip: narrow }), None);
    let total = Surrogate::DppoTv { clip: ClipRange { low: 0.15, high: 0.15 }, max_ratio: 20.0 };
    both("dppo_tv", tokens(total), None);
    let divergence =
        Surrogate::DppoKl { clip: ClipRange { low: 0.05, high: 0.05 }, max_ratio: 20.0 };
    both("dppo_kl", tokens(divergence), None);
    // The band is wide enough for all its tokens to be left out, whatever the random choice.
    let (low, high) = (0.05, 50.0);
    let clip_cov = Surrogate::ClipCov { clip, share: 1.0, low, high, seed: 7 };
    let kl_cov = Surrogate::KlCov { share: 0.1, coefficient: 1.0 };
    for case in all().iter().filter(|case| !UNCLAMPED.contains(&case.name)) {
        agrees::<f64>(case, "clip_cov_all_in_band", tokens(clip_cov), None);
        agrees::<f32>(case, "clip_cov_all_in_band", tokens(clip_cov), None);
        agrees::<f64>(case, "kl_cov_top10pct", tokens(kl_cov), None);
        agrees::<f32>(case, "kl_cov_top10pct", tokens(kl_cov), None);
    }
    both("sapo__seq-mean-token-mean", rows(sapo), None);
    both("cispo__token-mean", tokens(Surrogate::Cispo { clip }), None);
    both("dro__token-mean", tokens(Surrogate::Dro { beta: 0.1 }), None);
    both("gpg__token-mean", tokens(Surrogate::Reinforce), None);
    for case in all() {
        // verl averages GMPO over all rows, including empty ones.
        if case.name != "masked_rows" && case.name != "one_valid_token" {
            agrees::<f64>(&case, "geo_mean__token-mean", rows(Surrogate::Gmpo { clip }), None);
            agrees::<f32>(&case, "geo_mean__token-mean", rows(Surrogate::Gmpo { clip }), None);
        }
    }
}

fn value_agrees<F: Float>(case: &Case) {
    let Some(returns) = case.output("gae_g0.99_l0.95", "ret") else { return };
    let returns: Vec<F> = returns.into_iter().map(F::from_f64).collect();
    let (values, new) = (case.input::<F>("values"), case.input::<F>("vpreds"));
    for &aggregation in Aggregation::ALL {
        let op = format!("value_clip0.5__{}", aggregation.name().replace('_', "-"));
        let mut slope = case.zeros::<F>();
        let batch = ValueBatch::new(case.mask(), &new, &values, &returns);
        let report =
            value_loss(&ValueConfig { clip: Some(0.5), aggregation }, &batch, &mut slope).unwrap();
        case.expect(&[F::from_f64(report.loss)], &op, "loss", COUNT);
        case.expect(&slope, &op, "grad", COUNT);
        case.expect(&[F::from_f64(report.clip_fraction)], &op, "clipfrac", COUNT);
    }
}

#[test]
fn the_value_loss_and_its_gradient_agree_in_every_aggregation() {
    all().iter().for_each(|case| {
        value_agrees::<f64>(case);
        value_agrees::<f32>(case);
    });
}

#[test]
fn log_probs_and_entropies_of_logits_and_their_gradient_agree() {
    let json: serde_json::Value =
        serde_json::from_str(include_str!("../../golden/vocab.json")).unwrap();
    let (inputs, outputs) = (&json["inputs"], &json["outputs"]);
    let close = |got: &[f64], want: &[f64]| {
        assert_eq!(got.len(), want.len());
        assert!(
            got.iter().zip(want).all(|(got, want)| (got - want).abs() < EXACT),
            "{got:?} {want:?}"
        );
    };
    let single = |name: &str| -> Vec<f64> {
        flat(&inputs[name]).into_iter().map(|x| f64::from(x as f32)).collect()
    };
    let logits = single("logits");
    let labels: Vec<usize> =
        flat(&inputs["labels"]).into_iter().map(|label| label as usize).collect();
    let batch = LogitsBatch::new(&logits, &labels, logits.len() / labels.len());
    let (mut logp, mut entropy) = (vec![0.0; labels.len()], vec![0.0; labels.len()]);
    token_logp(&batch, &mut logp, &mut entropy).unwrap();
    close(&logp, &flat(&outputs["logp"]));
    close(&entropy, &flat(&outputs["entropy"]));
    let mut slope = vec![0.0; logits.len()];
    logits_gradient(&batch, &single("upstream_logp"), &single("upstream_entropy"), &mut slope)
        .unwrap();
    close(&slope, &flat(&outputs["grad_logits"]));
}

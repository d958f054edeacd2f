//! A batch of a million slots, for which the reference has digests: count, sum, norm, maximum, and
//! 48 elements.

use guerdon_optim::{
    Aggregation, Float, GaeBatch, GaeConfig, KlBatch, KlConfig, KlEstimator, KlRewardConfig,
    Lambda, PolicyBatch, PolicyConfig, RowMask, Surrogate, ValueBatch, ValueConfig, WhitenConfig,
    gae, kl_penalty, policy_loss, token_rewards, value_loss, whiten,
};
use serde_json::Value;

use crate::golden::case::flat;
use crate::golden::inputs::Recipe;

struct Big {
    outputs: Value,
    /// In f64 relative to the greatest element; in f32 as
    /// [`Case::expect`](crate::golden::case::Case::expect).
    rtol: f64,
}

impl Big {
    fn limit<F: Float>(&self, op: &str, field: &str, greatest: f64) -> f64 {
        let lost = &self.outputs[op][format!("{field}_err32")];
        if size_of::<F>() == 8 {
            self.rtol * greatest + 1e-12
        } else {
            4.0 * lost.as_f64().unwrap_or(0.0) + 4.0 * f64::from(f32::EPSILON) * greatest.max(1e-6)
        }
    }

    fn slice<F: Float>(&self, got: &[F], op: &str, field: &str) {
        let want = &self.outputs[op][field];
        let greatest = want["absmax"].as_f64().unwrap();
        let limit = self.limit::<F>(op, field, greatest);
        let at: Vec<usize> = flat(&want["at"]).into_iter().map(|at| at as usize).collect();
        for (at, want) in at.into_iter().zip(flat(&want["val"])) {
            let got = got[at].to_f64();
            assert!(
                (got - want).abs() <= limit,
                "{op} {field} at {at}: got {got}, want {want}, limit {limit:e}"
            );
        }
        let most = got.iter().fold(0.0_f64, |most, x| most.max(x.to_f64().abs()));
        assert!((most - greatest).abs() <= limit, "{op} {field}: greatest {most}, want {greatest}");
        let norm = got.iter().map(|x| x.to_f64().powi(2)).sum::<f64>().sqrt();
        let want = want["l2"].as_f64().unwrap();
        assert!(
            (norm - want).abs() <= limit / greatest.max(1e-300) * want + limit,
            "{op} {field}: {norm}, want {want}"
        );
    }

    fn number<F: Float>(&self, got: f64, op: &str, field: &str) {
        let want = self.outputs[op][field].as_f64().unwrap();
        let limit = self.limit::<F>(op, field, want.abs());
        assert!(
            (got - want).abs() <= limit,
            "{op} {field}: got {got}, want {want}, limit {limit:e}"
        );
    }
}

fn agrees<F: Float>() {
    let json: Value =
        serde_json::from_str(include_str!("../../golden/big_1024x1024.json")).unwrap();
    let recipe = Recipe { seed: 22, rows: 1024, width: 1024, min_len: 1 };
    let big = Big { outputs: json["outputs"].clone(), rtol: 2e-8 };
    let lens = recipe.lens();
    let mask = RowMask::lens(&lens, recipe.width).unwrap();
    let of =
        |xs: Vec<f32>| -> Vec<F> { xs.into_iter().map(|x| F::from_f64(f64::from(x))).collect() };
    let zeros = || vec![F::ZERO; mask.slots()];
    let (logp, old, reference) = (of(recipe.logp()), of(recipe.old()), of(recipe.reference()));
    let (values, new_values, scores) =
        (of(recipe.values()), of(recipe.new_values()), of(recipe.scores()));

    let (mut kl, mut slope) = (zeros(), zeros());
    for (op, estimator) in
        [("kl_k1", KlEstimator::K1), ("kl_k2", KlEstimator::K2), ("kl_k3", KlEstimator::K3)]
    {
        let config = KlConfig { estimator, ..KlConfig::default() };
        kl_penalty(&config, &KlBatch::new(mask, &logp, &reference), &mut kl, &mut slope).unwrap();
        big.slice(&kl, op, "out");
        big.slice(&slope, op, "grad");
    }

    let mut rewards = zeros();
    let charged = KlBatch::new(mask, &old, &reference);
    token_rewards(&KlRewardConfig::default(), &charged, &scores, &mut rewards).unwrap();
    big.slice(&rewards, "token_rewards_k1", "out");

    let (mut advantages, mut returns) = (zeros(), zeros());
    let config = GaeConfig { gamma: 0.99, lambda: Lambda::Constant(0.95), value_lambda: None };
    gae(&config, &GaeBatch::new(mask, &rewards, &values), &mut advantages, &mut returns).unwrap();
    big.slice(&advantages, "gae_g0.99_l0.95", "adv_raw");
    big.slice(&returns, "gae_g0.99_l0.95", "ret");
    whiten(&WhitenConfig::default(), &mask, &mut advantages).unwrap();
    big.slice(&advantages, "gae_g0.99_l0.95", "adv_white");

    let mut dlogp = zeros();
    for &aggregation in Aggregation::ALL {
        let op = format!("ppo_vanilla__{}", aggregation.name().replace('_', "-"));
        let surrogate = Surrogate::Ppo { clip: Default::default(), dual: Some(3.0) };
        let batch = PolicyBatch::new(mask, &logp, &old, &advantages);
        let report =
            policy_loss(&PolicyConfig { surrogate, aggregation }, &batch, &mut dlogp).unwrap();
        big.number::<F>(report.loss, &op, "loss");
        big.number::<F>(report.approx_kl, &op, "ppo_kl");
        big.slice(&dlogp, &op, "grad");
        let op = op.replace("ppo_vanilla", "value_clip0.5");
        let batch = ValueBatch::new(mask, &new_values, &values, &returns);
        let report =
            value_loss(&ValueConfig { clip: Some(0.5), aggregation }, &batch, &mut dlogp).unwrap();
        big.number::<F>(report.loss, &op, "loss");
        big.slice(&dlogp, &op, "grad");
    }
}

#[test]
fn a_million_slots_agree_in_f64() {
    agrees::<f64>();
}

#[test]
fn a_million_slots_agree_in_f32() {
    agrees::<f32>();
}

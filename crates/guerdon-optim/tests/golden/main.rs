//! Agreement with verl 0.9.1 and OpenRLHF 0.11.2 on small reference batches; see README.md beside this file.

#[cfg(test)]
mod case;
#[cfg(test)]
mod inputs;

#[cfg(test)]
mod tests {
    use guerdon_optim::{
        Aggregation, Estimator, GaeBatch, GaeConfig, GroupBatch, GroupConfig, KlBatch, KlConfig, KlEstimator,
        KlRewardConfig, PpoBatch, PpoConfig, RowMask, ValueBatch, ValueConfig, WhitenConfig, gae, kl_penalty,
        ppo_loss, token_advantages, token_rewards, value_loss, whiten,
    };

    use crate::case::Case;
    use crate::inputs::Recipe;

    /// Against verl, in f64.
    const RTOL: f64 = 1e-8;
    /// Where verl adds 1e-8 to a count or a sum that may be 1.
    const RTOL_COUNT: f64 = 2e-8;

    macro_rules! case {
        ($name:literal) => {
            Case::read($name, include_str!(concat!($name, ".json")))
        };
    }

    fn cases() -> Vec<Case> {
        vec![
            case!("basic"),
            case!("interior_mask"),
            case!("singleton_groups"),
            case!("zero_std"),
            case!("nan_in_padding_expected"),
            case!("one_valid_token"),
        ]
    }

    fn mask(case: &Case) -> RowMask<'_> {
        RowMask::bytes(&case.mask, case.rows, case.width).unwrap()
    }

    fn zeros(case: &Case) -> Vec<f64> {
        vec![0.0; case.mask.len()]
    }

    #[test]
    fn the_generator_reproduces_the_inputs_bit_for_bit() {
        let case = case!("basic");
        let recipe = Recipe { seed: 1, rows: 6, width: 9 };
        let wide = |xs: Vec<f32>| xs.into_iter().map(f64::from).collect::<Vec<_>>();
        let lens = recipe.lens();
        assert_eq!((0..6).map(|row| mask(&case).count(row)).collect::<Vec<_>>(), lens);
        assert_eq!(wide(recipe.logp()), case.input("logp"));
        assert_eq!(wide(recipe.old()), case.input("old"));
        assert_eq!(wide(recipe.reference()), case.input("ref"));
        assert_eq!(wide(recipe.values()), case.input("values"));
        assert_eq!(wide(recipe.new_values()), case.input("vpreds"));
        assert_eq!(wide(recipe.scores()), case.input("scores"));
        for (name, seed, rows, width) in [("singleton_groups", 3, 5, 7), ("interior_mask", 6, 4, 8)] {
            let case = cases().into_iter().find(|case| case.name == name).unwrap();
            assert_eq!(wide(Recipe { seed, rows, width }.scores()), case.input("scores"));
        }
    }

    #[test]
    fn kl_estimates_and_their_gradients_agree() {
        let names = [
            (KlEstimator::K1, "kl_k1"),
            (KlEstimator::K2, "kl_k2"),
            (KlEstimator::K3, "kl_k3"),
            (KlEstimator::Abs, "kl_abs"),
        ];
        for case in cases() {
            let (logp, reference) = (case.input("logp"), case.input("ref"));
            for (estimator, op) in names {
                let config = KlConfig { estimator, ..KlConfig::default() };
                let (mut kl, mut slope) = (zeros(&case), zeros(&case));
                let batch = KlBatch::new(mask(&case), &logp, &reference);
                kl_penalty(&config, &batch, &mut kl, &mut slope).unwrap();
                case.expect(&kl, op, "out", RTOL);
                case.expect(&slope, op, "grad", RTOL);
            }
        }
    }

    fn rewards(case: &Case) -> Vec<f64> {
        let (old, reference, scores) = (case.input("old"), case.input("ref"), case.input("scores"));
        let mut out = zeros(case);
        let batch = KlBatch::new(mask(case), &old, &reference);
        token_rewards(&KlRewardConfig::default(), &batch, &scores, &mut out).unwrap();
        out
    }

    #[test]
    fn token_rewards_agree() {
        for case in cases() {
            case.expect(&rewards(&case), "token_rewards_k1", "out", RTOL);
        }
    }

    #[test]
    fn whitening_agrees() {
        for case in cases().iter().filter(|case| case.try_output("whiten", "out").is_some()) {
            let (mut centred, mut kept) = (rewards(case), rewards(case));
            let config = WhitenConfig::default();
            let before = whiten(&config, &mask(case), &mut centred).unwrap();
            whiten(&WhitenConfig { centre: false, ..config }, &mask(case), &mut kept).unwrap();
            case.expect(&centred, "whiten", "out", RTOL);
            case.expect(&kept, "whiten", "out_noshift", RTOL);
            case.expect(&[before.mean], "whiten", "mean", RTOL);
            case.expect(&[before.variance], "whiten", "var", RTOL);
        }
    }

    #[test]
    fn gae_agrees_with_verl_with_and_without_interior_gaps() {
        let settings =
            [("gae_g1.0_l1.0", 1.0, 1.0), ("gae_g1.0_l0.95", 1.0, 0.95), ("gae_g0.99_l0.95", 0.99, 0.95)];
        for case in cases().iter().filter(|case| case.try_output("gae_g1.0_l1.0", "ret").is_some()) {
            let (rewards, values) = (rewards(case), case.input("values"));
            for (op, gamma, lambda) in settings {
                let (mut advantages, mut returns) = (zeros(case), zeros(case));
                let batch = GaeBatch::new(mask(case), &rewards, &values);
                gae(&GaeConfig { gamma, lambda }, &batch, &mut advantages, &mut returns).unwrap();
                case.expect(&advantages, op, "adv_raw", RTOL);
                case.expect(&returns, op, "ret", RTOL);
                whiten(&WhitenConfig::default(), &mask(case), &mut advantages).unwrap();
                case.expect(&advantages, op, "adv_white", RTOL);
            }
        }
    }

    #[test]
    fn group_estimators_agree_except_where_a_rollout_has_no_sibling() {
        let names = [(Estimator::Grpo, "grpo"), (Estimator::DrGrpo, "grpo_nostd"), (Estimator::Rloo, "rloo")];
        for case in cases() {
            let (scores, groups) = (case.input("scores"), case.groups());
            for (estimator, op) in names {
                let mut out = zeros(&case);
                let config = GroupConfig { estimator, ..GroupConfig::default() };
                let batch = GroupBatch::new(mask(&case), &scores, &groups);
                token_advantages(&config, &batch, &mut out).unwrap();
                // verl keeps the raw score of a group of one, and counts a row without tokens as a reward of 0.
                if ["singleton_groups", "one_valid_token"].contains(&case.name) {
                    assert_eq!(out, zeros(&case));
                } else {
                    case.expect(&out, op, "out", RTOL);
                }
            }
        }
    }

    fn ppo_advantages(case: &Case) -> Vec<f64> {
        case.try_output("gae_g0.99_l0.95", "adv_white")
            .unwrap_or_else(|| case.output("token_rewards_k1", "out"))
    }

    #[test]
    fn the_policy_loss_and_its_gradient_agree_in_every_aggregation() {
        for case in cases() {
            let (logp, old, advantages) = (case.input("logp"), case.input("old"), ppo_advantages(&case));
            for &aggregation in Aggregation::ALL {
                let op = format!("ppo_vanilla__{}", aggregation.name().replace('_', "-"));
                let config = PpoConfig { dual_clip: Some(3.0), aggregation, ..PpoConfig::default() };
                let mut slope = zeros(&case);
                let batch = PpoBatch::new(mask(&case), &logp, &old, &advantages);
                let report = ppo_loss(&config, &batch, &mut slope).unwrap();
                case.expect(&[report.loss], &op, "loss", RTOL_COUNT);
                case.expect(&slope, &op, "grad", RTOL_COUNT);
                case.expect(&[report.clip_fraction], &op, "pg_clipfrac", RTOL_COUNT);
                case.expect(&[report.dual_clip_fraction], &op, "pg_clipfrac_lower", RTOL_COUNT);
                case.expect(&[report.approx_kl], &op, "ppo_kl", RTOL_COUNT);
            }
        }
    }

    #[test]
    fn clip_higher_dual_clip_and_openrlhf_s_plain_clip_agree() {
        let higher = PpoConfig { clip_high: 0.28, dual_clip: Some(2.0), ..PpoConfig::default() };
        let settings = [("ppo_cliphigher_c2", higher), ("openrlhf_ppo", PpoConfig::default())];
        for case in cases() {
            let (logp, old, advantages) = (case.input("logp"), case.input("old"), ppo_advantages(&case));
            for (op, config) in settings {
                let mut slope = zeros(&case);
                let batch = PpoBatch::new(mask(&case), &logp, &old, &advantages);
                let report = ppo_loss(&config, &batch, &mut slope).unwrap();
                case.expect(&[report.loss], op, "loss", RTOL);
                case.expect(&slope, op, "grad", RTOL);
            }
        }
    }

    #[test]
    fn the_value_loss_and_its_gradient_agree_in_every_aggregation() {
        for case in cases().iter().filter(|case| case.try_output("gae_g0.99_l0.95", "ret").is_some()) {
            let returns = case.output("gae_g0.99_l0.95", "ret");
            let (values, new) = (case.input("values"), case.input("vpreds"));
            for &aggregation in Aggregation::ALL {
                let op = format!("value_clip0.5__{}", aggregation.name().replace('_', "-"));
                let mut slope = zeros(case);
                let batch = ValueBatch::new(mask(case), &new, &values, &returns);
                let report =
                    value_loss(&ValueConfig { clip: Some(0.5), aggregation }, &batch, &mut slope).unwrap();
                case.expect(&[report.loss], &op, "loss", RTOL_COUNT);
                case.expect(&slope, &op, "grad", RTOL_COUNT);
                case.expect(&[report.clip_fraction], &op, "clipfrac", RTOL_COUNT);
            }
        }
    }

    #[test]
    fn nan_in_padding_gives_what_zeros_there_give() {
        let (spoilt, clean) = (case!("nan_in_padding"), case!("nan_in_padding_expected"));
        assert!(spoilt.input("values").iter().any(|value| value.is_nan()));
        let whole = |case: &Case| {
            let (rewards, values) = (rewards(case), case.input("values"));
            let (mut advantages, mut returns) = (zeros(case), zeros(case));
            let (mut dlogp, mut dvalues) = (zeros(case), zeros(case));
            let batch = GaeBatch::new(mask(case), &rewards, &values);
            gae(&GaeConfig::default(), &batch, &mut advantages, &mut returns).unwrap();
            whiten(&WhitenConfig::default(), &mask(case), &mut advantages).unwrap();
            let (logp, old, new) = (case.input("logp"), case.input("old"), case.input("vpreds"));
            let batch = PpoBatch::new(mask(case), &logp, &old, &advantages);
            let policy = ppo_loss(&PpoConfig::default(), &batch, &mut dlogp).unwrap();
            let batch = ValueBatch::new(mask(case), &new, &values, &returns);
            let value = value_loss(&ValueConfig::default(), &batch, &mut dvalues).unwrap();
            (rewards, advantages, returns, policy, dlogp, value, dvalues)
        };
        assert_eq!(whole(&spoilt), whole(&clean));
    }
}

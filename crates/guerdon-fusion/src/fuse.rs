//! The reward of a turn from its signals, and of a rollout from its turns. Pure functions of
//! numbers and configuration.

use guerdon_types::{Aggregate, FusionConfig, FusionMethod, InnerMethod, OnAbstain};

use crate::table::TurnSignals;
use crate::{Standing, enhancement, repo_with_floor, soft_min_of_terms, weighted_sum};

/// The reward of one turn; `None` if the configuration cannot make one from these signals.
///
/// A base source (RM) that was asked and abstained, even in part, voids the turn in every method,
/// for every `on_abstain`: a sum over the remaining sources would be on another scale than the
/// rewards of the turn's siblings.
///
/// - `repo`: [`repo_with_floor`]`(R, clip(E, -n, n), n, delta)`, the paper's [`repo`](crate::repo)
///   at `delta = 0`; needs the RM. A missing judge or rule signal is left out of `E`.
/// - `weighted_sum`: [`weighted_sum`]; needs any source.
/// - `soft_min`: [`soft_min_of_terms`]; needs any source with a weight.
/// - `gated`: `inner`, but `min(inner, floor)` for a turn on which a `veto` fired: a vetoed turn
///   earns at most the floor, and one that was already worse stays worse, so that gating never
///   rewards. A vetoed turn whose inner fusion has no reward has none either.
/// - `screen`: `inner` for a turn without a veto, and no reward for one with a veto, which takes its
///   rollout out of the group: see [`is_screened`].
/// - `hero`: the RM's score. The rollout's reward comes from its group: see [`hero`](crate::hero).
///
/// With `on_abstain = "null"`, a turn on which judge or rules abstained, wholly or in part, has no
/// reward. With `on_abstain` by cause, [`TurnSignals::void`] says so.
#[must_use]
pub fn fuse(signals: &TurnSignals, config: &FusionConfig) -> Option<f64> {
    let strict = config.on_abstain == OnAbstain::Null;
    if signals.lacks_base() || signals.void || (strict && signals.is_incomplete()) {
        return None;
    }
    let bound = config.bound.get();
    let base = || signals.rm.and_then(Standing::value);
    let by_repo = || {
        let points = enhancement(signals.points().unwrap_or(0.0), bound);
        Some(repo_with_floor(base()?, points, bound, config.delta.get()))
    };
    let by_sum = || weighted_sum(signals, &config.weights, bound);
    let by_soft_min = || soft_min_of_terms(signals, &config.weights, bound, config.beta.get());
    let inner = || match config.inner {
        InnerMethod::Repo => by_repo(),
        InnerMethod::WeightedSum => by_sum(),
        InnerMethod::SoftMin => by_soft_min(),
    };
    match config.method {
        FusionMethod::Repo => by_repo(),
        FusionMethod::WeightedSum => by_sum(),
        FusionMethod::SoftMin => by_soft_min(),
        FusionMethod::Gated => inner()
            .map(|reward| if signals.vetoed { reward.min(config.floor.get()) } else { reward }),
        FusionMethod::Screen => {
            if signals.vetoed {
                None
            } else {
                inner()
            }
        }
        FusionMethod::Hero => base(),
        // `FusionMethod` is non_exhaustive; every method of this version has an arm above.
        _ => None,
    }
}

/// True if the turn takes its rollout out of the group: its method is `screen`, and a veto fired.
/// The rollout then has no reward, with the reason `screened`, and enters no statistic of its
/// group, so that its siblings are compared as if it had not been sampled.
#[must_use]
pub fn is_screened(signals: &TurnSignals, config: &FusionConfig) -> bool {
    config.method == FusionMethod::Screen && signals.vetoed
}

/// The rollout's reward from its turns', in dialogue order.
///
/// `None` if there is no turn or a turn that counts has no reward: an aggregate over part of a
/// dialogue would compare rollouts by how often their judge answered. For `last` only the last turn
/// counts.
#[must_use]
pub fn aggregate(turns: &[Option<f64>], how: Aggregate) -> Option<f64> {
    if how == Aggregate::Last {
        return turns.last().copied().flatten();
    }
    let rewards: Vec<f64> = turns.iter().copied().collect::<Option<_>>()?;
    let sum = || rewards.iter().sum::<f64>();
    match how {
        Aggregate::Last => rewards.last().copied(),
        Aggregate::Sum => (!rewards.is_empty()).then(sum),
        #[expect(clippy::cast_precision_loss, reason = "a dialogue has fewer than 2^52 turns")]
        Aggregate::Mean => (!rewards.is_empty()).then(|| sum() / rewards.len() as f64),
        Aggregate::Min => rewards.iter().copied().reduce(f64::min),
    }
}

#[cfg(test)]
mod tests {
    use guerdon_types::Finite;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn config(method: FusionMethod) -> FusionConfig {
        FusionConfig { method, ..FusionConfig::default() }
    }

    fn signals(rm: Option<f64>, judge: Option<f64>, rules: Option<f64>) -> TurnSignals {
        let [rm, judge, rules] = [rm, judge, rules].map(|value| value.map(Standing::Scored));
        TurnSignals { rm, judge, rules, ..TurnSignals::default() }
    }

    /// Every method, with every inner method and with a floor of `repo`.
    fn methods() -> Vec<FusionConfig> {
        let delta = Finite::new(0.5).unwrap();
        let plain = [
            config(FusionMethod::Repo),
            FusionConfig { delta, ..config(FusionMethod::Repo) },
            config(FusionMethod::WeightedSum),
            config(FusionMethod::SoftMin),
            config(FusionMethod::Hero),
        ];
        let inner = [InnerMethod::Repo, InnerMethod::WeightedSum, InnerMethod::SoftMin];
        let nested = [FusionMethod::Gated, FusionMethod::Screen]
            .into_iter()
            .flat_map(|method| inner.map(|inner| FusionConfig { inner, ..config(method) }));
        plain.into_iter().chain(nested).collect()
    }

    proptest! {
        #[test]
        fn every_method_is_monotone_in_every_part(
            rm in -9.0..9.0f64, judge in -300.0..300.0f64, rules in -300.0..300.0f64, step in 0.0..200.0f64, vetoed: bool,
        ) {
            for config in methods() {
                let at = |rm, judge, rules| {
                    let signals = TurnSignals { vetoed, ..signals(Some(rm), Some(judge), Some(rules)) };
                    fuse(&signals, &config).unwrap_or_default()
                };
                let here = at(rm, judge, rules);
                for more in [at(rm + step, judge, rules), at(rm, judge + step, rules), at(rm, judge, rules + step)] {
                    prop_assert!(more >= here - 1e-9, "{:?}: {} < {}", config.method, more, here);
                }
            }
        }

        #[test]
        fn a_veto_caps_the_reward_at_the_floor_and_never_raises_it(
            rm in -9.0..9.0f64, judge in option::of(-300.0..300.0f64), floor in -5.0..0.0f64,
        ) {
            let config = FusionConfig { floor: Finite::new(floor).unwrap(), ..config(FusionMethod::Gated) };
            let free = signals(Some(rm), judge, None);
            let vetoed = fuse(&TurnSignals { vetoed: true, ..free.clone() }, &config).unwrap();
            prop_assert!(vetoed <= floor);
            prop_assert!(vetoed <= fuse(&free, &config).unwrap());
        }

        #[test]
        fn screen_gives_its_inner_reward_or_none(
            rm in -9.0..9.0f64, judge in -300.0..300.0f64, vetoed: bool,
        ) {
            for (inner, alone) in [
                (InnerMethod::Repo, FusionMethod::Repo),
                (InnerMethod::WeightedSum, FusionMethod::WeightedSum),
                (InnerMethod::SoftMin, FusionMethod::SoftMin),
            ] {
                let screen = FusionConfig { inner, ..config(FusionMethod::Screen) };
                let signals = TurnSignals { vetoed, ..signals(Some(rm), Some(judge), None) };
                let expected = if vetoed { None } else { fuse(&signals, &config(alone)) };
                prop_assert_eq!(fuse(&signals, &screen), expected);
                prop_assert_eq!(is_screened(&signals, &screen), vetoed);
                prop_assert!(!is_screened(&signals, &config(FusionMethod::Gated)));
            }
        }

        #[test]
        fn without_a_veto_gated_is_its_inner_fusion(rm in -9.0..9.0f64, judge in -300.0..300.0f64) {
            let signals = signals(Some(rm), Some(judge), None);
            prop_assert_eq!(fuse(&signals, &config(FusionMethod::Gated)), fuse(&signals, &config(FusionMethod::Repo)));
        }

        #[test]
        fn an_aggregate_lies_between_its_turns(rewards in proptest::collection::vec(-9.0..9.0f64, 1..9)) {
            let turns: Vec<_> = rewards.iter().copied().map(Some).collect();
            let (low, high) = (rewards.iter().copied().fold(f64::MAX, f64::min), rewards.iter().copied().fold(f64::MIN, f64::max));
            for how in [Aggregate::Last, Aggregate::Mean, Aggregate::Min] {
                let reward = aggregate(&turns, how).unwrap();
                prop_assert!((low - 1e-9..=high + 1e-9).contains(&reward));
            }
        }
    }

    #[test]
    fn missing_rm_gives_no_reward_instead_of_zero() {
        assert_eq!(
            fuse(&signals(None, Some(-10.0), Some(-20.0)), &config(FusionMethod::Repo)),
            None
        );
        assert_eq!(fuse(&signals(None, None, None), &config(FusionMethod::WeightedSum)), None);
        let vetoed = TurnSignals { vetoed: true, ..signals(None, Some(-10.0), None) };
        assert_eq!(fuse(&vetoed, &config(FusionMethod::Gated)), None);
    }

    #[test]
    fn abstained_base_source_voids_the_turn_in_every_method() {
        for config in methods() {
            // A second base source that answered does not stand in for the one that did not.
            for lacking in [Standing::Silent, Standing::PartlyScored(1.0)] {
                let rest = signals(None, Some(5.0), Some(-20.0));
                let late = TurnSignals { rm: Some(lacking), ..rest.clone() };
                assert_eq!(fuse(&late, &config), None, "{lacking:?}, {config:?}");
            }
        }
    }

    #[test]
    fn a_missing_judge_is_skipped_or_voids_the_turn_by_on_abstain() {
        let mut missing = signals(Some(2.0), None, Some(-50.0));
        missing.judge = Some(Standing::Silent);
        assert_eq!(fuse(&missing, &config(FusionMethod::Repo)), Some(1.0));
        let strict = FusionConfig { on_abstain: OnAbstain::Null, ..FusionConfig::default() };
        assert_eq!(fuse(&missing, &strict), None);
    }

    #[test]
    fn one_turn_without_a_reward_leaves_the_rollout_without_one() {
        for how in [Aggregate::Mean, Aggregate::Sum, Aggregate::Min] {
            assert_eq!(aggregate(&[None, Some(1.0)], how), None);
            assert_eq!(aggregate(&[], how), None);
        }
        assert_eq!(
            aggregate(&[None, Some(1.0)], Aggregate::Last),
            Some(1.0),
            "only the last turn counts"
        );
        assert_eq!(aggregate(&[Some(1.0), None], Aggregate::Last), None);
        assert_eq!(aggregate(&[], Aggregate::Last), None);
        assert_eq!(aggregate(&[Some(3.0), Some(1.0)], Aggregate::Sum), Some(4.0));
        assert_eq!(aggregate(&[Some(3.0), Some(1.0)], Aggregate::Last), Some(1.0));
    }
}

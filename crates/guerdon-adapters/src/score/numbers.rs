//! A result as flat names and numbers, for the maps that trainers log. The names are the same for
//! every result of a profile, since trainers take the names of a batch from its first sample. The
//! maps hold numbers only, since a text or a `null` in them ends a training run.

use std::collections::BTreeMap;

use guerdon_types::{Aggregate, FusionConfig, RolloutResult, TurnResult};

use super::score_call::ItemScore;
use super::source_name::SourceName;

/// Numbers by name.
pub(crate) type NamedNumbers = BTreeMap<String, f64>;

/// Every part of an item's score: for each source its number and the share of turns on which it
/// abstained in part or entirely, and three flags. Several turns are averaged. A missing number is
/// 0 with its flag set, since the maps hold numbers only; a missing reward is never 0.
pub(crate) fn numbers(answer: &ItemScore, sources: &[SourceName]) -> NamedNumbers {
    let turns = answer.result.as_ref().map_or(&[][..], |result| &result.turns);
    let flag = |set: bool| if set { 1.0 } else { 0.0 };
    let mut numbers = NamedNumbers::from([
        ("failed".to_owned(), flag(answer.failure.is_some())),
        ("recognised".to_owned(), flag(answer.recognised)),
        ("thought".to_owned(), flag(answer.thought)),
    ]);
    for source in sources {
        let abstained = |turn: &TurnResult| {
            source.value(turn).is_none()
                || turn.abstained.iter().any(|abstained| abstained.source == source.id)
        };
        let values = turns.iter().filter_map(|turn| source.value(turn));
        numbers.insert(source.id.to_string(), mean(values).unwrap_or(0.0));
        let share = mean(turns.iter().map(|turn| flag(abstained(turn)))).unwrap_or(1.0);
        numbers.insert(format!("{}_abstained", source.id), share);
    }
    numbers
}

/// The contribution of each source to the reward, and in `residual` the effect of clips and gates.
/// They sum to the reward, or to 0 if there is none.
pub(crate) fn contributions(
    answer: &ItemScore,
    sources: &[SourceName],
    fusion: &FusionConfig,
) -> NamedNumbers {
    let mut parts: NamedNumbers =
        sources.iter().map(|source| (source.id.to_string(), 0.0)).collect();
    let scored = answer.result.as_ref().and_then(|result| Some((result, result.reward?.get())));
    let Some((result, reward)) = scored else {
        parts.insert("residual".to_owned(), answer.reward.unwrap_or(0.0));
        return parts;
    };
    let counted = counted(result, fusion.aggregate);
    #[expect(clippy::cast_precision_loss, reason = "a dialogue has fewer than 2^52 turns")]
    let share = if fusion.aggregate == Aggregate::Mean { 1.0 / counted.len() as f64 } else { 1.0 };
    for source in sources {
        let sum: f64 = counted.iter().map(|turn| source.contribution(turn, fusion) * share).sum();
        parts.insert(source.id.to_string(), sum);
    }
    let explained: f64 = parts.values().sum();
    parts.insert("residual".to_owned(), reward - explained);
    parts
}

/// The turns that made the rollout's reward.
fn counted(result: &RolloutResult, aggregate: Aggregate) -> Vec<&TurnResult> {
    let turns = result.turns.iter();
    match aggregate {
        Aggregate::Last => turns.last().into_iter().collect(),
        Aggregate::Mean | Aggregate::Sum => turns.collect(),
        Aggregate::Min => turns
            .filter(|turn| turn.reward.is_some())
            .min_by(|a, b| a.reward.partial_cmp(&b.reward).unwrap_or(std::cmp::Ordering::Equal))
            .into_iter()
            .collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a dialogue has fewer than 2^52 turns")]
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

/// `1 / (1 + e^-x)`: maps real numbers to `[0, 1]` in their order.
pub(crate) fn sigmoid(x: f64) -> f64 {
    // Of the two forms of the formula, the one whose exponential cannot overflow.
    let e = (-x.abs()).exp();
    if x >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

#[cfg(test)]
mod tests {
    use guerdon_fusion::{Channel, Standing, TurnSignals, fuse};
    use guerdon_types::{
        Finite, FusionMethod, InnerMethod, OtherPart, RmPart, RulesPart, SourceKind, Weights,
    };

    use super::*;

    fn finite(value: f64) -> Finite {
        Finite::new(value).unwrap()
    }

    fn sources() -> Vec<SourceName> {
        [("rm", SourceKind::Model), ("rules", SourceKind::Rules), ("tone", SourceKind::External)]
            .map(|(id, kind)| SourceName { id: id.into(), kind, role: kind.default_role() })
            .into()
    }

    /// A scored turn, with the reward of the real fusion.
    fn turn(rm: f64, rules: f64, tone: f64, fusion: &FusionConfig, vetoed: bool) -> TurnResult {
        let mut signals = TurnSignals::default();
        for (channel, value) in
            [(Channel::Base, rm), (Channel::Rules, rules), (Channel::Other, tone)]
        {
            signals.enter(channel, Standing::Scored(value));
        }
        signals.vetoed = vetoed;
        #[expect(clippy::cast_possible_truncation, reason = "the raw score is not read")]
        let raw = rm as f32;
        TurnResult {
            index: 0,
            reward: fuse(&signals, fusion).map(finite),
            enhancement: None,
            rm: Some(RmPart {
                score: finite(rm),
                raw,
                objectives: BTreeMap::new(),
                steps: Vec::new(),
                tokens: 1,
                truncated: false,
                read: Vec::new(),
            }),
            judge: None,
            rules: Some(RulesPart { points: finite(rules), ..RulesPart::default() }),
            other: BTreeMap::from([(
                "tone".into(),
                OtherPart { points: finite(tone), ..OtherPart::default() },
            )]),
            abstained: Vec::new(),
            parts: BTreeMap::new(),
            verdict: None,
            beside: None,
        }
    }

    fn answer(turns: Vec<TurnResult>, fusion: &FusionConfig) -> ItemScore {
        let rewards: Vec<_> = turns.iter().map(|turn| turn.reward.map(Finite::get)).collect();
        let reward = guerdon_fusion::aggregate(&rewards, fusion.aggregate);
        let result = RolloutResult {
            id: "0".into(),
            reward: reward.map(finite),
            advantage: None,
            turns,
            error: None,
        };
        ItemScore { reward, result: Some(result), ..ItemScore::default() }
    }

    #[test]
    fn contributions_sum_to_the_reward_for_every_fusion() {
        let weights = Weights { rm: finite(0.5), rules: finite(2.0), ..Weights::default() };
        for method in [FusionMethod::Repo, FusionMethod::WeightedSum, FusionMethod::Gated] {
            for inner in [InnerMethod::Repo, InnerMethod::WeightedSum] {
                for aggregate in [Aggregate::Last, Aggregate::Mean, Aggregate::Sum, Aggregate::Min]
                {
                    let fusion = FusionConfig {
                        method,
                        inner,
                        aggregate,
                        weights,
                        ..FusionConfig::default()
                    };
                    let turns = vec![
                        turn(1.5, -40.0, 10.0, &fusion, false),
                        turn(-2.0, -250.0, 30.0, &fusion, true),
                        turn(3.0, 0.0, -5.0, &fusion, false),
                    ];
                    let answer = answer(turns, &fusion);
                    let parts = contributions(&answer, &sources(), &fusion);
                    let sum: f64 = parts.values().sum();
                    assert!((sum - answer.reward.unwrap()).abs() < 1e-9, "{fusion:?}: {parts:?}");
                }
            }
        }
    }

    #[test]
    fn without_clips_and_gates_the_sources_explain_the_reward_alone() {
        let fusion = FusionConfig::default();
        let answer = answer(vec![turn(-2.0, -40.0, 10.0, &fusion, false)], &fusion);
        let parts = contributions(&answer, &sources(), &fusion);
        for (name, expected) in [("rm", -2.0), ("rules", -0.8), ("tone", 0.2), ("residual", 0.0)] {
            assert!((parts[name] - expected).abs() < 1e-12, "{name}: {parts:?}");
        }
    }

    #[test]
    fn the_names_are_the_same_whether_or_not_there_is_a_result() {
        let scored = answer(
            vec![turn(1.0, 0.0, 0.0, &FusionConfig::default(), false)],
            &FusionConfig::default(),
        );
        let failed = ItemScore { failure: Some("broken".to_owned()), ..ItemScore::default() };
        let (scored, failed) = (numbers(&scored, &sources()), numbers(&failed, &sources()));
        assert_eq!(scored.keys().collect::<Vec<_>>(), failed.keys().collect::<Vec<_>>());
        assert!(
            (failed["rm_abstained"] - 1.0).abs() < 1e-12 && (failed["failed"] - 1.0).abs() < 1e-12
        );
        assert!(scored["rm_abstained"].abs() < 1e-12);
    }

    #[test]
    fn the_sigmoid_stays_finite_and_in_order() {
        let values = [f64::MIN, -800.0, -1.0, 0.0, 1.0, 800.0, f64::MAX].map(sigmoid);
        assert!(values.windows(2).all(|pair| pair[0] <= pair[1]), "{values:?}");
        assert!(values.iter().all(|value| (0.0..=1.0).contains(value)));
        assert!(
            (values[3] - 0.5).abs() < 1e-12 && (values[4] - 0.731_058_578_630_004_9).abs() < 1e-12
        );
    }
}

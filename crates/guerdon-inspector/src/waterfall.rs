//! The way from the base of a turn to its reward, one bar for each source.

use guerdon_fusion::{enhancement, repo_with_floor, reward_of_parts};
use guerdon_types::{Finite, FusionConfig, FusionMethod, InnerMethod, SourceRole, TurnResult};

use crate::turn_sources::{TurnSource, base, points, turn_sources};

/// The greatest difference between a stored reward and the sum of its bars that counts as none.
const EQUAL: f64 = 1e-9;

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bar {
    /// The name of the source, or the word for a total.
    pub(crate) label: String,
    /// The kind of the bar.
    pub(crate) kind: BarKind,
    /// The source's number as it enters the fusion, of a bar of points.
    pub(crate) points: Option<f64>,
    /// The change of the reward; of a total, the total itself.
    pub(crate) change: f64,
    /// The total after the bar.
    pub(crate) total: f64,
}

/// The kind of a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BarKind {
    /// The number that the others modulate.
    Base,
    /// The change by one source.
    Points,
    /// The part of the points beyond the bound.
    Clip,
    /// The change by a veto.
    Veto,
    /// A difference that the stored parts do not explain.
    Rest,
    /// The reward.
    Reward,
    /// The advantage.
    Advantage,
}

/// The bars of a turn.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Waterfall {
    /// From the base to the reward, and the advantage if there is one.
    pub(crate) bars: Vec<Bar>,
    /// True if the stored parts and the stored fusion make the stored reward.
    pub(crate) is_explained: bool,
}

/// The bars of a turn, by the fusion that made its reward; `None` if that is not stored. A turn
/// without a reward has the bars of its sources alone.
#[must_use]
pub(crate) fn waterfall(
    turn: &TurnResult,
    fusion: Option<&FusionConfig>,
    advantage: Option<f64>,
) -> Waterfall {
    let sources = turn_sources(turn);
    let mut bars = Bars::default();
    let configured = fusion.cloned().unwrap_or_default();
    let modulates = match configured.method {
        FusionMethod::Repo => true,
        FusionMethod::Gated | FusionMethod::Screen => configured.inner == InnerMethod::Repo,
        _ => false,
    };
    let start = base(&sources);
    for source in sources.iter().filter(|source| source.role == Some(SourceRole::Base)) {
        bars.add(&source.name, BarKind::Base, None, source.term);
    }
    let Some(reward) = turn.reward.map(Finite::get) else {
        return Waterfall { bars: bars.bars, is_explained: true };
    };
    match start {
        Some(base) if modulates => modulated(&mut bars, &sources, base, &configured),
        _ => one_by_one(&mut bars, turn, &sources, &configured),
    }
    let rest = reward - bars.total;
    let is_explained = rest.abs() <= EQUAL * reward.abs().max(1.0);
    let vetoes = sources.iter().any(|source| source.veto);
    if !is_explained {
        let (label, kind) =
            if vetoes { ("veto", BarKind::Veto) } else { ("not explained", BarKind::Rest) };
        bars.add(label, kind, None, rest);
    }
    bars.bars.push(Bar {
        label: "reward".to_owned(),
        kind: BarKind::Reward,
        points: None,
        change: reward,
        total: reward,
    });
    if let Some(advantage) = advantage {
        bars.bars.push(Bar {
            label: "advantage".to_owned(),
            kind: BarKind::Advantage,
            points: None,
            change: advantage,
            total: advantage,
        });
    }
    Waterfall { bars: bars.bars, is_explained: is_explained || (vetoes && fusion.is_some()) }
}

#[derive(Default)]
struct Bars {
    bars: Vec<Bar>,
    total: f64,
}

impl Bars {
    fn add(&mut self, label: &str, kind: BarKind, points: Option<f64>, change: f64) {
        self.total += change;
        let (label, total) = (label.to_owned(), self.total);
        self.bars.push(Bar { label, kind, points, change, total });
    }
}

/// The paper's fusion: each source's points times the size of the base, then the part beyond the
/// bound.
fn modulated(bars: &mut Bars, sources: &[TurnSource], base: f64, fusion: &FusionConfig) {
    let (bound, delta) = (fusion.bound.get(), fusion.delta.get());
    let size = base.abs().max(delta);
    for source in sources.iter().filter(|source| source.role == Some(SourceRole::Points)) {
        let change = size * source.term / bound;
        bars.add(&source.name, BarKind::Points, Some(source.term), change);
    }
    let sum = points(sources);
    let clipped = enhancement(sum, bound);
    if (sum - clipped).abs() > EQUAL {
        let change = repo_with_floor(base, clipped, bound, delta) - bars.total;
        bars.add("clip", BarKind::Clip, Some(clipped - sum), change);
    }
}

/// Any other fusion: the reward with one more source at a time, in their order.
fn one_by_one(bars: &mut Bars, turn: &TurnResult, sources: &[TurnSource], fusion: &FusionConfig) {
    bars.bars.clear();
    bars.total = 0.0;
    let mut seen: Vec<&str> = Vec::new();
    for source in sources {
        if !matches!(source.role, Some(SourceRole::Base | SourceRole::Points)) {
            continue;
        }
        seen.push(&source.name);
        let Some(total) = reward_of_parts(&with_only(turn, &seen), fusion) else { continue };
        let kind =
            if source.role == Some(SourceRole::Base) { BarKind::Base } else { BarKind::Points };
        let change = total - bars.total;
        bars.add(&source.name, kind, Some(source.term), change);
    }
}

/// The turn with these sources alone.
fn with_only(turn: &TurnResult, names: &[&str]) -> TurnResult {
    let mut turn = turn.clone();
    let has = |name: &str| names.contains(&name);
    turn.parts.retain(|name, _| has(name.as_str()));
    turn.other.retain(|name, _| has(name.as_str()));
    turn.rm = turn.rm.filter(|_| has("rm"));
    turn.judge = turn.judge.filter(|_| has("judge"));
    turn.rules = turn.rules.filter(|_| has("rules"));
    turn.abstained.clear();
    turn
}

#[cfg(test)]
mod tests {
    use guerdon_fusion::repo;
    use proptest::prelude::*;

    use super::*;

    fn turn(base: f64, judge: f64, rules: f64, reward: f64) -> TurnResult {
        serde_json::from_value(serde_json::json!({
            "index": 1, "reward": reward, "enhancement": (judge + rules).clamp(-100.0, 100.0),
            "rm": {"score": base, "raw": base, "tokens": 3, "truncated": false},
            "judge": {"points": judge, "criteria": [], "cached": false, "model": "m"},
            "rules": {"points": rules, "hits": []}, "abstained": []
        }))
        .unwrap()
    }

    fn labels(waterfall: &Waterfall) -> Vec<&str> {
        waterfall.bars.iter().map(|bar| bar.label.as_str()).collect()
    }

    #[test]
    fn clipped_points_have_a_bar_of_their_own() {
        let found = waterfall(&turn(2.0, 80.0, 40.0, 4.0), None, Some(0.5));
        assert_eq!(labels(&found), ["rm", "judge", "rules", "clip", "reward", "advantage"]);
        assert!(found.is_explained);
        assert_eq!(found.bars[3].points, Some(-20.0));
    }

    #[test]
    fn reward_of_another_fusion_is_shown_as_not_explained() {
        let found = waterfall(&turn(2.0, 10.0, 0.0, 9.0), None, None);
        assert!(!found.is_explained && labels(&found).contains(&"not explained"));
    }

    #[test]
    fn turn_without_a_reward_has_no_total() {
        let mut silent = turn(2.0, 10.0, 0.0, 2.2);
        silent.reward = None;
        assert_eq!(labels(&waterfall(&silent, None, None)), ["rm"]);
    }

    proptest! {
        /// The bars before the reward add up to it, whatever the points are.
        #[test]
        fn bars_add_up_to_the_reward(base in -5.0..5.0f64, judge in -150.0..150.0f64, rules in -150.0..150.0f64) {
            let reward = repo(base, (judge + rules).clamp(-100.0, 100.0), 100.0);
            let found = waterfall(&turn(base, judge, rules, reward), None, None);
            prop_assert!(found.is_explained, "{found:?}");
            let sum: f64 = found.bars.iter().filter(|bar| bar.kind != BarKind::Reward).map(|bar| bar.change).sum();
            prop_assert!((sum - reward).abs() < 1e-9);
        }

        #[test]
        fn bars_of_a_weighted_sum_add_up(base in -5.0..5.0f64, judge in -50.0..50.0f64, rules in -50.0..50.0f64) {
            let fusion = FusionConfig { method: FusionMethod::WeightedSum, ..FusionConfig::default() };
            let mut scored = turn(base, judge, rules, 0.0);
            let reward = reward_of_parts(&scored, &fusion).unwrap();
            scored.reward = Finite::new(reward).ok();
            let found = waterfall(&scored, Some(&fusion), None);
            prop_assert!(found.is_explained, "{found:?}");
        }
    }
}

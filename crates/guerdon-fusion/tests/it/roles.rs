//! Laws of roles and weights: an audit changes no reward, a gate only lowers or removes it, the
//! order of sources does not matter, and settings at their defaults leave no trace.

use std::sync::Arc;

use futures_util::FutureExt as _;
use guerdon_fusion::{
    Ask, BoxFuture, RewardSource, Scorer, ScorerSource, SourceSettings, SourceVersion,
    reward_of_parts,
};
use guerdon_types::{
    AbstainPolicy, AbstainWhy, Abstention, Finite, FusionConfig, FusionMethod, GroupComparison,
    GroupId, InnerMethod, Message, OnAbstain, OtherPart, Part, Role, Rollout, RolloutResult,
    Signal, SourceId, SourceKind, SourceRole,
};
use proptest::prelude::*;

/// A source that gives the same answer for every turn.
#[derive(Debug, Clone)]
struct Fixed {
    id: SourceId,
    kind: SourceKind,
    /// `None` abstains.
    number: Option<i32>,
    veto: bool,
}

impl RewardSource for Fixed {
    fn id(&self) -> &SourceId {
        &self.id
    }
    fn kind(&self) -> SourceKind {
        self.kind
    }
    fn about(&self) -> String {
        "is fixed".into()
    }
    fn version(&self) -> SourceVersion {
        SourceVersion::Texts([].into())
    }
    fn score<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Vec<Signal>> {
        let signal = match self.number {
            Some(number) => {
                let points = Finite::from(number);
                let part = OtherPart { points, veto: self.veto, ..OtherPart::default() };
                Signal::scored(Part::Other(part))
            }
            None => {
                let why = AbstainWhy::Malformed;
                Signal::abstained(Abstention::new(self.id.clone(), why, "no answer"))
            }
        };
        let turns = ask.turns.len();
        async move { vec![signal; turns] }.boxed()
    }
}

/// A source with its settings.
type Drawn = (Fixed, SourceSettings);

fn scorer(sources: &[Drawn], fusion: &FusionConfig) -> Scorer {
    let sources = sources
        .iter()
        .map(|(source, settings)| ScorerSource::new(Arc::new(source.clone()), settings.clone()));
    Scorer::with_settings(sources.collect(), fusion.clone()).reporting_parts()
}

fn score(sources: &[Drawn], fusion: &FusionConfig) -> RolloutResult {
    let messages = vec![Message::new(Role::Assistant, "a")];
    let rollout = Rollout { messages, ..Rollout::default() };
    scorer(sources, fusion).score(0, &rollout, None).now_or_never().unwrap().0
}

fn fusions() -> Vec<FusionConfig> {
    let mut fusions = Vec::new();
    let by_cause = OnAbstain::ByCause(AbstainPolicy::default());
    for on_abstain in [OnAbstain::Skip, OnAbstain::Null, by_cause] {
        for (method, inner) in [
            (FusionMethod::Repo, InnerMethod::Repo),
            (FusionMethod::WeightedSum, InnerMethod::Repo),
            (FusionMethod::Gated, InnerMethod::Repo),
            (FusionMethod::Gated, InnerMethod::WeightedSum),
        ] {
            fusions.push(FusionConfig { method, inner, on_abstain, ..FusionConfig::default() });
        }
    }
    fusions
}

fn any_number() -> impl Strategy<Value = Option<i32>> {
    prop_oneof![5 => (-130..130i32).prop_map(Some), 1 => Just(None)]
}

fn any_on_abstain() -> impl Strategy<Value = Option<OnAbstain>> {
    prop_oneof![
        3 => Just(None),
        1 => Just(Some(OnAbstain::Skip)),
        1 => Just(Some(OnAbstain::Null)),
        1 => Just(Some(OnAbstain::ByCause(AbstainPolicy::default()))),
    ]
}

/// A base with up to five sources of points. Weights are powers of two, so that sums are exact.
fn any_sources() -> impl Strategy<Value = Vec<Drawn>> {
    let kind = prop_oneof![
        Just(SourceKind::Judge),
        Just(SourceKind::Rules),
        Just(SourceKind::Http),
        Just(SourceKind::External)
    ];
    let weight = prop_oneof![Just(1.0), Just(0.5), Just(2.0), Just(0.0)];
    let one = (kind, any_number(), any::<bool>(), weight, any_on_abstain());
    (-9..9i32, prop::collection::vec(one, 0..6)).prop_map(|(base, others)| {
        let base =
            Fixed { id: "base".into(), kind: SourceKind::Model, number: Some(base), veto: false };
        let base = (base, SourceSettings::of_kind(SourceKind::Model));
        let others = others.into_iter().enumerate();
        let others = others.map(|(index, (kind, number, veto, weight, on_abstain))| {
            let source = Fixed { id: format!("s{index}").into(), kind, number, veto };
            let settings = SourceSettings::of_kind(kind)
                .with_weight(Finite::new(weight).unwrap())
                .with_on_abstain(on_abstain);
            (source, settings)
        });
        std::iter::once(base).chain(others).collect()
    })
}

fn any_kind() -> impl Strategy<Value = SourceKind> {
    prop_oneof![
        Just(SourceKind::Model),
        Just(SourceKind::Judge),
        Just(SourceKind::Rules),
        Just(SourceKind::Http)
    ]
}

proptest! {
    #[test]
    fn audit_changes_neither_reward_nor_comparability_nor_digest(
        sources in any_sources(), kind in any_kind(), number in any_number(), veto: bool, place in 0..6usize,
    ) {
        let audit = Fixed { id: "audit".into(), kind, number, veto };
        let audit = (audit, SourceSettings::of_role(SourceRole::Audit));
        for fusion in fusions() {
            let without = score(&sources, &fusion);
            let mut audited = sources.clone();
            audited.insert(place.min(sources.len()), audit.clone());
            let with = score(&audited, &fusion);
            prop_assert_eq!(with.reward, without.reward);
            prop_assert_eq!(&with.turns[0].enhancement, &without.turns[0].enhancement);
            let part = with.turns[0].parts.get(&"audit".into());
            prop_assert_eq!(part.map(|part| part.value), number.map(Finite::from));
            let [one, other] = [&sources, &audited].map(|one| scorer(one, &fusion).digest().clone());
            prop_assert_eq!(one, other);
            let mut groups = GroupComparison::default();
            groups.add(0, &GroupId::from("g"), &with);
            groups.add(1, &GroupId::from("g"), &without);
            prop_assert_eq!(groups.finish().len(), 0);
        }
    }

    #[test]
    fn gate_only_lowers_the_reward_to_the_floor(
        sources in any_sources(), number in -130..130i32, veto: bool, weight in 0.0..3.0f64,
    ) {
        let gate = Fixed { id: "gate".into(), kind: SourceKind::Http, number: Some(number), veto };
        let settings = SourceSettings::of_role(SourceRole::Gate).with_weight(Finite::new(weight).unwrap());
        for fusion in fusions() {
            let without = score(&sources, &fusion).reward.map(Finite::get);
            let gated = [&sources[..], &[(gate.clone(), settings.clone())]].concat();
            let with = score(&gated, &fusion).reward.map(Finite::get);
            let lowered = without.map(|reward| reward.min(fusion.floor.get()));
            prop_assert_eq!(with, if veto { lowered } else { without });
        }
    }

    #[test]
    fn order_of_sources_does_not_matter(sources in any_sources(), turn in 0..6usize) {
        for fusion in fusions() {
            let mut turned = sources.clone();
            turned.rotate_left(turn % sources.len());
            let (one, other) = (score(&sources, &fusion), score(&turned, &fusion));
            prop_assert_eq!(one.reward, other.reward);
            prop_assert_eq!(&one.turns[0].parts, &other.turns[0].parts);
        }
    }

    #[test]
    fn reward_follows_from_the_named_parts(sources in any_sources()) {
        for fusion in fusions() {
            let result = score(&sources, &fusion);
            let has_silent = sources.iter().any(|(source, _)| source.number.is_none());
            if let Some(reward) = result.reward.filter(|_| !has_silent) {
                prop_assert_eq!(reward_of_parts(&result.turns[0], &fusion), Some(reward.get()));
            }
        }
    }

    #[test]
    fn term_is_the_weighted_number(base in -9..9i32, points in -40..40i32, weight in 0.0..2.0f64) {
        let weight = Finite::new(weight).unwrap();
        let source = |id: &str, kind, number| Fixed { id: id.into(), kind, number: Some(number), veto: false };
        let sources = [
            (source("base", SourceKind::Model, base), SourceSettings::of_kind(SourceKind::Model)),
            (source("f", SourceKind::Http, points), SourceSettings::of_kind(SourceKind::Http).with_weight(weight)),
        ];
        let reward = score(&sources, &FusionConfig::default()).reward.unwrap().get();
        let wanted = guerdon_fusion::repo(base.into(), weight.get() * f64::from(points), 100.0);
        prop_assert!((reward - wanted).abs() < 1e-12, "{} is not {}", reward, wanted);
    }
}

#[test]
fn sources_of_one_kind_are_clipped_each_on_its_own_in_a_sum() {
    let fusion = FusionConfig { method: FusionMethod::WeightedSum, ..FusionConfig::default() };
    let of = |id: &str, number| {
        let source =
            Fixed { id: id.into(), kind: SourceKind::Http, number: Some(number), veto: false };
        (source, SourceSettings::of_kind(SourceKind::Http))
    };
    let reward = |numbers: &[i32]| {
        let sources: Vec<Drawn> =
            numbers.iter().enumerate().map(|(index, n)| of(&index.to_string(), *n)).collect();
        score(&sources, &fusion).reward.unwrap().get()
    };
    let near = |one: f64, other: f64| assert!((one - other).abs() < 1e-12, "{one} is not {other}");
    near(reward(&[100, 100]), 2.0);
    near(reward(&[300, -50]), 0.5);
    near(reward(&[300, 300, -50]), 1.5);
    near(reward(&[-20]), -0.2);
}

#[test]
fn settings_of_the_kind_leave_no_trace_in_the_digest_and_others_do() {
    let source = || {
        Arc::new(Fixed { id: "f".into(), kind: SourceKind::Http, number: Some(1), veto: false })
            as Arc<dyn RewardSource>
    };
    let fusion = FusionConfig { method: FusionMethod::WeightedSum, ..FusionConfig::default() };
    let digest = |settings: SourceSettings| {
        let sources = vec![ScorerSource::new(source(), settings)];
        Scorer::with_settings(sources, fusion.clone()).digest().clone()
    };
    let plain = Scorer::new(vec![source()], fusion.clone()).digest().clone();
    let own = SourceSettings::of_kind(SourceKind::Http);
    assert_eq!(digest(own.clone()), plain);
    for other in [
        SourceSettings::of_role(SourceRole::Base),
        SourceSettings::of_role(SourceRole::Gate),
        own.clone().with_weight(Finite::from(2)),
        own.with_on_abstain(Some(OnAbstain::Null)),
    ] {
        assert_ne!(digest(other), plain);
    }
}

#[test]
fn audits_and_gates_alone_are_no_profile() {
    let fusion = FusionConfig { method: FusionMethod::WeightedSum, ..FusionConfig::default() };
    for role in [SourceRole::Audit, SourceRole::Gate, SourceRole::Member] {
        let source = Fixed { id: "f".into(), kind: SourceKind::Http, number: Some(1), veto: false };
        let scorer = scorer(&[(source, SourceSettings::of_role(role))], &fusion);
        assert!(scorer.check().unwrap_err().detail.contains("fused"), "{role:?}");
    }
}

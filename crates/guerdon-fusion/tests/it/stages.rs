//! The stages after the fusion of turns: `screen` takes rollouts out of their group, and `hero`
//! rewards a group by strata.

use guerdon_types::{HeroConfig, ProblemCode, Verdict};

use super::*;

/// A source that reads its number of a turn from the text: the first word is the base's score, the
/// second the points. 13 points are a veto, and `-` is an abstention.
#[derive(Debug)]
struct Reading {
    id: SourceId,
    kind: SourceKind,
}

impl RewardSource for Reading {
    fn id(&self) -> &SourceId {
        &self.id
    }
    fn kind(&self) -> SourceKind {
        self.kind
    }
    fn about(&self) -> String {
        "reads numbers from the text".into()
    }
    fn version(&self) -> SourceVersion {
        SourceVersion::Texts([].into())
    }
    fn score<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Vec<Signal>> {
        let place = usize::from(self.kind != SourceKind::Model);
        let signal = |turn: &usize| {
            let text = &ask.rollout.messages[*turn].content;
            match text.split(' ').nth(place).unwrap().parse::<f64>() {
                Ok(number) => Signal::scored(Part::Other(OtherPart {
                    points: Finite::new(number).unwrap(),
                    veto: place == 1 && number == 13.0,
                    ..OtherPart::default()
                })),
                Err(_) => {
                    let why = AbstainWhy::Deadline;
                    Signal::abstained(Abstention::new(self.id.clone(), why, "late"))
                }
            }
        };
        let signals: Vec<Signal> = ask.turns.iter().map(signal).collect();
        async move { signals }.boxed()
    }
}

/// The results of a group. Each rollout has a text for each of its turns.
fn group<T: AsRef<str>>(rollouts: &[Vec<T>], fusion: &FusionConfig) -> Vec<RolloutResult> {
    let source =
        |id: &str, kind| -> Arc<dyn RewardSource> { Arc::new(Reading { id: id.into(), kind }) };
    let sources = vec![source("base", SourceKind::Model), source("points", SourceKind::External)];
    let scorer = Scorer::new(sources, fusion.clone());
    let asked = rollouts.iter().enumerate().map(|(index, turns)| {
        let messages = turns.iter().map(|turn| Message::new(Role::Assistant, turn.as_ref()));
        let (messages, score) = (messages.collect(), ScoreTurns::ALL);
        let rollout = Rollout { messages, score, ..Rollout::default() };
        scorer.ask(index, &rollout, None).now_or_never().unwrap()
    });
    let settled = scorer.settle(asked.collect());
    settled.results.into_iter().map(|(result, _)| result).collect()
}

fn rewards(results: &[RolloutResult]) -> Vec<Option<f64>> {
    results.iter().map(|result| result.reward.map(Finite::get)).collect()
}

fn fusion(json: serde_json::Value) -> FusionConfig {
    FusionConfig::default().patched(&serde_json::from_value(json).unwrap()).unwrap()
}

/// Rollouts of one turn, as text.
fn any_group() -> impl Strategy<Value = Vec<Vec<String>>> {
    let points = prop_oneof![4 => -120..120i32, 1 => Just(13)];
    let turn = (-50..50i32, points).prop_map(|(score, points)| format!("{score} {points}"));
    prop::collection::vec(turn.prop_map(|turn| vec![turn]), 1..9)
}

proptest! {
    /// A rollout that is screened changes no sibling's reward, so it changes no order.
    #[test]
    fn screened_rollouts_change_nothing_for_their_siblings(rollouts in any_group()) {
        for inner in ["repo", "weighted_sum", "soft_min"] {
            let screen = fusion(serde_json::json!({"method": "screen", "inner": inner}));
            let alone = fusion(serde_json::json!({"method": inner}));
            let screened = group(&rollouts, &screen);
            for (result, free) in screened.iter().zip(rewards(&group(&rollouts, &alone))) {
                let is_vetoed = result.turns[0].other[&SourceId::from("points")].veto;
                prop_assert_eq!(result.reward.map(Finite::get), free.filter(|_| !is_vetoed));
                prop_assert_eq!(result.turns[0].verdict.is_some(), is_vetoed);
                if is_vetoed {
                    prop_assert_eq!(&result.error.as_ref().unwrap().code, &ProblemCode::Screened);
                }
            }
        }
    }

    #[test]
    fn hero_rewards_right_replies_above_wrong_ones_and_keeps_the_model_s_order(
        rollouts in any_group(), pass in prop::option::of(-50..50i32),
    ) {
        let hero = HeroConfig { pass: pass.map(Finite::from), ..HeroConfig::default() };
        let hero = FusionConfig { method: FusionMethod::Hero, hero, ..FusionConfig::default() };
        let results = group(&rollouts, &hero);
        for one in &results {
            let points = one.turns[0].other[&SourceId::from("points")].points.get();
            let right = points != 13.0 && pass.is_none_or(|pass| points >= f64::from(pass));
            let verdict = if right { Verdict::Right } else { Verdict::Wrong };
            prop_assert!(one.turns[0].verdict.as_ref().unwrap() == &verdict);
            for other in &results {
                let verdicts = [&one.turns[0].verdict, &other.turns[0].verdict];
                if right && verdicts[0] != verdicts[1] {
                    prop_assert!(one.reward > other.reward);
                }
                if verdicts[0] == verdicts[1] && one.turns[0].reward <= other.turns[0].reward {
                    prop_assert!(one.reward <= other.reward);
                }
            }
        }
    }

    /// New methods leave the others as they were: their verdicts and settings are not even named.
    #[test]
    fn other_methods_have_no_verdict(rollouts in any_group()) {
        for method in ["repo", "weighted_sum", "gated", "soft_min"] {
            for result in group(&rollouts, &fusion(serde_json::json!({"method": method}))) {
                let json = serde_json::to_string(&result).unwrap();
                prop_assert!(!json.contains("verdict"), "{json}");
            }
        }
    }
}

#[test]
fn a_veto_on_any_scored_turn_screens_the_rollout() {
    let screen = fusion(serde_json::json!({"method": "screen"}));
    let results = group(&[vec!["1 13", "1 0"], vec!["1 0", "1 -50"]], &screen);
    assert_eq!(rewards(&results), [None, Some(0.5)]);
    let error = results[0].error.as_ref().unwrap();
    assert_eq!((error.status, error.code.as_str()), (422, "screened"));
    assert_eq!(results[0].turns[1].reward, Some(Finite::ONE), "its other turns keep their rewards");
}

#[test]
fn hero_without_the_verifier_s_points_gives_no_reward_to_that_rollout_alone() {
    let hero = fusion(serde_json::json!({"method": "hero", "hero": {"pass": 0}}));
    let results = group(&[vec!["9 -"], vec!["2 1"], vec!["3 1"], vec!["- 1"]], &hero);
    let found = rewards(&results);
    assert_eq!((found[0], found[3]), (None, None));
    assert!(found[1] < found[2] && found[1] > Some(0.9), "{found:?}");
    assert_eq!(results[0].error.as_ref().unwrap().code, ProblemCode::Unscored);
    // Without a threshold only a veto makes a reply wrong.
    let results =
        group(&[vec!["9 -"], vec!["2 13"]], &fusion(serde_json::json!({"method": "hero"})));
    assert!(rewards(&results)[0] > rewards(&results)[1]);
}

#[test]
fn hero_counts_the_turns_of_its_aggregate() {
    for (aggregate, expected) in [("last", Verdict::Right), ("mean", Verdict::Wrong)] {
        let hero = fusion(serde_json::json!({"method": "hero", "aggregate": aggregate}));
        let results = group(&[vec!["1 13", "1 0"]], &hero);
        let is_right = results[0].reward > Some(Finite::new(0.5).unwrap());
        assert_eq!(is_right, expected == Verdict::Right, "{aggregate}");
    }
}

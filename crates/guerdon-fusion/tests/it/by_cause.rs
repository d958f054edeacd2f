//! `on_abstain` by cause: siblings are scored by the same rubrics, and being unjudgeable never pays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use guerdon_fusion::{
    Ask, BoxFuture, RewardSource, Scorer, SettledGroup, SourceVersion, WorstVerdict,
};
use guerdon_types::{
    AbstainEffect, AbstainPolicy, AbstainReason, AbstainWhy, Abstention, ContentAction,
    CriterionVerdict, Finite, FusionConfig, GroupComparison, GroupId, InfrastructureAction,
    JudgePart, Message, OnAbstain, OtherPart, Part, Role, Rollout, RolloutResult, Signal, SourceId,
    SourceKind, Usage, Word,
};
use proptest::prelude::*;

/// The rubrics of the scripted judge. The worst verdict of each is -50.
const PROMPTS: [&str; 2] = ["manners", "facts"];
const WORST: i32 = -50;

/// The judge's answer to one rubric.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Verdict {
    Points(i32),
    Missing(AbstainWhy),
    /// Missing when it is asked first.
    MissingOnce(AbstainWhy),
}

/// The reward model's score of a reply, and its verdicts.
type Reply = (i32, [Verdict; 2]);

#[derive(Debug)]
struct Base(SourceId, Vec<Reply>);

#[derive(Debug)]
struct Judge {
    id: SourceId,
    replies: Vec<Reply>,
    questions: Arc<AtomicUsize>,
    asked: std::sync::Mutex<BTreeSet<(usize, &'static str)>>,
}

/// The index of a reply, which is its text.
fn index(ask: Ask<'_>) -> usize {
    ask.rollout.messages[0].content.to_string().parse().unwrap()
}

impl RewardSource for Base {
    fn id(&self) -> &SourceId {
        &self.0
    }
    fn kind(&self) -> SourceKind {
        SourceKind::Model
    }
    fn about(&self) -> String {
        "scores".into()
    }
    fn version(&self) -> SourceVersion {
        SourceVersion::Texts([].into())
    }
    fn score<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Vec<Signal>> {
        let points = Finite::from(self.1[index(ask)].0);
        let part = OtherPart { points, ..OtherPart::default() };
        async move { vec![Signal::scored(Part::Other(part))] }.boxed()
    }
}

impl RewardSource for Judge {
    fn id(&self) -> &SourceId {
        &self.id
    }
    fn kind(&self) -> SourceKind {
        SourceKind::Judge
    }
    fn about(&self) -> String {
        "judges".into()
    }
    fn version(&self) -> SourceVersion {
        SourceVersion::Texts(PROMPTS.map(|name| (name.to_owned(), "sha256:0".to_owned())).into())
    }
    fn worst(&self, prompt: Option<&str>) -> Option<WorstVerdict> {
        let prompts = if prompt.is_some() { 1 } else { 2 };
        Some(WorstVerdict { points: Finite::from(prompts * WORST), veto: false })
    }
    fn score<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Vec<Signal>> {
        let reply = index(ask);
        let (mut criteria, mut abstained, mut answered) = (Vec::new(), Vec::new(), false);
        for (name, verdict) in PROMPTS.into_iter().zip(self.replies[reply].1) {
            if ask.prompts.is_some_and(|prompts| !prompts.contains(name)) {
                continue;
            }
            self.questions.fetch_add(1, Ordering::Relaxed);
            let first = self.asked.lock().unwrap().insert((reply, name));
            match verdict {
                Verdict::Missing(why) => abstained.push((name, why)),
                Verdict::MissingOnce(why) if first => abstained.push((name, why)),
                Verdict::MissingOnce(_) => answered = true,
                Verdict::Points(points) => {
                    answered = true;
                    criteria.extend((points != 0).then(|| CriterionVerdict {
                        prompt: name.to_owned(),
                        id: "c".into(),
                        level: "l".into(),
                        points: Finite::from(points),
                        evidence: None,
                        veto: false,
                    }));
                }
            }
        }
        let abstained: Vec<Abstention> = abstained
            .into_iter()
            .map(|(name, why)| {
                let detail = format!("prompt `{name}` about {reply}");
                Abstention::new(self.id.clone(), why, detail).about(name)
            })
            .collect();
        let points = criteria.iter().map(|one: &CriterionVerdict| one.points.get()).sum();
        let (points, model) = (Finite::new(points).unwrap(), "m".to_owned());
        let part = Part::Judge(JudgePart {
            points,
            criteria,
            cached: false,
            model,
            group: None,
            asked: BTreeMap::new(),
        });
        let mut abstained = abstained.into_iter();
        let signal = if answered {
            Signal::scored(part)
        } else {
            Signal::abstained(abstained.next().unwrap())
        };
        let usage = Usage { judge_calls: 1, ..Usage::default() };
        let signal = signal.and_abstained(abstained).with_usage(usage);
        async move { vec![signal] }.boxed()
    }
}

struct Played {
    settled: SettledGroup,
    questions: usize,
}

impl Played {
    fn reward(&self, index: usize) -> Option<f64> {
        // Rounded, because the literals of the tests are.
        self.result(index).reward.map(|reward| (reward.get() * 1e9).round() / 1e9)
    }

    fn result(&self, index: usize) -> &RolloutResult {
        &self.settled.results[index].0
    }

    fn comparable(&self) -> bool {
        let mut comparison = GroupComparison::default();
        for (index, (result, _)) in self.settled.results.iter().enumerate() {
            comparison.add(index, &GroupId::from("g"), result);
        }
        comparison.finish().is_empty()
    }

    /// The advantages as GRPO's, without the division: the rewards less their mean.
    fn advantages(&self) -> Vec<Option<f64>> {
        let rewards: Vec<f64> =
            (0..self.settled.results.len()).filter_map(|i| self.reward(i)).collect();
        let mean = rewards.iter().sum::<f64>() / rewards.len().max(1) as f64;
        let all = 0..self.settled.results.len();
        all.map(|index| Some(self.reward(index)? - mean).filter(|_| self.comparable())).collect()
    }
}

fn play(replies: &[Reply], policy: AbstainPolicy) -> Played {
    let questions = Arc::new(AtomicUsize::new(0));
    let judge = Judge {
        id: SourceId::judge(),
        replies: replies.to_vec(),
        questions: Arc::clone(&questions),
        asked: std::sync::Mutex::default(),
    };
    let fusion = FusionConfig { on_abstain: OnAbstain::ByCause(policy), ..FusionConfig::default() };
    let base = Arc::new(Base("base".into(), replies.to_vec()));
    let scorer = Scorer::new(vec![base, Arc::new(judge)], fusion);
    assert!(scorer.settles_groups());
    let rollout = |index: usize| Rollout {
        messages: vec![Message::new(Role::Assistant, index.to_string())],
        ..Rollout::default()
    };
    let group = (0..replies.len()).map(|index| {
        let rollout = rollout(index);
        let mut asked = scorer.ask(index, &rollout, None).now_or_never().unwrap();
        if scorer.wants_second_ask(&asked) {
            scorer.ask_again(&mut asked, &rollout, None).now_or_never().unwrap();
        }
        asked
    });
    let settled = scorer.settle(group.collect());
    Played { settled, questions: questions.load(Ordering::Relaxed) }
}

fn reply(rm: i32, manners: i32, facts: i32) -> Reply {
    (rm, [Verdict::Points(manners), Verdict::Points(facts)])
}

fn lacking(rm: i32, manners: Verdict, facts: i32) -> Reply {
    (rm, [manners, Verdict::Points(facts)])
}

const CONTENT: [AbstainWhy; 6] = [
    AbstainWhy::Refused,
    AbstainWhy::Truncated,
    AbstainWhy::Malformed,
    AbstainWhy::Ambiguous,
    AbstainWhy::TooLong,
    AbstainWhy::NotFinite,
];
const LIMITS: [AbstainWhy; 3] =
    [AbstainWhy::Deadline, AbstainWhy::RateLimited, AbstainWhy::Overloaded];
const INFRASTRUCTURE: [AbstainWhy; 3] =
    [AbstainWhy::Unreachable, AbstainWhy::EndpointError, AbstainWhy::Internal];

#[test]
fn a_rubric_that_one_lacks_is_dropped_for_all_after_a_second_question() {
    for why in INFRASTRUCTURE {
        let group = [reply(4, -30, -10), lacking(4, Verdict::Missing(why), -20), reply(4, 0, 0)];
        let played = play(&group, AbstainPolicy::default());
        assert_eq!(played.questions, 7, "only the missing rubric is asked again");
        let dropped: Vec<_> =
            played.settled.dropped.iter().map(|one| one.prompt.as_deref()).collect();
        assert_eq!(dropped, [Some("manners")]);
        let rewards: Vec<_> = (0..3).map(|index| played.reward(index).unwrap()).collect();
        assert_eq!(rewards, [3.6, 3.2, 4.0], "by `facts` alone");
        assert!(played.comparable());
        for (result, _) in &played.settled.results {
            let [abstention] = result.turns[0].abstained.as_slice() else { panic!("{result:?}") };
            assert_eq!(abstention.effect, Some(Word::Known(AbstainEffect::Dropped)));
            assert_eq!(abstention.prompt.as_deref(), Some("manners"));
            assert!(abstention.detail.contains("1 of 3") && abstention.detail.contains("`1`"));
            let judge = result.turns[0].judge.as_ref().unwrap();
            assert!(judge.criteria.iter().all(|one| one.prompt == "facts"), "{judge:?}");
        }

        let group = [reply(4, -30, -10), lacking(4, Verdict::MissingOnce(why), -20)];
        let played = play(&group, AbstainPolicy::default());
        assert_eq!((played.reward(0), played.reward(1)), (Some(2.4), Some(3.2)));
        assert!(played.settled.dropped.is_empty() && played.comparable());
        assert_eq!(played.settled.results[1].1.judge_calls, 2, "both questions cost");
    }
}

#[test]
fn the_actions_do_what_their_names_say() {
    use ContentAction as C;
    use InfrastructureAction as I;
    // What the sibling and the reply without `manners` get.
    let play_one = |why, policy| {
        let group = [reply(4, -30, -10), lacking(4, Verdict::Missing(why), -20)];
        let played = play(&group, policy);
        (played.reward(0), played.reward(1), played.comparable())
    };
    for content in [C::Null, C::Group, C::Worst, C::Skip] {
        let of = |infrastructure, why| play_one(why, AbstainPolicy { infrastructure, content });
        let down = AbstainWhy::Unreachable;
        assert_eq!(of(I::Skip, down), (Some(2.4), Some(3.2), false));
        assert_eq!(of(I::Group, down), (Some(3.6), Some(3.2), true));
        assert_eq!(of(I::Null, down), (Some(2.4), None, true));
    }
    for infrastructure in [I::Skip, I::Group, I::Null] {
        let of = |content, why| play_one(why, AbstainPolicy { infrastructure, content });
        for why in CONTENT {
            assert_eq!(of(C::Null, why), (Some(2.4), None, true));
            assert_eq!(of(C::Group, why), (Some(3.6), Some(3.2), true));
            assert_eq!(of(C::Worst, why), (Some(2.4), Some(1.2), true));
            assert_eq!(of(C::Skip, why), (Some(2.4), Some(3.2), false));
        }
    }
    // A limit that strikes one while the other is answered counts as both.
    for why in LIMITS {
        let of = |infrastructure, content| play_one(why, AbstainPolicy { infrastructure, content });
        assert_eq!(of(I::Group, C::Null), (Some(2.4), None, true));
        assert_eq!(of(I::Skip, C::Worst), (Some(2.4), Some(1.2), true));
        assert_eq!(of(I::Null, C::Skip), (Some(2.4), None, true));
        let both = [Verdict::Missing(why), Verdict::Points(-20)];
        let played = play(&[(4, both), (2, both)], AbstainPolicy::default());
        assert_eq!((played.reward(0), played.reward(1)), (Some(3.2), Some(1.6)));
        assert!(played.comparable(), "all lack it");
    }
}

#[test]
fn a_rollout_alone_is_a_group_of_its_own() {
    let alone = [lacking(4, Verdict::Missing(AbstainWhy::Unreachable), -20)];
    let played = play(&alone, AbstainPolicy::default());
    assert_eq!((played.reward(0), played.questions), (Some(3.2), 3));
    assert!(played.settled.dropped.is_empty());
    let alone = [lacking(4, Verdict::Missing(AbstainWhy::Ambiguous), -20)];
    let played = play(&alone, AbstainPolicy::default());
    assert_eq!((played.reward(0), played.questions), (None, 2));
}

#[test]
fn causes_follow_the_reason_and_unknown_words_are_content() {
    use guerdon_types::AbstainCause::{Content, Infrastructure};
    let of = |why, reason| Abstention::new(SourceId::judge(), why, "d").because(reason);
    assert_eq!(of(AbstainWhy::EndpointError, None).cause(), Infrastructure);
    let refused = of(AbstainWhy::EndpointError, Some(AbstainReason::BadRequest));
    assert_eq!(refused.cause(), Content);
    assert!(of(AbstainWhy::RateLimited, None).is_of_a_limit());
    let over_budget = of(AbstainWhy::RateLimited, Some(AbstainReason::Budget));
    assert!(!over_budget.is_of_a_limit() && over_budget.cause() == Infrastructure);
    let later = r#"{"source": "judge", "why": "bored", "detail": "d"}"#;
    assert_eq!(serde_json::from_str::<Abstention>(later).unwrap().cause(), Content);
}

/// A group of judged replies, and the way in which the judge fails on one more.
fn any_group() -> impl Strategy<Value = (Vec<Reply>, Reply)> {
    let judged = (-5..5i32, -50..10i32, -50..10i32).prop_map(|(rm, a, b)| reply(rm, a, b));
    let causes: Vec<AbstainWhy> = CONTENT.into_iter().chain(LIMITS).collect();
    let missing = prop::sample::select(causes).prop_map(Verdict::Missing);
    let points = (-50..10i32).prop_map(Verdict::Points);
    let verdicts = prop_oneof![
        (missing.clone(), points.clone()).prop_map(|(a, b)| [a, b]),
        (points, missing.clone()).prop_map(|(a, b)| [a, b]),
        (missing.clone(), missing).prop_map(|(a, b)| [a, b]),
    ];
    let unjudgeable = (-5..50i32, verdicts);
    (prop::collection::vec(judged, 1..6), unjudgeable)
}

proptest! {
    /// The policy that wants to be unjudgeable. With the defaults its reply never gets a positive
    /// advantage, and the rewards of its siblings are those that they have without it.
    #[test]
    fn being_unjudgeable_never_pays((siblings, unjudgeable) in any_group(), at in 0usize..6) {
        let mut group = siblings.clone();
        let at = at.min(group.len());
        group.insert(at, unjudgeable);
        let played = play(&group, AbstainPolicy::default());
        let alone = play(&siblings, AbstainPolicy::default());
        let mut advantages = played.advantages();
        prop_assert_eq!(advantages.remove(at), None);
        prop_assert_eq!(advantages, alone.advantages());
        prop_assert!(played.settled.dropped.is_empty());
    }

    /// With `worst` it gets at most what it would get for any honest verdict.
    #[test]
    fn the_worst_verdict_is_no_gain((siblings, unjudgeable) in any_group(), honest: [i8; 2]) {
        let policy =
            AbstainPolicy { content: ContentAction::Worst, ..AbstainPolicy::default() };
        let verdicts = unjudgeable.1;
        let judged = [0, 1].map(|place| match verdicts[place] {
            Verdict::Points(points) => Verdict::Points(points),
            _ => Verdict::Points(i32::from(honest[place]).max(WORST)),
        });
        let with = |reply| {
            let mut group = siblings.clone();
            group.push(reply);
            let played = play(&group, policy);
            let advantage = *played.advantages().last().unwrap();
            (played.reward(siblings.len()).unwrap(), advantage)
        };
        let (worst, worst_advantage) = with((unjudgeable.0, verdicts));
        let (judged, advantage) = with((unjudgeable.0, judged));
        prop_assert!(worst <= judged + 1e-9, "{worst} {judged}");
        prop_assert!(worst_advantage.unwrap() <= advantage.unwrap() + 1e-9);
    }

    /// Whatever fails, the rewarded siblings of a group are made of the same rubrics, unless `skip`
    /// says otherwise.
    #[test]
    fn rewarded_siblings_are_comparable(
        group in prop::collection::vec((-5..5i32, [any_verdict(), any_verdict()]), 1..7),
        content in prop::sample::select(
            vec![ContentAction::Null, ContentAction::Group, ContentAction::Worst],
        ),
    ) {
        for infrastructure in [InfrastructureAction::Group, InfrastructureAction::Null] {
            let played = play(&group, AbstainPolicy { infrastructure, content });
            prop_assert!(played.comparable(), "{:?}", played.settled.results);
            let mut rubrics = BTreeMap::new();
            for (result, _) in &played.settled.results {
                if result.reward.is_some() {
                    let turn = &result.turns[0];
                    let dropped: Vec<_> = turn
                        .abstained
                        .iter()
                        .filter(|one| one.effect == Some(Word::Known(AbstainEffect::Dropped)))
                        .map(|one| one.prompt.clone())
                        .collect();
                    rubrics.insert(dropped, ());
                }
            }
            prop_assert!(rubrics.len() <= 1, "{rubrics:?}");
        }
    }
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    let all: Vec<AbstainWhy> = CONTENT.into_iter().chain(LIMITS).chain(INFRASTRUCTURE).collect();
    prop_oneof![
        4 => (-50..10i32).prop_map(Verdict::Points),
        1 => prop::sample::select(all.clone()).prop_map(Verdict::Missing),
        1 => prop::sample::select(all).prop_map(Verdict::MissingOnce),
    ]
}

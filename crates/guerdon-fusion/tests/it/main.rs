//! The law of absence: a missing signal is never a number, in any fusion, for any failure.

#![expect(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test fails by panicking, and its numbers are exact"
)]

mod by_cause;
mod roles;
mod stages;

use std::sync::Arc;

use futures_util::FutureExt as _;
use guerdon_fusion::{Ask, BoxFuture, RewardSource, Scorer, SourceVersion};
use guerdon_types::{
    AbstainPolicy, AbstainWhy, Abstention, Aggregate, ContentAction, Finite, FusionConfig,
    FusionMethod, InfrastructureAction, InnerMethod, Message, OnAbstain, OtherPart, Part, Role,
    Rollout, RolloutResult, ScoreTurns, Signal, SourceId, SourceKind,
};
use proptest::prelude::*;

const TURNS: usize = 2;

/// The answer of a source for one turn.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Answer {
    Whole,
    /// A number and an abstention.
    InPart,
    Abstention,
    /// Neither a number nor a reason, which breaks the contract of a source.
    Nothing,
}

/// The behaviour of a source as a whole.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Behaviour {
    Answers([Answer; TURNS]),
    TooFew,
    TooMany,
    NoSignals,
    /// Panics before it returns a future.
    PanicsAtOnce,
    PanicsLater,
}

impl Behaviour {
    /// The answer for a turn, as far as the fusion can use it.
    fn answer(self, turn: usize) -> Answer {
        match self {
            Self::Answers(answers) => answers[turn],
            _ => Answer::Nothing,
        }
    }
}

#[derive(Debug, Clone)]
struct Scripted {
    id: SourceId,
    kind: SourceKind,
    numbers: [i32; TURNS],
    behaviour: Behaviour,
}

impl Scripted {
    fn signal(&self, turn: usize, answer: Answer) -> Signal {
        let points = Finite::from(self.numbers[turn]);
        let part = OtherPart { points, veto: self.numbers[turn] == 13, ..OtherPart::default() };
        let scored = Signal::scored(Part::Other(part));
        let why = Abstention::new(
            self.id.clone(),
            AbstainWhy::Deadline,
            format!("<{}> is late", self.id),
        );
        match answer {
            Answer::Whole => scored,
            Answer::InPart => scored.and_abstained([why]),
            Answer::Abstention => Signal::abstained(why),
            Answer::Nothing => {
                let mut empty = scored;
                empty.part = None;
                empty
            }
        }
    }
}

impl RewardSource for Scripted {
    fn id(&self) -> &SourceId {
        &self.id
    }
    fn kind(&self) -> SourceKind {
        self.kind
    }
    fn about(&self) -> String {
        "follows a script".into()
    }
    fn version(&self) -> SourceVersion {
        SourceVersion::Texts([].into())
    }
    fn score<'a>(&'a self, _: Ask<'a>) -> BoxFuture<'a, Vec<Signal>> {
        assert!(self.behaviour != Behaviour::PanicsAtOnce, "requested panic");
        let all = |count: usize| (0..count).map(|_| self.signal(0, Answer::Whole)).collect();
        let signals = match self.behaviour {
            Behaviour::Answers(answers) => answers
                .iter()
                .enumerate()
                .map(|(turn, answer)| self.signal(turn, *answer))
                .collect(),
            Behaviour::TooFew => all(TURNS - 1),
            Behaviour::TooMany => all(TURNS + 1),
            _ => Vec::new(),
        };
        async move {
            assert!(self.behaviour != Behaviour::PanicsLater, "requested panic");
            signals
        }
        .boxed()
    }
}

fn score(sources: Vec<Scripted>, fusion: &FusionConfig) -> RolloutResult {
    let turn = |index: usize| Message::new(Role::Assistant, index.to_string());
    let messages = (0..TURNS).map(turn).collect();
    let rollout = Rollout { messages, score: ScoreTurns::ALL, ..Rollout::default() };
    let sources = sources.into_iter().map(|one| Arc::new(one) as Arc<dyn RewardSource>).collect();
    let scorer = Scorer::new(sources, fusion.clone());
    scorer.score(0, &rollout, None).now_or_never().unwrap().0
}

/// Every method, aggregate and policy.
fn every_fusion() -> Vec<FusionConfig> {
    let mut fusions = Vec::new();
    let skips =
        AbstainPolicy { infrastructure: InfrastructureAction::Skip, content: ContentAction::Skip };
    let by_cause = [AbstainPolicy::default(), skips].map(OnAbstain::ByCause);
    for on_abstain in [OnAbstain::Skip, OnAbstain::Null].into_iter().chain(by_cause) {
        for aggregate in [Aggregate::Last, Aggregate::Mean, Aggregate::Sum, Aggregate::Min] {
            for (method, inner) in [
                (FusionMethod::Repo, InnerMethod::Repo),
                (FusionMethod::WeightedSum, InnerMethod::Repo),
                (FusionMethod::Gated, InnerMethod::Repo),
                (FusionMethod::Gated, InnerMethod::WeightedSum),
            ] {
                let default = FusionConfig::default();
                fusions.push(FusionConfig { method, inner, on_abstain, aggregate, ..default });
            }
        }
    }
    fusions
}

fn any_source() -> impl Strategy<Value = (SourceKind, [i32; TURNS], Behaviour)> {
    let kind = prop_oneof![
        Just(SourceKind::Model),
        Just(SourceKind::Judge),
        Just(SourceKind::Rules),
        Just(SourceKind::External)
    ];
    let answer = prop_oneof![
        4 => Just(Answer::Whole),
        1 => Just(Answer::InPart),
        1 => Just(Answer::Abstention),
        1 => Just(Answer::Nothing),
    ];
    let behaviour = prop_oneof![
        8 => [answer.clone(), answer].prop_map(Behaviour::Answers),
        1 => Just(Behaviour::TooFew),
        1 => Just(Behaviour::TooMany),
        1 => Just(Behaviour::NoSignals),
        1 => Just(Behaviour::PanicsAtOnce),
        1 => Just(Behaviour::PanicsLater),
    ];
    let number = prop_oneof![4 => -120..120i32, 1 => Just(13)];
    (kind, [number.clone(), number], behaviour)
}

/// True if the law gives `turn` no reward.
fn is_void(sources: &[Scripted], fusion: &FusionConfig, turn: usize) -> bool {
    let lacks = |source: &Scripted| source.behaviour.answer(turn) != Answer::Whole;
    let is_silent = |source: &Scripted| {
        matches!(source.behaviour.answer(turn), Answer::Abstention | Answer::Nothing)
    };
    let is_base = |source: &&Scripted| source.kind == SourceKind::Model;
    sources.iter().filter(is_base).any(lacks)
        || sources.iter().all(is_silent)
        || (fusion.on_abstain == OnAbstain::Null && sources.iter().any(lacks))
}

/// The reward of `turn` from the numbers that there are: silent sources are not asked, and partial
/// numbers count as whole ones.
fn reward_of_the_rest(sources: &[Scripted], fusion: &FusionConfig, turn: usize) -> Option<Finite> {
    let rest = sources.iter().filter_map(|source| match source.behaviour.answer(turn) {
        Answer::Whole | Answer::InPart => Some(Scripted {
            behaviour: Behaviour::Answers([Answer::Whole; TURNS]),
            ..source.clone()
        }),
        Answer::Abstention | Answer::Nothing => None,
    });
    score(rest.collect(), fusion).turns[turn].reward
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn missing_signal_is_never_a_number(drawn in prop::collection::vec(any_source(), 1..7)) {
        let sources: Vec<Scripted> = drawn
            .into_iter()
            .enumerate()
            .map(|(index, (kind, numbers, behaviour))| {
                Scripted { id: format!("s{index}").into(), kind, numbers, behaviour }
            })
            .collect();
        for fusion in every_fusion() {
            let has_base = sources.iter().any(|source| source.kind == SourceKind::Model);
            if fusion.needs_rm() && !has_base {
                continue;
            }
            let result = score(sources.clone(), &fusion);
            prop_assert_eq!(result.turns.len(), TURNS);
            let voids = [0, 1].map(|turn| is_void(&sources, &fusion, turn));
            for (turn, (reply, void)) in result.turns.iter().zip(voids).enumerate() {
                let wanted = if void { None } else { reward_of_the_rest(&sources, &fusion, turn) };
                prop_assert_eq!(void, wanted.is_none());
                prop_assert_eq!(reply.reward, wanted, "turn {} with {:?}", turn, &fusion);
                for source in &sources {
                    let named = reply.abstained.iter().any(|why| why.source == source.id);
                    let lacks = source.behaviour.answer(turn) != Answer::Whole;
                    prop_assert_eq!(named, lacks, "{}", source.id);
                }
            }
            let counted = if fusion.aggregate == Aggregate::Last { &voids[1..] } else { &voids[..] };
            let is_unscored = counted.contains(&true);
            prop_assert_eq!(result.reward.is_none(), is_unscored, "{:?}", &fusion);
            prop_assert_eq!(result.error.is_some(), is_unscored);
            if let Some(problem) = result.error {
                let turn = voids.iter().position(|void| *void).unwrap();
                for source in &sources {
                    let lacks = source.behaviour.answer(turn) != Answer::Whole;
                    let named = problem.detail.contains(&format!("{} abstained", source.id));
                    prop_assert_eq!(named, lacks, "{}", problem.detail);
                }
            }
        }
    }
}

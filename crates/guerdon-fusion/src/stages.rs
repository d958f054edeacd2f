//! The stages after the fusion of turns: rollouts that are screened, and rewards that depend on the
//! group.

use guerdon_types::{
    Aggregate, Finite, FusionConfig, FusionMethod, Problem, ProblemCode, RolloutResult, TurnResult,
    Verdict,
};

use crate::{HeroSample, TurnSignals, hero, is_screened};

/// The verdict of the fusion on a turn; `None` for a method without verdicts, or if `hero.pass` is
/// set and no source gave points.
#[must_use]
pub fn verdict(signals: &TurnSignals, config: &FusionConfig) -> Option<Verdict> {
    match config.method {
        FusionMethod::Screen => is_screened(signals, config).then_some(Verdict::Screened),
        FusionMethod::Hero if signals.vetoed => Some(Verdict::Wrong),
        FusionMethod::Hero => match config.hero.pass {
            None => Some(Verdict::Right),
            Some(pass) if signals.points()? >= pass.get() => Some(Verdict::Right),
            Some(_) => Some(Verdict::Wrong),
        },
        _ => None,
    }
}

/// The reason of a missing reward if a turn is screened. A veto on any scored turn screens the
/// rollout, whichever turns its aggregate counts.
pub(crate) fn screening(turns: &[TurnResult]) -> Option<Problem> {
    let turn = turns.iter().find(|turn| is_verdict(turn, Verdict::Screened))?;
    let detail = format!("turn {} was screened: a veto fired", turn.index);
    let hint = "mask this rollout; its siblings are compared without it. The veto is in `turns`";
    Some(Problem::new(ProblemCode::Screened, detail).hint(hint))
}

/// Gives the rollouts of one group the rewards of `hero`. Until then, a rollout's reward is the
/// aggregate of its turns' scores.
pub(crate) fn stratify<'a>(
    fusion: &FusionConfig,
    results: impl Iterator<Item = &'a mut RolloutResult>,
) {
    if fusion.method != FusionMethod::Hero {
        return;
    }
    let (mut members, mut samples) = (Vec::new(), Vec::new());
    for result in results {
        let Some(score) = result.reward.take() else { continue };
        match is_right(&result.turns, fusion.aggregate) {
            Some(right) => {
                samples.push(HeroSample { score: score.get(), right });
                members.push(result);
            }
            None => {
                let detail = "no source gave points, so the reply is neither right nor wrong";
                result.error = Some(Problem::new(ProblemCode::Unscored, detail).hint(
                    "mask this rollout, or send it again; without `hero.pass` only vetoes decide",
                ));
            }
        }
    }
    for (result, reward) in members.into_iter().zip(hero(&fusion.hero, &samples)) {
        result.reward = Finite::new(reward).ok();
    }
}

/// True if every turn that counts is right; `None` if the verdict on one of them is missing and none
/// is wrong.
fn is_right(turns: &[TurnResult], aggregate: Aggregate) -> Option<bool> {
    let counted = match aggregate {
        Aggregate::Last => turns.split_last().map_or(turns, |(last, _)| std::slice::from_ref(last)),
        Aggregate::Mean | Aggregate::Sum | Aggregate::Min => turns,
    };
    if counted.iter().any(|turn| is_verdict(turn, Verdict::Wrong)) {
        return Some(false);
    }
    counted.iter().all(|turn| is_verdict(turn, Verdict::Right)).then_some(true)
}

fn is_verdict(turn: &TurnResult, verdict: Verdict) -> bool {
    turn.verdict.as_ref().is_some_and(|found| *found == verdict)
}

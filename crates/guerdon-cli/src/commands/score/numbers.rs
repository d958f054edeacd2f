//! The numbers of the caller that some estimators need for each rollout: lengths and baselines.

use anyhow::{Context as _, bail, ensure};
use guerdon_client::optim::RolloutEstimator;
use guerdon_types::{AdvantagesRequest, Finite, Rollout, ScoreRequest};
use serde_json::Value;

use crate::cli::ScoreArgs;

/// The places of the numbers: facts of the rollouts, or lists in an input that is a whole request.
#[derive(Debug, Clone, Default)]
pub(super) struct CallerNumbers {
    lengths: Option<String>,
    baselines: Option<String>,
}

impl CallerNumbers {
    /// The facts that the flags name.
    ///
    /// # Errors
    /// The estimator needs numbers that neither a flag nor the input has, or a flag is of another
    /// estimator.
    pub(super) fn new(
        score: &ScoreArgs,
        asked: Option<&AdvantagesRequest>,
        estimator: Option<RolloutEstimator>,
    ) -> anyhow::Result<Self> {
        let ScoreArgs { lengths, baselines, .. } = score;
        let needs = |needs: fn(RolloutEstimator) -> bool| estimator.is_some_and(needs);
        let has = |has: fn(&AdvantagesRequest) -> bool| asked.is_some_and(has);
        for (flag, of, fact, is_needed, is_given) in [
            (
                "--lengths",
                "opo",
                lengths,
                needs(RolloutEstimator::needs_lens),
                has(|asked| !asked.lengths.is_empty()),
            ),
            (
                "--baselines",
                "remax",
                baselines,
                needs(RolloutEstimator::needs_baselines),
                has(|asked| !asked.baselines.is_empty()),
            ),
        ] {
            ensure!(fact.is_none() || is_needed, "{flag} is of the estimator {of} only");
            ensure!(
                !is_needed || fact.is_some() || is_given,
                "the estimator {of} needs a number for each rollout\n  help: name the fact that has \
                 it, such as {flag} stats.{}",
                flag.trim_start_matches('-')
            );
        }
        Ok(Self { lengths: lengths.clone(), baselines: baselines.clone() })
    }

    /// The facts, as settings of a run.
    pub(super) fn settings(&self) -> impl Iterator<Item = (String, Value)> {
        let named = [("lengths", &self.lengths), ("baselines", &self.baselines)];
        let given = named.into_iter().filter_map(|(name, fact)| Some((name, fact.as_ref()?)));
        given
            .map(|(name, fact)| (name.to_owned(), fact.as_str().into()))
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// The advantages that a request of `rollouts` asks for. `lines` has the index of each in the
    /// input.
    ///
    /// # Errors
    /// A rollout has no length, or a fact is no such number.
    pub(super) fn of(
        &self,
        template: &ScoreRequest,
        lines: &[usize],
        rollouts: &[Rollout],
    ) -> anyhow::Result<Option<AdvantagesRequest>> {
        let Some(whole) = &template.advantages else { return Ok(None) };
        let mut asked = AdvantagesRequest::new(&whole.estimator);
        asked.weights.clone_from(&whole.weights);
        asked.lengths = match &self.lengths {
            Some(fact) => {
                rollouts.iter().map(|rollout| length(rollout, fact)).collect::<Result<_, _>>()?
            }
            None => of_lines(&whole.lengths, lines),
        };
        asked.baselines = match &self.baselines {
            Some(fact) => {
                rollouts.iter().map(|rollout| baseline(rollout, fact)).collect::<Result<_, _>>()?
            }
            None => of_lines(&whole.baselines, lines),
        };
        Ok(Some(asked))
    }
}

/// The numbers of some lines. Those of a list that is too short are left out, and the server says so.
fn of_lines<T: Clone>(numbers: &[T], lines: &[usize]) -> Vec<T> {
    lines.iter().filter_map(|line| numbers.get(*line)).cloned().collect()
}

fn length(rollout: &Rollout, fact: &str) -> anyhow::Result<u32> {
    let place = || format!("rollout `{}`: the fact `{fact}` of --lengths", name(rollout));
    let Some(value) = value(rollout, fact) else { bail!("{} is missing", place()) };
    let whole = value.as_u64().or_else(|| whole(value.as_f64()?));
    let tokens = whole.and_then(|tokens| u32::try_from(tokens).ok());
    tokens.with_context(|| format!("{} is {value}; it must be a number of tokens", place()))
}

fn baseline(rollout: &Rollout, fact: &str) -> anyhow::Result<Option<Finite>> {
    let Some(value) = value(rollout, fact) else { return Ok(None) };
    let number = value.as_f64().and_then(|number| Finite::new(number).ok());
    let place = || {
        let name = name(rollout);
        format!(
            "rollout `{name}`: the fact `{fact}` of --baselines is {value}; it must be a reward"
        )
    };
    number.map(Some).with_context(place)
}

/// The value of a fact, by its path. A null is no value.
fn value<'r>(rollout: &'r Rollout, path: &str) -> Option<&'r Value> {
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    let found = rollout.context.get(first)?;
    let found = match rest {
        Some(rest) => rest.split('.').try_fold(found, |value, key| value.get(key))?,
        None => found,
    };
    (!found.is_null()).then_some(found)
}

/// Tables have whole numbers as floats.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn whole(number: f64) -> Option<u64> {
    ((0.0..9e15).contains(&number) && number.fract() == 0.0).then_some(number as u64)
}

fn name(rollout: &Rollout) -> &str {
    rollout.id.as_ref().map_or("", |id| id.as_str())
}

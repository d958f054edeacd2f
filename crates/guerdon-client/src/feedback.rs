//! From rewards to what an update takes: numbered groups, parts, and NaN where nothing may be learned.

use std::collections::HashMap;

use guerdon_optim::SourceRewards;
use guerdon_optim::{Float, RepoBatch, RowMask};
use guerdon_types::{Finite, GroupId, RolloutResult, ScoreRequest, TurnResult};

use crate::{Error, Scored};

/// Which rollouts an update may learn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Abstaining {
    /// Those with a reward. One without leaves every statistic, loss and gradient.
    #[default]
    Drop,
    /// Those with a reward on which no source abstained: while a judge is down its absence must not be learned.
    DropIncomplete,
    /// All of them, or none: a rollout without a reward is an error.
    Refuse,
}

/// The rewards of a batch as [`Repo::step`](guerdon_optim::Repo::step) takes them; made by [`Scored::feedback`].
#[derive(Debug, Clone, PartialEq)]
pub struct Feedback<F> {
    /// `[B]`, in the request's order; NaN where nothing is learned.
    pub rewards: Vec<F>,
    /// `[B]`: rollouts of the same `group` have the same number; one without a group has one of its own.
    pub groups: Vec<usize>,
    /// `[B]`: the reward model's calibrated score, the mean over the scored turns; NaN where it abstained.
    pub rm: Vec<F>,
    /// `[B]`: the judge's points, likewise.
    pub judge: Vec<F>,
    /// `[B]`: the rules' points, likewise.
    pub rules: Vec<F>,
    /// How many rollouts nothing is learned from.
    pub dropped: usize,
}

impl<F: Float> Feedback<F> {
    /// The batch of one update: these rewards, groups and parts, with the log-probs (`[B, T]`, nats) of the tokens under
    /// the policy now and under the one that sampled them.
    pub fn batch<'a>(
        &'a self,
        mask: RowMask<'a>,
        logp: &'a [F],
        old_logp: &'a [F],
    ) -> RepoBatch<'a, F> {
        // A source that said nothing about anything is not in use, and monitors leave it out.
        fn in_use<F: Float>(part: &[F]) -> &[F] {
            if part.iter().all(|points| points.is_nan()) { &[] } else { part }
        }
        let parts = SourceRewards {
            rm: in_use(&self.rm),
            judge: in_use(&self.judge),
            rules: in_use(&self.rules),
        };
        RepoBatch::new(mask, logp, old_logp, &self.rewards)
            .with_groups(&self.groups)
            .with_parts(parts)
    }
}

impl Scored {
    /// What an update takes of these rewards. `request` is the one that was scored.
    ///
    /// ```no_run
    /// use guerdon_client::optim::{Repo, RepoConfig, RowMask};
    /// use guerdon_client::{Abstaining, Client, ScoreRequest};
    ///
    /// # async fn update(client: Client, request: ScoreRequest) -> Result<(), Box<dyn std::error::Error>> {
    /// # let (lens, width, log_probs, critic) = (vec![3], 4, vec![0.0_f32; 4], vec![0.0_f32; 4]);
    /// # let (logp, old_logp, reference, values, old_values) = (&log_probs, &log_probs, &log_probs, &critic, &critic);
    /// let mut repo = Repo::new(RepoConfig::paper())?;
    /// let scored = client.score(&request).await?;
    /// let feedback = scored.feedback::<f32>(&request, Abstaining::DropIncomplete)?;
    /// let mask = RowMask::lens(&lens, width)?; // tokens of each reply, in the request's order
    /// let batch = feedback.batch(mask, logp, old_logp).with_reference(reference).with_critic(values, old_values);
    /// let update = repo.step(&batch)?;
    /// println!("loss {}, {} rollouts not scored", update.loss, feedback.dropped);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Unscored`] with [`Abstaining::Refuse`], for the first rollout without a reward; [`Error::Mismatch`] if
    /// `request` has another number of rollouts.
    pub fn feedback<F: Float>(
        &self,
        request: &ScoreRequest,
        abstaining: Abstaining,
    ) -> Result<Feedback<F>, Error> {
        if request.rollouts.len() != self.results.len() {
            let (results, rollouts) = (self.results.len(), request.rollouts.len());
            return Err(Error::Mismatch { results, rollouts });
        }
        let nan = F::from_f64(f64::NAN);
        let mut feedback = Feedback {
            rewards: Vec::new(),
            groups: group_numbers(request),
            rm: Vec::new(),
            judge: Vec::new(),
            rules: Vec::new(),
            dropped: 0,
        };
        for result in &self.results {
            if abstaining == Abstaining::Refuse && result.reward.is_none() {
                let why =
                    result.error.as_ref().map_or("the server says no more", |error| &error.detail);
                return Err(Error::Unscored { id: result.id.clone(), why: why.to_owned() });
            }
            let incomplete = abstaining == Abstaining::DropIncomplete
                && result.turns.iter().any(|turn| !turn.abstained.is_empty());
            let reward = result.reward.filter(|_| !incomplete);
            feedback.dropped += usize::from(reward.is_none());
            feedback.rewards.push(reward.map_or(nan, |reward| F::from_f64(reward.get())));
            feedback.rm.push(mean(result, |turn| Some(turn.rm.as_ref()?.score)));
            feedback.judge.push(mean(result, |turn| Some(turn.judge.as_ref()?.points)));
            feedback.rules.push(mean(result, |turn| Some(turn.rules.as_ref()?.points)));
        }
        Ok(feedback)
    }
}

/// The mean of a part over the turns that have it; NaN if none has.
#[expect(clippy::cast_precision_loss, reason = "a rollout has fewer than 2^53 turns")]
fn mean<F: Float>(result: &RolloutResult, part: impl Fn(&TurnResult) -> Option<Finite>) -> F {
    let said: Vec<f64> = result.turns.iter().filter_map(part).map(Finite::get).collect();
    F::from_f64(said.iter().sum::<f64>() / said.len() as f64)
}

fn group_numbers(request: &ScoreRequest) -> Vec<usize> {
    let mut numbers: HashMap<&GroupId, usize> = HashMap::new();
    let mut next = 0;
    let mut fresh = || {
        next += 1;
        next - 1
    };
    request
        .rollouts
        .iter()
        .map(|rollout| match &rollout.group {
            Some(group) => *numbers.entry(group).or_insert_with(&mut fresh),
            None => fresh(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use guerdon_optim::{Repo, RepoConfig};

    use super::*;
    use crate::Client;
    use crate::testing::{StandIn, batch};

    async fn scored(request: &ScoreRequest) -> Scored {
        let server = StandIn::start(vec![]).await;
        Client::new(&server.url).unwrap().score(request).await.unwrap()
    }

    #[tokio::test]
    async fn rollouts_in_and_an_update_out() {
        let mut request = batch(&["a", "a", "b", ""]);
        request.rollouts[1].messages[0].content = "no number".into();
        let scored = scored(&request).await;
        let feedback = scored.feedback::<f32>(&request, Abstaining::Drop).unwrap();
        assert_eq!((feedback.groups.as_slice(), feedback.dropped), ([0, 0, 1, 2].as_slice(), 1));
        assert!(feedback.rewards[1].is_nan() && (feedback.rewards[2] - 2.0).abs() < 1e-6);

        let mask = RowMask::full(4, 3);
        let (logp, values) = ([-1.0_f32; 12], [0.0_f32; 12]);
        let mut repo = Repo::new(RepoConfig::paper()).unwrap();
        let batch =
            feedback.batch(mask, &logp, &logp).with_reference(&logp).with_critic(&values, &values);
        let update = repo.step(&batch).unwrap();
        assert!(update.loss.is_finite());
        assert_eq!(update.dlogp[3..6], [0.0; 3], "nothing is learned from what was not scored");
        assert!(update.dlogp[6..9].iter().all(|slope| *slope != 0.0));
    }

    #[tokio::test]
    async fn a_rollout_without_a_reward_is_an_error_where_that_is_asked_for() {
        let mut request = batch(&[""; 2]);
        request.rollouts[1].messages[0].content = "no number".into();
        let scored = scored(&request).await;
        let error = scored.feedback::<f64>(&request, Abstaining::Refuse).unwrap_err().to_string();
        assert!(error.contains("rollout `1` has no reward"), "{error}");
        request.rollouts.pop();
        let error = scored.feedback::<f64>(&request, Abstaining::Drop).unwrap_err().to_string();
        assert!(error.contains("2 results") && error.contains("1 rollout"), "{error}");
    }

    #[tokio::test]
    async fn what_a_source_did_not_see_is_not_learned_where_that_is_asked_for() {
        use guerdon_types::{AbstainWhy, Abstained, SourceId, TurnResult};

        let request = batch(&[""; 2]);
        let mut scored = scored(&request).await;
        scored.results[1].turns = vec![TurnResult {
            index: 0,
            reward: scored.results[1].reward,
            enhancement: None,
            rm: None,
            judge: None,
            rules: None,
            other: Default::default(),
            abstained: vec![Abstained::new(SourceId::judge(), AbstainWhy::Unreachable, "down")],
            beside: None,
        }];
        let dropped = |abstaining| scored.feedback::<f64>(&request, abstaining).unwrap().dropped;
        assert_eq!((dropped(Abstaining::Drop), dropped(Abstaining::DropIncomplete)), (0, 1));
    }
}

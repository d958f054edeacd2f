//! Converts results to the input of an update: rewards, numbered groups and parts, with NaN for
//! dropped rollouts.

use std::collections::HashMap;

use guerdon_optim::SourceRewards;
use guerdon_optim::{Float, RepoBatch, RowMask};
use guerdon_types::{Finite, GroupId, ProblemCode, RolloutResult, ScoreRequest, TurnResult};

use crate::{Error, ScoredBatch};

/// The treatment of rollouts without a complete reward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum UnscoredPolicy {
    /// Drops rollouts without a reward from every statistic, loss and gradient.
    #[default]
    Drop,
    /// Drops rollouts on which a source abstained, too, so that an update does not learn from the
    /// absence of a judge.
    DropIncomplete,
    /// Drops, beside rollouts without a reward, all rollouts of a group that is not comparable
    /// ([`ScoredBatch::groups`]), so that an update does not compare a sample that the judge saw
    /// with one that it did not see.
    DropIncomparable,
    /// Returns an error for a rollout without a reward.
    Refuse,
}

/// The rewards of a batch as [`Repo::step`](guerdon_optim::Repo::step) takes them. Returned by
/// [`ScoredBatch::feedback`].
#[derive(Debug, Clone, PartialEq)]
pub struct Feedback<F> {
    /// `[B]`, in the order of the request; NaN for a dropped rollout.
    pub rewards: Vec<F>,
    /// `[B]`: rollouts of the same `group` have the same number; a rollout without a group has its
    /// own.
    pub groups: Vec<usize>,
    /// `[B]`: the reward model's calibrated score, the mean over the scored turns; NaN if it
    /// abstained.
    pub rm: Vec<F>,
    /// `[B]`: the judge's points, as `rm`.
    pub judge: Vec<F>,
    /// `[B]`: the rules' points, as `rm`.
    pub rules: Vec<F>,
    /// The number of dropped rollouts.
    pub dropped: usize,
}

impl<F: Float> Feedback<F> {
    /// The batch of one update: these rewards, groups and parts, with the log-probs (`[B, T]`,
    /// nats) of the tokens under the current policy and under the policy that sampled them.
    pub fn batch<'a>(
        &'a self,
        mask: RowMask<'a>,
        logp: &'a [F],
        old_logp: &'a [F],
    ) -> RepoBatch<'a, F> {
        // Leaves a source without any value out of the monitors.
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

impl ScoredBatch {
    /// The input of an update. `request` is the request that was scored.
    ///
    /// ```no_run
    /// use guerdon_client::optim::{Repo, RepoConfig, RowMask};
    /// use guerdon_client::{UnscoredPolicy, Client, ScoreRequest};
    ///
    /// # type Outcome = Result<(), Box<dyn std::error::Error>>;
    /// # async fn update(client: Client, request: ScoreRequest) -> Outcome {
    /// # let (lens, width, log_probs, critic) = (vec![3], 4, vec![0.0_f32; 4], vec![0.0_f32; 4]);
    /// # let (logp, old_logp, reference) = (&log_probs, &log_probs, &log_probs);
    /// # let (values, old_values) = (&critic, &critic);
    /// let mut repo = Repo::new(RepoConfig::paper())?;
    /// let scored = client.score(&request).await?;
    /// let feedback = scored.feedback::<f32>(&request, UnscoredPolicy::DropIncomplete)?;
    /// let mask = RowMask::lens(&lens, width)?; // tokens of each reply, in the request's order
    /// let batch = feedback
    ///     .batch(mask, logp, old_logp)
    ///     .with_reference(reference)
    ///     .with_critic(values, old_values);
    /// let update = repo.step(&batch)?;
    /// println!("loss {}, {} rollouts not scored", update.loss, feedback.dropped);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Unscored`] with [`UnscoredPolicy::Refuse`], for the first rollout without a reward;
    /// [`Error::Mismatch`] if `request` has another number of rollouts.
    pub fn feedback<F: Float>(
        &self,
        request: &ScoreRequest,
        policy: UnscoredPolicy,
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
        let comparable = self.comparable(request);
        for (result, comparable) in self.results.iter().zip(comparable) {
            let screened =
                result.error.as_ref().is_some_and(|error| error.code == ProblemCode::Screened);
            if policy == UnscoredPolicy::Refuse && result.reward.is_none() && !screened {
                let why = result
                    .error
                    .as_ref()
                    .map_or("the server gave no reason", |error| &error.detail);
                return Err(Error::Unscored { id: result.id.clone(), why: why.to_owned() });
            }
            let incomplete = policy == UnscoredPolicy::DropIncomplete
                && result.turns.iter().any(|turn| !turn.abstained.is_empty());
            let incomparable = policy == UnscoredPolicy::DropIncomparable && !comparable;
            let reward = result.reward.filter(|_| !incomplete && !incomparable);
            feedback.dropped += usize::from(reward.is_none());
            feedback.rewards.push(reward.map_or(nan, |reward| F::from_f64(reward.get())));
            feedback.rm.push(mean(result, |turn| Some(turn.rm.as_ref()?.score)));
            feedback.judge.push(mean(result, |turn| Some(turn.judge.as_ref()?.points)));
            feedback.rules.push(mean(result, |turn| Some(turn.rules.as_ref()?.points)));
        }
        Ok(feedback)
    }
}

/// The mean of a part over the turns that have it; NaN if no turn has it.
#[expect(clippy::cast_precision_loss, reason = "a rollout has fewer than 2^53 turns")]
fn mean<F: Float>(result: &RolloutResult, part: impl Fn(&TurnResult) -> Option<Finite>) -> F {
    let values: Vec<f64> = result.turns.iter().filter_map(part).map(Finite::get).collect();
    F::from_f64(values.iter().sum::<f64>() / values.len() as f64)
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
    use guerdon_testing::{StandInServer, numbered_batch};

    async fn scored(request: &ScoreRequest) -> ScoredBatch {
        let server = StandInServer::start([]).await;
        Client::new(server.url()).unwrap().score(request).await.unwrap()
    }

    #[tokio::test]
    async fn feedback_feeds_an_optimizer_step() {
        let mut request = numbered_batch(&["a", "a", "b", ""]);
        request.rollouts[1].messages[0].content = "no number".into();
        let scored = scored(&request).await;
        let feedback = scored.feedback::<f32>(&request, UnscoredPolicy::Drop).unwrap();
        assert_eq!((feedback.groups.as_slice(), feedback.dropped), ([0, 0, 1, 2].as_slice(), 1));
        assert!(feedback.rewards[1].is_nan() && (feedback.rewards[2] - 2.0).abs() < 1e-6);

        let mask = RowMask::full(4, 3);
        let (logp, values) = ([-1.0_f32; 12], [0.0_f32; 12]);
        let mut repo = Repo::new(RepoConfig::paper()).unwrap();
        let batch =
            feedback.batch(mask, &logp, &logp).with_reference(&logp).with_critic(&values, &values);
        let update = repo.step(&batch).unwrap();
        assert!(update.loss.is_finite());
        assert_eq!(update.dlogp[3..6], [0.0; 3], "an unscored rollout has no gradient");
        assert!(update.dlogp[6..9].iter().all(|slope| *slope != 0.0));
    }

    #[tokio::test]
    async fn refuse_policy_returns_an_error_for_a_missing_reward() {
        let mut request = numbered_batch(&[""; 2]);
        request.rollouts[1].messages[0].content = "no number".into();
        let scored = scored(&request).await;
        let error =
            scored.feedback::<f64>(&request, UnscoredPolicy::Refuse).unwrap_err().to_string();
        assert!(error.contains("rollout `1` has no reward"), "{error}");
        request.rollouts.pop();
        let error = scored.feedback::<f64>(&request, UnscoredPolicy::Drop).unwrap_err().to_string();
        assert!(error.contains("2 results") && error.contains("1 rollout"), "{error}");
    }

    #[tokio::test]
    async fn drop_incomplete_policy_drops_rollouts_with_an_abstention() {
        use guerdon_types::{AbstainWhy, Abstention, SourceId, TurnResult};

        let request = numbered_batch(&[""; 2]);
        let mut scored = scored(&request).await;
        scored.results[1].turns = vec![TurnResult {
            index: 0,
            reward: scored.results[1].reward,
            enhancement: None,
            rm: None,
            judge: None,
            rules: None,
            other: Default::default(),
            abstained: vec![Abstention::new(SourceId::judge(), AbstainWhy::Unreachable, "down")],
            parts: Default::default(),
            verdict: None,
            beside: None,
        }];
        let dropped = |policy| scored.feedback::<f64>(&request, policy).unwrap().dropped;
        assert_eq!(
            (dropped(UnscoredPolicy::Drop), dropped(UnscoredPolicy::DropIncomplete)),
            (0, 1)
        );
    }
}

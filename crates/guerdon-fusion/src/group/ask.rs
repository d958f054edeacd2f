//! Asks the sources that see all samples of a group, after the sources that see one rollout.
//!
//! A rollout waits for its own group. If the group is not whole, such a source is asked none the
//! less, with the reason, so that it can abstain in the name of each of its prompts.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use guerdon_types::{AbstainWhy, Abstention, Rollout, Signal};

use crate::asked::AskedRollout;
use crate::source_signals::complete;
use crate::{GroupAsk, GroupMember, RewardSource, Scorer};

impl Scorer {
    /// True if a source sees the groups of rollouts: they are then [asked about](Self::ask_group)
    /// before they are [settled](Self::settle).
    #[must_use]
    pub fn asks_groups(&self) -> bool {
        self.sources().iter().any(|source| source.group().is_some())
    }

    /// Asks the sources that compare the samples of a group. `rollouts` are those of `group`, in the
    /// same order; `None` for one that could not be read. `note` is the reason why samples are
    /// missing, if it is known.
    pub async fn ask_group(
        &self,
        group: &mut [AskedRollout],
        rollouts: &[Option<&Rollout>],
        note: Option<&str>,
        deadline: Option<Instant>,
    ) {
        let size = GroupSize::of(rollouts, group.len());
        let is_asked = |asked: &AskedRollout| asked.problem.is_none();
        let places: Vec<usize> = group
            .iter()
            .zip(rollouts)
            .enumerate()
            .filter(|(_, (asked, rollout))| is_asked(asked) && rollout.is_some())
            .map(|(place, _)| place)
            .collect();
        if places.is_empty() {
            return;
        }
        let all: &[AskedRollout] = group;
        let asked = self.sources().iter().enumerate().map(|(number, source)| {
            let (places, size) = (&places, &size);
            async move {
                source.group()?;
                let first = places.first()?;
                let (asked, rollout) = (all.get(*first)?, rollouts.get(*first).copied().flatten()?);
                if !source.is_drawn(rollout, &asked.turns, self.step()) {
                    return None;
                }
                let member = |place: &usize| {
                    let asked = all.get(*place)?;
                    let rollout = rollouts.get(*place).copied().flatten()?;
                    let signals = asked.signals.get(number).map_or(&[][..], Vec::as_slice);
                    Some(GroupMember { rollout, turns: &asked.turns, signals })
                };
                let members: Vec<GroupMember<'_>> = places.iter().filter_map(member).collect();
                let conflict = size.conflict.as_deref();
                let (expected, client) = (size.expected, self.client());
                let members = members.as_slice();
                let ask = GroupAsk { members, expected, conflict, note, deadline, client };
                Some(group_signals(&**source, ask).await)
            }
        });
        let answers = join_all(asked).await;
        for (number, answers) in answers.into_iter().enumerate() {
            for (place, signals) in places.iter().zip(answers.into_iter().flatten()) {
                let own = group.get_mut(*place).and_then(|asked| asked.signals.get_mut(number));
                if let Some(own) = own {
                    *own = signals;
                }
            }
        }
        for asked in group.iter_mut().filter(|asked| asked.problem.is_none()) {
            let AskedRollout { signals, lengths, .. } = asked;
            self.combine(signals, lengths);
        }
    }
}

/// The number of samples of a group.
#[derive(Debug, PartialEq, Eq)]
struct GroupSize {
    expected: usize,
    conflict: Option<String>,
}

impl GroupSize {
    /// The size by what the rollouts say; at least `present`.
    fn of(rollouts: &[Option<&Rollout>], present: usize) -> Self {
        let named = || rollouts.iter().flatten().filter_map(|rollout| rollout.samples);
        let (least, most) = (named().min(), named().max());
        let mut seen = BTreeSet::new();
        let samples = rollouts.iter().flatten().filter_map(|rollout| rollout.sample);
        let repeated = samples.into_iter().find(|sample| !seen.insert(*sample));
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let expected = most.map_or(0, count).max(present);
        let conflict = match (least, most, repeated) {
            (Some(least), Some(most), _) if least != most => Some(format!(
                "its rollouts disagree on the number of `samples`: {least} and {most}"
            )),
            (_, _, Some(sample)) => Some(format!("its `sample` {sample} is there twice")),
            (_, Some(most), _) if present > count(most) => {
                Some(format!("it has {present} rollouts and {most} `samples`"))
            }
            _ => None,
        };
        Self { expected, conflict }
    }
}

/// The signals of a source about a group, whatever the source does: see
/// [`signals`](crate::source_signals::signals).
async fn group_signals(source: &dyn RewardSource, ask: GroupAsk<'_>) -> Vec<Vec<Signal>> {
    let scored = async {
        match source.group() {
            Some(group) => group.score_group(ask).await,
            None => Vec::new(),
        }
    };
    let fits = |signals: &[Vec<Signal>]| {
        let turns = ask.members.iter().map(|member| member.turns.len());
        signals.iter().map(Vec::len).eq(turns)
    };
    let detail = match AssertUnwindSafe(scored).catch_unwind().await {
        Ok(mut signals) if fits(&signals) => {
            signals.iter_mut().flatten().for_each(|signal| complete(signal, source.id()));
            return signals;
        }
        Ok(_) => "the source did not return one signal for each turn of each member",
        Err(_) => "the source panicked",
    };
    let void = || Abstention::new(source.id().clone(), AbstainWhy::Internal, detail);
    ask.members.iter().map(|one| vec![Signal::abstained(void()); one.turns.len()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(samples: &[(Option<u32>, Option<u32>)]) -> GroupSize {
        let rollouts: Vec<Rollout> = samples
            .iter()
            .map(|(sample, samples)| Rollout {
                sample: *sample,
                samples: *samples,
                ..Rollout::default()
            })
            .collect();
        let rollouts: Vec<Option<&Rollout>> = rollouts.iter().map(Some).collect();
        GroupSize::of(&rollouts, rollouts.len())
    }

    #[test]
    fn sizes_that_disagree_and_repeated_samples_are_conflicts() {
        assert_eq!(size(&[(None, None); 3]), GroupSize { expected: 3, conflict: None });
        let whole = size(&[(Some(0), Some(2)), (Some(1), Some(2))]);
        assert_eq!(whole, GroupSize { expected: 2, conflict: None });
        assert_eq!(size(&[(Some(0), Some(8))]), GroupSize { expected: 8, conflict: None });
        for (bad, word) in [
            (size(&[(Some(0), Some(2)), (Some(1), Some(3))]), "disagree"),
            (size(&[(Some(1), None), (Some(1), None)]), "twice"),
            (size(&[(None, Some(1)), (None, Some(1))]), "2 rollouts and 1"),
        ] {
            assert!(bad.conflict.as_ref().is_some_and(|one| one.contains(word)), "{bad:?}");
        }
    }
}

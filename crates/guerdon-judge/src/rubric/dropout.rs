//! Criterion dropout: each step asks a random part of the criteria, the same for all samples of a
//! group, so that a policy cannot fit the judge's reading of every one of them (Rubric Dropout,
//! arXiv 2608.11669).
//!
//! The draw is a hash of the step, the group and the criterion. It needs no state, a retry asks the
//! same criteria, and so does every server.

use guerdon_fusion::Ask;
use guerdon_types::{CheckedRubric, ROLLOUT_RUBRIC, RubricKind};

use crate::ask::digest::{Digest, PartsHasher};
use crate::rubric::{Criterion, CriterionKind, Rubric};

/// The seed of the draws about the samples of a group at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DropSeed(Digest);

/// The draws about the samples of a group, and the share of criteria that they drop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dropout {
    pub(crate) seed: DropSeed,
    pub(crate) share: f64,
}

impl Dropout {
    /// The places of the criteria of a prompt that are asked. Gates and vetoes always are.
    pub(crate) fn kept_places(&self, rubric: &Rubric) -> Vec<usize> {
        let candidate = |criterion: &'_ Criterion| {
            matches!(criterion.kind, CriterionKind::Bonus | CriterionKind::Deduct)
        };
        let candidates: Vec<DropCandidate<'_>> = rubric
            .criteria
            .iter()
            .map(|one| DropCandidate {
                id: &one.id,
                can_drop: candidate(one),
                is_enough: true,
                needs: &[],
            })
            .collect();
        let order: Vec<usize> = (0..candidates.len()).collect();
        let kept = self.seed.kept(self.share, &rubric.id, &candidates, &order);
        kept.iter().enumerate().filter_map(|(place, kept)| kept.then_some(place)).collect()
    }

    /// For each criterion of a rollout's rubric whether it is asked.
    pub(crate) fn kept_of_rollout(&self, rubric: &CheckedRubric) -> Vec<bool> {
        let candidates: Vec<DropCandidate<'_>> = rubric
            .criteria
            .iter()
            .map(|one| DropCandidate {
                id: &one.id,
                can_drop: !one.essential
                    && matches!(one.kind, RubricKind::Bonus | RubricKind::Deduct),
                // A share needs a bonus.
                is_enough: one.kind == RubricKind::Bonus || !rubric.is_weighted,
                needs: &one.needs,
            })
            .collect();
        self.seed.kept(self.share, ROLLOUT_RUBRIC, &candidates, &rubric.order)
    }
}

/// A criterion that may be dropped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DropCandidate<'a> {
    pub(crate) id: &'a str,
    /// False for a criterion that is always asked.
    pub(crate) can_drop: bool,
    /// True if asking this one alone would give points.
    pub(crate) is_enough: bool,
    /// The places of the criteria that it needs, which come before it in `order`.
    pub(crate) needs: &'a [usize],
}

impl DropSeed {
    /// The seed of a question; `None` for a rollout without a group, such as one of an evaluation,
    /// about which every criterion is asked.
    pub(crate) fn of(ask: &Ask<'_>) -> Option<Self> {
        let group = ask.rollout.group.as_ref()?;
        let number = |number: Option<u64>| {
            number.map_or_else(Vec::new, |number| number.to_le_bytes().to_vec())
        };
        let mut hash = PartsHasher::default();
        hash.add(b"dropout");
        hash.add(group.as_str().as_bytes());
        hash.add(&number(ask.rollout.attempt));
        hash.add(&number(ask.step));
        Some(Self(hash.finish()))
    }

    /// A number in [0, 1) for one criterion of a rubric.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn draw(&self, rubric: &str, id: &str) -> f64 {
        let mut hash = PartsHasher::default();
        hash.add(&self.0);
        hash.add(rubric.as_bytes());
        hash.add(id.as_bytes());
        let mut first = [0; 8];
        first.iter_mut().zip(hash.finish()).for_each(|(own, byte)| *own = byte);
        (u64::from_le_bytes(first) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// For each criterion whether it is asked, if a share of them is dropped. At least one that is
    /// enough by itself is asked, if there is one, and with a criterion those that it needs. `order`
    /// has the places of all criteria, each after those that it needs.
    pub(crate) fn kept(
        &self,
        share: f64,
        rubric: &str,
        criteria: &[DropCandidate<'_>],
        order: &[usize],
    ) -> Vec<bool> {
        let draws: Vec<f64> = criteria.iter().map(|one| self.draw(rubric, one.id)).collect();
        let all = || criteria.iter().zip(&draws);
        let mut kept: Vec<bool> =
            all().map(|(one, draw)| !one.can_drop || *draw >= share).collect();
        let is_enough = criteria.iter().zip(&kept).any(|(one, kept)| one.is_enough && *kept);
        let best = all().enumerate().filter(|(_, (one, _))| one.is_enough);
        let best = best.max_by(|(_, (_, a)), (_, (_, b))| a.total_cmp(b)).map(|(place, _)| place);
        if let Some(own) = best.filter(|_| !is_enough).and_then(|place| kept.get_mut(place)) {
            *own = true;
        }
        for place in order.iter().rev() {
            let Some(criterion) = criteria.get(*place) else { continue };
            if kept.get(*place).copied().unwrap_or_default() {
                for need in criterion.needs {
                    if let Some(need) = kept.get_mut(*need) {
                        *need = true;
                    }
                }
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use guerdon_types::Rollout;
    use proptest::prelude::*;

    use super::*;

    fn seed(group: &str, attempt: Option<u64>, step: Option<u64>) -> DropSeed {
        let rollout = Rollout { group: Some(group.into()), attempt, ..Rollout::default() };
        let mut ask = Ask::new(&rollout, &[0], None);
        ask.step = step;
        DropSeed::of(&ask).unwrap()
    }

    fn candidates(ids: &[String]) -> Vec<DropCandidate<'_>> {
        let one = |id| DropCandidate { id, can_drop: true, is_enough: true, needs: &[] };
        ids.iter().map(|id| one(id.as_str())).collect()
    }

    #[test]
    fn samples_of_a_group_share_the_draw_and_steps_do_not() {
        let all = [
            seed("g", None, None),
            seed("g", None, Some(1)),
            seed("g", None, Some(2)),
            seed("h", None, Some(1)),
            seed("g", Some(1), Some(1)),
            seed("g", Some(1), None),
        ];
        for (place, own) in all.iter().enumerate() {
            assert!(all.iter().skip(place + 1).all(|other| own != other), "{place}");
        }
        assert_eq!(seed("g", Some(1), Some(1)), seed("g", Some(1), Some(1)));
        let alone = Rollout::default();
        assert_eq!(DropSeed::of(&Ask::new(&alone, &[0], None)), None);
    }

    #[test]
    fn the_share_of_dropped_criteria_is_the_configured_one() {
        let ids: Vec<String> = (0..8).map(|id| format!("c{id}")).collect();
        let order: Vec<usize> = (0..8).collect();
        let mut dropped = [0_u32; 8];
        for step in 0..4_000 {
            let kept = seed("g", None, Some(step)).kept(0.3, "r", &candidates(&ids), &order);
            kept.iter().zip(&mut dropped).for_each(|(kept, count)| *count += u32::from(!kept));
        }
        // 1,200 of 4,000, with a standard deviation of 29.
        assert!(dropped.iter().all(|count| (1_050..1_350).contains(count)), "{dropped:?}");
    }

    proptest! {
        #[test]
        fn essential_and_needed_criteria_stay_and_one_is_always_asked(
            share in 0.0..=1.0,
            step: u64,
            flags in prop::collection::vec((any::<bool>(), any::<bool>(), any::<prop::sample::Index>(), any::<bool>()), 1..9),
        ) {
            let ids: Vec<String> = (0..flags.len()).map(|id| format!("c{id}")).collect();
            let needs: Vec<Vec<usize>> = flags.iter().enumerate().map(|(place, (.., need, has))| {
                if *has && place > 0 { vec![need.index(place)] } else { Vec::new() }
            }).collect();
            let criteria: Vec<DropCandidate<'_>> = flags.iter().zip(&ids).zip(&needs)
                .map(|(((can_drop, is_enough, ..), id), needs)| DropCandidate { id, can_drop: *can_drop, is_enough: *is_enough, needs })
                .collect();
            let order: Vec<usize> = (0..flags.len()).collect();
            let kept = seed("g", None, Some(step)).kept(share, "r", &criteria, &order);
            for (one, is_kept) in criteria.iter().zip(&kept) {
                prop_assert!(*is_kept || one.can_drop);
                prop_assert!(!is_kept || one.needs.iter().all(|need| kept[*need]));
            }
            let can = criteria.iter().any(|one| one.is_enough);
            prop_assert_eq!(can, criteria.iter().zip(&kept).any(|(one, kept)| one.is_enough && *kept));
        }
    }
}

//! The pairs that are compared, round by round.

use std::collections::BTreeSet;

use crate::ask::digest::Digest;
use crate::rubric::{Rounds, order};

/// Two replies by their places, the smaller first.
pub(super) type Pair = (usize, usize);

/// The rounds of a tournament of `count` replies.
#[derive(Debug)]
pub(super) struct Schedule {
    count: usize,
    /// `None` compares every pair in one round.
    swiss: Option<u32>,
    /// The round that comes next.
    round: u32,
    played: BTreeSet<Pair>,
    /// The order of the first round.
    seeds: Vec<usize>,
}

impl Schedule {
    /// The schedule of the replies with the set's digest `set`.
    pub(super) fn new(count: usize, rounds: Rounds, set: &Digest) -> Self {
        let swiss = match rounds {
            Rounds::RoundRobin => None,
            // As many rounds as a round robin takes: it is one.
            Rounds::Swiss(rounds) => {
                let whole = if count.is_multiple_of(2) { count.saturating_sub(1) } else { count };
                usize::try_from(rounds).is_ok_and(|rounds| rounds < whole).then_some(rounds)
            }
        };
        let seeds = order::shuffled(count, &guerdon_text::hex(set), 0);
        Self { count, swiss, round: 0, played: BTreeSet::new(), seeds }
    }

    /// The most pairs that are compared after those that were.
    pub(super) fn most_pairs(&self) -> usize {
        match self.swiss {
            _ if self.count < 2 => 0,
            None if self.round > 0 => 0,
            None => self.count * (self.count - 1) / 2,
            Some(rounds) => {
                let left = usize::try_from(rounds.saturating_sub(self.round)).unwrap_or(0);
                left.saturating_mul(self.count / 2)
            }
        }
    }

    /// The pairs of the next round; `scores` are the points of the replies so far. Empty after the
    /// last round.
    pub(super) fn next_round(&mut self, scores: &[f64]) -> Vec<Pair> {
        if self.most_pairs() == 0 {
            return Vec::new();
        }
        self.round += 1;
        if self.swiss.is_none() {
            let count = self.count;
            return (0..count)
                .flat_map(|one| (one + 1..count).map(move |two| (one, two)))
                .collect();
        }
        let mut ranked = self.seeds.clone();
        let score = |reply: &usize| scores.get(*reply).copied().unwrap_or_default();
        // A stable sort: equals stay in the order of the seeds.
        ranked.sort_by(|a, b| score(b).total_cmp(&score(a)));
        let pairs = self.paired(ranked);
        self.played.extend(&pairs);
        pairs
    }

    fn has_met(&self, one: usize, other: usize) -> bool {
        self.played.contains(&pair(one, other))
    }

    /// Pairs each reply with the next one in rank that it has not met. Replies that are left have all
    /// met each other; they are exchanged with a pair if both then meet new ones. One reply rests if
    /// their number is odd.
    fn paired(&self, ranked: Vec<usize>) -> Vec<Pair> {
        let (mut rest, mut pairs, mut left) = (ranked, Vec::new(), Vec::new());
        while !rest.is_empty() {
            let one = rest.remove(0);
            match rest.iter().position(|other| !self.has_met(one, *other)) {
                Some(at) => pairs.push(pair(one, rest.remove(at))),
                None => left.push(one),
            }
        }
        while let [.., two, one] = left[..] {
            let exchange = pairs.iter().enumerate().rev().find_map(|(at, (a, b))| {
                let fits = |x, y| !self.has_met(one, x) && !self.has_met(two, y);
                [(*a, *b), (*b, *a)]
                    .into_iter()
                    .find(|(x, y)| fits(*x, *y))
                    .map(|found| (at, found))
            });
            left.truncate(left.len() - 2);
            if let Some((at, (x, y))) = exchange {
                pairs.remove(at);
                pairs.extend([pair(one, x), pair(two, y)]);
            }
        }
        pairs.sort_unstable();
        pairs
    }
}

fn pair(one: usize, other: usize) -> Pair {
    (one.min(other), one.max(other))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_round_robin_has_every_pair_once_and_ends() {
        for (count, pairs) in [(0, 0), (1, 0), (2, 1), (8, 28)] {
            let mut schedule = Schedule::new(count, Rounds::RoundRobin, &[0; 32]);
            assert_eq!(schedule.most_pairs(), pairs);
            let played: BTreeSet<Pair> = schedule.next_round(&[]).into_iter().collect();
            assert_eq!((played.len(), schedule.most_pairs()), (pairs, 0));
            assert_eq!(schedule.next_round(&[]), []);
        }
    }

    #[test]
    fn as_many_rounds_as_a_round_robin_are_one() {
        for (count, rounds) in [(2, 1), (4, 3), (5, 5), (6, 32)] {
            let schedule = Schedule::new(count, Rounds::Swiss(rounds), &[0; 32]);
            assert_eq!(schedule.most_pairs(), count * (count - 1) / 2, "{count}");
        }
        assert_eq!(Schedule::new(8, Rounds::Swiss(3), &[0; 32]).most_pairs(), 12);
    }

    proptest! {
        /// No pair meets twice, no reply plays twice in a round, and with few rounds all play.
        #[test]
        fn swiss_rounds_are_fair(
            count in 2..60_usize,
            rounds in 1..9_u32,
            set in any::<[u8; 32]>(),
            scores in prop::collection::vec(0..4_u8, 60),
        ) {
            let mut schedule = Schedule::new(count, Rounds::Swiss(rounds), &set);
            let (most, mut met) = (schedule.most_pairs(), BTreeSet::new());
            let mut total = 0;
            loop {
                let before = schedule.most_pairs();
                let scores: Vec<f64> = scores.iter().map(|one| f64::from(*one)).collect();
                let pairs = schedule.next_round(&scores);
                if schedule.round > 32 || (pairs.is_empty() && schedule.most_pairs() == 0) {
                    break;
                }
                prop_assert!(pairs.len() <= before - schedule.most_pairs());
                total += pairs.len();
                if schedule.swiss.is_some() {
                    let playing: BTreeSet<usize> = pairs.iter().flat_map(|(a, b)| [*a, *b]).collect();
                    prop_assert_eq!(playing.len(), 2 * pairs.len());
                    if count > 4 * usize::try_from(rounds).unwrap() {
                        prop_assert_eq!(pairs.len(), count / 2);
                    }
                }
                for pair in pairs {
                    prop_assert!(pair.0 < pair.1 && pair.1 < count);
                    prop_assert!(met.insert(pair), "{:?} met twice", pair);
                }
            }
            prop_assert!(total <= most && total > 0);
        }

        /// The strongest meet: after a round with clear scores, neighbours in rank are paired.
        #[test]
        fn later_rounds_pair_replies_of_about_the_same_strength(set in any::<[u8; 32]>()) {
            let mut schedule = Schedule::new(16, Rounds::Swiss(2), &set);
            let first: BTreeSet<Pair> = schedule.next_round(&[0.0; 16]).into_iter().collect();
            let scores: Vec<f64> = (0..16_u8).map(f64::from).collect();
            let second = schedule.next_round(&scores);
            let far = second.iter().filter(|(a, b)| b - a > 3).count();
            prop_assert!(far <= 2, "{:?} after {:?}", second, first);
        }
    }
}

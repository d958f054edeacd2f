//! The share of preference pairs whose chosen reply has the higher reward.

use crate::output::errln;

/// Counts pairs. Rewards are noted in the order of the rollouts.
#[derive(Debug, Default, Clone)]
pub(super) struct PairTally {
    /// The indices of the chosen replies, ascending. The rejected ones follow them.
    starts: Vec<usize>,
    /// The number of pairs whose chosen reply was noted.
    begun: usize,
    /// The reward of the chosen reply of the last pair.
    chosen: Option<f64>,
    right: usize,
    ties: usize,
    wrong: usize,
}

impl PairTally {
    pub(super) fn new(starts: Vec<usize>) -> Self {
        Self { starts, ..Self::default() }
    }

    /// Notes the reward of rollout `index`.
    pub(super) fn note(&mut self, index: usize, reward: Option<f64>) {
        if self.starts.get(self.begun) == Some(&index) {
            self.begun += 1;
            self.chosen = reward;
            return;
        }
        let last = self.begun.checked_sub(1).and_then(|last| self.starts.get(last));
        if last.is_none_or(|start| start + 1 != index) {
            return;
        }
        match (self.chosen.take(), reward) {
            (Some(chosen), Some(rejected)) if chosen > rejected => self.right += 1,
            (Some(chosen), Some(rejected)) if chosen < rejected => self.wrong += 1,
            (Some(_), Some(_)) => self.ties += 1,
            _ => {}
        }
    }

    /// The result in words; `None` without pairs.
    fn words(&self) -> Option<String> {
        let compared = self.right + self.ties + self.wrong;
        if self.starts.is_empty() {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a file has fewer than 2^52 pairs")]
        let accuracy = match compared {
            0 => "no accuracy".to_owned(),
            _ => format!("accuracy {:.3}", self.right as f64 / compared as f64),
        };
        Some(format!(
            "pairs: {accuracy}: in {} of {compared} the chosen reply has the higher reward; {} equal, \
             {} not compared",
            self.right,
            self.ties,
            self.starts.len() - compared
        ))
    }

    /// Prints the result, if there are pairs.
    pub(super) fn print(&self) {
        if let Some(words) = self.words() {
            errln!("{words}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pairs_with_both_rewards_are_compared() {
        let mut tally = PairTally::new(vec![1, 3, 5, 7]);
        let rewards = [9.0, 2.0, 1.0, 1.0, 2.0, 1.0, 1.0, 3.0].map(Some);
        for (index, reward) in rewards.into_iter().chain([None]).enumerate() {
            tally.note(index, reward);
        }
        let words = "pairs: accuracy 0.333: in 1 of 3 the chosen reply has the higher reward; 1 equal, \
                     1 not compared";
        assert_eq!(tally.words().as_deref(), Some(words));
        assert_eq!(PairTally::default().words(), None);
    }
}

//! OPO: group advantages with a baseline that weights each sibling by its length.

use std::collections::HashMap;
use std::hash::Hash;

use crate::error::{OptimError, require_len};

/// Computes one advantage per rollout, `s - sum(n s) / sum(n)`: its reward `s` minus the mean
/// reward of its group, weighted by the number of tokens `n`. This baseline minimises the variance
/// of a gradient whose norm grows with the length. Source: Hao et al. (arXiv 2505.23585), equation
/// 6.
///
/// A rollout that abstained (`None`) or has no tokens is left out of the mean and gets `None`. A
/// rollout without siblings gets 0. Units are those of the reward.
///
/// # Errors
/// [`OptimError::Shape`] if the lengths of the slices differ, [`OptimError::NonFinite`] if a reward
/// is NaN or infinite.
pub fn opo<G: Eq + Hash>(
    rewards: &[Option<f64>],
    lens: &[usize],
    groups: &[G],
) -> Result<Vec<Option<f64>>, OptimError> {
    require_len("lens", lens.len(), rewards.len())?;
    require_len("groups", groups.len(), rewards.len())?;
    // Per group: rollouts, tokens and the weighted mean so far.
    let mut baselines: HashMap<&G, (usize, f64, f64)> = HashMap::new();
    let scored = |row: usize| rewards[row].filter(|_| lens[row] > 0);
    for (row, group) in groups.iter().enumerate() {
        let Some(reward) = scored(row) else { continue };
        if !reward.is_finite() {
            return Err(OptimError::NonFinite { what: "rewards", row, token: 0 });
        }
        let (siblings, tokens, mean) = baselines.entry(group).or_default();
        *siblings += 1;
        *tokens += lens[row] as f64;
        *mean += (reward - *mean) * lens[row] as f64 / *tokens;
    }
    let advantage = |row: usize| {
        scored(row).map(|reward| match baselines.get(&groups[row]) {
            Some(&(siblings, _, mean)) if siblings > 1 => reward - mean,
            _ => 0.0,
        })
    };
    Ok((0..rewards.len()).map(advantage).collect())
}

#[cfg(test)]
mod tests {
    use super::opo;
    use crate::testing::assert_close;

    #[test]
    fn siblings_are_weighted_by_length_and_abstained_or_empty_ones_ignored() {
        let rewards = [Some(1.0), Some(4.0), None, Some(100.0), Some(7.0)];
        let got = opo(&rewards, &[1, 2, 5, 0, 3], &["p", "p", "p", "p", "q"]).unwrap();
        assert_eq!((got[2], got[3], got[4]), (None, None, Some(0.0)));
        assert_close(&[got[0].unwrap(), got[1].unwrap()], &[-2.0, 1.0], 1e-15);
    }

    #[test]
    fn wrong_slice_lengths_and_nan_rewards_are_refused() {
        assert!(opo(&[Some(1.0)], &[], &[0]).is_err());
        assert!(opo(&[Some(f64::NAN)], &[1], &[0]).is_err());
    }
}

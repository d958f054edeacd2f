//! Sources that are asked about a part of the groups, such as an auditor.

use guerdon_types::{ConfigDigest, Rollout};

use crate::ScorerSource;

impl ScorerSource {
    /// True if the source is asked about `rollout` at `step`: always, or for its share of the groups.
    /// The draw is a hash, so that all samples of a group and a retry are treated alike. A rollout
    /// without a group is drawn by its dialogue up to the first scored turn.
    pub(crate) fn is_drawn(&self, rollout: &Rollout, turns: &[usize], step: Option<u64>) -> bool {
        let Some(share) = self.settings().share else { return true };
        let name = match &rollout.group {
            Some(group) => format!("{group}\n{:?}", rollout.attempt),
            None => {
                let before = turns.first().copied().unwrap_or_default();
                let texts = rollout.messages.iter().take(before);
                texts.map(|message| message.content.as_str()).collect::<Vec<_>>().join("\n")
            }
        };
        draw(&format!("{}\n{step:?}\n{name}", self.id())) < share.get()
    }
}

/// A number in [0, 1) from the hash of `text`.
#[expect(clippy::cast_precision_loss, reason = "52 bits fit")]
fn draw(text: &str) -> f64 {
    let digest = ConfigDigest::of(text);
    let digits = digest.as_str().trim_start_matches("sha256:");
    let number = digits.get(..13).and_then(|digits| u64::from_str_radix(digits, 16).ok());
    number.unwrap_or_default() as f64 / (1_u64 << 52) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_spread_evenly() {
        let below = (0..4_000).filter(|number| draw(&format!("group {number}")) < 0.05).count();
        // 200 of 4,000, with a standard deviation of 14.
        assert!((140..260).contains(&below), "{below}");
    }
}

//! The share of one worker.

use std::fmt;
use std::str::FromStr;

/// Shard `index` of `count`: every `count`-th range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shard {
    index: usize,
    count: usize,
}

impl Default for Shard {
    /// The only shard.
    fn default() -> Self {
        Self { index: 0, count: 1 }
    }
}

impl Shard {
    /// True if the range at `place` belongs to this shard.
    pub(crate) const fn owns(self, place: usize) -> bool {
        place % self.count == self.index
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(index, count)| {
            Some(Self { index: index.parse().ok()?, count: count.parse().ok()? })
        });
        let Some(shard) = numbers else {
            return Err("give INDEX/COUNT, such as 0/8 for the first of 8 shards".to_owned());
        };
        if shard.index < shard.count {
            return Ok(shard);
        }
        Err(match shard.count.checked_sub(1) {
            Some(last) => {
                format!("the index counts from 0, so that the last shard is {last}/{}", shard.count)
            }
            None => "there is at least 1 shard: 0/1 is all of the input".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_range_belongs_to_exactly_one_shard(count in 1_usize..40, ranges in 0_usize..200) {
            let shards: Vec<Shard> =
                (0..count).map(|index| format!("{index}/{count}").parse().unwrap()).collect();
            let mut sizes = vec![0; count];
            for place in 0..ranges {
                let owners: Vec<usize> =
                    (0..count).filter(|index| shards[*index].owns(place)).collect();
                prop_assert_eq!(owners.len(), 1);
                sizes[owners[0]] += 1;
            }
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            prop_assert!(most - least <= 1);
        }

        #[test]
        fn text_that_is_no_shard_is_refused(text in "[0-9/a-]{0,6}") {
            if let Ok(shard) = text.parse::<Shard>() {
                prop_assert!(shard.index < shard.count);
            }
        }
    }

    #[test]
    fn wrong_shard_is_one_clear_error() {
        let error = |text: &str| text.parse::<Shard>().unwrap_err();
        assert!(error("8/8").contains("the last shard is 7/8"));
        assert!(error("0/0").contains("at least 1 shard"));
        for text in ["", "1", "a/8", "1/b", "-1/8", "1/8/9", "1 / 8"] {
            assert!(error(text).contains("such as 0/8"), "{text}");
        }
    }
}

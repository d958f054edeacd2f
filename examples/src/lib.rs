//! The data of the examples, which are the programs in the parent folder.
//!
//! | file | contents |
//! |---|---|
//! | `score_rollout.rs` | scores dialogues on a running server and prints every part of each reward |
//! | `training_loop.rs` | one policy-gradient step: scores, advantages, PPO loss |
//! | `data/hotel.jsonl` | hotel negotiations in Chinese and English, good and bad; one rollout per line |
//! | `data/request.json` | a complete body of `POST /v1/score`, for curl |

use guerdon_client::{Rollout, ScoreRequest};

/// Parses the dialogues of `data/hotel.jsonl`.
///
/// # Errors
/// A line that is not a rollout.
pub fn hotel() -> serde_json::Result<Vec<Rollout>> {
    include_str!("../data/hotel.jsonl").lines().map(serde_json::from_str).collect()
}

/// Parses the request of `data/request.json`.
///
/// # Errors
/// A file that is not a request.
pub fn request() -> serde_json::Result<ScoreRequest> {
    serde_json::from_str(include_str!("../data/request.json"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_data_are_valid_requests() {
        let rollouts = hotel().unwrap();
        let whole = ScoreRequest { rollouts, ..ScoreRequest::default() };
        whole.check().unwrap();
        assert_eq!(whole.rollouts.last().unwrap().turns_to_score().unwrap(), [2, 4]);
        request().unwrap().check().unwrap();
    }

    #[test]
    fn every_rollout_has_the_facts_for_rules_and_judge() {
        for rollout in hotel().unwrap().into_iter().chain(request().unwrap().rollouts) {
            let has = |key: &str| rollout.context.contains_key(key);
            let facts = [
                "target_price",
                "net_price",
                "selling_price",
                "currency",
                "sop_stage",
                "language",
                "max_discount",
            ];
            assert!(facts.into_iter().all(has), "{:?}", rollout.id);
        }
    }

    #[test]
    fn rollouts_of_a_group_share_the_prompt_and_differ_in_the_reply() {
        let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for rollout in hotel().unwrap().into_iter().filter(|rollout| rollout.group.is_some()) {
            groups.entry(rollout.group.clone()).or_default().push(rollout.messages);
        }
        assert_eq!(groups.len(), 2);
        for samples in groups.values() {
            let split: Vec<_> =
                samples.iter().filter_map(|messages| messages.split_last()).collect();
            assert_eq!(split.len(), 4);
            assert!(split.iter().all(|(_, prompt)| *prompt == split[0].1));
            assert!(
                split
                    .iter()
                    .enumerate()
                    .all(|(at, (reply, _))| split[..at].iter().all(|(other, _)| other != reply))
            );
        }
    }
}

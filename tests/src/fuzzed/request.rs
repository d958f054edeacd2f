//! The body of `POST /v1/score`.

use guerdon_types::{IncomingRequest, RolloutEntry};

/// Longest text of an error. It may quote the request, but not whole.
const LONGEST_ERROR: usize = 4_000;
const MAX_ROLLOUTS: usize = 64;

/// Parses `data` as a score request.
///
/// # Panics
/// An error has no text or a long one, or an accepted rollout has no turn to score.
pub fn request(data: &[u8]) {
    match IncomingRequest::parse(data, MAX_ROLLOUTS) {
        Ok(request) => {
            assert!(request.entries.len() <= MAX_ROLLOUTS);
            for (index, entry) in request.entries.iter().enumerate() {
                check_entry(index, entry);
            }
            let settings = serde_json::to_vec(&request.settings).expect("settings are written");
            let again = IncomingRequest::parse(&settings, MAX_ROLLOUTS).expect("and read again");
            assert_eq!(again.settings, request.settings);
        }
        Err(invalid) => {
            assert!(!invalid.detail.is_empty());
            assert!(invalid.to_string().len() < LONGEST_ERROR, "{}", invalid.to_string().len());
        }
    }
}

fn check_entry(index: usize, entry: &RolloutEntry) {
    match &entry.rollout {
        Ok(rollout) => {
            let turns = rollout.turns_to_score().expect("the turns were checked");
            assert!(!turns.is_empty());
            assert!(turns.iter().all(|turn| *turn < rollout.messages.len()));
            assert!(entry.refusal(index).is_none());
        }
        Err(_) => {
            let refusal = entry.refusal(index).expect("an error result");
            assert!(refusal.reward.is_none());
            let problem = refusal.error.expect("a problem");
            assert!(problem.detail.len() < LONGEST_ERROR, "{}", problem.detail.len());
        }
    }
}

//! Rendezvous hashing (Thaler and Ravishankar, 1998): every pair of server and key has a weight,
//! and a key's servers are ordered by it. If a server leaves the list, only its own keys move; the
//! order of the others is unchanged. Clients in any process and language agree, because the weight
//! depends on URL and key alone.

use guerdon_types::{Rollout, ScoreRequest};
use sha2::{Digest as _, Sha256};

/// The hash of what keeps requests together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoutingKey([u8; 32]);

impl RoutingKey {
    /// The key of a rollout: its group, else its id, else its messages.
    pub(crate) fn of_rollout(rollout: &Rollout) -> Self {
        let mut hash = Sha256::new();
        if let Some(group) = &rollout.group {
            hash.update(b"group\0");
            hash.update(group.as_str());
        } else if let Some(id) = &rollout.id {
            hash.update(b"id\0");
            hash.update(id.as_str());
        } else {
            hash.update(b"messages\0");
            for message in &rollout.messages {
                hash.update(&message.content);
                hash.update(b"\0");
            }
        }
        Self(hash.finalize().into())
    }

    /// The key of the rollouts of one HTTP request: that of the first. The client puts rollouts
    /// into one request only if their keys lead to the same server.
    pub(crate) fn of_chunk(request: &ScoreRequest, chunk: &[usize]) -> Self {
        let first = chunk.first().and_then(|place| request.rollouts.get(*place));
        first.map_or_else(|| Self::of_bytes(b""), Self::of_rollout)
    }

    /// The key of any other request: its body.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

/// The weight of a server for a key: the first bytes of the SHA-256 of both.
pub(super) fn weight(server: &str, key: &RoutingKey) -> u64 {
    let mut hash = Sha256::new();
    hash.update(server);
    hash.update(b"\0");
    hash.update(key.0);
    let hash: [u8; 32] = hash.finalize().into();
    let mut weight = [0; 8];
    for (to, from) in weight.iter_mut().zip(hash) {
        *to = from;
    }
    u64::from_be_bytes(weight)
}

//! Another guerdon: its own score request, each dialogue once with the indices of the asked turns.

use guerdon_types::AbstainWhy;
use serde::Deserialize;
use serde_json::Value;

use super::exchange::{Raw, parsed};
use crate::ask::{AskedTurn, Payload, Silence};

/// The part of a score reply that is read.
#[derive(Deserialize)]
struct GuerdonScores {
    results: Vec<RolloutReply>,
}

#[derive(Deserialize)]
struct RolloutReply {
    #[serde(default)]
    turns: Vec<TurnReply>,
    #[serde(default)]
    error: Option<ErrorBody>,
}

#[derive(Deserialize)]
struct TurnReply {
    reward: Option<f64>,
    #[serde(default)]
    abstained: Vec<AbstentionEntry>,
}

#[derive(Deserialize)]
struct AbstentionEntry {
    #[serde(default)]
    source: String,
    #[serde(default)]
    why: String,
    #[serde(default)]
    detail: String,
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    detail: String,
}

/// The request about `turns`, for the profile `profile`.
pub(super) fn request(profile: Option<&str>, turns: &[AskedTurn]) -> Vec<u8> {
    let mut body = Vec::new();
    body.push(b'{');
    if let Some(profile) = profile {
        body.extend_from_slice(format!("\"profile\":{},", Value::from(profile)).as_bytes());
    }
    body.extend_from_slice(b"\"rollouts\":[");
    // One rollout for each turn, so that results are in the order of the turns.
    for (place, turn) in turns.iter().enumerate() {
        let Payload::Dialogue { dialogue, message } = &turn.payload else { continue };
        if place > 0 {
            body.push(b',');
        }
        body.push(b'{');
        dialogue.put_members(*message, &mut body);
        body.extend_from_slice(format!(",\"score\":[{message}]}}").as_bytes());
    }
    body.extend_from_slice(b"]}");
    body
}

pub(super) fn read(body: &[u8]) -> Result<Vec<Raw>, String> {
    let reply: GuerdonScores = parsed(body)?;
    Ok(reply.results.into_iter().map(raw).collect())
}

fn raw(result: RolloutReply) -> Raw {
    let RolloutReply { turns, error } = result;
    let turn = turns.into_iter().next();
    if let Some(reward) = turn.as_ref().and_then(|turn| turn.reward) {
        return Raw::Numbers(vec![reward]);
    }
    let abstained = turn.and_then(|turn| turn.abstained.into_iter().next());
    Raw::Silent(match (abstained, error) {
        (Some(AbstentionEntry { source, why, detail }), _) => {
            let known =
                serde_json::from_value(Value::from(why)).unwrap_or(AbstainWhy::EndpointError);
            Silence::new(known, format!("its source `{source}` abstained: {detail}"))
        }
        (None, Some(error)) => Silence::new(AbstainWhy::EndpointError, error.detail),
        (None, None) => Silence::malformed("the reply has no reward for this turn"),
    })
}

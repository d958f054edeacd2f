//! OpenRLHF's `/get_reward`: `serve_rm` and servers in its form.

use serde::Deserialize;
use serde_json::json;

use super::exchange::{Raw, parsed, texts};
use super::numbers::NumberList;
use crate::ask::AskedTurn;

/// `rewards` since 2024, `reward` in the first versions.
#[derive(Deserialize)]
struct GetRewardBody {
    #[serde(alias = "reward")]
    rewards: Vec<NumberList>,
}

pub(super) fn request(turns: &[AskedTurn]) -> Vec<u8> {
    json!({ "query": texts(turns) }).to_string().into_bytes()
}

pub(super) fn read(body: &[u8]) -> Result<Vec<Raw>, String> {
    let reply: GetRewardBody = parsed(body)?;
    Ok(reply.rewards.into_iter().map(NumberList::raw).collect())
}

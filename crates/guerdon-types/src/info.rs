//! The reply of `GET /v1/info`: what this server is, what it scores with, and its limits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::word::known_keys;
use crate::{ProfileName, SourceId, Versions};

/// What this server is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Info {
    /// `guerdon`.
    pub name: String,
    /// The server's own version.
    pub version: String,
    /// The profile of a request that names none.
    pub default_profile: ProfileName,
    /// Every profile.
    pub profiles: BTreeMap<String, ProfileInfo>,
    /// What a request may hold.
    #[serde(deserialize_with = "known_keys")]
    pub limits: Limits,
    /// Counts reloads since the server started, from 1.
    pub generation: u64,
    /// A newer generation that is being tried on a share of the requests, until it is promoted or rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateInfo>,
    /// The report of the last reload, if it failed and the generation before it is still serving.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reload_error: Option<String>,
}

/// A generation that is being tried.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CandidateInfo {
    /// Its number.
    pub generation: u64,
    /// The share of requests that it serves, in [0, 1); at 0 it is only asked beside.
    pub share: f64,
}

/// One profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProfileInfo {
    /// Its sources, in the order they are asked.
    pub sources: Vec<SourceInfo>,
    /// What its rewards are made of.
    pub versions: Versions,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SourceInfo {
    /// Its name.
    pub id: SourceId,
    /// What it is, in a sentence: the model and its device, the endpoint, the packs.
    pub about: String,
}

/// What a request may hold; larger ones are refused with the limit in the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Rollouts in one request.
    pub max_rollouts: usize,
    /// Bytes of one request's body, decompressed.
    pub max_body_bytes: usize,
    /// Bytes of one message's content; a rollout beyond it gets an error of its own, the others are scored.
    pub max_message_bytes: usize,
    /// Messages in one rollout; as above.
    pub max_messages: usize,
    /// Requests served at the same time; beyond it the answer is 503 with Retry-After.
    pub max_concurrent_requests: usize,
    /// Milliseconds a request may take, whatever it asks for.
    pub max_deadline_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_rollouts: 4_096,
            max_body_bytes: 64 << 20,
            max_message_bytes: 1 << 20,
            max_messages: 1_024,
            max_concurrent_requests: 1_024,
            max_deadline_ms: 300_000,
        }
    }
}

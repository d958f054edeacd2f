//! The reply of `GET /v1/info`: the server's profiles, versions and limits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::word::known_keys;
use crate::{ProfileName, SourceId, Versions};

/// A server's profiles, versions and limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Info {
    /// `guerdon`.
    pub name: String,
    /// The server's own version.
    pub version: String,
    /// The profile of requests without one.
    pub default_profile: ProfileName,
    /// Every profile.
    pub profiles: BTreeMap<String, ProfileInfo>,
    /// The limits of a request.
    #[serde(deserialize_with = "known_keys")]
    pub limits: Limits,
    /// The generation, from 1. It counts loads and rollbacks since the server started.
    pub generation: u64,
    /// A newer generation that serves a share of the requests until it is promoted or rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateInfo>,
    /// The report of the last reload, if it failed. The generation before it still serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reload_error: Option<String>,
    /// The state of the coordination between replicas, if the configuration has `[cluster]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterInfo>,
}

/// The coordination between the replicas of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClusterInfo {
    /// The name of the deployment.
    pub namespace: String,
    /// The identity of this server's process.
    pub replica: String,
    /// True while the shared store answers. Otherwise the server goes on alone.
    pub up: bool,
    /// The reason why the store does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The servers that the store has heard of in the last seconds, this one included.
    pub replicas: Vec<String>,
}

/// A candidate generation, which serves a share of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CandidateInfo {
    /// Its number.
    pub generation: u64,
    /// The share of requests that it serves, in [0, 1). At 0 its rewards are only reported in
    /// `beside`.
    pub share: f64,
}

/// One profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProfileInfo {
    /// Its sources, in order.
    pub sources: Vec<SourceInfo>,
    /// The versions that make its rewards.
    pub versions: Versions,
    /// The named files and folders that are empty or missing and that `allow_empty` accepts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub empty: Vec<String>,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SourceInfo {
    /// Its name.
    pub id: SourceId,
    /// A description: the model and its device, the endpoint, or the packs.
    pub about: String,
}

/// The limits of a request. A request beyond one is refused, and the error has the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Rollouts in one request.
    pub max_rollouts: usize,
    /// Bytes of one request's body, decompressed.
    pub max_body_bytes: usize,
    /// Bytes of one message's content. A rollout beyond it gets an error; the others are scored.
    pub max_message_bytes: usize,
    /// Messages in one rollout. A rollout beyond it gets an error; the others are scored.
    pub max_messages: usize,
    /// Concurrent requests. Beyond it the server answers 503 with Retry-After.
    pub max_concurrent_requests: usize,
    /// The longest deadline of a request, in milliseconds. Longer deadlines are cut to it.
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

//! Configuration of the cache and the cassette.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Size and lifetime of the cache. Only verdicts are cached, never failures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheConfig {
    /// Answers kept in memory; 0 keeps none, and identical questions asked at the same time still
    /// share one call.
    pub max_entries: u64,
    /// Lifetime of an answer, by the wall clock.
    #[serde(with = "humantime_serde")]
    pub ttl: Duration,
    /// Permitted use of the cache.
    pub mode: CacheMode,
    /// The file that keeps answers beyond a restart. Judges may share one. Default: none, memory
    /// only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Longest time until a written answer is synced to the disk. A killed process loses no answer.
    /// A power cut loses the answers of this time, and they are asked again. With `"0s"` every
    /// answer waits for the disk.
    #[serde(with = "humantime_serde")]
    pub sync: Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        let ttl = Duration::from_secs(24 * 60 * 60);
        Self {
            max_entries: 100_000,
            ttl,
            mode: CacheMode::On,
            path: None,
            sync: Duration::from_secs(1),
        }
    }
}

/// Permitted use of a cache. In every mode identical questions asked at the same time share one
/// call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CacheMode {
    /// Answers are used and kept.
    #[default]
    On,
    /// Every question is asked, nothing is kept.
    Off,
    /// Cached answers are used; new answers are not kept.
    ReadOnly,
    /// Every question is asked again once, and the new answer replaces the cached one.
    Refresh,
}

impl CacheMode {
    pub(crate) const fn reads_store(self) -> bool {
        matches!(self, Self::On | Self::ReadOnly)
    }

    pub(crate) const fn writes(self) -> bool {
        matches!(self, Self::On | Self::Refresh)
    }
}

/// A recording of every question's outcome, as JSON lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CassetteConfig {
    /// The file.
    pub path: PathBuf,
    /// Set to record or to replay.
    pub mode: CassetteMode,
}

/// Use of a cassette.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CassetteMode {
    /// Write what every question gets; the file must not hold another run.
    Record,
    /// Replay the file. The endpoint is not called, and a question that was not recorded abstains.
    Replay,
}

//! What is kept of answers, and a run on tape.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How many answers are kept, and for how long. Only verdicts are kept; a failure never is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheConfig {
    /// Answers kept in memory; 0 keeps none, and identical questions asked at the same time still share one call.
    pub max_entries: u64,
    /// How long an answer is used, by the wall clock.
    #[serde(with = "humantime_serde")]
    pub ttl: Duration,
    /// What the cache may do.
    pub mode: CacheMode,
    /// The file that keeps answers beyond a restart. Judges may share one. Default: none, memory only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// After how long at the latest the disk is told of an answer that is in the file. A process that is killed loses none;
    /// a power cut loses the answers of this long, and they are bought again. With `"0s"` an answer waits for the disk.
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

/// What a cache may do. In every mode identical questions asked at the same time share one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CacheMode {
    /// Answers are used and kept.
    #[default]
    On,
    /// Every question is asked, nothing is kept.
    Off,
    /// What the file knows is used; what it does not know is asked and not kept.
    ReadOnly,
    /// What the file knows is bought anew, once, and replaced.
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

/// A tape of what every question got: JSON lines, one an asker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CassetteConfig {
    /// The file.
    pub path: PathBuf,
    /// Whether it is written or played.
    pub mode: CassetteMode,
}

/// What is done with a tape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CassetteMode {
    /// Write what every question gets; the file must not hold another run.
    Record,
    /// Play what was written; nobody is called, and a question that is not on the tape abstains.
    Replay,
}

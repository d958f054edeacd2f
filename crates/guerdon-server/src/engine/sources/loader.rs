//! The loader and the state of one load.

use std::path::Path;
use std::sync::Arc;

use guerdon_queue::WorkThreads;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use super::parts::SharedParts;
use crate::config::{Config, ConfigSource};
use crate::engine::rollout_rubrics::RolloutRubrics;
use crate::load::file_set::FileSet;
use crate::observe::metrics::Metrics;

/// Builds snapshots, and keeps the parts that outlive a snapshot: loaded models, endpoints with
/// their caches, and compiled texts.
#[derive(Debug)]
pub(crate) struct Loader {
    pub(super) source: ConfigSource,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tasks: TaskTracker,
    pub(super) rule_threads: Arc<WorkThreads>,
    pub(super) parts: Mutex<SharedParts>,
}

/// One load in progress: its inputs, the files that it reads, and the parts that it builds.
pub(super) struct LoadJob<'a> {
    pub(super) config: &'a Config,
    /// The folder that paths in the configuration are relative to.
    pub(super) root: &'a Path,
    pub(super) files: &'a mut FileSet,
    pub(super) parts: SharedParts,
    /// The rubrics that come with rollouts.
    pub(super) rubrics: RolloutRubrics,
}

impl<'a> LoadJob<'a> {
    /// A load that has built nothing.
    pub(super) fn new(config: &'a Config, root: &'a Path, files: &'a mut FileSet) -> Self {
        let (parts, rubrics) = (SharedParts::default(), RolloutRubrics::default());
        Self { config, root, files, parts, rubrics }
    }
}

impl Loader {
    /// The folder at which relative paths of the configuration start.
    pub(crate) fn root(&self) -> std::path::PathBuf {
        self.source.root()
    }

    pub(crate) fn new(
        source: ConfigSource,
        metrics: Arc<Metrics>,
        tasks: TaskTracker,
        rule_threads: Arc<WorkThreads>,
    ) -> Self {
        Self { source, metrics, tasks, rule_threads, parts: Mutex::default() }
    }
}

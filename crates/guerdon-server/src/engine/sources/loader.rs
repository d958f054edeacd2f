//! The loader and the state of one load.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use guerdon_cluster::{Alone, Coordinator, Redis};
use guerdon_queue::WorkThreads;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use super::parts::SharedParts;
use crate::config::{Config, ConfigSource};
use crate::engine::rollout_rubrics::RolloutRubrics;
use crate::error::LoadError;
use crate::load::file_set::FileSet;
use crate::load::secrets::{SecretPlace, resolve_in};
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
    /// The coordinator of the first load that got this far; it is kept until the server stops.
    cluster: OnceLock<Option<Arc<Redis>>>,
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
        let (parts, cluster) = (Mutex::default(), OnceLock::new());
        Self { source, metrics, tasks, rule_threads, parts, cluster }
    }

    /// Builds the coordinator of the configuration, if there is none yet. It is not connected.
    pub(super) fn build_cluster(
        &self,
        config: &Config,
        files: &mut FileSet,
        root: &Path,
    ) -> Result<(), LoadError> {
        config.cluster.check()?;
        if self.cluster.get().is_some() {
            return Ok(());
        }
        let (env, file) =
            (config.cluster.password_env.as_deref(), config.cluster.password_file.as_deref());
        let place = SecretPlace { what: "the store of [cluster]", env, file };
        let password = resolve_in(files, place, root, self.source.environment.as_ref())?;
        let redis = Redis::new(&config.cluster, password.as_ref(), self.tasks.clone())?;
        // Loads do not overlap, so it is still empty.
        drop(self.cluster.set(redis));
        Ok(())
    }

    /// The coordinator over a store, if the configuration names one.
    pub(crate) fn cluster(&self) -> Option<&Arc<Redis>> {
        self.cluster.get()?.as_ref()
    }

    /// The coordinator of sources.
    pub(super) fn coordinator(&self) -> Arc<dyn Coordinator> {
        match self.cluster() {
            Some(redis) => Arc::clone(redis) as Arc<dyn Coordinator>,
            None => Arc::new(Alone),
        }
    }
}

//! The engine: holds the current snapshot, replaces it on reload, and scores with it. The HTTP
//! server and `guerdon score --local` both use it.

mod advantages;
pub(crate) mod batch;
pub(crate) mod candidate;
pub(crate) mod cohorts;
mod criterion_rewards;
pub(crate) mod group_report;
mod group_sets;
pub(crate) mod recording;
pub(crate) mod request_profiles;
mod results;
pub(crate) mod rollout_rubrics;
pub(crate) mod scored_rollout;
pub(crate) mod snapshot;
mod source_rewards;
mod sources;
mod work_pools;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use guerdon_cluster::{CoordinationState, Coordinator as _, Redis};
use guerdon_ledger::LedgerWriter;
use guerdon_queue::WorkThreads;
use guerdon_types::{ClusterInfo, IncomingRequest, Info, Invalid, ProfileName, ScoreRequest};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, ConfigSource};
use crate::engine::batch::{Asker, Batch, BatchContext};
use crate::engine::candidate::{Candidate, Draw, Serving};
use crate::engine::cohorts::Cohorts;
use crate::engine::request_profiles::own_name;
use crate::engine::snapshot::Snapshot;
use crate::engine::sources::Loader;
use crate::engine::work_pools::WorkPools;
use crate::error::LoadError;
use crate::load::disk_calls::{DiskCalls, DiskThreads};
use crate::load::file_set::FileSet;
use crate::load::own_thread::on_own_thread;
use crate::observe::metrics::Metrics;

/// The name of the threads that loads run on.
const LOAD_THREAD: &str = "guerdon-load";

/// Sources, profiles and their versions, ready to score.
#[derive(Debug)]
pub struct Engine {
    /// Replaced as a whole, under `reloading`.
    serving: ArcSwap<Serving>,
    /// Requests opened so far; places a request without a `group` in a candidate's share.
    requests: AtomicU64,
    /// The snapshot before the last reload, for [`Engine::roll_back`].
    previous: Mutex<Option<Arc<Snapshot>>>,
    loader: Arc<Loader>,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    /// Threads that loads run on.
    disk: DiskThreads,
    /// Threads for checks of rule packs on behalf of clients.
    checks: WorkThreads,
    /// Samples of groups that several requests bring.
    cohorts: Arc<Cohorts>,
    /// Held for the time of a reload, so that reloads do not overlap.
    reloading: Mutex<LoadHistory>,
    /// The report of the last reload, if it failed.
    last_error: Mutex<Option<String>>,
    /// The files of the last load, whether it succeeded or not.
    last_read: Mutex<Arc<FileSet>>,
    /// The server's address. A reload that would serve it without tokens is refused.
    listening: OnceLock<SocketAddr>,
    /// The ledger, once a server runs that has one.
    ledger: OnceLock<LedgerWriter>,
    /// Cancelled at the end of the coordination between replicas.
    alone: CancellationToken,
    coordination: TaskTracker,
}

/// The loads so far.
#[derive(Debug)]
struct LoadHistory {
    /// The highest generation that was given to a load or a rollback. No number is used twice.
    generation: u64,
    /// The files of the last load that succeeded.
    files: Arc<FileSet>,
}

/// Number of times that a load is repeated because a file changed meanwhile.
const MAX_READS: usize = 8;

/// Number of hung loads at which reloads are refused.
const MAX_HUNG_LOADS: usize = 8;

impl Engine {
    /// Loads the configuration, the models (with a warm-up), the packs and the prompts. Blocks the
    /// thread.
    ///
    /// # Errors
    /// [`LoadError`] if something that the configuration names cannot be loaded.
    pub fn load(source: ConfigSource) -> Result<Arc<Self>, LoadError> {
        let (metrics, tasks) = (Metrics::new(), TaskTracker::new());
        let WorkPools { rules, checks } = WorkPools::start().map_err(LoadError::Threads)?;
        let loader = Arc::new(Loader::new(source, Arc::clone(&metrics), tasks.clone(), rules));
        let disk = DiskThreads::new(MAX_HUNG_LOADS);
        let first = Arc::clone(&loader);
        let (snapshot, files) = disk.run(LOAD_THREAD, move |calls| {
            let mut files = FileSet::watched(calls);
            let snapshot = first.load(1, &mut files);
            files.drop_texts();
            (snapshot, Arc::new(files))
        })?;
        let snapshot = Arc::new(snapshot?);
        metrics.reloaded(1);
        let cohorts = Arc::new(Cohorts::new(Arc::clone(&metrics), tasks.clone()));
        Ok(Arc::new(Self {
            serving: ArcSwap::from_pointee(Serving::alone(snapshot)),
            cohorts,
            requests: AtomicU64::new(0),
            previous: Mutex::default(),
            loader,
            metrics,
            tasks,
            disk,
            checks,
            reloading: Mutex::new(LoadHistory { generation: 1, files: Arc::clone(&files) }),
            last_error: Mutex::default(),
            last_read: Mutex::new(files),
            listening: OnceLock::new(),
            ledger: OnceLock::new(),
            alone: CancellationToken::new(),
            coordination: TaskTracker::new(),
        }))
    }

    /// The snapshot that serves now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.serving.load().snapshot)
    }

    /// The snapshot that serves now and the candidate on trial, taken together.
    pub(crate) fn serving(&self) -> Arc<Serving> {
        self.serving.load_full()
    }

    /// The folder that paths in the configuration are relative to.
    pub(crate) fn root(&self) -> PathBuf {
        self.loader.root()
    }

    /// The threads for checks of rule packs on behalf of clients.
    pub(crate) const fn checks(&self) -> &WorkThreads {
        &self.checks
    }

    /// All metrics.
    #[must_use]
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Opens the ledger of the configuration, if it names one. Batches of [`Engine::open`] are not
    /// recorded in it, since they have no request.
    ///
    /// # Errors
    /// The file is not a ledger, has another version, or cannot be written.
    pub(crate) fn open_ledger(&self) -> Result<(), guerdon_ledger::Error> {
        let config = &self.snapshot().config.ledger;
        if config.path.is_none() && config.url.is_none() {
            return Ok(());
        }
        let path = config.path.as_ref().map(|path| self.loader.root().join(path));
        let writer = LedgerWriter::start(path.as_deref(), config)?;
        tracing::info!(place = writer.place(), "recording in the ledger");
        if self.ledger.set(writer).is_err() {
            tracing::debug!("the engine already has a ledger");
        }
        Ok(())
    }

    /// The coordinator over a store, if the configuration names one.
    pub(crate) fn cluster(&self) -> Option<&Arc<Redis>> {
        self.loader.cluster()
    }

    /// Connects to the store that replicas share, if the configuration names one, and keeps the
    /// connection in a task until [`Engine::close`] or the stop of the server. Must be called on
    /// the runtime.
    pub fn start_coordination(&self) {
        if let Some(cluster) = self.cluster() {
            self.coordination.spawn(Arc::clone(cluster).run(self.alone.clone()));
        }
    }

    /// Ends the connection to the store, after the last judge call.
    pub(crate) async fn stop_coordination(&self) {
        self.alone.cancel();
        self.coordination.close();
        self.coordination.wait().await;
    }

    /// The ledger, if the server has one.
    pub(crate) fn ledger(&self) -> Option<&LedgerWriter> {
        self.ledger.get()
    }

    /// Checks `request` and binds it to the snapshot that serves now.
    ///
    /// # Errors
    /// [`Invalid`] if the request as a whole cannot be served: it is too large, names an unknown
    /// profile or source, or asks for a fusion that its sources do not allow.
    pub fn open(&self, request: ScoreRequest) -> Result<Batch, Invalid> {
        self.open_on(&self.serving(), Asker::default(), request.into())
    }

    /// Checks `request` and binds it to `serving`, for `asker`: sources with a queue serve their
    /// clients evenly.
    pub(crate) fn open_on(
        &self,
        serving: &Serving,
        asker: Asker,
        request: IncomingRequest,
    ) -> Result<Batch, Invalid> {
        let group = request.entries.iter().find_map(|entry| entry.group.as_ref());
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let drawn = serving.draw(group, number);
        let Draw { scores, compared } = match &request.settings.expect {
            Some(expected) => serving.preferring(drawn, |snapshot| {
                let is_known = |name: &ProfileName| snapshot.profiles.contains_key(name.as_str());
                let requested = request.settings.profile.as_ref();
                let own = own_name(requested, &request.entries, is_known);
                let profile = snapshot.profile(own.as_ref());
                profile.is_ok_and(|profile| profile.check_digest(&expected.digest).is_ok())
                    && snapshot.check_listed(expected).is_ok()
            }),
            None => drawn,
        };
        let metrics = Arc::clone(&self.metrics);
        let cohorts = Arc::clone(&self.cohorts);
        let ledger = self.ledger.get().cloned();
        let context = BatchContext { snapshot: scores, compared, asker, metrics, cohorts, ledger };
        Batch::open(context, request)
    }

    /// Reads all files again and replaces the snapshot as a whole. Returns the new generation.
    /// Blocks the thread.
    ///
    /// # Errors
    /// [`LoadError`]; the old snapshot then keeps serving, and [`Engine::info`] has the report.
    pub fn reload(&self) -> Result<u64, LoadError> {
        self.reload_if(|_, _| true).map(|generation| generation.unwrap_or_default())
    }

    /// As [`Engine::reload`], but returns `None` and keeps the snapshot if all texts are those of
    /// the last load that succeeded, even if files were replaced. A rollback is therefore undone
    /// only by a change of text.
    ///
    /// # Errors
    /// As [`Engine::reload`].
    pub(crate) fn reload_changed(&self) -> Result<Option<u64>, LoadError> {
        self.reload_if(|files, last| !files.same_content(last))
    }

    /// Loads all files, and replaces the snapshot if `wanted(files, files of the last load)`.
    fn reload_if(
        &self,
        wanted: impl FnOnce(&FileSet, &FileSet) -> bool,
    ) -> Result<Option<u64>, LoadError> {
        let mut history = self.reloading.lock();
        let serving = self.serving();
        let generation = history.generation + 1;
        let loaded = self.load_consistent(generation).and_then(|(live, files)| {
            if let Some(address) = self.listening.get() {
                live.auth.check_listen(*address, &live.config.auth)?;
            }
            Ok((live, files))
        });
        // Not locked during the load, which may take seconds, since `info` reads this.
        let mut last_error = self.last_error.lock();
        match loaded {
            Ok((_, files)) if !wanted(&files, &history.files) => {
                self.metrics.files_are_sound();
                *last_error = None;
                Ok(None)
            }
            Ok((live, files)) => {
                for key in restart_keys(&serving.snapshot.config, &live.config) {
                    tracing::warn!("`{key}` changed; it takes effect after a restart");
                }
                self.install(live);
                *history = LoadHistory { generation, files };
                self.metrics.reloaded(self.snapshot().generation);
                *last_error = None;
                tracing::info!(generation, "reloaded");
                Ok(Some(generation))
            }
            Err(error) => {
                self.metrics.reload_failed();
                tracing::error!(
                    serving = serving.snapshot.generation,
                    "reload failed; the old generation keeps serving: {error}"
                );
                *last_error = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// Loads a consistent state of the files, on a thread of its own: if one of them changes while
    /// they are read, all are read again. A folder that is swapped as a whole is therefore never
    /// loaded in part.
    fn load_consistent(&self, generation: u64) -> Result<(Snapshot, Arc<FileSet>), LoadError> {
        let loader = Arc::clone(&self.loader);
        let (loaded, files) = self.disk.run(LOAD_THREAD, move |calls| {
            let mut loaded = Err(LoadError::FilesKeepChanging);
            let mut files = FileSet::default();
            for _ in 0..MAX_READS {
                files = FileSet::watched(calls);
                let snapshot = loader.load(generation, &mut files);
                if !files.has_changed() {
                    loaded = snapshot;
                    break;
                }
            }
            files.drop_texts();
            (loaded, Arc::new(files))
        })?;
        *self.last_read.lock() = Arc::clone(&files);
        Ok((loaded?, files))
    }

    /// Returns true if a file changed since the last load read it. Reads files through `calls`, so
    /// it must not run on an async thread.
    pub(crate) fn files_changed(&self, calls: &DiskCalls) -> bool {
        // The lock is not held while files are read: a call may hang.
        let last = Arc::clone(&self.last_read.lock());
        let mut compared = last.watched_by(calls);
        let changed = compared.has_changed();
        let mut current = self.last_read.lock();
        if !changed && Arc::ptr_eq(&last, &current) {
            *current = Arc::new(compared);
        }
        changed
    }

    /// Puts `live` into use. With `reload.share` below 1 its tokens and limits apply at once and
    /// its profiles become the candidate.
    fn install(&self, live: Snapshot) {
        let share = live.config.reload.share.get();
        let before = self.snapshot();
        if share < 1.0 {
            let snapshot = Arc::new(live.rolled_back_to(&before, before.generation));
            let candidate = Some(Candidate { snapshot: Arc::new(live), share });
            self.serving.store(Arc::new(Serving { snapshot, candidate }));
        } else {
            self.serving.store(Arc::new(Serving::alone(Arc::new(live))));
            *self.previous.lock() = Some(before);
        }
    }

    /// Lets the candidate serve every request. Returns its generation.
    ///
    /// # Errors
    /// [`NoCandidate`] if there is none.
    pub fn promote(&self) -> Result<u64, NoCandidate> {
        let _history = self.reloading.lock();
        let before = self.serving();
        let candidate = before.candidate.as_ref().ok_or(NoCandidate)?;
        let generation = candidate.snapshot.generation;
        self.serving.store(Arc::new(Serving::alone(Arc::clone(&candidate.snapshot))));
        *self.previous.lock() = Some(Arc::clone(&before.snapshot));
        self.metrics.serves(generation);
        tracing::info!(generation, "promoted the candidate");
        Ok(generation)
    }

    /// Drops the candidate, if there is one. Otherwise serves the profiles from before the last
    /// reload; a second rollback undoes the first. Files are not changed: the next edit or reload
    /// loads them as they are on disk. Returns the new generation and the one it repeats.
    ///
    /// # Errors
    /// [`NothingToRollBack`] before the first reload.
    pub fn roll_back(&self) -> Result<(u64, u64), NothingToRollBack> {
        let mut history = self.reloading.lock();
        let before = self.serving();
        if before.candidate.is_some() {
            self.serving.store(Arc::new(Serving::alone(Arc::clone(&before.snapshot))));
            let generation = before.snapshot.generation;
            self.metrics.rolled_back(generation);
            tracing::warn!(generation, "dropped the candidate");
            return Ok((generation, generation));
        }
        let mut previous = self.previous.lock();
        let older = previous.as_ref().ok_or(NothingToRollBack)?;
        history.generation += 1;
        let generation = history.generation;
        let repeated = older.generation;
        let snapshot = before.snapshot.rolled_back_to(older, generation);
        self.serving.store(Arc::new(Serving::alone(Arc::new(snapshot))));
        *previous = Some(Arc::clone(&before.snapshot));
        self.metrics.rolled_back(generation);
        tracing::warn!(
            generation,
            repeated,
            "rolled back; the files on disk are newer than the profiles in use"
        );
        Ok((generation, repeated))
    }

    /// Description of this server: profiles, versions and limits.
    #[must_use]
    pub fn info(&self) -> Info {
        self.info_of(&self.serving())
    }

    /// Like [`Engine::info`], for the snapshot and candidate that a request uses.
    pub(crate) fn info_of(&self, serving: &Serving) -> Info {
        let snapshot = &serving.snapshot;
        Info {
            name: "guerdon".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            default_profile: snapshot.default_profile.clone(),
            profiles: snapshot.profile_infos(),
            limits: snapshot.config.limits,
            generation: snapshot.generation,
            candidate: serving.candidate_info(),
            last_reload_error: self.last_error.lock().clone(),
            cluster: self.cluster_info(&snapshot.config),
        }
    }

    /// The state of the coordination between replicas.
    fn cluster_info(&self, config: &Config) -> Option<ClusterInfo> {
        let cluster = self.cluster()?;
        let detail = match cluster.state() {
            CoordinationState::Up => None,
            CoordinationState::Down { detail } => Some(detail),
            _ => return None,
        };
        Some(ClusterInfo {
            namespace: config.cluster.namespace.clone(),
            replica: cluster.id().to_owned(),
            up: detail.is_none(),
            detail,
            replicas: cluster.replicas(),
        })
    }

    /// The files to watch: those of the snapshot that serves, and those that the last load tried to
    /// read.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files = self.snapshot().files.clone();
        files.extend(self.last_read.lock().paths().cloned());
        files.sort();
        files.dedup();
        files
    }

    pub(crate) fn listens_on(&self, address: SocketAddr) {
        if self.listening.set(address).is_err() {
            tracing::debug!(%address, "the engine already serves another address; reloads are checked for that one");
        }
    }

    /// Saves the moments of online normalisers. Blocks the thread.
    pub(crate) fn save_moments(&self) {
        self.loader.save_moments();
    }

    /// True if moments of a normaliser are saved in a file.
    pub(crate) fn has_moments_to_save(&self) -> bool {
        self.loader.has_moments_to_save()
    }

    /// Waits for judge calls that are in flight and paid for.
    pub(crate) async fn finish_calls(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Completes the queued work of the models and joins their threads.
    pub(crate) async fn stop_models(self: &Arc<Self>) {
        let engine = Arc::clone(self);
        // Joining a thread blocks. A failure must not prevent the process from exiting.
        let joined = on_own_thread("guerdon-stop", move || {
            engine.checks.stop();
            engine.loader.shutdown();
        });
        if joined.await.is_none() {
            tracing::error!("a device thread could not be joined");
        }
    }

    /// Waits for paid judge calls, then stops the models; for an engine without a server.
    pub async fn close(self: &Arc<Self>) {
        self.finish_calls().await;
        self.stop_coordination().await;
        self.stop_models().await;
    }
}

/// There is no candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no candidate; set `reload.share` below 1 and reload")]
pub struct NoCandidate;

/// There was no reload to roll back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there was no reload since the server started, so there is nothing to roll back to")]
pub struct NothingToRollBack;

/// The changed sections that only a start reads.
fn restart_keys(old: &Config, new: &Config) -> Vec<&'static str> {
    let sections = [
        ("server", old.server.needs_restart(&new.server)),
        ("reload", old.reload != new.reload),
        ("ledger", old.ledger != new.ledger),
        ("cluster", old.cluster != new.cluster),
        (
            "limits.max_concurrent_requests",
            old.limits.max_concurrent_requests != new.limits.max_concurrent_requests,
        ),
    ];
    sections.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_sections_that_need_a_restart_are_named() {
        let old = Config::default();
        let mut new = old.clone();
        new.limits.max_rollouts = 1;
        assert!(restart_keys(&old, &new).is_empty());
        new.server.drain = std::time::Duration::from_secs(1);
        new.limits.max_concurrent_requests = 1;
        assert_eq!(restart_keys(&old, &new), ["server", "limits.max_concurrent_requests"]);
    }
}

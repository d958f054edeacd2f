//! The engine: the live snapshot, how to replace it, and how to score on it. HTTP is one door to it; `guerdon score
//! --local` is another.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use guerdon_types::{IncomingRequest, Info, Invalid, ScoreRequest};
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use crate::batch::{Batch, BatchContext};
use crate::candidate::{Candidate, Draw, Serving};
use crate::config::{Config, ConfigSource};
use crate::error::LoadError;
use crate::file_set::FileSet;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;
use crate::sources::Loader;

/// Sources, profiles and their versions, ready to score.
#[derive(Debug)]
pub struct Engine {
    /// Replaced as a whole, under `reloading`.
    serving: ArcSwap<Serving>,
    /// Requests opened so far; places a request without a `group` in a candidate's share.
    requests: AtomicU64,
    /// What served before the last reload, for [`Engine::roll_back`].
    previous: Mutex<Option<Arc<Snapshot>>>,
    loader: Loader,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    /// One reload at a time.
    reloading: Mutex<()>,
    /// The report of the last reload, if it failed.
    last_error: Mutex<Option<String>>,
    /// The files of the last load, whether it succeeded or not.
    last_read: Mutex<FileSet>,
    /// Where the server listens, once it does: a reload must not open it to everyone.
    listening: OnceLock<SocketAddr>,
}

/// Number of times that a load is repeated because a file changed meanwhile.
const MAX_READS: usize = 8;

impl Engine {
    /// Loads the configuration, the models (with a warm-up), the packs and the prompts. Blocks.
    ///
    /// # Errors
    /// [`LoadError`], if anything named in the configuration cannot be brought to life.
    pub fn load(source: ConfigSource) -> Result<Arc<Self>, LoadError> {
        let (metrics, tasks) = (Metrics::new(), TaskTracker::new());
        let loader = Loader::new(source, Arc::clone(&metrics), tasks.clone());
        let mut files = FileSet::default();
        let snapshot = Arc::new(loader.load(1, &mut files)?);
        files.drop_texts();
        metrics.reloaded(1);
        Ok(Arc::new(Self {
            serving: ArcSwap::from_pointee(Serving::alone(snapshot)),
            requests: AtomicU64::new(0),
            previous: Mutex::default(),
            loader,
            metrics,
            tasks,
            reloading: Mutex::default(),
            last_error: Mutex::default(),
            last_read: Mutex::new(files),
            listening: OnceLock::new(),
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

    /// All metrics.
    #[must_use]
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Checks `request` and binds it to the snapshot that serves now.
    ///
    /// # Errors
    /// As [`Batch::open`].
    pub fn open(&self, request: ScoreRequest) -> Result<Batch, Invalid> {
        self.open_on(&self.serving(), 0, request.into())
    }

    /// Checks `request` and binds it to `serving`, for `client`: sources with a queue serve their clients evenly.
    pub(crate) fn open_on(
        &self,
        serving: &Serving,
        client: u64,
        request: IncomingRequest,
    ) -> Result<Batch, Invalid> {
        let group = request.entries.iter().find_map(|entry| entry.group.as_ref());
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let Draw { scores, compared } = serving.draw(group, number);
        let metrics = Arc::clone(&self.metrics);
        Batch::open(BatchContext { snapshot: scores, compared, client, metrics }, request)
    }

    /// Reads everything again and swaps it in as a whole; returns the new generation. Blocks.
    ///
    /// # Errors
    /// [`LoadError`]; then the old snapshot goes on serving, and [`Engine::info`] says so.
    pub fn reload(&self) -> Result<u64, LoadError> {
        let _one_at_a_time = self.reloading.lock();
        let serving = self.serving();
        let on_trial = serving.candidate.as_ref().map_or(0, |c| c.snapshot.generation);
        let generation = serving.snapshot.generation.max(on_trial) + 1;
        let loaded = self.load_consistent(generation).and_then(|live| match self.listening.get() {
            Some(address) => live
                .auth
                .check_listen(*address, &live.config.auth)
                .map(|()| live)
                .map_err(LoadError::from),
            None => Ok(live),
        });
        // Locked only now: a load may take seconds, and `info` reads this.
        let mut last_error = self.last_error.lock();
        match loaded {
            Ok(live) => {
                for key in restart_keys(&serving.snapshot.config, &live.config) {
                    tracing::warn!(
                        "`{key}` changed; it takes effect when the server is started again."
                    );
                }
                self.install(live);
                self.metrics.reloaded(generation);
                *last_error = None;
                tracing::info!(generation, "Reloaded.");
                Ok(generation)
            }
            Err(error) => {
                self.metrics.reload_failed();
                tracing::error!(
                    serving = generation - 1,
                    "The reload failed, the old version serves on: {error}"
                );
                *last_error = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// Loads the files as they are at one moment: if one of them changes while they are read, all are read again. So a
    /// folder that is swapped as a whole is never live in part.
    fn load_consistent(&self, generation: u64) -> Result<Snapshot, LoadError> {
        let mut loaded = Err(LoadError::Restless);
        let mut files = FileSet::default();
        for _ in 0..MAX_READS {
            files = FileSet::default();
            let snapshot = self.loader.load(generation, &mut files);
            if !files.has_changed() {
                loaded = snapshot;
                break;
            }
        }
        files.drop_texts();
        *self.last_read.lock() = files;
        loaded
    }

    /// Whether a file holds anything else than when the last load read it. Reads files; not for an async thread.
    pub(crate) fn has_news(&self) -> bool {
        self.last_read.lock().has_changed()
    }

    /// All at once; or, if the configuration says so, tokens and limits at once and the profiles on trial.
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

    /// Ends a trial well: what was on it serves every request. Returns its generation.
    ///
    /// # Errors
    /// [`NothingOnTrial`] if nothing was.
    pub fn promote(&self) -> Result<u64, NothingOnTrial> {
        let _one_at_a_time = self.reloading.lock();
        let before = self.serving();
        let candidate = before.candidate.as_ref().ok_or(NothingOnTrial)?;
        let generation = candidate.snapshot.generation;
        self.serving.store(Arc::new(Serving::alone(Arc::clone(&candidate.snapshot))));
        *self.previous.lock() = Some(Arc::clone(&before.snapshot));
        tracing::info!(generation, "Promoted.");
        Ok(generation)
    }

    /// Ends a trial badly, if there is one. Otherwise serves what served before the last reload; a second time, what the first time put away. Files are not touched:
    /// the next change to one of them, or the next reload asked for, loads what is on disk. Returns the new generation
    /// and the one it repeats.
    ///
    /// # Errors
    /// [`NothingBefore`] if there was no reload yet.
    pub fn roll_back(&self) -> Result<(u64, u64), NothingBefore> {
        let _one_at_a_time = self.reloading.lock();
        let before = self.serving();
        if before.candidate.is_some() {
            self.serving.store(Arc::new(Serving::alone(Arc::clone(&before.snapshot))));
            let generation = before.snapshot.generation;
            tracing::warn!(generation, "The generation on trial was dropped.");
            return Ok((generation, generation));
        }
        let mut previous = self.previous.lock();
        let older = previous.as_ref().ok_or(NothingBefore)?;
        let generation = before.snapshot.generation + 1;
        let repeated = older.generation;
        let snapshot = before.snapshot.rolled_back_to(older, generation);
        self.serving.store(Arc::new(Serving::alone(Arc::new(snapshot))));
        *previous = Some(Arc::clone(&before.snapshot));
        self.metrics.rolled_back(generation);
        tracing::warn!(
            generation,
            repeated,
            "Rolled back; the files on disk are newer than what serves."
        );
        Ok((generation, repeated))
    }

    /// What this server is.
    #[must_use]
    pub fn info(&self) -> Info {
        self.info_of(&self.serving())
    }

    /// As [`Engine::info`], for what served when a request arrived.
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
        }
    }

    /// The files to watch: those that serve, and those that the last load tried to read.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files = self.snapshot().files.clone();
        files.extend(self.last_read.lock().paths().cloned());
        files.sort();
        files.dedup();
        files
    }

    pub(crate) fn listens_on(&self, address: SocketAddr) {
        if self.listening.set(address).is_err() {
            tracing::debug!(%address, "This engine already serves elsewhere; that address is the one reloads are checked for.");
        }
    }

    /// Waits for judge calls that are already paid for.
    pub(crate) async fn finish_calls(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Answers what the models were asked, and joins their threads.
    pub(crate) async fn stop_models(self: &Arc<Self>) {
        let engine = Arc::clone(self);
        // Joining a thread blocks; a failure to do so must not keep the process.
        let joined = tokio::task::spawn_blocking(move || engine.loader.shutdown()).await;
        if joined.is_err() {
            tracing::error!("A device thread could not be joined.");
        }
    }

    /// Both: for an engine without a server.
    pub async fn close(self: &Arc<Self>) {
        self.finish_calls().await;
        self.stop_models().await;
    }
}

/// No generation is on trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no generation is on trial; set `reload.share` below 1 and reload to put one there")]
pub struct NothingOnTrial;

/// There is nothing to roll back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nothing was reloaded since the server started, so there is nothing to roll back to")]
pub struct NothingBefore;

/// The sections that changed and that only a start reads.
fn restart_keys(old: &Config, new: &Config) -> Vec<&'static str> {
    let sections = [
        ("server", old.server != new.server),
        ("reload", old.reload != new.reload),
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
    fn what_only_a_start_reads_is_named_when_it_changes() {
        let old = Config::default();
        let mut new = old.clone();
        new.limits.max_rollouts = 1;
        assert!(restart_keys(&old, &new).is_empty());
        new.server.drain = std::time::Duration::from_secs(1);
        new.limits.max_concurrent_requests = 1;
        assert_eq!(restart_keys(&old, &new), ["server", "limits.max_concurrent_requests"]);
    }
}

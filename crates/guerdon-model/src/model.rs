//! A loaded model: its manifest, its tokenizer, and its device threads.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use guerdon_types::{AbstainReason, AbstainWhy, Message, MessagesRead, Rollout};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;
use tracing::Span;

use crate::encode::tokenize::{EncodedTurn, Encoder};
use crate::engine::batch_plan::BatchLimits;
use crate::engine::head::RawScore;
use crate::engine::session::InferenceEngine;
use crate::load::input::InputFormat;
use crate::load::loaded_files::LoadedFiles;
use crate::load::manifest::Manifest;
use crate::queue::engines::Engines;
use crate::queue::event::{ModelEvent, ModelObserver};
use crate::queue::in_flight::{InFlight, InFlightGuard};
use crate::queue::intake::Intake;
use crate::queue::score_cache::ScoreCache;
use crate::queue::slots::QueueSlots;
use crate::queue::waiters::{QueuedTurn, ScoreError, ScoreReceiver};
use crate::queue::worker::Worker;
use crate::startup::instances::{Instances, available_cores};
use crate::startup::replay::verify_reference;
use crate::{Device, Devices, Error, ModelConfig};

/// A loaded reward model with its device threads. Sources share it behind an `Arc`.
pub struct Model {
    manifest: Manifest,
    hash: String,
    device: Devices,
    encoder: Arc<Encoder>,
    limits: BatchLimits,
    queue: QueueSlots,
    cache: ScoreCache,
    observer: ModelObserver,
    /// Permits to tokenize, one per core.
    tokenizing: Arc<Semaphore>,
    in_flight: InFlight,
    /// The files that it was loaded from.
    files: Mutex<LoadedFiles>,
    /// The channel to the device threads; `None` after the shutdown.
    inbox: Mutex<Option<SyncSender<QueuedTurn>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// The loaded parts of a model, before its device threads run.
struct ModelParts<E> {
    manifest: Manifest,
    hash: String,
    files: LoadedFiles,
    encoder: Encoder,
    engines: Vec<E>,
    limits: BatchLimits,
}

/// A scoring request: the turns of one dialogue, the client, and the deadline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScoreQuery<'a> {
    pub(crate) turns: &'a [usize],
    pub(crate) client: u64,
    pub(crate) deadline: Option<Instant>,
}

/// The raw score of one turn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TurnScore {
    pub(crate) raw: RawScore,
    pub(crate) tokens: usize,
    pub(crate) truncated: bool,
    pub(crate) read: Vec<MessagesRead>,
}

/// The reason why a turn has no score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TurnFailure {
    pub(crate) why: AbstainWhy,
    pub(crate) detail: String,
    pub(crate) reason: Option<AbstainReason>,
}

impl TurnFailure {
    fn new(why: AbstainWhy, detail: impl Into<String>) -> Self {
        Self { why, detail: detail.into(), reason: None }
    }

    /// A dialogue that the model can never read.
    fn unreadable(detail: String) -> Self {
        Self { why: AbstainWhy::Malformed, detail, reason: Some(AbstainReason::Unreadable) }
    }

    fn deadline() -> Self {
        Self::new(AbstainWhy::Deadline, "the reward model's score was not ready in time")
    }
}

impl Model {
    /// Loads the model, verifies its files, tries its longest input on the device, replays its
    /// reference scores, and starts the device threads. Blocks until this is done. `observer` is called on the device threads for
    /// every batch and for every request that the cache answers.
    ///
    /// # Errors
    ///
    /// Returns an [`Error`] that names the fault in the configuration, the folder, the ONNX Runtime
    /// library or the model.
    pub fn load(
        config: &ModelConfig,
        observer: Arc<dyn Fn(&ModelEvent) + Send + Sync>,
    ) -> Result<Arc<Self>, Error> {
        config.check()?;
        let manifest = Manifest::read(&config.path)?;
        Self::start_with(config, manifest, observer)
    }

    /// Loads the model as [`load`](Self::load) does, with `manifest` in place of the folder's own,
    /// which may be missing. For a manifest that is checked before it is written.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`load`](Self::load).
    pub fn load_with(
        config: &ModelConfig,
        manifest: Manifest,
        observer: Arc<dyn Fn(&ModelEvent) + Send + Sync>,
    ) -> Result<Arc<Self>, Error> {
        config.check()?;
        Self::start_with(config, manifest, observer)
    }

    fn start_with(
        config: &ModelConfig,
        mut manifest: Manifest,
        observer: ModelObserver,
    ) -> Result<Arc<Self>, Error> {
        let files = LoadedFiles::verified(&config.path, &manifest)?;
        let max_tokens = manifest.input.max_tokens;
        manifest.input.max_tokens = config.max_tokens.unwrap_or(manifest.input.max_tokens);
        let hash = manifest.hash(&config.path)?;
        let mut encoder = Encoder::load(&config.path, &manifest)?;
        let Instances { mut engines, limits, largest_batch_time } =
            Instances::load(config, &manifest, &mut encoder)?;
        if let Some(engine) = engines.first_mut() {
            verify_reference(engine, &encoder, &manifest, config, max_tokens)?;
        }
        let config =
            ModelConfig { max_wait: config.burst_wait(largest_batch_time), ..config.clone() };
        let parts = ModelParts { manifest, hash, files, encoder, engines, limits };
        Self::start(parts, &config, observer)
    }

    fn start(
        parts: ModelParts<impl InferenceEngine>,
        config: &ModelConfig,
        observer: ModelObserver,
    ) -> Result<Arc<Self>, Error> {
        let ModelParts { manifest, hash, files, encoder, engines, limits } = parts;
        // Every entry in the channel holds a permit of the semaphore, so the channel is never full.
        let (sender, inbox) = sync_channel(config.queue);
        let (queue, cache) = (QueueSlots::new(config.queue), ScoreCache::new(config.cache));
        let in_flight = InFlight::default();
        let intake =
            Arc::new(Intake::new(inbox, in_flight.clone(), limits, config.max_wait, engines.len()));
        let instances = engines.len();
        let engines: Vec<Arc<Engines<_>>> = match config.device.first() {
            Device::Cpu => {
                std::iter::repeat_n(Arc::new(Engines::new(engines)), instances).collect()
            }
            // ONNX Runtime keeps state of CUDA for every pair of a thread and a session.
            Device::Cuda(_) => {
                engines.into_iter().map(|engine| Arc::new(Engines::new(vec![engine]))).collect()
            }
        };
        let threads = engines.into_iter().map(|engines| {
            let worker = Worker {
                engines,
                intake: Arc::clone(&intake),
                queue: queue.clone(),
                cache: cache.clone(),
                observer: Arc::clone(&observer),
            };
            let name = format!("rm-{}", config.device);
            std::thread::Builder::new()
                .name(name)
                .spawn(move || worker.run())
                .map_err(Error::Thread)
        });
        let threads = threads.collect::<Result<_, _>>()?;
        // More permits would not tokenize faster; each would only occupy a thread of the runtime's
        // pool.
        let tokenizing = Arc::new(Semaphore::new(available_cores()));
        Ok(Arc::new(Self {
            manifest,
            hash,
            device: config.device.clone(),
            encoder: Arc::new(encoder),
            limits,
            queue,
            cache,
            observer,
            tokenizing,
            in_flight,
            files: Mutex::new(files),
            inbox: Mutex::new(Some(sender)),
            threads: Mutex::new(threads),
        }))
    }

    /// The manifest. `max_tokens` has the configured value, if there is one.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// `sha256:` and the hash of everything that a score depends on: the files and the manifest's
    /// input and output sections.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Compares the model's files with those that it was loaded from. Files whose metadata did not
    /// change are not read. Returns false if the model must be loaded again, because a file whose
    /// hash the manifest does not state has another content. Blocks until this is done.
    ///
    /// # Errors
    ///
    /// Returns an [`Error`] for a file that is missing or has another content than the manifest
    /// states. The loaded model is not affected.
    pub fn files_are_unchanged(&self) -> Result<bool, Error> {
        self.files.lock().are_unchanged()
    }

    /// The names of the objectives that are reported next to the score.
    pub(crate) fn objectives(&self) -> impl Iterator<Item = &String> {
        self.manifest.output.labels.iter()
    }

    /// The devices that the model runs on.
    #[must_use]
    pub const fn device(&self) -> &Devices {
        &self.device
    }

    /// The id of the token that pads the shorter texts of a batch, if the model's files state it.
    #[must_use]
    pub fn pad_id(&self) -> Option<u32> {
        self.encoder.pad()
    }

    /// A one-sentence description of the model.
    #[must_use]
    pub fn about(&self) -> String {
        let Manifest { name, about, input, .. } = &self.manifest;
        let format = match input.format {
            InputFormat::Plain => "plain text",
            InputFormat::ChatTemplate => "its chat template",
            InputFormat::Pair => "text pairs",
        };
        let about = if about.is_empty() { String::new() } else { format!(": {about}") };
        format!(
            "{name} on {}, {} tokens of {format}{about}",
            self.device,
            self.encoder.max_tokens()
        )
    }

    /// A one-sentence description of the batch limits.
    #[must_use]
    pub fn batching(&self) -> String {
        self.limits.to_string()
    }

    /// Stops accepting requests, answers those already accepted, and joins the device threads.
    /// Blocks until they end. A second call does nothing.
    pub fn shutdown(&self) {
        drop(self.inbox.lock().take());
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a device thread of the reward model panicked");
            }
        }
    }

    /// The expected time until the queued work is done, if every queue slot is taken and `client`
    /// has its share of them.
    #[must_use]
    pub fn full_for(&self, client: u64) -> Option<Duration> {
        self.queue.full_for(client)
    }

    /// The turns that wait for the device or run on it.
    #[must_use]
    pub fn queue_depth(&self) -> u64 {
        self.queue.depth()
    }

    /// Scores the rollout's turns, without calibration. For checks and measurements.
    ///
    /// # Errors
    ///
    /// Returns the reason of the first failure if any turn has no score.
    pub async fn raw_scores(&self, rollout: &Rollout) -> Result<Vec<f32>, String> {
        let turns = rollout.turns_to_score().map_err(|invalid| invalid.detail)?;
        let query = ScoreQuery { turns: &turns, client: 0, deadline: None };
        let scores = self.score(rollout.messages.clone(), query).await;
        scores
            .into_iter()
            .map(|scored| scored.map(|score| score.raw.value).map_err(|failure| failure.detail))
            .collect()
    }

    /// Scores `query.turns` of the dialogue. Returns one result per turn, in order.
    pub(crate) async fn score(
        &self,
        messages: Vec<Message>,
        query: ScoreQuery<'_>,
    ) -> Vec<Result<TurnScore, TurnFailure>> {
        let ScoreQuery { turns, deadline, .. } = query;
        let in_flight_guard = self.in_flight.announce();
        let pending = before_deadline(deadline, async {
            let encoded = self.encode(messages, turns.to_vec()).await?;
            self.enqueue(encoded, query, in_flight_guard).await
        });
        let pending = match pending.await {
            Some(Ok(pending)) => pending,
            Some(Err(failure)) => return turns.iter().map(|_| Err(failure.clone())).collect(),
            None => return turns.iter().map(|_| Err(TurnFailure::deadline())).collect(),
        };
        let mut scores = Vec::with_capacity(turns.len());
        for pending in pending {
            scores.push(match pending {
                Ok(turn) => turn.resolve(deadline).await,
                Err(failure) => Err(failure),
            });
        }
        scores
    }

    /// Tokenizes on a blocking thread, because a long dialogue takes milliseconds.
    async fn encode(
        &self,
        messages: Vec<Message>,
        turns: Vec<usize>,
    ) -> Result<Vec<Result<EncodedTurn, TurnFailure>>, TurnFailure> {
        let interrupted = || TurnFailure::new(AbstainWhy::Internal, "tokenization was interrupted");
        let permit =
            Arc::clone(&self.tokenizing).acquire_owned().await.map_err(|_| interrupted())?;
        let encoder = Arc::clone(&self.encoder);
        let work = spawn_blocking(move || {
            // The permit is dropped with the task, because the task continues after its caller has
            // disconnected.
            let _permit = permit;
            let encode = |turn| {
                encoder
                    .encode(&messages, turn)
                    .map(|encoded| EncodedTurn {
                        tokens: encoder.read_tokens(encoded.tokens),
                        ..encoded
                    })
                    .map_err(TurnFailure::unreadable)
            };
            turns.into_iter().map(encode).collect()
        });
        work.await.map_err(|_| interrupted())
    }

    /// Queues the turns that are not in the cache. Waits for free slots if there are none.
    async fn enqueue(
        &self,
        encoded: Vec<Result<EncodedTurn, TurnFailure>>,
        query: ScoreQuery<'_>,
        in_flight_guard: InFlightGuard,
    ) -> Result<Vec<Result<PendingTurn, TurnFailure>>, TurnFailure> {
        let known: Vec<Option<RawScore>> = encoded
            .iter()
            .map(|encoded| {
                encoded.as_ref().ok().and_then(|encoded| self.cache.get(&encoded.tokens))
            })
            .collect();
        let hits = known.iter().flatten().count();
        if hits > 0 {
            (self.observer)(&ModelEvent::CacheHits(hits));
        }
        let wanted = encoded.iter().filter(|encoded| encoded.is_ok()).count() - hits;
        let mut reservation = self
            .queue
            .reserve(query.client, wanted)
            .await
            .ok_or_else(|| self.too_many_turns(wanted))?;
        let inbox = self.inbox.lock().clone();
        let (mut in_flight_guard, mut unsent) = (Some(in_flight_guard), wanted);
        let (queued, span) = (Instant::now(), Span::current());
        let mut submit = |encoded: Result<EncodedTurn, TurnFailure>, known: Option<RawScore>| {
            let EncodedTurn { tokens, truncated, read } = encoded?;
            let length = tokens.len();
            let pending = |score| PendingTurn { tokens: length, truncated, read, score };
            if let Some(raw) = known {
                return Ok(pending(PendingScore::Known(raw)));
            }
            let slot = reservation.slot(length).ok_or_else(|| self.too_many_turns(wanted))?;
            let (reply, answer) = oneshot::channel();
            let ScoreQuery { client, deadline, .. } = query;
            unsent -= 1;
            let in_flight_guard = if unsent == 0 { in_flight_guard.take() } else { None };
            let span = span.clone();
            let entry =
                QueuedTurn { tokens, client, deadline, queued, span, reply, slot, in_flight_guard };
            match inbox.as_ref() {
                Some(inbox) if inbox.try_send(entry).is_ok() => {
                    Ok(pending(PendingScore::Queued(answer)))
                }
                _ => Err(TurnFailure::new(AbstainWhy::Internal, "the reward model is shut down")),
            }
        };
        Ok(encoded.into_iter().zip(known).map(|(encoded, known)| submit(encoded, known)).collect())
    }

    fn too_many_turns(&self, wanted: usize) -> TurnFailure {
        let size = self.queue.size();
        let detail =
            format!("the reward model's queue has {size} slots, and this rollout needs {wanted}");
        TurnFailure::new(AbstainWhy::Overloaded, detail)
    }
}

/// A turn whose score is known or queued.
struct PendingTurn {
    tokens: usize,
    truncated: bool,
    read: Vec<MessagesRead>,
    score: PendingScore,
}

enum PendingScore {
    /// The score was in the cache.
    Known(RawScore),
    Queued(ScoreReceiver),
}

impl PendingTurn {
    async fn resolve(self, deadline: Option<Instant>) -> Result<TurnScore, TurnFailure> {
        let Self { tokens, truncated, read, score } = self;
        let answer = match score {
            PendingScore::Known(raw) => return Ok(TurnScore { raw, tokens, truncated, read }),
            PendingScore::Queued(answer) => answer,
        };
        match before_deadline(deadline, answer).await {
            Some(Ok(Ok(raw))) => Ok(TurnScore { raw, tokens, truncated, read }),
            Some(Ok(Err(error))) => Err(error.into()),
            Some(Err(_)) => Err(TurnFailure::new(
                AbstainWhy::Internal,
                "the reward model's device thread has ended",
            )),
            None => Err(TurnFailure::deadline()),
        }
    }
}

/// The output of `work`, or `None` if `deadline` passes first.
async fn before_deadline<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline.into(), work).await.ok(),
        None => Some(work.await),
    }
}

impl From<ScoreError> for TurnFailure {
    fn from(error: ScoreError) -> Self {
        match error {
            ScoreError::Deadline => Self::deadline(),
            ScoreError::NotFinite(raw) => {
                Self::new(AbstainWhy::NotFinite, format!("the reward model returned {raw}"))
            }
            ScoreError::Engine(detail) => {
                Self::new(AbstainWhy::Internal, format!("the reward model failed: {detail}"))
            }
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("name", &self.manifest.name)
            .field("hash", &self.hash)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

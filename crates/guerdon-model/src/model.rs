//! A loaded model: its manifest, its tokenizer, and the way to its device threads.

use std::fmt;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use guerdon_types::{AbstainWhy, Message, Rollout};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;
use tracing::Span;

use crate::encode::tokenize::{Encoded, Encoder};
use crate::engine::batch_plan::Limits;
use crate::engine::session::Engine;
use crate::load::manifest::{Format, Manifest};
use crate::queue::event::{ModelEvent, Observer};
use crate::queue::in_flight::{Coming, OnItsWay};
use crate::queue::intake::Intake;
use crate::queue::score_cache::ScoreCache;
use crate::queue::slots::Queue;
use crate::queue::waiters::{Answer, Entry, Lost};
use crate::queue::worker::Worker;
use crate::startup::instances::{Instances, available_cores};
use crate::{Devices, Error, ModelConfig};

/// A loaded reward model, with its device threads. It is shared behind an `Arc` and outlives the sources made of it.
pub struct Model {
    manifest: Manifest,
    hash: String,
    device: Devices,
    encoder: Arc<Encoder>,
    limits: Limits,
    queue: Queue,
    cache: ScoreCache,
    observer: Observer,
    tokenizing: Arc<Semaphore>,
    coming: Coming,
    inbox: Mutex<Option<SyncSender<Entry>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A question: which turns of a dialogue, for whom, and until when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) turns: &'a [usize],
    pub(crate) client: u64,
    pub(crate) deadline: Option<Instant>,
}

/// One scored turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scored {
    pub(crate) raw: f32,
    pub(crate) tokens: usize,
    pub(crate) truncated: bool,
}

/// Why a turn was not scored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Miss {
    pub(crate) why: AbstainWhy,
    pub(crate) detail: String,
}

impl Miss {
    fn new(why: AbstainWhy, detail: impl Into<String>) -> Self {
        Self { why, detail: detail.into() }
    }

    fn deadline() -> Self {
        Self::new(AbstainWhy::Deadline, "the reward model's score was not ready in time")
    }
}

impl Model {
    /// Loads the model, verifies its files, tries its longest input on the device, and starts the device threads. It
    /// blocks while it does. `observer` is told of every batch, on those threads, and of what the cache spared.
    ///
    /// # Errors
    /// [`Error`] says what is wrong with the configuration, the folder, the ONNX Runtime library or the model.
    pub fn load(
        config: &ModelConfig,
        observer: Arc<dyn Fn(&ModelEvent) + Send + Sync>,
    ) -> Result<Arc<Self>, Error> {
        config.check()?;
        let mut manifest = Manifest::load(&config.path)?;
        manifest.input.max_tokens = config.max_tokens.unwrap_or(manifest.input.max_tokens);
        let hash = manifest.hash(&config.path)?;
        let mut encoder = Encoder::load(&config.path, &manifest)?;
        let Instances { engines, limits, largest_takes } =
            Instances::load(config, &manifest, &mut encoder)?;
        let config =
            ModelConfig { max_wait: config.wait_for_others(largest_takes), ..config.clone() };
        Self::start(engines, limits, manifest, hash, encoder, &config, observer)
    }

    fn start(
        engines: Vec<impl Engine>,
        limits: Limits,
        manifest: Manifest,
        hash: String,
        encoder: Encoder,
        config: &ModelConfig,
        observer: Observer,
    ) -> Result<Arc<Self>, Error> {
        // Every entry in the channel holds a place of the semaphore, so the channel is never full.
        let (sender, inbox) = sync_channel(config.queue);
        let (queue, cache) = (Queue::new(config.queue), ScoreCache::new(config.cache));
        let coming = Coming::default();
        let intake =
            Arc::new(Intake::new(inbox, coming.clone(), limits, config.max_wait, engines.len()));
        let threads = engines.into_iter().map(|engine| {
            let worker = Worker {
                engine,
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
        // More would not tokenize faster, only keep a thread of the runtime's pool each.
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
            coming,
            inbox: Mutex::new(Some(sender)),
            threads: Mutex::new(threads),
        }))
    }

    /// The manifest, with the configuration's `max_tokens` in force.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// `sha256:` and the hash of all that a score depends on: the files, and the input and output sections.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// What the model runs on.
    #[must_use]
    pub const fn device(&self) -> &Devices {
        &self.device
    }

    /// What it is, in a sentence.
    #[must_use]
    pub fn about(&self) -> String {
        let Manifest { name, about, input, .. } = &self.manifest;
        let format = match input.format {
            Format::Plain => "plain text",
            Format::ChatTemplate => "its chat template",
        };
        let about = if about.is_empty() { String::new() } else { format!(": {about}") };
        format!(
            "{name} on {}, {} tokens of {format}{about}",
            self.device,
            self.encoder.max_tokens()
        )
    }

    /// How it batches, in a sentence.
    #[must_use]
    pub fn batching(&self) -> String {
        self.limits.to_string()
    }

    /// Takes no more questions, answers those that were taken, and joins the device threads. It blocks while it does;
    /// calling it again does nothing.
    pub fn shutdown(&self) {
        drop(self.inbox.lock().unwrap_or_else(PoisonError::into_inner).take());
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a device thread of the reward model panicked");
            }
        }
    }

    /// If no place is free: how long until what is queued now is done.
    #[must_use]
    pub fn full_for(&self) -> Option<Duration> {
        self.queue.full_for()
    }

    /// The model's own scores of the rollout's turns, before any calibration: what checks and measurements want.
    ///
    /// # Errors
    /// Why the first turn that has none has none.
    pub async fn raw_scores(&self, rollout: &Rollout) -> Result<Vec<f32>, String> {
        let turns = rollout.turns_to_score().map_err(|invalid| invalid.detail)?;
        let question = Question { turns: &turns, client: 0, deadline: None };
        let scores = self.score(rollout.messages.clone(), question).await;
        scores
            .into_iter()
            .map(|scored| scored.map(|scored| scored.raw).map_err(|miss| miss.detail))
            .collect()
    }

    /// Scores `question.turns` of the dialogue. One answer per turn, in order.
    pub(crate) async fn score(
        &self,
        messages: Vec<Message>,
        question: Question<'_>,
    ) -> Vec<Result<Scored, Miss>> {
        let Question { turns, deadline, .. } = question;
        let on_its_way = self.coming.announce();
        let asked = by(deadline, async {
            let encoded = self.encode(messages, turns.to_vec()).await?;
            self.enqueue(encoded, question, on_its_way).await
        });
        let asked = match asked.await {
            Some(Ok(asked)) => asked,
            Some(Err(miss)) => return turns.iter().map(|_| Err(miss.clone())).collect(),
            None => return turns.iter().map(|_| Err(Miss::deadline())).collect(),
        };
        let mut scores = Vec::with_capacity(turns.len());
        for asked in asked {
            scores.push(match asked {
                Ok(asked) => asked.scored(deadline).await,
                Err(miss) => Err(miss),
            });
        }
        scores
    }

    /// Tokenizes off the async threads: a long dialogue takes milliseconds.
    async fn encode(
        &self,
        messages: Vec<Message>,
        turns: Vec<usize>,
    ) -> Result<Vec<Result<Encoded, Miss>>, Miss> {
        let gone = || Miss::new(AbstainWhy::Internal, "tokenizing broke off");
        let turn = Arc::clone(&self.tokenizing).acquire_owned().await.map_err(|_| gone())?;
        let encoder = Arc::clone(&self.encoder);
        let work = spawn_blocking(move || {
            // Held in here, for the work goes on when its caller hangs up.
            let _turn = turn;
            let encode = |turn| {
                encoder
                    .encode(&messages, turn)
                    .map_err(|detail| Miss::new(AbstainWhy::Malformed, detail))
            };
            turns.into_iter().map(encode).collect()
        });
        work.await.map_err(|_| gone())
    }

    /// Queues what was encoded and was not scored before; waits for room if there is none.
    async fn enqueue(
        &self,
        encoded: Vec<Result<Encoded, Miss>>,
        question: Question<'_>,
        on_its_way: OnItsWay,
    ) -> Result<Vec<Result<Asked, Miss>>, Miss> {
        let known: Vec<Option<f32>> = encoded
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
        let mut reserved = self.queue.reserve(wanted).await.ok_or_else(|| self.too_many(wanted))?;
        let inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (mut on_its_way, mut to_send) = (Some(on_its_way), wanted);
        let (queued, span) = (Instant::now(), Span::current());
        let mut ask = |encoded: Result<Encoded, Miss>, known: Option<f32>| {
            let Encoded { tokens, truncated } = encoded?;
            let length = tokens.len();
            if let Some(raw) = known {
                return Ok(Asked { tokens: length, truncated, answer: Waits::No(raw) });
            }
            let place = reserved.place(length).ok_or_else(|| self.too_many(wanted))?;
            let (reply, answer) = oneshot::channel();
            let Question { client, deadline, .. } = question;
            to_send -= 1;
            let on_its_way = if to_send == 0 { on_its_way.take() } else { None };
            let span = span.clone();
            let entry = Entry { tokens, client, deadline, queued, span, reply, place, on_its_way };
            match inbox.as_ref() {
                Some(inbox) if inbox.try_send(entry).is_ok() => {
                    Ok(Asked { tokens: length, truncated, answer: Waits::For(answer) })
                }
                _ => Err(Miss::new(AbstainWhy::Internal, "the reward model is shut down")),
            }
        };
        Ok(encoded.into_iter().zip(known).map(|(encoded, known)| ask(encoded, known)).collect())
    }

    fn too_many(&self, wanted: usize) -> Miss {
        let size = self.queue.size();
        let detail =
            format!("the reward model's queue has {size} places, and this rollout needs {wanted}");
        Miss::new(AbstainWhy::Overloaded, detail)
    }
}

/// A turn that was asked about.
struct Asked {
    tokens: usize,
    truncated: bool,
    answer: Waits,
}

enum Waits {
    /// It was scored before.
    No(f32),
    For(Answer),
}

impl Asked {
    async fn scored(self, deadline: Option<Instant>) -> Result<Scored, Miss> {
        let Self { tokens, truncated, answer } = self;
        let answer = match answer {
            Waits::No(raw) => return Ok(Scored { raw, tokens, truncated }),
            Waits::For(answer) => answer,
        };
        match by(deadline, answer).await {
            Some(Ok(Ok(raw))) => Ok(Scored { raw, tokens, truncated }),
            Some(Ok(Err(lost))) => Err(lost.into()),
            Some(Err(_)) => {
                Err(Miss::new(AbstainWhy::Internal, "the reward model's device thread is gone"))
            }
            None => Err(Miss::deadline()),
        }
    }
}

/// `None` if `deadline` passes first.
async fn by<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline.into(), work).await.ok(),
        None => Some(work.await),
    }
}

impl From<Lost> for Miss {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Deadline => Self::deadline(),
            Lost::NotFinite(raw) => {
                Self::new(AbstainWhy::NotFinite, format!("the reward model's raw score is {raw}"))
            }
            Lost::Engine(detail) => {
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

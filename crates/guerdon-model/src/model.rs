//! A loaded model: its manifest, its tokenizer, and the way to its device thread.

use std::fmt;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use guerdon_types::{AbstainWhy, Message};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;
use tracing::Span;

use crate::batch::Limits;
use crate::manifest::{Format, Manifest};
use crate::session::{Engine, OrtEngine, SessionConfig};
use crate::tokenize::{Encoded, Encoder};
use crate::waiting::{Answer, Entry, Lost};
use crate::worker::{BatchEvent, Coming, Observer, OnItsWay, Worker};
use crate::{Device, Error, ModelConfig};

/// A loaded reward model, with its device thread. It is shared behind an `Arc` and outlives the sources made of it.
pub struct Model {
    manifest: Manifest,
    hash: String,
    device: Device,
    encoder: Arc<Encoder>,
    queue: Arc<Semaphore>,
    queue_size: usize,
    tokenizing: Arc<Semaphore>,
    coming: Coming,
    inbox: Mutex<Option<SyncSender<Entry>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
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
    /// Loads the model, verifies its files, tries its longest input on the device, and starts the device thread. It
    /// blocks while it does. `observer` is told of every batch, on that thread.
    ///
    /// # Errors
    /// [`Error`] says what is wrong with the configuration, the folder, the ONNX Runtime library or the model.
    pub fn load(
        config: &ModelConfig,
        observer: Arc<dyn Fn(&BatchEvent) + Send + Sync>,
    ) -> Result<Arc<Self>, Error> {
        config.check()?;
        let mut manifest = Manifest::load(&config.path)?;
        manifest.input.max_tokens = config.max_tokens.unwrap_or(manifest.input.max_tokens);
        let hash = manifest.hash(&config.path)?;
        let encoder = Encoder::load(&config.path, &manifest)?;
        let path = config.path.join(&manifest.files.model);
        let mut engine = OrtEngine::load(&SessionConfig {
            model: &path,
            output: &manifest.output,
            device: config.device,
            threads: config.threads,
            runtime: config.runtime.as_deref(),
            pad: encoder.pad(),
        })?;
        warm_up(&mut engine, &encoder, config).map_err(|detail| Error::Model { path, detail })?;
        Self::start(engine, manifest, hash, encoder, config, observer)
    }

    fn start(
        engine: impl Engine,
        manifest: Manifest,
        hash: String,
        encoder: Encoder,
        config: &ModelConfig,
        observer: Observer,
    ) -> Result<Arc<Self>, Error> {
        // Every entry in the channel holds a place of the semaphore, so the channel is never full.
        let (sender, inbox) = sync_channel(config.queue);
        let coming = Coming::default();
        let worker = Worker {
            engine,
            inbox,
            coming: coming.clone(),
            limits: Limits { token_budget: config.token_budget, max_items: config.max_batch },
            max_wait: config.max_wait,
            observer,
        };
        let thread = std::thread::Builder::new()
            .name(format!("rm-{}", config.device))
            .spawn(move || worker.run())
            .map_err(Error::Thread)?;
        // More would not tokenize faster, only keep a thread of the runtime's pool each.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Arc::new(Self {
            manifest,
            hash,
            device: config.device,
            encoder: Arc::new(encoder),
            queue: Arc::new(Semaphore::new(config.queue)),
            queue_size: config.queue,
            tokenizing: Arc::new(Semaphore::new(cores)),
            coming,
            inbox: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
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
    pub const fn device(&self) -> Device {
        self.device
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
        format!("{name} on {}, {} tokens of {format}{about}", self.device, self.encoder.max_tokens())
    }

    /// Takes no more questions, answers those that were taken, and joins the device thread. It blocks while it does;
    /// calling it again does nothing.
    pub fn shutdown(&self) {
        drop(self.inbox.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(_)) = thread.map(JoinHandle::join) {
            tracing::error!("the reward model's device thread panicked");
        }
    }

    /// Scores `turns` of the dialogue. One answer per turn, in order.
    pub(crate) async fn score(
        &self,
        messages: Vec<Message>,
        turns: &[usize],
        deadline: Option<Instant>,
    ) -> Vec<Result<Scored, Miss>> {
        let on_its_way = self.coming.announce();
        let encoded = match by(deadline, self.encode(messages, turns.to_vec())).await {
            Some(Ok(encoded)) => encoded,
            Some(Err(miss)) => return turns.iter().map(|_| Err(miss.clone())).collect(),
            None => return turns.iter().map(|_| Err(Miss::deadline())).collect(),
        };
        let mut scores = Vec::with_capacity(turns.len());
        for asked in self.enqueue(encoded, deadline, on_its_way) {
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
                encoder.encode(&messages, turn).map_err(|detail| Miss::new(AbstainWhy::Malformed, detail))
            };
            turns.into_iter().map(encode).collect()
        });
        work.await.map_err(|_| gone())
    }

    /// Queues what was encoded: all of a rollout's turns or none of them, so that none is scored in vain.
    fn enqueue(
        &self,
        encoded: Vec<Result<Encoded, Miss>>,
        deadline: Option<Instant>,
        on_its_way: OnItsWay,
    ) -> Vec<Result<Asked, Miss>> {
        let wanted = encoded.iter().filter(|encoded| encoded.is_ok()).count();
        let mut places = u32::try_from(wanted).ok().and_then(|wanted| self.places(wanted));
        let inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Before the first is sent: the device thread must not wait for what it has.
        drop(on_its_way);
        let (queued, span) = (Instant::now(), Span::current());
        let ask = |encoded: Result<Encoded, Miss>| {
            let Encoded { ids, truncated } = encoded?;
            let place =
                places.as_mut().and_then(|places| places.split(1)).ok_or_else(|| self.overloaded(wanted))?;
            let (reply, answer) = oneshot::channel();
            let asked = Asked { tokens: ids.len(), truncated, answer };
            let entry = Entry { ids, deadline, queued, span: span.clone(), reply, place };
            match inbox.as_ref().map(|inbox| inbox.try_send(entry)) {
                Some(Ok(())) => Ok(asked),
                _ => Err(Miss::new(AbstainWhy::Internal, "the reward model is shut down")),
            }
        };
        encoded.into_iter().map(ask).collect()
    }

    fn places(&self, wanted: u32) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.queue).try_acquire_many_owned(wanted).ok()
    }

    fn overloaded(&self, wanted: usize) -> Miss {
        let (free, size) = (self.queue.available_permits(), self.queue_size);
        Miss::new(
            AbstainWhy::Overloaded,
            format!(
                "the reward model's queue has {free} of {size} places free, and this rollout needs {wanted}"
            ),
        )
    }
}

/// A turn that is in the queue.
struct Asked {
    tokens: usize,
    truncated: bool,
    answer: Answer,
}

impl Asked {
    async fn scored(self, deadline: Option<Instant>) -> Result<Scored, Miss> {
        let Self { tokens, truncated, answer } = self;
        match by(deadline, answer).await {
            Some(Ok(Ok(raw))) => Ok(Scored { raw, tokens, truncated }),
            Some(Ok(Err(lost))) => Err(lost.into()),
            Some(Err(_)) => Err(Miss::new(AbstainWhy::Internal, "the reward model's device thread is gone")),
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

/// Runs a plain dialogue, whose score must be a number, and then the largest batch there will be: what cannot run, such
/// as a `max_tokens` beyond the model's positions, is found now, and the device's memory grows once.
fn warm_up(engine: &mut impl Engine, encoder: &Encoder, config: &ModelConfig) -> Result<(), String> {
    let probe = encoder.probe()?.ids;
    let scores = engine.run(&[&probe]).map_err(|error| format!("does not run: {error}"))?;
    if !scores.iter().all(|score| score.is_finite()) {
        return Err(format!("scores a plain dialogue {scores:?}"));
    }
    let longest: Vec<u32> = probe.iter().copied().cycle().take(encoder.max_tokens()).collect();
    let items = (config.token_budget / longest.len().max(1)).clamp(1, config.max_batch);
    engine
        .run(&vec![longest.as_slice(); items])
        .map(drop)
        .map_err(|error| format!("does not run on {items} inputs of {} tokens: {error}", longest.len()))
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

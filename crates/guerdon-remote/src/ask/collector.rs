//! Collects turns into calls: answers from memory first, one question for equal turns, then
//! batches by client.
//!
//! A batch holds turns of one client, so that calls of several clients get their share of the
//! addresses, and a dialogue that makes the other side fail harms no other client. A call is given
//! up when every caller has left.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use guerdon_fusion::Ask;
use guerdon_queue::{Flow, SingleFlight};
use guerdon_types::AbstainWhy;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::answer::{Silence, TurnAnswer};
use super::cache::TurnAnswerCache;
use super::dialogue::DialogueJson;
use super::key::TurnKey;
use super::turn::AskedTurn;
use super::wire::Wire;
use crate::call::{CallRequest, ServiceEndpoint};
use crate::config::TurnCacheConfig;

/// The answer about a turn.
pub(crate) type TurnOutcome = Result<Arc<TurnAnswer>, Silence>;

/// The size of a body in bytes from which it is written and read on a blocking thread.
const LARGE_BODY: usize = 256 << 10;

/// The largest number of calls for one batch, if parts of it are refused.
const MOST_CALLS: usize = 32;

/// The number of turns after whose preparation other tasks get a turn.
const YIELD_AFTER: usize = 8;

/// The settings of a [`Collector`].
#[derive(Debug)]
pub(crate) struct CollectorConfig {
    /// The name of the source, for the queue.
    pub(crate) name: Arc<str>,
    pub(crate) linger: Duration,
    pub(crate) max_queued: usize,
    pub(crate) max_request_bytes: usize,
    pub(crate) cache: TurnCacheConfig,
    pub(crate) tasks: TaskTracker,
}

/// The caller of a turn.
#[derive(Debug, Clone, Copy)]
struct TurnAsker {
    client: u64,
    deadline: Option<Instant>,
}

/// Collects turns into calls.
#[derive(Debug)]
pub(crate) struct Collector {
    wire: Arc<dyn Wire>,
    endpoint: ServiceEndpoint,
    cache: TurnAnswerCache,
    flights: SingleFlight<TurnKey, TurnOutcome>,
    /// The batch of each client that still takes turns.
    pending: Mutex<PendingBatches>,
    /// Turns that wait for an answer.
    waiting: AtomicUsize,
    config: CollectorConfig,
}

#[derive(Debug, Default)]
struct PendingBatches {
    by_client: HashMap<u64, TurnBatch>,
    /// The number of batches so far.
    started: u64,
}

/// Turns that are sent together.
#[derive(Debug)]
struct TurnBatch {
    number: u64,
    jobs: Vec<TurnJob>,
    bytes: usize,
}

/// One turn, and the channel to its caller.
#[derive(Debug)]
struct TurnJob {
    turn: AskedTurn,
    deadline: Option<Instant>,
    reply: oneshot::Sender<TurnOutcome>,
}

/// A place among the turns that wait.
struct WaitingPlace<'a>(&'a AtomicUsize);

impl Drop for WaitingPlace<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Collector {
    pub(crate) fn new(
        wire: Arc<dyn Wire>,
        endpoint: ServiceEndpoint,
        config: CollectorConfig,
    ) -> Arc<Self> {
        Arc::new(Self {
            wire,
            endpoint,
            cache: TurnAnswerCache::new(&config.cache),
            flights: SingleFlight::default(),
            pending: Mutex::default(),
            waiting: AtomicUsize::new(0),
            config,
        })
    }

    /// The version of the last reply.
    pub(crate) fn version(&self) -> Option<Arc<str>> {
        self.cache.version()
    }

    /// The time until new requests of `client` are accepted, if too many turns wait.
    pub(crate) fn full_for(&self, client: u64) -> Option<Duration> {
        if self.waiting.load(Ordering::Relaxed) < self.config.max_queued {
            return None;
        }
        Some(self.endpoint.full_for(client).unwrap_or(Duration::from_secs(1)))
    }

    /// The answers about the turns of `ask`, in order.
    pub(crate) async fn ask_all(self: &Arc<Self>, ask: Ask<'_>) -> Vec<TurnOutcome> {
        let last = ask.turns.iter().copied().max().unwrap_or_default();
        let dialogue = match DialogueJson::write(ask.rollout, last).await {
            Ok(dialogue) => Arc::new(dialogue),
            Err(error) => {
                let fault = Silence::new(AbstainWhy::Internal, error.to_string());
                return vec![Err(fault); ask.turns.len()];
            }
        };
        let asker = TurnAsker { client: ask.client, deadline: ask.deadline.map(Instant::from_std) };
        let mut asked = Vec::with_capacity(ask.turns.len());
        for message in ask.turns {
            let turn = self.wire.turn(ask.rollout, &dialogue, *message);
            // A template renders the whole dialogue anew for each turn.
            if asked.len() % YIELD_AFTER == YIELD_AFTER - 1 {
                tokio::task::yield_now().await;
            }
            asked.push(async move {
                match turn {
                    Ok(turn) => self.ask(turn, asker).await,
                    Err(silence) => Err(silence),
                }
            });
        }
        join_all(asked).await
    }

    /// The answer about `turn`.
    async fn ask(self: &Arc<Self>, turn: AskedTurn, asker: TurnAsker) -> TurnOutcome {
        loop {
            if let Some(answer) = self.cache.get(&turn.key) {
                return Ok(answer);
            }
            let flight = self.flights.run(turn.key, self.enqueue(turn.clone(), asker));
            let flight = match asker.deadline {
                Some(deadline) => match tokio::time::timeout_at(deadline, flight).await {
                    Ok(flight) => flight,
                    Err(_) => return Err(Silence::late()),
                },
                None => flight.await,
            };
            // The first caller of an equal turn may have had less time.
            let is_late =
                matches!(&flight.value, Err(silence) if silence.why == AbstainWhy::Deadline);
            if flight.led || !is_late {
                return flight.value;
            }
        }
    }

    /// Adds `turn` to the batch of its client, and waits for the answer.
    async fn enqueue(self: &Arc<Self>, turn: AskedTurn, asker: TurnAsker) -> TurnOutcome {
        let place = WaitingPlace(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.config.max_queued {
            let detail = format!("more than {} turns wait for an answer", self.config.max_queued);
            return Err(Silence::new(AbstainWhy::Overloaded, detail));
        }
        let (reply, answered) = oneshot::channel();
        self.push(TurnJob { turn, deadline: asker.deadline, reply }, asker.client);
        let answered = async {
            let lost = || Silence::new(AbstainWhy::Internal, "the call ended without an answer");
            answered.await.unwrap_or_else(|_| Err(lost()))
        };
        let outcome = match asker.deadline {
            Some(deadline) => {
                let late = |_| Err(Silence::late());
                tokio::time::timeout_at(deadline, answered).await.unwrap_or_else(late)
            }
            None => answered.await,
        };
        drop(place);
        outcome
    }

    fn push(self: &Arc<Self>, job: TurnJob, client: u64) {
        let bytes = job.turn.payload.bytes();
        let mut full = Vec::new();
        {
            let mut pending = self.pending.lock();
            let PendingBatches { by_client, started } = &mut *pending;
            if let Entry::Occupied(batch) = by_client.entry(client)
                && batch.get().bytes.saturating_add(bytes) > self.config.max_request_bytes
            {
                full.push(batch.remove());
            }
            let mut lingering = None;
            let batch = by_client.entry(client).or_insert_with(|| {
                *started += 1;
                lingering = Some(*started);
                TurnBatch { number: *started, jobs: Vec::new(), bytes: 0 }
            });
            batch.jobs.push(job);
            batch.bytes = batch.bytes.saturating_add(bytes);
            if batch.jobs.len() >= self.wire.most_turns() {
                full.extend(by_client.remove(&client));
            } else if let Some(number) = lingering {
                let collector = Arc::clone(self);
                let lingering = async move { collector.linger(client, number).await };
                self.config.tasks.spawn(lingering.in_current_span());
            }
        }
        for batch in full {
            let collector = Arc::clone(self);
            let sending = async move { collector.send(batch, client).await };
            self.config.tasks.spawn(sending.in_current_span());
        }
    }

    /// Sends the batch with this number after a while, if it still takes turns.
    async fn linger(&self, client: u64, number: u64) {
        tokio::time::sleep(self.config.linger).await;
        let batch = {
            let mut pending = self.pending.lock();
            match pending.by_client.entry(client) {
                Entry::Occupied(batch) if batch.get().number == number => Some(batch.remove()),
                _ => None,
            }
        };
        if let Some(batch) = batch {
            self.send(batch, client).await;
        }
    }

    /// Asks about a batch, and answers its callers.
    async fn send(&self, batch: TurnBatch, client: u64) {
        let (mut turns, mut replies) = (Vec::new(), Vec::new());
        let mut deadline = Some(Instant::now());
        for job in batch.jobs {
            if !job.reply.is_closed() {
                deadline = deadline.and_then(|latest| Some(latest.max(job.deadline?)));
                turns.push(job.turn);
                replies.push(job.reply);
            }
        }
        if turns.is_empty() {
            return;
        }
        let turns: Arc<[AskedTurn]> = turns.into();
        let answers = tokio::select! {
            biased;
            answers = self.answers(&turns, TurnAsker { client, deadline }) => answers,
            () = all_left(&mut replies) => return,
        };
        for ((turn, reply), answer) in turns.iter().zip(replies).zip(answers) {
            let outcome = answer.map(Arc::new);
            if let Ok(answer) = &outcome {
                self.cache.put(turn.key, answer);
            }
            // The caller may have left.
            drop(reply.send(outcome));
        }
    }

    /// One answer for each turn. A part that the other side refuses is sent in halves, so that one
    /// turn which it cannot read does not silence the others.
    async fn answers(
        &self,
        turns: &Arc<[AskedTurn]>,
        asker: TurnAsker,
    ) -> Vec<Result<TurnAnswer, Silence>> {
        let mut answers = vec![Err(Silence::late()); turns.len()];
        let mut parts = Vec::from([Range { start: 0, end: turns.len() }]);
        let mut calls = 0;
        while let Some(part) = parts.pop() {
            calls += 1;
            let answered = match self.part(turns, part.clone(), asker).await {
                Ok(answered) => answered,
                Err(fault) if fault.is_of_content() && part.len() > 1 && calls < MOST_CALLS => {
                    let middle = part.start + part.len() / 2;
                    parts.extend([middle..part.end, part.start..middle]);
                    continue;
                }
                Err(fault) => vec![Err(fault.into_silence()); part.len()],
            };
            for (slot, answer) in answers.iter_mut().skip(part.start).zip(answered) {
                *slot = answer;
            }
        }
        answers
    }

    /// Asks about a part of a batch.
    async fn part(
        &self,
        turns: &Arc<[AskedTurn]>,
        part: Range<usize>,
        asker: TurnAsker,
    ) -> Result<Vec<Result<TurnAnswer, Silence>>, crate::call::CallFault> {
        let count = part.len();
        let bytes: usize =
            turns.iter().skip(part.start).take(count).map(|turn| turn.payload.bytes()).sum();
        let (wire, turns) = (Arc::clone(&self.wire), Arc::clone(turns));
        let write = move || {
            let turns = turns.get(part).unwrap_or_default();
            let body = wire.request(turns);
            let headers = wire.headers(turns, &body);
            (body, headers)
        };
        let internal = || crate::call::CallFault::internal("the request could not be written");
        let (body, headers) = if bytes > LARGE_BODY {
            tokio::task::spawn_blocking(write).await.map_err(|_| internal())?
        } else {
            write()
        };
        let flow = Flow { client: asker.client, ..Flow::new(&self.config.name, 1) };
        let request = CallRequest { body: body.into(), headers, turns: count as u64 };
        let reply = self.endpoint.call(&request, asker.deadline, flow).await?;
        let wire = Arc::clone(&self.wire);
        let large = reply.len() > LARGE_BODY;
        let read = move || wire.reply(&reply, count);
        let read = if large {
            tokio::task::spawn_blocking(read).await.map_err(|_| internal())?
        } else {
            read()
        };
        let mut reply = match read {
            Ok(reply) if reply.answers.len() == count => reply,
            Ok(reply) => {
                let got = reply.answers.len();
                let fault =
                    Silence::malformed(format!("the reply has {got} results for {count} turns"));
                return Ok(vec![Err(fault); count]);
            }
            Err(fault) => return Ok(vec![Err(Silence::malformed(fault)); count]),
        };
        if self.cache.declare(reply.version.as_ref())
            && let Some(version) = &reply.version
        {
            tracing::info!(source.id = %self.config.name, version = %version, "the source declared a version");
        }
        for answer in reply.answers.iter_mut().flatten() {
            answer.version.clone_from(&reply.version);
        }
        Ok(reply.answers)
    }
}

/// Ends when no caller waits any more.
async fn all_left(replies: &mut [oneshot::Sender<TurnOutcome>]) {
    for reply in replies {
        reply.closed().await;
    }
}

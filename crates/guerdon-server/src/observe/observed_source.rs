//! The decorator of every reward source: metrics, logs, the deadline, and a catch for panics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use guerdon_fusion::{Ask, BoxFuture, Channel, RewardSource, SourceVersion};
use guerdon_types::{AbstainWhy, Abstention, Part, Signal, SourceId};
use tokio::runtime::{Handle, RuntimeFlavor};
use tracing::Instrument as _;

use crate::observe::metrics::Metrics;

/// Time beyond the deadline for a source to abstain by itself, before its turns abstain without it.
const GRACE: Duration = Duration::from_millis(250);

/// Rules read a shorter dialogue where they are: the change of threads costs more. This is about 10
/// ms of work.
const MAX_BYTES_ON_ASYNC_THREAD: usize = 32 * 1024;

/// A source with metrics and a deadline around it.
#[derive(Debug)]
pub(crate) struct ObservedSource {
    inner: Arc<dyn RewardSource>,
    metrics: Arc<Metrics>,
}

impl ObservedSource {
    pub(crate) fn new(inner: Arc<dyn RewardSource>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }

    /// Returns true if the source computes for so long that other requests must not wait for this
    /// thread.
    fn blocks(&self, ask: &Ask<'_>) -> bool {
        let bytes: usize = ask.rollout.messages.iter().map(|message| message.content.len()).sum();
        self.channel() == Channel::Rules
            && bytes > MAX_BYTES_ON_ASYNC_THREAD
            && Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread
    }

    fn void(&self, turns: usize, why: AbstainWhy, detail: &str) -> Vec<Signal> {
        vec![Signal::abstained(Abstention::new(self.id().clone(), why, detail)); turns]
    }

    fn record(&self, signals: &[Signal], took: Duration) {
        self.metrics.source(self.id(), took);
        for signal in signals {
            for abstained in &signal.abstained {
                // Always a reason of this version, since the signal was made in this process.
                if let Some(why) = abstained.why.known() {
                    self.metrics.abstained(&abstained.source, why);
                }
                tracing::debug!(source.id = %abstained.source, why = abstained.why.as_str(), detail = abstained.detail, "a source abstained");
            }
            if let Some(Part::Rules(part)) = &signal.part {
                for hit in part.hits.iter().chain(&part.shadow) {
                    self.metrics.rule_hit(&hit.pack, &hit.rule);
                }
            }
        }
    }
}

impl RewardSource for ObservedSource {
    fn id(&self) -> &SourceId {
        self.inner.id()
    }

    fn channel(&self) -> Channel {
        self.inner.channel()
    }

    fn about(&self) -> String {
        self.inner.about()
    }

    fn version(&self) -> SourceVersion {
        self.inner.version()
    }

    fn identity(&self) -> serde_json::Value {
        self.inner.identity()
    }

    fn full_for(&self) -> Option<Duration> {
        self.inner.full_for()
    }

    fn score<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Vec<Signal>> {
        let span =
            tracing::debug_span!("source.score", source.id = %self.id(), turns = ask.turns.len());
        async move {
            let started = Instant::now();
            // A panic in one source must not affect the other sources or the batch.
            let guarded = std::panic::AssertUnwindSafe(self.inner.score(ask)).catch_unwind();
            let answer = match ask.deadline {
                // Computation alone, which looks at the deadline itself: the timer could not
                // interrupt it.
                _ if self.blocks(&ask) => {
                    let runtime = Handle::current();
                    Ok(tokio::task::block_in_place(|| runtime.block_on(guarded)))
                }
                Some(deadline) => tokio::time::timeout_at((deadline + GRACE).into(), guarded).await,
                None => Ok(guarded.await),
            };
            let signals = match answer {
                Ok(Ok(signals)) => signals,
                Ok(Err(_)) => {
                    tracing::error!(source.id = %self.id(), "a source panicked; its turns abstain");
                    self.void(
                        ask.turns.len(),
                        AbstainWhy::Internal,
                        "the source failed; see the server's log",
                    )
                }
                Err(_) => self.void(
                    ask.turns.len(),
                    AbstainWhy::Deadline,
                    "the request's deadline passed",
                ),
            };
            self.record(&signals, started.elapsed());
            signals
        }
        .instrument(span)
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use guerdon_types::{Message, Role, Rollout};

    use super::*;

    /// A source that panics or never answers.
    #[derive(Debug)]
    struct Broken {
        id: SourceId,
        panics: bool,
    }

    impl RewardSource for Broken {
        fn id(&self) -> &SourceId {
            &self.id
        }
        fn channel(&self) -> Channel {
            Channel::Other
        }
        fn about(&self) -> String {
            "fails".into()
        }
        fn version(&self) -> SourceVersion {
            SourceVersion::Texts([].into())
        }
        fn score<'a>(&'a self, _: Ask<'a>) -> BoxFuture<'a, Vec<Signal>> {
            async {
                assert!(!self.panics, "requested panic");
                std::future::pending().await
            }
            .boxed()
        }
    }

    async fn why(panics: bool) -> AbstainWhy {
        let observed =
            ObservedSource::new(Arc::new(Broken { id: "odd".into(), panics }), Metrics::new());
        let rollout =
            Rollout { messages: vec![Message::new(Role::Assistant, "a")], ..Rollout::default() };
        let signals = observed.score(Ask::new(&rollout, &[0], Some(Instant::now()))).await;
        signals[0].abstained[0].why.known().unwrap()
    }

    #[tokio::test]
    async fn source_that_never_answers_abstains_at_the_deadline() {
        assert_eq!(why(false).await, AbstainWhy::Deadline);
    }

    #[tokio::test]
    async fn source_that_panics_abstains() {
        assert_eq!(why(true).await, AbstainWhy::Internal);
    }

    /// A rules source that occupies its thread until another task sends a message.
    #[derive(Debug)]
    struct Busy {
        id: SourceId,
        messages: Mutex<mpsc::Receiver<()>>,
    }

    impl RewardSource for Busy {
        fn id(&self) -> &SourceId {
            &self.id
        }
        fn channel(&self) -> Channel {
            Channel::Rules
        }
        fn about(&self) -> String {
            "computes".into()
        }
        fn version(&self) -> SourceVersion {
            SourceVersion::Texts([].into())
        }
        fn score<'a>(&'a self, _: Ask<'a>) -> BoxFuture<'a, Vec<Signal>> {
            async {
                let message = self.messages.lock().unwrap().recv_timeout(Duration::from_secs(10));
                let why = if message.is_ok() { AbstainWhy::Deadline } else { AbstainWhy::Internal };
                vec![Signal::abstained(Abstention::new(self.id.clone(), why, "done"))]
            }
            .boxed()
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    #[expect(clippy::disallowed_methods, reason = "both tasks are joined")]
    async fn rules_on_long_texts_leave_the_async_threads_to_other_tasks() {
        let (send, messages) = mpsc::channel();
        let busy = Busy { id: SourceId::rules(), messages: Mutex::new(messages) };
        let observed = ObservedSource::new(Arc::new(busy), Metrics::new());
        let text = "a".repeat(MAX_BYTES_ON_ASYNC_THREAD + 1);
        let rollout =
            Rollout { messages: vec![Message::new(Role::Assistant, text)], ..Rollout::default() };
        let scored = tokio::spawn(async move {
            observed.score(Ask::new(&rollout, &[0], None)).await[0].abstained[0].why.known()
        });
        let sent = tokio::spawn(async move { send.send(()) });
        let why = scored.await.unwrap();
        assert_eq!(why, Some(AbstainWhy::Deadline), "the other task did not run");
        sent.await.unwrap().unwrap();
    }
}

//! Telemetry and the deadline go around a source, never into it: one decorator for all of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use guerdon_fusion::{Ask, BoxFuture, Channel, RewardSource, SourceVersion};
use guerdon_types::{AbstainWhy, Abstained, Part, Signal, SourceId};
use tracing::Instrument as _;

use crate::metrics::Metrics;

/// A source whose own deadline handling failed gets this much longer before its turns abstain without it.
const GRACE: Duration = Duration::from_millis(250);

/// A source, watched.
#[derive(Debug)]
pub(crate) struct Observed {
    inner: Arc<dyn RewardSource>,
    metrics: Arc<Metrics>,
}

impl Observed {
    pub(crate) fn new(inner: Arc<dyn RewardSource>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }

    fn void(&self, turns: usize, why: AbstainWhy, detail: &str) -> Vec<Signal> {
        vec![Signal::abstained(Abstained::new(self.id().clone(), why, detail)); turns]
    }

    fn record(&self, signals: &[Signal], took: Duration) {
        self.metrics.source(self.id(), took);
        for signal in signals {
            for abstained in &signal.abstained {
                self.metrics.abstained(&abstained.source, abstained.why);
                tracing::debug!(source.id = %abstained.source, why = abstained.why.as_str(), detail = abstained.detail, "A source abstained.");
            }
            if let Some(Part::Rules(part)) = &signal.part {
                for hit in part.hits.iter().chain(&part.shadow) {
                    self.metrics.rule_hit(&hit.pack, &hit.rule);
                }
            }
        }
    }
}

impl RewardSource for Observed {
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

    fn full_for(&self) -> Option<Duration> {
        self.inner.full_for()
    }

    fn score<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Vec<Signal>> {
        let span =
            tracing::debug_span!("source.score", source.id = %self.id(), turns = ask.turns.len());
        async move {
            let started = Instant::now();
            // A panic in one source must not take the other sources' parts with it, nor the batch.
            let guarded = std::panic::AssertUnwindSafe(self.inner.score(ask)).catch_unwind();
            let answer = match ask.deadline {
                Some(deadline) => tokio::time::timeout_at((deadline + GRACE).into(), guarded).await,
                None => Ok(guarded.await),
            };
            let signals = match answer {
                Ok(Ok(signals)) => signals,
                Ok(Err(_)) => {
                    tracing::error!(source.id = %self.id(), "A source panicked; its turns abstain.");
                    self.void(
                        ask.turns.len(),
                        AbstainWhy::Internal,
                        "the source failed; the server's log has more",
                    )
                }
                Err(_) => self.void(ask.turns.len(), AbstainWhy::Deadline, "the request's deadline passed"),
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
    use guerdon_types::{Message, Role, Rollout};

    use super::*;

    /// A stand-in source that fails in the way it is told to.
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
                assert!(!self.panics, "as told");
                std::future::pending().await
            }
            .boxed()
        }
    }

    async fn why(panics: bool) -> AbstainWhy {
        let observed = Observed::new(Arc::new(Broken { id: "odd".into(), panics }), Metrics::new());
        let rollout =
            Rollout { messages: vec![Message::new(Role::Assistant, "a")], ..Rollout::default() };
        let signals = observed.score(Ask::new(&rollout, &[0], Some(Instant::now()))).await;
        signals[0].abstained[0].why
    }

    #[tokio::test]
    async fn a_source_that_never_answers_abstains_at_the_deadline() {
        assert_eq!(why(false).await, AbstainWhy::Deadline);
    }

    #[tokio::test]
    async fn a_source_that_panics_abstains_and_takes_nothing_with_it() {
        assert_eq!(why(true).await, AbstainWhy::Internal);
    }
}

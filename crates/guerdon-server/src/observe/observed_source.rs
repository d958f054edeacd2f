//! The decorator of every reward source: metrics, logs, the deadline, and a catch for panics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use guerdon_fusion::{
    Ask, BoxFuture, Ensemble, GroupAsk, GroupSource, RewardSource, SourceVersion, WorstVerdict,
};
use guerdon_types::{AbstainWhy, Abstention, Part, Signal, SourceId, SourceKind};
use prometheus_client::metrics::histogram::Histogram;
use tracing::Instrument as _;

use crate::observe::metrics::Metrics;
use crate::observe::traces::EVALUATION;

/// Time beyond the deadline for a source to abstain by itself, before its turns abstain without it.
const GRACE: Duration = Duration::from_millis(250);

/// A source with metrics and a deadline around it.
#[derive(Debug)]
pub(crate) struct ObservedSource {
    inner: Arc<dyn RewardSource>,
    metrics: Arc<Metrics>,
    seconds: Histogram,
    /// Time after which the source abstains, besides the deadline of the request.
    timeout: Option<Duration>,
}

impl ObservedSource {
    pub(crate) fn new(inner: Arc<dyn RewardSource>, metrics: Arc<Metrics>) -> Self {
        let seconds = metrics.source(inner.id());
        Self { inner, metrics, seconds, timeout: None }
    }

    /// A copy that answers within `timeout`.
    pub(crate) fn within(self, timeout: Option<Duration>) -> Self {
        Self { timeout, ..self }
    }

    /// The deadline of a question at `now`, and the source's timeout if it ends first.
    fn deadline(
        &self,
        of_request: Option<Instant>,
        now: Instant,
    ) -> (Option<Instant>, Option<Duration>) {
        let own = self.timeout.and_then(|timeout| now.checked_add(timeout));
        match own.filter(|own| of_request.is_none_or(|request| *own < request)) {
            Some(own) => (Some(own), self.timeout),
            None => (of_request, None),
        }
    }

    fn void(&self, turns: usize, why: AbstainWhy, detail: &str) -> Vec<Signal> {
        vec![Signal::abstained(Abstention::new(self.id().clone(), why, detail)); turns]
    }

    /// The answer of the source, or the reason why it has none. A panic in one source must not affect
    /// the other sources or the batch.
    async fn guarded<T>(
        &self,
        scored: BoxFuture<'_, T>,
        deadline: Option<Instant>,
        timeout: Option<Duration>,
    ) -> Result<T, (AbstainWhy, String)> {
        let guarded = std::panic::AssertUnwindSafe(scored).catch_unwind();
        let answer = match deadline {
            Some(deadline) => tokio::time::timeout_at((deadline + GRACE).into(), guarded).await,
            None => Ok(guarded.await),
        };
        match answer {
            Ok(Ok(signals)) => Ok(signals),
            Ok(Err(_)) => {
                tracing::error!(source.id = %self.id(), "a source panicked; its turns abstain");
                let detail = "the source failed; see the server's log";
                Err((AbstainWhy::Internal, detail.to_owned()))
            }
            Err(_) => {
                let late = match timeout {
                    Some(timeout) => format!("the source's timeout of {timeout:?} passed"),
                    None => "the request's deadline passed".to_owned(),
                };
                Err((AbstainWhy::Deadline, late))
            }
        }
    }

    fn record(&self, signals: &[Signal], took: Duration) {
        self.seconds.observe(took.as_secs_f64());
        let silent = signals.iter().filter(|signal| signal.part.is_none()).count();
        if silent > 0 {
            tracing::Span::current().record("source.abstained", silent);
        }
        self.count(signals);
    }

    fn count(&self, signals: &[Signal]) {
        for signal in signals {
            for abstained in &signal.abstained {
                // Always a reason of this version, since the signal was made in this process.
                if let Some(why) = abstained.why.known() {
                    self.metrics.abstained(self.id(), why);
                }
                tracing::debug!(source.id = %self.id(), why = abstained.why.as_str(), detail = abstained.detail, "a source abstained");
            }
            if let Some(part) = &signal.part {
                tracing::trace!(
                    target: EVALUATION,
                    { gen_ai.evaluation.name = self.id().as_str(),
                    gen_ai.evaluation.score.value = part.value() },
                    "gen_ai.evaluation.result"
                );
            }
            if let Some(Part::Rules(part)) = &signal.part {
                for hit in part.hits.iter().chain(&part.shadow) {
                    self.metrics.rule_hit(&hit.pack, &hit.rule);
                }
                for rule in &part.abstained {
                    self.metrics.rule_without_facts(&rule.pack, &rule.rule);
                }
            }
        }
    }
}

impl RewardSource for ObservedSource {
    fn id(&self) -> &SourceId {
        self.inner.id()
    }

    fn kind(&self) -> SourceKind {
        self.inner.kind()
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

    fn full_for_client(&self, client: u64) -> Option<Duration> {
        self.inner.full_for_client(client)
    }

    fn worst(&self, prompt: Option<&str>) -> Option<WorstVerdict> {
        self.inner.worst(prompt)
    }

    fn ensemble(&self) -> Option<&Ensemble> {
        self.inner.ensemble()
    }

    fn group(&self) -> Option<&dyn GroupSource> {
        self.inner.group().map(|_| self as &dyn GroupSource)
    }

    fn takes_rubrics(&self) -> bool {
        self.inner.takes_rubrics()
    }

    fn combined(&self, signals: &[Signal]) {
        self.count(signals);
        self.inner.combined(signals);
    }

    fn score<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Vec<Signal>> {
        let span = tracing::debug_span!(
            "source.score",
            source.id = %self.id(),
            turns = ask.turns.len(),
            source.abstained = tracing::field::Empty,
        );
        async move {
            let started = Instant::now();
            let (deadline, timeout) = self.deadline(ask.deadline, started);
            let mut ask = ask;
            ask.deadline = deadline;
            let turns = ask.turns.len();
            let answer = self.guarded(self.inner.score(ask), deadline, timeout).await;
            let signals = answer.unwrap_or_else(|(why, detail)| self.void(turns, why, &detail));
            self.record(&signals, started.elapsed());
            signals
        }
        .instrument(span)
        .boxed()
    }
}

impl GroupSource for ObservedSource {
    fn scores_rollouts(&self) -> bool {
        self.inner.group().is_some_and(GroupSource::scores_rollouts)
    }

    fn score_group<'a>(&'a self, ask: GroupAsk<'a>) -> BoxFuture<'a, Vec<Vec<Signal>>> {
        let rollouts = ask.members.len();
        let span = tracing::debug_span!("source.score_group", source.id = %self.id(), rollouts);
        async move {
            let started = Instant::now();
            let (deadline, timeout) = self.deadline(ask.deadline, started);
            let mut ask = ask;
            ask.deadline = deadline;
            let answer = match self.inner.group() {
                Some(group) => self.guarded(group.score_group(ask), deadline, timeout).await,
                None => Ok(Vec::new()),
            };
            let signals = answer.unwrap_or_else(|(why, detail)| {
                let turns = ask.members.iter().map(|member| member.turns.len());
                turns.map(|turns| self.void(turns, why, &detail)).collect()
            });
            self.record(&signals.concat(), started.elapsed());
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
        fn kind(&self) -> SourceKind {
            SourceKind::External
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

    #[tokio::test]
    async fn source_with_a_timeout_abstains_before_the_deadline_of_the_request() {
        let broken = Arc::new(Broken { id: "odd".into(), panics: false });
        let timeout = Duration::from_millis(5);
        let observed = ObservedSource::new(broken, Metrics::new()).within(Some(timeout));
        let rollout =
            Rollout { messages: vec![Message::new(Role::Assistant, "a")], ..Rollout::default() };
        for deadline in [None, Instant::now().checked_add(Duration::from_secs(600))] {
            let signals = observed.score(Ask::new(&rollout, &[0], deadline)).await;
            let abstained = &signals[0].abstained[0];
            assert_eq!(abstained.why, AbstainWhy::Deadline);
            assert!(abstained.detail.contains("timeout of 5ms"), "{}", abstained.detail);
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
}

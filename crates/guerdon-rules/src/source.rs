//! The rule packs as a reward source.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use guerdon_fusion::{Ask, BoxFuture, RewardSource, SourceVersion};
use guerdon_queue::{WorkError, WorkThreads};
use guerdon_types::{
    AbstainWhy, Abstention, Part, Rollout, RulesPart, Signal, SourceId, SourceKind,
};

use crate::engine::eval::{self, DialogueTexts, Evaluation, TurnView};
use crate::{RulePacks, ScanLimit};

/// The source yields to the executor after turns of this many bytes together, about 10 ms of work.
/// A turn counts as at least [`TURN_BYTES`].
const BYTES_BETWEEN_YIELDS: usize = 32 * 1024;

/// Bytes that a turn counts for besides its text.
const TURN_BYTES: usize = 64;

/// Requests of at most this many bytes are scored where the source is called, because a
/// change of threads costs more. This is about 2 ms of work.
const BYTES_IN_PLACE: usize = 8 * 1024;

/// A reward source that scores with rule packs.
#[derive(Debug)]
pub struct RulesSource {
    id: SourceId,
    packs: Arc<RulePacks>,
    threads: Option<Arc<WorkThreads>>,
}

impl RulesSource {
    /// A source that scores with `packs`, on the threads of the executor.
    #[must_use]
    pub fn new(packs: Arc<RulePacks>) -> Self {
        Self { id: SourceId::rules(), packs, threads: None }
    }

    /// A source that scores with `packs`. All requests but short ones are scored on `threads`,
    /// which sources may share. Callers share them evenly, and a request whose caller has gone is
    /// not scored to its end.
    #[must_use]
    pub fn on_threads(packs: Arc<RulePacks>, threads: Arc<WorkThreads>) -> Self {
        Self { threads: Some(threads), ..Self::new(packs) }
    }

    /// A copy with the name `id`.
    #[must_use]
    pub fn named(self, id: SourceId) -> Self {
        Self { id, ..self }
    }
}

impl RewardSource for RulesSource {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn kind(&self) -> SourceKind {
        SourceKind::Rules
    }

    fn about(&self) -> String {
        let summaries = self.packs.summaries();
        let rules: usize = summaries.iter().map(|pack| pack.rules.len()).sum();
        let names: Vec<&str> = summaries.iter().map(|pack| pack.id.as_str()).collect();
        format!("{rules} rules in {} packs: {}", names.len(), names.join(", "))
    }

    fn version(&self) -> SourceVersion {
        SourceVersion::Texts(self.packs.versions())
    }

    fn full_for(&self) -> Option<Duration> {
        self.threads.as_ref()?.full_for()
    }

    fn full_for_client(&self, client: u64) -> Option<Duration> {
        self.threads.as_ref()?.full_for_flow(client)
    }

    fn score<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Vec<Signal>> {
        Box::pin(async move {
            let bytes = weight(&ask).max(ask.request_bytes);
            match self.threads.as_ref().filter(|_| bytes > BYTES_IN_PLACE) {
                Some(threads) => self.score_on(threads, ask).await,
                None => self.score_here(ask).await,
            }
        })
    }
}

/// The approximate size of what is read for `ask`, in bytes: the messages up to the last turn, and
/// the context.
fn weight(ask: &Ask<'_>) -> usize {
    ask.rollout.weight(ask.turns.last().map_or(0, |last| last + 1))
}

/// Yields to the other futures of the executor. This crate depends on no runtime that has such a
/// function.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|task| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        task.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl RulesSource {
    async fn score_here(&self, ask: Ask<'_>) -> Vec<Signal> {
        let dialogue = DialogueTexts::new(self.packs.plan(), ask.rollout);
        let mut signals = Vec::with_capacity(ask.turns.len());
        let mut bytes = 0;
        for turn in ask.turns {
            signals.push({
                let view = TurnView::new(&dialogue, *turn);
                self.answer(eval::evaluate(self.packs.plan(), &view, ask.deadline))
            });
            bytes += ask.rollout.messages.get(*turn).map_or(0, |message| message.content.len());
            bytes += TURN_BYTES;
            if bytes >= BYTES_BETWEEN_YIELDS {
                bytes = 0;
                yield_now().await;
            }
        }
        signals
    }

    async fn score_on(&self, threads: &WorkThreads, ask: Ask<'_>) -> Vec<Signal> {
        let cost = u64::try_from(weight(&ask)).unwrap_or(u64::MAX);
        let scored = async {
            // The request was admitted by `full_for_client`, so its rollouts wait and are not refused.
            let permit = threads.enter_admitted(ask.client, cost).await?;
            // Copied only now, so that what waits takes no memory.
            let read = ask.turns.last().map_or(0, |last| last + 1);
            let messages = ask.rollout.messages.iter().take(read).cloned().collect();
            let context = ask.rollout.context.clone();
            let rollout = Rollout { messages, context, ..Rollout::default() };
            let (packs, turns) = (Arc::clone(&self.packs), ask.turns.to_vec());
            let deadline = ask.deadline;
            permit
                .run(move |gone| {
                    let limit = ScanLimit { deadline, stop: Some(gone) };
                    packs.evaluate_turns_within(&rollout, &turns, limit)
                })
                .await
        };
        match scored.await {
            Ok(evaluations) => evaluations.into_iter().map(|found| self.answer(found)).collect(),
            Err(error) => vec![self.failed(error); ask.turns.len()],
        }
    }

    fn answer(&self, evaluation: Option<Evaluation>) -> Signal {
        match evaluation {
            Some(evaluation) => self.signal(evaluation.part),
            None => self.late(),
        }
    }

    fn failed(&self, error: WorkError) -> Signal {
        let (why, detail) = match error {
            WorkError::Stopped => (AbstainWhy::Internal, "the rules' threads were stopped"),
            _ => (AbstainWhy::Internal, "evaluating the rules failed; see the server's log"),
        };
        Signal::abstained(Abstention::new(self.id.clone(), why, detail))
    }

    fn late(&self) -> Signal {
        let detail = "the deadline passed before all rules had run";
        Signal::abstained(Abstention::new(self.id.clone(), AbstainWhy::Deadline, detail))
    }

    fn signal(&self, part: RulesPart) -> Signal {
        // One entry for the turn. The part lists the rules. A shadow rule never counts, so nothing is
        // missing without it.
        let undecided: Vec<String> = part
            .abstained
            .iter()
            .filter(|rule| !rule.shadow)
            .map(|rule| format!("{}/{}: {}", rule.pack, rule.rule, rule.detail))
            .collect();
        let abstained = (!undecided.is_empty()).then(|| {
            Abstention::new(self.id.clone(), AbstainWhy::MissingContext, undecided.join("; "))
        });
        Signal::scored(Part::Rules(part)).and_abstained(abstained)
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};
    use std::time::Instant;

    use guerdon_types::{Message, Role};

    use super::*;
    use crate::SourceText;

    fn source() -> RulesSource {
        let text = "pack: p\nrules:\n  - { id: a, points: -1, match: { any_of: [a] } }\n".into();
        let pack = SourceText { name: "p.yaml".into(), text };
        RulesSource::new(Arc::new(RulePacks::compile(&[pack]).unwrap().0))
    }

    fn rollout(turns: usize, bytes: usize) -> Rollout {
        let message = Message::new(Role::Assistant, "a".repeat(bytes));
        Rollout { messages: vec![message; turns], ..Rollout::default() }
    }

    #[test]
    fn undecided_shadow_rule_leaves_the_signal_whole() {
        let rule = |id: &str, more: &str| {
            format!(
                "  - {{ id: {id}, points: -1, {more} match: {{ any_of: [a] }}, where: 'context.price > 3' }}\n"
            )
        };
        for (rules, is_whole) in [
            (rule("s", "shadow: true,"), true),
            (rule("r", ""), false),
            (format!("{}{}", rule("s", "shadow: true,"), rule("r", "")), false),
        ] {
            let pack = SourceText::new("p.yaml", format!("pack: p\nrules:\n{rules}"));
            let packs = RulePacks::compile(&[pack]).unwrap_or_else(|report| panic!("{report}")).0;
            let source = RulesSource::new(Arc::new(packs));
            let signals = block_on(source.score(Ask::new(&rollout(1, 1), &[0], None)));
            assert_eq!(signals[0].abstained.is_empty(), is_whole, "{rules}");
            let Some(Part::Rules(part)) = &signals[0].part else { panic!("{rules}") };
            assert_eq!(part.abstained.len(), rules.matches("points").count(), "all are reported");
            let details: String = signals[0].abstained.iter().map(|a| a.detail.as_str()).collect();
            assert!(!details.contains("p/s"), "{details}");
        }
    }

    #[test]
    fn every_turn_after_the_deadline_abstains() {
        let (source, rollout) = (source(), rollout(2, 1));
        let mut scores = source.score(Ask::new(&rollout, &[0, 1], Some(Instant::now())));
        let Poll::Ready(signals) = scores.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        else {
            panic!("two short turns need no yield")
        };
        let reasons: Vec<_> =
            signals.iter().map(|signal| signal.abstained[0].why.known()).collect();
        assert_eq!(reasons, [Some(AbstainWhy::Deadline); 2]);
        assert!(signals.iter().all(|signal| signal.part.is_none()));
    }

    #[test]
    fn long_turns_yield_to_the_executor_and_are_all_scored() {
        let (source, rollout) = (source(), rollout(3, BYTES_BETWEEN_YIELDS));
        let deadline = Instant::now() + Duration::from_secs(600);
        let mut scores = source.score(Ask::new(&rollout, &[0, 1, 2], Some(deadline)));
        let mut task = Context::from_waker(Waker::noop());
        let mut yields = 0;
        let signals = loop {
            match scores.as_mut().poll(&mut task) {
                Poll::Pending => yields += 1,
                Poll::Ready(signals) => break signals,
            }
        };
        assert_eq!((yields, signals.len()), (3, 3));
        assert!(signals.iter().all(|signal| signal.part.is_some() && signal.abstained.is_empty()));
    }

    /// Polls `future` until it is ready. Another thread may wake it.
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        loop {
            let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready(output) = polled {
                return output;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn threads_give_the_same_signals_and_keep_the_deadline() {
        let threads = Arc::new(WorkThreads::start("test", 2, 10).unwrap());
        let here = source();
        let there = RulesSource::on_threads(Arc::clone(&here.packs), Arc::clone(&threads));
        let rollout = rollout(3, BYTES_IN_PLACE);
        for deadline in [None, Some(Instant::now())] {
            let ask = Ask::new(&rollout, &[0, 2], deadline);
            assert_eq!(block_on(there.score(ask)), block_on(here.score(ask)), "{deadline:?}");
        }
        threads.stop();
        let stopped = block_on(there.score(Ask::new(&rollout, &[0, 2], None)));
        assert_eq!(stopped.len(), 2);
        assert!(stopped.iter().all(|signal| signal.part.is_none()));
    }

    #[test]
    fn short_rollouts_of_a_long_request_run_on_the_threads_too() {
        let threads = Arc::new(WorkThreads::start("test", 1, 10).unwrap());
        let source = RulesSource::on_threads(Arc::clone(&source().packs), Arc::clone(&threads));
        threads.stop();
        let rollout = rollout(1, 10);
        let ask = Ask::new(&rollout, &[0], None);
        assert!(block_on(source.score(ask))[0].part.is_some(), "a short request needs no thread");
        let long = ask.of_request(BYTES_IN_PLACE + 1);
        assert!(block_on(source.score(long))[0].part.is_none(), "the threads are stopped");
    }

    #[test]
    fn full_queue_is_reported_and_admitted_rollouts_wait_for_it() {
        let threads = Arc::new(WorkThreads::start("test", 1, 0).unwrap());
        let source = RulesSource::on_threads(Arc::clone(&source().packs), Arc::clone(&threads));
        let permits: Vec<_> = (0..2).map(|_| block_on(threads.enter(0, 1)).unwrap()).collect();
        assert!(source.full_for().is_some());
        let rollout = rollout(1, BYTES_IN_PLACE + 1);
        let mut scores = source.score(Ask::new(&rollout, &[0], None));
        assert!(scores.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(permits);
        assert!(block_on(scores)[0].part.is_some());
        assert!(source.full_for().is_none());
    }
}

//! The recording of a request's results in the ledger, after its reply was formed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use guerdon_ledger::{Labels, LedgerWriter, RolloutRecord, SharedRollout, now_ms};
use guerdon_types::{RequestId, RolloutEntry, RolloutResult, Usage, Versions};

use crate::engine::request_profiles::RequestProfiles;

/// The recording of one request. It shares the request's rollouts, and takes the results.
#[derive(Debug, Clone)]
pub(crate) struct Recording {
    ledger: LedgerWriter,
    request_id: Arc<str>,
    labels: Arc<Labels>,
    profiles: Arc<RequestProfiles>,
    entries: Arc<Vec<RolloutEntry>>,
    started: Instant,
    /// The versions of profiles by their number, once a result of theirs was recorded.
    versions: HashMap<usize, Arc<Versions>>,
}

/// A result as it was sent, with its index in the request and its cost.
#[derive(Debug)]
pub(crate) struct SentResult {
    pub(crate) index: usize,
    pub(crate) result: RolloutResult,
    pub(crate) usage: Usage,
}

impl Recording {
    pub(crate) fn new(
        ledger: LedgerWriter,
        request_id: &RequestId,
        labels: Labels,
        (profiles, entries): (Arc<RequestProfiles>, Arc<Vec<RolloutEntry>>),
    ) -> Self {
        Self {
            ledger,
            request_id: request_id.as_str().into(),
            labels: Arc::new(labels),
            profiles,
            entries,
            started: Instant::now(),
            versions: HashMap::new(),
        }
    }

    /// Records all results of a request, in its order.
    pub(crate) async fn record_all(mut self, results: Vec<RolloutResult>, costs: Vec<Usage>) {
        let sent = results.into_iter().zip(costs).enumerate();
        let sent = sent.map(|(index, (result, usage))| SentResult { index, result, usage });
        let records = sent.map(|sent| self.record_of(sent)).collect();
        self.ledger.record(records).await;
    }

    /// Records one result.
    pub(crate) async fn record(&mut self, sent: SentResult) {
        let record = self.record_of(sent);
        self.ledger.record(vec![record]).await;
    }

    fn record_of(&mut self, SentResult { index, result, usage }: SentResult) -> RolloutRecord {
        let number = self.profiles.number(index);
        let versions = self
            .versions
            .entry(number)
            .or_insert_with(|| Arc::new(self.profiles.numbered(number).versions()));
        let rollout = SharedRollout::new(Arc::clone(&self.entries), index);
        let sent = rollout.get();
        RolloutRecord {
            recorded_ms: now_ms(),
            request_id: Arc::clone(&self.request_id),
            labels: Arc::clone(&self.labels),
            attempt: sent.and_then(|sent| u32::try_from(sent.attempt?).ok()),
            sample: sent.and_then(|sent| sent.sample),
            versions: Arc::clone(versions),
            rollout,
            result,
            usage,
            scoring_ms: Some(self.started.elapsed().as_secs_f64() * 1_000.0),
        }
    }
}

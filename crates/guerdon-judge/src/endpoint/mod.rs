//! One judge: cache before limits, limits before calls, and another judge behind it if it cannot be
//! asked. Shared by every profile and generation of prompts that asks it, so that a reload keeps
//! the answers and the limits.

mod settings;
mod shared_answers;
mod whole;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use guerdon_queue::{Admission, AdmissionStatus, Flow};
use guerdon_types::{AbstainWhy, Usage};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::shared_answers::SharedAnswers;
use crate::ask::answer::{Failure, JudgeAnswer, Outcome};
use crate::ask::key::{self, Identity, IdentityConfig, QuestionKey};
use crate::ask::question::JudgeQuestion;
use crate::call::fault;
use crate::call::hedge::Hedge;
use crate::call::judge_client::JudgeClient;
use crate::call::patience::Patience;
use crate::call::services::Services;
use crate::call::shared::SharedLimits;
use crate::call::token_estimate::TokenEstimator;
use crate::config::{AuditConfig, CacheMode, CassetteConfig, EndpointConfig};
use crate::error::Error;
use crate::store::audit::AuditLog;
use crate::store::budget::{HeldMoney, SpendingBudget};
use crate::store::cache::cassette::Cassette;
use crate::store::cache::{AnswerCache, Store};
use crate::store::event::{CallEvent, CallObserver, CallOutcome};

/// An OpenAI-compatible endpoint that judges.
pub struct Endpoint {
    caller: Arc<JudgeClient>,
    answers: AnswerCache,
    shared: SharedAnswers,
    cassette: Option<Cassette>,
    fallback: Option<Arc<Self>>,
    observer: CallObserver,
    /// See [`EndpointConfig::identity`].
    shape: serde_json::Value,
}

/// The queue, the addresses and the budget of a judge at one time.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct JudgeStatus {
    /// The queue, and the state of each address.
    pub admission: AdmissionStatus,
    /// For each address the features of requests, with the number of steps by which each was given
    /// up.
    pub downgrades: Vec<Vec<(&'static str, u8)>>,
    /// The amount left under each cap that is set: `run`, `day`.
    pub budget_left: Vec<(&'static str, f64)>,
}

/// The caller of a question.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(crate) deadline: Option<Instant>,
    pub(crate) flow: Flow,
    /// Money that was reserved for all questions of the caller together.
    pub(crate) held: Option<Arc<HeldMoney>>,
}

impl Asker {
    pub(crate) const fn new(deadline: Option<Instant>, flow: Flow) -> Self {
        Self { deadline, flow, held: None }
    }
}

impl Endpoint {
    /// An endpoint as configured.
    ///
    /// # Errors
    /// [`Error`], if the configuration, a key or a file cannot be used.
    pub fn build(config: EndpointConfig, services: &Services) -> Result<Arc<Self>, Error> {
        settings::check(&config)?;
        let shape = config.identity();
        let root = services.root.as_path();
        let tape = config.cassette.as_ref().map(|tape| Cassette::open(&tape.under(root)));
        let cassette =
            tape.transpose().map_err(|detail| Error::Value { key: "cassette", detail })?;
        let store = match (&config.cache.path, config.cache.mode) {
            (Some(path), CacheMode::On | CacheMode::ReadOnly | CacheMode::Refresh) => {
                Some(Store::open(&root.join(path), config.cache.sync)?)
            }
            (None, _) | (_, CacheMode::Off) => None,
        };
        let audit =
            config.audit.as_ref().map(|audit| AuditLog::open(&audit.under(root))).transpose()?;
        let fallback =
            config.fallback.as_deref().map(|fallback| Self::build(fallback.clone(), services));
        let observer = Arc::clone(&services.observer);
        let addresses = settings::addresses(&config, services)?;
        let coordinator = &services.coordinator;
        let limits = settings::limits(&config);
        let names = settings::shared_names(&config);
        let shared = SharedLimits::new(Arc::clone(coordinator), names, &limits);
        let admission = Admission::new(limits, addresses.len());
        shared.follow_pauses(&admission);
        let both = config.cache.mode == CacheMode::On;
        let answers = SharedAnswers::new(Arc::clone(coordinator), config.cache.ttl, both);
        let budget = SpendingBudget::open(&config.budget, &config.model, store.clone())?;
        let caller = JudgeClient {
            admission,
            shared,
            addresses,
            timeout: config.timeout,
            retries: config.retries,
            backoff: fault::backoff(config.backoff),
            has_fallback: fallback.is_some(),
            tasks: services.tasks.clone(),
            prices: config.prices,
            counting: config.token_counting,
            estimate: Arc::new(TokenEstimator::new()),
            hedge: Hedge::new(config.hedge.get()),
            budget: budget.shared_by(Arc::clone(coordinator), config.timeout),
            audit,
            observer: Arc::clone(&observer),
            reply_observer: services.reply_observer.clone(),
            identity: Identity::new(IdentityConfig {
                url: config.url,
                model: config.model,
                identity: config.identity,
                extra_body: config.extra_body,
                read_reasoning: config.read_reasoning,
            }),
        };
        let shared = answers;
        let answers = AnswerCache::new(&config.cache, store, services.tasks.clone());
        let (caller, fallback) = (Arc::new(caller), fallback.transpose()?);
        Ok(Arc::new(Self { caller, answers, shared, cassette, fallback, observer, shape }))
    }

    /// The model that was configured.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.caller.identity.model
    }

    /// The client below the answers, for tests of its layers.
    #[cfg(test)]
    pub(crate) const fn client(&self) -> &Arc<JudgeClient> {
        &self.caller
    }

    /// The settings that shape verdicts: see [`EndpointConfig::identity`].
    pub(crate) const fn shape(&self) -> &serde_json::Value {
        &self.shape
    }

    /// The base URL that was configured.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.caller.identity.url
    }

    /// The queue of the judge, and the state of each of its addresses: its own, then its replicas'.
    #[must_use]
    pub fn status(&self) -> AdmissionStatus {
        self.caller.admission.status()
    }

    /// The states of this judge and of its fallbacks, by name; `name` is this judge's own.
    #[must_use]
    pub fn statuses(&self, name: &str) -> Vec<(String, JudgeStatus)> {
        let addresses = &self.caller.addresses;
        let status = JudgeStatus {
            admission: self.status(),
            downgrades: addresses.iter().map(|one| one.capabilities.downgrades()).collect(),
            budget_left: self.caller.budget.left(),
        };
        let mut statuses = vec![(name.to_owned(), status)];
        if let Some(fallback) = &self.fallback {
            statuses.extend(fallback.statuses(&format!("{name}.fallback")));
        }
        statuses
    }

    /// Time until new requests of `client` are taken again, if too many questions wait.
    pub(crate) fn full_for(&self, client: u64) -> Option<Duration> {
        self.caller.admission.full_for(client)
    }

    /// Asks the question, or returns its cached answer. Waits no longer than the caller's deadline.
    pub(crate) async fn ask(&self, question: JudgeQuestion<'_>, asker: &Asker) -> Outcome {
        match self.lookup(question).await {
            Ok(asked) => asked,
            Err(key) => self.fetch(key, question, asker).await,
        }
    }

    /// Returns a cached or recorded outcome. If there is none, returns the key for
    /// [`Endpoint::fetch`].
    pub(crate) async fn lookup(&self, question: JudgeQuestion<'_>) -> Result<Outcome, QuestionKey> {
        let key = key::of(&self.caller.identity, &question);
        match &self.cassette {
            Some(Cassette::Replay(player)) => Ok(player.play(key)),
            // Cached answers are recorded as well.
            Some(Cassette::Record(_)) => Err(key),
            None => self.answers.get(&key).await.map(|answer| self.hit(answer)).ok_or(key),
        }
    }

    /// The answer in the judge's file; `None` if there is none. Nothing is asked.
    pub(crate) async fn stored(&self, question: JudgeQuestion<'_>) -> Option<Outcome> {
        let key = key::of(&self.caller.identity, &question);
        let answer = Arc::new(self.answers.on_disk(key).await?);
        Some(Outcome { result: Ok(answer), usage: Usage::default(), cached: true })
    }

    /// Asks a question with this key.
    pub(crate) async fn fetch(
        &self,
        key: QuestionKey,
        question: JudgeQuestion<'_>,
        asker: &Asker,
    ) -> Outcome {
        let asked = self.this_or_fallback(key, question, asker).await;
        if let Some(Cassette::Record(recorder)) = &self.cassette {
            recorder.record(key, &asked).await;
        }
        asked
    }

    async fn this_or_fallback(
        &self,
        key: QuestionKey,
        question: JudgeQuestion<'_>,
        asker: &Asker,
    ) -> Outcome {
        let asked = self.cached_or_fetched(key, question, asker).await;
        let Some(fallback) = &self.fallback else { return asked };
        let cannot_be_asked = matches!(
            &asked.result,
            // A used-up budget must not lead to spending elsewhere.
            Err(failure) if !failure.is_over_budget() && matches!(
                failure.why,
                AbstainWhy::RateLimited
                    | AbstainWhy::Overloaded
                    | AbstainWhy::Unreachable
                    | AbstainWhy::EndpointError
            )
        );
        if !cannot_be_asked {
            return asked;
        }
        // Boxed: a fallback may have a fallback.
        let asker = Asker::new(asker.deadline, asker.flow.clone());
        let mut second = Box::pin(fallback.ask(question, &asker)).await;
        second.usage.add(&asked.usage);
        second
    }

    async fn cached_or_fetched(
        &self,
        key: QuestionKey,
        question: JudgeQuestion<'_>,
        asker: &Asker,
    ) -> Outcome {
        if let Some(answer) = self.answers.get(&key).await {
            return self.hit(answer);
        }
        let rendered = match question.unrendered().rendered().await {
            Ok(rendered) => Arc::new(rendered),
            Err(failure) => return unanswered(failure),
        };
        let deadline = asker.deadline;
        loop {
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return late();
            }
            let gone = CancellationToken::new();
            let _hung_up_if_dropped = gone.clone().drop_guard();
            let (flow, held) = (asker.flow.clone(), asker.held.clone());
            let patience = Patience { deadline, gone, flow, held };
            let (caller, rendered) = (Arc::clone(&self.caller), Arc::clone(&rendered));
            let shared = self.shared.clone();
            let call = async move {
                let call = async {
                    let mut spent = Usage::default();
                    (caller.call(key, &rendered, &patience, &mut spent).await, spent)
                };
                shared.fetch(key, &patience, Box::pin(call)).await
            };
            let flight = self.answers.coalesce(key, call);
            let landed = match deadline {
                None => flight.await,
                Some(deadline) => match tokio::time::timeout_at(deadline, flight).await {
                    Ok(landed) => landed,
                    Err(_) => return late(),
                },
            };
            let Some(landed) = landed else {
                let detail = "the judge call ended without a result";
                return unanswered(Failure::new(AbstainWhy::Internal, detail));
            };
            match landed.result {
                Ok(answer) if landed.led => {
                    return Outcome { result: Ok(answer), usage: landed.usage, cached: false };
                }
                Ok(answer) => return self.hit(answer),
                // Another's patience ended, not ours.
                Err(failure)
                    if !landed.led
                        && failure
                            .patience_end
                            .is_some_and(|patience_end| patience_end.is_outlasted_by(deadline)) => {
                }
                Err(failure) => {
                    return Outcome {
                        result: Err((*failure).clone()),
                        usage: landed.usage,
                        cached: false,
                    };
                }
            }
        }
    }

    fn hit(&self, answer: Arc<JudgeAnswer>) -> Outcome {
        let usage = Usage { judge_cache_hits: 1, ..Usage::default() };
        let (duration, waited) = (Duration::ZERO, Duration::ZERO);
        (self.observer)(&CallEvent {
            outcome: CallOutcome::Cached,
            duration,
            waited,
            attempt: 0,
            cached: true,
            usage,
        });
        Outcome { result: Ok(answer), usage, cached: true }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("url", &self.url())
            .field("model", &self.model())
            .finish_non_exhaustive()
    }
}

fn late() -> Outcome {
    let detail = "the judge had not answered when the request's deadline passed";
    unanswered(Failure::new(AbstainWhy::Deadline, detail))
}

fn unanswered(failure: Failure) -> Outcome {
    Outcome { result: Err(failure), usage: Usage::default(), cached: false }
}

impl CassetteConfig {
    fn under(&self, root: &Path) -> Self {
        Self { path: root.join(&self.path), ..self.clone() }
    }
}

impl AuditConfig {
    fn under(&self, root: &Path) -> Self {
        Self { path: root.join(&self.path), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: EndpointConfig) -> String {
        let services = Services::new(tokio_util::task::TaskTracker::new(), |_| {});
        Endpoint::build(config, &services).unwrap_err().to_string()
    }

    #[test]
    fn invalid_configurations_are_refused_at_build() {
        assert!(refused(EndpointConfig::new("h/v1", "m")).contains("is no URL"));
        assert!(refused(EndpointConfig::new("ftp://h", "m")).contains("http://"));
        assert!(!refused(EndpointConfig::new("http://me:secret@h", "m")).contains("secret"));
        assert!(refused(EndpointConfig::new("http://h", "")).contains("`model` is empty"));
        let none = EndpointConfig { max_concurrent: 0, ..EndpointConfig::new("http://h", "m") };
        assert!(refused(none).contains("max_concurrent"));
        let mut extra = EndpointConfig::new("http://h", "m");
        extra.extra_body.insert("temperature".to_owned(), 1.into());
        assert!(refused(extra).contains("in the judge prompt"));
        let mut capped = EndpointConfig::new("http://h", "m");
        capped.budget.per_day = Some(5.into());
        assert!(refused(capped).contains("`prices`"));
        let mut keyed = EndpointConfig::new("http://h", "m");
        let replica = crate::ReplicaConfig {
            url: "http://i".to_owned(),
            api_key_env: Some("K".to_owned()),
            api_key_file: None,
        };
        keyed.replicas = vec![replica];
        assert!(refused(keyed).contains("`K`"));
    }
}

//! The source of kind `http`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use guerdon_fusion::{Ask, RewardSource, SourceVersion};
use guerdon_types::{OtherPart, Part, Signal, SourceId, SourceKind};
use secrecy::SecretString;
use serde_json::json;
use tokio_util::task::TaskTracker;

use super::request::FunctionWire;
use crate::ask::{Collector, CollectorConfig, Silence, TurnAnswer};
use crate::call::{CallLimits, ServiceEndpoint, ServiceSettings};
use crate::config::HttpSourceConfig;
use crate::error::RemoteError;

/// The path of health checks of a function's server, which need not exist.
const HEALTH: &str = "/health";

/// A user's function behind HTTP.
///
/// The calls are made by tasks of the [`TaskTracker`] that the source is built with, so the source
/// must be asked inside a tokio runtime.
#[derive(Debug)]
pub struct HttpSource {
    id: SourceId,
    urls: String,
    identity: Option<String>,
    collector: Arc<Collector>,
}

impl HttpSource {
    /// A source called `id`. `secret` signs the bodies; the caller reads it from the places that
    /// `config` names.
    ///
    /// # Errors
    /// [`RemoteError`] if the configuration cannot be used.
    pub fn new(
        id: SourceId,
        config: HttpSourceConfig,
        secret: Option<SecretString>,
        tasks: &TaskTracker,
    ) -> Result<Self, RemoteError> {
        let limits = CallLimits::of_function(&config)?;
        let settings =
            ServiceSettings { limits: &limits, path: None, health: HEALTH, api_key: None };
        let endpoint = ServiceEndpoint::new(&settings)?;
        let wire = FunctionWire { source: id.clone(), batch: limits.batch, secret };
        let collecting = CollectorConfig {
            name: id.as_str().into(),
            linger: limits.linger,
            max_queued: limits.max_queued,
            max_request_bytes: limits.max_request_bytes,
            cache: config.cache,
            tasks: tasks.clone(),
        };
        let collector = Collector::new(Arc::new(wire), endpoint, collecting);
        Ok(Self { id, urls: limits.urls.join(", "), identity: config.identity, collector })
    }

    /// The version that the function declared in its last reply.
    #[must_use]
    pub fn declared_version(&self) -> Option<Arc<str>> {
        self.collector.version()
    }

    fn signal(&self, outcome: Result<Arc<TurnAnswer>, Silence>, content: &str) -> Signal {
        let answer = outcome.and_then(|answer| {
            let end = answer.spans.iter().map(|[_, end]| *end).max().unwrap_or_default();
            if end > 0 && end > content.chars().count() {
                return Err(Silence::malformed("a span ends after the turn's content"));
            }
            Ok(answer)
        });
        match answer {
            Ok(answer) => Signal::scored(Part::Other(OtherPart {
                points: answer.value,
                veto: answer.veto,
                detail: answer.detail.clone(),
                components: answer.components.clone(),
                spans: answer.spans.clone(),
                version: answer.version.as_deref().map(str::to_owned),
                ..OtherPart::default()
            })),
            Err(silence) => Signal::abstained(silence.of(&self.id)),
        }
    }
}

impl RewardSource for HttpSource {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn kind(&self) -> SourceKind {
        SourceKind::Http
    }

    fn about(&self) -> String {
        format!("a function at {}", self.urls)
    }

    /// The version that the function declared last; `unknown` before its first reply.
    fn version(&self) -> SourceVersion {
        let declared = self.declared_version();
        let version = declared.as_deref().unwrap_or("unknown").to_owned();
        SourceVersion::Texts([(self.id.to_string(), version)].into())
    }

    fn identity(&self) -> serde_json::Value {
        json!({ "http": self.identity.as_deref().unwrap_or(self.id.as_str()) })
    }

    fn full_for_client(&self, client: u64) -> Option<Duration> {
        self.collector.full_for(client)
    }

    fn score<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Vec<Signal>> {
        async move {
            let outcomes = self.collector.ask_all(ask).await;
            let contents = ask.turns.iter().map(|message| {
                ask.rollout.messages.get(*message).map_or("", |message| &message.content)
            });
            outcomes
                .into_iter()
                .zip(contents)
                .map(|(outcome, content)| self.signal(outcome, content))
                .collect()
        }
        .boxed()
    }
}

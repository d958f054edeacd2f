//! The source of kind `remote_rm`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use guerdon_fusion::{Ask, RewardSource, SourceVersion, calibrate};
use guerdon_types::{AbstainWhy, Calibration, Finite, Part, RmPart, Signal, SourceId, SourceKind};
use secrecy::SecretString;
use serde_json::json;
use tokio_util::task::TaskTracker;

use super::protocol;
use super::template::RmTemplate;
use super::wire::RmWire;
use crate::ask::{Collector, CollectorConfig, Silence, TurnOutcome};
use crate::call::{CallLimits, ServiceEndpoint, ServiceSettings};
use crate::config::{OutputIndex, RemoteRmConfig};
use crate::error::RemoteError;

/// A reward model on another server.
///
/// The calls are made by tasks of the [`TaskTracker`] that the source is built with, so the source
/// must be asked inside a tokio runtime.
#[derive(Debug)]
pub struct RemoteRmSource {
    id: SourceId,
    about: String,
    calibration: Calibration,
    hash: String,
    identity: serde_json::Value,
    collector: Arc<Collector>,
}

impl RemoteRmSource {
    /// A source called `id`. `api_key` is sent as a bearer token; the caller reads it from the
    /// places that `config` names.
    ///
    /// # Errors
    /// [`RemoteError`] if the configuration cannot be used.
    pub fn new(
        id: SourceId,
        config: RemoteRmConfig,
        api_key: Option<&SecretString>,
        tasks: &TaskTracker,
    ) -> Result<Self, RemoteError> {
        let limits = CallLimits::of_reward_model(&config)?;
        let template = Self::template(&config)?;
        let path =
            protocol::path(config.protocol, config.model.as_deref(), config.output.is_some())?;
        let settings = ServiceSettings {
            limits: &limits,
            path: Some(&path),
            health: protocol::health(config.protocol),
            api_key,
        };
        let endpoint = ServiceEndpoint::new(&settings)?;
        let protocol = config.protocol.as_str();
        let named = config.identity.as_ref().or(config.model.as_ref());
        let hash = format!("remote:{}", named.map_or(protocol, String::as_str));
        let identity = json!({
            "remote_rm": protocol,
            "model": &hash,
            "template": config.template,
            "tokens": [config.bos_token, config.eos_token],
            "output": config.output,
            "calibration": config.calibration,
        });
        let wire = RmWire {
            protocol: config.protocol,
            form: protocol::form(
                config.protocol,
                config.template.is_some(),
                config.output.is_some(),
            ),
            template,
            model: config.model,
            output: OutputIndex(config.output),
            batch: limits.batch,
            version: hash.as_str().into(),
        };
        let collecting = CollectorConfig {
            name: id.as_str().into(),
            linger: limits.linger,
            max_queued: limits.max_queued,
            max_request_bytes: limits.max_request_bytes,
            cache: config.cache,
            tasks: tasks.clone(),
        };
        let about = format!("a reward model at {} ({protocol})", limits.urls.join(", "));
        let calibration = config.calibration;
        let collector = Collector::new(Arc::new(wire), endpoint, collecting);
        Ok(Self { id, about, calibration, hash, identity, collector })
    }

    /// The template of the configuration, or `plain` for the prompts of a protocol that has pairs.
    fn template(config: &RemoteRmConfig) -> Result<Option<RmTemplate>, RemoteError> {
        let default = match protocol::form(config.protocol, false, config.output.is_some()) {
            protocol::Form::Texts { .. } if config.template.is_none() => {
                let protocol = config.protocol.as_str();
                return Err(RemoteError::Value {
                    key: "template",
                    detail: format!(
                        "is missing: `{protocol}` takes a text, and a wrong template gives wrong rewards\n  \
                         help: set it to `chatml`, `llama3`, `plain`, or the chat template of the model's tokenizer"
                    ),
                });
            }
            protocol::Form::Pairs | protocol::Form::Replies => Some("plain"),
            _ => None,
        };
        let template = config.template.as_deref().or(default);
        template
            .map(|template| RmTemplate::compile(template, &config.bos_token, &config.eos_token))
            .transpose()
    }

    fn signal(&self, outcome: TurnOutcome) -> Signal {
        let scored = outcome.and_then(|answer| {
            let raw = answer.value.get();
            let not_finite =
                |_| Silence::new(AbstainWhy::NotFinite, "the calibrated score is not finite");
            let score = Finite::new(calibrate(&self.calibration, raw)).map_err(not_finite)?;
            #[expect(clippy::cast_possible_truncation, reason = "reported as models return it")]
            let raw = raw as f32;
            Ok(RmPart {
                score,
                raw,
                objectives: BTreeMap::new(),
                steps: Vec::new(),
                tokens: 0,
                truncated: false,
                read: Vec::new(),
            })
        });
        match scored {
            Ok(part) => Signal::scored(Part::Rm(part)),
            Err(silence) => Signal::abstained(silence.of(&self.id)),
        }
    }
}

impl RewardSource for RemoteRmSource {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn kind(&self) -> SourceKind {
        SourceKind::RemoteRm
    }

    fn about(&self) -> String {
        self.about.clone()
    }

    fn version(&self) -> SourceVersion {
        SourceVersion::Model { hash: self.hash.clone(), calibration: self.calibration }
    }

    fn identity(&self) -> serde_json::Value {
        self.identity.clone()
    }

    fn full_for_client(&self, client: u64) -> Option<Duration> {
        self.collector.full_for(client)
    }

    fn score<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Vec<Signal>> {
        async move {
            let outcomes = self.collector.ask_all(ask).await;
            outcomes.into_iter().map(|outcome| self.signal(outcome)).collect()
        }
        .boxed()
    }
}

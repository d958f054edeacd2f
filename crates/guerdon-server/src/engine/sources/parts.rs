//! The parts that snapshots share, by the inputs that they were built from.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use guerdon_fusion::RewardSource;
use guerdon_judge::{Endpoint, EndpointConfig, Prompts};
use guerdon_model::{Model, ModelConfig};
use guerdon_remote::{HttpSourceConfig, RemoteRmConfig};
use guerdon_rules::RulePacks;
use guerdon_text::SourceText;
use guerdon_types::{Normaliser, SourceId};

use super::moments_file::LiveMoments;
use crate::config::RubricsConfig;
use crate::engine::rollout_rubrics::RubricFile;

/// The parts of snapshots that are built once for the same inputs and shared by profiles and
/// generations.
#[derive(Debug, Default)]
pub(super) struct SharedParts {
    pub(super) models: PartTable<ModelKey, Arc<Model>>,
    pub(super) endpoints: PartTable<EndpointKey, Arc<Endpoint>>,
    pub(super) packs: PartTable<PacksKey, Arc<RulePacks>>,
    pub(super) prompts: PartTable<Vec<TextKey>, Arc<Prompts>>,
    pub(super) remotes: PartTable<RemoteKey, Arc<dyn RewardSource>>,
    pub(super) running: PartTable<RunningKey, Arc<LiveMoments>>,
    pub(super) rubrics: PartTable<RubricsKey, Arc<RubricFile>>,
}

/// Values by the inputs that they were built from. A linear search is enough, because a
/// configuration has only a few of each kind.
#[derive(Debug)]
pub(super) struct PartTable<K, V>(pub(super) Vec<(K, V)>);

impl<K, V> Default for PartTable<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: PartialEq, V: Clone> PartTable<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.0.iter().find(|(other, _)| other == key).map(|(_, value)| value.clone())
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        self.0.push((key, value));
    }
}

/// The inputs of the moments of an online normaliser.
#[derive(Debug, PartialEq)]
pub(super) struct RunningKey {
    pub(super) profile: String,
    pub(super) source: SourceId,
    /// The normaliser as it is configured.
    pub(super) normaliser: Normaliser,
    /// The file that saves the moments.
    pub(super) path: Option<PathBuf>,
}

/// A text by its name and content hash.
pub(super) type TextKey = (String, String);

pub(super) fn keys_of(texts: &[SourceText]) -> Vec<TextKey> {
    texts.iter().map(|text| (text.name.clone(), text.content_hash())).collect()
}

/// The inputs of compiled rule packs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PacksKey {
    pub(super) texts: Vec<TextKey>,
    /// Days since 1970, because rules can expire at the end of a day.
    pub(super) day: u64,
}

impl PacksKey {
    pub(super) fn new(texts: &[SourceText]) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { texts: keys_of(texts), day: since.as_secs() / 86_400 }
    }
}

/// The inputs of a judge endpoint.
#[derive(Debug, PartialEq)]
pub(super) struct EndpointKey {
    pub(super) name: String,
    pub(super) config: EndpointConfig,
    /// SHA-256 of each key, so that a rotated key is noticed without storing the key.
    pub(super) keys: Vec<Option<[u8; 32]>>,
}

/// The inputs of a source behind HTTP.
#[derive(Debug, PartialEq)]
pub(super) struct RemoteKey {
    pub(super) id: SourceId,
    pub(super) config: RemoteConfig,
    /// SHA-256 of the secret, so that a rotated one is noticed without storing it.
    pub(super) secret: Option<[u8; 32]>,
}

/// The configuration of a source behind HTTP.
#[derive(Debug, PartialEq)]
pub(super) enum RemoteConfig {
    Function(HttpSourceConfig),
    RewardModel(RemoteRmConfig),
}

/// The inputs of a file of rubrics.
#[derive(Debug, PartialEq)]
pub(super) struct RubricsKey {
    /// The hash of its text.
    pub(super) hash: String,
    /// The limits.
    pub(super) config: RubricsConfig,
}

/// The inputs of a loaded model.
#[derive(Debug, PartialEq)]
pub(super) struct ModelKey {
    pub(super) name: String,
    /// With paths resolved.
    pub(super) config: ModelConfig,
    /// The manifest holds the hashes of the model's other files.
    pub(super) manifest: String,
}

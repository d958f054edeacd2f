//! The rows of a record, ready to be stored: all texts are written, hashed and compressed.

use std::sync::Arc;

use guerdon_types::{Finite, Versions};

use crate::config::Texts;
use crate::flat::{self, TurnRow};
use crate::texts::without_texts;
use crate::{Error, RolloutRecord};

/// zstd's level: a third of the time of its default level, for a tenth more bytes.
const LEVEL: i32 = 1;

/// The rows of one rollout.
#[derive(Debug)]
pub(crate) struct PreparedRollout {
    pub(crate) record: RowSource,
    pub(crate) group: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) turns: Vec<TurnRow>,
    pub(crate) versions: Arc<PreparedVersions>,
    pub(crate) dialogue_hash: Option<Vec<u8>>,
    pub(crate) dialogue: Option<Vec<u8>>,
    pub(crate) result: Vec<u8>,
}

/// The fields of a record that a row repeats.
#[derive(Debug)]
pub(crate) struct RowSource {
    pub(crate) recorded_ms: i64,
    pub(crate) request_id: Arc<str>,
    pub(crate) labels: Arc<crate::Labels>,
    pub(crate) attempt: Option<u32>,
    pub(crate) sample: Option<u32>,
    pub(crate) rollout: String,
    pub(crate) reward: Option<f64>,
    pub(crate) advantage: Option<f64>,
    pub(crate) cost: f64,
    pub(crate) judge_calls: u64,
    pub(crate) scoring_ms: Option<f64>,
}

/// Versions with their JSON text and its hash.
#[derive(Debug)]
pub(crate) struct PreparedVersions {
    source: Arc<Versions>,
    pub(crate) hash: String,
    pub(crate) json: String,
    pub(crate) profile: String,
    pub(crate) digest: Option<String>,
    pub(crate) generation: u64,
}

/// Turns records into rows. Keeps the versions of the last record, since most records share them,
/// and the state of the compression, which takes longer to make than a text to compress.
pub(crate) struct Preparer {
    texts: Texts,
    last: Option<Arc<PreparedVersions>>,
    compressor: zstd::bulk::Compressor<'static>,
}

impl std::fmt::Debug for Preparer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Preparer").field("texts", &self.texts).finish_non_exhaustive()
    }
}

impl Preparer {
    /// # Errors
    /// There is no memory for the state of the compression.
    pub(crate) fn new(texts: Texts) -> Result<Self, Error> {
        Ok(Self { texts, last: None, compressor: zstd::bulk::Compressor::new(LEVEL)? })
    }

    pub(crate) fn prepare(&mut self, record: &RolloutRecord) -> Result<PreparedRollout, Error> {
        let rollout = record.rollout.get();
        let length = |turn: usize| Some(rollout?.messages.get(turn)?.content.chars().count());
        let turns = flat::turns(&record.result, length);
        let (mut dialogue, mut dialogue_hash) = (None, None);
        if let Some(rollout) = rollout.filter(|_| self.texts != Texts::None) {
            let json = serde_json::to_vec(rollout)?;
            match self.texts {
                Texts::Full => dialogue = Some(self.compressor.compress(&json)?),
                Texts::Hash | Texts::None => dialogue_hash = Some(hash(&json)),
            }
        }
        let result = match self.texts {
            Texts::Full => serde_json::to_vec(&record.result)?,
            Texts::Hash | Texts::None => serde_json::to_vec(&without_texts(&record.result))?,
        };
        let error = record.result.error.as_ref();
        Ok(PreparedRollout {
            group: record.rollout.group().map(str::to_owned),
            error: error.map(|problem| flat::name(problem.code.as_str())),
            turns,
            versions: self.versions(&record.versions)?,
            dialogue_hash,
            dialogue,
            result: self.compressor.compress(&result)?,
            record: RowSource {
                recorded_ms: record.recorded_ms,
                request_id: Arc::clone(&record.request_id),
                labels: Arc::clone(&record.labels),
                attempt: record.attempt,
                sample: record.sample,
                rollout: record.result.id.to_string(),
                reward: record.result.reward.map(Finite::get),
                advantage: record.result.advantage.map(Finite::get),
                cost: Some(record.usage.cost).filter(|cost| cost.is_finite()).unwrap_or(0.0),
                judge_calls: record.usage.judge_calls,
                scoring_ms: record.scoring_ms.filter(|time| time.is_finite()),
            },
        })
    }

    fn versions(&mut self, versions: &Arc<Versions>) -> Result<Arc<PreparedVersions>, Error> {
        if let Some(last) = self.last.as_ref().filter(|last| Arc::ptr_eq(&last.source, versions)) {
            return Ok(Arc::clone(last));
        }
        let json = serde_json::to_string(&**versions)?;
        let prepared = Arc::new(PreparedVersions {
            source: Arc::clone(versions),
            hash: guerdon_text::sha256_hex(&json),
            json,
            profile: versions.profile.to_string(),
            digest: versions.digest.clone(),
            generation: versions.generation,
        });
        self.last = Some(Arc::clone(&prepared));
        Ok(prepared)
    }
}

/// The SHA-256 of a dialogue, as its 32 bytes.
fn hash(json: &[u8]) -> Vec<u8> {
    let digits = guerdon_text::sha256_hex(json);
    let bytes = digits.as_bytes().chunks_exact(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    bytes.filter_map(byte).collect()
}

//! The configuration of a source of kind `remote_rm`.

use std::path::PathBuf;
use std::time::Duration;

use guerdon_types::Calibration;
use serde::{Deserialize, Serialize};

use super::{TurnCacheConfig, defaults};

/// A reward model on another server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteRmConfig {
    /// The base URL of the server, such as `http://127.0.0.1:8000`. The protocol's path is appended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// More servers of the same model. Each batch goes to the least loaded one that is up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// The protocol of the server.
    pub protocol: RmProtocol,
    /// The name of the model, for servers that require one: vLLM, Infinity, and the path of the
    /// Open Inference Protocol. For the protocol `guerdon`: the profile. Default: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The identity of the model for the configuration's digest, such as a revision. Default:
    /// `model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The chat template with which a dialogue becomes the text that the model reads: `chatml`,
    /// `llama3`, `plain`, or a Jinja template. Needed for `sglang`, `tei`, `openrlhf` and
    /// `open_inference`, and for `infinity` with `output`. vLLM's `classify` and `pooling` get
    /// messages without it, and render them with the model's own template. `vllm_score` and
    /// `tei_rerank` render the prompt with it; `infinity` sends a prompt and a reply without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The value of `bos_token` in the template.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bos_token: String,
    /// The value of `eos_token` in the template.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub eos_token: String,
    /// The index of the model's output that is the reward, from 0. Needed for a model with several
    /// outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<usize>,
    /// Calibration of the model's raw output.
    #[serde(default)]
    pub calibration: Calibration,
    /// The environment variable that holds the API key, sent as a bearer token. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// The file that holds the API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
    /// The largest number of turns in one call, where the protocol takes several.
    #[serde(default = "defaults::batch")]
    pub batch: usize,
    /// The longest time that a turn waits for others to share its call.
    #[serde(default = "defaults::linger", with = "humantime_serde")]
    pub linger: Duration,
    /// Time limit of one attempt, from sending to the last byte of the reply.
    #[serde(default = "defaults::attempt_timeout", with = "humantime_serde")]
    pub attempt_timeout: Duration,
    /// The largest number of retries after failures that a retry can fix.
    #[serde(default = "defaults::retries")]
    pub retries: u32,
    /// The longest wait before the first retry. It doubles with each retry, up to 8 s. The actual
    /// wait is drawn uniformly between zero and that limit.
    #[serde(default = "defaults::backoff", with = "humantime_serde")]
    pub backoff: Duration,
    /// The largest number of calls in flight at each address. The limit adapts to refusals below it.
    #[serde(default = "defaults::max_concurrent")]
    pub max_concurrent: usize,
    /// The largest number of turns that wait for an answer. More abstain (`overloaded`), and the
    /// server refuses new requests meanwhile.
    #[serde(default = "defaults::max_queued")]
    pub max_queued: usize,
    /// The size in bytes at which a call is sent with fewer turns than `batch`.
    #[serde(default = "defaults::max_request_bytes")]
    pub max_request_bytes: usize,
    /// The largest reply in bytes. The turns of a larger one abstain (`malformed`).
    #[serde(default = "defaults::max_reply_bytes")]
    pub max_reply_bytes: usize,
    /// Cache of answers.
    #[serde(default)]
    pub cache: TurnCacheConfig,
    /// A proxy for this source. Proxy settings in the environment are ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
}

/// The protocol of a server of reward models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RmProtocol {
    /// vLLM, `POST /classify`.
    VllmClassify,
    /// vLLM, `POST /pooling`.
    VllmPooling,
    /// vLLM, `POST /v1/score`: pairs of a prompt and a reply.
    VllmScore,
    /// SGLang, `POST /classify`.
    Sglang,
    /// text-embeddings-inference, `POST /predict`.
    Tei,
    /// text-embeddings-inference, `POST /rerank`: replies to one prompt.
    TeiRerank,
    /// Infinity, `POST /rerank`; with `output`, `POST /classify`.
    Infinity,
    /// OpenRLHF, `POST /get_reward`.
    Openrlhf,
    /// Open Inference Protocol version 2, `POST /v2/models/MODEL/infer`: Triton, KServe, MLServer.
    OpenInference,
    /// NeMo-Gym, `POST /verify`.
    NemoGym,
    /// Another guerdon, `POST /v1/score`.
    Guerdon,
}

impl RmProtocol {
    /// The protocol as it is written in a configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VllmClassify => "vllm_classify",
            Self::VllmPooling => "vllm_pooling",
            Self::VllmScore => "vllm_score",
            Self::Sglang => "sglang",
            Self::Tei => "tei",
            Self::TeiRerank => "tei_rerank",
            Self::Infinity => "infinity",
            Self::Openrlhf => "openrlhf",
            Self::OpenInference => "open_inference",
            Self::NemoGym => "nemo_gym",
            Self::Guerdon => "guerdon",
        }
    }
}

/// The index of the output that is the reward, or the only output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutputIndex(pub(crate) Option<usize>);

impl OutputIndex {
    /// The reward among the outputs of a model.
    pub(crate) fn select(self, outputs: &[f64]) -> Result<f64, String> {
        match (self.0, outputs) {
            (None, [only]) => Ok(*only),
            (None, []) => Err("the reply has no number for this turn".to_owned()),
            (None, several) => Err(format!(
                "the model returned {} numbers for one turn; set `output` to the index of the reward",
                several.len()
            )),
            (Some(index), outputs) => outputs.get(index).copied().ok_or_else(|| {
                format!("the model returned {} numbers, and `output` is {index}", outputs.len())
            }),
        }
    }
}

impl RemoteRmConfig {
    /// The defaults for the server at `url`.
    pub fn new(url: impl Into<String>, protocol: RmProtocol) -> Self {
        Self {
            url: Some(url.into()),
            urls: Vec::new(),
            protocol,
            model: None,
            identity: None,
            template: None,
            bos_token: String::new(),
            eos_token: String::new(),
            output: None,
            calibration: Calibration::Raw,
            api_key_env: None,
            api_key_file: None,
            batch: defaults::batch(),
            linger: defaults::linger(),
            attempt_timeout: defaults::attempt_timeout(),
            retries: defaults::retries(),
            backoff: defaults::backoff(),
            max_concurrent: defaults::max_concurrent(),
            max_queued: defaults::max_queued(),
            max_request_bytes: defaults::max_request_bytes(),
            max_reply_bytes: defaults::max_reply_bytes(),
            cache: TurnCacheConfig::default(),
            proxy: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocol_has_the_same_word_in_a_configuration_and_in_a_message() {
        for protocol in [
            RmProtocol::VllmClassify,
            RmProtocol::VllmPooling,
            RmProtocol::VllmScore,
            RmProtocol::Sglang,
            RmProtocol::Tei,
            RmProtocol::TeiRerank,
            RmProtocol::Infinity,
            RmProtocol::Openrlhf,
            RmProtocol::OpenInference,
            RmProtocol::NemoGym,
            RmProtocol::Guerdon,
        ] {
            assert_eq!(serde_json::to_value(protocol).unwrap(), protocol.as_str());
            let text = format!("url = \"http://h\"\nprotocol = \"{}\"", protocol.as_str());
            let read: RemoteRmConfig = toml::from_str(&text).unwrap();
            assert_eq!(read, RemoteRmConfig::new("http://h", protocol));
        }
    }

    #[test]
    fn a_model_with_several_outputs_needs_an_index() {
        assert_eq!(OutputIndex(None).select(&[2.0]), Ok(2.0));
        assert_eq!(OutputIndex(Some(1)).select(&[2.0, 3.0]), Ok(3.0));
        for (index, outputs) in [(None, &[][..]), (None, &[1.0, 2.0]), (Some(2), &[1.0, 2.0])] {
            assert!(OutputIndex(index).select(outputs).is_err());
        }
    }
}

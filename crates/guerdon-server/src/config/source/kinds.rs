//! The keys of each kind of source.

use std::path::PathBuf;

use guerdon_judge::Pooling;
use guerdon_remote::{HttpSourceConfig, RemoteRmConfig};
use guerdon_types::{Combine, CombineMethod, Finite, SourceKind};
use serde::{Deserialize, Serialize};

use super::field_names::field_names;

/// The kind of a source with its keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum SourceKeys {
    /// A reward model on ONNX Runtime.
    Model(ModelKeys),
    /// An LLM judge, or a panel of them.
    Judge(JudgeKeys),
    /// Rule packs.
    Rules(RulesKeys),
    /// A function behind HTTP.
    Http(Box<HttpSourceConfig>),
    /// A reward model on another server.
    RemoteRm(Box<RemoteRmConfig>),
    /// Several sources of the profile, combined into one number.
    Ensemble(EnsembleKeys),
}

impl SourceKeys {
    /// The words of `kind`.
    pub(super) const KINDS: &'static [&'static str] =
        &["model", "judge", "rules", "http", "remote_rm", "ensemble"];

    /// The names of the keys of `kind`; `None` for an unknown kind.
    pub(super) fn fields(kind: &str) -> Option<&'static [&'static str]> {
        Some(match kind {
            "model" => field_names::<ModelKeys>(),
            "judge" => field_names::<JudgeKeys>(),
            "rules" => field_names::<RulesKeys>(),
            "http" => field_names::<HttpSourceConfig>(),
            "remote_rm" => field_names::<RemoteRmConfig>(),
            "ensemble" => field_names::<EnsembleKeys>(),
            _ => return None,
        })
    }

    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> SourceKind {
        match self {
            Self::Model(_) => SourceKind::Model,
            Self::Judge(_) => SourceKind::Judge,
            Self::Rules(_) => SourceKind::Rules,
            Self::Http(_) => SourceKind::Http,
            Self::RemoteRm(_) => SourceKind::RemoteRm,
            Self::Ensemble(_) => SourceKind::Ensemble,
        }
    }
}

/// The keys of a source with a reward model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelKeys {
    /// A name under `[models]`.
    pub model: String,
}

/// The keys of a source with a judge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeKeys {
    /// A name under `[judges]`.
    pub judge: String,
    /// Judge prompts: files, or folders whose `*.md` with front matter are taken.
    pub prompts: Vec<PathBuf>,
    /// More names under `[judges]`, asked in addition to `judge`; each call is paid. Their verdicts
    /// are pooled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub panel: Vec<String>,
    /// Pooling of several verdicts on one criterion.
    #[serde(default)]
    pub pooling: Pooling,
}

/// The keys of a source with rule packs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesKeys {
    /// Rule packs: files, or folders whose `*.yaml` are taken.
    pub rules: Vec<PathBuf>,
}

/// The keys of an ensemble.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnsembleKeys {
    /// The names of the members, which are sources of the same profile. They are reported, and only
    /// the ensemble is fused.
    pub of: Vec<String>,
    /// The function of the members' terms.
    #[serde(default)]
    pub combine: CombineMethod,
    /// `lcb`: the number of standard deviations that are subtracted. 0 or more.
    #[serde(default = "one")]
    pub k: Finite,
    /// `soft_min`: the temperature, in the unit of the members' terms. Positive.
    #[serde(default = "one")]
    pub beta: Finite,
}

impl EnsembleKeys {
    /// The function with its constants.
    #[must_use]
    pub const fn combine(&self) -> Combine {
        Combine { method: self.combine, k: self.k, beta: self.beta }
    }
}

const fn one() -> Finite {
    Finite::ONE
}

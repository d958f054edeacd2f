//! A source of a profile with its settings there: role, weight, and the effect of its abstentions.

use std::ops::Deref;
use std::sync::Arc;

use guerdon_types::{
    AbstainPolicy, ConfigDigest, Finite, FusionConfig, Normaliser, OnAbstain, SourceKind,
    SourceRole, Vocabulary as _,
};
use serde_json::{Value, json};

use crate::{Channel, RewardSource, RunningNormaliser, SourceVersion, normalise};

/// The settings of a source in a profile.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SourceSettings {
    /// The role in the fusion.
    pub role: SourceRole,
    /// The source's weight times its scale: the factor of its number. Not negative.
    pub weight: Finite,
    /// The function from the source's number to the number that is weighted. Default: the number
    /// itself.
    pub normaliser: Option<Normaliser>,
    /// The effect of this source's abstentions. Default: `on_abstain` of the fusion. A base source
    /// has none: its abstention always leaves the turn without a reward.
    pub on_abstain: Option<OnAbstain>,
    /// The share of the groups that the source is asked about, in (0, 1]; `None` for all. Only an
    /// audit has one, since it changes no reward.
    pub share: Option<Finite>,
}

impl SourceSettings {
    /// A weight of 1, and `on_abstain` of the fusion.
    #[must_use]
    pub const fn of_role(role: SourceRole) -> Self {
        Self { role, weight: Finite::ONE, normaliser: None, on_abstain: None, share: None }
    }

    /// The settings of a source of `kind` without any of its own.
    #[must_use]
    pub const fn of_kind(kind: SourceKind) -> Self {
        Self::of_role(kind.default_role())
    }

    /// A copy with this weight.
    #[must_use]
    pub fn with_weight(self, weight: Finite) -> Self {
        Self { weight, ..self }
    }

    /// A copy with this normaliser.
    #[must_use]
    pub fn with_normaliser(self, normaliser: Option<Normaliser>) -> Self {
        Self { normaliser, ..self }
    }

    /// A copy that is asked about this share of the groups.
    #[must_use]
    pub fn with_share(self, share: Option<Finite>) -> Self {
        Self { share, ..self }
    }

    /// A copy with this effect of abstentions.
    #[must_use]
    pub fn with_on_abstain(self, on_abstain: Option<OnAbstain>) -> Self {
        Self { on_abstain, ..self }
    }
}

/// A source with its settings in a profile.
#[derive(Debug, Clone)]
pub struct ScorerSource {
    source: Arc<dyn RewardSource>,
    /// Shared, since every request has a copy of the source.
    settings: Arc<SourceSettings>,
    /// The moments of a `running` normaliser, which requests observe.
    running: Option<Arc<RunningNormaliser>>,
    /// One text for the version of the source, if it is fixed when the source is built.
    version: Option<Arc<str>>,
}

impl ScorerSource {
    /// `source` with these settings.
    #[must_use]
    pub fn new(source: Arc<dyn RewardSource>, settings: SourceSettings) -> Self {
        let version = match source.version() {
            // A function declares its version with each answer.
            _ if source.kind() == SourceKind::Http => None,
            SourceVersion::Model { hash, .. } => Some(hash),
            SourceVersion::Texts(texts) => match texts.len() {
                0 => None,
                1 => texts.into_values().next(),
                _ => Some(ConfigDigest::of(json!(texts).to_string()).to_string()),
            },
        };
        let running = settings.normaliser.as_ref().and_then(RunningNormaliser::of).map(Arc::new);
        let (settings, version) = (Arc::new(settings), version.map(Arc::from));
        Self { source, settings, running, version }
    }

    /// A copy that observes with `running`, such as that of an earlier generation.
    #[must_use]
    pub fn observing(self, running: Option<Arc<RunningNormaliser>>) -> Self {
        Self { running: running.or(self.running), ..self }
    }

    /// The moments that requests observe, if the normaliser is `running`.
    #[must_use]
    pub const fn running(&self) -> Option<&Arc<RunningNormaliser>> {
        self.running.as_ref()
    }

    /// A copy that observes nothing.
    pub(crate) fn unobserving(&self) -> Self {
        Self { running: None, ..self.clone() }
    }

    /// A copy for one request, whose numbers are all normalised by the moments of this time.
    pub(crate) fn at_this_time(&self) -> Self {
        let mut copy = self.clone();
        if let (Some(running), Some(normaliser)) = (&self.running, &self.settings.normaliser) {
            let normaliser = Some(normaliser.clone().with_state(running.state()));
            copy.settings = Arc::new(SourceSettings { normaliser, ..(*self.settings).clone() });
        }
        copy
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &SourceSettings {
        &self.settings
    }

    /// The role in the fusion.
    #[must_use]
    pub fn role(&self) -> SourceRole {
        self.settings.role
    }

    /// One text for the version of the source.
    #[must_use]
    pub fn version_text(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The channel that the source's number enters; `None` if its number is not fused.
    #[must_use]
    pub fn channel(&self) -> Option<Channel> {
        Channel::of(self.kind(), self.role())
    }

    /// The number after the normaliser, for a reply of `length` Unicode scalar values; `None` without
    /// a normaliser.
    #[must_use]
    pub fn normalised(&self, number: Finite, length: usize) -> Option<Finite> {
        let normaliser = self.settings.normaliser.as_ref()?;
        if let Some(running) = self.running.as_ref().filter(|running| running.is_online()) {
            running.observe([number.get()]);
        }
        Finite::new(normalise(normaliser, number.get(), length)).ok()
    }

    /// The source's term: its number as it enters the fusion, for a reply of `length` Unicode scalar
    /// values. It can be infinite.
    #[must_use]
    pub fn term(&self, number: Finite, length: usize) -> f64 {
        self.weighted(self.normalised(number, length).unwrap_or(number))
    }

    /// A normalised number with the weight.
    pub(crate) fn weighted(&self, number: Finite) -> f64 {
        self.settings.weight.get() * number.get()
    }

    /// True if the normaliser reads the length of the reply.
    pub(crate) fn needs_length(&self) -> bool {
        matches!(self.settings.normaliser, Some(Normaliser::LengthDebias { .. }))
    }

    /// True if an abstention of this source may be asked about again, dropped or counted as the
    /// worst verdict: it is fused, and it is not the base.
    pub(crate) fn has_policy(&self) -> bool {
        matches!(self.settings.role, SourceRole::Points | SourceRole::Gate)
    }

    /// The effect of this source's abstentions; `None` for a source whose role decides it.
    pub(crate) fn on_abstain(&self, fusion: &FusionConfig) -> Option<OnAbstain> {
        self.has_policy().then(|| self.settings.on_abstain.unwrap_or(fusion.on_abstain))
    }

    /// The actions by cause, if abstentions of this source are treated by cause.
    pub(crate) fn policy(&self, fusion: &FusionConfig) -> Option<AbstainPolicy> {
        match self.on_abstain(fusion)? {
            OnAbstain::ByCause(policy) => Some(policy),
            OnAbstain::Skip | OnAbstain::Null => None,
        }
    }

    /// Everything about this source that shapes a reward; `None` for an audit, which shapes none.
    /// Settings that are the kind's own leave no trace, so that a shorthand and its explicit form
    /// are equal.
    pub(crate) fn shape(&self) -> Option<Value> {
        if self.role() == SourceRole::Audit {
            return None;
        }
        let channel = Channel::of(self.kind(), self.kind().default_role());
        let mut shape = json!({
            "id": self.id(),
            "channel": channel.map(|channel| format!("{channel:?}")),
            "identity": self.identity(),
        });
        let own = SourceSettings::of_kind(self.kind());
        if let (true, Some(object)) = (*self.settings != own, shape.as_object_mut()) {
            // Only an audit has a share, and it is not here.
            let SourceSettings { role, weight, normaliser, on_abstain, share: _ } = &*self.settings;
            let settings = json!({
                "role": role.as_str(),
                "weight": weight,
                "normalise": normaliser,
                "on_abstain": on_abstain,
            });
            object.insert("settings".to_owned(), settings);
        }
        Some(shape)
    }

    /// The settings and the version, for `versions.settings` of a reply.
    pub(crate) fn report(&self) -> Value {
        let SourceSettings { role, weight, normaliser, on_abstain, share } = &*self.settings;
        let mut report = json!({ "kind": self.kind().as_str(), "role": role.as_str() });
        if let Some(object) = report.as_object_mut() {
            if *weight != Finite::ONE {
                object.insert("weight".to_owned(), json!(weight));
            }
            if let Some(normaliser) = normaliser {
                object.insert("normalise".to_owned(), json!(normaliser));
            }
            if let Some(on_abstain) = on_abstain {
                object.insert("on_abstain".to_owned(), json!(on_abstain));
            }
            if let Some(share) = share {
                object.insert("share".to_owned(), json!(share));
            }
            if let Some(version) = self.version_text() {
                object.insert("version".to_owned(), json!(version));
            }
        }
        report
    }
}

impl From<Arc<dyn RewardSource>> for ScorerSource {
    /// `source` with the settings of its kind.
    fn from(source: Arc<dyn RewardSource>) -> Self {
        let settings = SourceSettings::of_kind(source.kind());
        Self::new(source, settings)
    }
}

impl Deref for ScorerSource {
    type Target = dyn RewardSource;

    fn deref(&self) -> &Self::Target {
        self.source.as_ref()
    }
}

//! The sources of a profile before they are built: shorthands and `sources` tables in one list, with
//! roles, and checked as far as that needs no file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use guerdon_fusion::SourceSettings;
use guerdon_judge::Pooling;
use guerdon_remote::{HttpSourceConfig, RemoteRmConfig};
use guerdon_text::did_you_mean;
use guerdon_types::{
    Finite, FusionConfig, FusionMethod, InnerMethod, NormaliserConfig, OnAbstain, SourceId,
    SourceKind, SourceRole, Vocabulary as _,
};

use crate::config::{
    EnsembleKeys, JudgeKeys, JudgingConfig, ModelKeys, ProfileConfig, RulesKeys, SourceConfig,
    SourceKeys, SourceSettingsConfig,
};
use crate::error::LoadError;

/// The sources of a profile in the order of the reply: by kind, then by name. It does not depend on
/// the order of a configuration file.
#[derive(Debug, Default)]
pub(super) struct ProfilePlan<'a> {
    pub(super) sources: Vec<PlannedSource<'a>>,
    pub(super) fusion: FusionConfig,
    /// Set if the profile has `sources` tables: replies then have the part of every source.
    pub(super) is_explicit: bool,
}

/// A source with its settings.
#[derive(Debug)]
pub(super) struct PlannedSource<'a> {
    pub(super) id: SourceId,
    pub(super) keys: PlannedKeys<'a>,
    pub(super) settings: SourceSettings,
    pub(super) timeout: Option<Duration>,
    /// The normaliser, which is completed when the source is built.
    pub(super) normalise: Option<&'a NormaliserConfig>,
    /// The file with the moments of the normaliser.
    pub(super) normalise_state: Option<&'a Path>,
}

/// The inputs of a source by its kind.
#[derive(Debug, Clone, Copy)]
pub(super) enum PlannedKeys<'a> {
    Model { model: &'a str },
    Judge(PlannedJudge<'a>),
    Rules { rules: &'a [PathBuf] },
    Http(&'a HttpSourceConfig),
    RemoteRm(&'a RemoteRmConfig),
    Ensemble(&'a EnsembleKeys),
}

/// The inputs of a judge.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlannedJudge<'a> {
    /// The name of the judge in the configuration.
    pub(super) judge: &'a str,
    pub(super) prompts: &'a [PathBuf],
    pub(super) panel: &'a [String],
    pub(super) pooling: Pooling,
    /// The probes.
    pub(super) judging: &'a JudgingConfig,
}

impl PlannedKeys<'_> {
    const fn kind(self) -> SourceKind {
        match self {
            Self::Model { .. } => SourceKind::Model,
            Self::Judge(_) => SourceKind::Judge,
            Self::Rules { .. } => SourceKind::Rules,
            Self::Http(_) => SourceKind::Http,
            Self::RemoteRm(_) => SourceKind::RemoteRm,
            Self::Ensemble(_) => SourceKind::Ensemble,
        }
    }
}

/// Plans the sources of profile `name`.
///
/// # Errors
/// [`LoadError::Profile`] for settings that do not fit together.
pub(super) fn plan<'a>(
    name: &str,
    profile: &'a ProfileConfig,
) -> Result<ProfilePlan<'a>, LoadError> {
    let faults = Faults { profile: name };
    let members = faults.members(profile)?;
    let mut sources = Vec::new();
    for (id, keys) in shorthands(profile) {
        if profile.sources.contains_key(id.as_str()) {
            let detail = format!("the shorthand for this source is set, too: {}", key_of(keys));
            return Err(faults.of(id.as_str(), &detail));
        }
        let role = match members.contains_key(id.as_str()) {
            true => SourceRole::Member,
            false => keys.kind().default_role(),
        };
        let settings = SourceSettings::of_role(role);
        sources.push(PlannedSource {
            id,
            keys,
            settings,
            timeout: None,
            normalise: None,
            normalise_state: None,
        });
    }
    for (id, SourceConfig { keys, settings }) in &profile.sources {
        faults.check_name(id)?;
        let keys = planned(keys, &profile.judging);
        let role = match members.get(id.as_str()) {
            Some(ensemble) => faults.member(id, ensemble, settings)?,
            None => role(&faults, id, keys.kind(), settings)?,
        };
        sources.push(PlannedSource {
            id: SourceId::from(id.as_str()),
            keys,
            settings: SourceSettings::of_role(role)
                .with_weight(faults.weight(id, settings)?)
                .with_on_abstain(faults.on_abstain(id, role, settings)?)
                .with_share(faults.share(id, role, settings)?),
            timeout: settings.timeout,
            normalise: settings.normalise.as_ref(),
            normalise_state: settings.normalise_state.as_deref(),
        });
    }
    faults.check_bases(&sources)?;
    sources.sort_by(|a, b| (a.keys.kind(), &a.id).cmp(&(b.keys.kind(), &b.id)));
    let is_explicit = !profile.sources.is_empty();
    let mut fusion = profile.fusion.clone();
    let has_base = sources.iter().any(|source| source.settings.role == SourceRole::Base);
    // Without a base there is nothing to modulate, so the gate stands before the sum.
    if is_explicit && !has_base && fusion.method == FusionMethod::Gated {
        fusion.inner = InnerMethod::WeightedSum;
    }
    Ok(ProfilePlan { sources, fusion, is_explicit })
}

/// The sources of `model =`, `judge =` with `prompts =`, and `rules =`.
fn shorthands(profile: &ProfileConfig) -> impl Iterator<Item = (SourceId, PlannedKeys<'_>)> {
    let model = profile.model.as_deref().map(|model| PlannedKeys::Model { model });
    let judging = &profile.judging;
    let judge = profile.judge.as_deref().map(|judge| {
        PlannedKeys::Judge(PlannedJudge {
            judge,
            prompts: &profile.prompts,
            panel: &judging.panel,
            pooling: judging.pooling,
            judging,
        })
    });
    let rules = (!profile.rules.is_empty()).then_some(PlannedKeys::Rules { rules: &profile.rules });
    let named = [(SourceId::rm(), model), (SourceId::judge(), judge), (SourceId::rules(), rules)];
    named.into_iter().filter_map(|(id, keys)| Some((id, keys?)))
}

const fn key_of(keys: PlannedKeys<'_>) -> &'static str {
    match keys {
        PlannedKeys::Model { .. } => "remove `model` from the profile, or rename this source",
        PlannedKeys::Judge(_) => "remove `judge` from the profile, or rename this source",
        // The others have no shorthand.
        _ => "remove `rules` from the profile, or rename this source",
    }
}

fn planned<'a>(keys: &'a SourceKeys, judging: &'a JudgingConfig) -> PlannedKeys<'a> {
    match keys {
        SourceKeys::Model(ModelKeys { model }) => PlannedKeys::Model { model },
        SourceKeys::Judge(JudgeKeys { judge, prompts, panel, pooling }) => {
            PlannedKeys::Judge(PlannedJudge { judge, prompts, panel, pooling: *pooling, judging })
        }
        SourceKeys::Rules(RulesKeys { rules }) => PlannedKeys::Rules { rules },
        SourceKeys::Http(config) => PlannedKeys::Http(config),
        SourceKeys::RemoteRm(config) => PlannedKeys::RemoteRm(config),
        SourceKeys::Ensemble(keys) => PlannedKeys::Ensemble(keys),
    }
}

/// The role of source `id`: its own, or that of its kind.
fn role(
    faults: &Faults<'_>,
    id: &str,
    kind: SourceKind,
    settings: &SourceSettingsConfig,
) -> Result<SourceRole, LoadError> {
    let role = settings.role.unwrap_or(kind.default_role());
    match (role, kind) {
        (SourceRole::Member, _) => Err(faults
            .of(id, "`role = \"member\"` cannot be set; name this source in `of` of an ensemble")),
        (SourceRole::Gate, SourceKind::Model | SourceKind::RemoteRm) => Err(faults.of(
            id,
            &format!(
                "a source of kind `{}` gives no veto, so it cannot be a gate; choose the role \
                 `base`, `points` or `audit`",
                kind.as_str()
            ),
        )),
        (role, _) => Ok(role),
    }
}

/// Errors of one profile.
struct Faults<'a> {
    profile: &'a str,
}

impl Faults<'_> {
    fn of(&self, source: &str, detail: &str) -> LoadError {
        let profile = format!("{}.sources.{source}", self.profile);
        LoadError::Profile { profile, detail: detail.to_owned() }
    }

    /// The members of ensembles, each with its ensemble.
    fn members<'a>(
        &self,
        profile: &'a ProfileConfig,
    ) -> Result<BTreeMap<&'a str, &'a str>, LoadError> {
        let known: BTreeSet<&str> = shorthands(profile)
            .map(|(id, _)| match id.as_str() {
                "rm" => "rm",
                "judge" => "judge",
                _ => "rules",
            })
            .chain(profile.sources.keys().map(String::as_str))
            .collect();
        let mut members = BTreeMap::new();
        for (name, config) in &profile.sources {
            let SourceKeys::Ensemble(keys) = &config.keys else { continue };
            self.check_ensemble(name, keys, &known)?;
            members.extend(keys.of.iter().map(|member| (member.as_str(), name.as_str())));
        }
        for name in profile.sources.keys() {
            self.check_circle(profile, &mut vec![name])?;
        }
        Ok(members)
    }

    fn check_ensemble(
        &self,
        name: &str,
        keys: &EnsembleKeys,
        known: &BTreeSet<&str>,
    ) -> Result<(), LoadError> {
        keys.combine().check().map_err(|invalid| self.of(name, &invalid.to_string()))?;
        if keys.of.is_empty() {
            let detail = "`of` is empty; name the sources that it combines";
            return Err(self.of(name, detail));
        }
        let mut seen = BTreeSet::new();
        for member in &keys.of {
            if !known.contains(member.as_str()) {
                let others = known.iter().copied().filter(|other| *other != name);
                let hint = did_you_mean(member, others.clone());
                let hint = hint.map(|hint| format!("\n  help: {hint}")).unwrap_or_default();
                let others: Vec<_> = others.map(|other| format!("`{other}`")).collect();
                let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
                let member = guerdon_text::quote(member);
                let detail = format!(
                    "`of` names {member}, and the profile has no such source; its other sources: \
                     {others}{hint}"
                );
                return Err(self.of(name, &detail));
            }
            if !seen.insert(member) {
                return Err(self.of(name, &format!("`of` names `{member}` twice; remove one")));
            }
        }
        Ok(())
    }

    /// Follows the members of the last source of `path`.
    fn check_circle<'a>(
        &self,
        profile: &'a ProfileConfig,
        path: &mut Vec<&'a str>,
    ) -> Result<(), LoadError> {
        let keys = path.last().and_then(|last| profile.sources.get(*last)).map(|one| &one.keys);
        let Some(SourceKeys::Ensemble(EnsembleKeys { of, .. })) = keys else { return Ok(()) };
        for member in of {
            let is_back = path.contains(&member.as_str());
            path.push(member);
            if is_back {
                let path: Vec<String> = path.iter().map(|name| format!("`{name}`")).collect();
                let detail = format!(
                    "ensembles name each other in a circle: {}; remove one of these members",
                    path.join(" -> ")
                );
                return Err(self.of(member, &detail));
            }
            self.check_circle(profile, path)?;
            path.pop();
        }
        Ok(())
    }

    /// The role of a member of `ensemble`.
    fn member(
        &self,
        source: &str,
        ensemble: &str,
        settings: &SourceSettingsConfig,
    ) -> Result<SourceRole, LoadError> {
        match settings.role {
            None | Some(SourceRole::Audit) => Ok(SourceRole::Member),
            Some(role) => Err(self.of(
                source,
                &format!(
                    "it is a member of the ensemble `{ensemble}`, which alone is fused, so it cannot \
                     have the role `{}`; remove `role`",
                    role.as_str()
                ),
            )),
        }
    }

    /// Names are parts of metric labels, URLs and JSON keys.
    fn check_name(&self, source: &str) -> Result<(), LoadError> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if !source.is_empty() && source.len() <= 64 && source.chars().all(is_word) {
            return Ok(());
        }
        let detail = "a source's name has 1 to 64 letters, digits, `_`, `-` or `.`; rename it";
        Err(self.of(source, detail))
    }

    /// `weight` times `scale`.
    fn weight(&self, source: &str, settings: &SourceSettingsConfig) -> Result<Finite, LoadError> {
        for (key, value) in [("weight", settings.weight), ("scale", settings.scale)] {
            if value.get() < 0.0 {
                let detail =
                    format!("`{key}` is {value}; a negative one would reverse the source's value");
                return Err(self.of(source, &detail));
            }
        }
        let product = settings.weight.get() * settings.scale.get();
        Finite::new(product)
            .map_err(|_| self.of(source, "`weight` times `scale` is not finite; lower one of them"))
    }

    fn on_abstain(
        &self,
        source: &str,
        role: SourceRole,
        settings: &SourceSettingsConfig,
    ) -> Result<Option<OnAbstain>, LoadError> {
        let why = match (role, settings.on_abstain) {
            (SourceRole::Base, Some(_)) => "an abstention of the base always leaves no reward",
            (SourceRole::Audit, Some(_)) => "an audit is never fused",
            (SourceRole::Member, Some(OnAbstain::Skip)) => return Ok(settings.on_abstain),
            (SourceRole::Member, Some(_)) => {
                "a member of an ensemble can only have \"skip\", which leaves it out"
            }
            (_, on_abstain) => return Ok(on_abstain),
        };
        Err(self.of(source, &format!("`on_abstain` has no effect: {why}; remove it")))
    }

    fn share(
        &self,
        source: &str,
        role: SourceRole,
        settings: &SourceSettingsConfig,
    ) -> Result<Option<Finite>, LoadError> {
        let Some(share) = settings.share else { return Ok(None) };
        if role != SourceRole::Audit {
            let detail = format!(
                "`share` leaves groups out, and a source with the role `{}` counts in every reward; set \
                 role = \"audit\", or remove it",
                role.as_str()
            );
            return Err(self.of(source, &detail));
        }
        if share.get() > 0.0 && share.get() <= 1.0 {
            return Ok(Some(share));
        }
        let detail =
            format!("`share` is {share}; write a number above 0 and at most 1, such as 0.02");
        Err(self.of(source, &detail))
    }

    /// A profile has one base at most.
    fn check_bases(&self, sources: &[PlannedSource<'_>]) -> Result<(), LoadError> {
        let bases: Vec<&str> = sources
            .iter()
            .filter(|source| source.settings.role == SourceRole::Base)
            .map(|source| source.id.as_str())
            .collect();
        if bases.len() < 2 {
            return Ok(());
        }
        let named: Vec<String> = bases.iter().map(|name| format!("`{name}`")).collect();
        let of: Vec<String> = bases.iter().map(|name| format!("\"{name}\"")).collect();
        let detail = format!(
            "{} sources have the role `base`: {}; a reward has one base\n  help: combine them with \
             [profiles.{}.sources.NAME] kind = \"ensemble\", of = [{}], or give all but one \
             another `role`, such as \"audit\"",
            bases.len(),
            named.join(", "),
            self.profile,
            of.join(", "),
        );
        Err(LoadError::Profile { profile: self.profile.to_owned(), detail })
    }
}

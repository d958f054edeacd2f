//! One immutable snapshot of configuration, profiles and tokens. A request reads the snapshot once,
//! so it sees either all of a reload or none of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use guerdon_fusion::{RewardSource as _, Scorer};
use guerdon_judge::{JudgeSource, JudgeStatus};
use guerdon_model::Model;
use guerdon_rules::RulePacks;
use guerdon_types::{
    ConfigDigest, Expectation, Invalid, ProblemCode, ProfileInfo, ProfileName, SourceId, SourceInfo,
};

use crate::config::{Config, JudgingConfig};
use crate::engine::rollout_rubrics::RolloutRubrics;
use crate::http::auth::Auth;
use crate::observe::metrics::ProfileMetrics;

/// Configuration, profiles and tokens of one generation.
#[derive(Debug)]
pub struct Snapshot {
    /// The generation, from 1. It counts loads and rollbacks since the server started.
    pub generation: u64,
    /// The configuration that it was built from.
    pub config: Config,
    /// The profile for requests that name none.
    pub default_profile: ProfileName,
    /// Every profile, by name.
    pub profiles: BTreeMap<String, Profile>,
    /// The reward models of all profiles, by name.
    pub models: Vec<(String, Arc<Model>)>,
    /// The tokens of clients.
    pub auth: Auth,
    /// Every file that was read. A change to one of them triggers a reload.
    pub files: Vec<PathBuf>,
    /// The rubrics that come with rollouts.
    pub(crate) rubrics: RolloutRubrics,
}

/// One profile, ready to score.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its name.
    pub name: ProfileName,
    /// Its sources and fusion.
    pub scorer: Scorer,
    /// The rule packs of its sources, for `GET /v1/rules`.
    pub packs: Vec<Arc<RulePacks>>,
    /// Its judges, for probes.
    pub judges: Vec<ProfileJudge>,
    /// Named paths that are missing or empty and that `allow_empty` accepts.
    pub empty: Vec<PathBuf>,
    /// The metrics of its rewards.
    pub(crate) metrics: Arc<ProfileMetrics>,
}

/// A judge of a profile, for probes.
#[derive(Debug, Clone)]
pub struct ProfileJudge {
    /// The source.
    pub source: Arc<JudgeSource>,
    /// The names of its judges in the configuration, in the order of
    /// [`JudgeSource::judges`].
    pub names: Vec<String>,
    /// Its panel, pooling and probes.
    pub judging: JudgingConfig,
}

impl Profile {
    /// Checks that this profile is the one that a request expects.
    ///
    /// # Errors
    /// [`Invalid`] with the code `conflict` and both digests.
    pub(crate) fn check_digest(&self, expected: &ConfigDigest) -> Result<(), Invalid> {
        check_digest(self.name.as_str(), self.scorer.digest(), expected, "/expect/digest")
    }
}

/// Checks that a profile has the digest that a request expects. `pointer` is the place of the
/// expectation.
///
/// # Errors
/// [`Invalid`] with the code `conflict` and both digests.
pub(crate) fn check_digest(
    profile: &str,
    digest: &ConfigDigest,
    expected: &ConfigDigest,
    pointer: &str,
) -> Result<(), Invalid> {
    if digest == expected {
        return Ok(());
    }
    let detail =
        format!("profile `{profile}` has the digest {digest}, and the request expects {expected}");
    Err(Invalid::new(ProblemCode::Conflict, pointer, detail).hint(
        "give every server the same configuration, rule packs, prompts and model, or expect the \
         digest in `versions.digest` of /v1/info",
    ))
}

impl Snapshot {
    /// A copy with the profiles of `older`: its models, packs, prompts, rubrics and fusion. Tokens and
    /// limits stay, so that a rollback does not restore a token that was removed.
    #[must_use]
    pub fn rolled_back_to(&self, older: &Self, generation: u64) -> Self {
        Self {
            generation,
            config: self.config.clone(),
            default_profile: older.default_profile.clone(),
            profiles: older.profiles.clone(),
            models: older.models.clone(),
            auth: self.auth.clone(),
            files: self.files.clone(),
            rubrics: older.rubrics.clone(),
        }
    }

    /// The profile called `name`, or the default profile.
    ///
    /// # Errors
    /// [`Invalid`] if there is no such profile; the detail lists the existing profiles.
    pub fn profile(&self, name: Option<&ProfileName>) -> Result<&Profile, Invalid> {
        let name = name.unwrap_or(&self.default_profile);
        self.profiles.get(name.as_str()).ok_or_else(|| {
            let known: Vec<_> = self.profiles.keys().map(|known| format!("`{known}`")).collect();
            let names = self.profiles.keys().map(String::as_str);
            let hint = guerdon_text::did_you_mean(name.as_str(), names);
            let hint =
                hint.unwrap_or_else(|| "name one of these, or leave `profile` out".to_owned());
            let name = guerdon_text::quote(name.as_str());
            let detail = format!("unknown profile {name}; this server has {}", known.join(", "));
            Invalid::new(ProblemCode::UnknownProfile, "/profile", detail).hint(hint)
        })
    }

    /// Checks that the profiles that `expected` lists by name have its digests.
    ///
    /// # Errors
    /// [`Invalid`] with the code `conflict`, or `unknown_profile`.
    pub(crate) fn check_listed(&self, expected: &Expectation) -> Result<(), Invalid> {
        for (name, wanted) in &expected.profiles {
            let pointer =
                format!("/expect/profiles/{}", name.as_str().replace('~', "~0").replace('/', "~1"));
            let profile = self.profile(Some(name)).map_err(|mut invalid| {
                invalid.pointer.clone_from(&pointer);
                invalid
            })?;
            check_digest(name.as_str(), profile.scorer.digest(), wanted, &pointer)?;
        }
        Ok(())
    }

    /// Every judge, by the name of its profile, or `profile/source` for a source that is not called
    /// `judge`.
    pub(crate) fn judges(&self) -> impl Iterator<Item = (String, &ProfileJudge)> {
        self.profiles.iter().flat_map(|(name, profile)| {
            profile.judges.iter().map(move |judge| {
                let id = judge.source.id();
                let is_usual = *id == SourceId::judge();
                (if is_usual { name.clone() } else { format!("{name}/{id}") }, judge)
            })
        })
    }

    /// The state of every judge that a profile asks, by its name in the configuration.
    pub(crate) fn judge_statuses(&self) -> Vec<(String, JudgeStatus)> {
        let mut statuses = BTreeMap::new();
        for ProfileJudge { source, names, .. } in self.profiles.values().flat_map(|one| &one.judges)
        {
            for (name, endpoint) in names.iter().zip(source.judges()) {
                statuses.extend(endpoint.statuses(name));
            }
        }
        statuses.into_iter().collect()
    }

    /// The profiles for the reply of `GET /v1/info`.
    #[must_use]
    pub fn profile_infos(&self) -> BTreeMap<String, ProfileInfo> {
        let info = |profile: &Profile| ProfileInfo {
            sources: profile
                .scorer
                .sources()
                .iter()
                .map(|source| SourceInfo { id: source.id().clone(), about: source.about() })
                .collect(),
            versions: profile.scorer.versions(profile.name.clone(), self.generation),
            empty: profile.empty.iter().map(|path| path.display().to_string()).collect(),
        };
        self.profiles.iter().map(|(name, profile)| (name.clone(), info(profile))).collect()
    }
}

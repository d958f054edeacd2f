//! Reward sources and their fusion, which never change: a rollout sees one generation.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use guerdon_text::{did_you_mean, quote};
use guerdon_types::{
    ConfigDigest, FusionConfig, FusionPatch, Invalid, ProblemCode, ProfileName, Rollout,
    RolloutResult, Signal, SourceId, SourceKind, SourceRole, Usage, Versions,
};

use crate::source_signals::signals;
use crate::sources::{EnsemblePlaces, in_order};
use crate::{Ask, RewardSource, ScorerSource, SourceVersion, digest};

/// Reward sources and the fusion that combines their signals.
#[derive(Debug, Clone)]
pub struct Scorer {
    sources: Vec<ScorerSource>,
    /// The ensembles among them, members first.
    ensembles: Vec<EnsemblePlaces>,
    fusion: FusionConfig,
    /// Set if results have the part of every source by name.
    reports_parts: bool,
    /// Of the sources and the fusion that this scorer was made with.
    digest: ConfigDigest,
    client: u64,
    request_bytes: usize,
    step: Option<u64>,
    compared: Option<Arc<ComparedRules>>,
}

/// The rules and the fusion of another generation, evaluated for comparison.
#[derive(Debug)]
pub(crate) struct ComparedRules {
    pub(crate) generation: u64,
    pub(crate) rules: Vec<ScorerSource>,
    pub(crate) fusion: FusionConfig,
}

impl Scorer {
    /// A scorer that asks `sources` in the roles of their kinds; the reply lists them in this order.
    #[must_use]
    pub fn new(sources: Vec<Arc<dyn RewardSource>>, fusion: FusionConfig) -> Self {
        Self::with_settings(sources.into_iter().map(ScorerSource::from).collect(), fusion)
    }

    /// A scorer that asks `sources`; the reply lists them in this order.
    #[must_use]
    pub fn with_settings(sources: Vec<ScorerSource>, fusion: FusionConfig) -> Self {
        let digest = digest::of(&sources, &fusion);
        let (client, request_bytes, compared) = (0, 0, None);
        let ensembles = in_order(&sources);
        Self {
            sources,
            ensembles,
            fusion,
            reports_parts: false,
            digest,
            client,
            request_bytes,
            step: None,
            compared,
        }
    }

    /// The sources.
    #[must_use]
    pub fn sources(&self) -> &[ScorerSource] {
        &self.sources
    }

    /// A copy whose results have the part of every source by name, in one form for all kinds.
    #[must_use]
    pub fn reporting_parts(self) -> Self {
        Self { reports_parts: true, ..self }
    }

    pub(crate) const fn reports_parts(&self) -> bool {
        self.reports_parts
    }

    /// The fusion.
    #[must_use]
    pub const fn fusion(&self) -> &FusionConfig {
        &self.fusion
    }

    /// The digest of everything that shapes a reward: the sources' identities, the fusion and
    /// [`SCORING_REVISION`](crate::SCORING_REVISION). A [narrowed](Self::narrowed) copy keeps the
    /// digest of its origin.
    #[must_use]
    pub const fn digest(&self) -> &ConfigDigest {
        &self.digest
    }

    /// A copy for one request, with a subset of the sources and a patched fusion.
    ///
    /// # Errors
    /// [`Invalid`] if a source is not among this scorer's, the patched fusion breaks a law, or it
    /// needs the RM and the RM was left out.
    pub fn narrowed(
        &self,
        sources: Option<&[SourceId]>,
        patch: Option<&FusionPatch>,
    ) -> Result<Self, Invalid> {
        let mut narrowed = self.clone();
        if let Some(wanted) = sources {
            if let Some((index, unknown)) = wanted.iter().enumerate().find(|(_, id)| !self.has(id))
            {
                return Err(self.unknown(unknown, &format!("/sources/{index}")));
            }
            let wanted = self.with_members(wanted);
            narrowed.sources.retain(|source| wanted.contains(source.id()));
            narrowed.ensembles = in_order(&narrowed.sources);
        }
        if narrowed.sources.iter().any(|source| source.running().is_some()) {
            narrowed.sources = narrowed.sources.iter().map(ScorerSource::at_this_time).collect();
        }
        if let Some(patch) = patch {
            narrowed.fusion = self.fusion.patched(patch)?;
        }
        narrowed.check()?;
        Ok(narrowed)
    }

    /// A copy that asks on behalf of `client`: see [`Ask::client`].
    #[must_use]
    pub fn for_client(self, client: u64) -> Self {
        Self { client, ..self }
    }

    /// A copy for a request of about `request_bytes` bytes: see [`Ask::request_bytes`].
    #[must_use]
    pub fn of_request(self, request_bytes: usize) -> Self {
        Self { request_bytes, ..self }
    }

    /// A copy for a request of `step`: see [`Ask::step`].
    #[must_use]
    pub fn at_step(self, step: Option<u64>) -> Self {
        Self { step, ..self }
    }

    /// A copy that also evaluates the rules and the fusion of `other` on each turn, for comparison.
    /// The reward model and the judge are asked once: their signals are used for both.
    #[must_use]
    pub fn compared_with(self, other: &Self, generation: u64) -> Self {
        let rules = other.sources.iter().filter(|source| source.kind() == SourceKind::Rules);
        let other = ComparedRules {
            generation,
            rules: rules.cloned().collect(),
            fusion: other.fusion.clone(),
        };
        Self { compared: Some(Arc::new(other)), ..self }
    }

    /// True if a source asks the rubrics that come with rollouts.
    #[must_use]
    pub fn takes_rubrics(&self) -> bool {
        self.sources.iter().any(|source| source.takes_rubrics())
    }

    /// The expected wait until every source accepts work of this scorer's client again; `None` if
    /// all do now.
    #[must_use]
    pub fn full_for(&self) -> Option<Duration> {
        self.sources.iter().filter_map(|source| source.full_for_client(self.client)).max()
    }

    /// The ensembles, members first.
    pub(crate) fn ensembles(&self) -> &[EnsemblePlaces] {
        &self.ensembles
    }

    /// The `wanted` sources with the members of the ensembles among them.
    fn with_members(&self, wanted: &[SourceId]) -> BTreeSet<SourceId> {
        let mut all: BTreeSet<SourceId> = wanted.iter().cloned().collect();
        // Members come first, so that an ensemble is seen before them in the reverse order.
        for EnsemblePlaces { place, .. } in self.ensembles.iter().rev() {
            let Some(source) = self.sources.get(*place).filter(|one| all.contains(one.id())) else {
                continue;
            };
            if let Some(ensemble) = source.ensemble() {
                all.extend(ensemble.of.iter().cloned());
            }
        }
        all
    }

    /// The error of a source at `pointer` that this scorer does not have.
    fn unknown(&self, id: &SourceId, pointer: &str) -> Invalid {
        let known = || self.sources.iter().map(|source| source.id().as_str());
        let listed: Vec<_> = known().map(|id| format!("`{id}`")).collect();
        let detail = format!(
            "this profile has no source {}; it has {}",
            quote(id.as_str()),
            listed.join(", ")
        );
        let hint = did_you_mean(id.as_str(), known()).unwrap_or_else(|| {
            "name sources of this profile, choose another `profile`, or leave `sources` out"
                .to_owned()
        });
        Invalid::new(ProblemCode::UnknownSource, pointer, detail).hint(hint)
    }

    fn has(&self, id: &SourceId) -> bool {
        self.sources.iter().any(|source| source.id() == id)
    }

    /// Checks that the fusion can work with these sources.
    ///
    /// # Errors
    /// [`Invalid`] if there is no source, or the fusion needs the RM and no source is one.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.sources.is_empty() {
            return Err(Invalid::new(
                ProblemCode::FusionNeedsSource,
                "/sources",
                "no source is selected",
            )
            .hint("name at least one source, or leave `sources` out"));
        }
        let has = |role: SourceRole| self.sources.iter().any(|source| source.role() == role);
        if !has(SourceRole::Base) && !has(SourceRole::Points) {
            let detail = "none of the sources has a number that is fused: gates only veto, audits are \
                          only reported, and a member counts in its ensemble";
            return Err(Invalid::new(ProblemCode::FusionNeedsSource, "/sources", detail)
                .hint("add a source with the role `base` or `points`, or leave `sources` out"));
        }
        if self.fusion.needs_rm() && !has(SourceRole::Base) {
            let detail = "the fusion modulates the reward model's score, and no reward model is among the sources";
            return Err(Invalid::new(ProblemCode::FusionNeedsSource, "/sources", detail)
                .hint("add `rm` to `sources`, or set `fusion` to {\"method\": \"weighted_sum\"}"));
        }
        Ok(())
    }

    /// The versions of sources and fusion behind this scorer's rewards.
    #[must_use]
    pub fn versions(&self, profile: ProfileName, generation: u64) -> Versions {
        let mut versions = Versions::new(profile, self.fusion.clone(), generation);
        versions.digest = Some(self.digest.to_string());
        let mut settings = serde_json::Map::new();
        for source in &self.sources {
            if self.reports_parts {
                settings.insert(source.id().to_string(), source.report());
            }
            match (source.kind(), source.version()) {
                (_, SourceVersion::Model { hash, calibration }) => {
                    // The model of the base, unless one of several is called `rm`.
                    if versions.rm.is_none() || *source.id() == SourceId::rm() {
                        versions.rm = Some(hash);
                        versions.calibration = Some(calibration.into());
                    }
                }
                (SourceKind::Judge, SourceVersion::Texts(texts)) => versions.judge.extend(texts),
                (SourceKind::Rules, SourceVersion::Texts(texts)) => versions.rules.extend(texts),
                (_, SourceVersion::Texts(texts)) => versions.other.extend(texts),
            }
        }
        if self.reports_parts {
            versions.settings.insert("sources".to_owned(), settings.into());
        }
        versions
    }

    /// Scores one rollout on its own. `index` is its place in the request, and its id if it has none.
    /// A rollout that cannot be scored gets a result with an `error`. Rollouts of one group are
    /// [asked](Self::ask) one by one and [settled](Self::settle) together instead, if the fusion
    /// [settles groups](Self::settles_groups).
    pub async fn score(
        &self,
        index: usize,
        rollout: &Rollout,
        deadline: Option<Instant>,
    ) -> (RolloutResult, Usage) {
        let mut asked = self.ask(index, rollout, deadline).await;
        if self.asks_groups() {
            let group = std::slice::from_mut(&mut asked);
            self.ask_group(group, &[Some(rollout)], None, deadline).await;
        }
        if self.wants_second_ask(&asked) {
            self.ask_again(&mut asked, rollout, deadline).await;
        }
        self.settle_alone(asked)
    }

    pub(crate) fn compared(&self) -> Option<&ComparedRules> {
        self.compared.as_deref()
    }

    pub(crate) const fn client(&self) -> u64 {
        self.client
    }

    pub(crate) const fn step(&self) -> Option<u64> {
        self.step
    }

    pub(crate) const fn request_bytes(&self) -> usize {
        self.request_bytes
    }
}

impl ComparedRules {
    /// The signals of each of its rules sources, one for each turn.
    pub(crate) async fn signals(&self, ask: Ask<'_>) -> Vec<Vec<Signal>> {
        let mut answers = Vec::with_capacity(self.rules.len());
        for source in &self.rules {
            answers.push(signals(&**source, ask).await);
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use guerdon_types::{
        AbstainReason, AbstainWhy, Abstention, Finite, Message, OtherPart, Part, Role, ScoreTurns,
    };

    use super::*;
    use crate::BoxFuture;

    /// A source that returns the same signals for every rollout.
    #[derive(Debug)]
    struct FixedSource {
        id: SourceId,
        kind: SourceKind,
        signals: Vec<Signal>,
    }

    impl RewardSource for FixedSource {
        fn id(&self) -> &SourceId {
            &self.id
        }
        fn kind(&self) -> SourceKind {
            self.kind
        }
        fn about(&self) -> String {
            "returns fixed signals".into()
        }
        fn version(&self) -> SourceVersion {
            SourceVersion::Texts([(self.id.to_string(), "sha256:0".to_owned())].into())
        }
        fn score<'a>(&'a self, _: Ask<'a>) -> BoxFuture<'a, Vec<Signal>> {
            async { self.signals.clone() }.boxed()
        }
    }

    fn points(points: i32) -> Signal {
        Signal::scored(Part::Other(OtherPart {
            points: Finite::from(points),
            ..OtherPart::default()
        }))
    }

    fn source(id: &str, kind: SourceKind, signals: Vec<Signal>) -> Arc<dyn RewardSource> {
        Arc::new(FixedSource { id: id.into(), kind, signals })
    }

    fn two_turns() -> Rollout {
        let messages = vec![
            Message::new(Role::Assistant, "a"),
            Message::new(Role::User, "b"),
            Message::new(Role::Assistant, "c"),
        ];
        Rollout { messages, score: ScoreTurns::ALL, ..Rollout::default() }
    }

    fn score(scorer: &Scorer) -> RolloutResult {
        scorer.score(7, &two_turns(), None).now_or_never().unwrap().0
    }

    #[test]
    fn every_turn_gets_its_own_fused_reward() {
        let scorer = Scorer::new(
            vec![
                source("base", SourceKind::Model, vec![points(2), points(-2)]),
                source("patch", SourceKind::External, vec![points(-50), points(-50)]),
            ],
            FusionConfig::default(),
        );
        let result = score(&scorer);
        let rewards: Vec<_> = result.turns.iter().map(|t| t.reward.unwrap()).collect();
        assert_eq!(rewards, vec![Finite::from(1), Finite::from(-3)]);
        assert_eq!(result.reward, Some(Finite::from(-3)));
        assert_eq!(result.id.as_str(), "7");
    }

    #[test]
    fn source_with_too_few_signals_abstains_on_every_turn() {
        let scorer = Scorer::new(
            vec![source("base", SourceKind::Model, vec![points(2)])],
            FusionConfig::default(),
        );
        let result = score(&scorer);
        assert_eq!(result.reward, None);
        assert_eq!(result.turns[0].abstained[0].why, AbstainWhy::Internal);
        assert!(result.error.unwrap().detail.contains("1 signals for 2 turns"));
    }

    #[test]
    fn abstaining_base_leaves_the_reward_null_and_keeps_the_other_parts() {
        let silent =
            Signal::abstained(Abstention::new("base".into(), AbstainWhy::Deadline, "too late"));
        let scorer = Scorer::new(
            vec![
                source("base", SourceKind::Model, vec![points(1), silent]),
                source("patch", SourceKind::External, vec![points(-50), points(-50)]),
            ],
            FusionConfig::default(),
        );
        let result = score(&scorer);
        assert_eq!(result.reward, None);
        assert_eq!(result.turns[0].reward, Some(Finite::new(0.5).unwrap()));
        assert_eq!(result.turns[1].enhancement, Some(Finite::from(-50)));
        assert_eq!(result.error.unwrap().code, ProblemCode::Unscored);
    }

    #[test]
    fn a_dialogue_that_the_model_can_never_read_is_an_invalid_rollout() {
        let refused = Abstention::new("base".into(), AbstainWhy::Malformed, "roles must alternate")
            .because(AbstainReason::Unreadable);
        let signals = vec![points(1), Signal::abstained(refused)];
        let scorer =
            Scorer::new(vec![source("base", SourceKind::Model, signals)], FusionConfig::default());
        let problem = score(&scorer).error.unwrap();
        assert_eq!(problem.status, 422);
        assert_eq!(problem.code, ProblemCode::InvalidRequest);
        assert_eq!(problem.pointer.as_deref(), Some("/rollouts/7/messages"));
        assert!(problem.detail.contains("roles must alternate"), "{problem:?}");
        assert!(problem.hint.unwrap().contains("does not help"));
    }

    #[test]
    fn narrowed_scorer_keeps_the_digest_of_its_origin() {
        let sources = || vec![source("base", SourceKind::Model, Vec::new())];
        let scorer = Scorer::new(sources(), FusionConfig::default());
        let patch = serde_json::from_str(r#"{"bound": 7}"#).unwrap();
        let narrowed = scorer.narrowed(None, Some(&patch)).unwrap();
        assert_eq!(narrowed.digest(), scorer.digest());
        assert_eq!(
            narrowed.versions("p".into(), 3).digest.as_deref(),
            Some(scorer.digest().as_str())
        );
        let other = Scorer::new(sources(), narrowed.fusion().clone());
        assert_ne!(other.digest(), scorer.digest());
        let renamed =
            Scorer::new(vec![source("b", SourceKind::Model, Vec::new())], FusionConfig::default());
        assert_ne!(renamed.digest(), scorer.digest());
    }

    #[test]
    fn leaving_out_the_base_requires_a_fusion_without_it() {
        let scorer = Scorer::new(
            vec![
                source("base", SourceKind::Model, Vec::new()),
                source("patch", SourceKind::External, Vec::new()),
            ],
            FusionConfig::default(),
        );
        let only: [SourceId; 1] = ["patch".into()];
        assert_eq!(
            scorer.narrowed(Some(&only), None).unwrap_err().code,
            ProblemCode::FusionNeedsSource
        );
        let sum = serde_json::from_str(r#"{"method": "weighted_sum"}"#).unwrap();
        assert_eq!(scorer.narrowed(Some(&only), Some(&sum)).unwrap().sources().len(), 1);
        let unknown: [SourceId; 1] = ["pach".into()];
        assert_eq!(scorer.narrowed(Some(&unknown), None).unwrap_err().pointer, "/sources/0");
    }
}

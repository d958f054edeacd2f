//! The compiled packs: one immutable value that every request holds a share of.

use std::collections::BTreeMap;
use std::time::SystemTime;

use guerdon_types::{Finite, Rollout, RulesPart};
use serde::{Deserialize, Serialize};

use crate::engine::compile::Compiled;
use crate::engine::eval::{self, Dialogue, Evaluation, Scene};
use crate::engine::plan::Plan;
use crate::syntax::expiry::Occasion;
use crate::syntax::pack::Pack;
use guerdon_text::Report;
use guerdon_text::SourceText;

/// Rule packs, compiled. Immutable: a reload makes another.
#[derive(Debug)]
pub struct RulePacks {
    plan: Plan,
    summaries: Vec<PackSummary>,
}

impl RulePacks {
    /// Reads, checks and compiles `packs`, and runs the examples of every rule.
    ///
    /// # Errors
    /// A [`Report`] of all that is wrong, if any of it stops a pack from loading. On success the report holds lints.
    pub fn compile(packs: &[SourceText]) -> Result<(Self, Report), Report> {
        Self::compile_at(packs, SystemTime::now())
    }

    /// As [`RulePacks::compile`], but `expires:` is seen from `now`, so that a test does not age.
    ///
    /// # Errors
    /// As [`RulePacks::compile`].
    pub fn compile_at(packs: &[SourceText], now: SystemTime) -> Result<(Self, Report), Report> {
        Self::compiled(packs, Occasion::load(now))
    }

    /// As [`RulePacks::compile`], for an author: a rule that has expired is an error here, and a warning there.
    ///
    /// # Errors
    /// As [`RulePacks::compile`].
    pub fn check(packs: &[SourceText]) -> Result<(Self, Report), Report> {
        Self::compiled(packs, Occasion::check(SystemTime::now()))
    }

    fn compiled(packs: &[SourceText], occasion: Occasion) -> Result<(Self, Report), Report> {
        let mut compiled = Compiled::new(packs, occasion);
        compiled.run_examples();
        let (parsed, plan, report) = compiled.finish(packs);
        if report.has_errors() {
            return Err(report);
        }
        let summaries =
            packs.iter().zip(parsed).map(|(source, pack)| PackSummary::new(source, pack)).collect();
        Ok((Self { plan, summaries }, report))
    }

    pub(crate) const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What the rules say of message `turn`, judged by what came before it and by the message itself.
    ///
    /// Spans are half-open ranges of Unicode scalar values of that message's content. A rule that reads other messages
    /// (`on:`) tells its places in `detail`.
    #[must_use]
    pub fn evaluate(&self, rollout: &Rollout, turn: usize) -> RulesPart {
        self.evaluate_turns(rollout, &[turn]).pop().unwrap_or_default().part
    }

    /// As [`RulePacks::evaluate`], for several turns of one dialogue: each message is read once, whichever turn asks.
    #[must_use]
    pub fn evaluate_turns(&self, rollout: &Rollout, turns: &[usize]) -> Vec<Evaluation> {
        let dialogue = Dialogue::new(&self.plan, rollout);
        let evaluate = |turn: &usize| {
            eval::evaluate(&self.plan, &Scene::new(&dialogue, *turn), None).unwrap_or_default()
        };
        turns.iter().map(evaluate).collect()
    }

    /// Bytes that the compiled packs hold: literals, regexes and their tables. Lazy tables come on top while rules run,
    /// at most 256 KiB a regex and thread that needs one.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.plan.memory()
    }

    /// What is loaded, for people.
    #[must_use]
    pub fn summaries(&self) -> Vec<PackSummary> {
        self.summaries.clone()
    }

    /// Pack id to `sha256:…` of its text.
    #[must_use]
    pub fn versions(&self) -> BTreeMap<String, String> {
        self.summaries.iter().map(|pack| (pack.id.clone(), pack.hash.clone())).collect()
    }
}

/// A pack, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PackSummary {
    /// Its id.
    pub id: String,
    /// What it guards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Its author's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The languages that its literals are written in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub language: Vec<String>,
    /// `sha256:…` of its text.
    pub hash: String,
    /// Its rules.
    pub rules: Vec<RuleSummary>,
}

/// A rule, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RuleSummary {
    /// Its id.
    pub id: String,
    /// What it forbids or rewards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// What it adds, per turn or per hit.
    pub points: Finite,
    /// Its author's tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Whether it forbids a reward above the floor.
    pub veto: bool,
    /// Whether it is on trial: reported, not counted.
    pub shadow: bool,
}

impl PackSummary {
    fn new(source: &SourceText, pack: Pack) -> Self {
        let rules = pack.rules.into_iter().map(|rule| RuleSummary {
            id: rule.id.value,
            about: rule.about,
            points: Finite::new(rule.points).unwrap_or_default(),
            tags: rule.tags,
            veto: rule.veto,
            shadow: rule.shadow,
        });
        Self {
            id: pack.id.value,
            about: pack.about,
            version: pack.version,
            language: pack.language,
            hash: source.content_hash(),
            rules: rules.collect(),
        }
    }
}

//! The compiled packs, an immutable value that requests share.

use std::collections::BTreeMap;
use std::time::SystemTime;

use guerdon_text::{Finding, Report, SourceText, content_hash};
use guerdon_types::{Finite, Rollout, RulesPart};
use serde::{Deserialize, Serialize};

use crate::engine::compile::{CompiledPacks, WorkBounds};
use crate::engine::eval::{self, DialogueTexts, Evaluation, TurnView};
use crate::engine::plan::RulePlan;
use crate::engine::scan_limit::ScanLimit;
use crate::syntax::codes::PackCode;
use crate::syntax::expiry::ExpiryPolicy;
use crate::syntax::files::PackFilesRef;
use crate::syntax::pack::Pack;

/// Compiled rule packs. They never change; a reload makes new ones.
#[derive(Debug)]
pub struct RulePacks {
    plan: RulePlan,
    summaries: Vec<PackSummary>,
    /// The number of rules of each file.
    rule_counts: Vec<Option<usize>>,
}

/// The hash of a pack: that of its text or, if it imports files, of the hashes of all of them.
fn version<'h>(own: &str, imported: impl Iterator<Item = &'h String>) -> String {
    let mut hashes: Vec<&str> = imported.map(String::as_str).collect();
    if hashes.is_empty() {
        return own.to_owned();
    }
    hashes.insert(0, own);
    content_hash(hashes.join("\n"))
}

impl RulePacks {
    /// Parses, checks and compiles the packs of `files`, and runs the examples of every rule.
    ///
    /// # Errors
    /// Returns a [`Report`] of all errors and warnings if a pack has an error. Without errors, the
    /// report next to the packs holds the warnings.
    pub fn compile<'f>(files: impl Into<PackFilesRef<'f>>) -> Result<(Self, Report), Report> {
        Self::compile_at(files, SystemTime::now())
    }

    /// Like [`RulePacks::compile`], with `now` as the date that `expires:` is compared with.
    ///
    /// # Errors
    /// See [`RulePacks::compile`].
    pub fn compile_at<'f>(
        files: impl Into<PackFilesRef<'f>>,
        now: SystemTime,
    ) -> Result<(Self, Report), Report> {
        Self::compiled(files.into(), ExpiryPolicy::load(now))
    }

    /// Like [`RulePacks::compile`], for authors: an expired rule is an error and not a warning.
    ///
    /// # Errors
    /// See [`RulePacks::compile`].
    pub fn check<'f>(files: impl Into<PackFilesRef<'f>>) -> Result<(Self, Report), Report> {
        Self::compiled(files.into(), ExpiryPolicy::check(SystemTime::now()))
    }

    /// Like [`RulePacks::check`], for packs of a stranger: the work ends at `bounds`, with an error
    /// at the rule that exceeds them.
    ///
    /// # Errors
    /// See [`RulePacks::compile`].
    pub fn check_within<'f>(
        files: impl Into<PackFilesRef<'f>>,
        bounds: &WorkBounds<'_>,
    ) -> Result<(Self, Report), Report> {
        let files = files.into();
        let mut bytes = 0_usize;
        for pack in files.texts {
            bytes = bytes.saturating_add(pack.text.len());
            if bytes > bounds.max_bytes {
                let message = format!("the packs have more than {} bytes", bounds.max_bytes);
                let finding = Finding::new(PackCode::TooLarge, 0..0, message);
                let mut report = Report::default();
                report.add(pack, finding.help("check fewer rules at once"));
                return Err(report);
            }
        }
        Self::bounded(files, ExpiryPolicy::check(SystemTime::now()), bounds)
    }

    fn compiled(files: PackFilesRef<'_>, expiry: ExpiryPolicy) -> Result<(Self, Report), Report> {
        Self::bounded(files, expiry, &WorkBounds::default())
    }

    fn bounded(
        files: PackFilesRef<'_>,
        expiry: ExpiryPolicy,
        bounds: &WorkBounds<'_>,
    ) -> Result<(Self, Report), Report> {
        let mut compiled = CompiledPacks::bounded(bounds, files, expiry);
        compiled.run_examples(bounds.limit);
        let (parsed, plan, report) = compiled.finish(files);
        if report.has_errors() {
            return Err(report);
        }
        let rule_counts = parsed.iter().map(|(pack, _)| pack.as_ref().map(|pack| pack.rules.len()));
        let rule_counts = rule_counts.collect();
        let hashes: Vec<String> = files.texts.iter().map(SourceText::content_hash).collect();
        let summaries = parsed.into_iter().enumerate().filter_map(|(index, (pack, imported))| {
            let imported = imported.iter().filter_map(|other| hashes.get(*other));
            Some(PackSummary::new(pack?, version(hashes.get(index)?, imported)))
        });
        Ok((Self { plan, summaries: summaries.collect(), rule_counts }, report))
    }

    pub(crate) const fn plan(&self) -> &RulePlan {
        &self.plan
    }

    /// Evaluates all rules on message `turn`, which is judged by the messages before it and by
    /// itself.
    ///
    /// Spans are half-open ranges of Unicode scalar values of that message's content. A rule that
    /// reads other messages (`on:`) names its places in `detail`.
    #[must_use]
    pub fn evaluate(&self, rollout: &Rollout, turn: usize) -> RulesPart {
        self.evaluate_turns(rollout, &[turn]).pop().unwrap_or_default().part
    }

    /// Like [`RulePacks::evaluate`], for several turns of one dialogue. Each message is folded and
    /// scanned once.
    #[must_use]
    pub fn evaluate_turns(&self, rollout: &Rollout, turns: &[usize]) -> Vec<Evaluation> {
        let evaluations = self.evaluate_turns_within(rollout, turns, ScanLimit::default());
        evaluations.into_iter().map(Option::unwrap_or_default).collect()
    }

    /// Like [`RulePacks::evaluate_turns`], until `limit` is over. The limit is looked at within
    /// every scan. A turn that was not evaluated to its end is `None`.
    #[must_use]
    pub fn evaluate_turns_within(
        &self,
        rollout: &Rollout,
        turns: &[usize],
        limit: ScanLimit<'_>,
    ) -> Vec<Option<Evaluation>> {
        let dialogue = DialogueTexts::limited(&self.plan, rollout, limit);
        let evaluate = |turn: &usize| {
            eval::evaluate(&self.plan, &TurnView::new(&dialogue, *turn), limit.deadline)
        };
        turns.iter().map(evaluate).collect()
    }

    /// The size of the compiled packs, in bytes: literals, regexes and their tables. While rules
    /// run, lazy tables add at most 256 KiB for each thread and each regex that needs one.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.plan.memory()
    }

    /// Summaries of the packs, for people.
    #[must_use]
    pub fn summaries(&self) -> Vec<PackSummary> {
        self.summaries.clone()
    }

    /// The number of rules of each of the given files; `None` for a file of declarations.
    #[must_use]
    pub fn rule_counts(&self) -> &[Option<usize>] {
        &self.rule_counts
    }

    /// The `sha256:…` of each pack's text, by pack id.
    #[must_use]
    pub fn versions(&self) -> BTreeMap<String, String> {
        self.summaries.iter().map(|pack| (pack.id.clone(), pack.hash.clone())).collect()
    }
}

/// The summary of a pack, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PackSummary {
    /// The id.
    pub id: String,
    /// The purpose of the pack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// The version that its author counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The languages of its literals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub language: Vec<String>,
    /// `sha256:…` of its text, and of the files that it imports.
    pub hash: String,
    /// The rules.
    pub rules: Vec<RuleSummary>,
}

/// The summary of a rule, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RuleSummary {
    /// The id.
    pub id: String,
    /// The behaviour that the rule forbids or rewards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// The points that a turn or a hit adds.
    pub points: Finite,
    /// The tags that its author chose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Set if a hit forbids a reward above the floor.
    pub veto: bool,
    /// Set for a shadow rule, which is reported and not counted.
    pub shadow: bool,
}

impl PackSummary {
    fn new(pack: Pack, hash: String) -> Self {
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
            hash,
            rules: rules.collect(),
        }
    }
}

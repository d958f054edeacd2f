//! `guerdon rescore`: the rewards that a profile as it is configured now would have given to recorded
//! rollouts. Nothing is asked: only what differs is computed, from stored answers and texts.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use guerdon_fusion::{FusionChange, recompute_with};
use guerdon_judge::{Prompts, Rescorer};
use guerdon_ledger::{StoredRollout, open_reader};
use guerdon_rules::RulePacks;
use guerdon_server::config::ProfileConfig;
use guerdon_server::texts::{PROMPTS, packs, texts};
use guerdon_types::{AbstainWhy, Abstention, Finite, FusionConfig, GroupId, SourceId, TurnResult};

use super::select::{for_each, selection};
use crate::cli::LedgerRescoreArgs;
use crate::commands::rescore::{RescoredResult, print_changes, summed};
use crate::commands::workbench::compiled;
use crate::output::outln;

pub(crate) fn run(args: &LedgerRescoreArgs) -> anyhow::Result<ExitCode> {
    let config = args.configuration.source()?.load()?;
    let Some(profile) = config.profiles.get(&args.profile) else {
        let known: Vec<&str> = config.profiles.keys().map(String::as_str).collect();
        bail!("there is no profile `{}`; the configuration has {}", args.profile, known.join(", "));
    };
    let file = args.configuration.file();
    let edited = EditedProfile::load(profile, file.parent().unwrap_or(Path::new("")), args)?;
    let reader = open_reader(&args.ledger)?;
    let (mut results, mut groups) = (Vec::new(), Vec::new());
    for_each(&*reader, &selection(&args.filter)?, |stored| {
        results.push(edited.rescored(&stored));
        groups.push(stored.group.map(GroupId::from));
        Ok(())
    })?;
    let report = summed(results, &groups);
    if args.json {
        outln!("{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        print_changes("rewards", &report)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The rules, the rubrics and the fusion of the profile.
struct EditedProfile {
    fusion: FusionConfig,
    packs: Option<RulePacks>,
    prompts: Option<Prompts>,
    /// The rubrics from before, with the new ones of the same id.
    rescorers: Vec<Rescorer>,
}

impl EditedProfile {
    fn load(
        profile: &ProfileConfig,
        root: &Path,
        args: &LedgerRescoreArgs,
    ) -> anyhow::Result<Self> {
        ensure!(
            profile.sources.is_empty(),
            "profile `{}` has `sources` by name, which are not rescored; use `rules`, `judge` and \
             `prompts` of the profile",
            args.profile
        );
        let packs = match profile.rules.is_empty() {
            true => None,
            false => Some(RulePacks::compile(&packs(root, &profile.rules)?)?.0),
        };
        let prompts = match profile.prompts.is_empty() {
            true => None,
            false => Some(Prompts::compile(&texts(root, &profile.prompts, &PROMPTS)?)?.0),
        };
        let rescorers = match args.before.is_empty() {
            true => Vec::new(),
            false => rescorers(profile, root, &compiled(&args.before)?)?,
        };
        Ok(Self { fusion: profile.fusion.clone(), packs, prompts, rescorers })
    }

    fn rescored(&self, stored: &StoredRollout) -> RescoredResult {
        let result = &stored.result;
        let (after, unknown) = match self.reward(stored) {
            Ok(after) => (after, None),
            Err(reason) => (None, Some(reason)),
        };
        RescoredResult { id: result.id.clone(), before: result.reward, after, unknown, ranks: None }
    }

    /// The reward that the profile would have given.
    fn reward(&self, stored: &StoredRollout) -> Result<Option<Finite>, String> {
        let before = stored.versions.fusion.config().ok_or("its fusion is of a later version")?;
        let new_rules = self.packs.as_ref().map(RulePacks::versions).unwrap_or_default();
        let rules_differ = new_rules != stored.versions.rules;
        let changed = self.changed_rubrics(stored)?;
        if !rules_differ && changed.is_empty() && before == self.fusion {
            return Ok(stored.result.reward);
        }
        let fusions = FusionChange { before: &before, after: &self.fusion };
        let edit = |turn: &mut TurnResult| {
            changed.iter().try_for_each(|rescorer| rescore(rescorer, turn))?;
            if rules_differ { self.apply_rules(stored, turn) } else { Ok(()) }
        };
        recompute_with(&stored.result, fusions, edit).map_err(|error| error.to_string())
    }

    /// The rubrics whose text differs.
    fn changed_rubrics(&self, stored: &StoredRollout) -> Result<Vec<&Rescorer>, String> {
        let new = self.prompts.as_ref().map(Prompts::versions).unwrap_or_default();
        let old = &stored.versions.judge;
        if let Some(id) = old.keys().find(|id| !new.contains_key(*id)) {
            return Err(format!("the profile has no rubric `{id}`, which judged it"));
        }
        if let Some(id) = new.keys().find(|id| !old.contains_key(*id)) {
            return Err(format!("rubric `{id}` did not judge it"));
        }
        let differs = new.iter().filter(|(id, hash)| old.get(*id) != Some(hash));
        let rescorer = |(id, _): (&String, &String)| {
            self.rescorers.iter().find(|rescorer| rescorer.prompt() == id).ok_or_else(|| {
                format!("rubric `{id}` differs; name the file from before with --before")
            })
        };
        differs.map(rescorer).collect()
    }

    /// Replaces the part of the rules by that of the profile's rules.
    fn apply_rules(&self, stored: &StoredRollout, turn: &mut TurnResult) -> Result<(), String> {
        let rules = SourceId::rules();
        if turn.rules.is_none() && turn.abstained.iter().any(|one| one.source == rules) {
            return Err("the rules did not answer".to_owned());
        }
        turn.abstained.retain(|one| one.source != rules);
        let Some(packs) = &self.packs else {
            turn.rules = None;
            return Ok(());
        };
        let rollout = stored.rollout.as_ref();
        let rollout = rollout.ok_or("the rules differ, and the ledger keeps no texts")?;
        let part = packs.evaluate(rollout, turn.index);
        if part.abstained.iter().any(|one| !one.shadow) {
            let detail = "a fact is missing";
            turn.abstained.push(Abstention::new(rules, AbstainWhy::MissingContext, detail));
        }
        turn.rules = Some(part);
        Ok(())
    }
}

/// A rescorer for each rubric of the profile that has one from before.
fn rescorers(
    profile: &ProfileConfig,
    root: &Path,
    before: &Prompts,
) -> anyhow::Result<Vec<Rescorer>> {
    let files = texts(root, &profile.prompts, &PROMPTS)?;
    let mut rescorers = Vec::new();
    for file in files {
        let after = Prompts::compile(&[file])?.0;
        let known = before.versions();
        if after.versions().keys().all(|id| known.contains_key(id)) {
            let rescorer = Rescorer::new(&after, Some(before));
            rescorers.push(rescorer.map_err(anyhow::Error::msg).context("--before")?);
        }
    }
    Ok(rescorers)
}

/// Gives the stored verdicts of a turn the new points.
fn rescore(rescorer: &Rescorer, turn: &mut TurnResult) -> Result<(), String> {
    let Some(part) = &turn.judge else { return Ok(()) };
    let judge = SourceId::judge();
    let abstained: Vec<_> =
        turn.abstained.iter().filter(|one| one.source == judge).cloned().collect();
    turn.judge = Some(rescorer.part(part, &abstained)?);
    Ok(())
}

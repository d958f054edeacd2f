//! `guerdon judge rescore`: new numbers of a rubric on stored verdicts and rewards. Nothing is
//! asked.

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use guerdon_fusion::{GroupRanks, group_ranks, recompute};
use guerdon_judge::{CacheConfig, JudgeSource, RescoreReport, Rescorer, Store};
use guerdon_types::{
    Finite, FusionConfig, GroupId, Rollout, RolloutId, RolloutResult, ScoreResponse, StreamLine,
};
use serde::Serialize;

use super::cache::age;
use super::setup::{read, runtime, without_mark};
use super::workbench::{compiled, stored_source};
use crate::cli::RescoreArgs;
use crate::output::outln;

/// The greatest number of printed reasons why results cannot be recomputed.
const SHOWN: usize = 3;

pub(super) fn run(args: &RescoreArgs) -> anyhow::Result<ExitCode> {
    let after = compiled(std::slice::from_ref(&args.prompt))?;
    let before = args.before.as_ref().map(|path| compiled(std::slice::from_ref(path)));
    let before = before.transpose()?;
    let rescorer =
        Rescorer::new(&after, before.as_ref()).map_err(|detail| anyhow::anyhow!(detail))?;
    ensure!(
        args.store.exists(),
        "there is no store at {}; the judge's `cache.path` names the file",
        args.store.display()
    );
    let length = args.store.metadata().map(|metadata| metadata.len()).ok();
    // Opening an empty file would make a store of it.
    ensure!(length != Some(0), "{} is empty, so it is no store", args.store.display());
    let store = Store::open(&args.store, CacheConfig::default().sync)?;
    let since = args.since.as_deref().map(|text| age("--since", text)).transpose()?;
    let answers = rescorer.answers(&store, since)?;
    let rewards = args.results.as_ref().map(|results| rewards(&rescorer, results, args));
    let points = match (&args.results, &args.rollouts) {
        (None, Some(rollouts)) => Some(stored_points(args, rollouts)?),
        _ => None,
    };
    let report = Report { answers, rewards: rewards.transpose()?, points };
    if args.json {
        outln!("{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        print(&report)?;
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Report {
    answers: RescoreReport,
    /// The rewards of `--results`.
    #[serde(skip_serializing_if = "Option::is_none")]
    rewards: Option<RewardReport>,
    /// The points that the prompt gives to `--rollouts`, without results.
    #[serde(skip_serializing_if = "Option::is_none")]
    points: Option<RewardReport>,
}

/// Stored rewards by the new numbers.
#[derive(Serialize)]
pub(super) struct RewardReport {
    /// The results, including those that cannot be recomputed.
    rollouts: usize,
    /// The results with another reward.
    changed: usize,
    /// The results that cannot be recomputed.
    unknown: usize,
    /// The first reasons why results cannot be recomputed.
    reasons: Vec<String>,
    /// The mean of the rewards that are known before and after.
    mean_before: Option<f64>,
    mean_after: Option<f64>,
    /// The groups, and below the groups whose order differs.
    groups: usize,
    reordered: usize,
    results: Vec<RescoredResult>,
}

#[derive(Serialize)]
pub(super) struct RescoredResult {
    pub(super) id: RolloutId,
    pub(super) before: Option<Finite>,
    /// `null` if there is no reward, or if it cannot be recomputed.
    pub(super) after: Option<Finite>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unknown: Option<String>,
    /// The rank in the group, from 1 for the highest reward, before and after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ranks: Option<[Option<usize>; 2]>,
}

/// Recomputes the rewards of a file of results.
fn rewards(rescorer: &Rescorer, path: &Path, args: &RescoreArgs) -> anyhow::Result<RewardReport> {
    ensure!(
        args.before.is_some(),
        "name the prompt that made these results with --before: a result does not list the criteria without points"
    );
    let (stored, reported) = results(path)?;
    let fusion = match reported {
        Some(fusion) => fusion,
        None => configured_fusion(args)?,
    };
    let rescored: Vec<RescoredResult> =
        stored.iter().map(|result| rescored(rescorer, result, &fusion)).collect();
    let groups = args.rollouts.as_ref().map(|path| groups(path, &stored)).transpose()?;
    Ok(summed(rescored, &groups.unwrap_or_default()))
}

/// The prompt's points of each rollout of a file, before and after, from the answers in the store.
fn stored_points(args: &RescoreArgs, path: &Path) -> anyhow::Result<RewardReport> {
    let before = args.before.as_ref().context(
        "name the prompt as it was with --before, to compare the points of these rollouts",
    )?;
    let source = |prompt: &Path| {
        let prompts = compiled(&[prompt.to_owned()])?;
        stored_source(prompts, &args.configuration, &args.store)
    };
    let (before, after) = (source(before)?, source(&args.prompt)?);
    let rollouts = rollouts(path)?;
    let results = runtime()?.block_on(async {
        let mut results = Vec::with_capacity(rollouts.len());
        for (id, rollout) in &rollouts {
            let points = sums(&before, &after, rollout).await;
            let (before, after, unknown) = match points {
                Ok((before, after)) => (Some(before), Some(after), None),
                Err(reason) => (None, None, Some(reason)),
            };
            results.push(RescoredResult { id: id.clone(), before, after, unknown, ranks: None });
        }
        results
    });
    let groups: Vec<_> = rollouts.into_iter().map(|(_, rollout)| rollout.group).collect();
    Ok(summed(results, &groups))
}

/// The sums of the points of a rollout's turns by two prompts.
async fn sums(
    before: &JudgeSource,
    after: &JudgeSource,
    rollout: &Rollout,
) -> Result<(Finite, Finite), String> {
    let (mut old, mut new) = (0.0, 0.0);
    for turn in rollout.turns_to_score().map_err(|error| error.to_string())? {
        let unknown = || format!("turn {turn} has no stored answer");
        old += before.stored(rollout, turn).await.ok_or_else(unknown)?.points.get();
        new += after.stored(rollout, turn).await.ok_or_else(unknown)?.points.get();
    }
    let finite =
        |sum| Finite::new(sum).map_err(|_| "the sum of the points is not finite".to_owned());
    Ok((finite(old)?, finite(new)?))
}

fn rescored(rescorer: &Rescorer, result: &RolloutResult, fusion: &FusionConfig) -> RescoredResult {
    let edited = recompute(result, fusion, |turn| {
        let Some(part) = &turn.judge else { return Ok(()) };
        let judge = guerdon_types::SourceId::judge();
        let abstained: Vec<_> =
            turn.abstained.iter().filter(|one| one.source == judge).cloned().collect();
        turn.judge = Some(rescorer.part(part, &abstained)?);
        Ok(())
    });
    let (after, unknown) = match edited {
        Ok(after) => (after, None),
        Err(error) => (None, Some(error.to_string())),
    };
    RescoredResult { id: result.id.clone(), before: result.reward, after, unknown, ranks: None }
}

pub(super) fn summed(mut results: Vec<RescoredResult>, groups: &[Option<GroupId>]) -> RewardReport {
    // A result that cannot be recomputed has no rank on either side.
    let of = |one: &RescoredResult, reward: Option<Finite>| {
        reward.filter(|_| one.unknown.is_none()).map(Finite::get)
    };
    let before: Vec<_> = results.iter().map(|one| of(one, one.before)).collect();
    let after: Vec<_> = results.iter().map(|one| of(one, one.after)).collect();
    let ranks = group_ranks(groups, &before, &after);
    for GroupRanks { rollouts, before, after, .. } in &ranks {
        for ((index, before), after) in rollouts.iter().zip(before).zip(after) {
            if let Some(result) = results.get_mut(*index) {
                result.ranks = Some([*before, *after]);
            }
        }
    }
    let both: Vec<(f64, f64)> =
        before.iter().zip(&after).filter_map(|(one, other)| Some(((*one)?, (*other)?))).collect();
    let known = |one: &&RescoredResult| one.unknown.is_none();
    let reasons = results.iter().filter_map(|one| {
        let reason = one.unknown.as_ref()?;
        Some(format!("rollout `{}`, {reason}", one.id))
    });
    RewardReport {
        rollouts: results.len(),
        changed: results.iter().filter(known).filter(|one| one.before != one.after).count(),
        unknown: results.iter().filter(|one| one.unknown.is_some()).count(),
        reasons: reasons.take(SHOWN).collect(),
        mean_before: mean(both.iter().map(|(before, _)| *before)),
        mean_after: mean(both.iter().map(|(_, after)| *after)),
        groups: ranks.len(),
        reordered: ranks.iter().filter(|group| group.is_changed()).count(),
        results,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a file has far fewer than 2^52 results")]
fn mean(numbers: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let count = numbers.len();
    (count > 0).then(|| numbers.sum::<f64>() / count as f64)
}

/// The results of a file: lines as `guerdon score` and a streamed reply have them, or a whole reply.
/// Also the fusion, if the file contains it.
fn results(path: &Path) -> anyhow::Result<(Vec<RolloutResult>, Option<FusionConfig>)> {
    let text = read(path)?;
    let text = without_mark(&text);
    if let Ok(ScoreResponse { results, versions, .. }) = serde_json::from_str(text) {
        return Ok((results, versions.fusion.config()));
    }
    let (mut results, mut fusion) = (Vec::new(), None);
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        if let Ok(StreamLine::Summary(summary)) = serde_json::from_str(line) {
            fusion = summary.versions.fusion.config();
            continue;
        }
        let place = || format!("{} line {number} is not a result", path.display());
        results.push(serde_json::from_str(line).with_context(place)?);
    }
    Ok((results, fusion))
}

fn configured_fusion(args: &RescoreArgs) -> anyhow::Result<FusionConfig> {
    let config = args.configuration.source()?.load()?;
    let profile = config.default_profile().and_then(|name| config.profiles.get(name));
    let Some(profile) = profile else {
        bail!("the results do not contain their fusion; name the configuration with --config")
    };
    Ok(profile.fusion.clone())
}

/// The group of each result: that of the rollout with its id, or at its index.
fn groups(path: &Path, results: &[RolloutResult]) -> anyhow::Result<Vec<Option<GroupId>>> {
    let rollouts = rollouts(path)?.into_iter();
    let groups: HashMap<_, _> = rollouts.map(|(id, rollout)| (id, rollout.group)).collect();
    Ok(results.iter().map(|result| groups.get(&result.id).cloned().flatten()).collect())
}

/// The rollouts of a file with their ids, by default their indices.
fn rollouts(path: &Path) -> anyhow::Result<Vec<(RolloutId, Rollout)>> {
    let text = read(path)?;
    let lines = without_mark(&text).lines().filter(|line| !line.trim().is_empty());
    let read = lines.enumerate().map(|(index, line)| {
        let place = || format!("{} rollout {index} cannot be read", path.display());
        let rollout: Rollout = serde_json::from_str(line).with_context(place)?;
        let id = rollout.id.clone().unwrap_or_else(|| RolloutId::from(index.to_string()));
        Ok((id, rollout))
    });
    read.collect()
}

fn print(report: &Report) -> anyhow::Result<()> {
    let Report { answers, rewards, points } = report;
    outln!(
        "`{}`: {} stored answers, {} that the prompt cannot read any more",
        answers.prompt,
        answers.answers,
        answers.unreadable
    )?;
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY);
    table.set_header(["criterion", "level", "chosen", "before", "after"]);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for criterion in &answers.criteria {
        for level in &criterion.levels {
            let before = level.before.map_or_else(|| "-".to_owned(), |points| points.to_string());
            table.add_row([
                criterion.id.clone(),
                level.name.clone(),
                level.chosen.to_string(),
                before,
                level.after.to_string(),
            ]);
        }
    }
    outln!("{table}")?;
    let changed = answers.changed.map(|count| format!("; {count} have other points"));
    outln!(
        "mean points of an answer: {} before, {} after{}",
        shown(answers.mean_before),
        shown(answers.mean_after),
        changed.unwrap_or_default()
    )?;
    if let Some(points) = points {
        print_changes("points", points)?;
    }
    if let Some(rewards) = rewards {
        return print_changes("rewards", rewards);
    }
    outln!(
        "rewards: not known, because a store has no turns and no parts of other sources; add \
         --before OLD.md and --results OUT.jsonl, which `guerdon score` or the server wrote"
    )?;
    Ok(())
}

/// Prints what changes in the rewards or the points of rollouts.
pub(super) fn print_changes(of: &str, changes: &RewardReport) -> anyhow::Result<()> {
    outln!(
        "{of}: {} of {} rollouts differ; mean {} before, {} after",
        changes.changed,
        changes.rollouts,
        shown(changes.mean_before),
        shown(changes.mean_after)
    )?;
    if changes.groups > 0 {
        outln!("groups: {} of {} have another order", changes.reordered, changes.groups)?;
    }
    if changes.unknown > 0 {
        outln!("{} rollouts cannot be recomputed:", changes.unknown)?;
        for reason in &changes.reasons {
            outln!("  {reason}")?;
        }
    }
    Ok(())
}

fn shown(mean: Option<f64>) -> String {
    mean.map_or_else(|| "-".to_owned(), |mean| format!("{mean:.4}"))
}

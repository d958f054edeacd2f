//! The check of a pack's text in place of its file, and what it changes on rollouts.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use guerdon_inspector::{PackChange, PackCheck, Record, RuleChange};
use guerdon_rules::{PackFiles, RulePacks, ScanLimit, WorkBounds};
use guerdon_types::RulesPart;

/// The time after which a check ends.
const MAX_TIME: Duration = Duration::from_secs(10);
/// Bytes, rules and words of the packs of one source, together.
const MAX_BYTES: usize = 16 << 20;
const MAX_RULES: usize = 20_000;
const MAX_WORDS: usize = 400_000;
/// The longest report of a page, in characters.
const MAX_REPORT: usize = 20_000;
/// The most rows of the tables.
const MAX_ROWS: usize = 100;

/// A text to check.
#[derive(Debug)]
pub(super) struct CheckJob {
    /// The packs on disk of every source that has the file. Rollouts are tried on the first.
    pub(super) sets: Vec<PackFiles>,
    pub(super) file: String,
    pub(super) text: String,
    /// Newest first.
    pub(super) records: Vec<Record>,
}

impl CheckJob {
    /// Checks the text. Ends early when `gone` is set.
    pub(super) fn run(self, gone: &AtomicBool) -> PackCheck {
        let limit = ScanLimit { deadline: Instant::now().checked_add(MAX_TIME), stop: Some(gone) };
        let mut check = PackCheck { ok: !self.sets.is_empty(), ..PackCheck::default() };
        let mut edited = None;
        for set in &self.sets {
            let (packs, report) = compiled(&self.replaced(set), limit);
            check.ok &= packs.is_some();
            if !check.report.contains(&report) {
                check.report.push_str(&report);
            }
            edited = edited.or(packs);
        }
        check.report = guerdon_text::cut(&check.report, MAX_REPORT).into_owned();
        if let (true, Some(edited), Some(first)) = (check.ok, edited, self.sets.first()) {
            let before = compiled(first, limit).0;
            check.is_first = before.is_none();
            Comparison { before, after: edited, limit }.run(&self.records, &mut check);
        }
        check
    }

    fn replaced(&self, set: &PackFiles) -> PackFiles {
        let mut set = set.clone();
        for text in set.texts.iter_mut().filter(|text| text.name == self.file) {
            text.text.clone_from(&self.text);
        }
        set
    }
}

fn compiled(files: &PackFiles, limit: ScanLimit<'_>) -> (Option<RulePacks>, String) {
    let mut bounds = WorkBounds::default();
    bounds.max_bytes = MAX_BYTES;
    bounds.max_rules = MAX_RULES;
    bounds.max_words = MAX_WORDS;
    bounds.limit = limit;
    match RulePacks::check_within(files, &bounds) {
        Ok((packs, report)) => (Some(packs), report.to_string()),
        Err(report) => (None, report.to_string()),
    }
}

/// Packs before and after an edit.
struct Comparison<'l> {
    before: Option<RulePacks>,
    after: RulePacks,
    limit: ScanLimit<'l>,
}

impl Comparison<'_> {
    fn run(&self, records: &[Record], check: &mut PackCheck) {
        let mut rules: BTreeMap<String, RuleChange> = BTreeMap::new();
        let with_texts: Vec<&Record> =
            records.iter().filter(|record| record.messages.is_some()).collect();
        check.rollouts = with_texts.len();
        for record in with_texts {
            let Some((before, after)) = self.hits(record) else { break };
            check.tried += 1;
            let change = change(record, &before, &after, &mut rules);
            let is_same = change.added.is_empty() && change.gone.is_empty();
            if is_same && (change.before - change.after).abs() < 1e-12 {
                continue;
            }
            check.changed += 1;
            check.signs += usize::from(sign(change.before) != sign(change.after));
            if check.changes.len() < MAX_ROWS {
                check.changes.push(change);
            }
        }
        check.rules = rules.into_values().collect();
        check.rules.sort_by_key(|rule| std::cmp::Reverse(rule.added + rule.gone));
        check.rules.truncate(MAX_ROWS);
    }

    /// The hits of a rollout's scored turns before and after; `None` if the time is over.
    fn hits(&self, record: &Record) -> Option<(Hits, Hits)> {
        let rollout = record.rollout().unwrap_or_default();
        let is_there = |turn: &usize| *turn < rollout.messages.len();
        let turns: Vec<usize> =
            record.result.turns.iter().map(|turn| turn.index).filter(is_there).collect();
        let of = |packs: &RulePacks| {
            let mut hits = Hits::default();
            for evaluation in packs.evaluate_turns_within(&rollout, &turns, self.limit) {
                hits.add(&evaluation?.part);
            }
            Some(hits)
        };
        let before = match &self.before {
            Some(packs) => of(packs)?,
            None => Hits::default(),
        };
        Some((before, of(&self.after)?))
    }
}

/// The hits of a rollout, counted by rule.
#[derive(Debug, Default)]
struct Hits {
    points: f64,
    counts: BTreeMap<String, usize>,
}

impl Hits {
    fn add(&mut self, part: &RulesPart) {
        self.points += part.points.get();
        let live = part.hits.iter().map(|hit| (hit, ""));
        for (hit, note) in live.chain(part.shadow.iter().map(|hit| (hit, " (shadow)"))) {
            *self.counts.entry(format!("{}/{}{note}", hit.pack, hit.rule)).or_default() += 1;
        }
    }
}

/// The change of one rollout, whose hits are added to `rules`.
fn change(
    record: &Record,
    before: &Hits,
    after: &Hits,
    rules: &mut BTreeMap<String, RuleChange>,
) -> PackChange {
    let mut change = PackChange {
        key: record.key,
        rollout: record.result.id.to_string(),
        before: before.points,
        after: after.points,
        ..PackChange::default()
    };
    let mut names: Vec<&String> = before.counts.keys().chain(after.counts.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let count = |hits: &Hits| hits.counts.get(name).copied().unwrap_or(0);
        let (had, has) = (count(before), count(after));
        if had == has {
            continue;
        }
        let rule = rules
            .entry(name.clone())
            .or_insert_with(|| RuleChange { rule: name.clone(), ..RuleChange::default() });
        rule.added += has.saturating_sub(had);
        rule.gone += had.saturating_sub(has);
        if has > had { change.added.push(name.clone()) } else { change.gone.push(name.clone()) }
    }
    change
}

/// −1, 0 or 1.
fn sign(points: f64) -> i8 {
    i8::from(points > 1e-12) - i8::from(points < -1e-12)
}

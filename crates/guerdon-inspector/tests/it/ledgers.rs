//! A ledger shows the same as a file, at a cost that does not grow with it.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use guerdon_inspector::{Filter, LedgerStore, Links, MemoryStore, PAGE_ROWS, Record, Site, Store};
use guerdon_ledger::{Labels, LedgerReader, RolloutFilter, RolloutRecord, SqliteStore, Texts};
use guerdon_types::{FusionConfig, Rollout, Usage, Versions};

use crate::generated::records;

/// Writes records into a ledger.
fn write(path: &Path, texts: Texts, records: &[Record]) {
    let mut store = SqliteStore::open(path, texts).unwrap();
    let mut versions: Vec<Arc<Versions>> = Vec::new();
    let rows: Vec<RolloutRecord> = records
        .iter()
        .map(|record| {
            let labels = &record.labels;
            let known = versions.iter().find(|own| own.digest == labels.digest).cloned();
            let versions = known.unwrap_or_else(|| {
                let profile = labels.profile.clone().unwrap().into();
                let generation = labels.generation.unwrap();
                let mut made = Versions::new(profile, FusionConfig::default(), generation);
                made.digest = labels.digest.clone();
                versions.push(Arc::new(made));
                Arc::clone(versions.last().unwrap())
            });
            let group = labels.group.clone().map(Into::into);
            RolloutRecord {
                recorded_ms: labels.recorded_ms.unwrap(),
                request_id: "request".into(),
                labels: Arc::new(Labels {
                    run: labels.run.clone(),
                    step: labels.step.map(|step| step.try_into().unwrap()),
                    split: labels.split.clone(),
                }),
                attempt: None,
                sample: None,
                versions,
                rollout: Rollout { group, ..record.rollout().unwrap() }.into(),
                result: record.result.clone(),
                usage: Usage::default(),
                scoring_ms: None,
            }
        })
        .collect();
    for batch in rows.chunks(2_000) {
        store.append(batch).unwrap();
    }
}

/// The records with the profile of their digest, as versions name it.
fn with_one_profile(count: usize) -> Vec<Record> {
    let mut records = records(count);
    for record in &mut records {
        record.labels.profile = Some(format!("hotel-{}", record.labels.generation.unwrap()));
    }
    records
}

fn filters(rows: &[Record]) -> Vec<Filter> {
    let labels = &rows[rows.len() / 3].labels;
    let one = |set: fn(&mut Filter, &Record)| {
        let mut filter = Filter::default();
        set(&mut filter, &rows[rows.len() / 3]);
        filter
    };
    vec![
        Filter::default(),
        one(|filter, record| filter.run.clone_from(&record.labels.run)),
        one(|filter, record| filter.profile.clone_from(&record.labels.profile)),
        one(|filter, record| filter.digest.clone_from(&record.labels.digest)),
        one(|filter, record| filter.group.clone_from(&record.labels.group)),
        one(|filter, _| filter.only_null = true),
        Filter { run: labels.run.clone(), step: labels.step, ..Filter::default() },
        Filter { run: labels.run.clone(), profile: labels.profile.clone(), ..Filter::default() },
        Filter { run: Some("none".to_owned()), ..Filter::default() },
        Filter { step: Some(-1), ..Filter::default() },
    ]
}

/// The keys of all pages, in their order.
fn paged(store: &dyn Store, filter: &Filter, size: usize) -> Vec<i64> {
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let rows = store.rollouts(filter, after, size).unwrap();
        keys.extend(rows.iter().map(|row| row.key));
        match rows.last() {
            Some(last) => after = Some(last.key),
            None => return keys,
        }
    }
}

#[test]
fn ledger_and_file_show_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let rows = with_one_profile(240);
    write(&path, Texts::Full, &rows);
    assert!(LedgerStore::is_ledger(&path));
    let (ledger, file) = (LedgerStore::new(&path), MemoryStore::new("f", rows.clone()));
    for filter in filters(&rows) {
        let (mut one, mut other) = (paged(&ledger, &filter, 7), paged(&file, &filter, 7));
        one.sort_unstable();
        other.sort_unstable();
        assert_eq!(one, other, "{filter:?}: every rollout once");
        let mut scanned = Vec::new();
        ledger.scan(&filter, 1_000, &mut |row| scanned.push(row)).unwrap();
        for mut row in scanned {
            let mut same = file.record(row.key).unwrap().unwrap().row();
            row.labels.request_id = None;
            // The names of a ledger are in the order of its ids.
            row.parts.sort_by(|one, other| one.source.cmp(&other.source));
            same.parts.sort_by(|one, other| one.source.cmp(&other.source));
            row.components.sort_by(|one, other| one.0.cmp(&other.0));
            same.components.sort_by(|one, other| one.0.cmp(&other.0));
            assert_eq!(row, same, "{filter:?}");
        }
    }
    let (one, other) = (ledger.overview().unwrap(), file.overview().unwrap());
    assert_eq!((one.rollouts, &one.profiles), (other.rollouts, &other.profiles));
    let means = [&one, &other].map(|overview| overview.runs[0].mean.unwrap());
    assert!((means[0] - means[1]).abs() < 1e-9, "{means:?}");
    let record = ledger.record(5).unwrap().unwrap();
    assert_eq!((&record.result, record.rollout()), (&rows[4].result, rows[4].rollout()));
}

#[test]
fn missing_ledger_is_a_page_that_says_so() {
    let store = LedgerStore::new("/nowhere/ledger.sqlite");
    let site = Site { store: &store, links: Links::Served, session: None, has_tools: false };
    let reply = site.respond("/ui/rollouts", "");
    assert_eq!(reply.status, 503);
    assert!(String::from_utf8_lossy(&reply.body).contains("there is no ledger at"));
}

/// Every list is read along an index, also deep in a ledger, and pages of 100,000 rollouts stay
/// small. The times are printed.
#[test]
fn lists_of_100_000_rollouts_use_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let rows = with_one_profile(100_000);
    write(&path, Texts::None, &rows);
    let reader = LedgerReader::open(&path).unwrap();
    for filter in filters(&rows) {
        let Ok(step) = filter.step.map(u64::try_from).transpose() else { continue };
        for after in [None, Some(50_000)] {
            let selection = RolloutFilter {
                run: filter.run.clone(),
                first_step: step,
                last_step: step,
                group: filter.group.clone(),
                profile: filter.profile.clone(),
                digest: filter.digest.clone(),
                failed: filter.only_null.then_some(true),
                after,
                newest_first: true,
                ..RolloutFilter::default()
            };
            let plan = reader.plan(&selection, PAGE_ROWS).unwrap();
            let named = [&filter.run, &filter.profile, &filter.digest, &filter.group];
            if named.iter().any(|name| name.is_some()) {
                assert!(plan.contains("SEARCH r USING"), "{filter:?} {after:?}: {plan}");
            }
            // A sort of the whole selection would cost more with every rollout; a group and one
            // step of a run are small.
            if filter.group.is_none() && filter.step.is_none() {
                assert!(!plan.contains("TEMP B-TREE FOR ORDER BY"), "{filter:?} {after:?}: {plan}");
            }
        }
    }
    let store = LedgerStore::new(&path);
    let site = Site { store: &store, links: Links::Served, session: None, has_tools: false };
    let run = filters(&rows)[1].query(&[]);
    for (page, query) in [
        ("/ui", String::new()),
        ("/ui/rollouts", run.clone()),
        ("/ui/rollouts", format!("{run}&after=50000")),
        ("/ui/rollouts/50000", String::new()),
        ("/ui/run", run.clone()),
        ("/ui/compare", run),
    ] {
        let started = Instant::now();
        let reply = site.respond(page, &query);
        let took = started.elapsed();
        assert_eq!(reply.status, 200, "{page}?{query}");
        assert!(reply.body.len() < 400_000, "{page}: {} bytes", reply.body.len());
        println!("{page}: {} bytes in {} ms", reply.body.len(), took.as_millis());
    }
}

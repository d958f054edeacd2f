//! Whatever is recorded is read back, by every filter, and failures stay failures.

use guerdon_ledger::{
    Error, Labels, LedgerReader, RolloutFilter, RolloutRecord, SqliteStore, StoredRollout, Texts,
};
use guerdon_types::ProblemCode;
use proptest::prelude::*;

use crate::{Ledger, any_record, record};

fn is_same(stored: &StoredRollout, record: &RolloutRecord) -> bool {
    stored.result == record.result
        && stored.rollout.as_ref() == record.rollout.get()
        && *stored.versions == *record.versions
        && stored.labels == *record.labels
        && stored.group.as_deref() == record.rollout.group()
        && stored.scoring_ms == record.scoring_ms
        && stored.recorded_ms == record.recorded_ms
}

fn any_filter() -> impl Strategy<Value = RolloutFilter> {
    let name = || prop::option::weighted(0.2, "[a-c'é]{1,2}");
    let step = || prop::option::weighted(0.2, 0..4_u64);
    let time = || prop::option::weighted(0.2, 0..5_i64);
    let names = (name(), name(), name(), prop::option::weighted(0.2, "[a-d]"));
    let rest = (step(), step(), time(), time(), prop::option::weighted(0.3, any::<bool>()));
    (names, rest, any::<bool>()).prop_map(
        |((run, split, group, rollout), (first_step, last_step, since_ms, until_ms, failed), n)| {
            RolloutFilter {
                run,
                first_step,
                last_step,
                split,
                group,
                rollout,
                failed,
                since_ms,
                until_ms,
                newest_first: n,
                ..RolloutFilter::default()
            }
        },
    )
}

/// The filter in the words of Rust.
fn selects(filter: &RolloutFilter, record: &RolloutRecord) -> bool {
    let named =
        |wanted: &Option<String>, name: Option<&str>| wanted.is_none() || wanted.as_deref() == name;
    let labels = &record.labels;
    named(&filter.run, labels.run.as_deref())
        && named(&filter.split, labels.split.as_deref())
        && named(&filter.group, record.rollout.group())
        && named(&filter.rollout, Some(record.result.id.as_str()))
        && filter.first_step.is_none_or(|first| labels.step.is_some_and(|step| step >= first))
        && filter.last_step.is_none_or(|last| labels.step.is_some_and(|step| step <= last))
        && filter.since_ms.is_none_or(|since| record.recorded_ms >= since)
        && filter.until_ms.is_none_or(|until| record.recorded_ms < until)
        && filter.failed.is_none_or(|failed| record.result.reward.is_none() == failed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn every_filter_finds_what_was_recorded_and_nothing_else(
        records in prop::collection::vec(any_record(), 0..12),
        filters in prop::collection::vec(any_filter(), 1..12),
    ) {
        let mut ledger = Ledger::new(Texts::Full);
        for batch in records.chunks(5) {
            ledger.store.append(batch).unwrap();
        }
        for filter in filters.iter().chain([&RolloutFilter::default()]) {
            let mut expected: Vec<_> =
                records.iter().filter(|record| selects(filter, record)).collect();
            if filter.newest_first {
                expected.reverse();
            }
            let found = ledger.reader.rollouts(filter, 100).unwrap();
            prop_assert_eq!(found.len(), expected.len(), "{:?}", filter);
            for (stored, record) in found.iter().zip(expected) {
                prop_assert!(is_same(stored, record), "{:?} {:?}", stored, record);
            }
        }
    }

    /// Sums over steps are those of the rows, and what failed is in none of them.
    #[test]
    fn sums_by_step_are_those_of_the_rollouts(
        records in prop::collection::vec(any_record(), 1..20),
    ) {
        let mut ledger = Ledger::new(Texts::None);
        for batch in records.chunks(3) {
            ledger.store.append(batch).unwrap();
        }
        let (sum, rows) = (
            "SELECT total(total) + 1000 * sum(rollouts) - sum(missing) FROM step_rewards",
            "SELECT total(reward) + 1000 * count(*) - sum(reward IS NULL) FROM rollouts",
        );
        let difference = ledger.number(sum).unwrap() - ledger.number(rows).unwrap();
        prop_assert!(difference.abs() < 1e-9, "{}", difference);
        let (sum, rows) = (
            "SELECT total(total) + 1000 * sum(valued) - sum(abstained) FROM step_sources",
            "SELECT total(value) + 1000 * count(value) - count(why) FROM parts",
        );
        let difference = ledger.number(sum).unwrap() - ledger.number(rows).unwrap();
        prop_assert!(difference.abs() < 1e-9, "{}", difference);
    }
}

#[test]
fn failure_is_null_with_its_reason_and_never_zero() {
    let mut ledger = Ledger::new(Texts::Full);
    ledger.store.append(&[record("a", &Labels::default(), None, None)]).unwrap();
    for sql in [
        "SELECT reward FROM rollouts",
        "SELECT reward FROM turns",
        "SELECT value FROM parts",
        "SELECT term FROM parts",
    ] {
        assert_eq!(ledger.number(sql), None, "{sql}");
    }
    let name = |column: &str, table: &str| {
        let sql = format!("SELECT text FROM strings JOIN {table} t ON strings.id = t.{column}");
        let read = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
        ledger.reader.connection().query_row(&sql, [], read).unwrap()
    };
    assert_eq!(name("error", "rollouts"), ProblemCode::Unscored.as_str());
    assert_eq!(name("why", "parts"), "deadline");
    assert_eq!(name("digest", "rollouts"), "sha256:1");
}

#[test]
fn length_counts_characters_and_components_have_their_points() {
    let mut ledger = Ledger::new(Texts::None);
    ledger.store.append(&[record("a", &Labels::default(), None, Some(-2.5))]).unwrap();
    assert_eq!(ledger.number("SELECT length FROM turns"), Some(11.0));
    let sql = "SELECT value FROM components JOIN strings ON strings.id = name \
               WHERE text = 'tone/greeting' AND NOT shadow";
    assert_eq!(ledger.number(sql), Some(-2.5));
}

#[test]
fn texts_are_kept_hashed_or_absent() {
    let of = |texts: Texts, points: Option<f64>| {
        let mut ledger = Ledger::new(texts);
        ledger.store.append(&[record("a", &Labels::default(), None, points)]).unwrap();
        let stored = ledger.reader.rollout(1).unwrap().unwrap();
        let hash = ledger.number("SELECT length(dialogue_hash) FROM rollouts");
        (stored, hash)
    };
    for points in [Some(1.0), None] {
        let (full, hash) = of(Texts::Full, points);
        assert!(full.rollout.is_some() && hash.is_none());
        assert!(format!("{:?}", full.result).contains("480"));
        for (texts, bytes) in [(Texts::Hash, Some(32.0)), (Texts::None, None)] {
            let (stored, hash) = of(texts, points);
            assert_eq!((&stored.rollout, hash), (&None, bytes));
            assert!(!format!("{:?}", stored.result).contains("480"), "{:?}", stored.result);
            assert_eq!(stored.result.reward, full.result.reward);
        }
    }
}

#[test]
fn foreign_files_and_other_versions_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let open = || SqliteStore::open(&path, Texts::Full).err();
    let read = || LedgerReader::open(&path).err();
    assert!(matches!(read(), Some(Error::Missing { .. })));
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), &path).unwrap();
    assert!(matches!(open(), Some(Error::Foreign { .. })));
    assert!(matches!(read(), Some(Error::Foreign { .. })));
    std::fs::remove_file(&path).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE a (b)").unwrap();
    assert!(matches!(open(), Some(Error::Foreign { .. })));
    drop(other);
    std::fs::remove_file(&path).unwrap();
    assert!(open().is_none() && open().is_none() && read().is_none());
    let other = rusqlite::Connection::open(&path).unwrap();
    other.pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(open(), Some(Error::Version { found: 99, .. })));
    assert!(matches!(read(), Some(Error::Version { found: 99, .. })));
}

//! A ledger in `PostgreSQL` gives back what one in `SQLite` does. The tests are skipped where there is
//! no `PostgreSQL`.

use std::path::Path;
use std::time::Duration;

use guerdon_ledger::{
    DatabaseUrl, Error, Labels, LedgerConfig, LedgerReader, LedgerWriter, OnFull, PostgresReader,
    PostgresStore, Retention, RolloutFilter, RolloutRecord, SqliteStore, StoredRollout, Texts,
    now_ms,
};
use guerdon_testing::{PostgresServer, wait_until};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::{any_record, record};

const LONG: Duration = Duration::from_secs(20);

fn of_sqlite(path: &Path, filter: &RolloutFilter) -> Vec<StoredRollout> {
    LedgerReader::open(path).unwrap().rollouts(filter, 10_000).unwrap()
}

/// Everything but the ids, which differ where a batch was refused.
fn same(one: &[StoredRollout], other: &[StoredRollout]) {
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(other) {
        assert_eq!(&StoredRollout { id: other.id, ..one.clone() }, other);
    }
}

const SUMS: &str = "SELECT abs((SELECT sum(total) + 1000 * sum(rollouts) + 7 * sum(missing)
     FROM step_rewards) - (SELECT coalesce(sum(reward), 0) + 1000 * count(*)
     + 7 * (count(*) - count(reward)) FROM rollouts))
     + abs((SELECT sum(total) + 1000 * sum(valued) + 7 * sum(abstained) + 3 * sum(turns)
     FROM step_sources) - (SELECT coalesce(sum(value), 0) + 1000 * count(value) + 7 * count(why)
     + 3 * count(*) FROM parts))";

#[test]
fn database_gives_back_what_a_file_does() {
    let Some(mut database) = PostgresServer::start() else { return };
    assert!(matches!(PostgresReader::open(&database.url()), Err(Error::NoTables)));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let mut file = SqliteStore::open(&path, Texts::Full).unwrap();
    let mut stores = [0, 1].map(|_| PostgresStore::new(&database.url(), Texts::Full).unwrap());

    let mut runner = TestRunner::deterministic();
    let records = prop::collection::vec(any_record(), 300);
    let mut records = records.new_tree(&mut runner).unwrap().current();
    let odd = Labels { run: Some("nul \0 in a name".into()), ..Labels::default() };
    let long = "x".repeat(4_000);
    records.push(RolloutRecord { recorded_ms: 2, ..record(&long, &odd, Some(&long), Some(0.5)) });
    for (number, batch) in records.chunks(37).enumerate() {
        file.append(batch).unwrap();
        stores[number % 2].append(batch).unwrap();
    }
    let reader = PostgresReader::open(&database.url()).unwrap();
    let filter = |run: &str| RolloutFilter { run: Some(run.into()), ..RolloutFilter::default() };
    let run = records.iter().find_map(|one| one.labels.run.clone()).unwrap();
    let filters = [
        RolloutFilter::default(),
        RolloutFilter { newest_first: true, failed: Some(true), ..RolloutFilter::default() },
        RolloutFilter { first_step: Some(1), last_step: Some(2), ..RolloutFilter::default() },
        RolloutFilter { since_ms: Some(1), until_ms: Some(3), ..filter(&run) },
        RolloutFilter { group: Some(long.clone()), ..RolloutFilter::default() },
        RolloutFilter { rollout: Some("a".into()), ..RolloutFilter::default() },
        RolloutFilter { profile: Some("hotel".into()), failed: Some(false), ..filter(&run) },
        RolloutFilter { digest: Some("sha256:1".into()), after: Some(9), ..filter(&run) },
        filter("nul \0 in a name"),
    ];
    for filter in &filters {
        let found = reader.rollouts(filter, 10_000).unwrap();
        let mut expected = of_sqlite(&path, filter);
        for one in &mut expected {
            one.labels.run = one.labels.run.as_ref().map(|run| run.replace('\0', "\u{fffd}"));
        }
        assert!(!found.is_empty(), "{filter:?}");
        same(&found, &expected);
    }
    assert!(database.number(SUMS) < 1e-9);

    // A server that restarts costs the batches of that time, and no more.
    database.stop();
    let one = [record("a", &Labels::default(), None, Some(1.0))];
    assert!(matches!(stores[0].append(&one), Err(Error::Postgres(_))));
    database.resume();
    stores[0].append(&one).unwrap();
    file.append(&one).unwrap();

    let old = RolloutFilter { until_ms: Some(3), ..RolloutFilter::default() };
    let removed = file.remove_step(&old).unwrap();
    assert_eq!(stores[1].remove_step(&old).unwrap(), removed);
    assert_eq!(stores[1].remove_step(&old).unwrap(), 0);
    let reader = PostgresReader::open(&database.url()).unwrap();
    let all = RolloutFilter::default();
    same(&reader.rollouts(&all, 10_000).unwrap(), &of_sqlite(&path, &all));
    assert!(database.number(SUMS) < 1e-9);
    let orphans = "SELECT count(*) FROM parts WHERE rollout NOT IN (SELECT id FROM rollouts)";
    assert!(database.number(orphans) < 0.5);

    // Names may be texts of clients, and go with the last rollout.
    assert!(database.number("SELECT count(*) FROM strings") > 0.5);
    assert!(stores[0].remove_step(&all).unwrap() > 0);
    assert!(
        database.number("SELECT (SELECT count(*) FROM strings) + (SELECT count(*) FROM versions)")
            < 0.5
    );
    assert_eq!(stores[0].bytes().unwrap(), 0);
    stores[1].append(&one).unwrap();
    assert_eq!(reader.rollouts(&all, 10).unwrap().len(), 1);
}

#[test]
fn size_is_held_by_removing_the_oldest_and_failures_are_null() {
    let Some(database) = PostgresServer::start() else { return };
    let mut store = PostgresStore::new(&database.url(), Texts::Full).unwrap();
    let name = |index: i32| format!("{index} {}", "x".repeat(90));
    let rollouts: Vec<_> = (0..3_000)
        .map(|index| {
            let points = (index % 3 > 0).then_some(1.0);
            record(&name(index), &Labels::default(), Some("g"), points)
        })
        .collect();
    rollouts.chunks(256).for_each(|batch| store.append(batch).unwrap());
    let failures = "SELECT count(*) FROM rollouts WHERE reward IS NULL AND error IS NOT NULL";
    assert!((database.number(failures) - 1_000.0).abs() < 0.5);

    let sizes = "SELECT sum(pg_total_relation_size(name::regclass)) FROM unnest(array['rollouts', \
        'turns', 'parts', 'components']) AS name";
    let whole = store.bytes().unwrap();
    let ratio = f64::from(u32::try_from(whole).unwrap()) / database.number(sizes);
    assert!((0.6..1.6).contains(&ratio), "the estimate is {ratio} of the size");

    let limits = Retention { before_ms: None, max_bytes: Some(whole / 2) };
    let mut removed = 0;
    loop {
        match store.prune_step(limits).unwrap() {
            0 => break,
            count => removed += count,
        }
    }
    assert!((1_000..3_000).contains(&removed) && store.bytes().unwrap() <= whole / 2);
    let reader = PostgresReader::open(&database.url()).unwrap();
    let left = reader.rollouts(&RolloutFilter::default(), 5_000).unwrap();
    assert_eq!(
        (left.len(), left.last().unwrap().result.id.as_str()),
        (3_000 - removed, &*name(2_999))
    );
    assert!(database.number(SUMS) < 1e-9);
}

fn settings(database: &PostgresServer, full: OnFull) -> LedgerConfig {
    let url = Some(DatabaseUrl::from(database.url()));
    LedgerConfig { url, full, queue_bytes: 8 << 10, ..LedgerConfig::default() }
}

fn rows(database: &PostgresServer) -> usize {
    let reader = PostgresReader::open(&database.url()).unwrap();
    reader.rollouts(&RolloutFilter::default(), 10_000).unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn writer_counts_while_the_database_is_away_and_recovers() {
    let Some(mut database) = tokio::task::block_in_place(PostgresServer::start) else { return };
    let one = || vec![record("a", &Labels::default(), None, Some(1.0))];
    database.stop();
    let writer = LedgerWriter::start(None, &settings(&database, OnFull::Wait)).unwrap();
    for dropped in 1..3 {
        writer.record(one()).await;
        let is_counted = async || writer.counts().dropped_failed() == dropped;
        wait_until("it is counted", LONG, is_counted).await;
        // The second time it goes away while it is connected to.
        if dropped == 1 {
            database.resume();
            writer.record(one()).await;
            wait_until("it recovers", LONG, async || writer.counts().written() == 1).await;
            database.stop();
        }
    }
    database.resume();
    writer.record(one()).await;
    writer.stop().await;
    assert_eq!((writer.counts().written(), writer.counts().dropped_failed()), (2, 2));
    assert_eq!(tokio::task::block_in_place(|| rows(&database)), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn full_queue_drops_and_counts_or_waits() {
    let Some(database) = tokio::task::block_in_place(PostgresServer::start) else { return };
    let mut store = PostgresStore::new(&database.url(), Texts::Full).unwrap();
    let old = RolloutRecord { recorded_ms: 1, ..record("old", &Labels::default(), None, None) };
    tokio::task::block_in_place(|| store.append(&[old]).unwrap());
    for full in [OnFull::Drop, OnFull::Wait] {
        let writer = LedgerWriter::start(None, &settings(&database, full)).unwrap();
        let lock = database.lock("rollouts");
        let hand_over = async {
            for _ in 0..30 {
                let one = record("a", &Labels::default(), None, Some(1.0));
                writer.record(vec![RolloutRecord { recorded_ms: now_ms(), ..one }]).await;
            }
        };
        if full == OnFull::Drop {
            // The table is locked throughout, and no call waits for it.
            hand_over.await;
            assert!(writer.counts().dropped_full() > 0);
            drop(lock);
        } else {
            let unlock = async {
                wait_until("the queue fills", LONG, async || writer.counts().queued() > 2).await;
                drop(lock);
            };
            tokio::join!(hand_over, unlock);
            assert_eq!(writer.counts().dropped_full(), 0);
        }
        writer.stop().await;
        let counts = writer.counts();
        assert_eq!(counts.written() + counts.dropped_full(), 30);
    }
    // Old rollouts are removed while a writer runs.
    let all = tokio::task::block_in_place(|| rows(&database));
    let keep = Some(Duration::from_secs(600));
    let config = LedgerConfig { keep, ..settings(&database, OnFull::Wait) };
    let writer = LedgerWriter::start(None, &config).unwrap();
    let is_removed = async || tokio::task::block_in_place(|| rows(&database)) == all - 1;
    wait_until("it is removed", LONG, is_removed).await;
    writer.stop().await;
    tokio::task::block_in_place(|| drop(store));
}

#[test]
fn removal_beside_writers_loses_nothing() {
    let Some(database) = PostgresServer::start() else { return };
    let url = &database.url();
    std::thread::scope(|scope| {
        for server in 0..3 {
            scope.spawn(move || {
                let mut store = PostgresStore::new(url, Texts::None).unwrap();
                for round in 0..30 {
                    // Every batch touches many sums, in an order of its own.
                    let batch = (0..40_u64).map(|index| {
                        let step = Some((index * 7 + round + server) % 20);
                        let labels = Labels { run: Some("r".into()), step, split: None };
                        let one = record("a", &labels, Some("g"), Some(0.25));
                        RolloutRecord { recorded_ms: i64::from(index % 2 == 0), ..one }
                    });
                    store.append(&batch.collect::<Vec<_>>()).unwrap();
                    let old = Retention { before_ms: Some(1), max_bytes: None };
                    store.prune_step(old).unwrap();
                }
            });
        }
    });
    assert!((database.number("SELECT count(*) FROM rollouts") - 1_800.0).abs() < 0.5);
    assert!(database.number(SUMS) < 1e-9);
}

#[test]
fn servers_that_start_and_write_together_share_one_ledger() {
    let Some(database) = PostgresServer::start() else { return };
    let url = database.url();
    std::thread::scope(|scope| {
        for server in 0..4 {
            let url = &url;
            scope.spawn(move || {
                let mut store = PostgresStore::new(url, Texts::None).unwrap();
                for step in 0..20 {
                    let labels =
                        Labels { run: Some("shared".into()), step: Some(step), split: None };
                    let id = format!("{server}-{step}");
                    let batch: Vec<_> =
                        (0..5).map(|_| record(&id, &labels, Some("g"), Some(0.25))).collect();
                    store.append(&batch).unwrap();
                }
            });
        }
    });
    let reader = PostgresReader::open(&url).unwrap();
    assert_eq!(reader.rollouts(&RolloutFilter::default(), 10_000).unwrap().len(), 400);
    assert!(database.number(SUMS) < 1e-9);
    assert!((database.number("SELECT count(*) FROM step_rewards") - 20.0).abs() < 0.5);
}

#[test]
fn url_that_is_none_or_needs_tls_is_refused_at_once() {
    let new = |url: &str| PostgresStore::new(url, Texts::Full).err();
    assert!(matches!(new("postgres://a b:c"), Some(Error::Url(_))));
    assert!(matches!(new("postgres://h/d?sslmode=require"), Some(Error::Tls)));
    assert!(matches!(new("host=h password=s3cret"), Some(Error::Scheme)));
    let mut store =
        PostgresStore::new("postgres://nobody:s3cret@127.0.0.1:1/d", Texts::Full).unwrap();
    let away = store.append(&[record("a", &Labels::default(), None, None)]).unwrap_err();
    assert!(away.to_string().contains("refused"), "{away}");
    assert!(!format!("{store:?}").contains("s3cret"), "{store:?}");
    for error in [away, new("s3cret").unwrap(), new("postgres://u:s3cret@h:s3cret").unwrap()] {
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
    }
    let two = LedgerConfig {
        path: Some("a".into()),
        url: Some(DatabaseUrl::from("postgres://h/d".to_owned())),
        ..LedgerConfig::default()
    };
    assert!(matches!(two.check(), Err(Error::TwoPlaces)));
}

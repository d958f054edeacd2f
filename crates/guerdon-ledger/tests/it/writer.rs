//! The writer's thread: everything is written or counted, and nothing waits for it unasked.

use std::time::Duration;

use guerdon_ledger::{Labels, LedgerConfig, LedgerReader, LedgerWriter, OnFull, RolloutFilter};
use guerdon_testing::wait_until;

use crate::record;

const LONG: Duration = Duration::from_secs(20);

fn settings(full: OnFull, queue_bytes: u64) -> LedgerConfig {
    LedgerConfig { full, queue_bytes, ..LedgerConfig::default() }
}

fn rows(writer: &LedgerWriter) -> usize {
    let reader = LedgerReader::open(writer.path().unwrap()).unwrap();
    reader.rollouts(&RolloutFilter::default(), 100_000).unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_writes_everything_that_was_handed_over() {
    let folder = tempfile::tempdir().unwrap();
    let config = settings(OnFull::Drop, 1 << 30);
    let writer = LedgerWriter::start(Some(&folder.path().join("a")), &config).unwrap();
    for request in 0..50 {
        let records = (0..7).map(|_| record("a", &Labels::default(), None, Some(1.0))).collect();
        writer.record(records).await;
        if request == 20 {
            // A row is there before the stop, too: a batch waits for more only so long.
            wait_until("a batch is written", LONG, async || writer.counts().written() > 0).await;
        }
    }
    writer.stop().await;
    assert_eq!(rows(&writer), 350);
    assert_eq!((writer.counts().written(), writer.counts().queued()), (350, 0));
    writer.record(vec![record("late", &Labels::default(), None, None)]).await;
    assert_eq!((writer.counts().dropped_closed(), rows(&writer)), (1, 350));
}

#[tokio::test(flavor = "multi_thread")]
async fn full_queue_drops_and_counts_or_waits() {
    for full in [OnFull::Drop, OnFull::Wait] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        // Room for a few rollouts.
        let writer = LedgerWriter::start(Some(&path), &settings(full, 8 << 10)).unwrap();
        let lock = rusqlite::Connection::open(&path).unwrap();
        lock.execute_batch("BEGIN IMMEDIATE").unwrap();
        let hand_over = async {
            for _ in 0..30 {
                writer.record(vec![record("a", &Labels::default(), None, Some(1.0))]).await;
            }
        };
        if full == OnFull::Drop {
            // The file is locked throughout, and no call waits for it.
            hand_over.await;
            assert!(writer.counts().dropped_full() > 0);
            lock.execute_batch("COMMIT").unwrap();
        } else {
            let unlock = async {
                wait_until("the queue fills", LONG, async || writer.counts().queued() > 2).await;
                lock.execute_batch("COMMIT").unwrap();
            };
            tokio::join!(hand_over, unlock);
            assert_eq!(writer.counts().dropped_full(), 0);
        }
        writer.stop().await;
        let counts = writer.counts();
        assert_eq!(counts.written() + counts.dropped_full() + counts.dropped_failed(), 30);
        assert_eq!(u64::try_from(rows(&writer)).unwrap(), counts.written());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_ledger_counts_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let writer = LedgerWriter::start(Some(&path), &settings(OnFull::Wait, 1 << 20)).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("ALTER TABLE turns RENAME TO gone").unwrap();
    let one = || vec![record("a", &Labels::default(), None, Some(1.0))];
    writer.record(one()).await;
    wait_until("it is counted", LONG, async || writer.counts().dropped_failed() == 1).await;
    assert_eq!(rows(&writer), 0, "a rollout is recorded whole or not at all");
    other.execute_batch("ALTER TABLE gone RENAME TO turns").unwrap();
    writer.record(one()).await;
    writer.stop().await;
    assert_eq!((writer.counts().written(), rows(&writer)), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn old_rollouts_are_removed_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let config =
        LedgerConfig { keep: Some(Duration::from_secs(60)), ..settings(OnFull::Wait, 1 << 20) };
    let path = folder.path().join("a");
    let writer = LedgerWriter::start(Some(&path), &LedgerConfig::default()).unwrap();
    let new = guerdon_ledger::RolloutRecord {
        recorded_ms: guerdon_ledger::now_ms(),
        ..record("new", &Labels::default(), None, Some(1.0))
    };
    writer.record(vec![record("old", &Labels::default(), None, Some(1.0)), new]).await;
    writer.stop().await;
    assert_eq!(rows(&writer), 2);
    let writer = LedgerWriter::start(Some(&path), &config).unwrap();
    wait_until("it is removed", LONG, async || rows(&writer) == 1).await;
    writer.stop().await;
}

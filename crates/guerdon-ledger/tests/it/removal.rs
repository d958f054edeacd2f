//! Removed rollouts leave no rows behind, and the sums are those of the rollouts that stay.

use guerdon_ledger::{Labels, Retention, RolloutFilter, Texts};
use proptest::prelude::*;

use crate::{Ledger, any_record, record};

/// Differences between the sums and the rows, and rows without their rollout.
fn faults(ledger: &Ledger) -> f64 {
    let checks = [
        "SELECT (SELECT total(total) + 1000 * total(rollouts) + 7 * total(missing) FROM step_rewards)
             - (SELECT total(reward) + 1000 * count(*) + 7 * total(reward IS NULL) FROM rollouts)",
        "SELECT (SELECT total(total) + 1000 * total(valued) + 7 * total(abstained)
                        + 3 * total(turns) FROM step_sources)
             - (SELECT total(value) + 1000 * count(value) + 7 * count(why) + 3 * count(*) FROM parts)",
        "SELECT (SELECT count(*) FROM step_rewards)
             - (SELECT count(*) FROM (SELECT DISTINCT run, step, split, profile, digest FROM rollouts))",
        "SELECT count(*) FROM turns WHERE rollout NOT IN (SELECT id FROM rollouts)",
        "SELECT count(*) FROM parts WHERE rollout NOT IN (SELECT id FROM rollouts)",
        "SELECT count(*) FROM components WHERE rollout NOT IN (SELECT id FROM rollouts)",
    ];
    checks.iter().filter_map(|sql| ledger.number(sql)).map(f64::abs).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn removal_by_time_or_run_takes_these_rollouts_and_no_others(
        records in prop::collection::vec(any_record(), 1..20),
        before in 0..6_i64,
    ) {
        let mut ledger = Ledger::new(Texts::Full);
        ledger.store.append(&records).unwrap();
        let limits = Retention { before_ms: Some(before), max_bytes: None };
        let old = records.iter().filter(|record| record.recorded_ms < before).count();
        prop_assert_eq!(ledger.store.prune_step(limits).unwrap(), old);
        prop_assert_eq!(ledger.store.prune_step(limits).unwrap(), 0);
        prop_assert!(faults(&ledger) < 1e-9, "{}", faults(&ledger));
        let left = ledger.reader.rollouts(&RolloutFilter::default(), 100).unwrap();
        prop_assert_eq!(left.len(), records.len() - old);
        prop_assert!(left.iter().all(|rollout| rollout.recorded_ms >= before));
        if let Some(run) = left.iter().find_map(|rollout| rollout.labels.run.clone()) {
            let filter = RolloutFilter { run: Some(run), ..RolloutFilter::default() };
            prop_assert!(ledger.store.remove_step(&filter).unwrap() > 0);
            prop_assert!(ledger.reader.rollouts(&filter, 1).unwrap().is_empty());
            prop_assert!(faults(&ledger) < 1e-9, "{}", faults(&ledger));
        }
    }
}

#[test]
fn size_is_held_by_removing_the_oldest_and_the_file_shrinks() {
    let mut ledger = Ledger::new(Texts::Full);
    let records: Vec<_> = (0..3_000)
        .map(|index| record(&index.to_string(), &Labels::default(), None, Some(1.0)))
        .collect();
    ledger.store.append(&records).unwrap();
    let whole = ledger.store.bytes().unwrap();
    let most = whole / 2;
    let limits = Retention { before_ms: None, max_bytes: Some(most) };
    let mut steps = 0;
    while ledger.store.prune_step(limits).unwrap() > 0 {
        steps += 1;
    }
    assert!(steps > 1 && ledger.store.bytes().unwrap() <= most);
    let left = ledger.reader.rollouts(&RolloutFilter::default(), 5_000).unwrap();
    assert_eq!(left.last().unwrap().result.id.as_str(), "2999");
    let pages = ledger.number("SELECT page_count FROM pragma_page_count").unwrap();
    let size = ledger.number("SELECT page_size FROM pragma_page_size").unwrap();
    let kept = ledger.store.bytes().unwrap();
    assert!(pages * size < 1.1 * f64::from(u32::try_from(kept).unwrap()), "{pages} {kept}");
}

#[test]
fn names_of_clients_are_gone_when_the_last_rollout_is() {
    let mut ledger = Ledger::new(Texts::Full);
    let labels = Labels { run: Some("secret".into()), ..Labels::default() };
    let records = [record("a", &labels, None, None)];
    ledger.store.append(&records).unwrap();
    assert_eq!(ledger.store.remove_step(&RolloutFilter::default()).unwrap(), 1);
    assert_eq!(ledger.number("SELECT count(*) FROM strings"), Some(0.0));
    ledger.store.append(&records).unwrap();
    let filter = RolloutFilter { run: labels.run, ..RolloutFilter::default() };
    assert_eq!(ledger.reader.rollouts(&filter, 9).unwrap().len(), 1);
}

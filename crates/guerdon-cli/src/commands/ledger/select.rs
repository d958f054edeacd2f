//! The rollouts of a ledger that the flags select, read in pages.

use guerdon_ledger::{ReadRollouts, RolloutFilter, StoredRollout};

use crate::cli::LedgerFilterArgs;
use crate::commands::cache::age;

/// Rollouts that are read at once.
const PAGE: usize = 500;

/// The rollouts that the flags select.
pub(super) fn selection(flags: &LedgerFilterArgs) -> anyhow::Result<RolloutFilter> {
    Ok(RolloutFilter {
        run: flags.run.clone(),
        first_step: flags.step.map(|(first, _)| first),
        last_step: flags.step.map(|(_, last)| last),
        split: flags.split.clone(),
        group: flags.group.clone(),
        rollout: flags.rollout.clone(),
        profile: flags.of_profile.clone(),
        digest: flags.digest.clone(),
        failed: flags.failed.then_some(true),
        since_ms: flags.since.as_deref().map(|age| ago("--since", age)).transpose()?,
        ..RolloutFilter::default()
    })
}

/// The time of an age, in milliseconds since 1970.
pub(super) fn ago(option: &str, text: &str) -> anyhow::Result<i64> {
    let age = age(option, text)?.as_millis();
    Ok(guerdon_ledger::now_ms().saturating_sub(i64::try_from(age).unwrap_or(i64::MAX)))
}

/// Calls `each` for every rollout of a selection, in pages.
pub(super) fn for_each(
    reader: &dyn ReadRollouts,
    filter: &RolloutFilter,
    mut each: impl FnMut(StoredRollout) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut filter = filter.clone();
    loop {
        let page = reader.rollouts(&filter, PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        filter.after = Some(last.id);
        page.into_iter().try_for_each(&mut each)?;
    }
}

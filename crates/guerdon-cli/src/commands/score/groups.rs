//! The groups whose rollouts were not scored by the same sources, summed up on standard error.

use guerdon_types::IncomparableGroup;

use super::report::one_line;
use crate::output::errln;

/// Most groups that are printed.
const SHOWN: usize = 3;

/// Prints the groups, if there are any.
pub(super) fn print(groups: &[IncomparableGroup]) {
    if groups.is_empty() {
        return;
    }
    for group in groups.iter().take(SHOWN) {
        if let Some(missing) = group.missing.first() {
            let (source, rollout) = (missing.source.as_str(), missing.rollout.as_str());
            let names = [group.id.as_str(), source, rollout].map(guerdon_text::quote);
            let [id, source, rollout] = names;
            errln!(
                "{}",
                one_line(&format!("group {id}: {source} is missing on rollout {rollout}"))
            );
        }
    }
    if groups.len() > SHOWN {
        errln!("...");
    }
    let count = groups.len();
    let subject =
        if count == 1 { "1 group was".to_owned() } else { format!("{count} groups were") };
    errln!(
        "{subject} not scored by the same sources on all rollouts: do not compare their rewards; \
         they have no advantages"
    );
}

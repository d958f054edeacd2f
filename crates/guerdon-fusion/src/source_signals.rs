//! The signals of one source about one rollout, whatever the source does.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use guerdon_types::{AbstainWhy, Abstention, Signal, SourceId};

use crate::{Ask, RewardSource};

/// The signals of a source, one for each turn. A source that panics abstains on every turn. So does
/// a source that returns another number of signals, since they cannot be assigned. A signal without
/// a part and a reason gets a reason, and abstentions get the source's name.
pub(crate) async fn signals(source: &dyn RewardSource, ask: Ask<'_>) -> Vec<Signal> {
    let turns = ask.turns.len();
    // Called inside the guarded future, since a source may panic before it returns its own.
    let answer = AssertUnwindSafe(async { source.score(ask).await }).catch_unwind().await;
    let detail = match answer {
        Ok(mut signals) if signals.len() == turns => {
            signals.iter_mut().for_each(|signal| complete(signal, source.id()));
            return signals;
        }
        Ok(signals) => format!("the source returned {} signals for {turns} turns", signals.len()),
        Err(_) => "the source panicked".to_owned(),
    };
    let void = Abstention::new(source.id().clone(), AbstainWhy::Internal, detail);
    vec![Signal::abstained(void); turns]
}

/// Gives a signal without a part and a reason a reason, and abstentions the name of the source: a
/// profile may have several sources of one kind.
pub(crate) fn complete(signal: &mut Signal, source: &SourceId) {
    if signal.part.is_none() && signal.abstained.is_empty() {
        let detail = "the source returned neither a part nor a reason";
        signal.abstained.push(Abstention::new(source.clone(), AbstainWhy::Internal, detail));
    }
    for abstention in &mut signal.abstained {
        if abstention.source != *source {
            abstention.source = source.clone();
        }
    }
}

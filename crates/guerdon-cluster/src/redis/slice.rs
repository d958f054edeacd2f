//! The slice of one quota that a replica holds, as arithmetic on its counts.
//!
//! Time is cut into slots of a twentieth of the quota's span, by the store's clock. A slice is taken
//! in one slot and must be spent within the length of one, so that everything that is spent in any
//! span was taken in at most 22 slots, which the store counts. What is not spent goes back.

use std::collections::BTreeMap;
use std::time::Duration;

use guerdon_queue::QuotaUnits;
use tokio::time::Instant;

/// The number of slots in a span, and of slices in a quota.
const SLOTS: u32 = 20;
/// The slots that the store counts: those of a span, one for the time in which a slice is spent,
/// and the current one.
pub(super) const COUNTED: u64 = SLOTS as u64 + 2;

/// The slice of one quota.
#[derive(Debug)]
pub(super) struct Slice {
    limit: u64,
    span: Duration,
    balance: u64,
    /// The slot in which the balance was taken, and the end of the time to spend it.
    taken: Option<(u64, Instant)>,
    /// The units that this replica has taken, by slot.
    own: BTreeMap<u64, u64>,
    /// Reductions of them that the store does not know yet.
    back: BTreeMap<u64, u64>,
    /// The store's last answer that nothing is free: until when, and for what amount.
    dry: Option<(Instant, u64)>,
}

/// The counts that are sent to the store.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SliceCounts {
    pub(super) back: Vec<(u64, u64)>,
    pub(super) own: Vec<(u64, u64)>,
}

impl Slice {
    pub(super) fn new(limit: u64, span: Duration) -> Self {
        let (own, back) = (BTreeMap::new(), BTreeMap::new());
        Self { limit, span, balance: 0, taken: None, own, back, dry: None }
    }

    /// The length of a slot.
    pub(super) fn slot(&self) -> Duration {
        (self.span / SLOTS).max(Duration::from_millis(1))
    }

    pub(super) const fn limit(&self) -> u64 {
        self.limit
    }

    /// The units to ask for, if `amount` is needed.
    pub(super) fn wanted(&self, amount: u64) -> u64 {
        amount.max(self.limit / u64::from(SLOTS)).max(1)
    }

    /// Takes units of the slice.
    pub(super) fn take(&mut self, amount: u64, now: Instant) -> Option<QuotaUnits> {
        let (slot, until) = self.taken?;
        if until <= now || self.balance < amount {
            return None;
        }
        self.balance -= amount;
        Some(QuotaUnits { amount, slot: Some(slot) })
    }

    /// The time for which the store has nothing for `amount`.
    pub(super) fn dry_for(&self, amount: u64, now: Instant) -> Option<Duration> {
        let (until, refused) = self.dry?;
        (refused <= amount)
            .then(|| until.saturating_duration_since(now))
            .filter(|left| !left.is_zero())
    }

    /// Replaces units by the number that was used.
    pub(super) fn settle(&mut self, units: QuotaUnits, used: u64) {
        let Some(slot) = units.slot else { return };
        if used < units.amount {
            self.give_back(slot, units.amount - used);
        } else if used > units.amount {
            *self.own.entry(slot).or_default() += used - units.amount;
        }
    }

    fn give_back(&mut self, slot: u64, units: u64) {
        // A slot that is no longer counted needs no correction.
        if let Some(own) = self.own.get_mut(&slot) {
            let units = units.min(*own);
            *own -= units;
            if units > 0 {
                *self.back.entry(slot).or_default() += units;
                self.dry = None;
            }
        }
    }

    /// Gives up the rest of the slice, and returns the counts for the store. The caller sends them:
    /// reductions that get lost are never counted twice.
    pub(super) fn counts(&mut self) -> SliceCounts {
        if let Some((slot, _)) = self.taken.take() {
            let rest = std::mem::take(&mut self.balance);
            self.give_back(slot, rest);
        }
        SliceCounts {
            back: std::mem::take(&mut self.back).into_iter().collect(),
            own: self.own.iter().map(|(slot, units)| (*slot, *units)).collect(),
        }
    }

    /// The counts for the store, without giving up a slice that can still be spent.
    pub(super) fn report(&mut self, now: Instant) -> SliceCounts {
        if self.taken.is_some_and(|(_, until)| until <= now) {
            return self.counts();
        }
        let (taken, balance) = (self.taken.take(), self.balance);
        let counts = self.counts();
        (self.taken, self.balance) = (taken, balance);
        counts
    }

    /// True if the replica has taken units that the store may have lost.
    pub(super) fn has_counts(&self) -> bool {
        !self.own.is_empty()
    }

    /// Takes in the store's grant of `units` in `slot`, to a request that was sent at `sent`.
    pub(super) fn granted(&mut self, units: u64, slot: u64, sent: Instant) {
        self.own.retain(|old, _| old.saturating_add(COUNTED) > slot);
        if units > 0 {
            self.dry = None;
            *self.own.entry(slot).or_default() += units;
            self.balance = units;
            self.taken = Some((slot, sent + self.slot()));
        }
    }

    /// Takes in the store's answer that `amount` does not fit before `wait`.
    pub(super) fn refused(&mut self, amount: u64, wait: Duration, slot: u64, now: Instant) {
        self.granted(0, slot, now);
        self.dry = Some((now + wait, amount));
    }
}

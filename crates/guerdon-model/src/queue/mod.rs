//! The queue: admission, fair order, in-flight requests, the score cache and the device threads.

pub(crate) mod engines;
pub(crate) mod event;
pub(crate) mod in_flight;
pub(crate) mod intake;
pub(crate) mod score_cache;
pub(crate) mod slots;
pub(crate) mod waiters;
pub(crate) mod worker;

//! The model on its device: input layouts, sessions, and the choice of the next batch.

pub(crate) mod batch_plan;
pub(crate) mod chunks;
pub(crate) mod graph;
pub(crate) mod head;
pub(crate) mod kv_cache;
pub(crate) mod packed;
pub(crate) mod padded;
pub(crate) mod paged;
pub(crate) mod session;
pub(crate) mod sharing;
pub(crate) mod values;
pub(crate) mod weights;

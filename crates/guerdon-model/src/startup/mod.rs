//! Start-up: the sessions of a model, the padding check and the warm-up runs.

pub(crate) mod instances;
pub(crate) mod labels;
pub(crate) mod memory;
pub(crate) mod padding;
pub(crate) mod replay;
pub(crate) mod warmup;

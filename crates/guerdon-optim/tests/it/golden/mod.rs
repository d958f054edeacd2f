//! Agreement with verl 0.9.1 and OpenRLHF 0.11.2 on reference batches: see `tests/golden/README.md`.

mod big;
mod case;
mod corrections;
mod edges;
mod estimators;
mod inputs;
mod losses;

/// Tolerance if the trainer computes the same expression, in f64.
pub(crate) const EXACT: f64 = 1e-10;
/// Against verl where it adds 1e-8 to a count or a sum, which shifts a batch of one token by that
/// much.
pub(crate) const COUNT: f64 = 3e-8;

//! Queries of screens: rollouts in short, newest first, by pages; runs and profiles.
//!
//! Every order has an index, so that a page costs the same at any place of a large ledger. A page
//! after another begins at the key of its last row.

mod order;
mod rows;
mod runs;

pub use rows::{RolloutRow, SourceRow, TurnSums};
pub use runs::RunRow;

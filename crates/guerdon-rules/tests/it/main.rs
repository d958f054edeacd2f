//! The integration tests of the crate, in one binary.

mod evaluation;
mod evasions;
mod precision;
mod reports;
mod shipped_packs;
mod workbench;

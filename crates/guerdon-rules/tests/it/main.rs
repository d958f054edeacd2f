//! The integration tests of the crate, in one binary.

mod evaluation;
mod evasions;
mod imports;
mod mistakes;
mod mutations;
mod precision;
mod reports;
mod schema;
mod shipped_packs;
mod tool_calls;
mod workbench;

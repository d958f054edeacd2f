//! Prints reports of the compilers of rule packs and judge prompts.

use crate::output::{coloured_error, outln};
use serde::Serialize;

/// Prints diagnostics as JSON on standard output, or a report on standard error, in colour on a
/// terminal. `coloured` may be empty, and need not end with a line break.
pub(super) fn report(
    diagnostics: &[impl Serialize],
    coloured: &str,
    json: bool,
) -> anyhow::Result<()> {
    if json {
        outln!("{}", serde_json::to_string_pretty(diagnostics)?)?;
    } else if !coloured.is_empty() {
        coloured_error(coloured.trim_end_matches('\n'));
    }
    Ok(())
}

//! Prints reports of the compilers of rule packs and judge prompts.

use serde::Serialize;

/// Prints diagnostics as JSON on standard output, or a report on standard error, in colour on a
/// terminal. `coloured` may be empty, and need not end with a line break.
pub(super) fn report(
    diagnostics: &[impl Serialize],
    coloured: &str,
    json: bool,
) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(diagnostics)?);
    } else if !coloured.is_empty() {
        anstream::eprintln!("{}", coloured.trim_end_matches('\n'));
    }
    Ok(())
}

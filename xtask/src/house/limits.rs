//! The limits of the house figures, and the test that holds them.

/// Most lines of a Rust file, tests included.
pub(super) const FILE_LINES: usize = 600;

/// Most product files directly in one folder.
pub(super) const FOLDER_FILES: usize = 18;

/// Most parameters of a function, `self` included; `clippy.toml` holds the same number.
pub(super) const PARAMETERS: usize = 5;

/// Largest figures that the test accepts.
#[cfg(test)]
struct AcceptedFigures {
    long_files: usize,
    crowded_folders: usize,
    shared_percent: f64,
    participles: usize,
    clause_percent: f64,
    misnamed: usize,
    without_head: usize,
    long_parameter_lists: usize,
    self_named_modules: usize,
    files_in_cycles: usize,
}

/// Figures above zero, other than the two percentages, are debt: lower them whenever `cargo xtask
/// house` prints less.
#[cfg(test)]
const ACCEPTED: AcceptedFigures = AcceptedFigures {
    long_files: 0,
    crowded_folders: 0,
    shared_percent: 10.0,
    participles: 0,
    clause_percent: 3.0,
    misnamed: 0,
    without_head: 0,
    long_parameter_lists: 0,
    self_named_modules: 0,
    files_in_cycles: 0,
};

#[cfg(test)]
mod tests {
    use super::ACCEPTED;
    use crate::house::HouseFigures;
    use crate::packages::workspace_root;

    #[test]
    fn figures_are_within_the_limits() {
        let figures = HouseFigures::measure(workspace_root()).unwrap();
        let checks = [
            ("long files", figures.long_files.len(), ACCEPTED.long_files),
            ("crowded folders", figures.crowded_folders.len(), ACCEPTED.crowded_folders),
            ("bare past participles", figures.participles.len(), ACCEPTED.participles),
            ("misnamed tests files", figures.misnamed.len(), ACCEPTED.misnamed),
            ("files without a head", figures.without_head.len(), ACCEPTED.without_head),
            (
                "long parameter lists",
                figures.long_parameter_lists.len(),
                ACCEPTED.long_parameter_lists,
            ),
            ("self-named modules", figures.self_named_modules.len(), ACCEPTED.self_named_modules),
            ("files in import cycles", figures.files_in_cycles(), ACCEPTED.files_in_cycles),
        ];
        let mut broken: Vec<String> = checks
            .iter()
            .filter(|(_, figure, accepted)| figure > accepted)
            .map(|(name, figure, accepted)| format!("{name}: {figure}, accepted {accepted}"))
            .collect();
        let shares = [
            ("shared type names", figures.shared_percent(), ACCEPTED.shared_percent),
            ("clause openings", figures.clause_percent(), ACCEPTED.clause_percent),
        ];
        let high = shares.iter().filter(|(_, figure, accepted)| figure > accepted);
        broken.extend(high.map(|(name, figure, accepted)| {
            format!("{name}: {figure:.1} %, accepted {accepted} %")
        }));
        assert!(
            broken.is_empty(),
            "run `cargo xtask house --list` for the places:\n{}",
            broken.join("\n")
        );
    }
}

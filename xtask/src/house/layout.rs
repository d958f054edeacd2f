//! Sizes of files and folders, file heads and file names.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::SourceFile;

/// Median, 90th percentile and maximum of the lines of product files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LineCounts {
    pub(super) files: usize,
    pub(super) median: usize,
    pub(super) p90: usize,
    pub(super) max: usize,
}

pub(super) fn line_counts(files: &[SourceFile]) -> LineCounts {
    let mut lines: Vec<usize> = product(files).map(SourceFile::lines).collect();
    lines.sort_unstable();
    let at = |percent: usize| {
        lines.get(lines.len().saturating_sub(1) * percent / 100).copied().unwrap_or(0)
    };
    LineCounts { files: lines.len(), median: at(50), p90: at(90), max: at(100) }
}

/// `path (lines)` of every file, tests included, with more than `limit` lines.
pub(super) fn long_files(files: &[SourceFile], limit: usize) -> Vec<String> {
    let long = files.iter().filter(|file| file.lines() > limit);
    long.map(|file| format!("{} ({})", file.path, file.lines())).collect()
}

/// Number of product files directly in each folder.
pub(super) fn folder_sizes(files: &[SourceFile]) -> BTreeMap<&str, usize> {
    product(files).fold(BTreeMap::new(), |mut sizes, file| {
        *sizes.entry(file.folder()).or_default() += 1;
        sizes
    })
}

/// Files, tests included, that do not open with `//!`.
pub(super) fn without_head(files: &[SourceFile]) -> Vec<String> {
    let headless = files.iter().filter(|file| !file.text.starts_with("//!"));
    headless.map(|file| file.path.clone()).collect()
}

/// Product files called `tests.rs` or `test.rs`.
pub(super) fn misnamed(files: &[SourceFile]) -> Vec<String> {
    let misnamed =
        product(files).filter(|file| ["tests.rs", "test.rs"].contains(&file.file_name()));
    misnamed.map(|file| file.path.clone()).collect()
}

/// Files `x.rs` next to a folder `x/` with Rust files; the house style is `x/mod.rs`.
pub(super) fn self_named_modules(files: &[SourceFile]) -> Vec<String> {
    let folders: BTreeSet<&str> = files.iter().map(SourceFile::folder).collect();
    let in_packages = files.iter().filter(|file| file.source_root.is_some());
    in_packages
        .filter(|file| folders.contains(file.path.strip_suffix(".rs").unwrap_or_default()))
        .map(|file| file.path.clone())
        .collect()
}

fn product(files: &[SourceFile]) -> impl Iterator<Item = &SourceFile> {
    files.iter().filter(|file| !file.is_test)
}

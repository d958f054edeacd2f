//! The rule packs of a configuration that can be edited.

use std::path::{Path, PathBuf};

use guerdon_inspector::PackPlace;
use guerdon_rules::PackFiles;

use crate::config::{Config, SourceKeys};
use crate::load::texts::packs;

/// The rule packs of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PackSet {
    pub(super) profile: String,
    /// The files and folders that the configuration names.
    pub(super) paths: Vec<PathBuf>,
}

impl PackSet {
    /// True if the configuration names `file`, or the folder that it is in. A file that is only
    /// imported does not count.
    pub(super) fn has(&self, file: &str) -> bool {
        let file = Path::new(file);
        self.paths.iter().any(|path| path == file || file.parent() == Some(path.as_path()))
    }

    /// The texts on disk, with those that they import. Paths that are missing, as `allow_empty`
    /// accepts, are left out.
    pub(super) fn files(&self, root: &Path) -> PackFiles {
        let is_there = |path: &&PathBuf| root.join(path).exists();
        let paths: Vec<PathBuf> = self.paths.iter().filter(is_there).cloned().collect();
        packs(root, &paths).unwrap_or_default()
    }
}

/// The rule packs of every source.
pub(super) fn sets(config: &Config) -> Vec<PackSet> {
    let mut sets = Vec::new();
    for (profile, keys) in &config.profiles {
        let mut add = |paths: &[PathBuf]| {
            if !paths.is_empty() {
                sets.push(PackSet { profile: profile.clone(), paths: paths.to_vec() });
            }
        };
        add(&keys.rules);
        for source in keys.sources.values() {
            if let SourceKeys::Rules(rules) = &source.keys {
                add(&rules.rules);
            }
        }
    }
    sets
}

/// The packs that can be edited: those that the configuration names and that are loaded.
pub(super) fn editable(root: &Path, sets: &[PackSet], loaded: &[PathBuf]) -> Vec<PackPlace> {
    let mut places = Vec::new();
    for set in sets {
        for text in set.files(root).texts {
            if set.has(&text.name) && loaded.contains(&root.join(&text.name)) {
                places.push(PackPlace { profile: set.profile.clone(), file: text.name });
            }
        }
    }
    places.dedup();
    places
}

//! The paths that a profile names. A path that is missing or empty is refused unless `allow_empty`
//! says that it is meant, because a volume that is not mounted looks the same.

use std::path::{Path, PathBuf};

use guerdon_rules::PackFiles;
use guerdon_text::SourceText;

use crate::config::ProfileConfig;
use crate::error::LoadError;
use crate::load::file_set::FileSet;
use crate::load::texts::{NamedPacks, NamedTexts, PROMPTS, add_imports};

/// The named paths of one profile, and those that turned out to be empty.
#[derive(Debug)]
pub(super) struct NamedPaths<'a> {
    profile: &'a str,
    /// The folder that paths are relative to.
    root: &'a Path,
    allow_empty: bool,
    /// The paths that are missing or empty, as they were named.
    pub(super) empty: Vec<PathBuf>,
}

/// Rule packs, of whose texts the first ones have the index of the path that they belong to.
#[derive(Debug, Default)]
pub(super) struct OwnedPacks {
    pub(super) files: PackFiles,
    pub(super) owners: Vec<usize>,
}

impl<'a> NamedPaths<'a> {
    /// No path yet, of the profile called `name`.
    pub(super) fn new(name: &'a str, profile: &ProfileConfig, root: &'a Path) -> Self {
        Self { profile: name, root, allow_empty: profile.allow_empty, empty: Vec::new() }
    }

    /// The name of the profile.
    pub(super) const fn profile(&self) -> &'a str {
        self.profile
    }

    /// The error of a profile whose settings do not fit together.
    pub(super) fn invalid(&self, detail: String) -> LoadError {
        LoadError::Profile { profile: self.profile.to_owned(), detail }
    }

    /// Reads the judge prompts of `paths`.
    ///
    /// # Errors
    /// [`LoadError::Absent`] for a path that is missing or empty and is not allowed to be, and
    /// [`LoadError::Read`] for a file that cannot be read.
    pub(super) fn prompts(
        &mut self,
        files: &mut FileSet,
        paths: &[PathBuf],
    ) -> Result<Vec<SourceText>, LoadError> {
        let mut found = Vec::new();
        for path in paths {
            match NamedTexts::read(files, self.root, path, &PROMPTS)? {
                NamedTexts::Found(texts) => found.extend(texts),
                NamedTexts::Nothing(why) => self.absent("prompts", path, why)?,
            }
        }
        Ok(found)
    }

    /// Reads the rule packs of `paths`, and the files that they import. Files that cannot be read
    /// are errors of the packs' report.
    ///
    /// # Errors
    /// [`LoadError::Absent`] for a path that is missing or empty and is not allowed to be.
    pub(super) fn packs(
        &mut self,
        files: &mut FileSet,
        paths: &[PathBuf],
    ) -> Result<OwnedPacks, LoadError> {
        let mut found = OwnedPacks::default();
        for (index, path) in paths.iter().enumerate() {
            match NamedPacks::read(files, self.root, path, &mut found.files)? {
                NamedPacks::Found => found.owners.resize(found.files.texts.len(), index),
                NamedPacks::Nothing(why) => self.absent("rules", path, why)?,
            }
        }
        // Imported files belong to no path: they have no rules that could be missing.
        add_imports(files, self.root, &mut found.files);
        Ok(found)
    }

    /// Records that `path`, which `key` names, is missing or empty.
    ///
    /// # Errors
    /// [`LoadError::Absent`] unless the profile has `allow_empty`.
    pub(super) fn absent(
        &mut self,
        key: &'static str,
        path: &Path,
        found: &'static str,
    ) -> Result<(), LoadError> {
        let Self { profile, root, .. } = *self;
        let full = root.join(path);
        if !self.allow_empty {
            return Err(LoadError::Absent { profile: profile.to_owned(), key, path: full, found });
        }
        tracing::warn!(profile, key, path = %full.display(), "{found}, which `allow_empty` accepts");
        self.empty.push(path.to_owned());
        Ok(())
    }
}

//! `import:` of a file: the declarations of other files of the same load.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Component, Path};

use guerdon_text::{Finding, SourceText, nearest};

use crate::syntax::codes::PackCode;
use crate::syntax::declarations::FileDeclarations;
use crate::syntax::facts::MAX_COMPARED;
use crate::syntax::files::UnreadableFile;
use crate::syntax::yaml::{self, WithSpan, Yaml};

/// The names of the files that `text` imports, as far as they can be read. A loader reads them, in
/// addition to the files that were named to it.
#[must_use]
pub fn imports(text: &SourceText) -> Vec<String> {
    // Most packs import nothing, and need not be read twice.
    if !text.text.contains("import") {
        return Vec::new();
    }
    let Some(WithSpan { value: Yaml::Map(entries), .. }) = yaml::read(&text.text).0 else {
        return Vec::new();
    };
    let list = entries.iter().find(|(key, _)| key.value == "import").map(|(_, list)| &list.value);
    let Some(Yaml::List(items)) = list else { return Vec::new() };
    let named = items.iter().filter_map(|item| match &item.value {
        Yaml::Text(path) => resolve(&text.name, path).ok(),
        _ => None,
    });
    named.collect()
}

/// The name of the file that `path` names in the file `from`.
fn resolve(from: &str, path: &str) -> Result<String, &'static str> {
    let relative = Path::new(path);
    if path.contains('\\')
        || relative.components().any(|part| !matches!(part, Component::Normal(_)))
    {
        return Err("a path below the folder of this file, without `..`, such as words.yaml");
    }
    if !relative.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") {
        return Err("a file that ends in .yaml or .yml");
    }
    let folder = Path::new(from).parent().unwrap_or(Path::new(""));
    Ok(folder.join(relative).display().to_string())
}

/// A file with what it declares and imports.
#[derive(Debug, Default)]
pub(super) struct Importer {
    pub(super) declared: FileDeclarations,
    /// The paths under `import:`.
    pub(super) paths: Vec<WithSpan<String>>,
    pub(super) findings: Vec<Finding>,
    /// The files that it imports, directly and through others, by their index.
    pub(super) imported: BTreeSet<usize>,
    state: State,
}

/// The progress of resolving the imports of a file.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    Started,
    Done,
}

impl Importer {
    pub(super) fn new(declared: FileDeclarations, paths: Vec<WithSpan<String>>) -> Self {
        Self { declared, paths, ..Self::default() }
    }
}

/// The greatest number of files between a pack and a file that it imports.
const MAX_DEPTH: usize = 16;

/// The greatest number of declarations that all files together import.
const MAX_IMPORTED: usize = 200_000;

/// Adds to every file the declarations of the files that it imports.
pub(super) fn link(texts: &[SourceText], unreadable: &[UnreadableFile], files: &mut [Importer]) {
    let mut names: HashMap<&str, usize> = HashMap::new();
    for (index, text) in texts.iter().enumerate() {
        names.entry(&text.name).or_insert(index);
    }
    let unreadable = unreadable.iter().map(UnreadableFile::name).collect();
    let mut linker = Linker { texts, unreadable, names, files, imported: 0 };
    for index in 0..texts.len() {
        linker.follow(index, 0);
    }
}

/// The reason for which a file is not imported.
enum ImportError {
    /// The file cannot be read, which is reported at that file.
    Unreadable,
    /// The import is wrong.
    Refused { message: String, help: String },
}

impl ImportError {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Refused { message: message.into(), help: help.into() }
    }
}

/// The files while their imports are resolved.
struct Linker<'t, 'f> {
    texts: &'t [SourceText],
    /// The names of the files that cannot be read. Each is an error of its own.
    unreadable: HashSet<&'t str>,
    names: HashMap<&'t str, usize>,
    files: &'f mut [Importer],
    /// The number of declarations that were imported.
    imported: usize,
}

impl Linker<'_, '_> {
    /// Resolves the imports of a file and of the files that it imports.
    fn follow(&mut self, index: usize, depth: usize) {
        let Some(file) = self.files.get_mut(index).filter(|file| file.state == State::Open) else {
            return;
        };
        file.state = State::Started;
        for path in file.paths.clone() {
            let added = self
                .file_at(index, &path.value, depth)
                .and_then(|other| self.add(index, other).map(|()| other));
            let (Err(error), Some(file)) = (added, self.files.get_mut(index)) else { continue };
            file.declared.is_partial = true;
            if let ImportError::Refused { message, help } = error {
                let finding = Finding::new(PackCode::BadImport, path.span, message);
                file.findings.push(finding.help(help));
            }
        }
        if let Some(file) = self.files.get_mut(index) {
            file.state = State::Done;
        }
    }

    /// The file that `path` names in the file `index`, with its imports resolved.
    fn file_at(&mut self, index: usize, path: &str, depth: usize) -> Result<usize, ImportError> {
        let from = self.texts.get(index).map_or("", |text| text.name.as_str());
        let name = resolve(from, path)
            .map_err(|help| ImportError::new(format!("`{path}` cannot be imported"), help))?;
        if self.unreadable.contains(name.as_str()) {
            return Err(ImportError::Unreadable);
        }
        let Some(other) = self.names.get(name.as_str()).copied() else {
            let near =
                nearest(&name, self.texts.iter().take(MAX_COMPARED).map(|text| text.name.as_str()));
            let help = near.map_or_else(
                || "the path is relative to the folder of this file".to_owned(),
                |near| format!("there is {near}"),
            );
            return Err(ImportError::new(format!("there is no file {name}"), help));
        };
        if depth < MAX_DEPTH {
            self.follow(other, depth + 1);
        }
        if self.files.get(other).is_some_and(|file| file.state == State::Done) {
            return Ok(other);
        }
        let message = format!("`{path}` imports this file, or too many files in a row");
        Err(ImportError::new(message, "move what both files use to a third file"))
    }

    /// Adds the declarations of the file `other` to the file `index`.
    fn add(&mut self, index: usize, other: usize) -> Result<(), ImportError> {
        let Some(source) = self.files.get(other) else { return Ok(()) };
        self.imported = self.imported.saturating_add(source.declared.len() + source.imported.len());
        if self.imported > MAX_IMPORTED {
            let message =
                format!("all files together import more than {MAX_IMPORTED} declarations");
            return Err(ImportError::new(message, "import smaller files"));
        }
        let (declared, imported) = (source.declared.clone(), source.imported.clone());
        let Some(file) = self.files.get_mut(index) else { return Ok(()) };
        file.imported.insert(other);
        file.imported.extend(imported);
        let conflicts = file.declared.import(&declared);
        if conflicts.is_empty() {
            return Ok(());
        }
        let message = format!("declared differently in this file: {}", conflicts.join(", "));
        Err(ImportError::new(message, "rename or remove one of the two"))
    }
}

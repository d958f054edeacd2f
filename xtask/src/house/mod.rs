//! House figures: measures of the source tree that the tests hold within limits.
//!
//! | file | content |
//! |---|---|
//! | `layout` | sizes of files and folders, file heads and names |
//! | `type_names` | shared type names, bare past participles |
//! | `doc_comments` | doc blocks and their first words |
//! | `parameters` | functions with many parameters |
//! | `imports` | import cycles between the files of a package |
//! | `commits` | commit titles |
//! | `limits` | the limits, and the test that holds them |

mod commits;
mod doc_comments;
mod imports;
mod layout;
mod limits;
mod parameters;
mod type_names;

use std::fmt::{self, Display, Formatter};
use std::path::Path;

use self::commits::CommitTitles;
use self::imports::ImportCycle;
use self::layout::LineCounts;
use self::limits::{FILE_LINES, FOLDER_FILES, PARAMETERS};
use crate::source::SourceFile;

/// The figures of one state of the source tree, with the places that break a limit.
pub(crate) struct HouseFigures {
    lines: LineCounts,
    long_files: Vec<String>,
    largest_folder: (String, usize),
    crowded_folders: Vec<String>,
    types: usize,
    /// Definitions whose name another definition has too.
    shared_types: usize,
    shared_names: Vec<String>,
    participles: Vec<String>,
    doc_blocks: usize,
    clause_openings: Vec<String>,
    misnamed: Vec<String>,
    without_head: Vec<String>,
    long_parameter_lists: Vec<String>,
    self_named_modules: Vec<String>,
    cycles: Vec<ImportCycle>,
    /// `None` where the history cannot be read.
    commits: Option<CommitTitles>,
}

impl HouseFigures {
    /// Measures the workspace at `root`.
    ///
    /// # Errors
    /// A file cannot be read or parsed.
    pub(crate) fn measure(root: &Path) -> anyhow::Result<Self> {
        let files = crate::source::load(root)?;
        let definitions = type_names::definitions(&files);
        let shared = type_names::shared(&definitions);
        let folders = layout::folder_sizes(&files);
        let largest = folders.iter().max_by_key(|(_, size)| **size);
        let (doc_blocks, clause_openings) = doc_openings(&files)?;
        Ok(Self {
            lines: layout::line_counts(&files),
            long_files: layout::long_files(&files, FILE_LINES),
            largest_folder: largest
                .map(|(path, size)| ((*path).to_owned(), *size))
                .unwrap_or_default(),
            crowded_folders: folders
                .iter()
                .filter(|(_, size)| **size > FOLDER_FILES)
                .map(|(path, size)| format!("{path}/ ({size})"))
                .collect(),
            types: definitions.len(),
            shared_types: shared.values().map(Vec::len).sum(),
            shared_names: shared
                .iter()
                .map(|(name, places)| format!("{name}: {}", places.join(", ")))
                .collect(),
            participles: definitions
                .iter()
                .filter(|definition| type_names::is_bare_participle(&definition.name))
                .map(|definition| format!("{} {}", definition.place, definition.name))
                .collect(),
            doc_blocks,
            clause_openings,
            misnamed: layout::misnamed(&files),
            without_head: layout::without_head(&files),
            long_parameter_lists: parameters::long_lists(&files, PARAMETERS),
            self_named_modules: layout::self_named_modules(&files),
            cycles: imports::cycles(&files),
            commits: commits::titles(root),
        })
    }

    /// Share of types whose name is shared, in percent.
    fn shared_percent(&self) -> f64 {
        percent(self.shared_types, self.types)
    }

    /// Share of doc blocks that open with a clause, in percent.
    fn clause_percent(&self) -> f64 {
        percent(self.clause_openings.len(), self.doc_blocks)
    }

    fn files_in_cycles(&self) -> usize {
        self.cycles.iter().map(|cycle| cycle.files.len()).sum()
    }

    /// The places behind each figure, as headings with one line a place.
    pub(crate) fn offenders(&self) -> String {
        let titles =
            self.commits.as_ref().map(|commits| commits.offenders.as_slice()).unwrap_or_default();
        let cycles: Vec<String> = self.cycles.iter().map(ToString::to_string).collect();
        let sections: [(&str, &[String]); 11] = [
            ("files over the line limit", &self.long_files),
            ("folders over the file limit", &self.crowded_folders),
            ("shared type names", &self.shared_names),
            ("bare past participles", &self.participles),
            ("doc blocks that open with a clause", &self.clause_openings),
            ("tests.rs or test.rs with product code", &self.misnamed),
            ("files without `//!`", &self.without_head),
            ("functions over the parameter limit", &self.long_parameter_lists),
            ("x.rs next to x/", &self.self_named_modules),
            ("import cycles", &cycles),
            ("commit titles", titles),
        ];
        let mut text = String::new();
        for (heading, places) in sections.iter().filter(|(_, places)| !places.is_empty()) {
            text += &format!("\n{heading}:\n");
            for place in *places {
                text += &format!("  {place}\n");
            }
        }
        text
    }
}

impl Display for HouseFigures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let LineCounts { files, median, p90, max } = self.lines;
        let (folder, size) = &self.largest_folder;
        writeln!(
            f,
            "product files            {files} (lines: median {median}, p90 {p90}, max {max})"
        )?;
        writeln!(f, "files over {} lines     {}", FILE_LINES, self.long_files.len())?;
        writeln!(
            f,
            "largest folder           {size} files ({folder}/; {} over {})",
            self.crowded_folders.len(),
            FOLDER_FILES
        )?;
        writeln!(
            f,
            "shared type names        {:.1} % ({} of {} types)",
            self.shared_percent(),
            self.shared_types,
            self.types
        )?;
        writeln!(f, "bare past participles    {}", self.participles.len())?;
        writeln!(
            f,
            "clause openings          {:.1} % ({} of {} doc blocks)",
            self.clause_percent(),
            self.clause_openings.len(),
            self.doc_blocks
        )?;
        writeln!(f, "misnamed tests files     {}", self.misnamed.len())?;
        writeln!(f, "files without `//!`      {}", self.without_head.len())?;
        writeln!(f, "functions over {} params  {}", PARAMETERS, self.long_parameter_lists.len())?;
        writeln!(f, "x.rs next to x/          {}", self.self_named_modules.len())?;
        writeln!(
            f,
            "import cycles            {} ({} files)",
            self.cycles.len(),
            self.files_in_cycles()
        )?;
        match &self.commits {
            Some(titles) => write!(
                f,
                "commit titles            {} of {} break the rule",
                titles.offenders.len(),
                titles.count
            ),
            None => write!(f, "commit titles            unknown (no history)"),
        }
    }
}

/// Number of doc blocks, and the place and first line of each that opens with a clause.
fn doc_openings(files: &[SourceFile]) -> anyhow::Result<(usize, Vec<String>)> {
    let mut count = 0;
    let mut openings = Vec::new();
    for file in files {
        for block in doc_comments::doc_blocks(file.tokens()?) {
            count += 1;
            if block.opens_with_clause() {
                openings.push(format!("{}:{} {}", file.path, block.line, block.opening));
            }
        }
    }
    Ok((count, openings))
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

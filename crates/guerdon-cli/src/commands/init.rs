//! `guerdon init`: writes a configuration with a rule pack, a rubric and a sample into a folder.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};

use super::installed;
use crate::cli::{InitArgs, Template};
use crate::output::outln;

/// The place of the bundled model in the folder; `guerdon.toml` of the templates names it.
const MODEL: &str = "models/e5-hh";

/// Endings of the lines of a configuration that are written only with or only without a model.
const WITH_MODEL: &str = "#@model";
const WITHOUT_MODEL: &str = "#@no-model";

/// A file of a template: its path in the folder, and its text.
type TemplateFile = (&'static str, &'static str);

/// The files of a template; the configuration is the first.
macro_rules! files {
    ($name:literal, $pack:literal, $prompt:literal) => {
        [
            ("guerdon.toml", include_str!(concat!("../../templates/", $name, "/guerdon.toml"))),
            (
                concat!("rules/", $pack),
                include_str!(concat!("../../templates/", $name, "/rules/", $pack)),
            ),
            (
                concat!("judge-prompts/", $prompt),
                include_str!(concat!("../../templates/", $name, "/judge-prompts/", $prompt)),
            ),
            ("rollouts.jsonl", include_str!(concat!("../../templates/", $name, "/rollouts.jsonl"))),
        ]
    };
}

/// The purposes of a template's files, in their order.
const PURPOSES: [&str; 4] =
    ["server, sources and their fusion", "rule pack", "rubric of a judge", "sample"];

impl Template {
    fn files(self) -> [TemplateFile; 4] {
        match self {
            Self::Hotel => files!("hotel", "negotiation.yaml", "negotiation.md"),
            Self::Support => files!("support", "support.yaml", "support.md"),
            Self::Math => files!("math", "answer.yaml", "steps.md"),
            Self::Blank => files!("blank", "house.yaml", "house.md"),
        }
    }

    /// Returns true if the configuration differs with a reward model.
    fn has_model(self) -> bool {
        self.files().iter().any(|(_, text)| text.contains(WITH_MODEL))
    }
}

pub(super) fn run(args: &InitArgs) -> anyhow::Result<ExitCode> {
    let model =
        if args.template.has_model() && !args.no_model { installed::bundled_model() } else { None };
    let files = args.template.files().map(|(path, text)| (path, rendered(text, model.is_some())));
    let targets = files.iter().map(|(path, _)| *path).chain(model.as_ref().map(|_| MODEL));
    let taken: Vec<&str> =
        targets.filter(|path| args.folder.join(path).symlink_metadata().is_ok()).collect();
    ensure!(
        taken.is_empty(),
        "{} already has {}; nothing was written\n  help: name a new folder, as in `guerdon init FOLDER`",
        args.folder.display(),
        taken.join(", ")
    );
    let mut created = WrittenFiles::default();
    let written = write(&args.folder, &files, model.as_deref(), &mut created);
    if let Err(error) = written {
        created.remove();
        return Err(error);
    }
    report(args, &files, model.is_some())?;
    Ok(ExitCode::SUCCESS)
}

/// The text with the lines that are marked for this case, without their marks, and without the lines
/// of the other case.
fn rendered(text: &str, has_model: bool) -> String {
    let (kept, dropped) =
        if has_model { (WITH_MODEL, WITHOUT_MODEL) } else { (WITHOUT_MODEL, WITH_MODEL) };
    let lines = text.lines().filter(|line| !line.ends_with(dropped));
    lines
        .map(|line| line.strip_suffix(kept).map_or(line, str::trim_end))
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// The files and folders of this run.
#[derive(Debug, Default)]
struct WrittenFiles {
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl WrittenFiles {
    /// Creates a folder with its parents.
    fn folder(&mut self, path: &Path) -> io::Result<()> {
        if path.is_dir() || path.as_os_str().is_empty() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        match std::fs::create_dir(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // The operating system says only that something is there.
                return Err(io::Error::new(
                    ErrorKind::NotADirectory,
                    format!("{} exists and is not a folder; name another one", path.display()),
                ));
            }
            made => made?,
        }
        self.folders.push(path.to_owned());
        Ok(())
    }

    /// Creates a file, with its folder. A file that exists is an error.
    fn file(&mut self, path: &Path) -> io::Result<File> {
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        let file = File::create_new(path)?;
        self.files.push(path.to_owned());
        Ok(file)
    }

    /// Removes everything again, after an error. What cannot be removed stays.
    fn remove(&self) {
        for file in &self.files {
            drop(std::fs::remove_file(file));
        }
        for folder in self.folders.iter().rev() {
            drop(std::fs::remove_dir(folder));
        }
    }
}

fn write(
    folder: &Path,
    files: &[(&str, String)],
    model: Option<&Path>,
    created: &mut WrittenFiles,
) -> anyhow::Result<()> {
    for (name, text) in files {
        let path = folder.join(name);
        created
            .file(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let Some(model) = model else { return Ok(()) };
    copy_files(model, &folder.join(MODEL), created)
        .with_context(|| format!("cannot copy the model {}", model.display()))
}

/// Copies the plain files of a folder.
fn copy_files(from: &Path, to: &Path, created: &mut WrittenFiles) -> io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        // Follows links: a package may link its files.
        if std::fs::metadata(entry.path())?.is_file() {
            let mut source = File::open(entry.path())?;
            let mut target = created.file(&to.join(entry.file_name()))?;
            io::copy(&mut source, &mut target)?;
        }
    }
    if to.is_dir() { Ok(()) } else { Err(ErrorKind::NotFound.into()) }
}

fn report(args: &InitArgs, files: &[(&str, String)], has_model: bool) -> anyhow::Result<()> {
    let folder = args.folder.display();
    outln!("wrote into {folder}:")?;
    for ((path, _), purpose) in files.iter().zip(PURPOSES) {
        outln!("  {path:<30} {purpose}")?;
    }
    if has_model {
        outln!("  {MODEL:<30} small reward model, for trying guerdon")?;
    } else if args.template.has_model() {
        outln!("  without a reward model: the reward is made of rules and judge")?;
    }
    outln!("\nnext:")?;
    if args.folder != Path::new(".") {
        outln!("  cd {}", shell_word(&args.folder))?;
    }
    outln!("  guerdon score rollouts.jsonl --local --table")?;
    outln!("  guerdon serve")?;
    Ok(())
}

/// The folder as a word of a shell's `cd`.
fn shell_word(folder: &Path) -> String {
    let name = folder.display().to_string();
    // `cd` reads a leading dash as an option.
    let name = if name.starts_with('-') { format!("./{name}") } else { name };
    // Fails only for a zero byte, which no path has.
    shlex::try_quote(&name).map(|word| word.into_owned()).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_lines_are_kept_for_their_case_and_lose_the_mark() {
        let text = "a = 1\nb = 2   #@model\nc = 3 #@no-model\n";
        assert_eq!(rendered(text, true), "a = 1\nb = 2\n");
        assert_eq!(rendered(text, false), "a = 1\nc = 3\n");
    }

    #[test]
    fn folder_is_one_word_of_the_shell() {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["reward", "a b", "it's", "$HOME", "a;b", "-x", "~", "价 格", "a\"b", "*", "a#b", "#a"]
        {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            let script = format!("cd {} && pwd", shell_word(Path::new(name)));
            let output = std::process::Command::new("sh")
                .args(["-c", &script])
                .current_dir(folder.path())
                .output()
                .unwrap();
            let there = String::from_utf8(output.stdout).unwrap();
            assert!(there.trim_end().ends_with(&format!("/{name}")), "{script}: {there}");
        }
        assert_eq!(shell_word(Path::new("reward/hotel-1")), "reward/hotel-1");
    }

    #[test]
    fn failed_run_removes_only_its_own_files_and_folders() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let mut created = WrittenFiles::default();
        std::fs::create_dir(root.join("old")).unwrap();
        created.file(&root.join("new/deep/file")).unwrap();
        created.file(&root.join("old/file")).unwrap();
        File::create(root.join("old/kept")).unwrap();
        created.remove();
        assert!(!root.join("new").exists());
        assert!(!root.join("old/file").exists() && root.join("old/kept").exists());
    }
}

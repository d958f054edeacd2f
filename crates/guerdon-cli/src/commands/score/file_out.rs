//! Results in a file. They are collected in a part next to it, in the order in which they arrive;
//! the file itself is replaced at the end.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use guerdon_types::{GroupComparison, RolloutResult, ScoreRequest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::finished::FinishedRun;
use super::input::{FileId, Input};
use super::numbers::CallerNumbers;
use super::pairs::PairTally;
use super::parquet_out::{ParquetOutput, is_parquet};
use super::report::ErrorReport;
use crate::commands::table::table;
use crate::output::errln;
use crate::part::{PartFile, behind_links, folder_of, replace};

/// The identity of a run: a part is continued only by the same run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RunIdentity {
    /// The hash of the decompressed input.
    input: String,
    rollouts: usize,
    /// The settings of the requests.
    settings: Value,
    /// The versions that make the rewards, if the server reports them.
    versions: Option<Value>,
}

impl RunIdentity {
    pub(super) fn new(
        input: &Input,
        template: &ScoreRequest,
        numbers: &CallerNumbers,
        versions: Option<Value>,
    ) -> anyhow::Result<Self> {
        let mut settings = serde_json::to_value(template)?;
        if let Value::Object(settings) = &mut settings {
            settings.extend(input.options.settings());
            settings.extend(numbers.settings());
        }
        let (rollouts, input) = (input.rollouts, input.sha256.clone());
        Ok(Self { input, rollouts, settings, versions })
    }

    /// The differences to `earlier`, in words.
    fn differences(&self, earlier: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if (&self.input, self.rollouts) != (&earlier.input, earlier.rollouts) {
            found.push(format!(
                "the input is another one ({} rollouts, {} then)",
                self.rollouts, earlier.rollouts
            ));
        }
        for key in different_keys(Some(&self.settings), Some(&earlier.settings)) {
            let shown = |settings: &Value| match settings.get(&key) {
                Some(value) => guerdon_text::cut(&value.to_string(), 80).into_owned(),
                None => "not set".to_owned(),
            };
            let (now, then) = (shown(&self.settings), shown(&earlier.settings));
            found.push(format!("`{key}` is {now}, and was {then}"));
        }
        if self.versions != earlier.versions {
            let keys = different_keys(self.versions.as_ref(), earlier.versions.as_ref());
            found.push(format!("the versions that score are others ({})", keys.join(", ")));
        }
        found
    }
}

/// The keys with different values in two objects.
pub(super) fn different_keys(one: Option<&Value>, other: Option<&Value>) -> Vec<String> {
    let empty = serde_json::Map::new();
    let object = |value: Option<&Value>| value.and_then(Value::as_object).unwrap_or(&empty).clone();
    let (one, other) = (object(one), object(other));
    let keys: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    keys.into_iter().filter(|key| one.get(*key) != other.get(*key)).cloned().collect()
}

/// The file of the results, and its part.
#[derive(Debug, Clone)]
pub(super) struct OutputPaths {
    /// The file, behind symbolic links.
    target: PathBuf,
    part: PathBuf,
    /// The record of a finished run that may be resumed.
    done: PathBuf,
}

impl OutputPaths {
    /// Checks that the results can replace `path`. `None` if it is a device or a pipe, which is
    /// written as standard output is.
    ///
    /// # Errors
    /// It is the input, or a file in its folder cannot be written.
    pub(super) fn new(path: &Path, input: &Input) -> anyhow::Result<Option<Self>> {
        let cannot = || format!("cannot write {}", path.display());
        // Asked before the links are followed: the link of a pipe in /proc leads to no path.
        if let Ok(metadata) = std::fs::metadata(path) {
            ensure!(!metadata.is_dir(), "cannot write {}: it is a folder", path.display());
            if !metadata.is_file() {
                return Ok(None);
            }
        }
        let target = behind_links(path)?;
        let beside = |ending: &str| {
            let mut path = target.clone().into_os_string();
            path.push(ending);
            PathBuf::from(path)
        };
        let (part, done) = (beside(".part"), beside(".done"));
        for taken in [&target, &part, &done] {
            let is_input =
                std::fs::metadata(taken).is_ok_and(|metadata| FileId::of(&metadata) == input.id());
            ensure!(
                !is_input,
                "--out {} would overwrite the input\n  help: name another file",
                taken.display()
            );
        }
        // Told before anything is scored.
        tempfile::Builder::new()
            .prefix(".guerdon-")
            .tempfile_in(folder_of(&target))
            .with_context(cannot)?;
        Ok(Some(Self { target, part, done }))
    }
}

/// Collects results for a file.
#[derive(Debug)]
pub(super) struct FileOutput {
    paths: OutputPaths,
    identity: RunIdentity,
    as_table: bool,
    resume: bool,
    pairs: PairTally,
    /// Created with the first result.
    part: Option<PartFile>,
    /// Set if an earlier run wrote the part.
    is_continued: bool,
    /// The rollouts without a reward of the same run, which has finished before.
    finished: Option<usize>,
    /// Set for a part of a run over many files: the texts at its end.
    notes: Option<Vec<(String, String)>>,
}

/// The way in which a file is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileMode {
    /// Continues an earlier run.
    pub(super) resume: bool,
    /// Writes a table instead of JSON lines.
    pub(super) as_table: bool,
}

impl FileOutput {
    /// Opens the part of an earlier run, if it is to be continued.
    ///
    /// # Errors
    /// A part exists although the run does not continue one, or the run continues a part and none
    /// of this run exists.
    pub(super) fn open(
        paths: OutputPaths,
        identity: RunIdentity,
        mode: FileMode,
        pairs: PairTally,
    ) -> anyhow::Result<Self> {
        let FileMode { resume, as_table } = mode;
        let (target, shown) = (paths.target.display(), paths.part.display());
        let (mut part, mut finished) = (None, None);
        match PartFile::open::<RunIdentity>(&paths.part)? {
            Some((found, _)) if found.count() == 0 => found.remove()?,
            Some((found, _)) if !resume => bail!(
                "{shown} has {} results of a run that was interrupted\n  help: add --resume to continue it, \
                 or delete {shown} to start again",
                found.count()
            ),
            Some((found, earlier)) => {
                let differences = identity.differences(&earlier);
                if !differences.is_empty() {
                    bail!(
                        "{shown} cannot be continued: {}\n  help: repeat the earlier run, or delete {shown} \
                         to start again",
                        differences.join("; ")
                    );
                }
                part = Some(found);
            }
            None if resume && paths.target.exists() => {
                let found = FinishedRun::<RunIdentity>::read(&paths.done, &paths.target)?;
                let differences = |found: FinishedRun<RunIdentity>| {
                    let mut differences = identity.differences(&found.run);
                    if found.as_table != as_table {
                        differences.push("--table was given to one of the runs only".to_owned());
                    }
                    (differences, found.unscored)
                };
                match found.map(differences) {
                    Some((differences, unscored)) if differences.is_empty() => {
                        finished = Some(unscored);
                    }
                    Some((differences, _)) => bail!(
                        "{target} is the result of another run: {}\n  help: leave --resume out to score \
                         everything again",
                        differences.join("; ")
                    ),
                    None => bail!(
                        "{target} exists, and there is no {shown} to continue\n  help: leave --resume out to \
                         score everything again"
                    ),
                }
            }
            None => {}
        }
        let is_continued = part.is_some();
        Ok(Self {
            paths,
            identity,
            as_table,
            resume,
            pairs,
            part,
            is_continued,
            finished,
            notes: None,
        })
    }

    /// Writes the file as a part with these texts at its end. A part has no word about the calls
    /// that made it, so that the same rewards are the same bytes.
    pub(super) fn write_as_part(&mut self, notes: Vec<(String, String)>) {
        self.notes = Some(notes);
    }

    pub(super) fn is_done(&self, index: usize) -> bool {
        self.finished.is_some() || self.part.as_ref().is_some_and(|part| part.contains(index))
    }

    /// The number of results.
    pub(super) fn count(&self) -> usize {
        self.part.as_ref().map_or(0, PartFile::count)
    }

    pub(super) fn take(&mut self, index: usize, result: &RolloutResult) -> anyhow::Result<()> {
        let part = match &mut self.part {
            Some(part) => part,
            None => self.part.insert(PartFile::create(&self.paths.part, &self.identity)?),
        };
        part.append(index, result)
    }

    pub(super) fn sync(&self) -> anyhow::Result<()> {
        self.part.as_ref().map_or(Ok(()), PartFile::sync)
    }

    /// A sentence that names the place of the results; `None` without results.
    pub(super) fn kept(&self) -> Option<String> {
        let count = self.count();
        (count > 0).then(|| {
            format!(
                "{count} of {} results are in {}; add --resume to the same command to continue",
                self.identity.rollouts,
                self.paths.part.display()
            )
        })
    }

    /// Replaces the file by the results and removes the part.
    ///
    /// # Errors
    /// The file cannot be written. The part is kept.
    pub(super) fn finish(self) -> anyhow::Result<ErrorReport> {
        if let Some(unscored) = self.finished {
            errln!("{} is complete; nothing was scored", self.paths.target.display());
            return Ok(ErrorReport::of_finished(unscored));
        }
        ensure!(
            self.identity.rollouts > 0 || is_empty(&self.paths.target),
            "the input has no rollout; {} is unchanged",
            self.paths.target.display()
        );
        let report = self.write()?;
        if self.resume {
            let unscored = report.unscored;
            FinishedRun::new(self.identity, &self.paths.target, self.as_table, unscored)?
                .write(&self.paths.done)?;
        } else {
            // The record of an earlier run describes results that were replaced.
            drop(std::fs::remove_file(&self.paths.done));
        }
        self.part.map_or(Ok(()), PartFile::remove)?;
        Ok(report)
    }

    /// Returns true if an earlier run wrote some of the results.
    pub(super) const fn is_continued(&self) -> bool {
        self.is_continued
    }

    /// The groups of all results, also of those that an earlier run has made.
    ///
    /// # Errors
    /// The input or the part cannot be read.
    pub(super) fn compared_groups(&self, input: &Input) -> anyhow::Result<GroupComparison> {
        let mut groups = GroupComparison::default();
        let mut entries = input.entries()?;
        while let Some(entry) = entries.next()? {
            let Ok(rollout) = &entry.rollout else { continue };
            let Some(group) = &rollout.group else { continue };
            if let Some(result) = self.value(entry.index)? {
                groups.add(entry.index, group, &serde_json::from_slice(&result)?);
            }
        }
        Ok(groups)
    }

    /// The JSON text of a result.
    fn value(&self, index: usize) -> anyhow::Result<Option<Vec<u8>>> {
        self.part.as_ref().map_or(Ok(None), |part| part.value(index))
    }

    fn write(&self) -> anyhow::Result<ErrorReport> {
        let mut report = ErrorReport::new(self.pairs.clone());
        replace(&self.paths.target, |out| match is_parquet(&self.paths.target) {
            true => {
                let mut rows = ParquetOutput::new(out, self.notes.is_some())?;
                self.each(&mut report, |line| rows.write(line))?;
                for (name, text) in self.notes.iter().flatten() {
                    rows.note(name, text);
                }
                if self.notes.is_some() {
                    rows.note("guerdon.unscored", &report.unscored.to_string());
                }
                rows.finish()
            }
            false => self.write_text(&mut report, out),
        })?;
        Ok(report)
    }

    fn write_text(&self, report: &mut ErrorReport, out: &mut dyn Write) -> anyhow::Result<()> {
        let mut rows = Vec::new();
        self.each(report, |line| {
            if self.as_table {
                rows.push(serde_json::from_slice(line)?);
                return Ok(());
            }
            out.write_all(line)?;
            Ok(out.write_all(b"\n")?)
        })?;
        if self.as_table && !rows.is_empty() {
            writeln!(out, "{}", table(&rows))?;
        }
        Ok(())
    }

    /// Notes each result in the report and gives its JSON text to `write`.
    fn each(
        &self,
        report: &mut ErrorReport,
        mut write: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for index in 0..self.identity.rollouts {
            let Some(line) = self.value(index)? else {
                bail!("rollout {index} has no result");
            };
            report.note_json(&line)?;
            write(&line)?;
        }
        Ok(())
    }
}

fn is_empty(path: &Path) -> bool {
    std::fs::metadata(path).map_or(true, |metadata| metadata.len() == 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_named() {
        let run = |input: &str, settings: Value, versions: Option<Value>| RunIdentity {
            input: input.into(),
            rollouts: 3,
            settings,
            versions,
        };
        let settings = json!({"profile": "a"});
        let earlier = run("x", settings.clone(), Some(json!({"rm": "1", "rules": {}})));
        assert!(earlier.differences(&earlier).is_empty());
        let words = |run: RunIdentity| run.differences(&earlier).join("; ");
        let versions = earlier.versions.clone();
        assert!(words(run("y", settings.clone(), versions.clone())).contains("the input"));
        let other = words(run("x", json!({"profile": "b", "sources": ["rm"]}), versions));
        assert!(other.contains("`profile` is \"b\", and was \"a\""), "{other}");
        assert!(other.contains("`sources` is [\"rm\"], and was not set"), "{other}");
        let other = words(run("x", settings, Some(json!({"rm": "2", "rules": {}}))));
        assert!(other.ends_with("others (rm)"), "{other}");
    }
}

//! Statistics, export, import and purge of a store, for `guerdon cache`.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::log::LogChange;
use super::store::Store;
use crate::ask::answer::{JudgeAnswer, now_seconds};
use crate::ask::key::QuestionKey;
use crate::error::StoreError;

/// Statistics of a store.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct StoreStats {
    /// Number of answers.
    pub answers: u64,
    /// Size of the file in bytes.
    pub file_bytes: u64,
    /// Answers and their cost, by prompt.
    pub prompts: BTreeMap<String, PromptStats>,
    /// Spending by account (`day:…` and `run:…`), including failed attempts.
    pub spent: BTreeMap<String, f64>,
}

/// Statistics of one prompt.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct PromptStats {
    /// Number of answers.
    pub answers: u64,
    /// Cost of the answers.
    pub cost: f64,
    /// Time of the oldest answer, in seconds since 1970.
    pub oldest: u64,
    /// Time of the newest answer, in seconds since 1970.
    pub newest: u64,
}

/// Selects answers to remove. All given conditions must match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Purge {
    /// Only answers that are at least this old.
    pub older_than: Option<Duration>,
    /// Only answers to this prompt.
    pub prompt: Option<String>,
}

/// One line of an export.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportLine {
    key: QuestionKey,
    answer: JudgeAnswer,
}

impl Store {
    /// Statistics of the store.
    ///
    /// # Errors
    /// [`StoreError`], if the file cannot be read.
    pub fn stats(&self) -> Result<StoreStats, StoreError> {
        let file_bytes =
            std::fs::metadata(&self.path).map_err(|error| self.fails().with(&error))?.len();
        let mut stats = StoreStats { file_bytes, ..StoreStats::default() };
        self.for_each_answer(|_, answer| {
            let prompt = stats.prompts.entry(answer.prompt.clone()).or_default();
            prompt.oldest =
                if prompt.answers == 0 { answer.at } else { prompt.oldest.min(answer.at) };
            prompt.newest = prompt.newest.max(answer.at);
            prompt.answers += 1;
            prompt.cost += answer.usage.cost;
            stats.answers += 1;
            Ok(())
        })?;
        Ok(StoreStats { spent: self.log()?.spent().clone(), ..stats })
    }

    /// Writes every answer as one JSON line, in the order of the keys. Returns the number of
    /// answers.
    ///
    /// # Errors
    /// [`StoreError`], if the file cannot be read or `out` cannot be written.
    pub fn export(&self, mut out: impl Write) -> Result<u64, StoreError> {
        let mut count = 0;
        self.for_each_answer(|key, answer| {
            serde_json::to_writer(&mut out, &ExportLine { key, answer })
                .map_err(std::io::Error::from)?;
            count += 1;
            out.write_all(b"\n")
        })?;
        out.flush().map_err(|error| self.fails().with(&error))?;
        Ok(count)
    }

    /// Imports the output of [`Store::export`]. If any line is not an answer, nothing is imported.
    /// Of two answers to one question the newer is kept. Returns the number of imported answers.
    ///
    /// # Errors
    /// [`StoreError`], with the line number if a line is not an answer, or if the file cannot be
    /// written.
    pub fn import(&self, lines: impl BufRead) -> Result<u64, StoreError> {
        let fails = self.fails();
        let mut imported = Vec::new();
        for (number, line) in lines.lines().enumerate() {
            let line = line.map_err(|error| fails.with(&error))?;
            if line.trim().is_empty() {
                continue;
            }
            let ExportLine { key, answer } = serde_json::from_str(&line).map_err(|error| {
                fails.because(format!("line {} is not an answer: {error}", number + 1))
            })?;
            if self.get(&key)?.is_none_or(|existing| existing.at < answer.at) {
                imported.push(LogChange::Keep(key, answer));
            }
        }
        self.write_now(&imported)?;
        Ok(imported.len() as u64)
    }

    /// Removes answers and returns their number. Recorded spending is kept. A running server uses
    /// the answers in its memory until they expire.
    ///
    /// # Errors
    /// [`StoreError`], if the file cannot be read or written.
    pub fn purge(&self, which: &Purge) -> Result<u64, StoreError> {
        let Purge { older_than, prompt } = which;
        let newest = older_than.map(|age| now_seconds().saturating_sub(age.as_secs()));
        let mut removed = Vec::new();
        self.for_each_answer(|key, answer| {
            let matches = newest.is_none_or(|newest| answer.at <= newest)
                && prompt.as_ref().is_none_or(|prompt| answer.prompt == *prompt);
            removed.extend(matches.then_some(LogChange::Forget(key)));
            Ok(())
        })?;
        self.write_now(&removed)?;
        Ok(removed.len() as u64)
    }

    /// Calls `visit` with every readable answer.
    pub(crate) fn for_each_answer(
        &self,
        mut visit: impl FnMut(QuestionKey, JudgeAnswer) -> std::io::Result<()>,
    ) -> Result<(), StoreError> {
        let log = self.log()?;
        for key in log.keys() {
            let answer = log.answer(&key).map_err(|error| self.fails().with(&error))?;
            if let Some(answer) = answer {
                visit(key, answer).map_err(|error| self.fails().with(&error))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::tests::{SYNC, answer, key};
    use super::*;

    #[tokio::test]
    async fn import_adds_exported_answers_and_keeps_the_newer_one() {
        let folder = tempfile::tempdir().unwrap();
        let from = Store::open(&folder.path().join("from.log"), SYNC).unwrap();
        for byte in 0..5 {
            from.keep(key(byte), &answer("a", 10)).await.unwrap();
        }
        let mut lines = Vec::new();
        assert_eq!(from.export(&mut lines).unwrap(), 5);
        let to = Store::open(&folder.path().join("to.log"), SYNC).unwrap();
        to.keep(key(0), &answer("newer", 11)).await.unwrap();
        assert_eq!(to.import(lines.as_slice()).unwrap(), 4);
        assert_eq!(to.get(&key(0)).unwrap().unwrap().prompt, "newer");
        let stats = to.stats().unwrap();
        assert_eq!((stats.answers, stats.prompts["a"].answers), (5, 4));
        assert!((stats.prompts["a"].cost - 1.0).abs() < 1e-12);
        let error = to.import("\n{\"key\": 3}\n".as_bytes()).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }

    #[tokio::test]
    async fn purge_removes_answers_that_match_all_conditions() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("judge.log"), SYNC).unwrap();
        store.keep(key(1), &answer("a", 10)).await.unwrap();
        store.keep(key(2), &answer("b", 10)).await.unwrap();
        store.keep(key(3), &answer("a", now_seconds())).await.unwrap();
        let old = Some(Duration::from_secs(3600));
        assert_eq!(
            store.purge(&Purge { older_than: old, prompt: Some("a".to_owned()) }).unwrap(),
            1
        );
        assert!(store.get(&key(1)).unwrap().is_none());
        assert_eq!(store.purge(&Purge::default()).unwrap(), 2);
    }
}

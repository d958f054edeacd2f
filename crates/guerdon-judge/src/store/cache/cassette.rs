//! Cassettes: recording the outcomes of a run's questions, and replaying them later without an
//! endpoint, bit for bit.
//!
//! Every caller's outcome is recorded, including failures and deadlines, in the order of the
//! callers of a question. A replay returns them in that order and repeats the last one. A question
//! that was not recorded abstains, because a replay never calls the endpoint. Only callers of the
//! same question can swap their outcomes.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::sync::Arc;

use guerdon_types::{AbstainReason, AbstainWhy, Usage};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::ask::answer::{Failure, JudgeAnswer, Outcome};
use crate::ask::key::QuestionKey;
use crate::config::{CassetteConfig, CassetteMode};
use crate::store::lines::LineWriter;

/// A recording in progress, or a replay.
#[derive(Debug)]
pub(crate) enum Cassette {
    Record(Recorder),
    Replay(Player),
}

/// The outcome of one caller.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CassetteLine {
    key: QuestionKey,
    cached: bool,
    usage: Usage,
    got: RecordedOutcome,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RecordedOutcome {
    Answer(Arc<JudgeAnswer>),
    Failure {
        why: AbstainWhy,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<AbstainReason>,
        detail: String,
    },
    /// The same outcome as the previous caller of this question.
    Same,
}

impl Cassette {
    pub(crate) fn open(config: &CassetteConfig) -> Result<Self, String> {
        let CassetteConfig { path, mode } = config;
        let named = |error: std::io::Error| format!("{} cannot be used: {error}", path.display());
        match mode {
            CassetteMode::Record => {
                // A cassette holds one run, so an existing file is not appended to.
                if path.metadata().is_ok_and(|file| file.len() > 0) {
                    let path = path.display();
                    return Err(format!(
                        "{path} holds a run already; name another file, or move it away"
                    ));
                }
                let lines = LineWriter::open(path, None).map_err(named)?;
                Ok(Self::Record(Recorder { lines, last: Mutex::default() }))
            }
            CassetteMode::Replay => Ok(Self::Replay(Player::read(path)?)),
        }
    }
}

/// Writes a cassette.
#[derive(Debug)]
pub(crate) struct Recorder {
    lines: LineWriter,
    last: Mutex<HashMap<QuestionKey, RecordedOutcome>>,
}

impl Recorder {
    pub(crate) async fn record(&self, key: QuestionKey, asked: &Outcome) {
        let got = match &asked.result {
            Ok(answer) => RecordedOutcome::Answer(Arc::clone(answer)),
            Err(Failure { why, reason, detail, patience_end: _ }) => {
                RecordedOutcome::Failure { why: *why, reason: *reason, detail: detail.clone() }
            }
        };
        let before = self.last.lock().insert(key, got.clone());
        let got = if before.as_ref() == Some(&got) { RecordedOutcome::Same } else { got };
        let line = CassetteLine { key, cached: asked.cached, usage: asked.usage, got };
        match serde_json::to_string(&line) {
            Ok(line) => self.lines.append(line).await,
            Err(error) => tracing::error!("a line of the cassette is lost: {error}"),
        }
    }
}

/// Replays a cassette.
#[derive(Debug)]
pub(crate) struct Player {
    tracks: HashMap<QuestionKey, Track>,
}

#[derive(Debug, Default)]
struct Track {
    lines: Vec<CassetteLine>,
    next: Mutex<usize>,
}

impl Player {
    fn read(path: &Path) -> Result<Self, String> {
        let named = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
        let file = BufReader::new(std::fs::File::open(path).map_err(named)?);
        let mut tracks: HashMap<QuestionKey, Track> = HashMap::new();
        for (number, line) in file.lines().enumerate() {
            let wrong = |detail: &str| format!("{}:{}: {detail}", path.display(), number + 1);
            let line = line.map_err(named)?;
            let mut line: CassetteLine =
                serde_json::from_str(&line).map_err(|error| wrong(&error.to_string()))?;
            let track = tracks.entry(line.key).or_default();
            if line.got == RecordedOutcome::Same {
                let before = track
                    .lines
                    .last()
                    .ok_or_else(|| wrong("repeats an answer that is not there"))?;
                line.got = before.got.clone();
            }
            track.lines.push(line);
        }
        Ok(Self { tracks })
    }

    /// The next outcome of a question.
    pub(crate) fn play(&self, key: QuestionKey) -> Outcome {
        let track = self.tracks.get(&key).and_then(|track| {
            let mut next = track.next.lock();
            let line = track.lines.get(*next).or_else(|| track.lines.last())?;
            *next += 1;
            Some(line)
        });
        let Some(CassetteLine { key: _, cached, usage, got }) = track else {
            let detail = "this question is not on the replayed cassette";
            let failure = Failure::new(AbstainWhy::Unreachable, detail);
            return Outcome { result: Err(failure), usage: Usage::default(), cached: false };
        };
        let result = match got {
            RecordedOutcome::Answer(answer) => Ok(Arc::clone(answer)),
            RecordedOutcome::Failure { why, reason, detail } => {
                Err(Failure::new(*why, detail.clone()).because(*reason))
            }
            // Replaced while the file was read.
            RecordedOutcome::Same => {
                Err(Failure::new(AbstainWhy::Internal, "the cassette repeats a missing outcome"))
            }
        };
        Outcome { result, usage: *usage, cached: *cached }
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::tests::{answer, key};
    use super::*;

    fn asked(result: Result<JudgeAnswer, (AbstainWhy, &str)>, cached: bool) -> Outcome {
        let result = result.map(Arc::new).map_err(|(why, detail)| Failure::new(why, detail));
        Outcome {
            result,
            usage: Usage { judge_calls: u64::from(!cached), ..Usage::default() },
            cached,
        }
    }

    #[tokio::test]
    async fn recorded_outcomes_are_replayed_in_order_with_failures() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        let config = |mode| CassetteConfig { path: path.clone(), mode };
        let script = [
            asked(Err((AbstainWhy::Deadline, "late")), false),
            asked(Ok(answer("a", 7)), false),
            asked(Ok(answer("a", 7)), true),
        ];
        let Cassette::Record(recorder) = Cassette::open(&config(CassetteMode::Record)).unwrap()
        else {
            panic!()
        };
        for asked in &script {
            recorder.record(key(1), asked).await;
        }
        drop(recorder);
        let Cassette::Replay(player) = Cassette::open(&config(CassetteMode::Replay)).unwrap()
        else {
            panic!()
        };
        for wanted in script.iter().chain([&script[2]]) {
            let got = player.play(key(1));
            assert_eq!((got.cached, got.usage), (wanted.cached, wanted.usage));
            assert_eq!(got.result, wanted.result);
        }
        let unknown = player.play(key(2)).result.unwrap_err();
        assert_eq!(unknown.why, AbstainWhy::Unreachable);
        let again = Cassette::open(&config(CassetteMode::Record)).unwrap_err();
        assert!(again.contains("holds a run already"), "{again}");
    }

    #[test]
    fn a_tape_that_is_torn_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("torn.jsonl");
        #[expect(clippy::disallowed_methods, reason = "the test writes its input")]
        std::fs::write(&path, "{\"key\": \"ab\n").unwrap();
        let error =
            Cassette::open(&CassetteConfig { path, mode: CassetteMode::Replay }).unwrap_err();
        assert!(error.contains("torn.jsonl:1:"), "{error}");
    }
}

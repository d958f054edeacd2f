//! A run's judge on tape: record what every question got, and replay it later without an endpoint, bit for bit.
//!
//! What is recorded is what each asker got, failures and deadlines included, in the order of a question's askers; a
//! replay hands them out in that order and repeats the last for ever. A question that is not on the tape abstains: a
//! replay never calls anybody. Askers of one and the same question may change places among themselves, nothing else.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use guerdon_types::{AbstainWhy, Usage};
use serde::{Deserialize, Serialize};

use crate::ask::answer::{Answer, Asked, Failure};
use crate::ask::key::Key;
use crate::config::{CassetteConfig, CassetteMode};
use crate::store::lines::Lines;

/// A tape that is being recorded, or played.
#[derive(Debug)]
pub(crate) enum Cassette {
    Record(Recorder),
    Replay(Player),
}

/// One asker's line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    key: Key,
    cached: bool,
    usage: Usage,
    got: Got,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Got {
    Answer(Arc<Answer>),
    Failure {
        why: AbstainWhy,
        detail: String,
    },
    /// What the asker of this question before got as well.
    Same,
}

impl Cassette {
    pub(crate) fn open(config: &CassetteConfig) -> Result<Self, String> {
        let CassetteConfig { path, mode } = config;
        let named = |error: std::io::Error| format!("{} cannot be used: {error}", path.display());
        match mode {
            CassetteMode::Record => {
                // Not appended to what another run left: a tape is one run.
                if path.metadata().is_ok_and(|file| file.len() > 0) {
                    let path = path.display();
                    return Err(format!(
                        "{path} holds a run already; name another file, or move it away"
                    ));
                }
                let lines = Lines::open(path, None).map_err(named)?;
                Ok(Self::Record(Recorder { lines, last: Mutex::default() }))
            }
            CassetteMode::Replay => Ok(Self::Replay(Player::read(path)?)),
        }
    }
}

/// Writes a tape.
#[derive(Debug)]
pub(crate) struct Recorder {
    lines: Lines,
    last: Mutex<HashMap<Key, Got>>,
}

impl Recorder {
    pub(crate) async fn record(&self, key: Key, asked: &Asked) {
        let got = match &asked.result {
            Ok(answer) => Got::Answer(Arc::clone(answer)),
            Err(Failure { why, detail, gave_up: _ }) => {
                Got::Failure { why: *why, detail: detail.clone() }
            }
        };
        let before =
            self.last.lock().unwrap_or_else(PoisonError::into_inner).insert(key, got.clone());
        let got = if before.as_ref() == Some(&got) { Got::Same } else { got };
        let line = Line { key, cached: asked.cached, usage: asked.usage, got };
        match serde_json::to_string(&line) {
            Ok(line) => self.lines.append(line).await,
            Err(error) => tracing::error!("a line of the cassette is lost: {error}"),
        }
    }
}

/// Plays a tape.
#[derive(Debug)]
pub(crate) struct Player {
    tracks: HashMap<Key, Track>,
}

#[derive(Debug, Default)]
struct Track {
    lines: Vec<Line>,
    next: Mutex<usize>,
}

impl Player {
    fn read(path: &Path) -> Result<Self, String> {
        let named = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
        let file = BufReader::new(std::fs::File::open(path).map_err(named)?);
        let mut tracks: HashMap<Key, Track> = HashMap::new();
        for (number, line) in file.lines().enumerate() {
            let wrong = |detail: &str| format!("{}:{}: {detail}", path.display(), number + 1);
            let line = line.map_err(named)?;
            let mut line: Line =
                serde_json::from_str(&line).map_err(|error| wrong(&error.to_string()))?;
            let track = tracks.entry(line.key).or_default();
            if line.got == Got::Same {
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

    pub(crate) fn play(&self, key: Key) -> Asked {
        let track = self.tracks.get(&key).and_then(|track| {
            let mut next = track.next.lock().unwrap_or_else(PoisonError::into_inner);
            let line = track.lines.get(*next).or_else(|| track.lines.last())?;
            *next += 1;
            Some(line)
        });
        let Some(Line { key: _, cached, usage, got }) = track else {
            let detail = "this question is not on the cassette that is replayed";
            let failure = Failure::new(AbstainWhy::Unreachable, detail);
            return Asked { result: Err(failure), usage: Usage::default(), cached: false };
        };
        let result = match got {
            Got::Answer(answer) => Ok(Arc::clone(answer)),
            Got::Failure { why, detail } => Err(Failure::new(*why, detail.clone())),
            // Resolved when the tape was read.
            Got::Same => Err(Failure::new(AbstainWhy::Internal, "the cassette repeats nothing")),
        };
        Asked { result, usage: *usage, cached: *cached }
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::tests::{answer, key};
    use super::*;

    fn asked(result: Result<Answer, (AbstainWhy, &str)>, cached: bool) -> Asked {
        let result = result.map(Arc::new).map_err(|(why, detail)| Failure::new(why, detail));
        Asked {
            result,
            usage: Usage { judge_calls: u64::from(!cached), ..Usage::default() },
            cached,
        }
    }

    #[tokio::test]
    async fn what_was_recorded_is_replayed_in_order_failures_included() {
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
        #[expect(clippy::disallowed_methods, reason = "a test writes what is to be read")]
        std::fs::write(&path, "{\"key\": \"ab\n").unwrap();
        let error =
            Cassette::open(&CassetteConfig { path, mode: CassetteMode::Replay }).unwrap_err();
        assert!(error.contains("torn.jsonl:1:"), "{error}");
    }
}

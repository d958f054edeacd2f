//! The form of a recording, and where recordings are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use guerdon_tests::repository;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Requests to one server, in order, with the replies that they got.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recording {
    /// The subject, for readers.
    about: String,
    /// The configuration in `tests/corpus/servers` without its extension.
    pub(super) server: String,
    pub(super) cases: Vec<Case>,
}

/// One request and its reply.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    /// Files next to the configuration that are replaced before the request is sent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) files: BTreeMap<String, String>,
    pub(super) request: Request,
    /// Sends the request again, a bounded number of times, until the reply has this status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<u16>,
    /// Names for values of the reply, by JSON pointer. `@name@` in a later body is replaced with
    /// the value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) keep: BTreeMap<String, String>,
    /// `status`, `headers`, and one of `body` (JSON), `lines` (NDJSON), `text`, `metrics`,
    /// `routes`.
    #[serde(default)]
    pub(super) reply: Value,
    /// The form that a deliberate change gave the reply. `reply` then documents the first edition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) becomes: Option<Becomes>,
}

/// A request. The body is `body` (JSON), `text`, or `hex` (bytes).
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hex: Option<String>,
}

/// A request that succeeds as a whole while some rollouts have errors of their own.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Becomes {
    pub(super) status: u16,
    /// The number of results. Results without an error have a reward.
    pub(super) results: usize,
    /// The errors by the index of their rollout.
    pub(super) errors: BTreeMap<usize, RolloutError>,
}

/// The error of one rollout.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RolloutError {
    /// The code; any, if it is not set.
    pub(super) code: Option<String>,
    /// The start of the pointer.
    pub(super) pointer: String,
}

impl Recording {
    pub(super) fn read(name: &str) -> Self {
        serde_json::from_str(&read(&path("replies").join(format!("{name}.json")))).unwrap()
    }

    pub(super) fn write(&self, name: &str) {
        write(&path("replies").join(format!("{name}.json")), self);
    }
}

/// True if replies are to be recorded instead of compared.
pub(super) fn records() -> bool {
    #[expect(clippy::disallowed_methods, reason = "a switch of this test, not of the product")]
    let switch = std::env::var("GUERDON_RECORD");
    switch.is_ok()
}

/// A folder of the corpus.
pub(super) fn path(folder: &str) -> PathBuf {
    repository().join("tests/corpus").join(folder)
}

/// A file of `tests/corpus/servers`.
pub(super) fn server_file(name: &str) -> String {
    read(&path("servers").join(name))
}

/// The names of a folder's files with `extension`, sorted, without it.
pub(super) fn names(folder: &str, extension: &str) -> Vec<String> {
    let files = std::fs::read_dir(path(folder)).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|file| file.extension().is_some_and(|found| found == extension));
    let mut names: Vec<_> =
        files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[expect(clippy::disallowed_methods, reason = "a test reads its own files")]
pub(super) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a file of the corpus")
}

/// Writes `value` as JSON.
#[expect(clippy::disallowed_methods, reason = "the recorder writes its own files")]
pub(super) fn write(path: &Path, value: &impl Serialize) {
    let mut text = serde_json::to_string_pretty(value).unwrap();
    text.push('\n');
    std::fs::write(path, text).unwrap();
}

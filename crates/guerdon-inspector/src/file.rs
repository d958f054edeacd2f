//! Scored rollouts of a file: what `guerdon score` and `POST /v1/score` write, with the dialogues
//! from the file that was scored.

use std::collections::HashMap;
use std::sync::Arc;

use guerdon_types::{
    Context, Message, Rollout, RolloutId, RolloutResult, ScoreResponse, StreamLine, Versions,
};
use serde::Deserialize;
use serde_json::Value;

use crate::record::{Labels, Record};

/// A line of the file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{file} line {line} is not a scored rollout: {error}\n  help: {HELP}")]
pub struct FileError {
    /// The name of the text.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The reason.
    pub error: String,
}

const HELP: &str = "name a file that `guerdon score --out` or `guerdon ledger export` wrote, or a reply of POST /v1/score";

/// The labels that a line may have beside the result, as an export of a ledger has them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Beside {
    messages: Option<Vec<Message>>,
    context: Context,
    tools: Vec<Value>,
    group: Option<String>,
    run: Option<String>,
    step: Option<i64>,
    split: Option<String>,
    profile: Option<String>,
    digest: Option<String>,
    generation: Option<u64>,
    request_id: Option<String>,
    recorded_ms: Option<i64>,
    versions: Option<Versions>,
    cost: Option<f64>,
    judge_calls: Option<u64>,
}

impl Beside {
    fn record(self, result: RolloutResult, shared: Option<&Arc<Versions>>) -> Record {
        let versions = self.versions.map(Arc::new).or_else(|| shared.cloned());
        let of = versions.as_deref();
        let labels = Labels {
            group: self.group,
            run: self.run,
            step: self.step,
            split: self.split,
            profile: self.profile.or_else(|| of.map(|versions| versions.profile.to_string())),
            digest: self.digest.or_else(|| of.and_then(|versions| versions.digest.clone())),
            generation: self.generation.or_else(|| of.map(|versions| versions.generation)),
            request_id: self.request_id,
            recorded_ms: self.recorded_ms,
        };
        let (cost, judge_calls) = (self.cost, self.judge_calls);
        let Self { messages, context, tools, .. } = self;
        Record { key: 0, labels, messages, context, tools, result, versions, cost, judge_calls }
    }
}

/// The scored rollouts of `text`: lines with one result each, which may end with the summary of a
/// stream, or a whole reply. `name` is for errors.
///
/// # Errors
/// [`FileError`] for the first line that is neither.
pub fn read_results(name: &str, text: &str) -> Result<Vec<Record>, FileError> {
    if let Ok(response) = serde_json::from_str::<ScoreResponse>(text) {
        let versions = Arc::new(response.versions);
        let beside =
            || Beside { request_id: Some(response.request_id.to_string()), ..Beside::default() };
        let results = response.results.into_iter();
        return Ok(results.map(|result| beside().record(result, Some(&versions))).collect());
    }
    let mut records: Vec<Record> = Vec::new();
    // The results since the last summary.
    let mut waiting: Vec<(RolloutResult, Beside)> = Vec::new();
    for (line, json) in (1..).zip(text.lines()) {
        if json.trim().is_empty() {
            continue;
        }
        if let Ok(StreamLine::Summary(summary)) = serde_json::from_str(json) {
            let versions = Arc::new(summary.versions);
            let results = waiting.drain(..);
            records.extend(results.map(|(result, beside)| beside.record(result, Some(&versions))));
            continue;
        }
        let failed = |error: serde_json::Error| FileError {
            file: name.to_owned(),
            line,
            error: error.to_string(),
        };
        let result = serde_json::from_str(json).map_err(failed)?;
        let beside = serde_json::from_str(json).map_err(failed)?;
        waiting.push((result, beside));
    }
    records.extend(waiting.into_iter().map(|(result, beside)| beside.record(result, None)));
    Ok(records)
}

/// Adds the dialogues and groups of the scored file: those of the rollout with the result's id, by
/// default its index.
///
/// # Errors
/// [`FileError`] for the first line that is no rollout.
pub fn add_rollouts(records: &mut [Record], name: &str, text: &str) -> Result<(), FileError> {
    let mut rollouts: HashMap<RolloutId, Rollout> = HashMap::new();
    let lines = (1..).zip(text.lines()).filter(|(_, json)| !json.trim().is_empty());
    for (index, (line, json)) in lines.enumerate() {
        let failed = |error: serde_json::Error| FileError {
            file: name.to_owned(),
            line,
            error: error.to_string(),
        };
        let rollout: Rollout = serde_json::from_str(json).map_err(failed)?;
        let id = rollout.id.clone().unwrap_or_else(|| RolloutId::from(index.to_string()));
        rollouts.insert(id, rollout);
    }
    for record in records {
        let Some(rollout) = rollouts.get(&record.result.id) else { continue };
        record.labels.group =
            record.labels.group.take().or_else(|| rollout.group.as_ref().map(ToString::to_string));
        if record.messages.is_none() {
            record.messages = Some(rollout.messages.clone());
            record.context.clone_from(&rollout.context);
            record.tools.clone_from(&rollout.tools);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESULT: &str = r#"{"id": "a", "reward": 1.5, "turns": []}"#;

    #[test]
    fn lines_and_whole_replies_are_read() {
        let fusion = serde_json::to_string(&guerdon_types::FusionConfig::default()).unwrap();
        let versions = format!(
            r#"{{"profile": "hotel", "fusion": {fusion}, "generation": 3, "digest": "sha256:ab"}}"#
        );
        let usage = r#"{"judge_calls":0,"judge_cache_hits":0,"prompt_tokens":0,"completion_tokens":0,"cost":0}"#;
        let reply = format!(
            r#"{{"request_id": "q", "results": [{RESULT}], "versions": {versions}, "usage": {usage}}}"#
        );
        let stream = format!(
            "{{\"index\": 0, {}\n{{\"request_id\": \"q\", \"results\": 1, \"versions\": {versions}, \"usage\": {usage}}}\n",
            &RESULT[1..]
        );
        for text in [reply, stream] {
            let records = read_results("f", &text).unwrap();
            assert_eq!(records.len(), 1, "{text}");
            assert_eq!(records[0].labels.digest.as_deref(), Some("sha256:ab"));
            assert_eq!(records[0].labels.generation, Some(3));
        }
    }

    #[test]
    fn labels_of_an_export_and_the_dialogue_of_the_scored_file_are_read() {
        let line = format!("{{\"run\": \"exp\", \"step\": 7, {}", &RESULT[1..]);
        let mut records = read_results("f", &line).unwrap();
        assert_eq!(
            (records[0].labels.run.as_deref(), records[0].labels.step),
            (Some("exp"), Some(7))
        );
        let rollout = r#"{"id": "a", "group": "g", "messages": [{"role": "assistant", "content": "Hi"}], "context": {"price": 420}}"#;
        add_rollouts(&mut records, "in", rollout).unwrap();
        assert_eq!(records[0].labels.group.as_deref(), Some("g"));
        let read = records[0].rollout().unwrap();
        assert_eq!(
            (read.messages[0].content.as_str(), &read.context["price"]),
            ("Hi", &420.into())
        );
    }

    #[test]
    fn line_that_is_no_result_is_an_error_with_its_place() {
        let error = read_results("out.jsonl", &format!("{RESULT}\n\n{{\"id\": 1}}")).unwrap_err();
        assert!(
            error.to_string().starts_with("out.jsonl line 3 is not a scored rollout"),
            "{error}"
        );
    }
}

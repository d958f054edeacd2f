//! A rollout as a line of JSON: the result as `guerdon score` writes it, next to its labels and the
//! fields of the rollout.

use guerdon_ledger::StoredRollout;
use serde_json::{Map, Value, json};

/// The line of a rollout.
pub(super) fn line(stored: &StoredRollout) -> anyhow::Result<String> {
    Ok(serde_json::to_string(&Value::Object(object(stored)?))?)
}

/// The object of a rollout.
pub(super) fn object(stored: &StoredRollout) -> anyhow::Result<Map<String, Value>> {
    let mut object = match serde_json::to_value(&stored.result)? {
        Value::Object(object) => object,
        other => Map::from_iter([("result".to_owned(), other)]),
    };
    let versions = &stored.versions;
    let labels = json!({
        "number": stored.id,
        "recorded_ms": stored.recorded_ms,
        "request_id": stored.request_id,
        "run": stored.labels.run,
        "step": stored.labels.step,
        "split": stored.labels.split,
        "group": stored.group,
        "attempt": stored.attempt,
        "sample": stored.sample,
        "profile": versions.profile,
        "generation": versions.generation,
        "digest": versions.digest,
        "cost": stored.cost,
        "judge_calls": stored.judge_calls,
        "scoring_ms": stored.scoring_ms,
    });
    if let Value::Object(labels) = labels {
        object.extend(labels);
    }
    if let Some(Value::Object(rollout)) =
        stored.rollout.as_ref().map(serde_json::to_value).transpose()?
    {
        for (key, value) in rollout {
            object.entry(key).or_insert(value);
        }
    }
    Ok(object)
}

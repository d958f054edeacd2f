//! `POST /aggregate_metrics`: NeMo-Gym's request after all rollouts are verified. The reply has the
//! mean, the maximum, the minimum, the median and the standard deviation of every number in the
//! verified rollouts, for each task and for all.
//!
//! Rollouts without a reward are left out of all statistics: their 0 is a placeholder. (NeMo-Gym
//! does not send such rollouts.) Histograms are left out, as in NeMo-Gym's own files.

use std::collections::BTreeMap;

use axum::response::Response;
use guerdon_types::{Invalid, Problem, ProblemCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::nemo_gym::FAILURE_CLASS;
use crate::score::{NamedNumbers, ScoreCall, UrlOptions};
use crate::service::{ApiError, JsonBody, compute, json_bytes, json_reply};

const TASK: &str = "_ng_task_index";
const ROLLOUT: &str = "_ng_rollout_index";

pub(super) fn routes() -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(aggregate_metrics))
}

/// The verified rollouts.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct AggregateRequest {
    /// The replies of `/verify`, without dialogues, with `_ng_task_index` and `_ng_rollout_index`.
    #[schema(value_type = Vec<Object>)]
    verify_responses: Vec<Map<String, Value>>,
}

/// Statistics under names such as `mean/reward` and `std/rm`.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
struct AggregateReply {
    /// The statistics of each task, with its rollouts' numbers in `rollout_infos`.
    #[schema(value_type = Vec<Object>)]
    group_level_metrics: Vec<Map<String, Value>>,
    /// The statistics of all rollouts.
    agent_metrics: NamedNumbers,
    /// The means among `agent_metrics`.
    key_metrics: NamedNumbers,
}

/// Aggregates verified rollouts as a NeMo-Gym resources server does.
#[utoipa::path(post, path = "/aggregate_metrics", tag = "trainers", params(UrlOptions),
    request_body = AggregateRequest, responses(
    (status = 200, body = AggregateReply),
    (status = "4XX", description = "Two rollouts have the same index.", body = Problem,
        content_type = "application/problem+json"),
))]
async fn aggregate_metrics(
    call: ScoreCall,
    JsonBody(request): JsonBody<AggregateRequest>,
) -> Result<Response, ApiError> {
    // Statistics and the text of the reply grow with the request.
    let reply = move || -> Result<Vec<u8>, ApiError> {
        json_bytes(&aggregated(&request.verify_responses)?)
    };
    let json = compute(reply).await??;
    drop(call);
    Ok(json_reply(json))
}

fn aggregated(responses: &[Map<String, Value>]) -> Result<AggregateReply, Invalid> {
    let mut tasks: BTreeMap<i64, BTreeMap<i64, NamedNumbers>> = BTreeMap::new();
    for (place, response) in responses.iter().enumerate() {
        if response.contains_key(FAILURE_CLASS) {
            continue;
        }
        let index = |name| response.get(name).and_then(Value::as_i64).unwrap_or(0);
        let (task, rollout) = (index(TASK), index(ROLLOUT));
        if tasks.entry(task).or_default().insert(rollout, numbers(response)).is_some() {
            let pointer = format!("/verify_responses/{place}");
            let detail = format!("task {task} has two rollouts {rollout}");
            return Err(Invalid::new(ProblemCode::InvalidRequest, pointer, detail)
                .hint(format!("give each rollout of a task a `{ROLLOUT}` of its own")));
        }
    }
    let agent_metrics = described(tasks.values().flat_map(BTreeMap::values));
    Ok(AggregateReply {
        group_level_metrics: tasks.iter().map(|(task, rollouts)| group(*task, rollouts)).collect(),
        key_metrics: agent_metrics
            .clone()
            .into_iter()
            .filter(|(name, _)| name.starts_with("mean/"))
            .collect(),
        agent_metrics,
    })
}

/// The numbers in a response, including the token counts of the policy's model
/// (`response.usage`).
fn numbers(response: &Map<String, Value>) -> NamedNumbers {
    let usage = response
        .get("response")
        .and_then(|response| response.get("usage"))
        .and_then(Value::as_object);
    let fields = response.iter().filter(|(name, _)| ![TASK, ROLLOUT].contains(&name.as_str()));
    let number = |(name, value): (&String, &Value)| {
        let number = value.as_f64().or_else(|| value.as_bool().map(f64::from))?;
        Some((name.clone(), number))
    };
    fields.chain(usage.into_iter().flatten()).filter_map(number).collect()
}

fn group(task: i64, rollouts: &BTreeMap<i64, NamedNumbers>) -> Map<String, Value> {
    let infos = rollouts.iter().map(|(rollout, numbers)| {
        let mut info =
            Map::from_iter(numbers.iter().map(|(name, number)| (name.clone(), json!(number))));
        info.insert("rollout_id".to_owned(), json!(format!("{task}:{rollout}")));
        info.insert(TASK.to_owned(), json!(task));
        info.insert(ROLLOUT.to_owned(), json!(rollout));
        info
    });
    let fixed = json!({
        TASK: task,
        "sample": { "agent_ref": { "name": "agent" } },
        "num_rollouts": rollouts.len(),
        "expected_num_rollouts": rollouts.len(),
        "missing_num_rollouts": 0,
        "reward_profile_completion_pct": 100.0,
        "rollout_infos": infos.collect::<Vec<_>>(),
    });
    let statistics = described(rollouts.values());
    let mut group: Map<String, Value> =
        statistics.into_iter().map(|(name, number)| (name, json!(number))).collect();
    group.extend(fixed.as_object().cloned().unwrap_or_default());
    group
}

/// Statistics of each name over the rollouts that have it, in time that grows with the numbers, not
/// with names times rollouts. The standard deviation is the sample's. If no name has two numbers, it
/// is 0 for the names that every rollout has, as in NeMo-Gym.
fn described<'r>(rollouts: impl Iterator<Item = &'r NamedNumbers>) -> NamedNumbers {
    let mut columns: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut count = 0;
    for numbers in rollouts {
        count += 1;
        for (name, number) in numbers {
            columns.entry(name.as_str()).or_default().push(*number);
        }
    }
    columns.values_mut().for_each(|values| values.sort_by(f64::total_cmp));
    let spread = columns.values().any(|values| values.len() > 1);
    let mut described = NamedNumbers::new();
    for (name, values) in &columns {
        let (Some(min), Some(max), Some(mean)) = (values.first(), values.last(), mean(values))
        else {
            continue;
        };
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        let std = match deviation(values, mean) {
            None if !spread && values.len() == count => Some(0.0),
            std => std,
        };
        let statistics = [
            ("mean", Some(mean)),
            ("max", Some(*max)),
            ("min", Some(*min)),
            ("median", Some(median)),
            ("std", std),
        ];
        let found =
            statistics.into_iter().filter_map(|(statistic, value)| Some((statistic, value?)));
        described.extend(found.map(|(statistic, value)| (format!("{statistic}/{name}"), value)));
    }
    described
}

#[expect(clippy::cast_precision_loss, reason = "a request holds fewer than 2^52 rollouts")]
fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The standard deviation of a sample; `None` for a single value.
#[expect(clippy::cast_precision_loss, reason = "a request holds fewer than 2^52 rollouts")]
fn deviation(values: &[f64], mean: f64) -> Option<f64> {
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition: for each name, the values of all rollouts that have it.
    fn by_definition(rollouts: &[NamedNumbers]) -> NamedNumbers {
        let names: std::collections::BTreeSet<&String> =
            rollouts.iter().flat_map(NamedNumbers::keys).collect();
        let column = |name: &str| -> Vec<f64> {
            rollouts.iter().filter_map(|numbers| numbers.get(name).copied()).collect()
        };
        let spread = names.iter().any(|name| column(name).len() > 1);
        let mut described = NamedNumbers::new();
        for name in names {
            let mut values = column(name);
            values.sort_by(f64::total_cmp);
            let mean = mean(&values).unwrap();
            let (low, high) = ((values.len() - 1) / 2, values.len() / 2);
            described.insert(format!("mean/{name}"), mean);
            described.insert(format!("min/{name}"), values[0]);
            described.insert(format!("max/{name}"), values[values.len() - 1]);
            described.insert(format!("median/{name}"), f64::midpoint(values[low], values[high]));
            let constant = (!spread && values.len() == rollouts.len()).then_some(0.0);
            if let Some(std) = deviation(&values, mean).or(constant) {
                described.insert(format!("std/{name}"), std);
            }
        }
        described
    }

    proptest! {
        #[test]
        fn statistics_are_those_of_each_name_over_the_rollouts_that_have_it(
            rollouts in proptest::collection::vec(
                proptest::collection::btree_map("[abc]", (-9..9i32).prop_map(f64::from), 0..4),
                0..6,
            ),
        ) {
            prop_assert_eq!(described(rollouts.iter()), by_definition(&rollouts));
        }
    }

    /// Numbers that are read grow with the numbers that are sent, also if each rollout has names of
    /// its own.
    #[test]
    fn a_name_of_its_own_for_each_rollout_costs_no_more_than_one_for_all() {
        let rollouts: Vec<NamedNumbers> = (0..40_000_u32)
            .map(|n| NamedNumbers::from([(format!("n{n}"), f64::from(n))]))
            .collect();
        let described = described(rollouts.iter());
        assert_eq!(described.len(), 4 * rollouts.len());
        let responses: Vec<Map<String, Value>> = (0..40_000)
            .map(|n| Map::from_iter([(format!("n{n}"), json!(n)), (TASK.to_owned(), json!(n))]))
            .collect();
        let reply = aggregated(&responses).unwrap();
        assert_eq!(reply.group_level_metrics.len(), responses.len());
        // Each group has its own name alone.
        assert!(reply.group_level_metrics.iter().all(|group| group.len() < 20));
    }
}

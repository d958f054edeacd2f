//! `POST /submit_task` and `GET /task_result`: ROLL's reward system. The client submits a task and
//! polls every two seconds, with a JSON body in a GET, until `errcode` is not 1.
//!
//! If `errcode` is neither 0 nor 1, the client polls until its timeout. If a task has no score, the
//! client submits it again, up to five times, and then records a score of 0. An unscored or unknown
//! task is therefore answered with `errcode` 0 and a `null` score. The client then retries at once,
//! and the judge is paid only for answers that are not in its cache.
//!
//! No other adapter keeps state. A running task holds a permit for concurrent requests, which
//! bounds the number of running tasks. A result is removed ten minutes after the last poll for it.
//! All tasks stop with the server.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::{Extension, Json};
use guerdon_types::{Problem, ProblemCode, RequestId};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::Instrument as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::score::{Item, ItemScores, OnFailure, Protocol, ScoreCall, UrlOptions, contributions};
use crate::service::{ApiError, JsonBody};
use crate::text::{continued, facts};

/// ROLL as a protocol. Its client polls for 300 s by default.
pub(super) const PROTOCOL: Protocol = Protocol {
    client: "ROLL",
    client_timeout: Duration::from_secs(300),
    on_failure: OnFailure::Null,
};

/// Longest time that one poll waits for its task. The client allows 20 s for each poll.
const LONG_POLL: Duration = Duration::from_secs(10);

/// Time for which a result is kept after the last poll for it.
const RESULT_TTL: Duration = Duration::from_secs(600);

/// Limit of the tasks kept, running or finished.
const MAX_TASKS: usize = 65_536;

pub(super) fn routes() -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(submit_task))
        .routes(routes!(task_result))
        .layer(Extension(Arc::new(Mutex::new(RollTasks::new()))))
}

/// A task. The fields for ROLL's project, priority and plug-ins are ignored.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct SubmitTaskRequest {
    /// The prompt's text.
    prompt: String,
    /// The response's text.
    response: String,
    /// The dataset's reference: the context for rules and judge.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    reward_info: Value,
    /// Seconds after which the client stops polling.
    #[serde(default)]
    timeout: Option<f64>,
}

/// A submitted task.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SubmittedTask {
    /// Always 0.
    errcode: u8,
    errmsg: String,
    /// The id to poll with.
    reward_request_id: String,
}

/// The id of a task.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct TaskResultRequest {
    reward_request_id: String,
}

/// The state of a task.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
struct TaskResult {
    /// 0 when the task is done, 1 while it runs.
    errcode: u8,
    /// The reason why there is no score.
    errmsg: String,
    /// The fused reward, or `null`.
    reward_score: Option<f64>,
    /// The contribution of each source, and in `residual` the effect of clips and gates. (The
    /// spelling is ROLL's.)
    dimention_reward_score: BTreeMap<String, Dimension>,
}

/// One part of a score.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
struct Dimension {
    score: f64,
}

impl TaskResult {
    fn without_score(errcode: u8, errmsg: impl Into<String>) -> Self {
        Self {
            errcode,
            errmsg: errmsg.into(),
            reward_score: None,
            dimention_reward_score: BTreeMap::new(),
        }
    }

    fn of(answers: &ItemScores) -> Self {
        let Some(answer) = answers.items.first() else {
            return Self::without_score(0, "the task has no item");
        };
        let parts = contributions(answer, &answers.sources, &answers.fusion);
        Self {
            errcode: 0,
            errmsg: answer.failure.clone().unwrap_or_default(),
            reward_score: answer.reward,
            dimention_reward_score: parts
                .into_iter()
                .map(|(name, score)| (name, Dimension { score }))
                .collect(),
        }
    }
}

/// Submits a task; poll for its result with `/task_result`.
#[utoipa::path(post, path = "/submit_task", tag = "trainers", params(UrlOptions),
    request_body = SubmitTaskRequest, responses(
    (status = 200, body = SubmittedTask),
    (status = "4XX", description = "The request is not a task.", body = Problem,
        content_type = "application/problem+json"),
    (status = 503, description = "Overloaded.", body = Problem,
        content_type = "application/problem+json"),
))]
async fn submit_task(
    mut call: ScoreCall,
    Extension(tasks): Extension<Arc<Mutex<RollTasks>>>,
    Extension(request_id): Extension<RequestId>,
    JsonBody(request): JsonBody<SubmitTaskRequest>,
) -> Result<Json<SubmittedTask>, ApiError> {
    // An unknown profile is refused here, because the client does not accept that error in a poll.
    call.service.profile(call.options.profile.as_ref())?;
    call.options.deadline_ms =
        call.options.deadline_ms.or_else(|| task_deadline_ms(request.timeout?));
    let item = call.compute(move |options| {
        let dialogue = continued(&request.prompt, &request.response, options.thoughts);
        Item::text(dialogue, facts("reward_info", request.reward_info))
    });
    let item = item.await?;
    let (sender, result) = watch::channel(None);
    let work = async move {
        let scored = match call.score(&PROTOCOL, vec![item]).await {
            Ok(answers) => TaskResult::of(&answers),
            Err(error) => TaskResult::without_score(2, error.detail()),
        };
        drop(call);
        sender.send_replace(Some(scored));
    };
    // Not the request id: a client can send two requests with the same one.
    let id = uuid::Uuid::now_v7().simple().to_string();
    tracing::debug!(task = id, request = %request_id, "task submitted");
    let mut tasks = tasks.lock();
    tasks.insert(id.clone(), result, work.in_current_span())?;
    Ok(Json(SubmittedTask { errcode: 0, errmsg: String::new(), reward_request_id: id }))
}

/// The deadline of a task in milliseconds: four fifths of the client's polling time, so that the
/// client still polls after the task has ended.
fn task_deadline_ms(seconds: f64) -> Option<u64> {
    let wait = Duration::try_from_secs_f64(seconds * 0.8).ok().filter(|wait| !wait.is_zero())?;
    u64::try_from(wait.as_millis()).ok()
}

/// Returns the state of a task. Waits up to 10 seconds for the task to finish.
#[utoipa::path(get, path = "/task_result", tag = "trainers", request_body = TaskResultRequest,
    responses(
    (status = 200, body = TaskResult),
    (status = "4XX", description = "The request has no task id.", body = Problem,
        content_type = "application/problem+json"),
))]
async fn task_result(
    Extension(tasks): Extension<Arc<Mutex<RollTasks>>>,
    JsonBody(request): JsonBody<TaskResultRequest>,
) -> Json<TaskResult> {
    let result = tasks.lock().result(&request.reward_request_id);
    let Some(mut result) = result else {
        return Json(TaskResult::without_score(0, "unknown task; submit it again"));
    };
    Json(match tokio::time::timeout(LONG_POLL, result.wait_for(Option::is_some)).await {
        Ok(Ok(result)) => {
            result.clone().unwrap_or_else(|| TaskResult::without_score(0, "the task has no result"))
        }
        Ok(Err(_)) => TaskResult::without_score(0, "the task failed; see the server's log"),
        Err(_) => TaskResult::without_score(1, "the task is running"),
    })
}

/// The running tasks, and the finished ones whose results are kept.
#[derive(Debug)]
struct RollTasks {
    by_id: HashMap<String, RollTask>,
    /// The time at which abandoned results were last removed.
    last_sweep: Instant,
}

#[derive(Debug)]
struct RollTask {
    result: watch::Receiver<Option<TaskResult>>,
    last_poll: Instant,
    /// Runs the task; aborts it on drop.
    work: JoinSet<()>,
}

impl RollTasks {
    fn new() -> Self {
        Self { by_id: HashMap::new(), last_sweep: Instant::now() }
    }

    /// Starts `work`, which sends its result to `result`.
    fn insert(
        &mut self,
        id: String,
        result: watch::Receiver<Option<TaskResult>>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ApiError> {
        if self.by_id.len() >= MAX_TASKS || self.last_sweep.elapsed() > RESULT_TTL / 10 {
            self.last_sweep = Instant::now();
            self.by_id.retain(|_, task| {
                task.result.borrow().is_none() || task.last_poll.elapsed() < RESULT_TTL
            });
        }
        if self.by_id.len() >= MAX_TASKS {
            let detail = format!("too many running and unpolled tasks (limit {MAX_TASKS})");
            return Err(ApiError::new(ProblemCode::Overloaded, detail));
        }
        let mut task = RollTask { result, last_poll: Instant::now(), work: JoinSet::new() };
        task.work.spawn(work);
        self.by_id.insert(id, task);
        Ok(())
    }

    /// The result of a task. Counts as a poll.
    fn result(&mut self, id: &str) -> Option<watch::Receiver<Option<TaskResult>>> {
        let task = self.by_id.get_mut(id)?;
        task.last_poll = Instant::now();
        Some(task.result.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_deadline_is_four_fifths_of_the_polling_time() {
        assert_eq!(task_deadline_ms(300.0), Some(240_000));
        assert_eq!([0.0, -1.0, f64::INFINITY, f64::NAN].map(task_deadline_ms), [None; 4]);
    }

    #[tokio::test]
    async fn failed_task_differs_from_unknown_task() {
        let mut tasks = RollTasks::new();
        let (sender, result) = watch::channel(None);
        tasks.insert("a".to_owned(), result, async move { drop(sender) }).unwrap();
        assert!(tasks.result("a").unwrap().wait_for(Option::is_some).await.is_err());
        assert!(tasks.result("b").is_none());
    }
}

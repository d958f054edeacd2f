//! `POST /submit_task` and `GET /task_result`: ROLL's reward system. The client submits a task and
//! polls every two seconds, with a JSON body in a GET, until `errcode` is not 1.
//!
//! With any `errcode` but 0 and 1 the client polls until its timeout. If a task has no score, the
//! client submits it again, up to five times, and then writes a 0 of its own. An unscored or
//! unknown task is therefore answered with `errcode` 0 and a `null` score: the retry comes at once,
//! and the judge is paid only for answers that are not in its cache.
//!
//! Tasks are the only state of any adapter. A task at work holds a permit for concurrent requests,
//! which bounds their number; a result is removed ten minutes after the last poll. All tasks stop
//! with the server.

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

use crate::score::contributions;
use crate::score::{Item, ItemScores, Protocol, ScoreCall};
use crate::score::{OnFailure, UrlOptions};
use crate::service::{ApiError, JsonBody};
use crate::text::continued;
use crate::text::facts;

/// ROLL polls for 300 s by default.
pub(super) const PROTOCOL: Protocol = Protocol {
    client: "ROLL",
    client_timeout: Duration::from_secs(300),
    on_failure: OnFailure::Null,
};

/// Longest wait of one poll for the end of its task. The client gives every poll 20 s.
const LONG_POLL: Duration = Duration::from_secs(10);

/// Time for which a result is kept after the last poll for it.
const KEPT: Duration = Duration::from_secs(600);

/// Most tasks and results that are kept.
const MOST_KEPT: usize = 65_536;

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
    /// 0 when the task is done, 1 while it is at work.
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
    // Refused here, since the client does not accept such an error later.
    call.service.profile(call.options.profile.as_ref())?;
    call.options.deadline_ms =
        call.options.deadline_ms.or_else(|| task_deadline_ms(request.timeout?));
    let dialogue = continued(&request.prompt, &request.response, call.options.thoughts);
    let item = Item::text(dialogue, facts("reward_info", request.reward_info));
    let (sender, result) = watch::channel(None);
    let work = async move {
        let scored = match call.score(&PROTOCOL, vec![item]).await {
            Ok(answers) => TaskResult::of(&answers),
            Err(error) => TaskResult::without_score(2, error.detail()),
        };
        drop(call);
        sender.send_replace(Some(scored));
    };
    // The request's own id would be the same for two requests of a client that sets it.
    let id = uuid::Uuid::now_v7().simple().to_string();
    tracing::debug!(task = id, request = %request_id, "A task was submitted.");
    let mut tasks = tasks.lock();
    tasks.insert(id.clone(), result, work.in_current_span())?;
    Ok(Json(SubmittedTask { errcode: 0, errmsg: String::new(), reward_request_id: id }))
}

/// Four fifths of the time for which the client polls, in milliseconds, so that a poll for the
/// result still follows.
fn task_deadline_ms(seconds: f64) -> Option<u64> {
    let wait = Duration::try_from_secs_f64(seconds * 0.8).ok().filter(|wait| !wait.is_zero())?;
    u64::try_from(wait.as_millis()).ok()
}

/// Returns the state of a task; waits some seconds for its end.
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
        Err(_) => TaskResult::without_score(1, "at work"),
    })
}

/// The submitted tasks whose results are kept.
#[derive(Debug)]
struct RollTasks {
    by_id: HashMap<String, RollTask>,
    /// The time at which abandoned results were last removed.
    swept: Instant,
}

#[derive(Debug)]
struct RollTask {
    result: watch::Receiver<Option<TaskResult>>,
    last_poll: Instant,
    /// The task at work, aborted when it is dropped.
    work: JoinSet<()>,
}

impl RollTasks {
    fn new() -> Self {
        Self { by_id: HashMap::new(), swept: Instant::now() }
    }

    /// Starts `work`, which sends its result to `result`.
    fn insert(
        &mut self,
        id: String,
        result: watch::Receiver<Option<TaskResult>>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ApiError> {
        if self.by_id.len() >= MOST_KEPT || self.swept.elapsed() > KEPT / 10 {
            self.swept = Instant::now();
            self.by_id.retain(|_, task| {
                task.result.borrow().is_none() || task.last_poll.elapsed() < KEPT
            });
        }
        if self.by_id.len() >= MOST_KEPT {
            let detail = format!("too many results wait for a poll (limit {MOST_KEPT})");
            return Err(ApiError::new(ProblemCode::Overloaded, detail));
        }
        let mut task = RollTask { result, last_poll: Instant::now(), work: JoinSet::new() };
        task.work.spawn(work);
        self.by_id.insert(id, task);
        Ok(())
    }

    /// The result of a task, for a poll.
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
    fn a_task_has_less_time_than_its_client_waits() {
        assert_eq!(task_deadline_ms(300.0), Some(240_000));
        assert_eq!([0.0, -1.0, f64::INFINITY, f64::NAN].map(task_deadline_ms), [None; 4]);
    }

    #[tokio::test]
    async fn a_task_that_died_differs_from_an_unknown_one() {
        let mut tasks = RollTasks::new();
        let (sender, result) = watch::channel(None);
        tasks.insert("a".to_owned(), result, async move { drop(sender) }).unwrap();
        assert!(tasks.result("a").unwrap().wait_for(Option::is_some).await.is_err());
        assert!(tasks.result("b").is_none());
    }
}

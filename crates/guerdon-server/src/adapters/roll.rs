//! `POST /submit_task` and `GET /task_result`: ROLL's reward system. A task is submitted, then asked after every two seconds,
//! in the JSON body of a GET, until `errcode` is no longer 1.
//!
//! Any `errcode` but 0 and 1 keeps the client asking until its patience ends; a task without a score makes it submit the
//! task again, up to five times, before it writes a 0 of its own. So an unscored task, and one that is not known any more,
//! is answered `errcode` 0 with a `null` score: the retry comes at once, and pays the judge only for what is not in its cache.
//!
//! Tasks are the one thing that an adapter keeps. Those at work hold a place among the requests in flight, so they are
//! bounded; results go when nobody has asked for them in ten minutes. All stop with the server.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::{Extension, Json};
use guerdon_types::{Problem, ProblemCode, RequestId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::Instrument as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asking::{Answers, Asked, Item, Protocol};
use super::chat_text::continued;
use super::choices::{Choices, OnFailure};
use super::messages::facts;
use super::numbers::contributions;
use super::service::{ApiError, JsonBody};

/// ROLL asks after a task for 300 s, unless it says otherwise.
pub(super) const PROTOCOL: Protocol = Protocol {
    client: "ROLL",
    client_waits: Duration::from_secs(300),
    on_failure: OnFailure::Null,
};

/// How long a question after a task waits for its end. The client gives every question 20 s.
const ASKED_FOR: Duration = Duration::from_secs(10);

/// How long a result is kept for whoever submitted the task, after they last asked.
const KEPT: Duration = Duration::from_secs(600);

/// Tasks and results that are kept, whatever their age.
const MOST_KEPT: usize = 65_536;

pub(super) fn routes() -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(submit_task))
        .routes(routes!(task_result))
        .layer(Extension(Arc::new(Mutex::new(Tasks::new()))))
}

/// A task. What ROLL says of its project, its priority and its plug-ins is not looked at.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct SubmitTaskRequest {
    /// The prompt's text.
    prompt: String,
    /// The response's text.
    response: String,
    /// The dataset's reference: facts for rules and judge.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    reward_info: Value,
    /// Seconds after which the client asks no more.
    #[serde(default)]
    timeout: Option<f64>,
}

/// A task was taken.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SubmittedTask {
    /// 0.
    errcode: u8,
    errmsg: String,
    /// What to ask after.
    reward_request_id: String,
}

/// Which task is asked after.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct TaskResultRequest {
    reward_request_id: String,
}

/// A task's state.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
struct TaskResult {
    /// 0: done. 1: at work.
    errcode: u8,
    /// Why there is no score.
    errmsg: String,
    /// The fused reward; `null` if there is none.
    reward_score: Option<f64>,
    /// What each source added to it, and as `residual` what clips and gates changed. (The name is ROLL's.)
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

    fn of(answers: &Answers) -> Self {
        let Some(answer) = answers.items.first() else {
            return Self::without_score(0, "nothing was scored");
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

/// Takes a task; ask after it with `/task_result`.
#[utoipa::path(post, path = "/submit_task", tag = "trainers", params(Choices), request_body = SubmitTaskRequest, responses(
    (status = 200, body = SubmittedTask),
    (status = "4XX", description = "The request is no task.", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Overloaded.", body = Problem, content_type = "application/problem+json"),
))]
async fn submit_task(
    mut asked: Asked,
    Extension(tasks): Extension<Arc<Mutex<Tasks>>>,
    Extension(request_id): Extension<RequestId>,
    JsonBody(request): JsonBody<SubmitTaskRequest>,
) -> Result<Json<SubmittedTask>, ApiError> {
    // Told now, since the client takes no such answer later.
    asked.service.profile(asked.choices.profile.as_ref())?;
    asked.choices.deadline_ms = asked.choices.deadline_ms.or_else(|| patience(request.timeout?));
    let dialogue = continued(&request.prompt, &request.response, asked.choices.thoughts);
    let item = Item::text(dialogue, facts("reward_info", request.reward_info));
    let (tell, told) = watch::channel(None);
    let work = async move {
        let result = match asked.answers(&PROTOCOL, vec![item]).await {
            Ok(answers) => TaskResult::of(&answers),
            Err(error) => TaskResult::without_score(2, error.detail()),
        };
        drop(asked);
        tell.send_replace(Some(result));
    };
    // The request's own id would be the same for two requests of a client that sets it.
    let id = uuid::Uuid::now_v7().simple().to_string();
    tracing::debug!(task = id, request = %request_id, "A task was submitted.");
    let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
    tasks.take(id.clone(), told, work.in_current_span())?;
    Ok(Json(SubmittedTask { errcode: 0, errmsg: String::new(), reward_request_id: id }))
}

/// Four fifths of what the client waits, in milliseconds: it must still come to ask.
fn patience(seconds: f64) -> Option<u64> {
    let wait = Duration::try_from_secs_f64(seconds * 0.8).ok().filter(|wait| !wait.is_zero())?;
    u64::try_from(wait.as_millis()).ok()
}

/// Tells how a task stands; waits some seconds for its end.
#[utoipa::path(get, path = "/task_result", tag = "trainers", request_body = TaskResultRequest, responses(
    (status = 200, body = TaskResult),
    (status = "4XX", description = "The request names no task.", body = Problem, content_type = "application/problem+json"),
))]
async fn task_result(
    Extension(tasks): Extension<Arc<Mutex<Tasks>>>,
    JsonBody(request): JsonBody<TaskResultRequest>,
) -> Json<TaskResult> {
    let told =
        tasks.lock().unwrap_or_else(PoisonError::into_inner).asked(&request.reward_request_id);
    let Some(mut told) = told else {
        return Json(TaskResult::without_score(
            0,
            "this server knows no such task; submit it again",
        ));
    };
    Json(match tokio::time::timeout(ASKED_FOR, told.wait_for(Option::is_some)).await {
        Ok(Ok(result)) => {
            result.clone().unwrap_or_else(|| TaskResult::without_score(0, "the task has no result"))
        }
        Ok(Err(_)) => TaskResult::without_score(0, "the task failed; the server's log has more"),
        Err(_) => TaskResult::without_score(1, "at work"),
    })
}

/// The tasks that were submitted and not forgotten yet.
#[derive(Debug)]
struct Tasks {
    known: HashMap<String, Task>,
    /// When those that nobody asks for were last looked for.
    swept: Instant,
}

#[derive(Debug)]
struct Task {
    told: watch::Receiver<Option<TaskResult>>,
    asked: Instant,
    /// Its one task; dropped, it is aborted.
    work: JoinSet<()>,
}

impl Tasks {
    fn new() -> Self {
        Self { known: HashMap::new(), swept: Instant::now() }
    }

    fn take(
        &mut self,
        id: String,
        told: watch::Receiver<Option<TaskResult>>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ApiError> {
        if self.known.len() >= MOST_KEPT || self.swept.elapsed() > KEPT / 10 {
            self.swept = Instant::now();
            self.known
                .retain(|_, task| task.told.borrow().is_none() || task.asked.elapsed() < KEPT);
        }
        if self.known.len() >= MOST_KEPT {
            let detail = format!("{MOST_KEPT} results wait to be asked for");
            return Err(ApiError::new(ProblemCode::Overloaded, detail));
        }
        let mut task = Task { told, asked: Instant::now(), work: JoinSet::new() };
        task.work.spawn(work);
        self.known.insert(id, task);
        Ok(())
    }

    fn asked(&mut self, id: &str) -> Option<watch::Receiver<Option<TaskResult>>> {
        let task = self.known.get_mut(id)?;
        task.asked = Instant::now();
        Some(task.told.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_given_less_time_than_its_client_has() {
        assert_eq!(patience(300.0), Some(240_000));
        assert_eq!([0.0, -1.0, f64::INFINITY, f64::NAN].map(patience), [None; 4]);
    }

    #[tokio::test]
    async fn a_task_that_died_is_told_from_one_that_never_was() {
        let mut tasks = Tasks::new();
        let (tell, told) = watch::channel(None);
        tasks.take("a".to_owned(), told, async move { drop(tell) }).unwrap();
        assert!(tasks.asked("a").unwrap().wait_for(Option::is_some).await.is_err());
        assert!(tasks.asked("b").is_none());
    }
}

//! Labels by people at `/ui/label`: questions, answers, and downloads.

use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Path as UrlPath, Request, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use guerdon_inspector::{
    Answer, Filter, Label, LabelChoice, LabelForm, LabelQuestion, LevelAnswer, PairAnswer, Store,
    agreements, export, next_pair, next_turn, pair_of, turn_of,
};
use guerdon_types::{Problem, ProblemCode};
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};

use super::form::{Form, field};
use super::inspector::response;
use super::labels_file::{append, read};
use super::visitor::{Visitor, visitor_of};
use crate::config::Scope;
use crate::http::problem::ApiError;
use crate::http::state::App;

/// The longest form, in bytes.
const MAX_FORM: usize = 16 << 10;
/// The longest answer with its dialogue, in bytes.
const MAX_LINE: usize = 1 << 20;
/// The newest rollouts that are asked about.
const ROLLOUTS: usize = 300;
/// The longest name of a rater, criterion and level, in characters.
const MAX_RATER: usize = 64;
const MAX_CRITERION: usize = 120;
const MAX_LEVEL: usize = 60;
/// The most levels of a criterion.
const MAX_LEVELS: usize = 12;

/// The labels' file of a server: beside the ledger. `None` without a ledger in a file.
fn file_of(app: &App) -> Option<PathBuf> {
    Some(app.engine.ledger()?.path()?.with_extension("labels.jsonl"))
}

/// Shows the next question.
pub(super) async fn show(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    let visitor = visitor_of(&request);
    let query = request.uri().query().unwrap_or_default().as_bytes();
    let value = |name| field(query, name).unwrap_or_default();
    let choice = choice(&value("rater"), &value("criterion"), &value("levels"))?;
    let (file, asked) = (file_of(&app), choice.clone());
    let read_only = why_read_only(&visitor, file.is_some());
    let found = app.inspector.blocking(move |store| {
        let answers = file.as_deref().map_or_else(|| Ok(Vec::new()), read)?;
        let question = question(store, &answers, &asked);
        Ok::<_, io::Error>((question, answers.len(), agreements(&answers)))
    });
    let (question, answers, agreements) = found.await?.map_err(|error| unreadable(&error))?;
    let csrf = visitor.csrf(app.inspector.form_token());
    let label = Label {
        csrf: &csrf,
        choice: &choice,
        asked: question.as_ref(),
        read_only,
        answers,
        agreements: &agreements,
    };
    let session = visitor.session();
    Ok(app.inspector.with_site(session.as_deref(), |site| response(site.label(&label))))
}

/// Takes an answer, and leads to the next question.
pub(super) async fn submit(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    let visitor = visitor_of(&request);
    let file = file_of(&app);
    if let Some(why) = why_read_only(&visitor, file.is_some()) {
        return Err(ApiError::new(ProblemCode::Forbidden, why));
    }
    let form = Form::read(request.into_body(), MAX_FORM).await?;
    visitor.check_form(&form.field("csrf"), app.inspector.form_token())?;
    let choice = choice(&form.field("rater"), &form.field("criterion"), &form.field("levels"))?;
    if choice.rater.is_empty() {
        return Err(invalid("the answer has no rater"));
    }
    let (next, answer) = (choice.link(), form.field("answer"));
    let key = |name| form.field(name).parse::<i64>().ok();
    let keys = if choice.criterion.is_empty() { [key("a"), key("b")] } else { [key("key"), None] };
    let inspector = app.inspector.clone();
    let written = app.inspector.blocking(move |store| {
        let line = answered(store, &choice, keys, &answer)?;
        let Some(file) = file else { return Ok(()) };
        let failed = |error: io::Error| {
            tracing::error!(path = %file.display(), %error, "an answer of a rater was not saved");
            ApiError::new(ProblemCode::Internal, format!("the answer was not saved: {error}"))
        };
        inspector.one_at_a_time(|| append(&file, &line)).map_err(failed)
    });
    written.await??;
    Ok(Redirect::to(&next).into_response())
}

/// The answers in a form, as a file.
pub(super) async fn download(
    State(app): State<App>,
    UrlPath(form): UrlPath<String>,
) -> Result<Response, ApiError> {
    let Some(found) = LabelForm::named(&form) else {
        return Err(ApiError::new(ProblemCode::NotFound, "there is no such form of labels"));
    };
    let file = file_of(&app);
    let lines = app.inspector.blocking(move |_| {
        let answers = file.as_deref().map_or_else(|| Ok(Vec::new()), read)?;
        Ok::<_, io::Error>(export(&answers, found))
    });
    let lines = lines.await?.map_err(|error| unreadable(&error))?;
    let name = format!("attachment; filename=\"labels-{form}.jsonl\"");
    let headers = [
        (CONTENT_TYPE, "application/x-ndjson"),
        (CONTENT_DISPOSITION, name.as_str()),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, lines).into_response())
}

/// The reason why a visitor cannot answer.
fn why_read_only(visitor: &Visitor, has_file: bool) -> Option<&'static str> {
    if !has_file {
        Some("Labels are kept beside a ledger in a file: set [ledger] path in the configuration.")
    } else if visitor.may(Scope::Score) || visitor.may(Scope::Admin) {
        None
    } else {
        Some("Answers need a token with the scope score or admin.")
    }
}

/// The rater and the question. Without levels, a criterion has `yes` and `no`.
fn choice(rater: &str, criterion: &str, levels: &str) -> Result<LabelChoice, ApiError> {
    let rater = named("rater", rater, MAX_RATER)?;
    let criterion = named("criterion", criterion, MAX_CRITERION)?;
    let levels = if levels.trim().is_empty() { "yes, no" } else { levels };
    let levels: Vec<String> = levels
        .split(',')
        .filter(|level| !level.trim().is_empty())
        .take(MAX_LEVELS + 1)
        .map(|level| named("level", level, MAX_LEVEL))
        .collect::<Result<_, _>>()?;
    if levels.len() > MAX_LEVELS {
        return Err(invalid(&format!("a criterion has at most {MAX_LEVELS} levels")));
    }
    Ok(LabelChoice { rater, criterion, levels })
}

fn named(what: &str, text: &str, most: usize) -> Result<String, ApiError> {
    let text = text.trim();
    if text.chars().count() > most || text.chars().any(char::is_control) {
        let detail = format!("the {what} has more than {most} characters, or control characters");
        return Err(invalid(&detail));
    }
    Ok(text.to_owned())
}

fn question(store: &dyn Store, answers: &[Answer], choice: &LabelChoice) -> Option<LabelQuestion> {
    if choice.rater.is_empty() {
        return None;
    }
    let records = store.records(&Filter::default(), ROLLOUTS).unwrap_or_default();
    if choice.criterion.is_empty() {
        next_pair(&records, answers, &choice.rater).map(LabelQuestion::Pair)
    } else {
        next_turn(&records, answers, &choice.rater, &choice.criterion).map(LabelQuestion::Turn)
    }
}

/// The line of an answer. Its texts are those of the store: a form names rollouts only.
fn answered(
    store: &dyn Store,
    choice: &LabelChoice,
    keys: [Option<i64>; 2],
    answer: &str,
) -> Result<String, ApiError> {
    let record = |key: Option<i64>| {
        let found = key.and_then(|key| store.record(key).ok().flatten());
        found.ok_or_else(|| invalid("the rollout of the answer is not in the ledger"))
    };
    let rater = choice.rater.clone();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let time_ms = i64::try_from(now).unwrap_or(i64::MAX);
    let [first, second] = keys;
    let answer = if choice.criterion.is_empty() {
        let pair = pair_of(&record(first)?, &record(second)?)
            .ok_or_else(|| invalid("the rollouts of the answer are no pair"))?;
        if !matches!(answer, "a" | "b" | "tie") {
            return Err(invalid("the answer is none of a, b and tie"));
        }
        let ([a, b], [output_a, output_b]) = (pair.keys, pair.replies);
        let human_label = match answer {
            // The form names the rollouts in the order of the pair, unless somebody changed it.
            "a" if first == Some(b) => "b",
            "b" if first == Some(b) => "a",
            other => other,
        };
        Answer::Pair(PairAnswer {
            rater,
            time_ms,
            group: pair.group,
            a,
            b,
            prompt: pair.prompt,
            output_a,
            output_b,
            human_label: human_label.to_owned(),
        })
    } else {
        let turn = turn_of(&record(first)?)
            .ok_or_else(|| invalid("the rollout of the answer has no scored turn with its text"))?;
        if !choice.levels.iter().any(|level| level == answer) {
            return Err(invalid("the answer is none of the levels"));
        }
        Answer::Level(LevelAnswer {
            rater,
            time_ms,
            key: turn.key,
            rollout: turn.rollout,
            turn: turn.turn,
            messages: turn.messages,
            criterion: choice.criterion.clone(),
            level: answer.to_owned(),
        })
    };
    let mut line = serde_json::to_string(&answer).map_err(|error| invalid(&error.to_string()))?;
    line.push('\n');
    if line.len() > MAX_LINE {
        return Err(ApiError::new(ProblemCode::TooLarge, "the dialogue is too long for a label"));
    }
    Ok(line)
}

fn invalid(detail: &str) -> ApiError {
    Problem::new(ProblemCode::InvalidRequest, detail).hint("open /ui/label again").into()
}

fn unreadable(error: &io::Error) -> ApiError {
    ApiError::new(ProblemCode::Internal, format!("the file of labels cannot be read: {error}"))
}

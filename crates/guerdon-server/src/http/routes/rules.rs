//! `GET /v1/rules` lists the packs in use. `POST /v1/rules/check` lints the packs of the body and
//! runs them on the rollouts of the body; the packs in use do not change.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use guerdon_adapters::{JsonBody, json_bytes, json_reply};
use guerdon_queue::WorkError;
use guerdon_rules::{Diagnostic, PackSummary, RulePacks, ScanLimit, SourceText, WorkBounds};
use guerdon_text::cut;
use guerdon_types::{Limits, Problem, ProblemCode, Rollout, RulesPart, check_count};
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::engine::batch::too_large;
use crate::http::problem::ApiError;
use crate::http::request_context::RequestContext;
use crate::http::state::App;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(check))
}

/// The rule packs in use, by profile.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Listed)]
struct RulesReply {
    /// The generation, from 1. It counts loads and rollbacks since the server started.
    generation: u64,
    /// Each profile's packs.
    profiles: BTreeMap<String, Vec<PackSummary>>,
}

/// Lists the rule packs in use.
#[utoipa::path(get, path = "/v1/rules", tag = "rules", responses((status = 200, body = RulesReply)))]
async fn list(context: RequestContext) -> Json<RulesReply> {
    let snapshot = context.snapshot();
    let packs = |profile: &crate::engine::snapshot::Profile| {
        profile.packs.iter().flat_map(|packs| packs.summaries()).collect()
    };
    let profiles =
        snapshot.profiles.iter().map(|(name, profile)| (name.clone(), packs(profile))).collect();
    Json(RulesReply { generation: snapshot.generation, profiles })
}

/// Packs to check, and rollouts to try them on.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CheckRequest {
    /// The packs.
    packs: Vec<CheckPack>,
    /// The rollouts. Default: none.
    #[serde(default)]
    rollouts: Vec<Rollout>,
}

/// One pack as text.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CheckPack {
    /// The name of the pack's file in reports.
    name: String,
    /// The YAML text.
    text: String,
}

/// Result of a check.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Checked)]
struct CheckReply {
    /// Set when the packs have no errors and could be loaded.
    ok: bool,
    /// The report as text, in the style of a compiler.
    report: String,
    /// The diagnostics of the report, without the warning R114 (undeclared facts): the packs of
    /// older clients declare none.
    diagnostics: Vec<Diagnostic>,
    /// The packs' results on each rollout. Empty if `ok` is false.
    results: Vec<CheckedRollout>,
}

/// The packs' results on one rollout.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct CheckedRollout {
    /// The rollout's index in the request.
    index: usize,
    /// Its scored turns.
    turns: Vec<CheckedTurn>,
}

/// The packs' results on one turn.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct CheckedTurn {
    /// The turn's index in the rollout's messages.
    index: usize,
    /// The rules' part.
    rules: RulesPart,
}

/// Time that one check may take, once it runs.
const MAX_CHECK_TIME: Duration = Duration::from_secs(10);

/// Bytes, rules and words of the packs of one check, together.
const MAX_CHECK_BYTES: usize = 4 << 20;
const MAX_CHECK_RULES: usize = 10_000;
const MAX_CHECK_WORDS: usize = 100_000;

/// The code of the warning that only the report has.
const UNDECLARED_FACTS: &str = "R114";

/// The longest name of a pack that a report shows, in characters.
const MAX_NAME_CHARS: usize = 200;

/// Lints packs and runs them on rollouts. The packs in use do not change.
///
/// Checks run on threads of their own, one or two at a time, for at most 10 s each. A check ends
/// when its client hangs up. Packs of more than 4 MiB, 10,000 rules or 100,000 words are refused
/// with an error at the rule that exceeds the bound.
#[utoipa::path(post, path = "/v1/rules/check", tag = "rules", request_body = CheckRequest, responses(
    (status = 200, body = CheckReply),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Too many checks wait; see Retry-After.", body = Problem, content_type = "application/problem+json"),
))]
async fn check(
    State(app): State<App>,
    context: RequestContext,
    JsonBody(request): JsonBody<CheckRequest>,
) -> Result<Response, ApiError> {
    check_rollouts(&request.rollouts, &context.snapshot().config.limits)?;
    let permit = app.engine.checks().enter(context.caller.0, 1).await.map_err(not_checked)?;
    let checked = permit.run(move |gone| {
        let deadline = Instant::now().checked_add(MAX_CHECK_TIME);
        // The reply may have a part for each of a million turns.
        json_bytes(&run(request, ScanLimit { deadline, stop: Some(gone) })?)
    });
    Ok(json_reply(checked.await.map_err(not_checked)??))
}

/// Refuses rollouts that `POST /v1/score` would refuse.
fn check_rollouts(rollouts: &[Rollout], limits: &Limits) -> Result<(), ApiError> {
    check_count(rollouts.len(), limits.max_rollouts)
        .map_err(|invalid| invalid.below("/rollouts"))?;
    for (index, rollout) in rollouts.iter().enumerate() {
        if let Some(problem) = too_large(limits, index, rollout) {
            return Err(problem.into());
        }
        rollout.turns_to_score().map_err(|invalid| invalid.below(&format!("/rollouts/{index}")))?;
    }
    Ok(())
}

fn not_checked(error: WorkError) -> ApiError {
    match error {
        WorkError::Full { wait } => {
            let problem = Problem::new(ProblemCode::Overloaded, "too many checks of rules wait");
            let hint = "wait as Retry-After says, or check packs with `guerdon rules check`";
            ApiError::from(problem.hint(hint)).retry_after(wait)
        }
        WorkError::Stopped => ApiError::new(ProblemCode::NotReady, "the server is stopping"),
        _ => {
            let detail = "checking the packs failed; see the server's log";
            ApiError::new(ProblemCode::Internal, detail)
        }
    }
}

fn run(request: CheckRequest, limit: ScanLimit<'_>) -> Result<CheckReply, ApiError> {
    let packs: Vec<_> = request
        .packs
        .into_iter()
        .map(|CheckPack { name, text }| SourceText::new(cut(&name, MAX_NAME_CHARS), text))
        .collect();
    let mut bounds = WorkBounds::default();
    bounds.max_bytes = MAX_CHECK_BYTES;
    bounds.max_rules = MAX_CHECK_RULES;
    bounds.max_words = MAX_CHECK_WORDS;
    bounds.limit = limit;
    let (packs, report) = match RulePacks::check_within(&packs, &bounds) {
        Ok((packs, report)) => (Some(packs), report),
        Err(report) => (None, report),
    };
    let mut results = Vec::new();
    if let Some(packs) = &packs {
        for (index, rollout) in request.rollouts.iter().enumerate() {
            results.push(tried(packs, (index, rollout), limit)?);
        }
    }
    Ok(CheckReply {
        ok: packs.is_some(),
        results,
        report: report.to_string(),
        diagnostics: report
            .diagnostics()
            .iter()
            .filter(|diagnostic| diagnostic.code != UNDECLARED_FACTS)
            .cloned()
            .collect(),
    })
}

/// The packs' results on one rollout.
fn tried(
    packs: &RulePacks,
    (index, rollout): (usize, &Rollout),
    limit: ScanLimit<'_>,
) -> Result<CheckedRollout, ApiError> {
    let turns = rollout.turns_to_score().unwrap_or_default();
    let evaluations = packs.evaluate_turns_within(rollout, &turns, limit);
    let turns = turns.into_iter().zip(evaluations).map(|(index, evaluation)| {
        evaluation.map(|evaluation| CheckedTurn { index, rules: evaluation.part })
    });
    let out_of_time = || {
        let detail = format!(
            "the check has taken {MAX_CHECK_TIME:?}, and this rollout and later ones are not tried"
        );
        Problem::new(ProblemCode::TooLarge, detail)
            .pointer(format!("/rollouts/{index}"))
            .hint("try the packs on fewer or shorter rollouts")
    };
    let turns = turns.collect::<Option<Vec<_>>>().ok_or_else(out_of_time)?;
    Ok(CheckedRollout { index, turns })
}

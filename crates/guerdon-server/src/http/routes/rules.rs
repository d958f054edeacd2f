//! `GET /v1/rules` lists the packs in use. `POST /v1/rules/check` lints the packs of the body and
//! runs them on the rollouts of the body; the packs in use do not change.

use std::collections::BTreeMap;

use axum::Json;
use guerdon_adapters::JsonBody;
use guerdon_rules::{Diagnostic, PackSummary, RulePacks, SourceText};
use guerdon_types::{Problem, ProblemCode, Rollout, RulesPart};
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::extract::Permit;
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
        profile.packs.as_ref().map(|packs| packs.summaries()).unwrap_or_default()
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
    /// The diagnostics of the report.
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

/// Lints packs and runs them on rollouts. The packs in use do not change.
#[utoipa::path(post, path = "/v1/rules/check", tag = "rules", request_body = CheckRequest, responses(
    (status = 200, body = CheckReply),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
))]
async fn check(
    Permit(_permit): Permit,
    JsonBody(request): JsonBody<CheckRequest>,
) -> Result<Json<CheckReply>, ApiError> {
    for (index, rollout) in request.rollouts.iter().enumerate() {
        rollout.turns_to_score().map_err(|invalid| invalid.below(&format!("/rollouts/{index}")))?;
    }
    // The time to compile a caller's patterns is not bounded, so this must not run on an async
    // thread.
    tokio::task::spawn_blocking(move || run(request)).await.map(Json).map_err(|_| {
        ApiError::new(ProblemCode::Internal, "checking the packs failed; see the server's log")
    })
}

fn run(request: CheckRequest) -> CheckReply {
    let packs: Vec<_> = request
        .packs
        .into_iter()
        .map(|CheckPack { name, text }| SourceText { name, text })
        .collect();
    let (packs, report) = match RulePacks::check(&packs) {
        Ok((packs, report)) => (Some(packs), report),
        Err(report) => (None, report),
    };
    let results = packs.iter().flat_map(|packs| {
        request.rollouts.iter().enumerate().map(|(index, rollout)| CheckedRollout {
            index,
            turns: rollout
                .turns_to_score()
                .unwrap_or_default()
                .into_iter()
                .map(|turn| CheckedTurn { index: turn, rules: packs.evaluate(rollout, turn) })
                .collect(),
        })
    });
    CheckReply {
        ok: packs.is_some(),
        results: results.collect(),
        report: report.to_string(),
        diagnostics: report.diagnostics().to_vec(),
    }
}

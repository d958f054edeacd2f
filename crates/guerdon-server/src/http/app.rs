//! The routes and the layers around them: context, authorization, compression, problem bodies.

use std::collections::BTreeMap;
use std::future::ready;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use guerdon_types::{Problem, ProblemCode, RequestId};
use http::header::{HeaderName, X_FRAME_OPTIONS};
use http::{HeaderValue, Method, Uri};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate as _, SizeAbove};
use tower_http::decompression::RequestDecompressionLayer;
use tracing::Instrument as _;
use utoipa::OpenApi as _;
use utoipa::openapi::RefOr;
use utoipa_axum::router::OpenApiRouter;

use crate::http::authorize::authorize;
use crate::http::caller::address_of;
use crate::http::content_coding::normalise_coding;
use crate::http::pages;
use crate::http::problem::{ApiError, finish};
use crate::http::request_context::RequestContext;
use crate::http::routes;
use crate::http::state::App;
use crate::observe::traces;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Header of every reply, so that a client of another version can report the mismatch.
const VERSION: (HeaderName, HeaderValue) = (
    HeaderName::from_static("guerdon-version"),
    HeaderValue::from_static(env!("CARGO_PKG_VERSION")),
);

/// The longest path that a log line shows, in characters.
const MAX_PATH_CHARS: usize = 256;

#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "guerdon",
    description = "Rewards for RL post-training of dialogue agents: preference model, LLM judge and rules, fused, \
                   explained and versioned.",
    license(name = "MIT OR Apache-2.0")
), tags(
    (name = "scoring", description = "Rewards of dialogue turns. Start here."),
    (name = "rules", description = "Rule packs: those that serve, and checks of new ones."),
    (name = "operation", description = "Configuration, health, metrics, reloads."),
    (name = "trainers", description = "Protocols of trainers and inference servers, each under its own path, and \
                                     under `/profiles/NAME` for a profile."),
))]
struct Document;

/// Every documented route, and the OpenAPI document.
fn documented_routes() -> (Router<App>, utoipa::openapi::OpenApi) {
    let score = OpenApiRouter::new()
        .merge(routes::score::routes())
        .merge(routes::info::routes())
        .merge(routes::rules::routes())
        .merge(guerdon_adapters::routes().with_state(()));
    let (routes, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .merge(score)
        .merge(routes::reload::routes())
        .merge(routes::health::routes())
        .merge(routes::metrics::routes())
        .split_for_parts();
    add_examples(&mut document);
    (routes, document)
}

/// Adds the request bodies of `examples.json` to the operations, by path. A test sends them.
fn add_examples(document: &mut utoipa::openapi::OpenApi) {
    let examples: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(include_str!("examples.json")).unwrap_or_default();
    for (path, example) in examples {
        let operation = document.paths.paths.get_mut(&path).and_then(|item| item.post.as_mut());
        let body = operation.and_then(|operation| operation.request_body.as_mut());
        let Some(RefOr::T(body)) = body else { continue };
        for content in body.content.values_mut() {
            if let RefOr::T(content) = content {
                content.example = Some(example.clone());
            }
        }
    }
}

/// The OpenAPI document, in the form of `openapi/guerdon.v1.json`.
///
/// # Errors
/// [`serde_json::Error`] if the document cannot be written, which does not happen in practice.
pub fn openapi_json() -> Result<String, serde_json::Error> {
    let mut json = documented_routes().1.to_pretty_json()?;
    json.push('\n');
    Ok(json)
}

/// The hint that names the path which was probably meant: with or without `/v1`, without a slash at
/// the end, or one with a similar name.
fn nearest_path(path: &str, known: &[String]) -> Option<String> {
    let path = path.get(..MAX_PATH_CHARS).unwrap_or(path).trim_end_matches('/');
    let bare = path.strip_prefix("/v1").unwrap_or(path);
    let forms = [path.to_owned(), bare.to_owned(), format!("/v1{bare}")];
    let is_known = |form: &&String| known.contains(*form);
    let nearest =
        |form: &String| guerdon_text::did_you_mean(form, known.iter().map(String::as_str));
    match forms.iter().find(is_known) {
        Some(form) => Some(format!("did you mean `{form}`? /docs shows the routes")),
        None => forms.iter().find_map(nearest),
    }
}

pub(crate) fn router(app: App) -> Router {
    let (routes, document) = documented_routes();
    // Compression would delay the lines of a stream.
    let compressible =
        SizeAbove::new(1_024).and(NotForContentType::const_new("application/x-ndjson"));
    // For clients that append their own path to the configured URL: they drop its query string but
    // keep its path, so the profile can be in the path.
    let (with_profile, _) = guerdon_adapters::routes().with_state(()).split_for_parts();
    let paths: Vec<String> = document.paths.paths.keys().cloned().collect();
    let fallback = move |uri: Uri| {
        let hint = nearest_path(uri.path(), &paths).unwrap_or_else(|| "see /docs".to_owned());
        let problem = Problem::new(ProblemCode::NotFound, "there is no route at this path");
        ready(ApiError::from(problem.hint(hint)))
    };
    routes
        .nest("/profiles/{profile}", with_profile)
        .merge(pages::routes())
        .merge(utoipa_swagger_ui::SwaggerUi::new("/docs").url("/openapi.json", document))
        .fallback(fallback)
        .method_not_allowed_fallback(async || {
            ApiError::new(ProblemCode::MethodNotAllowed, "method not allowed")
        })
        .layer(from_fn_with_state(app.clone(), authorize))
        .layer(RequestDecompressionLayer::new().gzip(true).zstd(true).pass_through_unaccepted(true))
        .layer(CatchPanicLayer::custom(|_| {
            tracing::error!("a handler panicked");
            ApiError::new(ProblemCode::Internal, "the request failed; see the server's log")
                .into_response()
        }))
        .layer(from_fn_with_state(app.clone(), request_context))
        .layer(CompressionLayer::new().gzip(true).zstd(true).compress_when(compressible))
        .layer(from_fn(normalise_coding))
        .with_state(app)
}

/// Outermost layer. Adds the request's id, span and [`RequestContext`]; writes problem bodies and
/// records metrics.
async fn request_context(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request
        .headers()
        .get(&REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| {
            (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
        })
        .map_or_else(
            || RequestId::from(uuid::Uuid::now_v7().simple().to_string()),
            RequestId::from,
        );
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |matched| matched.as_str().to_owned());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    request.extensions_mut().insert(id.clone());
    let address = address_of(request.extensions());
    let caller = app.callers.caller(None, address);
    let context = RequestContext::new(&app, caller, id.clone(), request.headers());
    request.extensions_mut().insert(context);
    let shown_path = guerdon_text::cut(&path, MAX_PATH_CHARS);
    let span = tracing::info_span!("http.request", http.method = %method, http.path = &*shown_path, request.id = id.as_str());
    traces::continue_from(&span, request.headers());
    let traced = span.clone();
    async {
        let mut response = finish(next.run(request).await, &id, &path);
        response.headers_mut().insert(VERSION.0, VERSION.1);
        if path.starts_with("/docs") {
            // No other page may put the one with the buttons into a frame.
            response.headers_mut().insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        }
        if let Ok(value) = HeaderValue::from_str(id.as_str()) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        traces::answered(&traced, &route, response.status().as_u16());
        let took = started.elapsed();
        app.engine.metrics().request(
            &route,
            method_label(&method),
            response.status().as_u16(),
            took,
        );
        tracing::debug!(http.status = response.status().as_u16(), took = ?took, "request answered");
        response
    }
    .instrument(span)
    .await
}

/// The metric label of a method. All other methods share one label, so that clients cannot create
/// labels.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_path_is_answered_with_the_nearest_one() {
        let known = ["/v1/score", "/score", "/rerank", "/get_reward"].map(str::to_owned);
        for (path, hint) in [
            ("/v1/rerank", Some("/rerank")),
            ("/v1/score/", Some("/v1/score")),
            ("/get_rewards", Some("/get_reward")),
            ("/", None),
            ("/v2/models", None),
        ] {
            let found = nearest_path(path, &known);
            assert_eq!(found.is_some(), hint.is_some(), "{path}: {found:?}");
            let wanted = hint.map(|hint| format!("did you mean `{hint}`?")).unwrap_or_default();
            assert!(found.unwrap_or_default().starts_with(&wanted), "{path}");
        }
    }
}

//! The context of one request: the snapshots at its arrival and its caller. Implements scoring for
//! the adapters.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use guerdon_adapters::{ProfileSummary, ScoreService, ScoringBatch, SourceName};
use guerdon_types::{
    FusionConfig, IncomingRequest, Invalid, Limits, ProblemCode, ProfileName, RequestId,
    RolloutResult, ScoreRequest,
};
use http::HeaderMap;
use http::request::Parts;

use crate::engine::batch::{Asker, Batch, BatchResults};
use crate::engine::candidate::Serving;
use crate::engine::cohorts::PlaceRelease;
use crate::engine::snapshot::Snapshot;
use crate::http::admission::AdmittedRequest;
use crate::http::body::read_json;
use crate::http::caller::CallerId;
use crate::http::expect::{self, ExpectedDigest, expected_digest};
use crate::http::labels::{self, HeaderLabels, header_labels};
use crate::http::problem::ApiError;
use crate::http::state::App;

/// The context of one request. The outermost layer reads [`Serving`] once and puts the context into
/// the request's extensions. Authorization, limits, routes and adapters all use it, so that a
/// reload cannot mix two generations in one request.
#[derive(Debug, Clone)]
pub(crate) struct RequestContext {
    pub(crate) serving: Arc<Serving>,
    pub(crate) caller: CallerId,
    expected: ExpectedDigest,
    labels: HeaderLabels,
    request_id: RequestId,
    app: App,
    /// The request's share of the limits, held until the last clone of the context is dropped.
    admitted: Arc<AdmittedRequest>,
}

impl RequestContext {
    /// The context of a request with these headers.
    pub(crate) fn new(
        app: &App,
        caller: CallerId,
        request_id: RequestId,
        headers: &HeaderMap,
    ) -> Self {
        Self {
            serving: app.engine.serving(),
            caller,
            expected: expected_digest(headers),
            labels: header_labels(headers),
            request_id,
            app: app.clone(),
            admitted: Arc::default(),
        }
    }

    /// The snapshot with the configuration, tokens and limits for this request.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.serving.snapshot
    }

    /// Reads the JSON body of the request into room of the caller's share, then waits for a place
    /// among the requests that are worked on. The context holds both.
    ///
    /// # Errors
    /// The problem to answer with.
    pub(crate) async fn read_body(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Bytes, ApiError> {
        let limit = self.snapshot().config.limits.max_body_bytes;
        let admission = &self.app.admission;
        let (bytes, room) = read_json(headers, body, limit, admission, self.caller).await?;
        self.admitted.hold(room, admission.place(self.caller).await?);
        Ok(bytes)
    }

    /// Binds `request` to this context. Refuses it while the queue of a source that it needs is
    /// full.
    pub(crate) fn open_batch(&self, request: IncomingRequest) -> Result<Batch, ApiError> {
        self.open_reporting(request, false)
    }

    /// As [`open_batch`](Self::open_batch). With `reports_parts`, results have the part of every
    /// source by name.
    pub(crate) fn open_reporting(
        &self,
        mut request: IncomingRequest,
        reports_parts: bool,
    ) -> Result<Batch, ApiError> {
        let by_header = expect::apply(&self.expected, &mut request)?;
        labels::apply(&self.labels, &mut request)?;
        let request_id = Some(self.request_id.clone());
        let asker = Asker { client: self.caller.0, reports_parts, request_id };
        let opened = self.app.engine.open_on(&self.serving, asker, request);
        let batch = opened.map_err(|invalid| expect::by_header(invalid, by_header))?;
        match batch.full_for() {
            Some(wait) if !batch.is_empty() => {
                Err(ApiError::new(ProblemCode::Overloaded, "a source's queue is full")
                    .retry_after(wait))
            }
            _ => {
                let admitted = Arc::clone(&self.admitted);
                Ok(batch.while_waiting(PlaceRelease::new(move || admitted.release_place())))
            }
        }
    }
}

impl FromRequestParts<App> for RequestContext {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        Self::of(&parts.extensions)
    }
}

impl RequestContext {
    /// The context that the outermost layer put into the extensions.
    pub(crate) fn of(extensions: &http::Extensions) -> Result<Self, ApiError> {
        let missing = || ApiError::new(ProblemCode::Internal, "the request has no context");
        extensions.get::<Self>().cloned().ok_or_else(missing)
    }
}

impl RequestContext {
    /// Checks that the expected configuration serves profile `name`. A protocol that scores after
    /// its reply refuses the request with this check.
    fn check_expected(&self, name: Option<&ProfileName>) -> Result<(), Invalid> {
        let Some(digest) = self.expected.clone()? else { return Ok(()) };
        let profile = self.snapshot().profile(name)?;
        let check = |snapshot: &Snapshot| snapshot.profile(name)?.check_digest(&digest);
        if self.serving.serving().any(|snapshot| check(snapshot).is_ok()) {
            return Ok(());
        }
        profile.check_digest(&digest).map_err(|invalid| expect::by_header(invalid, true))
    }
}

impl ScoreService for RequestContext {
    fn is_ready(&self) -> bool {
        self.app.is_ready()
    }

    fn limits(&self) -> Limits {
        self.snapshot().config.limits
    }

    fn profile(&self, name: Option<&ProfileName>) -> Result<ProfileSummary, Invalid> {
        self.check_expected(name)?;
        let profile = self.snapshot().profile(name)?;
        let versions = profile.scorer.versions(profile.name.clone(), self.snapshot().generation);
        Ok(ProfileSummary { name: profile.name.clone(), model_hash: versions.rm })
    }

    fn profiles(&self) -> Vec<ProfileName> {
        self.snapshot().profiles.values().map(|profile| profile.name.clone()).collect()
    }

    fn read_body(&self, headers: HeaderMap, body: Body) -> BoxFuture<'_, Result<Bytes, ApiError>> {
        async move { Self::read_body(self, &headers, body).await }.boxed()
    }

    fn open(&self, request: ScoreRequest) -> Result<Box<dyn ScoringBatch>, ApiError> {
        Ok(Box::new(self.open_batch(request.into())?))
    }
}

impl ScoringBatch for Batch {
    fn sources(&self) -> Vec<SourceName> {
        let name = |source: &guerdon_fusion::ScorerSource| SourceName {
            id: source.id().clone(),
            kind: source.kind(),
            role: source.role(),
        };
        self.scorer().sources().iter().map(name).collect()
    }

    fn fusion(&self) -> FusionConfig {
        self.scorer().fusion().clone()
    }

    fn collect(self: Box<Self>) -> BoxFuture<'static, Vec<RolloutResult>> {
        async move {
            let recording = self.recording();
            let BatchResults { results, costs, .. } = Self::collect(*self).await;
            if let Some(recording) = recording {
                recording.record_all(results.clone(), costs).await;
            }
            results
        }
        .boxed()
    }
}

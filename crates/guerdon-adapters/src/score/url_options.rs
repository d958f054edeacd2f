//! Options in the URL. Trainers' clients cannot add a field to their body or a header, but most of
//! them keep a query string: `/get_reward?profile=hotel&on_failure=value:-1`. Clients that append a
//! path of their own to the URL keep its beginning, so every route is also mounted at
//! `/profiles/hotel/...`.

use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Query};
use guerdon_types::{
    Finite, NamedTurns, Problem, ProblemCode, ProfileName, ScoreTurns, SourceId, unknown_name_hint,
};
use http::request::Parts;
use serde::Deserialize;
use serde::de::{Error as _, IgnoredAny};

use crate::service::ApiError;

/// The query parameters of every trainer's route.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct UrlOptions {
    /// A named set of reward model, judge prompts, rule packs and fusion. Default: the server's
    /// default profile.
    #[param(value_type = Option<String>)]
    pub(crate) profile: Option<ProfileName>,
    /// A subset of the profile's sources, separated by commas. Default: all.
    pub(crate) sources: Option<String>,
    /// The assistant turns to score: `last` or `all`. Default: `last`.
    #[param(value_type = Option<NamedTurns>)]
    pub(crate) score: Option<NamedTurns>,
    /// Deadline in milliseconds. Default: a time below the timeout of the route's client.
    #[param(minimum = 1)]
    pub(crate) deadline_ms: Option<u64>,
    /// The answer for an item without a reward: `error`, `null`, or `value:X` with a number of your
    /// choice. Default: depends on the route.
    #[param(value_type = Option<String>)]
    pub(crate) on_failure: Option<OnFailure>,
    /// The handling of thoughts before the reply, such as a `<think>` block: `drop` them, or `keep`
    /// and score them. Default: `drop`.
    #[param(inline)]
    pub(crate) thoughts: Thoughts,
    /// The reply of `/rm`: a bare `number`, or a `dict` with every part. Default: `number`.
    #[param(inline)]
    pub(crate) reply: ReplyForm,
    /// The run that the items belong to, such as `exp-12`: a label for the ledger, as `step` and
    /// `split` are. Default: the header `x-guerdon-run`.
    pub(crate) run: Option<String>,
    /// The step of the run. Default: the header `x-guerdon-step`.
    pub(crate) step: Option<u64>,
    /// The part of the data, such as `train` or `eval`. Default: the header `x-guerdon-split`.
    pub(crate) split: Option<String>,
    /// The API token, for clients that cannot send a header. It is checked before this point and
    /// not stored here.
    #[param(value_type = Option<String>)]
    key: Option<IgnoredAny>,
}

impl UrlOptions {
    pub(crate) fn sources(&self) -> Option<Vec<SourceId>> {
        let sources = self.sources.as_ref()?;
        Some(
            sources
                .split(',')
                .map(str::trim)
                .filter(|id| !id.is_empty())
                .map(SourceId::from)
                .collect(),
        )
    }

    pub(crate) fn turns(&self) -> ScoreTurns {
        self.score.map_or(ScoreTurns::LAST, ScoreTurns::Named)
    }

    pub(crate) fn deadline(&self, usual: Duration) -> u64 {
        self.deadline_ms.unwrap_or_else(|| u64::try_from(usual.as_millis()).unwrap_or(u64::MAX))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for UrlOptions {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(mut options) = Query::<Self>::try_from_uri(&parts.uri).map_err(|rejection| {
            let detail = rejection.body_text();
            let hint = unknown_name_hint(&detail)
                .unwrap_or_else(|| "see /docs for the parameters".to_owned());
            Problem::new(ProblemCode::InvalidRequest, detail).hint(hint)
        })?;
        let Ok(Path(InPath { profile: Some(profile) })) =
            Path::<InPath>::from_request_parts(parts, state).await
        else {
            return Ok(options);
        };
        if options.profile.as_ref().is_some_and(|other| *other != profile) {
            return Err(Problem::new(
                ProblemCode::InvalidRequest,
                "the URL names two profiles, in its path and in its query",
            )
            .hint("name one")
            .into());
        }
        options.profile = Some(profile);
        Ok(options)
    }
}

/// The path parameters of a route that is mounted at a profile.
#[derive(Debug, Deserialize)]
struct InPath {
    profile: Option<ProfileName>,
}

/// The answer for an item without a reward: never a number that the caller did not choose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum OnFailure {
    /// The whole request fails with a 5xx, which the client repeats.
    Error,
    /// The number that the caller named in the URL.
    Value(Finite),
    /// The protocol's own mark for a missing reward, or `null`.
    Null,
}

impl<'de> Deserialize<'de> for OnFailure {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "error" => return Ok(Self::Error),
            "null" => return Ok(Self::Null),
            _ => {}
        }
        let value =
            text.strip_prefix("value:").and_then(|number| number.trim().parse::<f64>().ok());
        value.and_then(|value| Finite::new(value).ok()).map(Self::Value).ok_or_else(|| {
            D::Error::custom(format!(
                "on_failure is `{text}`; it is `error`, `null` or `value:X`, X a number"
            ))
        })
    }
}

/// The handling of thoughts before a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Thoughts {
    /// Scores the reply without them, since the partner never sees them.
    #[default]
    Drop,
    /// Scores them as part of the reply.
    Keep,
}

/// The reply of `/rm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReplyForm {
    /// The reward alone.
    #[default]
    Number,
    /// The reward with every part.
    Dict,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(query: &str) -> Result<UrlOptions, String> {
        let uri = format!("/get_reward?{query}").parse().unwrap();
        Query::<UrlOptions>::try_from_uri(&uri)
            .map(|query| query.0)
            .map_err(|error| error.body_text())
    }

    #[test]
    fn all_options_are_read_from_the_query() {
        let read = options(
            "profile=hotel&sources=rm,%20rules&score=all&on_failure=value:-1.5&thoughts=keep&key=x",
        );
        let read = read.unwrap();
        assert_eq!(read.profile, Some("hotel".into()));
        assert_eq!(read.sources(), Some(vec![SourceId::rm(), SourceId::rules()]));
        assert_eq!(read.turns(), ScoreTurns::ALL);
        assert_eq!(read.on_failure, Some(OnFailure::Value(Finite::new(-1.5).unwrap())));
        assert_eq!(read.thoughts, Thoughts::Keep);
        assert_eq!(options("").unwrap(), UrlOptions::default());
    }

    #[test]
    fn a_misspelt_option_is_refused_with_the_nearest_name() {
        let error = options("profle=hotel").unwrap_err();
        assert!(error.contains("profle"), "{error}");
        assert_eq!(unknown_name_hint(&error).as_deref(), Some("did you mean `profile`?"));
    }

    #[test]
    fn a_failure_value_must_be_a_finite_number() {
        for wrong in ["value:nan", "value:", "value:1e999", "0", "zero"] {
            assert!(
                options(&format!("on_failure={wrong}")).unwrap_err().contains("value:X"),
                "{wrong}"
            );
        }
    }
}

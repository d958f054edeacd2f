//! The visitor of a page: what their token may do, and the token of their forms.

use axum::extract::Request;
use guerdon_types::{Problem, ProblemCode};
use subtle::ConstantTimeEq as _;

use super::session::Session;
use crate::config::Scope;
use crate::http::auth::KnownToken;
use crate::http::problem::ApiError;

/// The visitor of a page, in the request's extensions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Visitor {
    /// `None` on a server without tokens.
    token: Option<KnownToken>,
    session: Option<Session>,
}

impl Visitor {
    /// A visitor with a token, logged in or with the token in a header.
    pub(crate) fn new(token: &KnownToken, session: Option<Session>) -> Self {
        Self { token: Some(token.clone()), session }
    }

    /// The name of the token; `None` on a server without tokens.
    pub(super) fn name(&self) -> Option<&str> {
        self.token.as_ref().map(KnownToken::name)
    }

    /// The token of the session's forms, if the visitor is logged in.
    pub(super) fn session(&self) -> Option<String> {
        self.session.as_ref().map(Session::csrf)
    }

    /// True if the token has the scope, or if the server has no tokens.
    pub(super) fn may(&self, scope: Scope) -> bool {
        self.token.as_ref().is_none_or(|token| token.check(scope, false).is_ok())
    }

    /// The token that a form for this visitor has. `own` is that of the forms of this process, for
    /// visitors without a session: other sites cannot read it.
    pub(super) fn csrf(&self, own: &str) -> String {
        self.session().unwrap_or_else(|| own.to_owned())
    }

    /// Refuses a form that another site may have sent.
    ///
    /// # Errors
    /// `forbidden`, if `given` is not the token of the visitor's forms.
    pub(super) fn check_form(&self, given: &str, own: &str) -> Result<(), ApiError> {
        if self.csrf(own).as_bytes().ct_eq(given.as_bytes()).into() {
            return Ok(());
        }
        let problem = Problem::new(ProblemCode::Forbidden, "the form is of another session");
        Err(problem.hint("open the page again, and send the form there").into())
    }
}

/// The visitor of a request.
pub(super) fn visitor_of(request: &Request) -> Visitor {
    request.extensions().get::<Visitor>().cloned().unwrap_or_default()
}

/// The refusal of a token without a scope.
pub(super) fn lacks(scope: &str, what: &str) -> ApiError {
    let problem = Problem::new(
        ProblemCode::Forbidden,
        format!("{what} needs a token with the scope `{scope}`"),
    );
    problem.hint("log in with another token, or add the scope in [[auth.tokens]]").into()
}

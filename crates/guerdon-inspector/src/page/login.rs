//! The form that takes a token.

use maud::{Markup, html};

use super::{Place, Shell};

/// The data of the form of a login.
#[derive(Debug, Clone, Copy)]
pub struct Login<'l> {
    /// The token against forged forms.
    pub csrf: &'l str,
    /// The page after the login.
    pub next: &'l str,
    /// The reason why the last try failed.
    pub error: Option<&'l str>,
}

/// The form of a login.
pub(crate) fn login_page(shell: &Shell<'_>, login: &Login<'_>) -> String {
    let content: Markup = html! {
        h1 { "Log in" }
        p { "These pages need a token with the scope " code { "read" } " (or " code { "score" } " or " code { "admin" } "), as configured in " code { "[[auth.tokens]]" } "." }
        @if let Some(error) = login.error { p.problem role="alert" { (error) } }
        form.login method="post" action="/ui/login" {
            input type="hidden" name="csrf" value=(login.csrf);
            input type="hidden" name="next" value=(login.next);
            label { "Token" input type="password" name="token" autocomplete="current-password" required autofocus; }
            button type="submit" { "Log in" }
        }
    };
    shell.page(Place::Other, "Log in", &content).into_string()
}

//! A page that says what is missing, where and what to do.

use maud::html;

use super::{Place, Shell};

/// The page of an error.
pub(crate) fn problem_page(shell: &Shell<'_>, title: &str, detail: &str, help: &str) -> String {
    let content = html! {
        h1 { (title) }
        p { (detail) }
        @if !help.is_empty() { p.help { (help) } }
        p { a href=(shell.links.home()) { "Back to the overview" } }
    };
    shell.page(Place::Other, title, &content).into_string()
}

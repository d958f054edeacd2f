//! The frame of every page.

use maud::{DOCTYPE, Markup, html};

use crate::links::Links;

/// The policy of every page: nothing inline, nothing from elsewhere.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// As [`POLICY`], for a page in a file: `frame-ancestors` works in headers only.
const FILE_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'none'; base-uri 'none'";

/// The address of the page of labels.
pub(crate) const LABEL: &str = "/ui/label";

/// The address of the rules workbench.
pub(crate) const WORKBENCH: &str = "/ui/workbench";

/// The entry of the navigation that a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Home,
    Rollouts,
    Run,
    Rules,
    Judge,
    Watch,
    Compare,
    Label,
    Workbench,
    Other,
}

/// The data of the frame around every page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shell<'s> {
    pub(crate) links: Links,
    /// The name of the store.
    pub(crate) store: &'s str,
    /// The token against forged forms, if the reader is logged in and can log out.
    pub(crate) session: Option<&'s str>,
    /// True on a server, which has the screens that write.
    pub(crate) has_tools: bool,
}

impl Shell<'_> {
    /// The whole page.
    pub(crate) fn page(&self, place: Place, title: &str, content: &Markup) -> Markup {
        let links = self.links;
        let filter = crate::filter::Filter::default();
        let mut entries = vec![
            (Place::Home, "Overview", links.home()),
            (Place::Run, "Run", links.run(&filter)),
            (Place::Rollouts, "Rollouts", links.rollouts(&filter, None)),
            (Place::Rules, "Rules", links.components(&filter)),
            (Place::Judge, "Judge", links.judge(&filter)),
            (Place::Watch, "Watch", links.watch(&filter)),
            (Place::Compare, "Compare", links.compare_choice()),
        ];
        if self.has_tools {
            entries.push((Place::Label, "Label", LABEL.to_owned()));
            entries.push((Place::Workbench, "Workbench", WORKBENCH.to_owned()));
        }
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="referrer" content="same-origin";
                    @if links == Links::Bundle {
                        meta http-equiv="Content-Security-Policy" content=(FILE_POLICY);
                    }
                    title { (title) " · guerdon" }
                    link rel="icon" href=(links.asset("icon.svg")) type="image/svg+xml";
                    link rel="stylesheet" href=(links.asset("inspector.css"));
                    script src=(links.asset("inspector.js")) defer {}
                }
                body {
                    a.skip href="#main" { "Skip to content" }
                    header.top {
                        a.brand href=(links.home()) {
                            img src=(links.asset("icon.svg")) alt="" width="22" height="22"; "guerdon"
                        }
                        nav aria-label="Screens" { ul {
                            @for (entry, name, link) in entries {
                                li { a href=(link) aria-current=[(entry == place).then_some("page")] { (name) } }
                            }
                        } }
                        span.store title=(self.store) { (self.store.rsplit('/').next().unwrap_or(self.store)) }
                        @if let Some(session) = self.session {
                            form method="post" action="/ui/logout" {
                                input type="hidden" name="csrf" value=(session);
                                button.quiet type="submit" { "Log out" }
                            }
                        }
                    }
                    main #main tabindex="-1" { (content) }
                    footer {
                        "Keys: " kbd { "j" } " " kbd { "k" } " next and previous, " kbd { "Enter" } " open, "
                        kbd { "/" } " filter, " kbd { "u" } " up"
                    }
                }
            }
        }
    }
}

/// A table of facts: names and values.
pub(crate) fn facts(facts: &[(&str, Markup)]) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in facts { div { dt { (name) } dd { (value) } } }
        }
    }
}

/// A number with its name, large.
pub(crate) fn tile(name: &str, value: &str, note: &str) -> Markup {
    html! {
        div.tile { span.name { (name) } strong { (value) } @if !note.is_empty() { span.note { (note) } } }
    }
}

//! Rules workbench: what would this edit of a pack do?

use maud::{Markup, html};

use super::super::layout::{WORKBENCH, tile};
use super::super::numbers::signed;
use super::super::{Place, Shell};

/// The data of the rules workbench.
#[derive(Debug, Clone, Copy)]
pub struct Workbench<'w> {
    /// The token against forged forms.
    pub csrf: &'w str,
    /// The packs that can be chosen.
    pub packs: &'w [PackPlace],
    /// The pack in the editor.
    pub edited: Option<&'w EditedPack>,
    /// True if the reader may check texts.
    pub may_check: bool,
    /// The reason why the reader may not save; `None` if they may.
    pub read_only: Option<&'w str>,
    /// The result of a check.
    pub check: Option<&'w PackCheck>,
    /// A message of success, such as that the text was saved.
    pub notice: Option<&'w str>,
    /// A message of failure.
    pub problem: Option<&'w str>,
}

/// A pack of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackPlace {
    /// The profile.
    pub profile: String,
    /// The file, as the configuration names it.
    pub file: String,
}

/// A pack with the text of the editor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditedPack {
    /// The pack.
    pub place: PackPlace,
    /// The text.
    pub text: String,
    /// The `sha256:…` of the file when it was read.
    pub hash: String,
}

/// The result of a check of a text in place of a pack's file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PackCheck {
    /// True if the packs have no errors.
    pub ok: bool,
    /// The report of errors and warnings, with their places.
    pub report: String,
    /// True if the file on disk has errors, so that every hit counts as added.
    pub is_first: bool,
    /// The newest rollouts on which both texts ran.
    pub tried: usize,
    /// The newest rollouts whose texts are stored. More than `tried` if the time was over.
    pub rollouts: usize,
    /// The rollouts with other hits or points.
    pub changed: usize,
    /// The rollouts whose points have another sign.
    pub signs: usize,
    /// Added and gone hits by rule.
    pub rules: Vec<RuleChange>,
    /// The newest rollouts with changes.
    pub changes: Vec<PackChange>,
}

/// The change of one rule over the rollouts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleChange {
    /// `pack/rule`.
    pub rule: String,
    /// The hits that only the new text has.
    pub added: usize,
    /// The hits that only the file has.
    pub gone: usize,
}

/// The change of one rollout.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PackChange {
    /// The place of the rollout in the store.
    pub key: i64,
    /// The rollout.
    pub rollout: String,
    /// The points of all packs of the source before.
    pub before: f64,
    /// The points after.
    pub after: f64,
    /// The rules with more hits.
    pub added: Vec<String>,
    /// The rules with fewer hits.
    pub gone: Vec<String>,
}

/// The page of the workbench.
pub(crate) fn workbench_page(shell: &Shell<'_>, workbench: &Workbench<'_>) -> String {
    let content = html! {
        h1 { "Rules workbench" }
        p { "Edit a pack, check it, and see what it would change on the newest rollouts. Nothing is saved before you say so." }
        @if workbench.packs.is_empty() {
            p.help { "No profile has a rule pack that can be edited here. Name one under " code { "rules" } " in the configuration." }
        } @else { (choice(workbench)) }
        @if let Some(problem) = workbench.problem { p.problem role="alert" { (problem) } }
        @if let Some(notice) = workbench.notice { p.help role="status" { (notice) } }
        @if let Some(edited) = workbench.edited { (editor(workbench, edited)) }
        div #result aria-live="polite" { @if let Some(check) = workbench.check { (result(shell, check)) } }
    };
    shell.page(Place::Workbench, "Rules workbench", &content).into_string()
}

/// The packs, each as a link.
fn choice(workbench: &Workbench<'_>) -> Markup {
    let now = workbench.edited.map(|edited| &edited.place);
    html! {
        details open[now.is_none()] {
            summary { "Packs (" (workbench.packs.len()) ")" }
            ul { @for place in workbench.packs {
                li { a href=(link(place)) aria-current=[(Some(place) == now).then_some("true")] { (place.profile) ": " (place.file) } }
            } }
        }
    }
}

/// The address of a pack in the workbench.
fn link(place: &PackPlace) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("profile", &place.profile).append_pair("pack", &place.file);
    format!("{WORKBENCH}?{}", query.finish())
}

fn editor(workbench: &Workbench<'_>, edited: &EditedPack) -> Markup {
    let rows = edited.text.lines().count().clamp(12, 36);
    html! {
        h2 { (edited.place.file) }
        form.workbench method="post" action=(WORKBENCH) data-live[workbench.may_check] {
            input type="hidden" name="csrf" value=(workbench.csrf);
            input type="hidden" name="profile" value=(edited.place.profile);
            input type="hidden" name="pack" value=(edited.place.file);
            input type="hidden" name="hash" value=(edited.hash);
            label for="text" { "Text of the pack (YAML)" }
            // A browser drops the first line end of a text area.
            textarea #text name="text" rows=(rows) spellcheck="false" autocomplete="off" { "\n" (edited.text) }
            div.buttons {
                @if workbench.may_check { button type="submit" name="action" value="check" { "Check" } }
                @if workbench.read_only.is_none() { button type="submit" name="action" value="save" { "Save to the file" } }
            }
            @if !workbench.may_check { p.note { "Checks need a token with the scope check, score or admin." } }
            @if let Some(why) = workbench.read_only { p.note { (why) } }
        }
    }
}

fn result(shell: &Shell<'_>, check: &PackCheck) -> Markup {
    html! {
        h2 { @if check.ok { "The text checks" } @else { "The text has errors" } }
        @if !check.report.is_empty() { pre tabindex="0" { (check.report) } }
        @if check.ok {
            @if check.rollouts == 0 {
                p.help { "No rollout of this profile is stored with its texts, so hits cannot be shown. A ledger keeps them with " code { "texts = \"full\"" } "." }
            } @else { (hits(shell, check)) }
        }
    }
}

fn hits(shell: &Shell<'_>, check: &PackCheck) -> Markup {
    let tried = format!("of the newest {} with texts", check.rollouts);
    html! {
        div.tiles {
            (tile("rollouts tried", &check.tried.to_string(), &tried))
            (tile("with changes", &check.changed.to_string(), "other hits or points"))
            (tile("sign of points", &check.signs.to_string(), "rollouts whose points change sign"))
        }
        @if check.tried < check.rollouts { p.help { "The time of a check was over before all rollouts were tried." } }
        @if check.is_first { p.help { "The file on disk has errors, so every hit counts as added." } }
        @if !check.rules.is_empty() {
            table.list {
                caption { "Changes by rule" }
                thead { tr { th scope="col" { "Rule" } th.n scope="col" { "Added hits" } th.n scope="col" { "Gone hits" } } }
                tbody { @for rule in &check.rules {
                    tr { th scope="row" { code { (guerdon_text::cut(&rule.rule, 120)) } } td.n { (rule.added) } td.n { (rule.gone) } }
                } }
            }
        }
        @if !check.changes.is_empty() {
            table.list data-rows {
                caption { "Newest rollouts with changes" }
                thead { tr { th scope="col" { "Rollout" } th.n scope="col" { "Points before" } th.n scope="col" { "After" } th scope="col" { "Added" } th scope="col" { "Gone" } } }
                tbody { @for change in &check.changes { tr {
                    th scope="row" { a href=(shell.links.rollout(change.key)) { (guerdon_text::cut(&change.rollout, 80)) } }
                    td.n { (signed(change.before)) } td.n { (signed(change.after)) }
                    td { (names(&change.added)) } td { (names(&change.gone)) }
                } } }
            }
        } @else { p { "No rollout changes." } }
    }
}

fn names(names: &[String]) -> Markup {
    html! { @for (place, name) in names.iter().take(20).enumerate() { @if place > 0 { ", " } code { (guerdon_text::cut(name, 120)) } } }
}

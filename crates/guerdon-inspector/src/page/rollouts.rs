//! The list of rollouts with its filter.

use maud::{Markup, html};

use super::numbers::{number, optional, short_digest};
use super::{Place, Shell};
use crate::filter::Filter;
use crate::links::Links;
use crate::record::Row;
use crate::store::Overview;

/// The most runs and profiles that a filter offers.
const MAX_CHOICES: usize = 200;

/// The list of rollouts with their rewards.
pub(crate) fn rollouts_page(
    shell: &Shell<'_>,
    filter: &Filter,
    overview: &Overview,
    rows: &[Row],
    next: Option<i64>,
) -> String {
    let content = html! {
        h1 { "Rollouts" }
        @if shell.links == Links::Served { (filter_form(filter, overview, "/ui/rollouts")) }
        (table(shell, rows))
        nav.pages aria-label="Pages" {
            @if let Some(next) = next {
                a rel="next" href=(shell.links.rollouts(filter, Some(next))) { "Older rollouts" }
            } @else { span.note { "These are the oldest rollouts." } }
        }
    };
    shell.page(Place::Rollouts, "Rollouts", &content).into_string()
}

/// The form of a filter. It is sent with GET, so that the URL has its state.
pub(crate) fn filter_form(filter: &Filter, overview: &Overview, action: &str) -> Markup {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let runs = overview.runs.iter().filter_map(|run| run.run.as_ref()).take(MAX_CHOICES);
    html! {
        form.filter method="get" action=(action) role="search" {
            label { "Run" input name="run" value=(text(&filter.run)) list="runs" autocomplete="off"; }
            datalist #runs { @for run in runs { option value=(run) {} } }
            label { "Step" input.short name="step" inputmode="numeric" value=(filter.step.map(|step| step.to_string()).unwrap_or_default()); }
            label { "Group" input name="group" value=(text(&filter.group)) autocomplete="off"; }
            label { "Profile" input name="profile" value=(text(&filter.profile)) list="profiles" autocomplete="off"; }
            datalist #profiles { @for profile in overview.profiles.iter().take(MAX_CHOICES) { option value=(profile) {} } }
            @if let Some(split) = &filter.split { input type="hidden" name="split" value=(split); }
            label { "Digest" input name="digest" value=(text(&filter.digest)) autocomplete="off"; }
            label.check { input type="checkbox" name="null" value="1" checked[filter.only_null]; "without a reward" }
            button type="submit" { "Filter" }
            @if *filter != Filter::default() { a.quiet href=(action) { "Clear" } }
        }
    }
}

/// The rows of a list, each with a link to its rollout.
pub(crate) fn table(shell: &Shell<'_>, rows: &[Row]) -> Markup {
    if rows.is_empty() {
        return html! { p.help { "No rollout matches." } };
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label="Rollouts" { table.list data-rows {
            thead { tr {
                th scope="col" { "Rollout" } th.n scope="col" { "Reward" } th.n scope="col" { "Advantage" }
                th scope="col" { "Sources" } th scope="col" { "Group" } th scope="col" { "Run" }
                th.n scope="col" { "Step" } th scope="col" { "Digest" }
            } }
            tbody { @for row in rows { (row_of(shell, row)) } }
        } }
    }
}

fn row_of(shell: &Shell<'_>, row: &Row) -> Markup {
    let labels = &row.labels;
    let group = Filter { group: labels.group.clone(), ..run_and_step(row) };
    html! {
        tr {
            th scope="row" { a href=(shell.links.rollout(row.key)) { (guerdon_text::cut(&row.rollout, 60)) } }
            td.n { @match row.reward {
                Some(reward) => (number(reward)),
                None => span.bad title=(row.error.as_deref().unwrap_or("a source abstained")) { "no reward" },
            } }
            td.n { (optional(row.advantage)) }
            td { (parts(row)) }
            td { @if let Some(name) = &labels.group { a href=(shell.links.group(&group)) { (guerdon_text::cut(name, 40)) } } }
            td { (labels.run.as_deref().unwrap_or_default()) }
            td.n { @if let Some(step) = labels.step { (step) } }
            td { @if let Some(digest) = &labels.digest { code title=(digest) { (short_digest(digest)) } } }
        }
    }
}

/// The filter of the run and the step of a row.
pub(crate) fn run_and_step(row: &Row) -> Filter {
    Filter { run: row.labels.run.clone(), step: row.labels.step, ..Filter::default() }
}

fn parts(row: &Row) -> Markup {
    html! {
        @for part in row.parts.iter().take(8) {
            @match (&part.value, &part.reason) {
                (Some(value), _) => { span.part { (part.source) " " b { (number(*value)) } } " " }
                (None, reason) => { span.part.bad { (part.source) " " (reason.as_deref().unwrap_or("abstained")) } " " }
            }
        }
        @if row.clipped { span.flag { "clipped" } " " }
        @if row.dead { span.flag { "dead zone" } " " }
        @if row.vetoed { span.flag { "veto" } " " }
    }
}

//! Rules and criteria: does each earn its keep?

use maud::{Markup, html};

use super::layout::{WORKBENCH, tile};
use super::numbers::{number, optional, percent, signed};
use super::rollouts::filter_form;
use super::{Place, Shell};
use crate::chart::spark;
use crate::filter::Filter;
use crate::links::Links;
use crate::store::Overview;
use crate::summary::ComponentSummary;

/// The most rows of the table.
const MAX_ROWS: usize = 300;

/// The data of the pages of rules.
pub(crate) struct Components<'c> {
    pub(crate) rollouts: usize,
    pub(crate) found: &'c [ComponentSummary],
    /// The name that a page is about.
    pub(crate) name: Option<&'c str>,
    /// The number of rollouts at which reading stopped.
    pub(crate) cut_at: Option<usize>,
}

/// Does it earn its keep?
pub(crate) fn components_page(
    shell: &Shell<'_>,
    filter: &Filter,
    overview: &Overview,
    components: &Components<'_>,
) -> String {
    let Components { rollouts, found, name, cut_at } = components;
    let chosen = name.and_then(|name| found.iter().find(|one| one.name == name));
    let content = html! {
        h1 { "Rules and criteria" }
        @if shell.has_tools { p { a href=(WORKBENCH) { "Edit a rule pack in the workbench" } } }
        @if shell.links == Links::Served { (filter_form(filter, overview, "/ui/rules")) }
        @if let Some(limit) = cut_at {
            p.help { "The numbers are those of the newest " (limit) " rollouts. Choose a run or a step for others." }
        }
        @if let Some(one) = chosen { (details(shell, one, *rollouts)) }
        @if found.is_empty() { p.help { "No rule and no criterion answered on these rollouts." } }
        @else { (table(shell, filter, found, *rollouts)) }
    };
    shell.page(Place::Rules, "Rules and criteria", &content).into_string()
}

fn table(
    shell: &Shell<'_>,
    filter: &Filter,
    found: &[ComponentSummary],
    rollouts: usize,
) -> Markup {
    html! {
        p.note {
            "Weight is the part of all points, without their sign. The correlations are over all rollouts, with 0 points where a "
            "name did not answer: near 1 or −1 with the length, a name pays or punishes long replies."
        }
        div.scroll tabindex="0" role="region" aria-label="Rules and criteria" { table.list data-rows {
            thead { tr {
                th scope="col" { "Rule or criterion" } th.n scope="col" { "Fires" } th scope="col" { "Over time" }
                th.n scope="col" { "Mean points" } th.n scope="col" { "Weight" }
                th.n scope="col" { "With length" } th.n scope="col" { "With reward" } th scope="col" { "Together with" }
            } }
            tbody { @for one in found.iter().take(MAX_ROWS) { tr {
                th scope="row" {
                    @if shell.links == Links::Served { a href=(shell.links.component(filter, &one.name)) { (guerdon_text::cut(&one.name, 80)) } }
                    @else { (guerdon_text::cut(&one.name, 80)) }
                }
                td.n { (percent(one.counted, rollouts)) }
                td { (spark(&one.trend, "Share of rollouts with it, over time")) }
                td.n { (optional(mean(one))) }
                td.n { (number((one.share * 1_000.0).round() / 10.0)) " %" }
                td.n { (optional(one.length)) } td.n { (optional(one.reward)) }
                td { @if let Some((name, count)) = one.together.first() { (guerdon_text::cut(name, 60)) " " span.note { (count) } } }
            } } }
        } }
        @if found.len() > MAX_ROWS { p.help { "There are " (found.len()) " names; the table has those with the greatest weight." } }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn mean(one: &ComponentSummary) -> Option<f64> {
    (one.counted > 0).then(|| one.points / one.counted as f64)
}

fn details(shell: &Shell<'_>, one: &ComponentSummary, rollouts: usize) -> Markup {
    html! {
        section {
            h2 { (guerdon_text::cut(&one.name, 200)) }
            div.tiles {
                (tile("fires on", &percent(one.counted, rollouts), &format!("{} of {rollouts} rollouts", one.counted)))
                (tile("mean points", &optional(mean(one)), ""))
                (tile("correlation with length", &optional(one.length), ""))
                (tile("correlation with reward", &optional(one.reward), ""))
            }
            h3 { "Newest rollouts with points" }
            @if one.newest.is_empty() { p { "None." } }
            ul { @for (key, rollout, points) in &one.newest {
                li { a href=(shell.links.rollout(*key)) { (guerdon_text::cut(rollout, 80)) } " " (signed(*points)) }
            } }
            @if !one.together.is_empty() {
                h3 { "Fires together with" }
                ul { @for (name, count) in &one.together { li { (guerdon_text::cut(name, 120)) " " span.note { (count) " rollouts" } } } }
            }
        }
    }
}

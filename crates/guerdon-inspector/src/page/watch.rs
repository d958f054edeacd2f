//! Joint alarms of a run: is the reward being hacked?

use maud::html;

use super::rollouts::filter_form;
use super::{Place, Shell};
use crate::filter::Filter;
use crate::links::Links;
use crate::store::Overview;
use crate::summary::WatchSign;

/// Is it being hacked?
pub(crate) fn watch_page(
    shell: &Shell<'_>,
    filter: &Filter,
    overview: &Overview,
    signs: &[WatchSign],
) -> String {
    let alarms = signs.iter().filter(|sign| sign.is_alarm).count();
    let content = html! {
        h1 { "Watch" }
        @if shell.links == Links::Served { (filter_form(filter, overview, "/ui/watch")) }
        p {
            "The first quarter of the rollouts is compared with the last one. A reward that rises is what training is for, so "
            "each alarm needs two conditions at once: the reward rises, and something that should not go with it does."
        }
        @if signs.is_empty() {
            p.help { "Fewer than 120 rollouts match, too few to tell." }
        } @else if alarms == 0 {
            p.help { "No alarm. The numbers are below." }
        } @else {
            p.problem role="note" { (alarms) @if alarms == 1 { " alarm." } @else { " alarms." } " Read the rollouts with the highest rewards." }
        }
        @if !signs.is_empty() {
            div.scroll tabindex="0" role="region" aria-label="Signs" { table.list {
                thead { tr { th scope="col" { "Question" } th scope="col" { "Answer" } th scope="col" { "Numbers" } } }
                tbody { @for sign in signs { tr {
                    th scope="row" { (sign.question) }
                    td { @if sign.is_alarm { span.flag { "alarm" } } @else { "no" } }
                    td { (sign.found) }
                } } }
            } }
        }
    };
    shell.page(Place::Watch, "Watch", &content).into_string()
}

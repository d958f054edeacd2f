//! The judge: can I still trust it, and what does it cost?

use maud::{Markup, html};

use super::layout::tile;
use super::numbers::{number, optional, percent};
use super::rollouts::filter_form;
use super::{Place, Shell};
use crate::filter::Filter;
use crate::links::Links;
use crate::store::Overview;
use crate::summary::{CriterionSummary, JudgeSummary};

/// The most criteria of the table, and the most levels of one.
const MAX_CRITERIA: usize = 200;
const MAX_LEVELS: usize = 12;

/// Can I still trust it, and what does it cost?
pub(crate) fn judge_page(
    shell: &Shell<'_>,
    filter: &Filter,
    overview: &Overview,
    judge: &JudgeSummary,
) -> String {
    let abstained: usize = judge.abstained.values().sum();
    let content = html! {
        h1 { "Judge" }
        @if shell.links == Links::Served { (filter_form(filter, overview, "/ui/judge")) }
        p.note { "The numbers are those of the newest " (judge.rollouts) " rollouts of the filter." }
        @if judge.turns == 0 && abstained == 0 {
            p.help { "No judge was asked about these rollouts." }
        } @else {
            div.tiles {
                (tile("answers", &judge.turns.to_string(), &models(judge)))
                (tile("from the cache", &percent(judge.cached, judge.turns), ""))
                (tile("abstained", &percent(abstained, judge.turns + abstained), &reasons(judge)))
                @if let Some(cost) = judge.cost { (tile("cost", &number(cost), "in the currency of the configured prices")) }
                @if let Some(calls) = judge.calls { (tile("calls", &calls.to_string(), "")) }
            }
            section {
                h2 { "Criteria" }
                p.note {
                    "A quote that is not in the dialogue was made up. A criterion whose points go with the length of replies may "
                    "be judging the length, and one with a single level tells nothing."
                }
                (criteria(judge))
            }
            p { "Agreement with people needs labels: " code { "guerdon judge calibrate" } " and " code { "guerdon judge probe" } " measure it." }
        }
    };
    shell.page(Place::Judge, "Judge", &content).into_string()
}

fn models(judge: &JudgeSummary) -> String {
    let names: Vec<&str> = judge.models.keys().take(4).map(String::as_str).collect();
    names.join(", ")
}

fn reasons(judge: &JudgeSummary) -> String {
    let one = |(why, count): (&String, &usize)| format!("{why} {count}");
    let reasons: Vec<String> = judge.abstained.iter().take(6).map(one).collect();
    reasons.join(", ")
}

fn criteria(judge: &JudgeSummary) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Criteria" { table.list {
            thead { tr {
                th scope="col" { "Criterion" } th.n scope="col" { "Verdicts" } th.n scope="col" { "Mean points" }
                th.n scope="col" { "Quotes found" } th.n scope="col" { "With length" } th scope="col" { "Levels" }
            } }
            tbody { @for (name, one) in judge.criteria.iter().take(MAX_CRITERIA) { tr {
                th scope="row" { (guerdon_text::cut(name, 80)) }
                td.n { (one.verdicts) }
                td.n { (optional(mean(one))) }
                td.n { @if one.quotes > 0 {
                    @if one.found < one.quotes { span.bad { (percent(one.found, one.quotes)) } } @else { (percent(one.found, one.quotes)) }
                } @else { "–" } }
                td.n { (optional(one.length)) }
                td { @for (level, count) in one.levels.iter().take(MAX_LEVELS) {
                    span.part { (guerdon_text::cut(level, 40)) " " b { (percent(*count, one.verdicts)) } } " "
                } }
            } } }
        } }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn mean(one: &CriterionSummary) -> Option<f64> {
    (one.verdicts > 0).then(|| one.points / one.verdicts as f64)
}

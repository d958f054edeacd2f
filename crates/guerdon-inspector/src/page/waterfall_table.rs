//! The waterfall of a turn as a table with bars.

use maud::{Markup, html};

use super::numbers::{number, signed};
use crate::chart::bar_cell;
use crate::waterfall::{Bar, BarKind, Waterfall};

/// From the base to the reward, one row for each source.
pub(crate) fn waterfall_table(waterfall: &Waterfall, caption: &str) -> Markup {
    let mut ends: Vec<f64> = waterfall.bars.iter().map(|bar| bar.total).collect();
    ends.extend(waterfall.bars.iter().map(start));
    html! {
        table.waterfall {
            caption { (caption) }
            thead { tr {
                th scope="col" { "Source" } th.n scope="col" { "Points" }
                th.n scope="col" { "Change" } th scope="col" { "From base to reward" } th.n scope="col" { "Total" }
            } }
            tbody { @for bar in &waterfall.bars { tr class=(class(bar)) {
                th scope="row" { (guerdon_text::cut(&bar.label, 40)) }
                td.n { @if let Some(points) = bar.points { (signed(points)) } }
                td.n { @if !is_total(bar) { (signed(bar.change)) } }
                td { (bar_cell(start(bar), bar.total, &ends, class(bar))) }
                td.n { (number(bar.total)) }
            } } }
        }
        @if !waterfall.is_explained {
            p.help {
                "The stored parts do not make this reward with the stored fusion. The reward was made by another fusion, or "
                "the fusion is not stored: a reply of POST /v1/score and a ledger have it."
            }
        }
    }
}

const fn is_total(bar: &Bar) -> bool {
    matches!(bar.kind, BarKind::Base | BarKind::Reward | BarKind::Advantage)
}

fn start(bar: &Bar) -> f64 {
    if is_total(bar) { 0.0 } else { bar.total - bar.change }
}

fn class(bar: &Bar) -> &'static str {
    match bar.kind {
        BarKind::Base => "base",
        BarKind::Points if bar.change > 0.0 => "up",
        BarKind::Points if bar.change < 0.0 => "down",
        BarKind::Points => "still",
        BarKind::Clip | BarKind::Veto => "bound",
        BarKind::Rest => "unknown",
        BarKind::Reward => "reward",
        BarKind::Advantage => "advantage",
    }
}

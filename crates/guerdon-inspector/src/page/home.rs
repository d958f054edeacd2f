//! The first page: runs in short, and the newest rollouts.

use maud::{Markup, html};

use super::layout::tile;
use super::numbers::{optional, time};
use super::rollouts::table;
use super::{Place, Shell};
use crate::filter::Filter;
use crate::record::Row;
use crate::store::{Overview, RunOverview};

/// The overview: the runs, and the newest rollouts.
pub(crate) fn home_page(shell: &Shell<'_>, overview: &Overview, newest: &[Row]) -> String {
    let without: u64 = overview.runs.iter().map(|run| run.without_reward).sum();
    let content = html! {
        h1 { "Overview" }
        @if overview.rollouts == 0 {
            p.help { "There is no scored rollout yet. Send rollouts to POST /v1/score; they are here as soon as the ledger has written them." }
        }
        div.tiles {
            (tile("rollouts", &overview.rollouts.to_string(), ""))
            (tile("without a reward", &without.to_string(), ""))
            (tile("runs", &overview.runs.iter().filter(|run| run.run.is_some()).count().to_string(), ""))
            (tile("profiles", &overview.profiles.len().to_string(), &overview.profiles.join(", ")))
        }
        section {
            h2 { "Runs" }
            div.scroll tabindex="0" role="region" aria-label="Runs" { table.list {
                thead { tr {
                    th scope="col" { "Run" } th.n scope="col" { "Rollouts" } th.n scope="col" { "Steps" }
                    th.n scope="col" { "Mean reward" } th.n scope="col" { "Without reward" }
                    th.n scope="col" { "Digests" } th scope="col" { "Newest" }
                } }
                tbody { @for run in &overview.runs { (run_row(shell, run)) } }
            } }
        }
        section {
            h2 { "Newest rollouts" }
            (table(shell, newest))
            p { a href=(shell.links.rollouts(&Filter::default(), None)) { "All rollouts" } }
        }
    };
    shell.page(Place::Home, "Overview", &content).into_string()
}

fn run_row(shell: &Shell<'_>, run: &RunOverview) -> Markup {
    let filter = Filter { run: run.run.clone(), ..Filter::default() };
    html! {
        tr {
            th scope="row" {
                a href=(shell.links.run(&filter)) { (run.run.as_deref().unwrap_or("rollouts without a run")) }
            }
            td.n { (run.rollouts) }
            td.n { @if let Some((first, last)) = run.steps { (first) "–" (last) } @else { "–" } }
            td.n { (optional(run.mean)) }
            td.n { (run.without_reward) }
            td.n { (run.digests) }
            td { @if let Some(ms) = run.newest_ms { (time(ms)) } @else { "–" } }
        }
    }
}

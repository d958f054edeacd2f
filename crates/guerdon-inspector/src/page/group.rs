//! The samples of one prompt: why did A beat B?

use guerdon_types::{Finite, Message};
use maud::{Markup, html};

use super::dialogue::notes;
use super::layout::tile;
use super::numbers::{number, optional, signed};
use super::rollout::turn_panel;
use super::waterfall_table::waterfall_table;
use super::{Place, Shell};
use crate::chart::bar_cell;
use crate::filter::Filter;
use crate::record::Record;
use crate::turn_sources::turn_sources;
use crate::waterfall::waterfall;

/// The characters of a reply that a card shows.
const REPLY_CHARS: usize = 1_500;
/// The samples that are shown side by side. Further ones are in the table alone.
const CARDS: usize = 16;

/// The page of a group: its samples, and the causes of their differences.
pub(crate) fn group_page(
    shell: &Shell<'_>,
    filter: &Filter,
    records: &[Record],
    is_cut: bool,
) -> String {
    let mut sorted: Vec<&Record> = records.iter().collect();
    let reward = |record: &Record| record.result.reward.map_or(f64::NEG_INFINITY, Finite::get);
    sorted.sort_by(|one, other| reward(other).total_cmp(&reward(one)));
    let rewards: Vec<f64> =
        sorted.iter().filter_map(|record| record.result.reward).map(Finite::get).collect();
    let spread = rewards.first().zip(rewards.last()).map(|(best, worst)| best - worst);
    let name = filter.group.as_deref().unwrap_or("without a name");
    let content = html! {
        nav.path aria-label="Place" { ol {
            @if let Some(run) = &filter.run {
                li { a href=(shell.links.run(&Filter { run: Some(run.clone()), ..Filter::default() })) { "Run " (run) } }
            }
            li { a data-up href=(shell.links.rollouts(&Filter { group: None, ..filter.clone() }, None)) {
                @if let Some(step) = filter.step { "Step " (step) } @else { "Rollouts" }
            } }
        } }
        h1 { "Group " (guerdon_text::cut(name, 100)) }
        div.tiles {
            (tile("samples", &records.len().to_string(), if is_cut { "the newest; there are more" } else { "" }))
            (tile("best", &optional(rewards.first().copied()), ""))
            (tile("worst", &optional(rewards.last().copied()), ""))
            (tile("spread", &optional(spread), if spread == Some(0.0) { "no difference: this group teaches nothing" } else { "" }))
        }
        @if records.is_empty() { p.help { "No rollout of this group is stored." } }
        @if !comparable(&sorted) {
            p.problem role="note" { "The samples were not scored by the same sources, so their rewards cannot be compared and give no advantage." }
        }
        (prompt(&sorted))
        section { h2 { "What makes the difference" } (differences(shell, &sorted)) }
        section {
            h2 { "Samples, best first" }
            div.cards data-rows { @for record in sorted.iter().take(CARDS) { (card(shell, record)) } }
        }
    };
    shell.page(Place::Other, &format!("Group {name}"), &content).into_string()
}

/// True if every rewarded sample has numbers of the same sources.
fn comparable(records: &[&Record]) -> bool {
    let sources = |record: &&Record| {
        let turns = record.result.turns.iter();
        let mut names: Vec<String> =
            turns.flat_map(turn_sources).map(|source| source.name).collect();
        names.sort();
        names.dedup();
        names
    };
    let rewarded = records.iter().filter(|record| record.result.reward.is_some());
    let mut names: Vec<Vec<String>> = rewarded.map(sources).collect();
    names.dedup();
    names.len() < 2
}

/// The messages that all samples begin with.
fn prompt(records: &[&Record]) -> Markup {
    let dialogues: Vec<&Vec<Message>> =
        records.iter().filter_map(|record| record.messages.as_ref()).collect();
    let Some(first) = dialogues.first() else { return html! {} };
    let shared = (0..first.len())
        .take_while(|place| dialogues.iter().all(|one| one.get(*place) == first.get(*place)))
        .count();
    let last_scored = records.iter().filter_map(|record| record.result.turns.first());
    let shared = shared.min(last_scored.map(|turn| turn.index).min().unwrap_or(shared));
    html! {
        @if shared > 0 {
            details.prompt open[shared <= 3] {
                summary { "The prompt: " (shared) " messages that all samples share" }
                ol.dialogue { @for message in first.iter().take(shared.min(50)) {
                    li class={ "message " (message.role.as_str()) } {
                        h3 { (message.role.as_str()) }
                        div.text { (guerdon_text::cut(&message.content, REPLY_CHARS)) }
                    }
                } }
            }
        }
    }
}

/// One row for each sample, one column for each source.
fn differences(shell: &Shell<'_>, records: &[&Record]) -> Markup {
    let mut names: Vec<String> = Vec::new();
    let numbers: Vec<Vec<(String, f64)>> = records.iter().map(|record| sums(record)).collect();
    for (name, _) in numbers.iter().flatten() {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names.truncate(12);
    let of = |row: &[(String, f64)], name: &str| {
        row.iter().find(|(own, _)| own == name).map(|(_, number)| *number)
    };
    let rewards: Vec<f64> =
        records.iter().filter_map(|record| record.result.reward).map(Finite::get).collect();
    html! {
        div.scroll tabindex="0" role="region" aria-label="What makes the difference" { table.list {
            thead { tr {
                th scope="col" { "Sample" }
                @for name in &names { th.n scope="col" { (name) } }
                th.n scope="col" { "Reward" } th scope="col" aria-label="Reward as a bar" {} th.n scope="col" { "Advantage" }
            } }
            tbody { @for (record, row) in records.iter().zip(&numbers) { tr {
                th scope="row" { a href=(shell.links.rollout(record.key)) { (guerdon_text::cut(&record.result.id.to_string(), 60)) } }
                @for name in &names { td.n { (optional(of(row, name))) } }
                td.n { @match record.result.reward { Some(reward) => (number(reward.get())), None => span.bad { "no reward" } } }
                td { @if let Some(reward) = record.result.reward { (bar_cell(0.0, reward.get(), &rewards, "reward")) } }
                td.n { (record.result.advantage.map_or_else(|| "–".to_owned(), |advantage| signed(advantage.get()))) }
            } } }
        } }
    }
}

/// The numbers of the sources, summed over the turns.
fn sums(record: &Record) -> Vec<(String, f64)> {
    let parts = record.row().parts.into_iter();
    parts.filter_map(|part| Some((part.source, part.value?))).collect()
}

fn card(shell: &Shell<'_>, record: &Record) -> Markup {
    let result = &record.result;
    let fusion = record.versions.as_ref().and_then(|versions| versions.fusion.config());
    let advantage = result.advantage.map(Finite::get);
    html! {
        article.card tabindex="-1" {
            h3 {
                a href=(shell.links.rollout(record.key)) { (guerdon_text::cut(&result.id.to_string(), 60)) }
                " " span.reward { (result.reward.map_or_else(|| "no reward".to_owned(), |reward| number(reward.get()))) }
            }
            @if let Some(turn) = result.turns.last() {
                @if let Some(message) = record.messages.as_ref().and_then(|messages| messages.get(turn.index)) {
                    div.text { (guerdon_text::cut(&message.content, REPLY_CHARS)) }
                }
                (waterfall_table(&waterfall(turn, fusion.as_ref(), advantage), &format!("Turn {}", turn.index)))
                details {
                    summary { "Rules, criteria and abstentions" }
                    (turn_panel(turn, &notes(turn), &format!("k{}", record.key), fusion.as_ref(), advantage))
                }
            }
            @if let Some(error) = &result.error { p.bad { (error.code.as_str()) ": " (guerdon_text::cut(&error.detail, 300)) } }
        }
    }
}

//! A run by step: is the reward still telling the truth?

use maud::{Markup, html};

use super::layout::tile;
use super::numbers::{number, optional, percent, short_digest};
use super::rollouts::filter_form;
use super::{Place, Shell};
use crate::chart::{Band, Column, Line, SeriesChart, spark};
use crate::filter::Filter;
use crate::links::Links;
use crate::store::Overview;
use crate::summary::{RunSummary, StepSummary};

/// Is the reward still telling the truth?
pub(crate) fn run_page(
    shell: &Shell<'_>,
    filter: &Filter,
    overview: &Overview,
    run: &RunSummary,
    cut_at: Option<usize>,
) -> String {
    let name = filter.run.as_deref().unwrap_or("all rollouts");
    let content = html! {
        h1 { "Run " (guerdon_text::cut(name, 100)) }
        @if shell.links == Links::Served { (filter_form(filter, overview, "/ui/run")) }
        @if let Some(limit) = cut_at {
            p.help { "The numbers are those of the newest " (limit) " rollouts. Choose a run or a step for others." }
        }
        @if run.rollouts == 0 {
            p.help { "No rollout matches. Requests name their run and step with `run` and `step`, or with the headers x-guerdon-run and x-guerdon-step." }
        } @else {
            div.tiles {
                (tile("rollouts", &run.rollouts.to_string(), ""))
                (tile("median reward", &optional(run.rewards.map(|rewards| rewards.p50)), &trend(run)))
                (tile("without a reward", &percent(run.without_reward, run.rollouts), ""))
                (tile("clipped", &percent(run.clipped, run.rollouts), "points beyond the bound"))
                (tile("dead zone", &percent(run.dead, run.rollouts), "points that changed nothing"))
                (tile("zero-spread groups", &percent(run.zero_spread, run.groups), "they give no advantage"))
            }
            (rewards_chart(shell, filter, run))
            section { h2 { "Sources" } (source_charts(shell, filter, run)) }
            section { h2 { "Shares" } (shares_chart(shell, filter, run)) }
            section.columns {
                div { h2 { "Abstentions by reason" } (abstentions(run)) }
                div { h2 { "Changes of the configuration" } (changes(shell, filter, run)) }
            }
            details { summary { "The numbers as a table" } (steps_table(shell, filter, run)) }
        }
    };
    shell.page(Place::Run, &format!("Run {name}"), &content).into_string()
}

fn trend(run: &RunSummary) -> String {
    let median = |step: Option<&StepSummary>| Some(step?.rewards?.p50);
    match (median(run.steps.first()), median(run.steps.last())) {
        (Some(first), Some(last)) => {
            format!("{} at first, {} at last", number(first), number(last))
        }
        _ => String::new(),
    }
}

fn columns(shell: &Shell<'_>, filter: &Filter, run: &RunSummary) -> Vec<Column> {
    let column = |step: &StepSummary| {
        let of = Filter { step: Some(step.step), ..filter.clone() };
        let link = (run.has_steps && shell.links == Links::Served)
            .then(|| shell.links.rollouts(&of, None));
        let unit = if run.has_steps { "step" } else { "rollouts from" };
        let median = optional(step.rewards.map(|rewards| rewards.p50));
        let title = format!(
            "{unit} {}: {} rollouts, median {median}, {} without a reward",
            step.step, step.rollouts, step.without_reward
        );
        Column { x: step.step, title, link }
    };
    run.steps.iter().map(column).collect()
}

fn markers(run: &RunSummary) -> Vec<(i64, String)> {
    let of = |change: &crate::summary::DigestChange| {
        let (before, after) = (short_digest(&change.before), short_digest(&change.after));
        (change.step, format!("digest {before} → {after}"))
    };
    run.changes.iter().take(100).map(of).collect()
}

fn rewards_chart(shell: &Shell<'_>, filter: &Filter, run: &RunSummary) -> Markup {
    let of = |pick: fn(&crate::summary::Quantiles) -> f64| -> Vec<Option<f64>> {
        run.steps.iter().map(|step| step.rewards.as_ref().map(pick)).collect()
    };
    let ranges = |low: fn(&crate::summary::Quantiles) -> f64,
                  high: fn(&crate::summary::Quantiles) -> f64| {
        let range = |step: &StepSummary| step.rewards.as_ref().map(|own| (low(own), high(own)));
        run.steps.iter().map(range).collect()
    };
    let chart = SeriesChart {
        label: "Quantiles of the reward by step".to_owned(),
        height: 260.0,
        columns: columns(shell, filter, run),
        bands: vec![
            Band { class: "wide", ranges: ranges(|own| own.p10, |own| own.p90) },
            Band { class: "narrow", ranges: ranges(|own| own.p25, |own| own.p75) },
        ],
        lines: vec![
            Line {
                name: "median".to_owned(),
                class: "reward".to_owned(),
                numbers: of(|own| own.p50),
            },
            Line { name: "mean".to_owned(), class: "mean".to_owned(), numbers: of(|own| own.mean) },
        ],
        markers: markers(run),
        is_share: false,
    };
    html! {
        section {
            h2 { "Reward by " @if run.has_steps { "step" } @else { "order of recording" } }
            (chart.draw())
            (legend(&[("wide", "10 % to 90 %"), ("narrow", "25 % to 75 %"), ("reward", "median"), ("mean", "mean"), ("marker", "another digest")]))
        }
    }
}

fn legend(entries: &[(&str, &str)]) -> Markup {
    html! { ul.legend { @for (class, name) in entries { li { span class={ "key " (class) } {} (name) } } } }
}

/// One chart for each source, since their units differ.
fn source_charts(shell: &Shell<'_>, filter: &Filter, run: &RunSummary) -> Markup {
    let chart = |place: usize, name: &String| SeriesChart {
        label: format!("Mean of {name} by step"),
        height: 130.0,
        columns: columns(shell, filter, run),
        bands: Vec::new(),
        lines: vec![Line {
            name: name.clone(),
            class: format!("s{}", place % 8),
            numbers: run
                .steps
                .iter()
                .map(|step| step.means.get(place).copied().flatten())
                .collect(),
        }],
        markers: markers(run),
        is_share: false,
    };
    html! {
        @for (place, name) in run.sources.iter().enumerate() {
            figure.source {
                figcaption { span class={ "key s" (place % 8) } {} (name) " " span.note { "mean over the rollouts of a step" } }
                (chart(place, name).draw())
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn shares_chart(shell: &Shell<'_>, filter: &Filter, run: &RunSummary) -> Markup {
    let share = |name: &str, class: &str, pick: fn(&StepSummary) -> (usize, usize)| Line {
        name: name.to_owned(),
        class: class.to_owned(),
        numbers: run
            .steps
            .iter()
            .map(|step| {
                let (part, whole) = pick(step);
                (whole > 0).then(|| part as f64 / whole as f64)
            })
            .collect(),
    };
    let lines = vec![
        share("without a reward", "s0", |step| (step.without_reward, step.rollouts)),
        share("an abstention", "s1", |step| (step.abstained, step.rollouts)),
        share("clipped", "s2", |step| (step.clipped, step.rollouts)),
        share("dead zone", "s3", |step| (step.dead, step.rollouts)),
        share("zero-spread groups", "s4", |step| (step.zero_spread, step.groups)),
    ];
    let names: Vec<(String, String)> =
        lines.iter().map(|line| (line.class.clone(), line.name.clone())).collect();
    let names: Vec<(&str, &str)> =
        names.iter().map(|(class, name)| (class.as_str(), name.as_str())).collect();
    let chart = SeriesChart {
        label: "Shares by step".to_owned(),
        height: 200.0,
        columns: columns(shell, filter, run),
        bands: Vec::new(),
        lines,
        markers: markers(run),
        is_share: true,
    };
    html! { (chart.draw()) (legend(&names)) }
}

fn abstentions(run: &RunSummary) -> Markup {
    if run.abstained.is_empty() {
        return html! { p { "No source abstained." } };
    }
    html! {
        table.list {
            thead { tr { th scope="col" { "Source" } th scope="col" { "Reason" } th.n scope="col" { "Times" } } }
            tbody { @for (source, reason, count) in run.abstained.iter().take(50) {
                tr { td { (source) } td { (reason) } td.n { (count) } }
            } }
        }
    }
}

fn changes(shell: &Shell<'_>, filter: &Filter, run: &RunSummary) -> Markup {
    html! {
        @if run.changes.is_empty() { p { "All rewards have the same digest." } }
        @else { ul { @for change in run.changes.iter().take(50) {
            @let link = shell.links.compare(filter, &change.before, &change.after);
            li {
                @if run.has_steps { "step " (change.step) ": " }
                code title=(change.before) { (short_digest(&change.before)) } " → "
                code title=(change.after) { (short_digest(&change.after)) } " "
                a href=(link) { "compare" }
            }
        } } }
    }
}

fn steps_table(shell: &Shell<'_>, filter: &Filter, run: &RunSummary) -> Markup {
    let medians: Vec<Option<f64>> =
        run.steps.iter().map(|step| step.rewards.map(|own| own.p50)).collect();
    html! {
        p { "Median by step " (spark(&medians, "Median of the reward by step")) }
        div.scroll tabindex="0" role="region" aria-label="Numbers by step" { table.list data-rows {
            thead { tr {
                th scope="col" { @if run.has_steps { "Step" } @else { "From" } } th.n scope="col" { "Rollouts" } th.n scope="col" { "10 %" }
                th.n scope="col" { "Median" } th.n scope="col" { "90 %" } th.n scope="col" { "Mean" }
                @for name in &run.sources { th.n scope="col" { (name) } }
                th.n scope="col" { "No reward" } th.n scope="col" { "Groups" } th.n scope="col" { "Zero spread" }
            } }
            tbody { @for step in &run.steps { tr {
                @let of = Filter { step: Some(step.step), ..filter.clone() };
                th scope="row" {
                    @if run.has_steps && shell.links == Links::Served { a href=(shell.links.rollouts(&of, None)) { (step.step) } }
                    @else { (step.step) }
                }
                td.n { (step.rollouts) }
                td.n { (optional(step.rewards.map(|own| own.p10))) }
                td.n { (optional(step.rewards.map(|own| own.p50))) }
                td.n { (optional(step.rewards.map(|own| own.p90))) }
                td.n { (optional(step.rewards.map(|own| own.mean))) }
                @for mean in &step.means { td.n { (optional(*mean)) } }
                td.n { (step.without_reward) } td.n { (step.groups) } td.n { (step.zero_spread) }
            } } }
        } }
    }
}

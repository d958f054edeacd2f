//! Two digests on the same rollouts: what would this edit do?

use maud::{Markup, html};

use super::layout::tile;
use super::numbers::{number, optional, percent, short_digest, signed};
use super::{Place, Shell};
use crate::chart::{bar_cell, scatter};
use crate::filter::Filter;
use crate::links::Links;
use crate::summary::{Comparison, Quantiles, RewardChange};

/// The choice of two digests. `digests` is in the order of their first rollout.
pub(crate) fn compare_choice(shell: &Shell<'_>, filter: &Filter, digests: &[String]) -> String {
    let content = html! {
        h1 { "Compare two digests" }
        p { "A digest stands for everything that shapes a reward: models, rules, rubrics and fusion. Score the same rollouts under two digests, or run " code { "guerdon rescore" } ", and compare." }
        @if digests.len() < 2 {
            p.help { "There are no two digests among these rollouts." }
        } @else if shell.links == Links::Served {
            (choice(filter, digests, None))
        } @else {
            ul { @for pair in digests.windows(2) {
                @if let [before, after] = pair {
                    li { a href=(shell.links.compare(filter, before, after)) { (short_digest(before)) " → " (short_digest(after)) } }
                }
            } }
        }
    };
    shell.page(Place::Compare, "Compare", &content).into_string()
}

fn choice(filter: &Filter, digests: &[String], chosen: Option<(&str, &str)>) -> Markup {
    let latest = digests.len();
    let default = |back: usize| digests.get(latest.saturating_sub(back)).map(String::as_str);
    let (before, after) = match chosen {
        Some((before, after)) => (Some(before), Some(after)),
        None => (default(2), default(1)),
    };
    let select = |name: &str, label: &str, chosen: Option<&str>| {
        html! {
            label { (label) select name=(name) {
                @for digest in digests { option value=(digest) selected[chosen == Some(digest.as_str())] { (short_digest(digest)) } }
            } }
        }
    };
    html! {
        form.filter method="get" action="/ui/compare" {
            @for (key, value) in filter.pairs() { @if key != "digest" { input type="hidden" name=(key) value=(value); } }
            (select("before", "Before", before)) (select("after", "After", after))
            button type="submit" { "Compare" }
        }
    }
}

/// The page of a comparison: the effect of an edit.
pub(crate) fn compare_page(
    shell: &Shell<'_>,
    filter: &Filter,
    digests: &[String],
    (before, after): (&str, &str),
    found: &Comparison,
) -> String {
    let both = found.pairs.len();
    let content = html! {
        nav.path aria-label="Place" { ol { li { a data-up href=(shell.links.run(filter)) { "Run" } } } }
        h1 { "Digest " code { (short_digest(before)) } " → " code { (short_digest(after)) } }
        @if shell.links == Links::Served { (choice(filter, digests, Some((before, after)))) }
        div.tiles {
            (tile("rollouts of both", &found.counts.2.to_string(), &format!("of {} before, {} after", found.counts.0, found.counts.1)))
            (tile("changed sign", &percent(found.sign_changes, both), &format!("{} rollouts", found.sign_changes)))
            (tile("groups in another order", &percent(found.reordered, found.groups), &format!("{} of {}", found.reordered, found.groups)))
            (tile("Kendall's tau", &optional(found.tau), "mean over groups; 1 is the same order"))
            (tile("lost / got a reward", &format!("{} / {}", found.lost, found.gained), ""))
        }
        @if found.counts.2 == 0 {
            p.help { "No rollout was scored under both digests. They are recognised by run, step, group and id; the quantiles below are of different rollouts." }
        }
        section.columns {
            div { h2 { "Rewards" } (scatter(&found.pairs, |pair| shell.links.rollout(pair.keys.1))) }
            div { h2 { "Quantiles" } (quantiles(found.before.as_ref(), found.after.as_ref())) }
        }
        section { h2 { "Changed most" } (most_changed(shell, &found.most_changed)) }
    };
    shell.page(Place::Compare, "Compare", &content).into_string()
}

/// One number of the quantiles.
type Pick = fn(&Quantiles) -> f64;

fn quantiles(before: Option<&Quantiles>, after: Option<&Quantiles>) -> Markup {
    let rows: [(&str, Pick); 6] = [
        ("10 %", |own| own.p10),
        ("25 %", |own| own.p25),
        ("median", |own| own.p50),
        ("75 %", |own| own.p75),
        ("90 %", |own| own.p90),
        ("mean", |own| own.mean),
    ];
    html! {
        table.list {
            thead { tr { th scope="col" { "Quantile" } th.n scope="col" { "Before" } th.n scope="col" { "After" } th.n scope="col" { "Change" } } }
            tbody { @for (name, pick) in rows {
                @let (one, other) = (before.map(pick), after.map(pick));
                tr {
                    th scope="row" { (name) } td.n { (optional(one)) } td.n { (optional(other)) }
                    td.n { @if let (Some(one), Some(other)) = (one, other) { (signed(other - one)) } }
                }
            } }
        }
    }
}

fn most_changed(shell: &Shell<'_>, changed: &[RewardChange]) -> Markup {
    let all: Vec<f64> = changed.iter().map(RewardChange::change).collect();
    html! {
        @if changed.is_empty() { p { "No reward changed." } }
        @else { div.scroll tabindex="0" role="region" aria-label="Changed most" { table.list data-rows {
            thead { tr {
                th scope="col" { "Rollout" } th scope="col" { "Group" } th.n scope="col" { "Before" } th.n scope="col" { "After" }
                th.n scope="col" { "Change" } th scope="col" aria-label="Change as a bar" {}
            } }
            tbody { @for one in changed { tr {
                th scope="row" { a href=(shell.links.rollout(one.keys.1)) { (guerdon_text::cut(&one.rollout, 60)) } }
                td { (one.group.as_deref().unwrap_or_default()) }
                td.n { a href=(shell.links.rollout(one.keys.0)) { (number(one.before)) } }
                td.n { (number(one.after)) } td.n { (signed(one.change())) }
                td { (bar_cell(0.0, one.change(), &all, if one.change() > 0.0 { "up" } else { "down" })) }
            } } }
        } } }
    }
}

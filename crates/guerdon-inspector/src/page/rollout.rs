//! One rollout: what exactly was paid for?

use guerdon_types::{Finite, FusionConfig, TurnResult, Versions};
use maud::{Markup, html};

use super::dialogue::{Note, class, dialogue, notes};
use super::layout::{WORKBENCH, facts, tile};
use super::numbers::{number, optional, short_digest, signed, time};
use super::waterfall_table::waterfall_table;
use super::words::sentence;
use super::{Place, Shell};
use crate::filter::Filter;
use crate::record::Record;
use crate::waterfall::waterfall;

/// The longest request that "copy as curl" offers, in bytes.
const MAX_CURL: usize = 256 << 10;
/// The longest raw result of a page, in bytes.
const MAX_RAW: usize = 512 << 10;
/// The most scored turns of a page.
const MAX_TURNS: usize = 200;

/// The page of a rollout: each part of its reward.
pub(crate) fn rollout_page(shell: &Shell<'_>, record: &Record) -> String {
    let result = &record.result;
    let id = result.id.to_string();
    let fusion = record.versions.as_ref().and_then(|versions| versions.fusion.config());
    let single = result.turns.len() == 1;
    let panel = |turn: &TurnResult, notes: &[Note]| {
        let advantage = result.advantage.map(Finite::get).filter(|_| single);
        turn_panel(turn, notes, "", fusion.as_ref(), advantage)
    };
    let content = html! {
        (path(shell, record))
        h1 { "Rollout " (guerdon_text::cut(&id, 100)) }
        div.tiles {
            (tile("reward", &result.reward.map_or_else(|| "no reward".to_owned(), |reward| number(reward.get())), ""))
            (tile("advantage", &optional(result.advantage.map(Finite::get)), ""))
            (tile("scored turns", &result.turns.len().to_string(), ""))
        }
        (labels(shell, record))
        @if let Some(error) = &result.error {
            div.problem role="note" {
                h2 { "No reward" }
                p { strong { (error.code.as_str()) } ": " (error.detail) }
                @if let Some(hint) = &error.hint { p.help { (hint) } }
            }
        }
        section {
            h2 { "Dialogue" }
            @match &record.messages {
                Some(messages) => (dialogue(messages, result, panel)),
                None => {
                    p.help {
                        "The texts of this rollout are not stored. For a file, name the rollouts that were scored with "
                        code { "--rollouts" } "; for a ledger, set " code { "ledger.texts = \"full\"" } "."
                    }
                    @for turn in result.turns.iter().take(MAX_TURNS) {
                        section.turn { h3 { "Turn " (turn.index) } (panel(turn, &notes(turn))) }
                    }
                }
            }
        }
        @if !record.context.is_empty() { (raw("Facts", "facts", &pretty(&record.context))) }
        @if !record.tools.is_empty() { (raw("Tools", "tools", &pretty(&record.tools))) }
        (tools(shell, record))
        @if let Some(versions) = &record.versions { (versions_of(versions)) }
        (raw("Raw result", "raw", &pretty(result)))
    };
    shell.page(Place::Rollouts, &format!("Rollout {id}"), &content).into_string()
}

/// The way up: run, step, group.
fn path(shell: &Shell<'_>, record: &Record) -> Markup {
    let labels = &record.labels;
    let run = Filter { run: labels.run.clone(), ..Filter::default() };
    let step = Filter { step: labels.step, ..run.clone() };
    let group = Filter { group: labels.group.clone(), ..step.clone() };
    html! {
        nav.path aria-label="Place" { ol {
            @if let Some(name) = &labels.run { li { a href=(shell.links.run(&run)) { "Run " (name) } } }
            @if let Some(number) = labels.step { li { a data-up href=(shell.links.rollouts(&step, None)) { "Step " (number) } } }
            @if let Some(name) = &labels.group { li { a data-up href=(shell.links.group(&group)) { "Group " (guerdon_text::cut(name, 40)) } } }
            @if labels.run.is_none() && labels.group.is_none() {
                li { a data-up href=(shell.links.rollouts(&Filter::default(), None)) { "Rollouts" } }
            }
        } }
    }
}

fn labels(shell: &Shell<'_>, record: &Record) -> Markup {
    let labels = &record.labels;
    let mut found: Vec<(&str, Markup)> = Vec::new();
    if let Some(profile) = &labels.profile {
        found.push(("profile", html! { (profile) }));
    }
    if let Some(split) = &labels.split {
        found.push(("split", html! { (split) }));
    }
    if let Some(digest) = &labels.digest {
        let filter = Filter { digest: Some(digest.clone()), ..Filter::default() };
        let link = shell.links.rollouts(&filter, None);
        found.push(("digest", html! {
            @if shell.links == crate::links::Links::Served { a href=(link) title=(digest) { code { (short_digest(digest)) } } }
            @else { code title=(digest) { (short_digest(digest)) } }
        }));
    }
    if let Some(generation) = labels.generation {
        found.push(("generation", html! { (generation) }));
    }
    if let Some(request) = &labels.request_id {
        found.push(("request", html! { code { (request) } }));
    }
    if let Some(ms) = labels.recorded_ms {
        found.push(("recorded", html! { (time(ms)) }));
    }
    facts(&found)
}

/// The waterfall, the notes and the abstentions of a turn. `anchor` begins the ids of the notes.
pub(crate) fn turn_panel(
    turn: &TurnResult,
    notes: &[Note],
    anchor: &str,
    fusion: Option<&FusionConfig>,
    advantage: Option<f64>,
) -> Markup {
    let bars = waterfall(turn, fusion, advantage);
    html! {
        div.panel {
            @if turn.reward.is_none() { p.bad { strong { "This turn has no reward." } } }
            (waterfall_table(&bars, &format!("Turn {}", turn.index)))
            @if !turn.abstained.is_empty() {
                ul.abstained { @for abstention in &turn.abstained {
                    li { (sentence(abstention)) @if !abstention.detail.is_empty() { " " span.note { (guerdon_text::cut(&abstention.detail, 500)) } } }
                } }
            }
            @if !notes.is_empty() { (notes_table(turn.index, notes, anchor)) }
            @if let Some(rules) = &turn.rules {
                @if !rules.suppressed.is_empty() {
                    details { summary { (rules.suppressed.len()) " matches did not count" } ul {
                        @for one in rules.suppressed.iter().take(50) {
                            li { code { (one.pack) "/" (one.rule) } ": suppressed by " (one.suppressed_by) " “" (one.cue) "”" }
                        }
                    } }
                }
                @for one in rules.abstained.iter().take(50) {
                    p.note { code { (one.pack) "/" (one.rule) } " could not be checked: " (one.detail) }
                }
            }
        }
    }
}

fn notes_table(turn: usize, notes: &[Note], anchor: &str) -> Markup {
    html! {
        table.notes {
            caption.hidden { "What the sources said about turn " (turn) }
            thead { tr { th scope="col" { "Source" } th scope="col" { "Rule or criterion" } th.n scope="col" { "Points" } th scope="col" { "Said" } } }
            tbody { @for (place, note) in notes.iter().enumerate() {
                tr #{ (anchor) "t" (turn) "n" (place) } {
                    td { span class={ "key " (class(note)) } {} (note.source) }
                    td { code { (note.name) } @if note.veto { " " span.flag { "veto" } } @if note.is_shadow { " " span.flag { "shadow: not counted" } } }
                    td.n { @if let Some(points) = note.points { (signed(points)) } }
                    td {
                        (guerdon_text::cut(&note.said, 300))
                        @if let Some(quote) = &note.quote { " " q { (guerdon_text::cut(quote, 500)) } }
                    }
                }
            } }
        }
    }
}

/// Copy as curl, and a rule from this rollout.
fn tools(shell: &Shell<'_>, record: &Record) -> Markup {
    let Some(rollout) = rollout_json(record) else { return html! {} };
    let host =
        if shell.links == crate::links::Links::Served { "" } else { "http://127.0.0.1:8787" };
    let body = format!("{{\"rollouts\":[{rollout}]}}");
    if body.len() > MAX_CURL {
        return html! {};
    }
    html! {
        section {
            h2 { "Try again" }
            (command("Score this dialogue again, with the facts and tools that came with it.", "curl", &format!(
                "curl -sS {host}/v1/score -H 'content-type: application/json' -d {}", quoted(&body))))
            (command("Make a rule from this rollout: the command prints a draft with this turn as its example. Write the phrase that must not occur in place of PHRASE; text that is selected above is filled in.", "rule", &format!(
                "printf '%s' {} | guerdon rules new-from-badcase - --phrase 'PHRASE'", quoted(&rollout))))
            @if let (true, Some(profile)) = (shell.has_tools, &record.labels.profile) {
                @let query = Filter { profile: Some(profile.clone()), ..Filter::default() }.query(&[]);
                p { a href={ (WORKBENCH) "?" (query) } { "Open the rule packs of " (profile) " in the workbench" } }
            }
        }
    }
}

fn command(about: &str, id: &str, text: &str) -> Markup {
    html! {
        details {
            summary { (about) }
            button type="button" data-copy={ "#" (id) } { "Copy" }
            pre.command #(id) tabindex="0" { (text) }
        }
    }
}

fn rollout_json(record: &Record) -> Option<String> {
    serde_json::to_string(&record.rollout()?).ok()
}

/// A word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn versions_of(versions: &Versions) -> Markup {
    raw("Versions and fusion", "versions", &pretty(versions))
}

fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn raw(title: &str, id: &str, json: &str) -> Markup {
    html! {
        details {
            summary { (title) }
            @if json.len() <= MAX_RAW {
                button type="button" data-copy={ "#" (id) } { "Copy" }
                pre #(id) tabindex="0" { (json) }
            } @else { p.help { "It has " (json.len()) " bytes, more than this page shows." } }
        }
    }
}

//! A dialogue with the places that rules and judge named.

use guerdon_types::{Message, Role, RolloutResult, TurnResult};
use maud::{Markup, html};

use super::numbers::signed;
use crate::spans::{Mark, find_quote, segments};
use crate::turn_sources::turn_sources;

/// The characters of a text that are shown at once. The rest is behind "show all".
const SHOWN_CHARS: usize = 4_000;
/// The longest text that a page has, in characters.
const MAX_CHARS: usize = 200_000;
/// The most messages of a page.
const MAX_MESSAGES: usize = 400;
/// The most notes of a turn.
const MAX_NOTES: usize = 300;

/// Something that a source said about a turn: a hit, a criterion, or a place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Note {
    pub(crate) source: String,
    /// The rule (`pack/rule`) or the criterion (`prompt/criterion`).
    pub(crate) name: String,
    /// The level of a criterion, or the value that a rule measured.
    pub(crate) said: String,
    pub(crate) quote: Option<String>,
    pub(crate) points: Option<f64>,
    pub(crate) veto: bool,
    /// True for a rule that is only tried out.
    pub(crate) is_shadow: bool,
    pub(crate) spans: Vec<[usize; 2]>,
}

/// The notes of a turn: rules first, then criteria, then the places of other sources.
pub(crate) fn notes(turn: &TurnResult) -> Vec<Note> {
    let mut notes = Vec::new();
    if let Some(rules) = &turn.rules {
        let live = rules.hits.iter().map(|hit| (hit, false));
        for (hit, is_shadow) in live.chain(rules.shadow.iter().map(|hit| (hit, true))) {
            notes.push(Note {
                source: "rules".to_owned(),
                name: format!("{}/{}", hit.pack, hit.rule),
                said: hit.detail.clone().unwrap_or_default(),
                quote: None,
                points: Some(hit.points.get()),
                veto: hit.veto,
                is_shadow,
                spans: hit.spans.clone(),
            });
        }
    }
    if let Some(judge) = &turn.judge {
        notes.extend(judge.criteria.iter().map(|criterion| Note {
            source: "judge".to_owned(),
            name: format!("{}/{}", criterion.prompt, criterion.id),
            said: criterion.level.clone(),
            quote: criterion.evidence.clone(),
            points: Some(criterion.points.get()),
            veto: criterion.veto,
            is_shadow: false,
            spans: Vec::new(),
        }));
    }
    for source in turn_sources(turn) {
        let own_field = (source.name == "rules" && turn.rules.is_some())
            || (source.name == "judge" && turn.judge.is_some());
        if own_field {
            continue;
        }
        for evidence in &source.evidence {
            let name = evidence.name.clone().unwrap_or_default();
            let points = source.components.iter().find(|(component, _)| *component == name);
            notes.push(Note {
                source: source.name.clone(),
                points: points.map(|(_, number)| *number),
                name,
                said: String::new(),
                quote: evidence.quote.clone(),
                veto: false,
                is_shadow: false,
                spans: evidence.spans.clone(),
            });
        }
    }
    notes.truncate(MAX_NOTES);
    notes
}

/// The marks of the notes in the content of their turn. A quote that is not in it has none.
fn marks(notes: &[Note], content: &str) -> Vec<Mark> {
    let mut marks = Vec::new();
    for (note, said) in notes.iter().enumerate() {
        marks.extend(said.spans.iter().map(|[start, end]| Mark { start: *start, end: *end, note }));
        let quote = said.quote.as_ref().and_then(|quote| find_quote(content, quote));
        marks.extend(quote.map(|(start, end)| Mark { start, end, note }));
    }
    marks
}

/// The class of a note's colour.
pub(crate) fn class(note: &Note) -> &'static str {
    match (note.is_shadow, note.source.as_str(), note.points) {
        (true, ..) => "shadow",
        (_, "judge", _) => "judge",
        (_, _, Some(points)) if points > 0.0 => "good",
        (_, _, Some(points)) if points < 0.0 => "bad",
        _ => "other",
    }
}

/// The whole dialogue. `panel` makes what is below a scored turn.
pub(crate) fn dialogue(
    messages: &[Message],
    result: &RolloutResult,
    panel: impl Fn(&TurnResult, &[Note]) -> Markup,
) -> Markup {
    html! {
        ol.dialogue data-rows {
            @for (index, message) in messages.iter().enumerate().take(MAX_MESSAGES) {
                @let turn = result.turns.iter().find(|turn| turn.index == index);
                @let said = turn.map(notes).unwrap_or_default();
                li #{ "m" (index) } class={ "message " (message.role.as_str()) @if turn.is_some() { " scored" } } tabindex="-1" {
                    h3 {
                        a href={ "#m" (index) } { span.index { (index) } " " (message.role.as_str()) }
                        @if let Some(name) = &message.name { " " span.note { (guerdon_text::cut(name, 60)) } }
                        @if turn.is_some() { " " span.flag { "scored" } }
                    }
                    (message_text(message, index, &said))
                    @if let Some(turn) = turn { (panel(turn, &said)) }
                }
            }
        }
        @if messages.len() > MAX_MESSAGES {
            p.help { "This page shows the first " (MAX_MESSAGES) " of " (messages.len()) " messages." }
        }
    }
}

fn message_text(message: &Message, index: usize, notes: &[Note]) -> Markup {
    let marks = marks(notes, &message.content);
    html! {
        @if let Some(thoughts) = &message.reasoning_content {
            details.thoughts { summary { "Thoughts" } div.text { (guerdon_text::cut(thoughts, MAX_CHARS)) } }
        }
        (marked_text(&message.content, &marks, notes, index))
        @for call in message.tool_calls.iter().take(50) {
            pre.call { (call.name) "(" (guerdon_text::cut(&call.arguments, SHOWN_CHARS)) ")" }
        }
        @if message.role == Role::Tool && message.tool_call_id.is_some() {
            p.note { "result of call " (message.tool_call_id.as_deref().unwrap_or_default()) }
        }
    }
}

/// A text with its marks. A long one is cut, with the rest on demand.
fn marked_text(text: &str, marks: &[Mark], notes: &[Note], index: usize) -> Markup {
    let length = text.chars().count();
    if length <= SHOWN_CHARS {
        return html! { div.text { (pieces(text, marks, notes, index)) } };
    }
    let border =
        |chars: usize| text.char_indices().nth(chars).map_or(text.len(), |(bytes, _)| bytes);
    let (cut, end) = (border(SHOWN_CHARS), border(MAX_CHARS));
    let rest: Vec<Mark> = marks
        .iter()
        .filter(|mark| mark.end > SHOWN_CHARS)
        .map(|mark| Mark {
            start: mark.start.saturating_sub(SHOWN_CHARS),
            end: mark.end - SHOWN_CHARS,
            note: mark.note,
        })
        .collect();
    html! {
        div.text { (pieces(text.get(..cut).unwrap_or_default(), marks, notes, index)) "…" }
        details.rest {
            summary { "Show all (" (length) " characters)" }
            div.text { (pieces(text.get(cut..end).unwrap_or_default(), &rest, notes, index)) }
            @if length > MAX_CHARS { p.help { "The page ends after " (MAX_CHARS) " characters." } }
        }
    }
}

fn pieces(text: &str, marks: &[Mark], notes: &[Note], index: usize) -> Markup {
    html! {
        @for segment in segments(text, marks) {
            @match segment.notes.first().and_then(|first| notes.get(*first)) {
                None => (segment.text),
                Some(first) => {
                    @let title = titles(&segment.notes, notes);
                    @let several = if segment.notes.len() > 1 { " several" } else { "" };
                    a.mark href={ "#t" (index) "n" (segment.notes.first().copied().unwrap_or_default()) } title=(title) {
                        mark class={ (class(first)) (several) } { (segment.text) }
                    }
                }
            }
        }
    }
}

fn titles(of: &[usize], notes: &[Note]) -> String {
    let title = |note: &Note| {
        let points = note.points.map(|points| format!(" {}", signed(points))).unwrap_or_default();
        format!("{}{points}", if note.name.is_empty() { &note.source } else { &note.name })
    };
    let titles: Vec<String> = of.iter().filter_map(|note| notes.get(*note)).map(title).collect();
    titles.join("; ")
}

//! Label: what do people say?

use guerdon_types::Message;
use maud::{Markup, html};

use super::super::layout::LABEL;
use super::super::numbers::{number, optional};
use super::super::{Place, Shell};
use crate::labelling::{Agreement, AskedPair, AskedTurn, LabelForm};

/// The data of the page of labels.
#[derive(Debug, Clone, Copy)]
pub struct Label<'l> {
    /// The token against forged forms.
    pub csrf: &'l str,
    /// The choice of the rater.
    pub choice: &'l LabelChoice,
    /// The question.
    pub asked: Option<&'l LabelQuestion>,
    /// The reason why the visitor cannot answer; `None` if they can.
    pub read_only: Option<&'l str>,
    /// The number of answers.
    pub answers: usize,
    /// The agreement of raters.
    pub agreements: &'l [Agreement],
}

/// The rater and the question.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelChoice {
    /// The rater's name.
    pub rater: String,
    /// The criterion, or `pack/rule`; empty for pairs.
    pub criterion: String,
    /// The levels of the criterion.
    pub levels: Vec<String>,
}

/// A question to a rater.
#[derive(Debug, Clone, PartialEq)]
pub enum LabelQuestion {
    /// The better reply.
    Pair(AskedPair),
    /// The level of a reply.
    Turn(AskedTurn),
}

impl LabelChoice {
    /// The address of the page with this choice.
    #[must_use]
    pub fn link(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("rater", &self.rater);
        query.append_pair("criterion", &self.criterion);
        query.append_pair("levels", &self.levels.join(", "));
        format!("{LABEL}?{}", query.finish())
    }
}

/// The page of labels.
pub(crate) fn label_page(shell: &Shell<'_>, label: &Label<'_>) -> String {
    let choice = label.choice;
    let content = html! {
        h1 { "Label" }
        p { "Answer questions about replies without their rewards. Two people who answer under their own names get the same questions, so that their agreement is known." }
        form.filter method="get" action=(LABEL) {
            label { "Your name" input name="rater" value=(choice.rater) required maxlength="64"; }
            label { "Criterion or pack/rule (empty: pairs)" input name="criterion" value=(choice.criterion) maxlength="120"; }
            label { "Levels" input name="levels" value=(choice.levels.join(", ")) maxlength="400"; }
            button type="submit" { "Begin" }
        }
        @if let Some(why) = label.read_only { p.help { (why) } }
        @match label.asked {
            Some(LabelQuestion::Pair(pair)) => (pair_question(label, pair)),
            Some(LabelQuestion::Turn(turn)) => (turn_question(label, turn)),
            None => p.help { "There is no question: write your name above; or everything is answered, or no rollout is stored with its texts. Pairs need groups with equal dialogues before the last scored reply." },
        }
        (agreement(label))
        h2 { "Download" }
        ul { @for (name, _) in LabelForm::ALL { li { a href={ (LABEL) "/" (name) } download={ "labels-" (name) ".jsonl" } { (name) } } } }
    };
    shell.page(Place::Label, "Label", &content).into_string()
}

fn pair_question(label: &Label<'_>, pair: &AskedPair) -> Markup {
    let [first, second] = &pair.replies;
    let sides =
        if pair.is_swapped { [("b", second), ("a", first)] } else { [("a", first), ("b", second)] };
    html! {
        h2 { "Which reply is better?" }
        (dialogue(&pair.prompt))
        div.samples { @for (place, (_, reply)) in sides.iter().enumerate() {
            section { h3 { @if place == 0 { "Left" } @else { "Right" } } div.text { (guerdon_text::cut(reply, MAX_TEXT)) } }
        } }
        (form(label, &[("a", pair.keys.first()), ("b", pair.keys.last())], &html! {
            @for ((value, _), name) in sides.iter().zip(["Left is better", "Right is better"]) {
                button type="submit" name="answer" value=(value) { (name) }
            }
            button.quiet type="submit" name="answer" value="tie" { "No difference" }
        }))
    }
}

fn turn_question(label: &Label<'_>, turn: &AskedTurn) -> Markup {
    html! {
        h2 { (label.choice.criterion) }
        (dialogue(&turn.messages))
        (form(label, &[("key", Some(&turn.key))], &html! {
            @for level in &label.choice.levels { button type="submit" name="answer" value=(level) { (level) } }
        }))
    }
}

/// The longest text of a message, in characters.
const MAX_TEXT: usize = 50_000;
/// The most messages of a question.
const MAX_MESSAGES: usize = 200;

fn dialogue(messages: &[Message]) -> Markup {
    let from = messages.len().saturating_sub(MAX_MESSAGES);
    html! { ol.dialogue { @for message in messages.iter().skip(from) {
        li.message { h3 { (message.role.as_str()) } div.text { (guerdon_text::cut(&message.content, MAX_TEXT)) } }
    } } }
}

fn form(label: &Label<'_>, keys: &[(&str, Option<&i64>)], buttons: &Markup) -> Markup {
    html! {
        form method="post" action=(LABEL) {
            input type="hidden" name="csrf" value=(label.csrf);
            input type="hidden" name="rater" value=(label.choice.rater);
            input type="hidden" name="criterion" value=(label.choice.criterion);
            input type="hidden" name="levels" value=(label.choice.levels.join(", "));
            @for (name, key) in keys { @if let Some(key) = key { input type="hidden" name=(name) value=(key); } }
            @if label.read_only.is_none() { div.buttons { (buttons) } }
        }
    }
}

fn agreement(label: &Label<'_>) -> Markup {
    html! {
        h2 { "Agreement" }
        p { (label.answers) " answers." }
        @if !label.agreements.is_empty() { table.list {
            thead { tr { th scope="col" { "Question" } th scope="col" { "Raters" } th.n scope="col" { "Items of both" } th.n scope="col" { "Equal" } th.n scope="col" { "Cohen's kappa" } } }
            tbody { @for one in label.agreements { tr {
                th scope="row" { (guerdon_text::cut(&one.about, 120)) } td { (one.raters.join(", ")) }
                td.n { (one.items) } td.n { (number((one.share * 1_000.0).round() / 10.0)) " %" } td.n { (optional(one.kappa)) }
            } } }
        } }
    }
}

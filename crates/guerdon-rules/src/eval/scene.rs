//! The scored turn as rules see it: which messages a rule reads, each folded and scanned once, whoever asks.

use std::cell::OnceCell;
use std::ops::Range;

use guerdon_types::{Context, Message, Role, Rollout, RuleHit};
use serde_json::Value as Json;

use crate::checks::Measured;
use crate::normalise::View;
use crate::number::{self, Number};
use crate::pack::{On, Turn};
use crate::plan::Plan;

/// What a rule says of a turn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    Hit(RuleHit),
    Miss,
    Unknown(String),
}

/// What a test found so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcome {
    pub(super) yes: bool,
    pub(super) hits: usize,
    /// Places in the scored turn.
    pub(super) spans: Vec<[usize; 2]>,
    pub(super) details: Vec<String>,
    /// Why it might be more than was found.
    pub(super) unknown: Option<String>,
}

impl Outcome {
    pub(super) fn no() -> Self {
        Self::default()
    }

    pub(super) fn unknown(why: String) -> Self {
        Self { unknown: Some(why), ..Self::default() }
    }

    pub(super) fn add(&mut self, (span, place): (Option<[usize; 2]>, Option<String>), told: Option<String>) {
        self.yes = true;
        self.hits += 1;
        self.spans.extend(span);
        match (told, place) {
            (Some(told), Some(place)) => self.details.push(format!("{told} in {place}")),
            (told, place) => self.details.extend(told.or(place)),
        }
    }

    /// Takes over what `other` found, but not its `yes`.
    pub(super) fn absorb(&mut self, other: Self) {
        self.hits += other.hits;
        self.spans.extend(other.spans);
        self.details.extend(other.details);
        self.unknown = self.unknown.take().or(other.unknown);
    }

    /// Either.
    pub(super) fn join(&mut self, other: Self) {
        self.yes |= other.yes;
        self.absorb(other);
    }

    /// Fewer than `count` hits are none.
    pub(super) fn at_least(mut self, count: usize) -> Self {
        self.yes = self.hits >= count;
        if !self.yes && self.unknown.is_none() {
            return Self::no();
        }
        self
    }

    /// As `at_least`, but a composition may be true without a hit to show, as `not` is.
    pub(super) fn at_least_if_found(self, count: usize) -> Self {
        if count <= 1 || !self.yes { self } else { self.at_least(count) }
    }
}

/// Whether two context values are the same; numbers by value, so that `1` is `1.0`.
pub(super) fn same(wanted: &Json, found: &Json) -> bool {
    match (wanted.as_f64(), found.as_f64()) {
        (Some(wanted), Some(found)) => wanted.total_cmp(&found).is_eq(),
        _ => wanted == found,
    }
}

/// One turn of one dialogue.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    plan: &'a Plan,
    messages: &'a [Message],
    context: &'a Context,
    turn: usize,
    texts: Vec<OnceCell<Text<'a>>>,
    dialogues: [OnceCell<Text<'a>>; 4],
}

impl<'a> Scene<'a> {
    /// `turn` of `rollout`. A turn that is not there is a scene without messages, in which nothing hits.
    pub(crate) fn new(plan: &'a Plan, rollout: &'a Rollout, turn: usize) -> Self {
        let messages = rollout.messages.get(..=turn).unwrap_or_default();
        Self {
            plan,
            messages,
            context: &rollout.context,
            turn,
            texts: messages.iter().map(|_| OnceCell::new()).collect(),
            dialogues: Default::default(),
        }
    }

    pub(super) const fn plan(&self) -> &Plan {
        self.plan
    }

    pub(super) const fn context(&self) -> &Context {
        self.context
    }

    /// The messages of `role` so far, newest first.
    fn of_role(&self, role: Role) -> impl Iterator<Item = usize> {
        self.messages.iter().enumerate().rev().filter(move |(_, m)| m.role == role).map(|(index, _)| index)
    }

    /// The texts that a rule reads.
    pub(super) fn texts(&self, on: On) -> Vec<&Text<'a>> {
        let mut indices = self.of_role(on.role);
        match on.turn {
            Turn::Current => indices.next().and_then(|i| self.text(i)).into_iter().collect(),
            Turn::Previous => indices.nth(1).and_then(|i| self.text(i)).into_iter().collect(),
            Turn::Any => indices.filter_map(|i| self.text(i)).collect(),
            Turn::Dialogue => self.dialogue(on.role).into_iter().collect(),
        }
    }

    /// Earlier messages of the same role as `text`.
    pub(super) fn before(&self, text: &Text<'a>) -> Vec<&Text<'a>> {
        let Source::Message { index } = text.source else {
            return Vec::new();
        };
        let Some(role) = self.messages.get(index).map(|message| message.role) else {
            return Vec::new();
        };
        self.of_role(role).filter(|i| *i < index).filter_map(|i| self.text(i)).collect()
    }

    fn text(&self, index: usize) -> Option<&Text<'a>> {
        let content = self.messages.get(index)?.content.as_str();
        let scored = index == self.turn;
        let cell = self.texts.get(index)?;
        Some(cell.get_or_init(|| Text::new(content.into(), Source::Message { index }, scored.then_some(0))))
    }

    fn dialogue(&self, role: Role) -> Option<&Text<'a>> {
        let cell = self.dialogues.get(role as usize)?;
        Some(cell.get_or_init(|| {
            let said: Vec<&str> =
                self.messages.iter().filter(|m| m.role == role).map(|m| m.content.as_str()).collect();
            let joined = said.join("\n");
            // The scored turn comes last, if it is of this role at all.
            let scored = self.messages.last().filter(|m| m.role == role);
            let offset = scored.map(|m| joined.chars().count() - m.content.chars().count());
            Text::new(joined.into(), Source::Dialogue, offset)
        }))
    }
}

/// Where a text comes from.
#[derive(Debug, Clone, Copy)]
enum Source {
    Message { index: usize },
    Dialogue,
}

/// A text, its views and what was found in it so far.
#[derive(Debug)]
pub(super) struct Text<'a> {
    original: std::borrow::Cow<'a, str>,
    source: Source,
    /// Where the scored turn begins in it, in characters; none if it is not in it.
    scored_from: Option<usize>,
    folded: OnceCell<View>,
    raw: OnceCell<View>,
    folded_literals: OnceCell<Vec<Vec<Range<usize>>>>,
    raw_literals: OnceCell<Vec<Vec<Range<usize>>>>,
    numbers: OnceCell<Vec<Number>>,
}

impl<'a> Text<'a> {
    fn new(original: std::borrow::Cow<'a, str>, source: Source, scored_from: Option<usize>) -> Self {
        Self {
            original,
            source,
            scored_from,
            folded: OnceCell::new(),
            raw: OnceCell::new(),
            folded_literals: OnceCell::new(),
            raw_literals: OnceCell::new(),
            numbers: OnceCell::new(),
        }
    }

    pub(super) fn view(&self, fold: bool) -> &View {
        if fold {
            self.folded.get_or_init(|| View::folded(&self.original))
        } else {
            self.raw.get_or_init(|| View::raw(&self.original))
        }
    }

    pub(super) fn literals(&self, plan: &Plan, fold: bool, leaf: usize) -> Vec<Range<usize>> {
        let found = if fold {
            self.folded_literals.get_or_init(|| {
                let view = self.view(true);
                let mut found = plan.folded.find(view.text());
                if let Some(letters) = view.unleeted() {
                    for (ranges, more) in found.iter_mut().zip(plan.folded.find(&letters)) {
                        ranges.extend(more);
                    }
                }
                found
            })
        } else {
            self.raw_literals.get_or_init(|| plan.raw.find(self.view(false).text()))
        };
        found.get(leaf).cloned().unwrap_or_default()
    }

    pub(super) fn numbers(&self) -> &[Number] {
        self.numbers.get_or_init(|| number::scan(self.view(true).text()))
    }

    /// The place of `bytes` of a view: a span of the scored turn, or words for a place outside it.
    pub(super) fn span(&self, fold: bool, bytes: &Range<usize>) -> (Option<[usize; 2]>, Option<String>) {
        let [start, end] = self.view(fold).span(bytes);
        match (self.scored_from, self.source) {
            (Some(from), _) if start >= from => (Some([start - from, end - from]), None),
            (_, Source::Message { index }) => (None, Some(format!("message {index} at [{start}, {end}]"))),
            (_, Source::Dialogue) => (None, Some("an earlier message".to_owned())),
        }
    }

    pub(super) fn found(&self, fold: bool, ranges: Vec<Range<usize>>) -> Outcome {
        let mut outcome = Outcome::no();
        for range in ranges {
            outcome.add(self.span(fold, &range), None);
        }
        outcome
    }

    pub(super) fn measured(&self, fold: bool, measured: Option<Measured>) -> Outcome {
        let Some(Measured { spans, detail }) = measured else {
            return Outcome::no();
        };
        let mut outcome = self.found(fold, spans);
        outcome.yes = true;
        outcome.hits = outcome.hits.max(1);
        outcome.details.insert(0, detail);
        outcome
    }
}

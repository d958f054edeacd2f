//! A dialogue as rules see it: which messages a rule reads, each folded and scanned once, whichever turn is scored and
//! whichever rule asks.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::ops::Range;

use guerdon_types::{Context, Message, Role, Rollout};
use serde_json::Value as Json;

use super::outcome::Outcome;
use crate::engine::checks::Measured;
use crate::engine::plan::Plan;
use crate::engine::scan::Text;
use crate::syntax::pack::{On, Turn};

/// A dialogue.
#[derive(Debug)]
pub(crate) struct Dialogue<'a> {
    plan: &'a Plan,
    messages: &'a [Message],
    context: &'a Context,
    texts: Vec<OnceCell<Text<'a>>>,
}

/// A dialogue, seen from the turn that is scored.
#[derive(Debug)]
pub(crate) struct Scene<'d, 'a> {
    dialogue: &'d Dialogue<'a>,
    turn: usize,
    /// What each role said so far, as one text.
    joined: [OnceCell<Text<'a>>; 4],
}

/// A text in a scene.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'t, 'a> {
    pub(super) text: &'t Text<'a>,
    /// Which message it is; none for several joined.
    message: Option<usize>,
    /// Where the scored turn begins in it, in characters; none if it is not in it.
    scored_from: Option<usize>,
}

impl<'a> Dialogue<'a> {
    pub(crate) fn new(plan: &'a Plan, rollout: &'a Rollout) -> Self {
        Self {
            plan,
            messages: &rollout.messages,
            context: &rollout.context,
            texts: rollout.messages.iter().map(|_| OnceCell::new()).collect(),
        }
    }

    fn text(&self, index: usize) -> Option<&Text<'a>> {
        let content = self.messages.get(index)?.content.as_str();
        Some(
            self.texts
                .get(index)?
                .get_or_init(|| Text::new(&self.plan.scanner, Cow::Borrowed(content))),
        )
    }

    fn role(&self, index: usize) -> Option<Role> {
        self.messages.get(index).map(|message| message.role)
    }
}

impl<'d, 'a> Scene<'d, 'a> {
    /// `turn` of `dialogue`. A turn that is not there is a scene without messages, in which nothing hits.
    pub(crate) fn new(dialogue: &'d Dialogue<'a>, turn: usize) -> Self {
        Self { dialogue, turn, joined: Default::default() }
    }

    pub(super) const fn plan(&self) -> &'a Plan {
        self.dialogue.plan
    }

    pub(super) const fn context(&self) -> &'a Context {
        self.dialogue.context
    }

    /// The messages so far; none if the turn is not there.
    fn so_far(&self) -> usize {
        if self.turn < self.dialogue.messages.len() { self.turn + 1 } else { 0 }
    }

    /// The scored turn, if it is an assistant's.
    pub(super) fn scored(&self) -> Option<&Text<'a>> {
        let is_assistant = self.dialogue.role(self.turn) == Some(Role::Assistant);
        if is_assistant { self.dialogue.text(self.turn) } else { None }
    }

    /// The messages of `role` so far, newest first.
    fn of_role(&self, role: Role) -> impl Iterator<Item = usize> {
        (0..self.so_far()).rev().filter(move |index| self.dialogue.role(*index) == Some(role))
    }

    fn seen(&self, index: usize) -> Option<Seen<'_, 'a>> {
        let scored_from = (index == self.turn).then_some(0);
        Some(Seen { text: self.dialogue.text(index)?, message: Some(index), scored_from })
    }

    /// The texts that a rule reads.
    pub(super) fn texts(&self, on: On, mut each: impl FnMut(Seen<'_, 'a>)) {
        let mut indices = self.of_role(on.role);
        match on.turn {
            Turn::Current => {
                indices.next().and_then(|index| self.seen(index)).into_iter().for_each(each)
            }
            Turn::Previous => {
                indices.nth(1).and_then(|index| self.seen(index)).into_iter().for_each(each)
            }
            Turn::Any => indices.filter_map(|index| self.seen(index)).for_each(each),
            Turn::Dialogue => {
                if let Some(seen) = self.joined(on.role) {
                    each(seen);
                }
            }
        }
    }

    /// Earlier messages of the same role as a text, newest first.
    pub(super) fn before(&self, seen: &Seen<'_, 'a>) -> Vec<&Text<'a>> {
        let Some((index, role)) =
            seen.message.and_then(|index| Some((index, self.dialogue.role(index)?)))
        else {
            return Vec::new();
        };
        self.of_role(role).filter(|i| *i < index).filter_map(|i| self.dialogue.text(i)).collect()
    }

    /// Every message before a text, of whatever role, oldest first.
    pub(super) fn all_before(&self, seen: &Seen<'_, 'a>) -> impl Iterator<Item = &Text<'a>> {
        let end = seen.message.unwrap_or(0).min(self.so_far());
        (0..end).filter_map(|index| self.dialogue.text(index))
    }

    fn joined(&self, role: Role) -> Option<Seen<'_, 'a>> {
        let text = self.joined.get(role as usize)?.get_or_init(|| {
            let said: Vec<&str> = (0..self.so_far())
                .filter(|index| self.dialogue.role(*index) == Some(role))
                .filter_map(|index| self.dialogue.messages.get(index).map(|m| m.content.as_str()))
                .collect();
            Text::new(&self.dialogue.plan.scanner, Cow::Owned(said.join("\n")))
        });
        let scored = self.dialogue.messages.get(self.turn).filter(|m| m.role == role);
        let scored_from = scored.map(|m| text.original.chars().count() - m.content.chars().count());
        Some(Seen { text, message: None, scored_from })
    }
}

impl<'a> Seen<'_, 'a> {
    /// Adds a hit at `bytes` of a view.
    pub(super) fn add(
        &self,
        outcome: &mut Outcome,
        fold: bool,
        bytes: &Range<usize>,
        told: Option<String>,
    ) {
        let [start, end] = self.text.span(fold, bytes);
        outcome.yes = true;
        outcome.hits += 1;
        outcome.disguised |= fold && self.text.is_disguised(bytes);
        let elsewhere = match (self.scored_from, self.message) {
            (Some(from), _) if start >= from => {
                outcome.spans.push([start - from, end - from]);
                None
            }
            (_, Some(index)) => Some(format!("message {index} at [{start}, {end}]")),
            (_, None) => Some("an earlier message".to_owned()),
        };
        match (told, elsewhere) {
            (Some(told), Some(place)) => outcome.details.push(format!("{told} in {place}")),
            (told, place) => outcome.details.extend(told.or(place)),
        }
    }

    /// What a check found.
    pub(super) fn measured(&self, fold: bool, measured: Option<Measured>) -> Outcome {
        let mut outcome = Outcome::no();
        if let Some(Measured { spans, detail }) = measured {
            outcome.details.push(detail);
            for span in &spans {
                self.add(&mut outcome, fold, span, None);
            }
            outcome.yes = true;
            outcome.hits = outcome.hits.max(1);
        }
        outcome
    }
}

/// Whether two context values are the same; numbers by value, so that `1` is `1.0`.
pub(super) fn same(wanted: &Json, found: &Json) -> bool {
    match (wanted.as_f64(), found.as_f64()) {
        (Some(wanted), Some(found)) => wanted.total_cmp(&found).is_eq(),
        _ => wanted == found,
    }
}

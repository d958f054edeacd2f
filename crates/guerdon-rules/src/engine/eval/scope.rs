//! The messages that rules read. Each message is folded and scanned once for all scored turns and
//! rules.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::ops::Range;
use std::sync::Arc;

use guerdon_types::{Context, Message, Role, Rollout};
use serde_json::Value as Json;

use super::outcome::{HitPlace, HitText, MAX_SPANS, MatchOutcome, SuppressedMatches};
use crate::engine::checks::{CheckHit, DeclaredTools};
use crate::engine::plan::RulePlan;
use crate::engine::scan::{ScannedText, Suppression};
use crate::engine::scan_limit::{ScanClock, ScanLimit};
use crate::syntax::pack::{MessageSelector, TurnSelector};

/// The texts of a dialogue.
#[derive(Debug)]
pub(crate) struct DialogueTexts<'a> {
    plan: &'a RulePlan,
    messages: &'a [Message],
    context: &'a Context,
    texts: Vec<OnceCell<ScannedText<'a>>>,
    clock: Arc<ScanClock<'a>>,
    /// The tools that the rollout declares.
    tools: &'a [Json],
    declared: OnceCell<Option<DeclaredTools>>,
}

/// A dialogue up to the scored turn.
#[derive(Debug)]
pub(crate) struct TurnView<'d, 'a> {
    dialogue: &'d DialogueTexts<'a>,
    turn: usize,
    /// The messages of each role so far as one text.
    joined: [OnceCell<ScannedText<'a>>; 4],
}

/// A text that a rule reads, and its relation to the scored turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextInScope<'t, 'a> {
    pub(super) text: &'t ScannedText<'a>,
    /// True for a message that only calls tools. Only rules about calls and states read it.
    pub(super) only_calls: bool,
    /// The index of the message; `None` if the text joins several.
    message: Option<usize>,
    /// The character at which the scored turn begins; `None` if it is not in the text.
    scored_from: Option<usize>,
}

impl<'a> DialogueTexts<'a> {
    pub(crate) fn new(plan: &'a RulePlan, rollout: &'a Rollout) -> Self {
        Self::limited(plan, rollout, ScanLimit::default())
    }

    /// Like [`DialogueTexts::new`], with a limit for all evaluations together.
    pub(crate) fn limited(plan: &'a RulePlan, rollout: &'a Rollout, limit: ScanLimit<'a>) -> Self {
        Self {
            clock: Arc::new(ScanClock::new(limit)),
            plan,
            messages: &rollout.messages,
            context: &rollout.context,
            tools: &rollout.tools,
            declared: OnceCell::new(),
            texts: rollout.messages.iter().map(|_| OnceCell::new()).collect(),
        }
    }

    /// The text of a message. `None` if it only calls tools, which is not an empty text.
    fn text(&self, index: usize) -> Option<&ScannedText<'a>> {
        if self.only_calls(index) { None } else { self.content(index) }
    }

    fn only_calls(&self, index: usize) -> bool {
        self.messages.get(index).is_some_and(Message::only_calls)
    }

    fn content(&self, index: usize) -> Option<&ScannedText<'a>> {
        let content = self.messages.get(index)?.content.as_str();
        Some(self.texts.get(index)?.get_or_init(|| self.scanned(Cow::Borrowed(content))))
    }

    fn scanned(&self, original: Cow<'a, str>) -> ScannedText<'a> {
        ScannedText::new(&self.plan.scanner, original, Arc::clone(&self.clock))
    }

    fn role(&self, index: usize) -> Option<Role> {
        self.messages.get(index).map(|message| message.role)
    }
}

impl<'d, 'a> TurnView<'d, 'a> {
    /// The view of `dialogue` from `turn`. If there is no such message, the view is empty and
    /// nothing hits.
    pub(crate) fn new(dialogue: &'d DialogueTexts<'a>, turn: usize) -> Self {
        Self { dialogue, turn, joined: Default::default() }
    }

    pub(super) fn clock(&self) -> &ScanClock<'a> {
        &self.dialogue.clock
    }

    pub(super) const fn plan(&self) -> &'a RulePlan {
        self.dialogue.plan
    }

    pub(super) const fn context(&self) -> &'a Context {
        self.dialogue.context
    }

    pub(super) const fn messages(&self) -> &'a [Message] {
        self.dialogue.messages
    }

    /// The tools that the rollout declares, if it does.
    pub(super) fn tools(&self) -> Option<&DeclaredTools> {
        let new = || DeclaredTools::new(self.dialogue.tools);
        self.dialogue.declared.get_or_init(new).as_ref()
    }

    /// Returns true if the message at `index` is the scored turn.
    pub(super) const fn is_scored(&self, index: usize) -> bool {
        index == self.turn
    }

    /// The number of messages up to the scored turn; 0 if there is no such message.
    pub(super) fn so_far(&self) -> usize {
        if self.turn < self.dialogue.messages.len() { self.turn + 1 } else { 0 }
    }

    /// The scored turn, if it is an assistant's.
    pub(super) fn scored(&self) -> Option<&ScannedText<'a>> {
        let is_assistant = self.dialogue.role(self.turn) == Some(Role::Assistant);
        if is_assistant { self.dialogue.text(self.turn) } else { None }
    }

    /// The messages of `role` so far, newest first.
    fn of_role(&self, role: Role) -> impl Iterator<Item = usize> {
        (0..self.so_far()).rev().filter(move |index| self.dialogue.role(*index) == Some(role))
    }

    fn seen(&self, index: usize) -> Option<TextInScope<'_, 'a>> {
        let scored_from = (index == self.turn).then_some(0);
        let (text, only_calls) = (self.dialogue.content(index)?, self.dialogue.only_calls(index));
        Some(TextInScope { text, only_calls, message: Some(index), scored_from })
    }

    /// The texts that a rule reads.
    pub(super) fn texts(&self, on: MessageSelector, mut each: impl FnMut(TextInScope<'_, 'a>)) {
        let mut indices = self.of_role(on.role);
        match on.turn {
            TurnSelector::Current => {
                indices.next().and_then(|index| self.seen(index)).into_iter().for_each(each)
            }
            TurnSelector::Previous => {
                indices.nth(1).and_then(|index| self.seen(index)).into_iter().for_each(each)
            }
            TurnSelector::Any => indices.filter_map(|index| self.seen(index)).for_each(each),
            TurnSelector::Dialogue => {
                if let Some(seen) = self.joined(on.role) {
                    each(seen);
                }
            }
        }
    }

    /// The earlier messages of the role of a text, newest first.
    pub(super) fn before(&self, seen: &TextInScope<'_, 'a>) -> Vec<&ScannedText<'a>> {
        let Some((index, role)) =
            seen.message.and_then(|index| Some((index, self.dialogue.role(index)?)))
        else {
            return Vec::new();
        };
        self.of_role(role).filter(|i| *i < index).filter_map(|i| self.dialogue.text(i)).collect()
    }

    /// All messages before a text, oldest first.
    pub(super) fn all_before(
        &self,
        seen: &TextInScope<'_, 'a>,
    ) -> impl Iterator<Item = &ScannedText<'a>> {
        let end = seen.message.unwrap_or(0).min(self.so_far());
        (0..end).filter_map(|index| self.dialogue.text(index))
    }

    fn joined(&self, role: Role) -> Option<TextInScope<'_, 'a>> {
        let text = self.joined.get(role as usize)?.get_or_init(|| {
            let said: Vec<&str> = (0..self.so_far())
                .filter(|index| self.dialogue.role(*index) == Some(role))
                .filter_map(|index| self.dialogue.messages.get(index).map(|m| m.content.as_str()))
                .collect();
            self.dialogue.scanned(Cow::Owned(said.join("\n")))
        });
        let scored = self.dialogue.messages.get(self.turn).filter(|m| m.role == role);
        let scored_from = scored.map(|m| text.original.chars().count() - m.content.chars().count());
        Some(TextInScope { text, only_calls: false, message: None, scored_from })
    }
}

impl<'a> TextInScope<'_, 'a> {
    /// The index of the message; `None` if the text joins several.
    pub(super) const fn message(&self) -> Option<usize> {
        self.message
    }

    /// Adds a hit at `bytes` of the folded or unfolded text.
    pub(super) fn add(
        &self,
        outcome: &mut MatchOutcome,
        fold: bool,
        bytes: &Range<usize>,
        detail: Option<String>,
    ) {
        let [start, end] = self.text.span(fold, bytes);
        outcome.yes = true;
        outcome.hits += 1;
        outcome.disguised |= fold && self.text.is_disguised(bytes);
        let (text, span, elsewhere) = match (self.scored_from, self.message) {
            (Some(from), _) if start >= from => {
                (HitText::ScoredTurn, [start - from, end - from], None)
            }
            (_, Some(index)) => {
                let place = format!("message {index} at [{start}, {end}]");
                (HitText::Message(index), [start, end], Some(place))
            }
            (_, None) => (HitText::Earlier, [start, end], Some("an earlier message".to_owned())),
        };
        outcome.places.push(HitPlace { text, span });
        match (detail, elsewhere) {
            (Some(detail), Some(place)) => outcome.details.push(format!("{detail} in {place}")),
            (detail, place) => outcome.details.extend(detail.or(place)),
        }
    }

    /// Adds a match at `bytes` of the folded text that does not count.
    pub(super) fn suppress(
        &self,
        outcome: &mut MatchOutcome,
        bytes: &Range<usize>,
        why: Suppression,
    ) {
        let SuppressedMatches { why: first, spans } = &mut outcome.suppressed;
        first.get_or_insert(why);
        let [start, end] = self.text.span(true, bytes);
        if let Some(from) = self.scored_from.filter(|from| start >= *from)
            && spans.len() < MAX_SPANS
        {
            spans.push([start - from, end - from]);
        }
    }

    /// The outcome of a check.
    pub(super) fn measured(&self, fold: bool, measured: Option<CheckHit>) -> MatchOutcome {
        let mut outcome = MatchOutcome::no();
        if let Some(CheckHit { spans, detail }) = measured {
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

/// Returns true if two context values are equal. Numbers are compared by value, so `1` equals
/// `1.0`.
pub(super) fn same(wanted: &Json, found: &Json) -> bool {
    match (wanted.as_f64(), found.as_f64()) {
        (Some(wanted), Some(found)) => wanted.total_cmp(&found).is_eq(),
        _ => wanted == found,
    }
}

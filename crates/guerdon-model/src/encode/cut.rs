//! Truncation by tokens: the oldest message that is read loses its beginning, and a reply that is
//! too long loses its middle.
//!
//! `examples/reward-model/rm_cut.py` is the same algorithm in Python, for training; the rows of
//! `tests/cuts/golden.json` hold the two together. Both cut contents at the borders of the
//! content's own tokens and encode the dialogue again. The ids are therefore those of a dialogue
//! that the template or the plain format accepts as it stands.

use guerdon_types::{Message, MessagesRead, Role};

use crate::encode::pieces::{Fragment, Pieces, TEXT_PER_TOKEN};
use crate::encode::tokens::TokenSequence;
use crate::encode::turns::Turn;
use crate::encode::window::widest_window;

/// Attempts to correct a cut whose text has more tokens than its parts.
const ATTEMPTS: usize = 8;

/// Number of messages before the reply, or before the oldest whole message, that are tried as the
/// beginning of a window, because a strict template refuses some beginnings.
pub(crate) const STARTS: usize = 4;

/// The encoding of turns, and of a content alone.
pub(crate) trait WindowReader: Pieces {
    /// The model input of the turns; `None` if the template refuses them.
    fn read(&self, turns: &[Turn<'_>]) -> Result<Option<TokenSequence>, String>;
}

/// A dialogue that is cut to `limit` tokens. The last message is scored.
pub(crate) struct TokenCut<'a, R> {
    pub(crate) reader: &'a R,
    pub(crate) dialogue: &'a [Message],
    /// Messages of the rollout that were left out after its system message.
    pub(crate) skipped: usize,
    pub(crate) limit: usize,
    pub(crate) keep_system: bool,
}

/// The input that fits, and the messages that it holds.
#[derive(Debug)]
pub(crate) struct FittedWindow {
    pub(crate) tokens: TokenSequence,
    pub(crate) read: Vec<MessagesRead>,
    /// Set if nothing was left out after all.
    pub(crate) complete: bool,
}

/// The turns that are read: a system message, a message that may be cut, whole messages, and the
/// reply.
struct Window<'a> {
    system: Option<Fragment<'a>>,
    /// The oldest message and its text, if it is cut.
    oldest: Option<(usize, Fragment<'a>)>,
    /// The first message that is read whole.
    start: usize,
    reply: Fragment<'a>,
}

impl<'a, R: WindowReader> TokenCut<'a, R> {
    const fn last(&self) -> usize {
        self.dialogue.len() - 1
    }

    fn content(&self, message: usize) -> &'a str {
        &self.dialogue[message].content
    }

    const fn quarter(&self) -> usize {
        self.limit / 4
    }

    /// Cuts the dialogue, which does not fit as it stands. `None` if not even a token of the reply
    /// fits into the limit together with the template's own tokens.
    pub(crate) fn fit(&self) -> Result<Option<FittedWindow>, String> {
        let system_first = self.dialogue[0].role == Role::System && self.last() > 0;
        let system = match self.keep_system && system_first {
            true => Some(Fragment::head(self.reader, self.content(0), self.quarter())?),
            false => None,
        };
        let first = usize::from(system.is_some());
        let reply_tokens = self.reader.count(self.content(self.last()), self.limit)?;
        for (system, first, with_context) in
            [(&system, first, first < self.last()), (&None, 0, true), (&None, 0, false)]
        {
            let Some((base, frame)) = self.base(system.as_ref(), first, with_context)? else {
                continue;
            };
            let wanted = match base < self.last() {
                true => self.reader.count(self.content(base), self.limit)?.min(self.quarter()),
                false => 0,
            };
            let least = reply_tokens.min(self.quarter()).max(1);
            let context = wanted.min(self.limit.saturating_sub(frame + least));
            if frame + least > self.limit || (wanted > 0 && context == 0) {
                continue;
            }
            let room = self.limit - frame - context;
            let Some(fitted) = self.reply_and_context(system.as_ref(), base, context, room)? else {
                continue;
            };
            return self.widen(fitted, first, base).map(Some);
        }
        Ok(None)
    }

    /// The nearest message before the reply at which the template accepts a beginning, and the
    /// number of tokens around the contents of that message and the reply. Without context, the
    /// reply itself.
    fn base(
        &self,
        system: Option<&Fragment<'a>>,
        first: usize,
        with_context: bool,
    ) -> Result<Option<(usize, usize)>, String> {
        let last = self.last();
        let starts: Vec<usize> = match with_context {
            true => (first..last).rev().take(STARTS).collect(),
            false => vec![last],
        };
        for start in starts {
            let oldest = (start < last).then(|| (start, Fragment::empty()));
            let window = Window {
                system: system.cloned(),
                oldest,
                start: (start + 1).min(last),
                reply: Fragment::empty(),
            };
            if let Some(tokens) = self.read(&window)? {
                return Ok(Some((start, tokens.len())));
            }
        }
        Ok(None)
    }

    /// The window from message `base` on, with at most `context` tokens of that message and `room`
    /// tokens of the reply.
    fn reply_and_context(
        &self,
        system: Option<&Fragment<'a>>,
        base: usize,
        context: usize,
        mut room: usize,
    ) -> Result<Option<(Window<'a>, TokenSequence)>, String> {
        let last = self.last();
        for _ in 0..ATTEMPTS {
            let oldest = match base < last {
                true => Some((base, Fragment::tail(self.reader, self.content(base), context)?)),
                false => None,
            };
            let window = Window {
                system: system.cloned(),
                oldest,
                start: (base + 1).min(last),
                reply: Fragment::ends(self.reader, self.content(last), room)?,
            };
            let Some(tokens) = self.read(&window)? else { return Ok(None) };
            if tokens.len() <= self.limit {
                return Ok(Some((window, tokens)));
            }
            room = room.min(window.reply.tokens).saturating_sub(tokens.len() - self.limit);
            if room == 0 {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Adds as many whole messages before the reply as fit, and then the end of one more.
    fn widen(
        &self,
        (narrow, tokens): (Window<'a>, TokenSequence),
        first: usize,
        base: usize,
    ) -> Result<FittedWindow, String> {
        let Window { system, reply, .. } = &narrow;
        let whole =
            |start| Window { system: system.clone(), oldest: None, start, reply: reply.clone() };
        let widest = widest_window(first.min(base), base, false, |start| {
            for start in start..=base {
                if let Some(tokens) = self.read(&whole(start))? {
                    return Ok((tokens.len() <= self.limit).then_some((start, tokens)));
                }
            }
            Ok::<_, String>(None)
        })?;
        let (mut best, mut tokens, before) = match widest {
            Some((_, (start, tokens))) => (whole(start), tokens, start),
            None => (narrow, tokens, base + 1),
        };
        for oldest in (first..before.min(self.last())).rev().take(STARTS) {
            if let Some(wider) = self.with_oldest(&best, oldest)? {
                if let Some((window, cut)) = wider {
                    (best, tokens) = (window, cut);
                }
                break;
            }
        }
        let complete = best.oldest.is_none()
            && !best.reply.cut
            && match &best.system {
                Some(system) => !system.cut && best.start == 1,
                None => best.start == 0,
            };
        let read = if complete { Vec::new() } else { self.spans(&best)? };
        Ok(FittedWindow { tokens, read, complete })
    }

    /// The window that begins with the end of message `oldest`. The outer `None` is a template's
    /// refusal of such a beginning; the inner one is a lack of room.
    #[expect(clippy::option_option, reason = "a refusal and a lack of room differ")]
    fn with_oldest(
        &self,
        window: &Window<'a>,
        oldest: usize,
    ) -> Result<Option<Option<(Window<'a>, TokenSequence)>>, String> {
        let from = |fragment| Window {
            system: window.system.clone(),
            oldest: Some((oldest, fragment)),
            start: (oldest + 1).min(self.last()),
            reply: window.reply.clone(),
        };
        let Some(frame) = self.read(&from(Fragment::empty()))? else { return Ok(None) };
        let mut room = self.limit.saturating_sub(frame.len());
        for _ in 0..ATTEMPTS {
            if room == 0 {
                break;
            }
            let wider = from(Fragment::tail(self.reader, self.content(oldest), room)?);
            let Some(tokens) = self.read(&wider)? else { break };
            if tokens.len() <= self.limit {
                return Ok(Some(Some((wider, tokens))));
            }
            room = room.saturating_sub(tokens.len() - self.limit);
        }
        Ok(Some(None))
    }

    fn read(&self, window: &Window<'a>) -> Result<Option<TokenSequence>, String> {
        self.reader.read(&self.turns(window))
    }

    fn turns<'w>(&self, window: &'w Window<'a>) -> Vec<Turn<'w>>
    where
        'a: 'w,
    {
        let cut = |message: usize, fragment: &'w Fragment<'a>| {
            Turn::with(self.dialogue[message].role, &fragment.text)
        };
        let system = window.system.as_ref().map(|fragment| cut(0, fragment));
        let oldest = window.oldest.as_ref().map(|(message, fragment)| cut(*message, fragment));
        let whole = self.dialogue[window.start..self.last()].iter().map(Turn::of);
        let reply = cut(self.last(), &window.reply);
        system.into_iter().chain(oldest).chain(whole).chain([reply]).collect()
    }

    /// The messages of the window with the tokens of their contents, whole messages together.
    fn spans(&self, window: &Window<'a>) -> Result<Vec<MessagesRead>, String> {
        let mut spans: Vec<MessagesRead> = Vec::with_capacity(4);
        let system_first = self.dialogue[0].role == Role::System;
        let mut add = |message: usize, tokens: usize, cut: bool| {
            let message = if message == 0 && system_first { 0 } else { message + self.skipped };
            match spans.last_mut() {
                Some(span) if !span.cut && !cut && span.last + 1 == message => {
                    span.last = message;
                    span.tokens += tokens;
                }
                _ => spans.push(MessagesRead { first: message, last: message, tokens, cut }),
            }
        };
        if let Some(system) = &window.system {
            add(0, system.tokens, system.cut);
        }
        if let Some((message, oldest)) = &window.oldest {
            add(*message, oldest.tokens, oldest.cut);
        }
        for message in window.start..self.last() {
            add(message, self.reader.count(self.content(message), self.limit)?, false);
        }
        add(self.last(), window.reply.tokens, window.reply.cut);
        Ok(spans)
    }
}

/// Number of characters beyond which a dialogue is not encoded whole to find out if it fits.
pub(crate) fn too_long_to_try(dialogue: &[Message], limit: usize) -> bool {
    let most = limit.saturating_mul(TEXT_PER_TOKEN);
    let mut characters = 0;
    for message in dialogue {
        characters += message.content.chars().count();
        if characters > most {
            return true;
        }
    }
    false
}

//! Truncation by messages: whole messages are left out, oldest first.

use guerdon_types::{Message, MessagesRead, Role};

use crate::encode::cut::STARTS;
use crate::encode::pieces::Pieces as _;
use crate::encode::tokenize::{EncodedTurn, Encoder, ReadTurns};
use crate::encode::turns::Turn;
use crate::encode::window::widest_window;

/// Drops the oldest messages of a dialogue that does not fit, and the beginning of a reply that
/// does not fit alone.
struct MessageDrop<'a> {
    encoder: &'a Encoder,
    dialogue: &'a [Message],
    /// Messages of the rollout that were left out after its system message.
    skipped: usize,
    /// Keeps the system message as long as the last message fits together with it.
    keep_system: bool,
}

impl Encoder {
    /// Encodes as many of the last messages as fit, for a rollout of which `skipped` messages after
    /// the system message are left out already.
    pub(crate) fn drop_messages(
        &self,
        dialogue: &[Message],
        skipped: usize,
        keep_system: bool,
    ) -> Result<EncodedTurn, String> {
        MessageDrop { encoder: self, dialogue, skipped, keep_system }.fit()
    }
}

impl MessageDrop<'_> {
    fn fit(&self) -> Result<EncodedTurn, String> {
        let limit = self.encoder.limit();
        let last = self.dialogue.len() - 1;
        let system_first = self.dialogue[0].role == Role::System && last > 0;
        let system = (self.keep_system && system_first).then(|| Turn::of(&self.dialogue[0]));
        let first = usize::from(system.is_some());
        let mut shortest: Option<(usize, ReadTurns)> = None;
        // The system message is dropped if the turn does not fit together with it.
        for system in [system.is_some(), false].iter().skip(usize::from(system.is_none())) {
            let system = system.then(|| Turn::of(&self.dialogue[0]));
            // A template may refuse a dialogue that begins with the scored message.
            let refused = |start: &usize| {
                let rest = self.dialogue[*start..].iter().map(Turn::of);
                let turns: Vec<Turn<'_>> = system.iter().cloned().chain(rest).collect();
                self.encoder.render(&turns).is_err()
            };
            let innermost =
                (first..=last).rev().take(STARTS).find(|start| !refused(start)).unwrap_or(last);
            let fitting = widest_window(first, innermost, false, |start| {
                for start in start..=innermost {
                    let rest = self.dialogue[start..].iter().map(Turn::of);
                    let turns: Vec<Turn<'_>> = system.iter().cloned().chain(rest).collect();
                    // The template accepts the whole dialogue; it may refuse a part of it and
                    // accept a smaller part.
                    let Ok(rendered) = self.encoder.render(&turns) else { continue };
                    let read = self.encoder.encode_rendered(&rendered)?;
                    if read.tokens.len() <= limit {
                        return Ok(Some((start, read)));
                    }
                    let length = rendered.length();
                    if shortest.as_ref().is_none_or(|(known, _)| length < *known) {
                        shortest = Some((length, read));
                    }
                    return Ok(None);
                }
                Ok::<_, String>(None)
            })?;
            if let Some((_, (start, read))) = fitting {
                let truncated = usize::from(system.is_some()) < start;
                let spans =
                    if truncated { self.spans(system.is_some(), start)? } else { Vec::new() };
                return Ok(EncodedTurn { tokens: read.tokens, truncated, read: spans });
            }
        }
        let shortest = match shortest {
            Some((_, shortest)) => shortest,
            None => {
                let turns: Vec<Turn<'_>> = self.dialogue.iter().map(Turn::of).collect();
                self.encoder.encode_rendered(&self.encoder.render(&turns)?)?
            }
        };
        Ok(self.encoder.keep_end(&shortest, last + self.skipped))
    }

    fn spans(&self, system: bool, start: usize) -> Result<Vec<MessagesRead>, String> {
        let limit = self.encoder.limit();
        let count = |message: &Message| self.encoder.count(&message.content, limit);
        let mut spans = Vec::with_capacity(2);
        if system {
            let tokens = count(&self.dialogue[0])?;
            spans.push(MessagesRead { first: 0, last: 0, tokens, cut: false });
        }
        let tokens = self.dialogue[start..].iter().map(count).sum::<Result<usize, String>>()?;
        let last = self.dialogue.len() - 1 + self.skipped;
        let first = if start == 0 { 0 } else { start + self.skipped };
        spans.push(MessagesRead { first, last, tokens, cut: false });
        Ok(spans)
    }
}

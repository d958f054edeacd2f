//! The parts of a group's rollouts that the judge sees: the prompt that all share, and the reply of
//! each.
//!
//! The shared prompt is the longest common beginning of the dialogues before their judged turns. It
//! holds at least what comes before the first assistant message of each; rollouts for which it does
//! not are samples of different prompts. A reply is what follows, up to the judged turn, so
//! that dialogues and trajectories of several steps are compared as wholes.

use std::borrow::Cow;

use guerdon_fusion::GroupMember;
use guerdon_types::{Message, Role};

use crate::ask::case::RenderedDialogue;
use crate::ask::listing::ListedReply;
use crate::rubric::text::{escaped, is_blank};

/// The parts of a group.
#[derive(Debug)]
pub(crate) struct SharedPrompt {
    /// The dialogue that all rollouts share, rendered for the judge.
    pub(crate) before: String,
    /// The messages of that dialogue.
    pub(crate) dialogue: Vec<Message>,
    /// The distinct replies, by their digests.
    pub(crate) replies: Vec<ListedReply>,
    /// For each member: the place of its reply; `None` for an empty one.
    pub(crate) reply_of: Vec<Option<usize>>,
}

/// The dialogue of each member, up to its last asked turn.
pub(crate) fn dialogues(members: &[GroupMember<'_>]) -> Vec<Vec<Message>> {
    let dialogue = |member: &GroupMember<'_>| {
        let last = member.turns.last().copied().unwrap_or_default();
        let messages = &member.rollout.messages;
        messages.get(..=last).unwrap_or(messages.as_slice()).to_vec()
    };
    members.iter().map(dialogue).collect()
}

impl SharedPrompt {
    /// The parts of the [dialogues] of a group, or the reason why they are not samples of one prompt.
    pub(crate) fn of(dialogues: &[Vec<Message>]) -> Result<Self, String> {
        let first = dialogues.first().map_or(&[][..], Vec::as_slice);
        // The judged turn is never part of the prompt.
        let least = dialogues.iter().map(|one| one.len().saturating_sub(1)).min();
        let shared = (0..least.unwrap_or_default())
            .take_while(|place| dialogues.iter().all(|one| one.get(*place) == first.get(*place)))
            .count();
        let begins = |one: &Vec<Message>| {
            one.iter().take_while(|message| message.role != Role::Assistant).count()
        };
        if let Some(other) = dialogues.iter().position(|one| begins(one) > shared) {
            return Err(format!(
                "its rollouts have different prompts: that of its member {other} differs from the first \
                 one's before the first assistant message"
            ));
        }
        let mut replies: Vec<ListedReply> = Vec::new();
        let mut digests = Vec::with_capacity(dialogues.len());
        for dialogue in dialogues {
            let reply = reply(dialogue.get(shared..).unwrap_or_default());
            digests.push(reply.as_ref().map(|reply| reply.digest));
            replies.extend(reply);
        }
        replies.sort_by_key(|reply| reply.digest);
        replies.dedup_by_key(|reply| reply.digest);
        let place = |digest: Option<_>| {
            digest.and_then(|digest| replies.binary_search_by_key(&digest, |one| one.digest).ok())
        };
        let reply_of = digests.into_iter().map(place).collect();
        let dialogue = first.get(..shared).unwrap_or_default().to_vec();
        let before = RenderedDialogue::new(&dialogue).text();
        Ok(Self { before, dialogue, replies, reply_of })
    }
}

/// The reply in the messages after the prompt; `None` if its judged turn has no visible text.
fn reply(messages: &[Message]) -> Option<ListedReply> {
    let (turn, earlier) = messages.split_last()?;
    let turn = turn.text_with_calls();
    let spoken = escaped(&turn);
    if is_blank(&spoken) {
        return None;
    }
    if earlier.is_empty() {
        return Some(ListedReply::new(spoken.clone().into_owned(), spoken.into_owned()));
    }
    let said = earlier.iter().filter(|message| message.role == Role::Assistant);
    let said: Vec<Cow<'_, str>> = said.map(Message::text_with_calls).collect();
    let said: Vec<String> = said.iter().map(|text| escaped(text).into_owned()).collect();
    let shown = format!("{}{spoken}", RenderedDialogue::new(earlier).text());
    Some(ListedReply::new(shown, format!("{}\n{spoken}", said.join("\n"))))
}

//! Turns as a text format reads them, and the changes that a strict chat template needs.

use std::borrow::Cow;

use guerdon_types::{Message, Role};

use crate::load::input::{LeadingAssistant, ModelInput, SameRole};

/// A message, or the part of one that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn<'a> {
    pub(crate) role: Role,
    pub(crate) content: Cow<'a, str>,
}

impl<'a> Turn<'a> {
    pub(crate) fn of(message: &'a Message) -> Self {
        Self { role: message.role, content: Cow::Borrowed(&message.content) }
    }

    pub(crate) const fn with(role: Role, content: &'a str) -> Self {
        Self { role, content: Cow::Borrowed(content) }
    }
}

/// Changes to a dialogue whose roles the template refuses: many templates demand that user and
/// assistant alternate, and that the user begins. A dialogue that the template accepts is never
/// changed.
#[derive(Debug, Clone)]
pub(crate) struct RoleRules {
    same_role: SameRole,
    leading_assistant: LeadingAssistant,
    leading_user: String,
}

impl RoleRules {
    pub(crate) fn of(input: &ModelInput) -> Self {
        Self {
            same_role: input.same_role,
            leading_assistant: input.leading_assistant,
            leading_user: input.leading_user.clone().unwrap_or_default(),
        }
    }

    /// Number of the assistant's messages to leave out at the start of the dialogue, after its
    /// system message. The last message is scored and never left out.
    pub(crate) fn dropped(&self, dialogue: &[Message]) -> usize {
        if self.leading_assistant != LeadingAssistant::Drop {
            return 0;
        }
        let system = usize::from(dialogue.first().is_some_and(|first| first.role == Role::System));
        let leading =
            dialogue.iter().skip(system).take_while(|m| m.role == Role::Assistant).count();
        if system + leading < dialogue.len() { leading } else { 0 }
    }

    /// The turns with a user's turn before a leading assistant's and with consecutive turns of one
    /// role merged, as configured; `None` if that changes nothing.
    pub(crate) fn adapt<'a>(&self, turns: &[Turn<'a>]) -> Option<Vec<Turn<'a>>> {
        let mut adapted: Vec<Turn<'a>> = Vec::with_capacity(turns.len() + 1);
        let mut changed = false;
        let system = usize::from(turns.first().is_some_and(|turn| turn.role == Role::System));
        for (place, turn) in turns.iter().enumerate() {
            if place == system
                && turn.role == Role::Assistant
                && self.leading_assistant == LeadingAssistant::Prefix
            {
                let content = Cow::Owned(self.leading_user.clone());
                adapted.push(Turn { role: Role::User, content });
                changed = true;
            }
            match adapted.last_mut() {
                Some(previous)
                    if self.same_role == SameRole::Merge && previous.role == turn.role =>
                {
                    previous.content = format!("{}\n\n{}", previous.content, turn.content).into();
                    changed = true;
                }
                _ => adapted.push(turn.clone()),
            }
        }
        changed.then_some(adapted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(same_role: SameRole, leading_assistant: LeadingAssistant) -> RoleRules {
        RoleRules { same_role, leading_assistant, leading_user: "(starts)".to_owned() }
    }

    fn said(turns: &[Turn<'_>]) -> String {
        let said: Vec<_> =
            turns.iter().map(|turn| format!("{}:{}", turn.role.as_str(), turn.content)).collect();
        said.join("|")
    }

    #[test]
    fn same_roles_merge_and_a_leading_assistant_gets_a_user_before_it() {
        let turns = [
            Turn::with(Role::System, "s"),
            Turn::with(Role::Assistant, "a"),
            Turn::with(Role::Assistant, "b"),
            Turn::with(Role::User, "c"),
        ];
        let both = rules(SameRole::Merge, LeadingAssistant::Prefix).adapt(&turns).unwrap();
        assert_eq!(said(&both), "system:s|user:(starts)|assistant:a\n\nb|user:c");
        let prefix = rules(SameRole::Keep, LeadingAssistant::Prefix).adapt(&turns[1..]).unwrap();
        assert_eq!(said(&prefix), "user:(starts)|assistant:a|assistant:b|user:c");
        assert_eq!(rules(SameRole::Keep, LeadingAssistant::Refuse).adapt(&turns), None);
        assert_eq!(rules(SameRole::Merge, LeadingAssistant::Prefix).adapt(&turns[3..]), None);
    }

    #[test]
    fn leading_assistant_turns_are_dropped_but_never_the_scored_one() {
        let say = |role: Role| Message::new(role, "x");
        let dialogue =
            [Role::System, Role::Assistant, Role::Assistant, Role::User, Role::Assistant].map(say);
        let drop = rules(SameRole::Keep, LeadingAssistant::Drop);
        assert_eq!([drop.dropped(&dialogue), drop.dropped(&dialogue[..3])], [2, 0]);
        assert_eq!([drop.dropped(&dialogue[1..]), drop.dropped(&dialogue[3..])], [2, 0]);
        assert_eq!(rules(SameRole::Keep, LeadingAssistant::Prefix).dropped(&dialogue), 0);
    }
}

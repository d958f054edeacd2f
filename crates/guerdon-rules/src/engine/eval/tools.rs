//! Matches and checks of tool calls. A call has no text in the reply, so that hits name the whole
//! call and have no span.

use guerdon_types::{Context, Role, ToolCall};
use serde_json::Value as Json;

use super::outcome::MatchOutcome;
use super::scope::{TextInScope, TurnView, same};
use crate::engine::checks::{self, CheckHit};
use crate::engine::compiled_rule::{CallMatcher, SchemaMatcher};
use crate::engine::expr::{ExprFacts, Truth, lookup};
use crate::syntax::pack::{CallLimits, CallNames, CallTest, StateCheck};

/// The greatest number of characters of a call that a hit reports.
const MAX_CHARS: usize = 200;

/// A call of a tool, and its message.
#[derive(Debug, Clone, Copy)]
struct CallInScope<'c> {
    call: &'c ToolCall,
    message: usize,
    /// Set if the message is the scored turn.
    is_scored: bool,
}

impl CallInScope<'_> {
    /// The call in words, cut.
    fn described(self) -> String {
        let ToolCall { name, arguments, .. } = self.call;
        let call = format!("{name}({})", arguments.trim());
        let call = guerdon_text::cut(&call, MAX_CHARS);
        if self.is_scored {
            call.into_owned()
        } else {
            format!("{call} in message {}", self.message)
        }
    }

    /// The arguments, if they are an object.
    fn arguments(self) -> Option<Context> {
        match self.call.arguments_value() {
            Ok(Json::Object(arguments)) => Some(arguments),
            _ => None,
        }
    }
}

impl CallNames {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Of(names) => names.iter().any(|known| known == name),
            Self::Except(names) => names.iter().all(|known| known != name),
        }
    }
}

impl<'a> TurnView<'_, 'a> {
    /// The calls of the messages that a text stands for, oldest first.
    fn calls(&self, seen: &TextInScope<'_, 'a>) -> Vec<CallInScope<'a>> {
        let messages = match seen.message() {
            Some(index) => index..index + 1,
            None => 0..self.so_far(),
        };
        let of_message = |index: usize| {
            let message = self.messages().get(index).filter(|one| one.role == Role::Assistant);
            let is_scored = self.is_scored(index);
            message.into_iter().flat_map(move |message| {
                message.tool_calls.iter().map(move |call| CallInScope {
                    call,
                    message: index,
                    is_scored,
                })
            })
        };
        messages.flat_map(of_message).collect()
    }

    pub(super) fn tool_call(
        &self,
        matcher: &CallMatcher,
        seen: &TextInScope<'_, 'a>,
    ) -> MatchOutcome {
        let mut outcome = MatchOutcome::no();
        for call in self.calls(seen) {
            if seen.text.is_over() {
                break;
            }
            if !matcher.names.has(&call.call.name) {
                continue;
            }
            match self.fits(matcher, call) {
                Truth::No => {}
                Truth::Yes => outcome.add_call(call.described()),
                Truth::Unknown(why) => outcome.add_unknown(why),
            }
        }
        outcome.at_least(matcher.count)
    }

    /// Compares the arguments of a call with the matcher.
    fn fits(&self, matcher: &CallMatcher, call: CallInScope<'_>) -> Truth {
        if matcher.arguments.is_empty() && matcher.condition.is_none() {
            return Truth::Yes;
        }
        let Some(arguments) = call.arguments() else { return Truth::No };
        let holds = matcher.arguments.iter().all(|condition| {
            lookup(&arguments, &condition.path)
                .is_some_and(|value| condition.values.iter().any(|wanted| same(wanted, value)))
        });
        let Some(condition) = matcher.condition.as_ref().filter(|_| holds) else {
            return holds.into();
        };
        // A call without the argument is no call that the rule is about.
        if condition.arguments().iter().any(|path| lookup(&arguments, path).is_none()) {
            return Truth::No;
        }
        condition.truth(ExprFacts::of(self.context()).with_arguments(&arguments))
    }

    pub(super) fn tool_calls(&self, test: &CallTest, seen: &TextInScope<'_, 'a>) -> MatchOutcome {
        let calls = self.calls(seen);
        match test {
            CallTest::Order(order) => out_of_order(order, &calls),
            CallTest::Number(limits) => outside(limits, &calls),
            CallTest::Declared => self.undeclared(&calls),
        }
    }

    /// Calls of tools that the rollout does not declare, or with arguments that do not fit.
    fn undeclared(&self, calls: &[CallInScope<'a>]) -> MatchOutcome {
        let mut outcome = MatchOutcome::no();
        if calls.is_empty() {
            return outcome;
        }
        let Some(tools) = self.tools() else {
            return MatchOutcome::unknown("tools are missing".to_owned());
        };
        for call in calls {
            let ToolCall { name, .. } = call.call;
            match tools.check(name, call.call.arguments_value()) {
                Ok(None) => {}
                Ok(Some(why)) => outcome.add_call(format!("{}: {why}", call.described())),
                Err(why) => outcome.add_unknown(why),
            }
        }
        outcome.at_least(1)
    }

    pub(super) fn json_schema(
        &self,
        matcher: &SchemaMatcher,
        seen: &TextInScope<'_, 'a>,
    ) -> MatchOutcome {
        let Some(names) = &matcher.arguments_of else {
            // A turn that only calls tools has no reply.
            let original = seen.text.original.trim();
            let only_calls = original.is_empty() && !self.calls(seen).is_empty();
            let broken = (!only_calls).then(|| matcher.schema.broken_text(original)).flatten();
            return seen.measured(false, broken);
        };
        let mut outcome = MatchOutcome::no();
        for call in self.calls(seen).into_iter().filter(|call| names.has(&call.call.name)) {
            let why = match call.call.arguments_value() {
                Ok(arguments) => matcher.schema.broken(&arguments),
                Err(error) => Some(format!("not JSON: {error}")),
            };
            if let Some(why) = why {
                outcome.add_call(format!("{}: {why}", call.described()));
            }
        }
        outcome.at_least(1)
    }

    /// Compares two states of the context. The reason if one of them is missing.
    pub(super) fn state(&self, check: &StateCheck) -> Result<Option<CheckHit>, String> {
        let StateCheck { actual, expected, equal } = check;
        let value = |path: &[String]| {
            let missing = || format!("context.{} is missing", path.join("."));
            lookup(self.context(), path).ok_or_else(missing)
        };
        let detail = checks::difference(value(expected)?, value(actual)?, *equal);
        Ok(detail.map(|detail| CheckHit { spans: Vec::new(), detail }))
    }
}

/// The first call of a tool without an earlier call of the one before it in the order.
fn out_of_order(order: &[String], calls: &[CallInScope<'_>]) -> MatchOutcome {
    let mut outcome = MatchOutcome::no();
    let mut seen = vec![false; order.len()];
    for call in calls {
        for (index, _) in order.iter().enumerate().filter(|(_, name)| **name == call.call.name) {
            let before = index.checked_sub(1).and_then(|index| order.get(index));
            let is_ready = index.checked_sub(1).is_none_or(|index| seen.get(index) == Some(&true));
            match before {
                Some(before) if !is_ready => {
                    outcome.add_call(format!("{} without {before} before it", call.described()));
                }
                _ => {
                    if let Some(seen) = seen.get_mut(index) {
                        *seen = true;
                    }
                }
            }
        }
    }
    outcome.at_least(1)
}

fn outside(limits: &CallLimits, calls: &[CallInScope<'_>]) -> MatchOutcome {
    let CallLimits { names, min, max } = limits;
    let count = calls.iter().filter(|call| names.has(&call.call.name)).count();
    let bound = match (min, max) {
        (Some(min), _) if count < *min => format!("at least {min}"),
        (_, Some(max)) if count > *max => format!("at most {max}"),
        _ => return MatchOutcome::no(),
    };
    let of = match names {
        CallNames::Of(names) => format!(" of {}", names.join(", ")),
        _ => String::new(),
    };
    let mut outcome = MatchOutcome::no();
    let calls = if count == 1 { "call" } else { "calls" };
    let detail = format!("{count} {calls}{of}, {bound} wanted");
    outcome.add_call(guerdon_text::cut(&detail, MAX_CHARS).into_owned());
    outcome.at_least(1)
}

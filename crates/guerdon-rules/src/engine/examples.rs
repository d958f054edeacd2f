//! Runs the examples of rules. They are unit tests: a pack with a failing example does not load.

use guerdon_text::Finding;
use guerdon_types::{Message, Role, Rollout};

use crate::engine::eval::{DialogueTexts, RuleOutcome, RuleVerdict, TurnView};
use crate::engine::plan::RulePlan;
use crate::engine::scan_limit::ScanLimit;
use crate::syntax::codes::PackCode;
use crate::syntax::pack::{MessageSelector, Rule, RuleExample, TurnSelector};

/// One example and its result.
#[derive(Debug)]
pub(crate) struct ExampleRun<'r> {
    pub(crate) example: &'r RuleExample,
    pub(crate) must_hit: bool,
    /// The spans of the hit in the text, if there is one.
    pub(crate) hit: Option<Vec<[usize; 2]>>,
    pub(crate) failure: Option<Finding>,
}

/// Runs the examples of `rule`, which is the plan's rule `index`. Results after the end of `limit`
/// mean nothing.
pub(crate) fn run<'r>(
    plan: &RulePlan,
    index: usize,
    rule: &'r Rule,
    limit: ScanLimit<'_>,
) -> impl Iterator<Item = ExampleRun<'r>> {
    let hits = rule.hits.iter().map(|example| (example, true));
    let all = hits.chain(rule.misses.iter().map(|example| (example, false)));
    all.filter(|(example, _)| example.is_sound).map(move |(example, must_hit)| {
        let outcome = plan.rules.get(index).map(|compiled| {
            let (rollout, turn) = rollout(example, rule.on);
            let dialogue = DialogueTexts::limited(plan, &rollout, limit);
            TurnView::new(&dialogue, turn).outcome_of(index, compiled)
        });
        let hit = match outcome.as_ref().map(|outcome| &outcome.verdict) {
            Some(RuleVerdict::Hit(hit, _)) => Some(hit.spans.clone()),
            _ => None,
        };
        let failure = outcome.and_then(|outcome| failure(rule, example, must_hit, outcome));
        ExampleRun { example, must_hit, hit, failure }
    })
}

fn failure(
    rule: &Rule,
    example: &RuleExample,
    must_hit: bool,
    outcome: RuleOutcome,
) -> Option<Finding> {
    let RuleOutcome { verdict, suppressed } = outcome;
    Some(match (verdict, must_hit) {
        (RuleVerdict::Hit(..), true) | (RuleVerdict::Miss, false) => return None,
        (RuleVerdict::Miss, true) => {
            let message = format!("rule `{}` misses an example that it must hit", rule.id.value);
            Finding::new(PackCode::ExampleMustHit, example.span.clone(), message)
                .label(match suppressed {
                    Some(of) => format!("suppressed as {}: `{}`", of.suppressed_by, of.cue),
                    None => "this text is not hit".to_owned(),
                })
                .help("change the rule, or move the example to `misses`")
        }
        (RuleVerdict::Hit(hit, _), false) => {
            let detail = hit.detail.map(|detail| format!(": {detail}")).unwrap_or_default();
            let message = format!("rule `{}` hits an example that it must miss", rule.id.value);
            Finding::new(PackCode::ExampleMustMiss, example.span.clone(), message)
                .label(format!("hit{}{detail}", quoted(&example.text, &hit.spans)))
                .help("change the rule, or move the example to `hits`")
        }
        (RuleVerdict::Unknown(why), _) => {
            let message = format!("rule `{}` cannot decide this example", rule.id.value);
            Finding::new(PackCode::ExampleUndecided, example.span.clone(), message)
                .label(why)
                .help("give the example its facts: { text: '...', context: { ... } }")
        }
    })
}

/// A dialogue in which the rule reads the example's text.
fn rollout(example: &RuleExample, on: MessageSelector) -> (Rollout, usize) {
    let mut messages = example.before.clone();
    let tool_calls = example.tool_calls.clone();
    messages.push(Message { tool_calls, ..Message::new(on.role, example.text.as_str()) });
    match (on.turn, on.role) {
        (TurnSelector::Previous, role) => {
            messages.push(Message::new(role, ""));
            if role != Role::Assistant {
                messages.push(Message::new(Role::Assistant, ""));
            }
        }
        (_, Role::Assistant) => {}
        _ => messages.push(Message::new(Role::Assistant, "")),
    }
    let turn = messages.len() - 1;
    let (context, tools) = (example.context.clone(), example.tools.clone());
    (Rollout { messages, context, tools, ..Rollout::default() }, turn)
}

fn quoted(text: &str, spans: &[[usize; 2]]) -> String {
    let words: Vec<String> = spans
        .iter()
        .take(3)
        .map(|[start, end]| text.chars().skip(*start).take(end - start).take(40).collect())
        .map(|words: String| format!(" `{}`", words.escape_debug()))
        .collect();
    words.join(",")
}

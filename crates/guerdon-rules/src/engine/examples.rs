//! The examples beside a rule are its unit tests, run whenever its pack loads: a pack whose example fails does not.

use guerdon_types::{Message, Role, Rollout};

use crate::engine::eval::{Dialogue, Scene, Verdict};
use crate::engine::plan::Plan;
use crate::syntax::codes::PackCode;
use crate::syntax::pack::{Example, On, Rule, Turn};
use guerdon_text::Finding;

/// One example, run.
#[derive(Debug)]
pub(crate) struct Run<'r> {
    pub(crate) example: &'r Example,
    pub(crate) must_hit: bool,
    pub(crate) failure: Option<Finding>,
}

/// Runs the examples of `rule`, which is the plan's rule `index`.
pub(crate) fn run<'r>(plan: &Plan, index: usize, rule: &'r Rule) -> impl Iterator<Item = Run<'r>> {
    let hits = rule.hits.iter().map(|example| (example, true));
    let all = hits.chain(rule.misses.iter().map(|example| (example, false)));
    all.map(move |(example, must_hit)| {
        let failure = plan.rules.get(index).and_then(|compiled| {
            let (rollout, turn) = rollout(example, rule.on);
            let dialogue = Dialogue::new(plan, &rollout);
            failure(rule, example, must_hit, Scene::new(&dialogue, turn).verdict(index, compiled))
        });
        Run { example, must_hit, failure }
    })
}

fn failure(rule: &Rule, example: &Example, must_hit: bool, verdict: Verdict) -> Option<Finding> {
    Some(match (verdict, must_hit) {
        (Verdict::Hit(..), true) | (Verdict::Miss, false) => return None,
        (Verdict::Miss, true) => {
            let message = format!("rule `{}` misses an example that it must hit", rule.id.value);
            Finding::new(PackCode::ExampleMustHit, example.span.clone(), message)
                .label("this text is not hit")
                .help("change the rule, or move the example to `misses`")
        }
        (Verdict::Hit(hit, _), false) => {
            let told = hit.detail.map(|detail| format!(": {detail}")).unwrap_or_default();
            let message = format!("rule `{}` hits an example that it must miss", rule.id.value);
            Finding::new(PackCode::ExampleMustMiss, example.span.clone(), message)
                .label(format!("hit{}{told}", quoted(&example.text, &hit.spans)))
                .help("change the rule, or move the example to `hits`")
        }
        (Verdict::Unknown(why), _) => {
            let message = format!("rule `{}` cannot decide this example", rule.id.value);
            Finding::new(PackCode::ExampleUndecided, example.span.clone(), message)
                .label(why)
                .help("give the example its facts: { text: '...', context: { ... } }")
        }
    })
}

/// The dialogue in which the rule looks at the example's text.
fn rollout(example: &Example, on: On) -> (Rollout, usize) {
    let mut messages = example.before.clone();
    messages.push(Message::new(on.role, example.text.as_str()));
    match (on.turn, on.role) {
        (Turn::Previous, role) => {
            messages.push(Message::new(role, ""));
            if role != Role::Assistant {
                messages.push(Message::new(Role::Assistant, ""));
            }
        }
        (_, Role::Assistant) => {}
        _ => messages.push(Message::new(Role::Assistant, "")),
    }
    let turn = messages.len() - 1;
    (Rollout { messages, context: example.context.clone(), ..Rollout::default() }, turn)
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

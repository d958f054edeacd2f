//! The examples beside a rule are its unit tests, run whenever its pack loads: a pack whose example fails does not.

use guerdon_types::{Message, Role, Rollout};

use crate::eval::{Scene, Verdict};
use crate::pack::{Example, On, Rule, Turn};
use crate::plan::Plan;
use crate::report::{Code, Finding};

/// Runs the examples of `rule`, which is `plan.rules[index]`.
pub(crate) fn check(plan: &Plan, index: usize, rule: &Rule) -> Vec<Finding> {
    let Some(compiled) = plan.rules.get(index) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let examples = rule.hits.iter().map(|example| (example, true));
    for (example, must_hit) in examples.chain(rule.misses.iter().map(|example| (example, false))) {
        let (rollout, turn) = rollout(example, rule.on);
        let scene = Scene::new(plan, &rollout, turn);
        let finding = match (scene.verdict(compiled), must_hit) {
            (Verdict::Hit(_), true) | (Verdict::Miss, false) => continue,
            (Verdict::Miss, true) => {
                let message = format!("rule `{}` misses an example that it must hit", rule.id.value);
                Finding::new(Code::ExampleMustHit, example.span.clone(), message)
                    .label("this text is not hit")
                    .help("change the rule, or move the example to `misses`")
            }
            (Verdict::Hit(hit), false) => {
                let told = hit.detail.map(|detail| format!(": {detail}")).unwrap_or_default();
                let message = format!("rule `{}` hits an example that it must miss", rule.id.value);
                Finding::new(Code::ExampleMustMiss, example.span.clone(), message)
                    .label(format!("hit{}{told}", quoted(&example.text, &hit.spans)))
                    .help("change the rule, or move the example to `hits`")
            }
            (Verdict::Unknown(why), _) => {
                let message = format!("rule `{}` cannot decide this example", rule.id.value);
                Finding::new(Code::ExampleUndecided, example.span.clone(), message)
                    .label(why)
                    .help("give the example its facts: { text: '...', context: { ... } }")
            }
        };
        findings.push(finding);
    }
    findings
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

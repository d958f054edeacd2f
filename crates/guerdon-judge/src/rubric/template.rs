//! The body of a prompt file: two templates, checked while the author is there to be told.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object, Serde, Value};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, context};

use crate::rubric::report::{Report, Source};
use crate::rubric::{Criterion, Example, Facts};

/// What a body may name.
const SLOTS: [&str; 5] = ["dialogue", "turn", "context", "criteria", "examples"];
/// Its templates.
pub(crate) const SECTIONS: [&str; 2] = ["system", "user"];

/// A body, compiled.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) templates: Environment<'static>,
    /// The `context.…` values that it names.
    pub(crate) context: BTreeSet<String>,
    pub(crate) facts: Facts,
}

/// Compiles the two sections of a body and tries them on a made-up dialogue. Also returns the context values it names.
pub(crate) fn compile(
    source: &Source<'_>,
    sections: [&Range<usize>; 2],
    shown: (&[Criterion], &[Example]),
    report: &mut Report,
) -> Option<Body> {
    let mut body = Environment::new();
    body.set_undefined_behavior(UndefinedBehavior::Strict);
    body.set_auto_escape_callback(|_| AutoEscape::None);
    if let Ok(syntax) =
        minijinja::syntax::SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()
    {
        body.set_syntax(syntax);
    }
    let mut named = BTreeSet::new();
    for (section, range) in SECTIONS.into_iter().zip(sections) {
        let text = source.text.get(range.clone())?;
        if let Err(error) = body.add_template_owned(section, text.to_owned()) {
            reported(source, range, &error, report);
            return None;
        }
        let template = body.get_template(section).ok()?;
        for slot in template.undeclared_variables(false) {
            if !SLOTS.contains(&slot.as_str())
                && slot != "range"
                && slot != "namespace"
                && slot != "dict"
            {
                let at = text.find(&slot).unwrap_or_default() + range.start;
                source
                    .error(at..at + slot.len(), format!("`{slot}` is no slot"))
                    .help(format!("the slots are {}", SLOTS.join(", ")))
                    .nearest(&slot, SLOTS)
                    .into(report);
            }
        }
        named.extend(template.undeclared_variables(true));
    }
    let facts = facts(&named);
    if !report.has_errors() {
        tried(source, sections, (&body, &facts), shown, report);
    }
    named.retain(|name| name.starts_with("context."));
    Some(Body { templates: body, context: named, facts })
}

/// What a body that names these variables may read. Whoever hides the name behind another is shown less and told so: the
/// trial below, or the first question, fails.
fn facts(named: &BTreeSet<String>) -> Facts {
    if named.contains("context") {
        return Facts::All;
    }
    let root = |name: &String| Some(name.strip_prefix("context.")?.split('.').next()?.to_owned());
    Facts::Named(named.iter().filter_map(root).collect())
}

/// A slot misspelt inside a loop is found only by running the loop; so is a turn that is shown twice, or nowhere.
fn tried(
    source: &Source<'_>,
    sections: [&Range<usize>; 2],
    (body, facts): (&Environment<'_>, &Facts),
    (criteria, examples): (&[Criterion], &[Example]),
    report: &mut Report,
) {
    const TURN: &str = "<turn-probe>";
    let slots = context! {
        dialogue => "<dialogue></dialogue>",
        turn => TURN,
        context => Value::from_object(MadeUp(facts.clone())),
        criteria => Value::from(Serde(criteria)),
        examples => Value::from(Serde(examples)),
    };
    for ((section, range), wanted) in SECTIONS.into_iter().zip(sections).zip([0, 1]) {
        let Ok(template) = body.get_template(section) else { continue };
        match template.render(&slots) {
            Ok(text) => {
                let shown = text.matches(TURN).count();
                if shown != wanted {
                    source
                        .error(
                            range.start..range.start,
                            format!("`# {section}` shows the turn {shown} times"),
                        )
                        .help("write `{{ turn }}` once, under `# user`: judged text belongs in one place")
                        .into(report);
                }
            }
            // Made-up facts are text; a body that computes with them is right to stumble here.
            Err(error) if error.kind() == ErrorKind::InvalidOperation => {}
            Err(error) => reported(source, range, &error, report),
        }
    }
}

fn reported(
    source: &Source<'_>,
    section: &Range<usize>,
    error: &minijinja::Error,
    report: &mut Report,
) {
    let span = error.range().map_or(section.start..section.start, |range| {
        range.start + section.start..range.end + section.start
    });
    let message = error
        .detail()
        .map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
    source.error(span, message).into(report);
}

/// A context in which every fact is there that the body is shown.
#[derive(Debug)]
struct MadeUp(Facts);

impl Object for MadeUp {
    fn get_value(self: &Arc<Self>, name: &Value) -> Option<Value> {
        let shown = match &self.0 {
            Facts::All => true,
            Facts::Named(names) => name.as_str().is_some_and(|name| names.contains(name)),
        };
        shown.then(|| Value::from_object(Self(Facts::All)))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Empty
    }

    fn render(self: &Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a fact")
    }
}

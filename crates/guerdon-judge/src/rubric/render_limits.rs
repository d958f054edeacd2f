//! Bounds of rendering a body: the steps that its templates may take, and the length of a message.
//!
//! Both grow with the texts that are shown, so that a long dialogue needs no other bound. A shipped
//! rubric uses less than a hundredth of its steps on a dialogue of any length.

use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind};

/// The steps of a body without texts. A template's instruction is one step, and so are 64 bytes
/// that it writes.
const STEPS: u64 = 1_000_000;
/// The steps for each 64 bytes of the texts that are shown.
const STEPS_A_CHUNK: u64 = 128;
/// The bytes of a message without texts.
const BYTES: usize = 4 << 20;
/// The bytes of a message for each byte of the texts that are shown.
const BYTES_A_BYTE: usize = 4;

/// The steps that a body may take to show `shown` bytes.
pub(crate) const fn steps(shown: usize) -> u64 {
    let chunks = (shown as u64).div_ceil(64);
    STEPS.saturating_add(chunks.saturating_mul(STEPS_A_CHUNK))
}

/// Renders the template `section`. `shown` is the number of bytes of the dialogue, the turn and the
/// context.
pub(crate) fn render(
    body: &Environment<'static>,
    section: &str,
    slots: &Value,
    shown: usize,
) -> Result<String, Error> {
    // A copy shares the compiled templates.
    let mut body = body.clone();
    body.set_fuel(Some(steps(shown)));
    let text = body.get_template(section)?.render(slots)?;
    let limit = BYTES.saturating_add(shown.saturating_mul(BYTES_A_BYTE));
    if text.len() > limit {
        let detail = format!(
            "`# {section}` becomes a message of {} bytes, and at most {limit} are allowed",
            text.len()
        );
        return Err(Error::new(ErrorKind::WriteFailure, detail));
    }
    Ok(text)
}

/// The number of bytes of a context value.
pub(crate) fn bytes_of(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|item| 8 + bytes_of(item)).sum(),
        Value::Object(map) => map.iter().map(|(key, value)| 8 + key.len() + bytes_of(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

/// True if the steps were used up. A failed call or filter may hide it.
pub(crate) fn is_out_of_steps(error: &Error) -> bool {
    let first: &dyn std::error::Error = error;
    std::iter::successors(Some(first), |error| error.source())
        .filter_map(|error| error.downcast_ref::<Error>())
        .any(|error| error.kind() == ErrorKind::OutOfFuel)
}

/// True if a bound of rendering was exceeded.
pub(crate) fn is_exceeded(error: &Error) -> bool {
    error.kind() == ErrorKind::WriteFailure || is_out_of_steps(error)
}

/// The reason of a failure, as a sentence without a place.
pub(crate) fn reason(error: &Error) -> String {
    if is_out_of_steps(error) {
        return format!(
            "the template takes too many steps (the limit is {STEPS}, and {STEPS_A_CHUNK} more for \
             each 64 bytes of the dialogue, the turn and the context); shorten its loops"
        );
    }
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use minijinja::context;
    use minijinja::value::Serde;

    use super::*;
    use crate::Prompts;
    use crate::rubric::template::SECTIONS;
    use guerdon_text::SourceText;

    #[test]
    fn shipped_rubrics_take_less_than_a_hundredth_of_their_steps() {
        let texts: Vec<SourceText> = [
            ("empathy.md", include_str!("../../../../judge-prompts/empathy.md")),
            ("negotiation.md", include_str!("../../../../judge-prompts/negotiation.md")),
            ("overpromise.md", include_str!("../../../../judge-prompts/overpromise.md")),
            ("silence.md", include_str!("../../../../judge-prompts/silence.md")),
            ("sop.md", include_str!("../../../../judge-prompts/sop.md")),
        ]
        .map(|(name, text)| SourceText::new(name, text))
        .into();
        let (prompts, _) = Prompts::compile(&texts).unwrap();
        for shown in [0, 1 << 10, 1 << 20, 64 << 20] {
            for rubric in prompts.rubrics() {
                let facts: serde_json::Map<_, _> = rubric
                    .context
                    .iter()
                    .map(|path| (path.replace("context.", ""), 1.into()))
                    .collect();
                let slots = context! {
                    dialogue => "x".repeat(shown),
                    turn => "",
                    context => Value::from(Serde(facts)),
                    criteria => Value::from(Serde(&rubric.criteria)),
                    examples => Value::from(Serde(&rubric.examples)),
                };
                let mut body = rubric.body.clone();
                body.set_fuel(Some(steps(shown)));
                for section in SECTIONS {
                    let template = body.get_template(section).unwrap();
                    let rendered = template.render_captured(&slots).unwrap();
                    let (used, _) = rendered.state().fuel_levels().unwrap();
                    assert!(used > 0 && used * 100 < steps(shown), "{} {used}", rubric.id);
                }
            }
        }
    }
}

//! The error of an invalid expression, with its place and a help.

use std::ops::Range;

use guerdon_text::nearest;

use crate::syntax::codes::PackCode;
use crate::syntax::facts::{FactType, Facts};

/// Signs of other languages and the ones that are meant.
const FOREIGN: [(&str, &str); 10] = [
    ("===", "=="),
    ("!==", "!="),
    ("=>", ">="),
    ("=<", "<="),
    ("<>", "!="),
    ("≥", ">="),
    ("≤", "<="),
    ("≠", "!="),
    ("＞", ">"),
    ("＜", "<"),
];

/// The error of an invalid expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExprError {
    pub(crate) code: PackCode,
    /// The position, in bytes of the expression.
    pub(crate) at: usize,
    pub(crate) message: String,
    pub(crate) help: String,
    /// The bytes to replace, and their replacement.
    pub(crate) fix: Option<(Range<usize>, String)>,
}

impl ExprError {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        let help = "an expression is a comparison, such as value > context.target_price".to_owned();
        Self { code: PackCode::BadExpression, at, message: message.into(), help, fix: None }
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: help.into(), ..self }
    }

    pub(super) fn fix(self, span: Range<usize>, replacement: &str) -> Self {
        Self { fix: Some((span, replacement.to_owned())), ..self }
    }
}

/// The error of a sign that another language has in place of one of these.
pub(super) fn foreign_sign(rest: &str, at: usize) -> Option<ExprError> {
    let (sign, meant) = FOREIGN.into_iter().find(|(sign, _)| rest.starts_with(sign))?;
    let error = ExprError::new(at, format!("`{sign}` is no operator"));
    Some(error.help(format!("write `{meant}`")).fix(at..at + sign.len(), meant))
}

/// The error of a character that begins nothing.
pub(super) fn unknown_sign(rest: &str, at: usize) -> ExprError {
    let c = rest.chars().next().unwrap_or_default();
    let error = ExprError::new(at, format!("`{c}` means nothing here"));
    match c {
        '=' => error.help("compare with `==`").fix(at..at + 1, "=="),
        '&' => error.help("write `and`").fix(at..at + 1, "and"),
        '|' => error.help("write `or`").fix(at..at + 1, "or"),
        '%' => error.help("there is no remainder; a percentage is `value * 0.9`"),
        '\u{ff08}' | '\u{ff09}' => error.help("write brackets of ASCII: ( and )"),
        c if !c.is_ascii() => error.help("texts need quotes, such as unit == '元'"),
        _ => error,
    }
}

/// The error of a name that is none of `known`.
pub(super) fn unknown_name(name: &str, at: usize, known: &[&str]) -> ExprError {
    let error = ExprError::new(at, "not known");
    let names = known.iter().map(|known| known.split('(').next().unwrap_or(known));
    match nearest(name, names) {
        Some(near) => error.help(format!("did you mean `{near}`?")).fix(at..at + name.len(), near),
        None => error.help(format!("there are {}", known.join(", "))),
    }
}

/// The error of a fact that the pack does not declare. `at` is the place of `context.` or `has`.
pub(super) fn unknown_fact(facts: &Facts, path: &str, at: usize) -> ExprError {
    let error = ExprError::new(at, format!("the pack declares no fact `{path}`"));
    ExprError { code: PackCode::UnknownFact, ..error.help(facts.help(path)) }
}

/// The error of a comparison with a text that a fact cannot have.
pub(super) fn impossible_value(path: &str, values: &[String], text: &str, at: usize) -> ExprError {
    let error = ExprError::new(at, format!("`{path}` is never `{text}`"));
    let help = match nearest(text, values.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it is {}", FactType::OneOf(values.to_vec()).described()),
    };
    ExprError { code: PackCode::UnknownFact, ..error.help(help) }
}

//! `where:` expressions: arithmetic and comparisons over a captured `value` and `context.*`, in
//! three-valued logic.
//!
//! CEL does not fit. It refuses mixed arithmetic:
//! `value > context.target_price * 1.1` is an error if the price is written `420`. It has no
//! "unknown" that `and` and `or` can absorb, and it needs the runtime of a parser generator. The
//! language here is small enough to be type-checked when a pack loads.

mod constant;
mod error;
mod parse;
mod tree;

use std::cmp::Ordering;

use guerdon_types::Context;
use serde_json::Value as Json;

use crate::syntax::facts::Facts;
use crate::text::number::Capture;

use self::tree::{BinaryOp, ExprValue, Function, Node, Variable};
pub(crate) use constant::KnownFacts;
pub(crate) use error::ExprError;
pub(crate) use parse::Uses;

/// A parsed expression that yields true or false.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    root: Node,
    uses: Uses,
}

/// The values of an expression's variables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExprFacts<'a> {
    context: &'a Context,
    value: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    unit: Option<&'a str>,
    percent_off: Option<f64>,
    named: &'a [f64],
    /// The arguments of a tool call.
    arguments: Option<&'a Context>,
}

impl<'a> ExprFacts<'a> {
    /// The facts of a context without a capture.
    pub(crate) const fn of(context: &'a Context) -> Self {
        Self {
            context,
            value: None,
            low: None,
            high: None,
            unit: None,
            percent_off: None,
            named: &[],
            arguments: None,
        }
    }

    pub(crate) fn with_value(self, value: f64) -> Self {
        Self { value: Some(value), low: Some(value), high: Some(value), ..self }
    }

    pub(crate) fn with_capture(self, capture: &Capture<'a>) -> Self {
        Self {
            value: Some(capture.value),
            low: Some(capture.low),
            high: Some(capture.high),
            unit: capture.unit,
            percent_off: capture.percent_off(),
            ..self
        }
    }

    /// Adds the arguments of a tool call.
    pub(crate) const fn with_arguments(self, arguments: &'a Context) -> Self {
        Self { arguments: Some(arguments), ..self }
    }

    /// Adds the values of the rule's own names, in the order of the names.
    pub(crate) const fn with_named(self, named: &'a [f64]) -> Self {
        Self { named, ..self }
    }
}

/// The value of a condition, or the reason that it is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Truth {
    Yes,
    No,
    Unknown(String),
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::Yes } else { Self::No }
    }
}

/// The context value at `path`. `null` counts as missing.
pub(crate) fn lookup<'a>(context: &'a Context, path: &[String]) -> Option<&'a Json> {
    let (first, rest) = path.split_first()?;
    let found = rest.iter().try_fold(context.get(first)?, |value, key| value.get(key))?;
    (!found.is_null()).then_some(found)
}

impl Expr {
    /// Parses and type-checks `text`. `names` are the rule's own names for numbers.
    #[cfg(any(test, feature = "reference"))]
    pub(crate) fn parse(text: &str, names: &[String]) -> Result<Self, ExprError> {
        Self::parse_with(text, names, None)
    }

    /// Like [`Expr::parse`], with the facts that the pack declares, if it does.
    pub(crate) fn parse_with(
        text: &str,
        names: &[String],
        facts: Option<&Facts>,
    ) -> Result<Self, ExprError> {
        let (root, uses) = parse::parse(text, names, facts)?;
        Ok(Self { root, uses })
    }

    /// Returns the truth if it is the same for all values that the rule allows.
    pub(crate) fn constant(&self, known: KnownFacts<'_>) -> Option<bool> {
        constant::constant(&self.root, known)
    }

    /// The variables that the expression uses.
    pub(crate) const fn uses(&self) -> Uses {
        self.uses
    }

    /// Returns true if the expression is about each match, and not only about the context.
    pub(crate) const fn is_on_matches(&self) -> bool {
        self.uses.capture || self.uses.arguments
    }

    /// The arguments of a tool call that the expression reads.
    pub(crate) fn arguments(&self) -> Vec<&[String]> {
        let mut paths = Vec::new();
        arguments_of(&self.root, &mut paths);
        paths
    }

    pub(crate) fn truth(&self, facts: ExprFacts<'_>) -> Truth {
        if let Some(truth) = quick(&self.root, facts) {
            return truth.into();
        }
        match eval(&self.root, facts) {
            Ok(ExprValue::Bool(value)) => value.into(),
            Ok(other) => {
                Truth::Unknown(format!("the expression is {}, not true or false", other.kind()))
            }
            Err(why) => Truth::Unknown(why),
        }
    }
}

impl ExprValue {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::Bool(_) => "true or false",
            Self::List(_) => "a list",
        }
    }

    fn of(json: &Json, path: &[String]) -> Result<Self, String> {
        match json {
            Json::Bool(value) => Ok(Self::Bool(*value)),
            Json::Number(number) => number
                .as_f64()
                .map(Self::Number)
                .ok_or_else(|| format!("{} is too large", name(path))),
            Json::String(text) => Ok(Self::Text(text.clone())),
            Json::Array(items) => items
                .iter()
                .map(|item| Self::of(item, path))
                .collect::<Result<_, _>>()
                .map(Self::List),
            Json::Object(_) | Json::Null => Err(format!("{} is not a single value", name(path))),
        }
    }
}

fn name(path: &[String]) -> String {
    format!("context.{}", path.join("."))
}

/// Collects the arguments that a node reads.
fn arguments_of<'n>(node: &'n Node, paths: &mut Vec<&'n [String]>) {
    match node {
        Node::Argument(path) => paths.push(path),
        Node::List(items) | Node::Call(_, items) => {
            items.iter().for_each(|item| arguments_of(item, paths));
        }
        Node::Not(inner) | Node::Negate(inner) => arguments_of(inner, paths),
        Node::Binary(_, sides) => sides.iter().for_each(|side| arguments_of(side, paths)),
        Node::Literal(_) | Node::Variable(_) | Node::Context(_) | Node::Has(_) => {}
    }
}

/// Evaluates comparisons of plain numbers, which most expressions are. Returns nothing for other
/// expressions.
fn quick(node: &Node, facts: ExprFacts<'_>) -> Option<bool> {
    let Node::Binary(op, sides) = node else { return None };
    let [left, right] = &**sides;
    match op {
        BinaryOp::And => Some(quick(left, facts)? && quick(right, facts)?),
        BinaryOp::Or => Some(quick(left, facts)? || quick(right, facts)?),
        _ => {
            let (left, right) = (plain(left, facts)?, plain(right, facts)?);
            match op {
                BinaryOp::Less => Some(left < right),
                BinaryOp::LessEqual => Some(left <= right),
                BinaryOp::Greater => Some(left > right),
                BinaryOp::GreaterEqual => Some(left >= right),
                _ => None,
            }
        }
    }
}

fn plain(node: &Node, facts: ExprFacts<'_>) -> Option<f64> {
    match node {
        Node::Literal(ExprValue::Number(value)) => Some(*value),
        Node::Variable(Variable::Value) => facts.value,
        Node::Variable(Variable::Low) => facts.low,
        Node::Variable(Variable::High) => facts.high,
        Node::Context(path) => lookup(facts.context, path)?.as_f64(),
        _ => None,
    }
}

/// Evaluates a node. An error is the reason that the value is not known.
fn eval(node: &Node, facts: ExprFacts<'_>) -> Result<ExprValue, String> {
    match node {
        Node::Literal(value) => Ok(value.clone()),
        Node::Variable(Variable::Value) => {
            facts.value.map(ExprValue::Number).ok_or_else(|| "no value".into())
        }
        Node::Variable(Variable::Low) => {
            facts.low.map(ExprValue::Number).ok_or_else(|| "no value".into())
        }
        Node::Variable(Variable::High) => {
            facts.high.map(ExprValue::Number).ok_or_else(|| "no value".into())
        }
        Node::Variable(Variable::Named(at)) => {
            facts.named.get(*at).copied().map(ExprValue::Number).ok_or_else(|| "no value".into())
        }
        Node::Variable(Variable::Unit) => facts
            .unit
            .map(|unit| ExprValue::Text(unit.to_owned()))
            .ok_or_else(|| "the number has no unit".into()),
        Node::Variable(Variable::PercentOff) => facts
            .percent_off
            .map(ExprValue::Number)
            .ok_or_else(|| "the number is not a discount".into()),
        Node::Context(path) => match lookup(facts.context, path) {
            Some(json) => ExprValue::of(json, path),
            None => Err(format!("{} is missing", name(path))),
        },
        Node::Argument(path) => {
            match facts.arguments.and_then(|arguments| lookup(arguments, path)) {
                Some(json) => ExprValue::of(json, path),
                None => Err(format!("arguments.{} is missing", path.join("."))),
            }
        }
        Node::Has(path) => Ok(ExprValue::Bool(lookup(facts.context, path).is_some())),
        Node::List(items) => items
            .iter()
            .map(|item| eval(item, facts))
            .collect::<Result<_, _>>()
            .map(ExprValue::List),
        Node::Not(inner) => Ok(ExprValue::Bool(!boolean(eval(inner, facts)?)?)),
        Node::Negate(inner) => Ok(ExprValue::Number(-number(eval(inner, facts)?)?)),
        Node::Binary(op, sides) => binary(*op, &sides[0], &sides[1], facts),
        Node::Call(function, arguments) => {
            let mut numbers = Vec::with_capacity(arguments.len());
            for argument in arguments {
                numbers.push(number(eval(argument, facts)?)?);
            }
            let fold = |f: fn(f64, f64) -> f64| numbers.iter().copied().reduce(f);
            let result = match function {
                Function::Min => fold(f64::min),
                Function::Max => fold(f64::max),
                Function::Abs => numbers.first().map(|n| n.abs()),
            };
            result.map(ExprValue::Number).ok_or_else(|| "no arguments".into())
        }
    }
}

fn binary(
    op: BinaryOp,
    left: &Node,
    right: &Node,
    facts: ExprFacts<'_>,
) -> Result<ExprValue, String> {
    // Kleene logic: if one side decides, the other may be unknown.
    if let BinaryOp::And | BinaryOp::Or = op {
        let settles = op == BinaryOp::Or;
        let left = eval(left, facts).and_then(boolean);
        if left == Ok(settles) {
            return Ok(ExprValue::Bool(settles));
        }
        let right = eval(right, facts).and_then(boolean);
        if right == Ok(settles) {
            return Ok(ExprValue::Bool(settles));
        }
        left?;
        right?;
        return Ok(ExprValue::Bool(!settles));
    }
    let left = eval(left, facts)?;
    let right = eval(right, facts)?;
    let truth = |value: bool| Ok(ExprValue::Bool(value));
    match op {
        BinaryOp::Equal => truth(left == right),
        BinaryOp::NotEqual => truth(left != right),
        BinaryOp::In => match right {
            ExprValue::List(items) => truth(items.contains(&left)),
            other => Err(format!("`in` needs a list, found {}", other.kind())),
        },
        BinaryOp::Less => truth(order(&left, &right)? == Ordering::Less),
        BinaryOp::LessEqual => truth(order(&left, &right)? != Ordering::Greater),
        BinaryOp::Greater => truth(order(&left, &right)? == Ordering::Greater),
        BinaryOp::GreaterEqual => truth(order(&left, &right)? != Ordering::Less),
        BinaryOp::Add => finite(number(left)? + number(right)?),
        BinaryOp::Subtract => finite(number(left)? - number(right)?),
        BinaryOp::Multiply => finite(number(left)? * number(right)?),
        BinaryOp::Divide => finite(number(left)? / number(right)?),
        BinaryOp::And | BinaryOp::Or => Err("unreachable".into()),
    }
}

fn order(left: &ExprValue, right: &ExprValue) -> Result<Ordering, String> {
    match (left, right) {
        (ExprValue::Number(l), ExprValue::Number(r)) => {
            l.partial_cmp(r).ok_or_else(|| "not a number".into())
        }
        (ExprValue::Text(l), ExprValue::Text(r)) => Ok(l.cmp(r)),
        _ => Err(format!("{} cannot be compared with {}", left.kind(), right.kind())),
    }
}

fn finite(value: f64) -> Result<ExprValue, String> {
    if value.is_finite() {
        Ok(ExprValue::Number(value))
    } else {
        Err("the arithmetic has no finite result".into())
    }
}

fn number(value: ExprValue) -> Result<f64, String> {
    match value {
        ExprValue::Number(number) => Ok(number),
        other => Err(format!("expected a number, found {}", other.kind())),
    }
}

fn boolean(value: ExprValue) -> Result<bool, String> {
    match value {
        ExprValue::Bool(value) => Ok(value),
        other => Err(format!("expected true or false, found {}", other.kind())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth(text: &str, context: &str) -> Truth {
        let context: Context = serde_json::from_str(context).unwrap();
        let facts = ExprFacts {
            unit: Some("元"),
            ..ExprFacts::of(&context).with_value(480.0).with_named(&[7.0])
        };
        Expr::parse(text, &["seven".to_owned()])
            .unwrap_or_else(|e| panic!("{text}: {e:?}"))
            .truth(facts)
    }

    #[test]
    fn arithmetic_binds_before_comparison_before_logic() {
        assert_eq!(
            truth("value > context.t * 1.1 and not (unit == '$')", r#"{"t": 420}"#),
            Truth::Yes
        );
        assert_eq!(truth("value - 2 * 30 == 420 || false", "{}"), Truth::Yes);
        assert_eq!(truth("-value < 0 && unit in ['元', 'rmb']", "{}"), Truth::Yes);
        assert_eq!(truth("max(1, value, 3) == value", "{}"), Truth::Yes);
        assert_eq!(truth("low == high and seven == 7", "{}"), Truth::Yes);
        assert_eq!(truth("context.a.b >= 3", r#"{"a": {"b": 2}}"#), Truth::No);
    }

    #[test]
    fn a_missing_fact_is_unknown_only_where_it_decides() {
        assert_eq!(truth("value > context.t", "{}"), Truth::Unknown("context.t is missing".into()));
        assert_eq!(truth("value < 0 and context.t > 1", "{}"), Truth::No);
        assert_eq!(truth("context.t > 1 or value > 0", "{}"), Truth::Yes);
        assert_eq!(truth("has(context.t) and value > context.t", "{}"), Truth::No);
    }

    #[test]
    fn a_fact_of_the_wrong_type_is_unknown_with_a_reason() {
        let Truth::Unknown(why) = truth("value > context.t", r#"{"t": "420"}"#) else {
            panic!("unknown")
        };
        assert!(why.contains("cannot be compared"), "{why}");
        assert!(matches!(truth("value / context.t > 1", r#"{"t": 0}"#), Truth::Unknown(_)));
    }
}

//! Expressions that are true for all values, or for none: `value > 5 and value < 3`.
//!
//! Each variable takes the values at which a comparison of it can change: the literals that it is
//! compared with, and one value between and beyond them. What is not a comparison of a variable with
//! a literal is free to be true or false. An expression that is never true for these values is never
//! true at all, but some contradictions are not found.

use serde_json::Value as Json;

use super::tree::{BinaryOp, ExprValue, Node, Variable};
use crate::syntax::facts::{FactLookup, FactType, Facts};
use crate::syntax::pack::Condition;

/// The greatest number of combinations of values that are tried.
const MAX_COMBINATIONS: usize = 20_000;

/// The values of the context that a rule allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownFacts<'f> {
    /// The conditions under `when`.
    pub(crate) when: &'f [Condition],
    /// The facts that the pack declares.
    pub(crate) declared: Option<&'f Facts>,
}

/// A variable of the analysis.
#[derive(Debug, Clone, PartialEq)]
enum Key {
    /// A variable of the expression.
    Variable(Variable),
    Context(Vec<String>),
    Argument(Vec<String>),
    Has(Vec<String>),
    /// The sign of the difference of two variables.
    Order(Box<[Self; 2]>),
    /// A part of the expression that is not analysed.
    Free(usize),
}

/// A test of one variable.
#[derive(Debug, Clone)]
enum Test {
    Compare(BinaryOp, ExprValue),
    In(Vec<ExprValue>),
    IsTrue,
}

/// The expression as tests of variables.
#[derive(Debug)]
enum Logic {
    Constant(bool),
    Test(usize, Test),
    Not(Box<Self>),
    And(Box<[Self; 2]>),
    Or(Box<[Self; 2]>),
}

/// Returns the truth of `root` if it is the same for all values of its variables.
pub(super) fn constant(root: &Node, known: KnownFacts<'_>) -> Option<bool> {
    let mut keys = Vec::new();
    let logic = logic(root, &mut keys);
    let domains: Vec<Vec<ExprValue>> =
        keys.iter().enumerate().map(|(index, key)| domain(index, key, &logic, known)).collect();
    let combinations = domains.iter().map(Vec::len).try_fold(1_usize, usize::checked_mul)?;
    if combinations == 0 || combinations > MAX_COMBINATIONS {
        return None;
    }
    let mut seen = [false; 2];
    for mut combination in 0..combinations {
        let mut values = Vec::with_capacity(domains.len());
        for domain in &domains {
            values.push(domain.get(combination % domain.len())?);
            combination /= domain.len();
        }
        seen[usize::from(truth(&logic, &values)?)] = true;
    }
    match seen {
        [true, true] => None,
        [_, is_true] => Some(is_true),
    }
}

/// The index of a key, which is added if it is new.
fn index_of(key: Key, keys: &mut Vec<Key>) -> usize {
    keys.iter().position(|known| *known == key).unwrap_or_else(|| {
        keys.push(key);
        keys.len() - 1
    })
}

fn key_of(node: &Node) -> Option<Key> {
    match node {
        Node::Variable(variable) => Some(Key::Variable(*variable)),
        Node::Context(path) => Some(Key::Context(path.clone())),
        Node::Argument(path) => Some(Key::Argument(path.clone())),
        _ => None,
    }
}

fn logic(node: &Node, keys: &mut Vec<Key>) -> Logic {
    match node {
        Node::Literal(ExprValue::Bool(value)) => Logic::Constant(*value),
        Node::Not(inner) => Logic::Not(Box::new(logic(inner, keys))),
        Node::Has(path) => Logic::Test(index_of(Key::Has(path.clone()), keys), Test::IsTrue),
        Node::Binary(op, sides) => {
            let [left, right] = &**sides;
            match op {
                BinaryOp::And => Logic::And(Box::new([logic(left, keys), logic(right, keys)])),
                BinaryOp::Or => Logic::Or(Box::new([logic(left, keys), logic(right, keys)])),
                _ => comparison(*op, left, right, keys),
            }
        }
        _ => match key_of(node) {
            Some(key) => Logic::Test(index_of(key, keys), Test::IsTrue),
            None => free(keys),
        },
    }
}

/// A test that may be true or false.
fn free(keys: &mut Vec<Key>) -> Logic {
    let index = keys.len();
    keys.push(Key::Free(index));
    Logic::Test(index, Test::IsTrue)
}

fn comparison(op: BinaryOp, left: &Node, right: &Node, keys: &mut Vec<Key>) -> Logic {
    let (left_value, right_value) = (literal(left), literal(right));
    match (key_of(left), key_of(right), left_value, right_value) {
        (_, _, Some(left), Some(right)) => {
            compare(op, &left, &right).map_or_else(|| free(keys), Logic::Constant)
        }
        (Some(key), _, _, Some(value)) => {
            let test = match (op, value) {
                (BinaryOp::In, ExprValue::List(items)) => Test::In(items),
                (_, value) => Test::Compare(op, value),
            };
            Logic::Test(index_of(key, keys), test)
        }
        (_, Some(key), Some(value), _) if op != BinaryOp::In => {
            Logic::Test(index_of(key, keys), Test::Compare(turned(op), value))
        }
        (Some(left), Some(right), _, _) if left != right && op != BinaryOp::In => {
            let zero = ExprValue::Number(0.0);
            let turned_key = Key::Order(Box::new([right.clone(), left.clone()]));
            if let Some(index) = keys.iter().position(|known| *known == turned_key) {
                return Logic::Test(index, Test::Compare(turned(op), zero));
            }
            let key = Key::Order(Box::new([left, right]));
            Logic::Test(index_of(key, keys), Test::Compare(op, zero))
        }
        _ => free(keys),
    }
}

/// The operator with its sides exchanged.
const fn turned(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessEqual => BinaryOp::GreaterEqual,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterEqual => BinaryOp::LessEqual,
        op => op,
    }
}

/// The value of a node without variables. Functions are not computed.
fn literal(node: &Node) -> Option<ExprValue> {
    let number = |node: &Node| match literal(node)? {
        ExprValue::Number(number) => Some(number),
        _ => None,
    };
    let value = match node {
        Node::Literal(value) => return Some(value.clone()),
        Node::List(items) => {
            return items.iter().map(literal).collect::<Option<_>>().map(ExprValue::List);
        }
        Node::Negate(inner) => -number(inner)?,
        Node::Binary(op, sides) => {
            let [left, right] = &**sides;
            match op {
                BinaryOp::Add => number(left)? + number(right)?,
                BinaryOp::Subtract => number(left)? - number(right)?,
                BinaryOp::Multiply => number(left)? * number(right)?,
                BinaryOp::Divide => number(left)? / number(right)?,
                _ => return None,
            }
        }
        _ => return None,
    };
    value.is_finite().then_some(ExprValue::Number(value))
}

/// The values that a key is tried with. None if it has no value that is known to be possible.
fn domain(index: usize, key: &Key, logic: &Logic, known: KnownFacts<'_>) -> Vec<ExprValue> {
    let booleans = || vec![ExprValue::Bool(false), ExprValue::Bool(true)];
    let signs = |signs: &[f64]| signs.iter().map(|sign| ExprValue::Number(*sign)).collect();
    match key {
        Key::Has(_) | Key::Free(_) => return booleans(),
        Key::Order(of) => {
            return match &**of {
                // A range has its lower end first.
                [Key::Variable(Variable::Low), Key::Variable(Variable::High | Variable::Value)]
                | [Key::Variable(Variable::Value), Key::Variable(Variable::High)] => {
                    signs(&[-1.0, 0.0])
                }
                [Key::Variable(Variable::High | Variable::Value), Key::Variable(Variable::Low)]
                | [Key::Variable(Variable::High), Key::Variable(Variable::Value)] => {
                    signs(&[0.0, 1.0])
                }
                _ => signs(&[-1.0, 0.0, 1.0]),
            };
        }
        Key::Context(path) => {
            let condition = known.when.iter().find(|condition| condition.path == *path);
            if let Some(condition) = condition {
                return condition.values.iter().filter_map(scalar).collect();
            }
            let declared = known.declared.map(|facts| facts.get(&path.join(".")));
            match declared {
                Some(FactLookup::Declared(FactType::OneOf(values))) => {
                    return values.iter().cloned().map(ExprValue::Text).collect();
                }
                Some(FactLookup::Declared(FactType::Boolean)) => return booleans(),
                _ => {}
            }
        }
        Key::Variable(_) | Key::Argument(_) => {}
    }
    let mut compared = Vec::new();
    collect(index, logic, &mut compared);
    let mut numbers: Vec<f64> = compared
        .iter()
        .filter_map(|value| match value {
            ExprValue::Number(number) => Some(*number),
            _ => None,
        })
        .collect();
    numbers.sort_by(f64::total_cmp);
    let mut values: Vec<ExprValue> =
        compared.into_iter().filter(|value| !matches!(value, ExprValue::Number(_))).collect();
    let is_text = |value: &ExprValue| matches!(value, ExprValue::Text(_));
    if values.iter().any(is_text) {
        // A text that is none of the others.
        values.push(ExprValue::Text("\u{1}".to_owned()));
    }
    if values.iter().any(|value| matches!(value, ExprValue::Bool(_))) {
        values.extend(booleans());
    }
    if let (Some(first), Some(last)) = (numbers.first(), numbers.last()) {
        let between = numbers.iter().zip(numbers.iter().skip(1)).map(|(a, b)| a + (b - a) / 2.0);
        let step = 1.0 + first.abs().max(last.abs());
        let beyond = [first - step, last + step];
        values.extend(numbers.iter().copied().chain(between).chain(beyond).map(ExprValue::Number));
    }
    values
}

/// Collects the values that the key `index` is compared with.
fn collect(index: usize, logic: &Logic, values: &mut Vec<ExprValue>) {
    match logic {
        Logic::Test(key, test) if *key == index => match test {
            Test::Compare(_, value) => values.push(value.clone()),
            Test::In(items) => values.extend(items.iter().cloned()),
            Test::IsTrue => values.push(ExprValue::Bool(true)),
        },
        Logic::Constant(_) | Logic::Test(..) => {}
        Logic::Not(inner) => collect(index, inner, values),
        Logic::And(sides) | Logic::Or(sides) => {
            sides.iter().for_each(|side| collect(index, side, values));
        }
    }
}

fn scalar(value: &Json) -> Option<ExprValue> {
    match value {
        Json::Bool(value) => Some(ExprValue::Bool(*value)),
        Json::Number(number) => number.as_f64().map(ExprValue::Number),
        Json::String(text) => Some(ExprValue::Text(text.clone())),
        _ => None,
    }
}

/// The truth for the values of all keys. `None` if types do not fit, so that nothing is known.
fn truth(logic: &Logic, values: &[&ExprValue]) -> Option<bool> {
    match logic {
        Logic::Constant(value) => Some(*value),
        Logic::Test(key, test) => {
            let value = *values.get(*key)?;
            match test {
                Test::Compare(op, other) => compare(*op, value, other),
                Test::In(items) => Some(items.contains(value)),
                Test::IsTrue => match value {
                    ExprValue::Bool(value) => Some(*value),
                    _ => None,
                },
            }
        }
        Logic::Not(inner) => truth(inner, values).map(|value| !value),
        Logic::And(sides) => Some(truth(&sides[0], values)? & truth(&sides[1], values)?),
        Logic::Or(sides) => Some(truth(&sides[0], values)? | truth(&sides[1], values)?),
    }
}

fn compare(op: BinaryOp, left: &ExprValue, right: &ExprValue) -> Option<bool> {
    use std::cmp::Ordering::{Greater, Less};
    let ordered = || match (left, right) {
        (ExprValue::Number(left), ExprValue::Number(right)) => left.partial_cmp(right),
        (ExprValue::Text(left), ExprValue::Text(right)) => Some(left.cmp(right)),
        _ => None,
    };
    match op {
        BinaryOp::Equal => Some(left == right),
        BinaryOp::NotEqual => Some(left != right),
        BinaryOp::Less => ordered().map(|order| order == Less),
        BinaryOp::LessEqual => ordered().map(|order| order != Greater),
        BinaryOp::Greater => ordered().map(|order| order == Greater),
        BinaryOp::GreaterEqual => ordered().map(|order| order != Less),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::expr::{Expr, ExprFacts, Truth};

    fn constant_of(text: &str) -> Option<bool> {
        let known = KnownFacts { when: &[], declared: None };
        Expr::parse(text, &[]).unwrap().constant(known)
    }

    #[test]
    fn contradictions_and_tautologies_are_found_and_nothing_else() {
        for never in [
            "value > 5 and value < 3",
            "value > 5 and value <= 5",
            "value == 3 and value == 4",
            "5 < value and 3 > value",
            "unit == '元' and unit == 'USD'",
            "unit in ['元'] and unit == 'USD'",
            "context.a > 3 and not (context.a > 2)",
            "value > context.t and value < context.t",
            "value > context.t and context.t > value",
            "low > high",
            "value < low or value > high",
            "1 > 2",
            "value > 3 and 2 > 3",
            "context.vip and not context.vip",
            "value in [1, 2] and value > 10 / 2",
        ] {
            assert_eq!(constant_of(never), Some(false), "{never}");
        }
        for always in ["value > 3 or value <= 3", "unit != '元' or unit != 'USD'", "1 < 2"] {
            assert_eq!(constant_of(always), Some(true), "{always}");
        }
        for open in [
            "value > 3 and value < 5",
            "value > 3 and value < 3.001",
            "value > context.t * 2 and value < context.t",
            "value > context.t and value < context.u",
            "has(context.t) and context.t < 3",
            "unit == '元' and value > 3",
            "context.t == 'a' or context.t == 3",
            "min(value, 3) > 4",
            "value >= 3 and value <= 3",
        ] {
            assert_eq!(constant_of(open), None, "{open}");
        }
    }

    #[test]
    fn conditions_and_declared_values_limit_the_context() {
        let when = Condition { path: vec!["stage".to_owned()], values: vec![Json::from("quote")] };
        let mut facts = Facts::default();
        facts.declare("currency", FactType::OneOf(vec!["CNY".to_owned(), "USD".to_owned()]));
        let when = [when];
        let known = KnownFacts { when: &when, declared: Some(&facts) };
        let of = |text: &str| Expr::parse(text, &[]).unwrap().constant(known);
        assert_eq!(of("context.stage == 'close'"), Some(false));
        assert_eq!(of("context.stage == 'quote'"), Some(true));
        assert_eq!(of("context.currency in ['CNY', 'USD']"), Some(true));
        assert_eq!(of("context.currency == 'CNY'"), None);
    }

    proptest! {
        /// A verdict holds for every value that the expression is evaluated with.
        #[test]
        fn a_verdict_agrees_with_the_evaluation(
            tests in prop::collection::vec((0_usize..4, 0_usize..6, -3_i32..4), 1..5),
            joins in prop::collection::vec(any::<bool>(), 4),
            negated in any::<bool>(),
            value in -5.0_f64..6.0,
            fact in -5_i32..6,
        ) {
            let ops = ["<", "<=", ">", ">=", "==", "!="];
            let mut text = String::new();
            for (index, (kind, op, number)) in tests.iter().enumerate() {
                if index > 0 {
                    text += if joins[index - 1] { " and " } else { " or " };
                }
                let op = ops[*op];
                text += &match kind {
                    0 => format!("value {op} {number}"),
                    1 => format!("{number} {op} context.t"),
                    2 => format!("context.t {op} value"),
                    _ => format!("value {op} context.t + {}", number.abs()),
                };
            }
            if negated {
                text = format!("not ({text})");
            }
            let expr = Expr::parse(&text, &[]).unwrap();
            let verdict = expr.constant(KnownFacts { when: &[], declared: None });
            let context = [("t".to_owned(), Json::from(fact))].into_iter().collect();
            for value in [value, value.round(), f64::from(fact)] {
                let found = expr.truth(ExprFacts::of(&context).with_value(value));
                if let Some(verdict) = verdict {
                    prop_assert_eq!(found, Truth::from(verdict), "{} with {}", text, value);
                }
            }
        }
    }
}

//! Parses expressions: a lexer, an operator-precedence parser, and the types that are known without
//! a context.

use super::error::{
    ExprError, foreign_sign, impossible_value, unknown_fact, unknown_name, unknown_sign,
};
use super::tree::{BinaryOp, ExprValue, Function, Node, Variable};
use crate::syntax::facts::{FactLookup, FactType, Facts};

/// The greatest length of an expression, in characters. It bounds the depth of the tree.
const MAX_CHARS: usize = 500;
const MAX_DEPTH: usize = 32;

/// The variables that an expression uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// Set if it uses `value`, `low`, `high`, `unit` or `percent_off`, which need a capture.
    pub(crate) capture: bool,
    /// Set if it uses `unit` or `percent_off`, which need a unit.
    pub(crate) unit: bool,
    /// Set if it uses `percent_off`, which needs the unit of a discount.
    pub(crate) percent_off: bool,
    /// Set if it uses `arguments.…`, which need a tool call.
    pub(crate) arguments: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum ExprToken {
    Number(f64),
    Text(String),
    Name(String),
    Sign(&'static str),
}

const SIGNS: [&str; 22] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "+", "-", "*", "/", "(", ")", "[", "]", ",", "!",
    "and", "or", "not", "in",
];

/// The names that errors list.
const KNOWN: [&str; 11] = [
    "value",
    "low",
    "high",
    "unit",
    "percent_off",
    "context.…",
    "arguments.…",
    "has(…)",
    "min(…)",
    "max(…)",
    "abs(…)",
];

/// A type, as far as it is known without a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Number,
    Text,
    Bool,
    List,
    Unknown,
}

pub(super) fn parse(
    text: &str,
    names: &[String],
    facts: Option<&Facts>,
) -> Result<(Node, Uses), ExprError> {
    if text.chars().count() > MAX_CHARS {
        return Err(ExprError::new(0, format!("longer than {MAX_CHARS} characters"))
            .help("make it two rules"));
    }
    let mut parser = Parser {
        text,
        tokens: lex(text)?,
        next: 0,
        end: text.len(),
        uses: Uses::default(),
        depth: 0,
        names,
        facts,
    };
    let (node, kind) = parser.expression(0)?;
    if let Some((at, token)) = parser.tokens.get(parser.next) {
        return Err(no_operator(*at, token));
    }
    if !matches!(kind, Type::Bool | Type::Unknown) {
        return Err(ExprError::new(0, "must be true or false, such as a comparison"));
    }
    Ok((node, parser.uses))
}

fn lex(text: &str) -> Result<Vec<(usize, ExprToken)>, ExprError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(c) = rest.chars().next() else { break };
        let length = |f: fn(char) -> bool| rest.find(|c| !f(c)).unwrap_or(rest.len());
        let (token, taken) = if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        } else if c.is_ascii_digit() {
            let taken = length(|c| c.is_ascii_digit() || c == '.');
            let written = rest.get(..taken).unwrap_or_default();
            let value = written
                .parse()
                .map_err(|_| ExprError::new(at, format!("`{written}` is not a number")))?;
            (ExprToken::Number(value), taken)
        } else if c == '\'' || c == '"' {
            let inner = rest.get(1..).unwrap_or_default();
            let end = inner.find(c).ok_or_else(|| {
                ExprError::new(at, "this text is not closed").help(format!("close it with {c}"))
            })?;
            (ExprToken::Text(inner.get(..end).unwrap_or_default().to_owned()), end + 2)
        } else if c.is_ascii_alphabetic() || c == '_' {
            let taken = length(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
            let word = rest.get(..taken).unwrap_or_default();
            let sign = SIGNS.iter().find(|sign| **sign == word);
            (
                sign.map_or_else(|| ExprToken::Name(word.to_owned()), |sign| ExprToken::Sign(sign)),
                taken,
            )
        } else if let Some(error) = foreign_sign(rest, at) {
            return Err(error);
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            (ExprToken::Sign(sign), sign.len())
        } else {
            return Err(unknown_sign(rest, at));
        };
        tokens.push((at, token));
        at += taken;
    }
    Ok(tokens)
}

struct Parser<'n> {
    text: &'n str,
    names: &'n [String],
    facts: Option<&'n Facts>,
    tokens: Vec<(usize, ExprToken)>,
    next: usize,
    end: usize,
    uses: Uses,
    depth: usize,
}

impl Parser<'_> {
    fn peek_sign(&self) -> Option<&'static str> {
        match self.tokens.get(self.next) {
            Some((_, ExprToken::Sign(sign))) => Some(sign),
            _ => None,
        }
    }

    fn place(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(at, _)| *at)
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, ExprError> {
        Err(ExprError::new(self.place(), message))
    }

    fn eat(&mut self, sign: &str) -> Result<(), ExprError> {
        if self.peek_sign() == Some(sign) {
            self.next += 1;
            return Ok(());
        }
        let error = ExprError::new(self.place(), format!("expected `{sign}`"));
        Err(error.help(format!("write `{sign}` here")))
    }

    /// Parses operators that bind at least as tightly as `least`.
    fn expression(&mut self, least: u8) -> Result<(Node, Type), ExprError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.fail("nested too deeply");
        }
        let mut left = self.operand()?;
        // The start of the right side of a comparison, if one was read last.
        let mut compared: Option<usize> = None;
        while let Some((op, power)) =
            self.peek_sign().and_then(operator).filter(|(_, power)| *power >= least)
        {
            let at = self.place();
            self.next += 1;
            let start = self.place();
            let right = self.expression(power + 1)?;
            let kind = typed(op, left.1, right.1).map_err(|message| match compared {
                Some(middle) if power == COMPARISON => self.chained(middle, at),
                _ => ExprError::new(at, message).help(mismatch(left.1, right.1)),
            })?;
            self.possible(op, &left.0, &right.0, at)?;
            if op == BinaryOp::Divide && is_zero(&right.0) {
                let error = ExprError::new(at, "divides by zero");
                return Err(error.help("write another divisor; a half is `value / 2`"));
            }
            compared = (power == COMPARISON).then_some(start);
            left = (Node::Binary(op, Box::new([left.0, right.0])), kind);
        }
        self.depth -= 1;
        Ok(left)
    }

    /// The error of a comparison whose left side is a comparison, as in `1 < value < 3`. `middle` is
    /// the start of the value between the two, `at` the second sign.
    fn chained(&self, middle: usize, at: usize) -> ExprError {
        let middle = self.text.get(middle..at).unwrap_or_default().trim_end();
        let begin = self.text.get(..at).unwrap_or_default().trim_end();
        let end = self.text.get(at..).unwrap_or_default();
        ExprError::new(at, "comparisons cannot be chained")
            .help(format!("write `{begin} and {middle} {end}`"))
            .fix(at..at, &format!("and {middle} "))
    }

    fn operand(&mut self) -> Result<(Node, Type), ExprError> {
        let at = self.place();
        let Some((_, token)) = self.tokens.get(self.next).cloned() else {
            return self.fail("the expression ends here; expected a value");
        };
        self.next += 1;
        match token {
            ExprToken::Number(value) => Ok((Node::Literal(ExprValue::Number(value)), Type::Number)),
            ExprToken::Text(text) => Ok((Node::Literal(ExprValue::Text(text)), Type::Text)),
            ExprToken::Name(name) => self.name(&name, at),
            ExprToken::Sign("(") => {
                let inner = self.expression(0)?;
                self.eat(")")?;
                Ok(inner)
            }
            ExprToken::Sign("[") => {
                let items = self.arguments("]")?;
                Ok((Node::List(items.into_iter().map(|(node, _)| node).collect()), Type::List))
            }
            ExprToken::Sign("-") => {
                let (inner, kind) = self.expression(6)?;
                expect(Type::Number, kind).map_err(|message| ExprError::new(at, message))?;
                Ok((Node::Negate(Box::new(inner)), Type::Number))
            }
            ExprToken::Sign("not" | "!") => {
                let (inner, kind) = self.expression(3)?;
                expect(Type::Bool, kind).map_err(|message| ExprError::new(at, message))?;
                Ok((Node::Not(Box::new(inner)), Type::Bool))
            }
            ExprToken::Sign(sign) => {
                Err(ExprError::new(at, format!("expected a value, found `{sign}`")))
            }
        }
    }

    fn name(&mut self, name: &str, at: usize) -> Result<(Node, Type), ExprError> {
        if let Some(path) = name.strip_prefix("context.") {
            let kind = self.fact(path, at)?;
            return Ok((Node::Context(split(path, at)?), kind));
        }
        if let Some(path) = name.strip_prefix("arguments.") {
            self.uses.arguments = true;
            return Ok((Node::Argument(split(path, at)?), Type::Unknown));
        }
        let function = match name {
            "true" => return Ok((Node::Literal(ExprValue::Bool(true)), Type::Bool)),
            "false" => return Ok((Node::Literal(ExprValue::Bool(false)), Type::Bool)),
            "value" => {
                self.uses.capture = true;
                return Ok((Node::Variable(Variable::Value), Type::Number));
            }
            "low" | "high" => {
                self.uses.capture = true;
                let variable = if name == "low" { Variable::Low } else { Variable::High };
                return Ok((Node::Variable(variable), Type::Number));
            }
            "unit" => {
                self.uses = Uses { capture: true, unit: true, ..self.uses };
                return Ok((Node::Variable(Variable::Unit), Type::Text));
            }
            "percent_off" => {
                self.uses = Uses { capture: true, unit: true, percent_off: true, ..self.uses };
                return Ok((Node::Variable(Variable::PercentOff), Type::Number));
            }
            "has" => {
                self.eat("(")?;
                let Some((at, ExprToken::Name(inner))) = self.tokens.get(self.next).cloned() else {
                    return Err(wrong_has(self.place()));
                };
                let Some(path) = inner.strip_prefix("context.") else {
                    return Err(wrong_has(self.place()));
                };
                self.next += 1;
                self.known_fact(path, at)?;
                self.eat(")")?;
                return Ok((Node::Has(split(path, at)?), Type::Bool));
            }
            "min" => Function::Min,
            "max" => Function::Max,
            "abs" => Function::Abs,
            _ => {
                if let Some(index) = self.names.iter().position(|known| known == name) {
                    return Ok((Node::Variable(Variable::Named(index)), Type::Number));
                }
                let own = self.names.iter().map(String::as_str);
                let known: Vec<&str> = own.chain(KNOWN).collect();
                return Err(unknown_name(name, at, &known));
            }
        };
        self.eat("(")?;
        let arguments = self.arguments(")")?;
        if arguments.is_empty() || (function == Function::Abs && arguments.len() != 1) {
            let message = format!("`{name}` got {} arguments", arguments.len());
            let help = "abs takes one number, min and max take at least one: min(value, 3)";
            return Err(ExprError::new(at, message).help(help));
        }
        for (_, kind) in &arguments {
            expect(Type::Number, *kind).map_err(|message| ExprError::new(at, message))?;
        }
        Ok((
            Node::Call(function, arguments.into_iter().map(|(node, _)| node).collect()),
            Type::Number,
        ))
    }

    /// Refuses a fact that the pack does not declare. `at` is its place.
    fn known_fact(&self, path: &str, at: usize) -> Result<(), ExprError> {
        match self.facts {
            Some(facts) if matches!(facts.get(path), FactLookup::Unknown) => {
                Err(unknown_fact(facts, path, at))
            }
            _ => Ok(()),
        }
    }

    /// The type of a fact, as far as it is declared.
    fn fact(&self, path: &str, at: usize) -> Result<Type, ExprError> {
        self.known_fact(path, at)?;
        Ok(match self.facts.map(|facts| facts.get(path)) {
            Some(FactLookup::Declared(FactType::Number)) => Type::Number,
            Some(FactLookup::Declared(FactType::Text | FactType::OneOf(_))) => Type::Text,
            Some(FactLookup::Declared(FactType::Boolean)) => Type::Bool,
            Some(FactLookup::Declared(FactType::List)) => Type::List,
            _ => Type::Unknown,
        })
    }

    /// Refuses a comparison with a text that a declared fact cannot have.
    fn possible(
        &self,
        op: BinaryOp,
        left: &Node,
        right: &Node,
        at: usize,
    ) -> Result<(), ExprError> {
        let (path, compared) = match (op, left, right) {
            (BinaryOp::Equal | BinaryOp::NotEqual, Node::Context(path), other)
            | (BinaryOp::Equal | BinaryOp::NotEqual, other, Node::Context(path)) => {
                (path, std::slice::from_ref(other))
            }
            (BinaryOp::In, Node::Context(path), Node::List(items)) => (path, items.as_slice()),
            _ => return Ok(()),
        };
        let path = path.join(".");
        let Some(FactLookup::Declared(FactType::OneOf(values))) =
            self.facts.map(|facts| facts.get(&path))
        else {
            return Ok(());
        };
        let wrong = compared.iter().find_map(|node| match node {
            Node::Literal(ExprValue::Text(text)) if !values.contains(text) => Some(text),
            _ => None,
        });
        match wrong {
            Some(text) => Err(impossible_value(&path, values, text, at)),
            None => Ok(()),
        }
    }

    fn arguments(&mut self, close: &str) -> Result<Vec<(Node, Type)>, ExprError> {
        let mut items = Vec::new();
        while self.peek_sign() != Some(close) {
            if !items.is_empty() {
                self.eat(",")?;
            }
            items.push(self.expression(0)?);
        }
        self.next += 1;
        Ok(items)
    }
}

fn wrong_has(at: usize) -> ExprError {
    ExprError::new(at, "`has` takes a context value").help("such as has(context.target_price)")
}

fn split(path: &str, at: usize) -> Result<Vec<String>, ExprError> {
    let parts: Vec<String> = path.split('.').map(str::to_owned).collect();
    if parts.iter().any(String::is_empty) {
        return Err(ExprError::new(at, format!("`context.{path}` has an empty part")));
    }
    Ok(parts)
}

/// The power of comparisons.
const COMPARISON: u8 = 3;

/// Returns true if a node is zero whatever the context is.
fn is_zero(node: &Node) -> bool {
    match node {
        Node::Literal(ExprValue::Number(value)) => value.classify() == std::num::FpCategory::Zero,
        Node::Negate(inner) => is_zero(inner),
        Node::Binary(BinaryOp::Multiply, sides) => sides.iter().any(is_zero),
        _ => false,
    }
}

/// The help for a comparison of two types.
const fn mismatch(left: Type, right: Type) -> &'static str {
    match (left, right) {
        (Type::Bool, _) | (_, Type::Bool) => {
            "combine what is true or false with `and`, `or` and `not`"
        }
        (Type::List, _) | (_, Type::List) => "look for a value in a list with `in`",
        _ => "both sides must be of one type: numbers have no quotes",
    }
}

fn operator(sign: &str) -> Option<(BinaryOp, u8)> {
    Some(match sign {
        "or" | "||" => (BinaryOp::Or, 1),
        "and" | "&&" => (BinaryOp::And, 2),
        "==" => (BinaryOp::Equal, COMPARISON),
        "!=" => (BinaryOp::NotEqual, COMPARISON),
        "<" => (BinaryOp::Less, COMPARISON),
        "<=" => (BinaryOp::LessEqual, COMPARISON),
        ">" => (BinaryOp::Greater, COMPARISON),
        ">=" => (BinaryOp::GreaterEqual, COMPARISON),
        "in" => (BinaryOp::In, COMPARISON),
        "+" => (BinaryOp::Add, 4),
        "-" => (BinaryOp::Subtract, 4),
        "*" => (BinaryOp::Multiply, 5),
        "/" => (BinaryOp::Divide, 5),
        _ => return None,
    })
}

fn typed(op: BinaryOp, left: Type, right: Type) -> Result<Type, String> {
    match op {
        BinaryOp::Or | BinaryOp::And => {
            expect(Type::Bool, left)?;
            expect(Type::Bool, right)?;
            Ok(Type::Bool)
        }
        BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply | BinaryOp::Divide => {
            expect(Type::Number, left)?;
            expect(Type::Number, right)?;
            Ok(Type::Number)
        }
        BinaryOp::In => {
            expect(Type::List, right)?;
            Ok(Type::Bool)
        }
        _ => {
            let is_order = !matches!(op, BinaryOp::Equal | BinaryOp::NotEqual);
            let has_order = |side| !matches!(side, Type::Bool | Type::List);
            if is_order && !(has_order(left) && has_order(right)) {
                return Err(format!("compares {} with {}", called(left), called(right)));
            }
            if left != right && left != Type::Unknown && right != Type::Unknown {
                return Err(format!("compares {} with {}", called(left), called(right)));
            }
            Ok(Type::Bool)
        }
    }
}

fn expect(wanted: Type, found: Type) -> Result<(), String> {
    if found == wanted || found == Type::Unknown {
        return Ok(());
    }
    Err(format!("needs {}, found {}", called(wanted), called(found)))
}

const fn called(kind: Type) -> &'static str {
    match kind {
        Type::Number => "a number",
        Type::Text => "text",
        Type::Bool => "true or false",
        Type::List => "a list",
        Type::Unknown => "a context value",
    }
}

/// The error of a value where an operator must stand.
fn no_operator(at: usize, token: &ExprToken) -> ExprError {
    let shown = match token {
        ExprToken::Number(value) => format!("`{value}`"),
        ExprToken::Text(text) => format!("`'{text}'`"),
        ExprToken::Name(name) => format!("`{name}`"),
        ExprToken::Sign(sign) => format!("`{sign}`"),
    };
    let error = ExprError::new(at, format!("expected an operator, found {shown}"));
    match token {
        ExprToken::Sign(",") => error.help("write numbers without commas, such as 1000"),
        ExprToken::Name(name) if ["and", "or", "not", "in"].contains(&&*name.to_lowercase()) => {
            let lower = name.to_lowercase();
            let help = format!("operators are lower-case: `{lower}`");
            error.help(help).fix(at..at + name.len(), &lower)
        }
        ExprToken::Name(name) if name == "is" => {
            error.help("compare with `==`").fix(at..at + 2, "==")
        }
        _ => error.help("combine comparisons with `and` or `or`"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_wrong_expression_is_refused_at_its_place() {
        let at = |text: &str| parse(text, &[], None).unwrap_err().at;
        assert_eq!(at("value >"), 7);
        assert_eq!(at("value > context.t 3"), 18);
        assert_eq!(at("price > 3"), 0);
        assert_eq!(at("value > 'x'"), 6);
        assert_eq!(at("value + 1"), 0);
        assert_eq!(at("value > 3 @"), 10);
    }

    #[test]
    fn depth_is_bounded() {
        assert!(
            parse(&format!("{}1{} == 1", "(".repeat(200), ")".repeat(200)), &[], None).is_err()
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[a-z0-9 .,()\\[\\]<>=!'+*/-]{0,80}") {
            let _ = parse(&text, &[], None);
        }
    }
}

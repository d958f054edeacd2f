//! Text to expression: a lexer, a parser by binding power, and the types that can be known before there is a context.

use super::{Function, Node, Op, Value, Variable};
use guerdon_text::nearest;

/// Long enough for any rule; keeps the tree's depth harmless.
const MAX_CHARS: usize = 500;
const MAX_DEPTH: usize = 32;

/// An expression that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExprError {
    /// Where, in bytes of the expression.
    pub(crate) at: usize,
    pub(crate) message: String,
}

/// Which variables an expression speaks of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// `value`, `low`, `high`, `unit` or `percent_off`: there must be a capture.
    pub(crate) capture: bool,
    /// `unit` or `percent_off`: there must be a unit.
    pub(crate) unit: bool,
    /// `percent_off`: the unit must be a discount's.
    pub(crate) percent_off: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(f64),
    Text(String),
    Name(String),
    Sign(&'static str),
}

const SIGNS: [&str; 22] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "+", "-", "*", "/", "(", ")", "[", "]", ",", "!",
    "and", "or", "not", "in",
];

/// What may be named, for errors.
const KNOWN: [&str; 10] = [
    "value",
    "low",
    "high",
    "unit",
    "percent_off",
    "context.…",
    "has(…)",
    "min(…)",
    "max(…)",
    "abs(…)",
];

/// What can be known of a type while there is no context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Number,
    Text,
    Bool,
    List,
    Unknown,
}

pub(super) fn parse(text: &str, names: &[String]) -> Result<(Node, Uses), ExprError> {
    if text.chars().count() > MAX_CHARS {
        return Err(ExprError { at: 0, message: format!("longer than {MAX_CHARS} characters") });
    }
    let mut parser = Parser {
        tokens: lex(text)?,
        next: 0,
        end: text.len(),
        uses: Uses::default(),
        depth: 0,
        names,
    };
    let (node, kind) = parser.expression(0)?;
    if let Some((at, token)) = parser.tokens.get(parser.next) {
        return Err(ExprError {
            at: *at,
            message: format!("expected an operator, found {}", shown(token)),
        });
    }
    if !matches!(kind, Type::Bool | Type::Unknown) {
        return Err(ExprError {
            at: 0,
            message: "must be true or false, such as a comparison".into(),
        });
    }
    Ok((node, parser.uses))
}

fn lex(text: &str) -> Result<Vec<(usize, Token)>, ExprError> {
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
                .map_err(|_| ExprError { at, message: format!("`{written}` is no number") })?;
            (Token::Number(value), taken)
        } else if c == '\'' || c == '"' {
            let inner = rest.get(1..).unwrap_or_default();
            let end = inner
                .find(c)
                .ok_or_else(|| ExprError { at, message: "this text is not closed".into() })?;
            (Token::Text(inner.get(..end).unwrap_or_default().to_owned()), end + 2)
        } else if c.is_ascii_alphabetic() || c == '_' {
            let taken = length(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
            let word = rest.get(..taken).unwrap_or_default();
            let sign = SIGNS.iter().find(|sign| **sign == word);
            (sign.map_or_else(|| Token::Name(word.to_owned()), |sign| Token::Sign(sign)), taken)
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            (Token::Sign(sign), sign.len())
        } else {
            return Err(ExprError { at, message: format!("`{c}` means nothing here") });
        };
        tokens.push((at, token));
        at += taken;
    }
    Ok(tokens)
}

struct Parser<'n> {
    names: &'n [String],
    tokens: Vec<(usize, Token)>,
    next: usize,
    end: usize,
    uses: Uses,
    depth: usize,
}

impl Parser<'_> {
    fn peek_sign(&self) -> Option<&'static str> {
        match self.tokens.get(self.next) {
            Some((_, Token::Sign(sign))) => Some(sign),
            _ => None,
        }
    }

    fn place(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(at, _)| *at)
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, ExprError> {
        Err(ExprError { at: self.place(), message: message.into() })
    }

    fn eat(&mut self, sign: &str) -> Result<(), ExprError> {
        if self.peek_sign() == Some(sign) {
            self.next += 1;
            return Ok(());
        }
        self.fail(format!("expected `{sign}`"))
    }

    /// Everything that binds at least as tightly as `least`.
    fn expression(&mut self, least: u8) -> Result<(Node, Type), ExprError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.fail("nested too deeply");
        }
        let mut left = self.operand()?;
        while let Some((op, power)) =
            self.peek_sign().and_then(operator).filter(|(_, power)| *power >= least)
        {
            let at = self.place();
            self.next += 1;
            let right = self.expression(power + 1)?;
            let kind = typed(op, left.1, right.1).map_err(|message| ExprError { at, message })?;
            left = (Node::Binary(op, Box::new([left.0, right.0])), kind);
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operand(&mut self) -> Result<(Node, Type), ExprError> {
        let at = self.place();
        let Some((_, token)) = self.tokens.get(self.next).cloned() else {
            return self.fail("the expression ends here; expected a value");
        };
        self.next += 1;
        match token {
            Token::Number(value) => Ok((Node::Literal(Value::Number(value)), Type::Number)),
            Token::Text(text) => Ok((Node::Literal(Value::Text(text)), Type::Text)),
            Token::Name(name) => self.name(&name, at),
            Token::Sign("(") => {
                let inner = self.expression(0)?;
                self.eat(")")?;
                Ok(inner)
            }
            Token::Sign("[") => {
                let items = self.arguments("]")?;
                Ok((Node::List(items.into_iter().map(|(node, _)| node).collect()), Type::List))
            }
            Token::Sign("-") => {
                let (inner, kind) = self.expression(6)?;
                expect(Type::Number, kind).map_err(|message| ExprError { at, message })?;
                Ok((Node::Negate(Box::new(inner)), Type::Number))
            }
            Token::Sign("not" | "!") => {
                let (inner, kind) = self.expression(3)?;
                expect(Type::Bool, kind).map_err(|message| ExprError { at, message })?;
                Ok((Node::Not(Box::new(inner)), Type::Bool))
            }
            Token::Sign(sign) => {
                Err(ExprError { at, message: format!("expected a value, found `{sign}`") })
            }
        }
    }

    fn name(&mut self, name: &str, at: usize) -> Result<(Node, Type), ExprError> {
        if let Some(path) = name.strip_prefix("context.") {
            return Ok((Node::Context(split(path, at)?), Type::Unknown));
        }
        let function = match name {
            "true" => return Ok((Node::Literal(Value::Bool(true)), Type::Bool)),
            "false" => return Ok((Node::Literal(Value::Bool(false)), Type::Bool)),
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
                self.uses = Uses { capture: true, unit: true, percent_off: true };
                return Ok((Node::Variable(Variable::PercentOff), Type::Number));
            }
            "has" => {
                self.eat("(")?;
                let Some((at, Token::Name(inner))) = self.tokens.get(self.next).cloned() else {
                    return self
                        .fail("`has` asks for a context value, such as has(context.target_price)");
                };
                let Some(path) = inner.strip_prefix("context.") else {
                    return self
                        .fail("`has` asks for a context value, such as has(context.target_price)");
                };
                self.next += 1;
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
                let message = match nearest(name, known.iter().copied()) {
                    Some(near) => format!("not known; did you mean `{near}`?"),
                    None => format!("not known; there are {}", known.join(", ")),
                };
                return Err(ExprError { at, message });
            }
        };
        self.eat("(")?;
        let arguments = self.arguments(")")?;
        if arguments.is_empty() || (function == Function::Abs && arguments.len() != 1) {
            return Err(ExprError {
                at,
                message: format!("`{name}` got {} arguments", arguments.len()),
            });
        }
        for (_, kind) in &arguments {
            expect(Type::Number, *kind).map_err(|message| ExprError { at, message })?;
        }
        Ok((
            Node::Call(function, arguments.into_iter().map(|(node, _)| node).collect()),
            Type::Number,
        ))
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

fn split(path: &str, at: usize) -> Result<Vec<String>, ExprError> {
    let parts: Vec<String> = path.split('.').map(str::to_owned).collect();
    if parts.iter().any(String::is_empty) {
        return Err(ExprError { at, message: format!("`context.{path}` has an empty part") });
    }
    Ok(parts)
}

fn operator(sign: &str) -> Option<(Op, u8)> {
    Some(match sign {
        "or" | "||" => (Op::Or, 1),
        "and" | "&&" => (Op::And, 2),
        "==" => (Op::Equal, 3),
        "!=" => (Op::NotEqual, 3),
        "<" => (Op::Less, 3),
        "<=" => (Op::LessEqual, 3),
        ">" => (Op::Greater, 3),
        ">=" => (Op::GreaterEqual, 3),
        "in" => (Op::In, 3),
        "+" => (Op::Add, 4),
        "-" => (Op::Subtract, 4),
        "*" => (Op::Multiply, 5),
        "/" => (Op::Divide, 5),
        _ => return None,
    })
}

fn typed(op: Op, left: Type, right: Type) -> Result<Type, String> {
    match op {
        Op::Or | Op::And => {
            expect(Type::Bool, left)?;
            expect(Type::Bool, right)?;
            Ok(Type::Bool)
        }
        Op::Add | Op::Subtract | Op::Multiply | Op::Divide => {
            expect(Type::Number, left)?;
            expect(Type::Number, right)?;
            Ok(Type::Number)
        }
        Op::In => {
            expect(Type::List, right)?;
            Ok(Type::Bool)
        }
        _ => {
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

fn shown(token: &Token) -> String {
    match token {
        Token::Number(value) => format!("`{value}`"),
        Token::Text(text) => format!("`'{text}'`"),
        Token::Name(name) => format!("`{name}`"),
        Token::Sign(sign) => format!("`{sign}`"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_wrong_expression_is_refused_at_its_place() {
        let at = |text: &str| parse(text, &[]).unwrap_err().at;
        assert_eq!(at("value >"), 7);
        assert_eq!(at("value > context.t 3"), 18);
        assert_eq!(at("price > 3"), 0);
        assert_eq!(at("value > 'x'"), 6);
        assert_eq!(at("value + 1"), 0);
        assert_eq!(at("value > 3 @"), 10);
    }

    #[test]
    fn depth_is_bounded() {
        assert!(parse(&format!("{}1{} == 1", "(".repeat(200), ")".repeat(200)), &[]).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z0-9 .,()\\[\\]<>=!'+*/-]{0,80}") {
            let _ = parse(&text, &[]);
        }
    }
}

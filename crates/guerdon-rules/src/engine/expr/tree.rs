//! The syntax tree of an expression and its literal values.

/// A node of an expression tree.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Literal(ExprValue),
    Variable(Variable),
    Context(Vec<String>),
    Has(Vec<String>),
    /// An argument of a tool call.
    Argument(Vec<String>),
    List(Vec<Self>),
    Not(Box<Self>),
    Negate(Box<Self>),
    Binary(BinaryOp, Box<[Self; 2]>),
    Call(Function, Vec<Self>),
}

/// A variable of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variable {
    Value,
    Low,
    High,
    Unit,
    PercentOff,
    /// One of the rule's own names, by its index.
    Named(usize),
}

/// A built-in function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Min,
    Max,
    Abs,
}

/// A binary operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BinaryOp {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// A literal, or the value of a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ExprValue {
    Number(f64),
    Text(String),
    Bool(bool),
    List(Vec<Self>),
}

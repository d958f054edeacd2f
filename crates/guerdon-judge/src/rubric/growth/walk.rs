//! The assignments of a template, read from its syntax tree.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use minijinja::machinery::Span;
use minijinja::machinery::ast::{BinOpKind, Call, CallArg, Expr, Macro, Spanned, Stmt};

use super::flow::{Flow, Name};
use super::graph::Assignment;

/// Filters that return a number, a text or a list of texts.
const PLAIN_FILTERS: [&str; 31] = [
    "abs",
    "bool",
    "capitalize",
    "center",
    "count",
    "e",
    "escape",
    "filesizeformat",
    "float",
    "format",
    "indent",
    "int",
    "join",
    "length",
    "lines",
    "lower",
    "pprint",
    "replace",
    "round",
    "safe",
    "split",
    "string",
    "striptags",
    "title",
    "tojson",
    "trim",
    "truncate",
    "upper",
    "urlencode",
    "wordcount",
    "wordwrap",
];
/// Filters that return their value, an item of it, or some of its items.
const SAME_FILTERS: [&str; 17] = [
    "d",
    "default",
    "first",
    "last",
    "list",
    "map",
    "max",
    "min",
    "random",
    "reject",
    "rejectattr",
    "reverse",
    "select",
    "selectattr",
    "sort",
    "unique",
    "attr",
];

/// A walk through a template.
#[derive(Debug, Default)]
pub(super) struct Walk<'a> {
    pub(super) assignments: Vec<Assignment<'a>>,
    pub(super) is_fixed: bool,
    /// The variables that are namespaces.
    namespaces: BTreeSet<&'a str>,
    /// The attributes that namespaces are given.
    attributes: BTreeSet<&'a str>,
    /// The parameters of each macro, and the targets of recursive loops as those of `loop`.
    parameters: BTreeMap<&'a str, Vec<Name<'a>>>,
    /// The variables that hold parts of the rubric.
    rubric: BTreeSet<&'a str>,
}

impl<'a> Walk<'a> {
    pub(super) fn of(template: &Stmt<'a>) -> Self {
        let mut walk = Self {
            is_fixed: true,
            rubric: BTreeSet::from(["criteria", "examples"]),
            ..Self::default()
        };
        // Names may be used before they are declared, such as those of a macro that calls another.
        walk.statement(template);
        walk.assignments.clear();
        walk.statement(template);
        walk
    }

    fn statements(&mut self, statements: &[Stmt<'a>]) {
        statements.iter().for_each(|one| self.statement(one));
    }

    fn statement(&mut self, statement: &Stmt<'a>) {
        match statement {
            Stmt::Template(one) => self.statements(&one.children),
            Stmt::EmitExpr(one) => drop(self.flow(&one.expr)),
            Stmt::ForLoop(one) => {
                self.is_fixed &= !one.recursive && self.is_of_rubric(&one.iter);
                let names = targets(&one.target);
                if self.is_fixed {
                    self.rubric.extend(names.iter().map(|name| name.text()));
                }
                if one.recursive {
                    self.parameters.entry("loop").or_default().extend(&names);
                }
                let flow = self.flow(&one.iter);
                self.assign(&names, &flow, one.span());
                one.filter_expr.iter().for_each(|filter| drop(self.flow(filter)));
                self.statements(&one.body);
                self.statements(&one.else_body);
            }
            Stmt::IfCond(one) => {
                self.flow(&one.expr);
                self.statements(&one.true_body);
                self.statements(&one.false_body);
            }
            Stmt::WithBlock(one) => {
                for (target, value) in &one.assignments {
                    let flow = self.flow(value);
                    self.assign(&targets(target), &flow, one.span());
                }
                self.statements(&one.body);
            }
            Stmt::Set(one) => {
                if let (Expr::Var(name), Expr::Call(call)) = (&one.target, &one.expr)
                    && is_function(call, "namespace")
                {
                    self.namespaces.insert(name.id);
                }
                let flow = self.flow(&one.expr);
                let names = targets(&one.target);
                self.attributes.extend(names.iter().filter_map(|name| match name {
                    Name::Attribute(name) => Some(*name),
                    Name::Variable(_) => None,
                }));
                self.assign(&names, &flow, one.span());
            }
            // A block is a text.
            Stmt::SetBlock(one) => self.statements(&one.body),
            Stmt::AutoEscape(one) => self.statements(&one.body),
            Stmt::FilterBlock(one) => self.statements(&one.body),
            Stmt::Block(one) => self.statements(&one.body),
            Stmt::Macro(one) => self.macro_(one, one.name),
            Stmt::CallBlock(one) => {
                self.macro_(&one.macro_decl, "caller");
                self.call(&one.call);
            }
            Stmt::Do(one) => drop(self.call(&one.call)),
            // Nothing can be imported, because there is one file.
            _ => {}
        }
    }

    fn macro_(&mut self, one: &Macro<'a>, name: &'a str) {
        self.is_fixed = false;
        let names: Vec<Name<'a>> = one.args.iter().flat_map(targets).collect();
        self.parameters.insert(name, names);
        one.defaults.iter().for_each(|value| drop(self.flow(value)));
        self.statements(&one.body);
    }

    fn assign(&mut self, names: &[Name<'a>], flow: &Flow<'a>, span: Span) {
        let place = range(span);
        for target in names {
            let (target, flow, place) = (*target, flow.clone(), place.clone());
            self.assignments.push(Assignment { target, flow, place });
        }
    }

    /// The variables that the value of `expression` may hold.
    fn flow(&mut self, expression: &Expr<'a>) -> Flow<'a> {
        match expression {
            Expr::Var(one) => {
                let own = Flow::of(Name::Variable(one.id));
                if self.namespaces.contains(one.id) { own.and(self.all_attributes()) } else { own }
            }
            Expr::Const(_) => Flow::default(),
            Expr::Slice(one) => self.flow(&one.expr),
            Expr::UnaryOp(one) => {
                self.flow(&one.expr);
                Flow::default()
            }
            Expr::BinOp(one) => {
                let (left, right) = (self.flow(&one.left), self.flow(&one.right));
                match one.op {
                    BinOpKind::Add => left.and(right),
                    BinOpKind::Mul => left.and(right).repeated(),
                    BinOpKind::ScAnd | BinOpKind::ScOr => left.or(right),
                    _ => Flow::default(),
                }
            }
            Expr::Compare(one) => {
                self.flow(&one.expr);
                one.ops.iter().for_each(|op| drop(self.flow(&op.expr)));
                Flow::default()
            }
            Expr::IfExpr(one) => {
                self.flow(&one.test_expr);
                let (yes, no) = (self.flow(&one.true_expr), one.false_expr.as_ref());
                yes.or(no.map(|no| self.flow(no)).unwrap_or_default())
            }
            Expr::Filter(one) => {
                let own = one.expr.as_ref().map(|value| self.flow(value)).unwrap_or_default();
                let arguments = self.arguments(&one.args);
                if PLAIN_FILTERS.contains(&one.name) {
                    Flow::default()
                } else if SAME_FILTERS.contains(&one.name) {
                    own.or(arguments)
                } else {
                    own.and(arguments).nested()
                }
            }
            Expr::Test(one) => {
                self.flow(&one.expr);
                self.arguments(&one.args);
                Flow::default()
            }
            Expr::GetAttr(one) => {
                let named = self.attribute(one.name);
                self.owner(&one.expr).or(named)
            }
            Expr::GetItem(one) => {
                self.flow(&one.subscript_expr);
                let named = match &one.subscript_expr {
                    Expr::Const(key) => match key.value.as_str() {
                        Some(key) => self.attribute_named(key),
                        None => Flow::default(),
                    },
                    _ => self.all_attributes(),
                };
                self.owner(&one.expr).or(named)
            }
            Expr::Call(one) => self.call(one),
            Expr::List(one) => self.joined(&one.items).nested(),
            Expr::Tuple(one) => self.joined(&one.items).nested(),
            Expr::Map(one) => {
                self.joined(&one.keys);
                self.joined(&one.values).nested()
            }
        }
    }

    fn joined(&mut self, items: &[Expr<'a>]) -> Flow<'a> {
        items.iter().fold(Flow::default(), |all, item| all.and(self.flow(item)))
    }

    /// The flow of a value of which an attribute is read. What a namespace holds is known by the
    /// attribute, and `loop` holds numbers.
    fn owner(&mut self, expression: &Expr<'a>) -> Flow<'a> {
        match expression {
            Expr::Var(one) if one.id == "loop" || self.namespaces.contains(one.id) => {
                Flow::default()
            }
            other => self.flow(other),
        }
    }

    fn attribute(&self, name: &'a str) -> Flow<'a> {
        if self.attributes.contains(name) {
            Flow::of(Name::Attribute(name))
        } else {
            Flow::default()
        }
    }

    fn attribute_named(&self, name: &str) -> Flow<'a> {
        self.attributes.get(name).map(|name| Flow::of(Name::Attribute(name))).unwrap_or_default()
    }

    fn all_attributes(&self) -> Flow<'a> {
        let each = self.attributes.iter().map(|name| Flow::of(Name::Attribute(name)));
        each.fold(Flow::default(), Flow::and).nested()
    }

    fn arguments(&mut self, arguments: &[CallArg<'a>]) -> Flow<'a> {
        arguments.iter().fold(Flow::default(), |all, argument| {
            let (CallArg::Pos(value)
            | CallArg::Kwarg(_, value)
            | CallArg::PosSplat(value)
            | CallArg::KwargSplat(value)) = argument;
            all.and(self.flow(value))
        })
    }

    fn call(&mut self, call: &Spanned<Call<'a>>) -> Flow<'a> {
        if is_function(call, "namespace") {
            for argument in &call.args {
                let CallArg::Kwarg(name, value) = argument else { continue };
                self.attributes.insert(name);
                let flow = self.flow(value);
                self.assign(&[Name::Attribute(name)], &flow, call.span());
            }
        }
        let arguments = self.arguments(&call.args);
        match &call.expr {
            Expr::Var(name) if name.id == "range" => Flow::default(),
            Expr::Var(name) if matches!(name.id, "namespace" | "dict") => arguments.nested(),
            // A macro, a recursive loop or a caller, which return a text.
            Expr::Var(name) => {
                self.is_fixed = false;
                self.pass(name.id, call);
                Flow::default()
            }
            Expr::GetAttr(method) => self.owner(&method.expr).and(arguments).nested(),
            other => self.flow(other).and(arguments).nested(),
        }
    }

    /// Gives the parameters of a macro their values.
    fn pass(&mut self, name: &'a str, call: &Spanned<Call<'a>>) {
        let parameters = match self.parameters.get(name) {
            Some(parameters) => parameters.clone(),
            // A macro under another name.
            None => self.parameters.values().flatten().copied().collect(),
        };
        let is_known = self.parameters.contains_key(name) && name != "loop";
        for (index, argument) in call.args.iter().enumerate() {
            let (to, value) = match argument {
                CallArg::Pos(value) if is_known => {
                    (parameters.get(index).copied().into_iter().collect(), value)
                }
                CallArg::Kwarg(name, value) => (vec![Name::Variable(name)], value),
                CallArg::Pos(value) | CallArg::PosSplat(value) | CallArg::KwargSplat(value) => {
                    (parameters.clone(), value)
                }
            };
            let flow = self.flow(value);
            self.assign(&to, &flow, call.span());
        }
    }

    /// True if `expression` is a part of the rubric.
    fn is_of_rubric(&self, expression: &Expr<'a>) -> bool {
        match expression {
            Expr::Var(one) => self.rubric.contains(one.id),
            Expr::GetAttr(one) => self.is_of_rubric(&one.expr),
            Expr::GetItem(one) => self.is_of_rubric(&one.expr),
            Expr::Slice(one) => self.is_of_rubric(&one.expr),
            Expr::Filter(one) => one.expr.as_ref().is_some_and(|value| self.is_of_rubric(value)),
            _ => false,
        }
    }
}

fn is_function(call: &Call<'_>, name: &str) -> bool {
    matches!(&call.expr, Expr::Var(own) if own.id == name)
}

/// The names that an assignment to `target` gives a value.
fn targets<'a>(target: &Expr<'a>) -> Vec<Name<'a>> {
    match target {
        Expr::Var(one) => vec![Name::Variable(one.id)],
        Expr::GetAttr(one) => vec![Name::Attribute(one.name)],
        Expr::List(one) => one.items.iter().flat_map(targets).collect(),
        Expr::Tuple(one) => one.items.iter().flat_map(targets).collect(),
        _ => Vec::new(),
    }
}

const fn range(span: Span) -> Range<usize> {
    span.start_offset as usize..span.end_offset as usize
}

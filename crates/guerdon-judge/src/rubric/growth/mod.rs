//! Bodies that build ever larger values, and bodies whose work grows with the dialogue.
//!
//! The template engine charges a step for each item that it visits, but joins lists lazily and
//! nests them without a charge. A list that is joined with itself in a loop of forty rounds would
//! fill the memory within a few hundred steps, and a list that is nested in itself in a loop would
//! exhaust the stack. Such a body is refused when its file is loaded. The check reads the syntax
//! tree and knows the names that a value is made of, but not its type, so that it also refuses a
//! product of numbers that is built up in a loop, unless a filter such as `int` shows what it is.

mod flow;
mod graph;
mod walk;

use minijinja::machinery::parse;
use minijinja::syntax::SyntaxConfig;

use self::graph::Graph;
pub(crate) use self::graph::Growth;
use self::walk::Walk;

/// The work that a template can cause.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TemplateWork {
    /// An assignment that makes a value ever larger.
    pub(crate) growth: Option<Growth>,
    /// Set if its loops go over the criteria and the examples only, so that its steps do not depend
    /// on the dialogue and the context.
    pub(crate) is_fixed: bool,
}

/// The work of `template`, which must be valid.
pub(crate) fn work_of(template: &str, syntax: SyntaxConfig) -> TemplateWork {
    let Ok(tree) = parse(template, "body", syntax) else { return TemplateWork::default() };
    let walk = Walk::of(&tree);
    let is_fixed = walk.is_fixed;
    TemplateWork { growth: Graph::new(walk.assignments).growth(), is_fixed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(template: &str) -> TemplateWork {
        work_of(template, SyntaxConfig::default())
    }

    /// A loop with `step` as its body, before which `x` is a list, a map and a namespace of lists.
    fn in_loop(step: &str) -> String {
        format!(
            "{{% set n = namespace(x=[1], y=[2], z=0) %}}{{% set x = [1] %}}\
             {{% for i in range(90) %}}{step}{{% endfor %}}"
        )
    }

    #[test]
    fn values_that_are_made_of_themselves_are_found() {
        for step in [
            "{% set n.x = n.x + n.x %}",
            "{% set n.x = n.x + [1] + n.x %}",
            "{% set n.x = [n.x, n.x] %}",
            "{% set n.x = [n.x] %}",
            "{% set n.x = {'a': n.x} %}",
            "{% set n.x = (n.x, 1) %}",
            "{% set n.x = n.x * 2 %}",
            "{% set n.x = 2 * n.x %}",
            "{% set n.x = n['x'] + n.x %}",
            "{% set n.x = n.x[:] + n.x[::-1] %}",
            "{% set n.x = n.x|list + n.x|reverse|list %}",
            "{% set n.x = n.x|chain(n.x) %}",
            "{% set n.x = n.x|zip(n.x) %}",
            "{% set n.x = n.x|batch(1) %}",
            "{% set n.x = dict(a=n.x) %}",
            "{% set n.x = [n] %}",
            "{% set n.x = n %}",
            "{% set n.x = (n.x if i else n.y) + n.x %}",
            "{% set n.x = (n.x or n.y) + (n.y and n.x) %}",
            "{% set n.x = n.x|default([]) + n.x %}",
            "{% set y = n.x + n.x %}{% set n.x = y %}",
            "{% set n.y = n.x + n.x %}{% set n.x = n.y %}",
            "{% set n.x = n.x + n.y %}{% set n.y = n.x + n.y %}",
            "{% with y = [n.x] %}{% set n.x = y %}{% endwith %}",
            "{% for y in [n.x] %}{% set n.x = [y] %}{% endfor %}",
            "{% set a, b = n.x, n.x %}{% set n.x = a + b %}",
            "{% if i %}{% set n.x = n.x + n.x %}{% endif %}",
        ] {
            let found = work(&in_loop(step)).growth;
            assert!(found.is_some(), "{step}");
        }
    }

    #[test]
    fn growth_without_a_loop_is_found() {
        let names: Vec<char> = ('a'..='z').collect();
        let doubled =
            |pair: &[char]| format!("{{% set {b} = {a} + {a} %}}", a = pair[0], b = pair[1]);
        let lines: String = names.windows(2).map(doubled).collect();
        for body in [
            "{% set x = [1] %}{% set x = x + x %}{% set x = x + x %}",
            "{% macro f(x, n) %}{% if n %}{{ f([x, x], n - 1) }}{% endif %}{% endmacro %}{{ f(1, 40) }}",
            "{% macro f(x, n) %}{% if n %}{{ f(n=n - 1, x=x + x) }}{% endif %}{% endmacro %}{{ f([1], 40) }}",
            "{% for x in [[1]] recursive %}{{ loop([[x, x]]) }}{% endfor %}",
            &format!("{{% set a = [1] %}}{lines}{{{{ z|length }}}}"),
        ] {
            assert!(work(body).growth.is_some(), "{body}");
        }
        let growth = work("{{ 1 }}{% set x = [x, x] %}").growth.unwrap();
        assert_eq!((growth.name.as_str(), growth.place.start), ("x", 10));
    }

    #[test]
    fn values_that_grow_by_a_fixed_amount_are_fine() {
        for step in [
            "{% set n.z = n.z + 1 %}",
            "{% set n.z = n.z + i + x|length %}",
            "{% set n.x = n.x + [i] %}",
            "{% set n.x = [i] + n.x %}",
            "{% set n.x = n.x + n.y %}",
            "{% set n.x = n.y + n.y %}",
            "{% set n.x = [n.y] %}",
            "{% set n.z = i if i > n.z else n.z %}",
            "{% set n.z = n.z|int * 2 %}",
            "{% set n.z = n.z - n.z / 2 %}",
            "{% set n.z = n.z ~ n.z ~ i %}",
            "{% set n.x = n.x|sort %}",
            "{% set n.z = n.x|length + n.z %}",
            "{% set n.z = n.x == n.x %}",
            "{% set n.z = true %}",
            "{% set y = [i, i] %}{{ y }}",
            "{% set n.z %}{{ n.z }}{{ n.z }}{% endset %}",
            "{% if n.x is defined and n.x in [n.x] %}{% endif %}",
        ] {
            assert_eq!(work(&in_loop(step)).growth, None, "{step}");
        }
        for body in [
            "{% macro show(c) %}{{ c.id }}: {{ c.about }}{% endmacro %}{% for c in criteria %}{{ show(c) }}{% endfor %}",
            "{% macro tree(node, depth) %}{% for c in node.parts %}{{ tree(c, depth + 1) }}{% endfor %}{% endmacro %}{{ tree(context.a, 0) }}",
            "{% set parts = [dialogue, turn] %}{{ parts|join }}",
            "{% set facts = [context.a, context.b] %}{% set all = facts + [turn] %}{{ all }}",
        ] {
            assert_eq!(work(body).growth, None, "{body}");
        }
    }

    #[test]
    fn work_is_fixed_if_loops_go_over_the_rubric() {
        for body in [
            "{{ dialogue }}",
            "{% for c in criteria %}{{ c.id }}{% for level in c.levels %}{{ level.name }}{% endfor %}{% endfor %}",
            "{% if examples %}{% for e in examples %}{% for id, level in e.levels|items %}{{ id }}{% endfor %}{% endfor %}{% endif %}",
            "{% for c in criteria[:2] %}{{ c }}{% else %}x{% endfor %}",
        ] {
            assert!(work(body).is_fixed, "{body}");
        }
        for body in [
            "{% for i in range(9) %}{% endfor %}",
            "{% for word in dialogue|split %}{% endfor %}",
            "{% for fact in context.facts %}{% endfor %}",
            "{% if turn %}{% for i in context.n %}{% endfor %}{% endif %}",
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
            "{% for c in criteria recursive %}{{ loop(criteria) }}{% endfor %}",
            "{% for c in criteria %}{% for w in dialogue %}{% endfor %}{% endfor %}",
        ] {
            assert!(!work(body).is_fixed, "{body}");
        }
    }
}

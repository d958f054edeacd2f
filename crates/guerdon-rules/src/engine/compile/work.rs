//! Bounds of the work on packs that a stranger sends.

use guerdon_text::Finding;

use crate::engine::scan_limit::ScanLimit;
use crate::syntax::codes::PackCode;
use crate::syntax::pack::{Predicate, Rule};

/// Bounds of compiling packs and running their examples. By default there are none but those of the
/// engine itself.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct WorkBounds<'s> {
    /// Bytes of all packs together.
    pub max_bytes: usize,
    /// Rules of all packs together.
    pub max_rules: usize,
    /// Words of all lists of all rules together.
    pub max_words: usize,
    /// The end of the work.
    pub limit: ScanLimit<'s>,
}

impl Default for WorkBounds<'_> {
    fn default() -> Self {
        Self {
            max_bytes: usize::MAX,
            max_rules: usize::MAX,
            max_words: usize::MAX,
            limit: ScanLimit::default(),
        }
    }
}

/// The work so far.
#[derive(Debug)]
pub(super) struct WorkCount<'b> {
    bounds: &'b WorkBounds<'b>,
    rules: usize,
    words: usize,
    exceeded: bool,
}

impl<'b> WorkCount<'b> {
    pub(super) const fn new(bounds: &'b WorkBounds<'b>) -> Self {
        Self { bounds, rules: 0, words: 0, exceeded: false }
    }

    /// Counts a rule before it is compiled. Returns an error for the first rule beyond a bound.
    pub(super) fn add(&mut self, rule: &Rule) -> Option<Finding> {
        if self.exceeded {
            return None;
        }
        self.rules += 1;
        self.words += words(&rule.test);
        let WorkBounds { max_rules, max_words, limit, .. } = *self.bounds;
        let finding = if self.rules > max_rules {
            too_large(rule, format!("the packs have more than {max_rules} rules"))
        } else if self.words > max_words {
            let what = format!("all rules up to this one have more than {max_words} words");
            too_large(rule, what)
        } else if limit.is_over() {
            out_of_time(rule)
        } else {
            return None;
        };
        self.exceeded = true;
        Some(finding)
    }
}

/// The error of a rule that the time did not suffice for.
pub(super) fn out_of_time(rule: &Rule) -> Finding {
    too_large(rule, "the time for the check was over at this rule".to_owned())
}

fn too_large(rule: &Rule, what: String) -> Finding {
    let message = format!("rule `{}` does not fit", rule.id.value);
    Finding::new(PackCode::TooLarge, rule.id.span.clone(), message)
        .label(what)
        .help("check fewer rules at once, or check them with `guerdon rules check`")
}

fn words(test: &Predicate) -> usize {
    match test {
        Predicate::Literals { words, near, .. } => {
            words.len() + near.near.len() + near.not_near.len()
        }
        Predicate::Regex { near, .. } => near.near.len() + near.not_near.len(),
        Predicate::All { tests, .. } | Predicate::Any { tests, .. } => {
            tests.iter().map(words).sum()
        }
        Predicate::Not(test) => words(test),
        Predicate::Prices { names, .. } => names.iter().map(|(_, announce)| announce.len()).sum(),
        Predicate::LanguageMix { mix, .. } => mix.allow.len(),
        _ => 0,
    }
}

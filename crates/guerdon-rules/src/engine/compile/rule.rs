//! Compiles one rule: turns its predicate into a matcher, registers its patterns and words with the
//! scanner, and reports its errors.

use std::ops::Range;

use guerdon_text::Finding;

use crate::engine::checks::{CompiledSchema, PriceRelation};
use crate::engine::compiled_rule::{
    CallMatcher, CompiledRule, LiteralMatcher, Matcher, NumberMatcher, RegexMatcher, SchemaMatcher,
};
use crate::engine::expr::{Expr, ExprError, KnownFacts};
use crate::engine::lint;
use crate::engine::needles::Side;
use crate::engine::pattern::{self, CompileBudget, MAX_TOTAL_BYTES, Pattern};
use crate::engine::plan::RulePlan;
use crate::syntax::codes::PackCode;
use crate::syntax::facts::Facts;
use crate::syntax::pack::{
    CallMatch, MixLimits, NearWords, NumberWords, Predicate, Rule, SchemaCheck,
};
use crate::syntax::yaml::WithSpan;
use crate::text::near::Near;
use crate::text::normalise;
use crate::text::number::{NumberSpec, is_percent};

/// The greatest length of a regex, in bytes as written.
const MAX_PATTERN: usize = 8 * 1024;

/// The size that a byte of a literal takes at most, in bytes, for its plain and its loose form.
const LITERAL_NODE: usize = 32;

/// Collects the plan and the findings while rules are compiled.
#[derive(Debug, Default)]
pub(super) struct Compiler {
    pub(super) plan: RulePlan,
    pub(super) findings: Vec<Finding>,
    /// The facts of the pack whose rules are compiled.
    pub(super) facts: Option<Facts>,
    pub(super) budget: CompileBudget,
    /// Set after the rule that the budget did not suffice for. Later rules are not compiled.
    pub(super) exhausted: bool,
}

impl Compiler {
    /// Adds the rule to the plan. Returns false if it has errors.
    pub(super) fn rule(&mut self, pack: &str, rule: &Rule) -> bool {
        if self.exhausted {
            return false;
        }
        let compiled = self.compiled(pack, rule);
        if self.budget.is_spent() {
            self.exhausted = true;
            let message = format!("rule `{}` does not fit", rule.id.value);
            let finding = Finding::new(PackCode::TooLarge, rule.id.span.clone(), message);
            self.findings.push(
                finding
                    .label(format!(
                        "all rules up to this one need more than {} MiB when compiled",
                        MAX_TOTAL_BYTES >> 20
                    ))
                    .help("lower the counted repetitions of the rules, or load fewer of them"),
            );
            return false;
        }
        compiled
    }

    fn compiled(&mut self, pack: &str, rule: &Rule) -> bool {
        let condition = rule.condition.as_ref().map(|text| self.expression(text, rule));
        let matcher = match &condition {
            Some(None) => self.matcher(&rule.test, None),
            Some(Some(expr)) if expr.is_on_matches() => self.matcher(&rule.test, Some(expr)),
            Some(Some(_)) | None => self.matcher(&rule.test, None),
        };
        let (Some(matcher), None | Some(Some(_))) = (matcher, &condition) else {
            return false;
        };
        let on_context = condition.flatten().filter(|expr| !expr.is_on_matches());
        self.plan.rules.push(CompiledRule {
            pack: pack.to_owned(),
            id: rule.id.value.clone(),
            points: rule.points,
            per_hit: rule.per_hit,
            cap: rule.cap.as_ref().map(|cap| cap.value),
            veto: rule.veto,
            shadow: rule.shadow,
            on: rule.on,
            when: rule.when.clone(),
            condition: on_context,
            matcher,
        });
        true
    }

    /// Compiles `where`.
    fn expression(&mut self, text: &WithSpan<String>, rule: &Rule) -> Option<Expr> {
        let expr = match Expr::parse_with(&text.value, &[], self.facts.as_ref()) {
            Ok(expr) => expr,
            Err(error) => {
                self.findings.push(expression_finding(text, error, "where"));
                return None;
            }
        };
        let uses = expr.uses();
        let offered = capture_fields(&rule.test);
        let missing = if uses.capture && uses.arguments {
            Some(("compares numbers of the text with arguments of calls", "make it two rules"))
        } else if uses.arguments && !offered.arguments {
            Some(("uses arguments, but no tool call is matched", "use `match: { tool_call: ... }`"))
        } else if uses.capture && !offered.value {
            Some((
                "uses a captured value, but nothing is captured",
                "use `number`, or a regex with (?P<value>...)",
            ))
        } else if uses.percent_off && !offered.percent_off {
            Some(("`percent_off` needs numbers whose unit is 折 or %", "unit: ['折', '%']"))
        } else if uses.unit && !offered.unit {
            Some(("uses a unit, but no number has one", "add `unit:` to `number`"))
        } else {
            None
        };
        if let Some((label, help)) = missing {
            self.findings.push(
                Finding::new(
                    PackCode::BadExpression,
                    text.span.clone(),
                    "the `where` expression is wrong",
                )
                .label(label)
                .help(help),
            );
            return None;
        }
        let known = KnownFacts { when: &rule.when, declared: self.facts.as_ref() };
        match expr.constant(known) {
            Some(false) => self.constant(text, "`where` is never true", "so the rule never hits"),
            Some(true) => self.constant(text, "`where` is always true", "so it has no effect"),
            None => {}
        }
        Some(expr)
    }

    /// Reports an expression that is the same for all values.
    fn constant(&mut self, text: &WithSpan<String>, message: &str, label: &str) {
        let finding = Finding::new(PackCode::Contradicting, text.span.clone(), message);
        let help = "correct its limits; `and` needs both sides, `or` one of them";
        self.findings.push(finding.label(label).help(help));
    }

    fn matcher(&mut self, test: &Predicate, condition: Option<&Expr>) -> Option<Matcher> {
        let of_call = condition.filter(|expr| expr.uses().arguments);
        Some(match test {
            Predicate::Literals { words, fold, word, near, unless, count } => {
                Matcher::Literals(LiteralMatcher {
                    leaf: self.literals(words, *fold)?,
                    fold: *fold,
                    word: *word,
                    near: self.near(near, &words.first()?.span)?,
                    unless: *unless,
                    count: *count,
                })
            }
            Predicate::Regex { pattern, spelt, fold, checksum, near, unless, count } => {
                let near = self.near(near, &pattern.span)?;
                let pattern = Box::new(self.regex(pattern, spelt.as_deref(), *fold)?);
                let condition =
                    condition.filter(|expr| pattern.captures && expr.uses().capture).cloned();
                Matcher::Regex(RegexMatcher {
                    pattern,
                    fold: *fold,
                    checksum: *checksum,
                    near,
                    unless: *unless,
                    condition,
                    count: *count,
                })
            }
            Predicate::Number { numbers, unless, count } => Matcher::Number(NumberMatcher {
                spec: self.numbers(numbers)?,
                unless: *unless,
                condition: condition.filter(|expr| expr.uses().capture).cloned(),
                count: *count,
            }),
            Predicate::All { tests, count } => {
                Matcher::All { matchers: self.matchers(tests, condition)?, count: *count }
            }
            Predicate::Any { tests, count } => {
                Matcher::Any { matchers: self.matchers(tests, condition)?, count: *count }
            }
            Predicate::Not(test) => Matcher::Not(Box::new(self.matcher(test, condition)?)),
            Predicate::Length { of, min, max } => Matcher::Length { of: *of, min: *min, max: *max },
            Predicate::Unclosed => Matcher::Unclosed,
            Predicate::Json => Matcher::Json,
            Predicate::Prices { names, unit, must } => self.prices(names, unit, must)?,
            Predicate::Arithmetic { tolerance } => {
                let factors = self.any_number(&["折".to_owned(), "%".to_owned()]);
                let numbers = NumberSpec { optional: true, ..factors };
                Matcher::Arithmetic { numbers, tolerance: *tolerance }
            }
            Predicate::UnsupportedNumbers { unit, least } => {
                Matcher::UnsupportedNumbers { numbers: self.any_number(unit), least: *least }
            }
            Predicate::Repetition { across, of } => {
                Matcher::Repetition { across: *across, of: *of }
            }
            Predicate::ToolCall(CallMatch { names, arguments, count }) => {
                Matcher::ToolCall(CallMatcher {
                    names: names.clone(),
                    arguments: arguments.clone(),
                    condition: of_call.cloned(),
                    count: *count,
                })
            }
            Predicate::ToolCalls(test) => Matcher::ToolCalls(test.clone()),
            Predicate::JsonSchema(check) => Matcher::JsonSchema(self.schema(check)?),
            Predicate::State(check) => Matcher::State(check.clone()),
            Predicate::LanguageMix { language, mix } => {
                let allow = mix.allow.iter().map(|word| normalise::fold(word)).collect();
                Matcher::LanguageMix { language: *language, mix: MixLimits { allow, ..*mix } }
            }
        })
    }

    fn matchers(&mut self, tests: &[Predicate], condition: Option<&Expr>) -> Option<Vec<Matcher>> {
        let compiled: Vec<Option<Matcher>> =
            tests.iter().map(|test| self.matcher(test, condition)).collect();
        compiled.into_iter().collect()
    }

    /// Adds the leaf of a list of words.
    fn literals(&mut self, words: &[WithSpan<String>], fold: bool) -> Option<u32> {
        let mut patterns = Vec::with_capacity(words.len());
        for at in words {
            let pattern = if fold { normalise::fold(&at.value) } else { at.value.clone() };
            if pattern.is_empty() {
                let finding = Finding::new(
                    PackCode::BadValue,
                    at.span.clone(),
                    "an empty literal matches everywhere",
                );
                self.findings.push(
                    finding.help("remove it, or set `fold: false` if it is invisible on purpose"),
                );
                return None;
            }
            patterns.push(pattern);
        }
        Some(self.leaf(patterns, fold))
    }

    /// Adds a leaf for literals and, if they are folded, for their loose forms.
    fn leaf(&mut self, words: Vec<String>, fold: bool) -> u32 {
        // Each byte of a word has a node of the automaton in the worst case.
        self.budget.spend(words.iter().map(|word| word.len() * LITERAL_NODE).sum());
        let needles = &mut self.plan.scanner.needles;
        let loose: Vec<String> =
            words.iter().filter(|_| fold).filter_map(|word| normalise::loose_form(word)).collect();
        let joined: Vec<String> =
            words.iter().filter(|_| fold).filter_map(|word| normalise::joined_form(word)).collect();
        let leaf = needles.literals(fold).leaf(words.into_iter().chain(joined));
        for word in loose {
            needles.loose.add(leaf, word);
        }
        leaf
    }

    /// Compiles a regex. `spelt` is the pattern with the spellings that the pack declares.
    fn regex(&mut self, at: &WithSpan<String>, spelt: Option<&str>, fold: bool) -> Option<Pattern> {
        if at.value.len() > MAX_PATTERN {
            let message = format!("regex too long: {} bytes (limit {MAX_PATTERN})", at.value.len());
            let finding = Finding::new(PackCode::BadRegex, at.span.clone(), message);
            self.findings.push(finding.help("put a list of words under `any_of`"));
            return None;
        }
        let mut side = Side { needles: &mut self.plan.scanner.needles, fold };
        // The pattern is parsed as written first, so that an error has its place.
        let parsed = pattern::parse(&at.value, fold);
        let parsed = match spelt {
            Some(spelt) => parsed.and_then(|_| pattern::parse(spelt, fold)),
            None => parsed,
        };
        let built = parsed.and_then(|hir| Pattern::new(&hir, &mut side, &mut self.budget));
        match built {
            Ok(pattern) => {
                let needles = &mut self.plan.scanner.needles;
                needles.raw_gates |= !fold;
                needles.figures |= fold && pattern.captures;
                needles.numbers |= needles.figures;
                self.findings.extend(lint::regex(&at.value, &pattern, &at.span));
                if let Some(bytes) = lint::possessive(&at.value) {
                    let span = within(at, &bytes);
                    let finding =
                        Finding::new(PackCode::Possessive, span, "a repetition of a repetition");
                    self.findings.push(
                        finding
                            .label("possessive repetitions of other dialects do not exist here")
                            .help("write one of the two signs"),
                    );
                }
                Some(pattern)
            }
            Err(error) => {
                let span = error.at.map_or_else(|| at.span.clone(), |bytes| within(at, &bytes));
                let finding = Finding::new(PackCode::BadRegex, span, "not a regex");
                self.findings.push(finding.label(error.message).help(error.help));
                None
            }
        }
    }

    fn schema(&mut self, check: &SchemaCheck) -> Option<SchemaMatcher> {
        match CompiledSchema::new(&check.schema.value) {
            Ok(schema) => Some(SchemaMatcher {
                arguments_of: check.arguments_of.clone(),
                schema: Box::new(schema),
            }),
            Err(why) => {
                let span = check.schema.span.clone();
                let finding = Finding::new(PackCode::BadValue, span, "not a JSON Schema");
                let help = "correct it; a schema refers to nothing outside of itself";
                self.findings.push(finding.label(why).help(help));
                None
            }
        }
    }

    fn prices(
        &mut self,
        names: &[(String, Vec<String>)],
        unit: &[String],
        must: &WithSpan<String>,
    ) -> Option<Matcher> {
        let known: Vec<String> = names.iter().map(|(name, _)| name.clone()).collect();
        let must = match Expr::parse_with(&must.value, &known, self.facts.as_ref()) {
            Ok(expr) if !expr.uses().capture => {
                let known = KnownFacts { when: &[], declared: self.facts.as_ref() };
                match expr.constant(known) {
                    Some(true) => {
                        self.constant(must, "`must` is always true", "so the rule never hits");
                    }
                    Some(false) => {
                        let label = "so the rule hits whenever all numbers are given";
                        self.constant(must, "`must` is never true", label);
                    }
                    None => {}
                }
                expr
            }
            Ok(_) => {
                let finding = Finding::new(
                    PackCode::BadExpression,
                    must.span.clone(),
                    "the `must` expression is wrong",
                );
                let names = known.join(", ");
                self.findings.push(
                    finding
                        .label(format!("uses other names than {names}"))
                        .help("compare the names of `names` with each other or with numbers"),
                );
                return None;
            }
            Err(error) => {
                self.findings.push(expression_finding(must, error, "must"));
                return None;
            }
        };
        let words = |words: &[String]| words.iter().map(|word| normalise::fold(word)).collect();
        let leaves = names.iter().map(|(_, announce)| self.leaf(words(announce), true)).collect();
        let numbers = self.any_number(unit);
        Some(Matcher::Prices { numbers, prices: Box::new(PriceRelation { leaves, must }) })
    }

    /// Selects numbers with one of these units, or any number if `unit` is empty.
    fn any_number(&mut self, unit: &[String]) -> NumberSpec {
        self.plan.scanner.needles.numbers = true;
        let units =
            unit.iter().map(|unit| normalise::fold(unit).trim().to_owned()).collect::<Vec<_>>();
        NumberSpec { units: self.plan.scanner.units.intern_all(units), ..NumberSpec::default() }
    }

    fn numbers(&mut self, numbers: &NumberWords) -> Option<NumberSpec> {
        let units = self.folded(&numbers.unit, &numbers.span)?;
        let near = self.near(&numbers.near, &numbers.span)?;
        self.plan.scanner.needles.numbers = true;
        Some(NumberSpec { units: self.plan.scanner.units.intern_all(units), near, optional: false })
    }

    fn near(&mut self, nearby: &NearWords, span: &Range<usize>) -> Option<Near> {
        let mut leaf = |words: &[String]| -> Option<Option<u32>> {
            let words = self.folded(words, span)?;
            Some((!words.is_empty()).then(|| self.leaf(words, true)))
        };
        Some(Near {
            one: leaf(&nearby.near)?,
            none: leaf(&nearby.not_near)?,
            within: nearby.within,
        })
    }

    fn folded(&mut self, words: &[String], span: &Range<usize>) -> Option<Vec<String>> {
        let words: Vec<String> =
            words.iter().map(|word| normalise::fold(word).trim().to_owned()).collect();
        if words.iter().any(String::is_empty) {
            let finding = Finding::new(PackCode::BadValue, span.clone(), "an empty unit or word");
            self.findings.push(finding.help("remove it"));
            return None;
        }
        Some(words)
    }
}

/// The variables that the captures of a predicate provide to a `where` expression.
#[derive(Debug, Clone, Copy, Default)]
struct CaptureFields {
    value: bool,
    unit: bool,
    percent_off: bool,
    /// Set if a tool call is matched.
    arguments: bool,
}

fn capture_fields(test: &Predicate) -> CaptureFields {
    match test {
        Predicate::Number { numbers, .. } => CaptureFields {
            value: true,
            unit: !numbers.unit.is_empty(),
            percent_off: !numbers.unit.is_empty()
                && numbers.unit.iter().all(|unit| {
                    let unit = normalise::fold(unit);
                    unit == "折" || is_percent(unit.trim())
                }),
            arguments: false,
        },
        Predicate::ToolCall(_) => CaptureFields { arguments: true, ..CaptureFields::default() },
        Predicate::Regex { pattern, .. } => {
            CaptureFields { value: pattern.value.contains("<value>"), ..CaptureFields::default() }
        }
        Predicate::All { tests, .. } | Predicate::Any { tests, .. } => tests
            .iter()
            .map(capture_fields)
            .fold(CaptureFields::default(), |sum, next| CaptureFields {
                value: sum.value || next.value,
                unit: sum.unit || next.unit,
                percent_off: sum.percent_off || next.percent_off,
                arguments: sum.arguments || next.arguments,
            }),
        Predicate::Not(test) => capture_fields(test),
        _ => CaptureFields::default(),
    }
}

/// The finding of an invalid expression under `key`.
fn expression_finding(text: &WithSpan<String>, error: ExprError, key: &str) -> Finding {
    let span = within(text, &word_at(&text.value, error.at));
    let message = format!("the `{key}` expression is wrong");
    let finding = Finding::new(error.code, span, message).label(error.message).help(error.help);
    match error.fix {
        // Only where the text is written as it is read.
        Some((bytes, replacement)) if is_verbatim(text) => {
            finding.fix(within(text, &bytes), replacement)
        }
        _ => finding,
    }
}

/// Returns true if a scalar is written plain or between two quotes, without escapes.
const fn is_verbatim(text: &WithSpan<String>) -> bool {
    let written = text.span.end - text.span.start;
    written == text.value.len() || written == text.value.len() + 2
}

/// The source position of `bytes` of a scalar's value, if the scalar is written plain or between
/// two quotes without escapes. Otherwise the position of the whole scalar.
fn within(text: &WithSpan<String>, bytes: &Range<usize>) -> Range<usize> {
    let Range { start, end } = text.span;
    let from = match (end - start).checked_sub(text.value.len()) {
        Some(0) => start,
        Some(2) => start + 1,
        _ => return start..end,
    };
    from + bytes.start.min(text.value.len())..from + bytes.end.min(text.value.len())
}

/// The word or sign at a byte of an expression.
fn word_at(expression: &str, at: usize) -> Range<usize> {
    let rest = expression.get(at..).unwrap_or_default();
    let word =
        rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.'))).unwrap_or(rest.len());
    at..at + word.max(rest.chars().next().map_or(0, char::len_utf8))
}

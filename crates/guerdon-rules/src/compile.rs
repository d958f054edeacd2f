//! Packs to a [`Plan`]: regexes, expressions and literals are compiled, ids compared, examples run. Every pack is read
//! to its end even when another is wrong, so one report names all.

use std::collections::HashMap;
use std::ops::Range;

use regex::{Regex, RegexBuilder};

use crate::expr::Expr;
use crate::number::NumberSpec;
use crate::pack::{Date, Numbers, Pack, Rule, Test};
use crate::plan::{CompiledRule, Matcher, Plan};
use crate::report::{Code, Finding, Report};
use crate::yaml::At;
use crate::{PackText, examples, lint, normalise, parse};

/// Bounds on a compiled regex, in bytes: a counted class such as `\w{500}` is refused when the pack loads, not felt
/// when it runs.
const REGEX_BYTES: usize = 4 * 1024 * 1024;

/// Compiles `packs`; the plan is to be used only if the report has no error.
pub(crate) fn compile(packs: &[PackText], today: Date) -> (Vec<Pack>, Plan, Report) {
    let mut compiler = Compiler::default();
    let mut read: Vec<(Option<Pack>, Vec<Finding>)> =
        packs.iter().map(|pack| parse::parse(&pack.text)).collect();
    let mut ids: HashMap<String, &str> = HashMap::new();
    let mut places = Vec::new();
    for (source, (pack, findings)) in packs.iter().zip(&mut read) {
        let Some(pack) = pack else { continue };
        if let Some(other) = ids.insert(pack.id.value.clone(), &source.name) {
            let message = format!("pack `{}` is already in {other}", pack.id.value);
            findings.push(
                Finding::new(Code::DuplicateId, pack.id.span.clone(), message).help("give it another id"),
            );
        }
        findings.extend(lint::pack(pack, today));
        let mut rules: HashMap<&str, ()> = HashMap::new();
        for rule in &pack.rules {
            if rules.insert(&rule.id.value, ()).is_some() {
                let message = format!("a second rule `{}`", rule.id.value);
                findings.push(
                    Finding::new(Code::DuplicateId, rule.id.span.clone(), message).help("give it another id"),
                );
            }
            let compiled = compiler.rule(&pack.id.value, rule);
            findings.append(&mut compiler.findings);
            places.push(compiled.then(|| compiler.plan.rules.len() - 1));
        }
    }
    let Compiler { mut plan, .. } = compiler;
    let built = plan.folded.build().and_then(|()| plan.raw.build());
    let mut places = places.into_iter();
    for (pack, findings) in &mut read {
        if let Err(error) = &built {
            findings.push(Finding::new(
                Code::TooLarge,
                0..0,
                format!("the packs' literals do not fit: {error}"),
            ));
        }
        for rule in pack.iter().flat_map(|pack| &pack.rules) {
            if let Some(index) = places.next().flatten() {
                findings.extend(examples::check(&plan, index, rule));
            }
        }
    }
    let mut report = Report::default();
    let mut parsed = Vec::new();
    for (source, (pack, findings)) in packs.iter().zip(read) {
        report.extend(source, findings);
        parsed.extend(pack);
    }
    (parsed, plan, report)
}

#[derive(Debug, Default)]
struct Compiler {
    plan: Plan,
    findings: Vec<Finding>,
}

impl Compiler {
    /// Adds the rule to the plan, unless it has errors.
    fn rule(&mut self, pack: &str, rule: &Rule) -> bool {
        let condition = rule.condition.as_ref().map(|text| self.expression(text, &rule.test));
        let matcher = match &condition {
            Some(None) => self.matcher(&rule.test, None),
            Some(Some(expr)) if expr.uses().capture => self.matcher(&rule.test, Some(expr)),
            Some(Some(_)) | None => self.matcher(&rule.test, None),
        };
        let (Some(matcher), None | Some(Some(_))) = (matcher, &condition) else {
            return false;
        };
        let on_context = condition.flatten().filter(|expr| !expr.uses().capture);
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

    fn expression(&mut self, text: &At<String>, test: &Test) -> Option<Expr> {
        let expr = match Expr::parse(&text.value) {
            Ok(expr) => expr,
            Err(error) => {
                let span = within(text, error.at);
                self.findings.push(
                    Finding::new(Code::BadExpression, span, "the `where` expression is wrong")
                        .label(error.message),
                );
                return None;
            }
        };
        let uses = expr.uses();
        let offers = offers(test);
        let missing = if uses.capture && !offers.value {
            Some((
                "speaks of a captured value, and nothing captures one",
                "use `number`, or a regex with (?P<value>...)",
            ))
        } else if uses.percent_off && !offers.percent_off {
            Some(("`percent_off` needs numbers whose unit is 折 or %", "unit: ['折', '%']"))
        } else if uses.unit && !offers.unit {
            Some(("speaks of a unit, and no number has one", "add `unit:` to `number`"))
        } else {
            None
        };
        if let Some((label, help)) = missing {
            self.findings.push(
                Finding::new(Code::BadExpression, text.span.clone(), "the `where` expression is wrong")
                    .label(label)
                    .help(help),
            );
            return None;
        }
        Some(expr)
    }

    fn matcher(&mut self, test: &Test, condition: Option<&Expr>) -> Option<Matcher> {
        Some(match test {
            Test::Literals { words, fold, word, count } => self.literals(words, *fold, *word, *count)?,
            Test::Regex { pattern, fold, count } => {
                let regex = self.regex(pattern, *fold)?;
                let captures = regex.capture_names().any(|name| name == Some("value"));
                let condition = condition.filter(|_| captures).cloned();
                Matcher::Regex { regex, fold: *fold, condition, count: *count }
            }
            Test::Number { numbers, count } => {
                Matcher::Number { spec: self.numbers(numbers)?, condition: condition.cloned(), count: *count }
            }
            Test::All { tests, count } => {
                Matcher::All { matchers: self.matchers(tests, condition)?, count: *count }
            }
            Test::Any { tests, count } => {
                Matcher::Any { matchers: self.matchers(tests, condition)?, count: *count }
            }
            Test::Not(test) => Matcher::Not(Box::new(self.matcher(test, condition)?)),
            Test::Length { min, max } => Matcher::Length { min: *min, max: *max },
            Test::Repetition { across, of } => Matcher::Repetition { across: *across, of: *of },
            Test::LanguageMix { language, share, min, allow } => Matcher::LanguageMix {
                language: *language,
                share: *share,
                min: *min,
                allow: allow.iter().map(|word| normalise::fold(word)).collect(),
            },
        })
    }

    fn matchers(&mut self, tests: &[Test], condition: Option<&Expr>) -> Option<Vec<Matcher>> {
        let compiled: Vec<Option<Matcher>> = tests.iter().map(|test| self.matcher(test, condition)).collect();
        compiled.into_iter().collect()
    }

    fn literals(&mut self, words: &[At<String>], fold: bool, word: bool, count: usize) -> Option<Matcher> {
        let mut patterns = Vec::with_capacity(words.len());
        for at in words {
            let pattern = if fold { normalise::fold(&at.value) } else { at.value.clone() };
            if pattern.is_empty() {
                let finding =
                    Finding::new(Code::BadValue, at.span.clone(), "an empty literal matches everywhere");
                self.findings
                    .push(finding.help("remove it, or set `fold: false` if it is invisible on purpose"));
                return None;
            }
            patterns.push(pattern);
        }
        let set = if fold { &mut self.plan.folded } else { &mut self.plan.raw };
        Some(Matcher::Literals { leaf: set.add(patterns), fold, word, count })
    }

    fn regex(&mut self, pattern: &At<String>, fold: bool) -> Option<Regex> {
        let build = |text: &str| {
            RegexBuilder::new(text)
                .case_insensitive(fold)
                .size_limit(REGEX_BYTES)
                .dfa_size_limit(REGEX_BYTES)
                .build()
        };
        // As written first, so that an error quotes what the author wrote.
        let built = build(&pattern.value).and_then(|regex| {
            if fold && !pattern.value.is_ascii() {
                build(&normalise::fold_pattern(&pattern.value))
            } else {
                Ok(regex)
            }
        });
        match built {
            Ok(regex) => {
                self.findings.extend(lint::regex(&regex, &pattern.span));
                Some(regex)
            }
            Err(error) => {
                let (label, help) = match &error {
                    regex::Error::CompiledTooBig(_) => {
                        ("too large when compiled".to_owned(), "lower its counted repetitions, such as {500}")
                    }
                    other => {
                        let text = other.to_string();
                        let last = text.lines().next_back().unwrap_or_default();
                        (
                            last.trim_start_matches("error: ").to_owned(),
                            "look-around and back-references do not exist here",
                        )
                    }
                };
                self.findings.push(
                    Finding::new(Code::BadRegex, pattern.span.clone(), "not a regex").label(label).help(help),
                );
                None
            }
        }
    }

    fn numbers(&mut self, numbers: &Numbers) -> Option<NumberSpec> {
        let fold_all = |words: &[String]| -> Vec<String> {
            words.iter().map(|word| normalise::fold(word).trim().to_owned()).collect()
        };
        let (mut units, near, not_near) =
            (fold_all(&numbers.unit), fold_all(&numbers.near), fold_all(&numbers.not_near));
        if units.iter().chain(&near).chain(&not_near).any(String::is_empty) {
            self.findings.push(
                Finding::new(Code::BadValue, numbers.span.clone(), "an empty unit or word").help("remove it"),
            );
            return None;
        }
        units.sort_by_key(|unit| std::cmp::Reverse(unit.len()));
        Some(NumberSpec { units, near, not_near, within: numbers.within })
    }
}

/// What a test's captures offer an expression.
#[derive(Debug, Clone, Copy, Default)]
struct Offers {
    value: bool,
    unit: bool,
    percent_off: bool,
}

fn offers(test: &Test) -> Offers {
    match test {
        Test::Number { numbers, .. } => Offers {
            value: true,
            unit: !numbers.unit.is_empty(),
            percent_off: !numbers.unit.is_empty()
                && numbers.unit.iter().all(|unit| matches!(normalise::fold(unit).as_str(), "折" | "%")),
        },
        Test::Regex { pattern, .. } => {
            Offers { value: pattern.value.contains("<value>"), ..Offers::default() }
        }
        Test::All { tests, .. } | Test::Any { tests, .. } => {
            tests.iter().map(offers).fold(Offers::default(), |sum, next| Offers {
                value: sum.value || next.value,
                unit: sum.unit || next.unit,
                percent_off: sum.percent_off || next.percent_off,
            })
        }
        Test::Not(test) => offers(test),
        _ => Offers::default(),
    }
}

/// From a byte of a scalar's value to the scalar's end, as nearly as can be told from outside: a plain scalar is as
/// long as its value, a quoted one opens with its quote.
fn within(text: &At<String>, at: usize) -> Range<usize> {
    let Range { start, end } = text.span;
    let quote = usize::from(end - start != text.value.len());
    let from = (start + quote + at).min(end.saturating_sub(1)).max(start);
    from..end.max(from)
}

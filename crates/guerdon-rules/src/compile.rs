//! Packs to a [`Plan`]: regexes, expressions and literals are compiled, ids compared, examples run. Every pack is read
//! to its end even when another is wrong, so one report names all.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::checks::Prices;
use crate::expr::Expr;
use crate::number::NumberSpec;
use crate::pack::{Date, Numbers, Pack, Rule, Test};
use crate::pattern::{self, Pattern};
use crate::plan::{CompiledRule, Matcher, Plan, Side};
use crate::report::{Code, Finding, Report};
use crate::trigger::Triggers;
use crate::yaml::At;
use crate::{PackText, examples, lint, normalise, parse};

/// Bound on all compiled patterns and literals together, in bytes.
const MAX_BYTES: usize = 256 * 1024 * 1024;
/// Longest pattern, in bytes as written.
const MAX_PATTERN: usize = 8 * 1024;

/// Packs, read and compiled; the plan is to be used only if nothing found is an error.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) packs: Vec<ReadPack>,
    pub(crate) plan: Plan,
}

/// One pack, and what was found in it.
#[derive(Debug)]
pub(crate) struct ReadPack {
    pub(crate) pack: Option<Pack>,
    pub(crate) findings: Vec<Finding>,
    /// For each rule, its place in the plan, unless it has errors.
    pub(crate) places: Vec<Option<usize>>,
}

/// When, and for whom, packs are compiled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Occasion {
    pub(crate) today: Date,
    /// An author checks: an expired rule is an error. A server that loads only warns.
    pub(crate) strict: bool,
}

impl Compiled {
    /// Reads and compiles `packs`, their examples not yet run.
    pub(crate) fn new(packs: &[PackText], occasion: Occasion) -> Self {
        let mut compiler = Compiler::default();
        let mut read: Vec<ReadPack> = packs
            .iter()
            .map(|pack| {
                let (pack, findings) = parse::parse(&pack.text);
                ReadPack { pack, findings, places: Vec::new() }
            })
            .collect();
        let mut ids: HashMap<String, &str> = HashMap::new();
        for (source, ReadPack { pack, findings, places }) in packs.iter().zip(&mut read) {
            let Some(pack) = pack else { continue };
            if let Some(other) = ids.insert(pack.id.value.clone(), &source.name) {
                let message = format!("pack `{}` is already in {other}", pack.id.value);
                let finding = Finding::new(Code::DuplicateId, pack.id.span.clone(), message);
                findings.push(finding.help("give it another id"));
            }
            findings.extend(lint::pack(pack, occasion));
            let mut rules: HashSet<&str> = HashSet::new();
            for rule in &pack.rules {
                if !rules.insert(&rule.id.value) {
                    let message = format!("a second rule `{}`", rule.id.value);
                    let finding = Finding::new(Code::DuplicateId, rule.id.span.clone(), message);
                    findings.push(finding.help("give it another id"));
                }
                let compiled = compiler.rule(&pack.id.value, rule);
                findings.append(&mut compiler.findings);
                places.push(compiled.then(|| compiler.plan.rules.len() - 1));
            }
        }
        let built = compiler.plan.build();
        let known: Vec<&Pack> = read.iter().filter_map(|read| read.pack.as_ref()).collect();
        let mut overlaps = lint::overlaps(&known).into_iter();
        for read in &mut read {
            if read.pack.is_some() {
                read.findings.extend(overlaps.next().unwrap_or_default());
            }
            if let Err(error) = &built {
                let message = format!("the packs do not fit: {error}");
                read.findings.push(Finding::new(Code::TooLarge, 0..0, message));
            }
        }
        Self { packs: read, plan: compiler.plan }
    }

    /// Runs the examples of every rule that compiled.
    pub(crate) fn run_examples(&mut self) {
        for ReadPack { pack, findings, places } in &mut self.packs {
            let rules = pack.iter().flat_map(|pack| &pack.rules).zip(places.iter());
            for (rule, place) in rules {
                if let Some(index) = place {
                    findings.extend(examples::run(&self.plan, *index, rule).filter_map(|run| run.failure));
                }
            }
        }
    }

    /// What was found, and what there is.
    pub(crate) fn finish(self, packs: &[PackText]) -> (Vec<Pack>, Plan, Report) {
        let mut report = Report::default();
        let mut parsed = Vec::new();
        for (source, read) in packs.iter().zip(self.packs) {
            report.extend(source, read.findings);
            parsed.extend(read.pack);
        }
        (parsed, self.plan, report)
    }
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
        let expr = match Expr::parse(&text.value, &[]) {
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
                let pattern = Box::new(self.regex(pattern, *fold)?);
                let condition = condition.filter(|_| pattern.captures).cloned();
                Matcher::Regex { pattern, fold: *fold, condition, count: *count }
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
            Test::Length { of, min, max } => Matcher::Length { of: *of, min: *min, max: *max },
            Test::Unclosed => Matcher::Unclosed,
            Test::Json => Matcher::Json,
            Test::Prices { names, unit, must } => self.prices(names, unit, must)?,
            Test::Arithmetic { tolerance } => {
                let factors = self.any_number(&["折".to_owned(), "%".to_owned()]);
                let numbers = NumberSpec { optional: true, ..factors };
                Matcher::Arithmetic { numbers, tolerance: *tolerance }
            }
            Test::UnsupportedNumbers { unit, least } => {
                Matcher::UnsupportedNumbers { numbers: self.any_number(unit), least: *least }
            }
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
        Some(Matcher::Literals { leaf: self.leaf(patterns, fold), fold, word, count })
    }

    /// A leaf for literals, which a folded text may also hold in disguise.
    fn leaf(&mut self, words: Vec<String>, fold: bool) -> u32 {
        let needles = &mut self.plan.needles;
        let bare: Vec<String> =
            words.iter().filter(|_| fold).filter_map(|word| normalise::skeleton(word)).collect();
        let leaf = needles.literals(fold).leaf(words);
        for word in bare {
            needles.loose.add(leaf, word);
        }
        leaf
    }

    fn regex(&mut self, at: &At<String>, fold: bool) -> Option<Pattern> {
        if at.value.len() > MAX_PATTERN {
            let message = format!("a regex of {} bytes; at most {MAX_PATTERN}", at.value.len());
            let finding = Finding::new(Code::BadRegex, at.span.clone(), message);
            self.findings.push(finding.help("a list of words goes to `any_of`"));
            return None;
        }
        let mut side = Side { needles: &mut self.plan.needles, fold };
        let built = pattern::parse(&at.value, fold).and_then(|hir| Pattern::new(&hir, &mut side));
        match built {
            Ok(pattern) => {
                self.plan.needles.raw_gates |= !fold;
                self.findings.extend(lint::regex(&at.value, &pattern, &at.span));
                Some(pattern)
            }
            Err(error) => {
                let finding = Finding::new(Code::BadRegex, at.span.clone(), "not a regex");
                self.findings.push(finding.label(error.message).help(error.help));
                None
            }
        }
    }

    fn prices(
        &mut self,
        names: &[(String, Vec<String>)],
        unit: &[String],
        must: &At<String>,
    ) -> Option<Matcher> {
        let known: Vec<String> = names.iter().map(|(name, _)| name.clone()).collect();
        let must = match Expr::parse(&must.value, &known) {
            Ok(expr) if !expr.uses().capture => expr,
            Ok(_) => {
                let finding =
                    Finding::new(Code::BadExpression, must.span.clone(), "the `must` expression is wrong");
                self.findings.push(finding.label(format!("it speaks of {}", known.join(", "))));
                return None;
            }
            Err(error) => {
                let span = within(must, error.at);
                let finding = Finding::new(Code::BadExpression, span, "the `must` expression is wrong");
                self.findings.push(finding.label(error.message));
                return None;
            }
        };
        let words = |words: &[String]| words.iter().map(|word| normalise::fold(word)).collect();
        let leaves = names.iter().map(|(_, announce)| self.leaf(words(announce), true)).collect();
        let numbers = self.any_number(unit);
        Some(Matcher::Prices { numbers, prices: Box::new(Prices { leaves, must }) })
    }

    /// Numbers with one of these units, or any.
    fn any_number(&mut self, unit: &[String]) -> NumberSpec {
        self.plan.needles.numbers = true;
        let units = unit.iter().map(|unit| normalise::fold(unit).trim().to_owned()).collect::<Vec<_>>();
        NumberSpec { units: self.plan.units.all(units), ..NumberSpec::default() }
    }

    fn numbers(&mut self, numbers: &Numbers) -> Option<NumberSpec> {
        let fold_all = |words: &[String]| -> Vec<String> {
            words.iter().map(|word| normalise::fold(word).trim().to_owned()).collect()
        };
        let (units, near, not_near) =
            (fold_all(&numbers.unit), fold_all(&numbers.near), fold_all(&numbers.not_near));
        if units.iter().chain(&near).chain(&not_near).any(String::is_empty) {
            self.findings.push(
                Finding::new(Code::BadValue, numbers.span.clone(), "an empty unit or word").help("remove it"),
            );
            return None;
        }
        self.plan.needles.numbers = true;
        let mut words = |words: Vec<String>| (!words.is_empty()).then(|| self.leaf(words, true));
        let (near, not_near) = (words(near), words(not_near));
        let units = self.plan.units.all(units);
        Some(NumberSpec { units, near, not_near, within: numbers.within, optional: false })
    }
}

impl Plan {
    /// Builds the automata and the triggers, once all rules are there.
    fn build(&mut self) -> Result<(), String> {
        self.needles.build()?;
        let bytes = self.memory();
        if bytes > MAX_BYTES {
            return Err(format!("{} MiB when compiled, at most {}", bytes >> 20, MAX_BYTES >> 20));
        }
        let leaves = [self.needles.folded.leaves(), self.needles.raw.leaves()];
        self.triggers = Triggers::new(&self.rules, leaves);
        Ok(())
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

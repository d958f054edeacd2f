//! Runs the examples of rules as tests, with TAP and JUnit output.

use std::fmt::Write as _;
use std::time::SystemTime;

use crate::engine::compile::{CompiledPacks, WorkBounds};
use crate::engine::examples;
use crate::syntax::expiry::ExpiryPolicy;
use crate::syntax::files::PackFilesRef;
use crate::{Report, RulePacks};

/// The result of one example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExampleResult {
    /// The pack.
    pub pack: String,
    /// The rule.
    pub rule: String,
    /// The name of the file, as given by the caller.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The expectation: `hits "…"` or `misses "…"`.
    pub name: String,
    /// The text of the example; empty for a result that is not of an example.
    pub text: String,
    /// The spans of the hit in the text, in Unicode scalar values, if the rule hits it. A rule that
    /// reads other messages has none.
    pub hit: Option<Vec<[usize; 2]>>,
    /// The reason if the expectation is not met.
    pub failure: Option<String>,
}

impl ExampleResult {
    /// A result that belongs to a rule and not to a line, such as a measure of it.
    #[must_use]
    pub fn of_rule(pack: &str, rule: &str, name: String, failure: Option<String>) -> Self {
        let (pack, rule) = (pack.to_owned(), rule.to_owned());
        Self {
            pack,
            rule,
            file: String::new(),
            line: 0,
            name,
            text: String::new(),
            hit: None,
            failure,
        }
    }
}

impl RulePacks {
    /// Runs each example of `packs` separately.
    ///
    /// # Errors
    /// Returns a [`Report`] if a pack has an error other than a failing example.
    pub fn test<'f>(files: impl Into<PackFilesRef<'f>>) -> Result<Vec<ExampleResult>, Report> {
        let (results, report) = Self::test_within(files, &WorkBounds::default());
        if report.has_errors() { Err(report) } else { Ok(results) }
    }

    /// Runs each example of the rules that have no error, until `bounds` are reached. The report
    /// holds the errors and warnings other than failing examples.
    #[must_use]
    pub fn test_within<'f>(
        files: impl Into<PackFilesRef<'f>>,
        bounds: &WorkBounds<'_>,
    ) -> (Vec<ExampleResult>, Report) {
        let expiry = ExpiryPolicy::check(SystemTime::now());
        let files = files.into();
        let compiled = CompiledPacks::bounded(bounds, files, expiry);
        let mut results = Vec::new();
        for (source, read) in files.texts.iter().zip(&compiled.packs) {
            let rules =
                read.pack.iter().flat_map(|pack| pack.rules.iter().map(move |rule| (pack, rule)));
            for ((pack, rule), place) in rules.zip(&read.places) {
                let runs =
                    place.map(|index| examples::run(&compiled.plan, index, rule, bounds.limit));
                results.extend(runs.into_iter().flatten().map(|run| {
                    let must = if run.must_hit { "hits" } else { "misses" };
                    let shown: String = run.example.text.chars().take(60).collect();
                    ExampleResult {
                        pack: pack.id.value.clone(),
                        rule: rule.id.value.clone(),
                        file: source.name.clone(),
                        line: source.location(run.example.span.start).line,
                        name: format!("{must} {shown:?}"),
                        text: run.example.text.clone(),
                        hit: run.hit,
                        failure: run.failure.map(|finding| finding.one_line()),
                    }
                }));
            }
        }
        let (_, _, report) = compiled.finish(files);
        (results, report)
    }
}

/// Formats the results as Test Anything Protocol, version 13.
#[must_use]
pub fn tap(results: &[ExampleResult]) -> String {
    let mut out = format!("TAP version 13\n1..{}\n", results.len());
    for (number, result) in (1..).zip(results) {
        let ok = if result.failure.is_some() { "not ok" } else { "ok" };
        // A `#` would start a directive.
        let name = result.name.replace('#', "\\#");
        let _ = writeln!(out, "{ok} {number} - {}/{} {name}", result.pack, result.rule);
        if let Some(failure) = &result.failure {
            let at = format!("{}:{}", result.file, result.line);
            let _ = writeln!(out, "  ---\n  message: {failure:?}\n  at: {at:?}\n  ...");
        }
    }
    out
}

/// Formats the results as JUnit XML with a suite for each pack.
#[must_use]
pub fn junit(results: &[ExampleResult]) -> String {
    let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n".to_owned();
    let mut rest = results;
    while let Some(first) = rest.first() {
        let length = rest.iter().take_while(|result| result.pack == first.pack).count();
        let (suite, after) = rest.split_at(length);
        rest = after;
        let failures = suite.iter().filter(|result| result.failure.is_some()).count();
        let name = escaped(&first.pack);
        let _ = writeln!(
            out,
            "  <testsuite name=\"{name}\" tests=\"{length}\" failures=\"{failures}\">"
        );
        for result in suite {
            let class = escaped(&format!("{}.{}", result.pack, result.rule));
            let (name, file) = (escaped(&result.name), escaped(&result.file));
            let _ = write!(out, "    <testcase classname=\"{class}\" name=\"{name}\"");
            if result.line > 0 {
                let _ = write!(out, " file=\"{file}\" line=\"{}\"", result.line);
            }
            match &result.failure {
                None => out.push_str("/>\n"),
                Some(failure) => {
                    let _ = writeln!(
                        out,
                        ">\n      <failure message=\"{}\"/>\n    </testcase>",
                        escaped(failure)
                    );
                }
            }
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// Escapes text for an XML attribute. Characters that XML 1.0 does not allow are removed.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

//! The examples beside rules, as tests.

use std::fmt::Write as _;
use std::time::SystemTime;

use crate::RulePacks;
use crate::engine::compile::Compiled;
use crate::engine::examples;
use crate::syntax::expiry::Occasion;
use crate::{Report, SourceText};

/// One example, run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExampleResult {
    /// The pack.
    pub pack: String,
    /// The rule in it.
    pub rule: String,
    /// The file, as the caller named it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// What must be: `hits "…"` or `misses "…"`.
    pub name: String,
    /// Why it is not so.
    pub failure: Option<String>,
}

impl RulePacks {
    /// Runs the examples of `packs`, each on its own.
    ///
    /// # Errors
    /// A [`Report`] if a pack has an error besides examples that fail.
    pub fn test(packs: &[SourceText]) -> Result<Vec<ExampleResult>, Report> {
        let compiled = Compiled::new(packs, Occasion::check(SystemTime::now()));
        let mut results = Vec::new();
        for (source, read) in packs.iter().zip(&compiled.packs) {
            let rules =
                read.pack.iter().flat_map(|pack| pack.rules.iter().map(move |rule| (pack, rule)));
            for ((pack, rule), place) in rules.zip(&read.places) {
                let runs = place.map(|index| examples::run(&compiled.plan, index, rule));
                results.extend(runs.into_iter().flatten().map(|run| {
                    let must = if run.must_hit { "hits" } else { "misses" };
                    let shown: String = run.example.text.chars().take(60).collect();
                    ExampleResult {
                        pack: pack.id.value.clone(),
                        rule: rule.id.value.clone(),
                        file: source.name.clone(),
                        line: source.location(run.example.span.start).line,
                        name: format!("{must} {shown:?}"),
                        failure: run.failure.map(|finding| finding.one_line()),
                    }
                }));
            }
        }
        let (_, _, report) = compiled.finish(packs);
        if report.has_errors() { Err(report) } else { Ok(results) }
    }
}

/// The results in the Test Anything Protocol, version 13.
#[must_use]
pub fn tap(results: &[ExampleResult]) -> String {
    let mut out = format!("TAP version 13\n1..{}\n", results.len());
    for (number, result) in (1..).zip(results) {
        let ok = if result.failure.is_some() { "not ok" } else { "ok" };
        // A `#` would begin a directive.
        let name = result.name.replace('#', "\\#");
        let _ = writeln!(out, "{ok} {number} - {}/{} {name}", result.pack, result.rule);
        if let Some(failure) = &result.failure {
            let at = format!("{}:{}", result.file, result.line);
            let _ = writeln!(out, "  ---\n  message: {failure:?}\n  at: {at:?}\n  ...");
        }
    }
    out
}

/// The results as JUnit's XML: a suite for each pack.
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
            let _ = write!(
                out,
                "    <testcase classname=\"{class}\" name=\"{name}\" file=\"{file}\" line=\"{}\"",
                result.line
            );
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

/// For an XML attribute; characters that XML 1.0 cannot hold are left out.
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

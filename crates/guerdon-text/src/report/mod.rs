//! Errors and warnings about texts, shown as a compiler shows them: code, place, the quoted line
//! and what to change.
//!
//! A [`Finding`] is rendered when it is added to a [`Report`], while the text is at hand. A report
//! can therefore be printed and sent without the texts that it is about.

mod diagnostic;
mod finding;
mod render;

use std::fmt;

use serde::{Serialize, Serializer};

pub use self::diagnostic::{Diagnostic, Fix, FixRange, Severity};
pub use self::finding::{Code, Finding};
use self::render::RenderedFinding;
use crate::source_text::{LineIndex, SourceText};

/// The largest number of findings that a report shows, errors before warnings. The others are
/// counted.
const MAX_SHOWN: usize = 1_000;

/// The longest message, label and help, in characters. They quote names from the text, which may be
/// as long as the text.
const MAX_CHARS: usize = 500;

/// The errors and warnings of a set of texts, of which at most 1,000 are shown.
///
/// `Display` writes them without colour, separated by empty lines, with a line end after the last.
/// As JSON, a report is the array of its diagnostics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    diagnostics: Vec<Diagnostic>,
    /// One for each diagnostic.
    rendered: Vec<RenderedFinding>,
    /// Findings beyond the largest number.
    omitted: FindingCounts,
}

/// Numbers of findings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct FindingCounts {
    errors: usize,
    warnings: usize,
}

impl FindingCounts {
    const fn count(&mut self, severity: Severity) {
        match severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
        }
    }
}

impl Report {
    /// Adds one finding about `source`.
    pub fn add(&mut self, source: &SourceText, finding: Finding) {
        self.add_at(source, &LineIndex::new(&source.text), finding);
    }

    fn add_at(&mut self, source: &SourceText, lines: &LineIndex<'_>, mut finding: Finding) {
        if self.diagnostics.len() >= MAX_SHOWN && !self.make_room_for(finding.code.severity()) {
            return self.omitted.count(finding.code.severity());
        }
        finding.cut(MAX_CHARS);
        let line = lines.line(&finding.span);
        self.rendered.push(RenderedFinding::new(&source.name, &line, &finding));
        let end = lines.location(finding.span.end.max(finding.span.start));
        let Finding { code, message, label, help, fix, .. } = finding;
        let fix = fix.map(|fix| {
            let (span, replacement) = *fix;
            let (from, to) = (lines.location(span.start), lines.location(span.end));
            let range = FixRange {
                line: from.line,
                column: from.column,
                end_line: to.line,
                end_column: to.column,
            };
            Fix { range, replacement }
        });
        self.diagnostics.push(Diagnostic {
            code: code.id().to_owned(),
            severity: code.severity(),
            file: source.name.clone(),
            line: line.location.line,
            column: line.location.column,
            end_line: end.line,
            end_column: end.column,
            message,
            label,
            help,
            fix,
        });
    }

    /// Omits the last warning, if the new finding is an error. Returns whether there is room.
    fn make_room_for(&mut self, severity: Severity) -> bool {
        let mut shown = self.diagnostics.iter();
        let warning = match severity {
            Severity::Error => shown.rposition(|d| d.severity == Severity::Warning),
            Severity::Warning => None,
        };
        if let Some(at) = warning {
            self.diagnostics.remove(at);
            self.rendered.remove(at);
            self.omitted.count(Severity::Warning);
        }
        warning.is_some()
    }

    /// Adds the findings about `source` in the order of their places in it.
    pub fn extend(&mut self, source: &SourceText, findings: impl IntoIterator<Item = Finding>) {
        let mut findings: Vec<Finding> = findings.into_iter().collect();
        findings.sort_by_key(|finding| finding.span.start);
        let lines = LineIndex::new(&source.text);
        for finding in findings {
            self.add_at(source, &lines, finding);
        }
    }

    /// Adds all diagnostics of `other`.
    pub fn append(&mut self, other: Self) {
        self.diagnostics.extend(other.diagnostics);
        self.rendered.extend(other.rendered);
        self.omitted.errors += other.omitted.errors;
        self.omitted.warnings += other.omitted.warnings;
    }

    /// The diagnostics, in the order in which they were added.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// True if at least one diagnostic is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.counts().errors > 0
    }

    /// True if there are no diagnostics.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// The numbers of errors and warnings, as in `2 errors, 1 warning`; empty for an empty report.
    #[must_use]
    pub fn summary(&self) -> String {
        let FindingCounts { errors, warnings } = self.counts();
        let counts = [(errors, "error"), (warnings, "warning")].into_iter();
        let words = counts.filter(|(count, _)| *count > 0).map(|(count, noun)| {
            let plural = if count == 1 { "" } else { "s" };
            format!("{count} {noun}{plural}")
        });
        words.collect::<Vec<_>>().join(", ")
    }

    /// The numbers of errors and warnings, with those that are not shown.
    fn counts(&self) -> FindingCounts {
        let mut counts = self.omitted;
        for diagnostic in &self.diagnostics {
            counts.count(diagnostic.severity);
        }
        counts
    }

    /// The remark on findings that are not shown.
    fn remark(&self) -> Option<String> {
        let omitted = self.omitted.errors + self.omitted.warnings;
        (omitted > 0).then(|| format!("{omitted} more findings are not shown ({})", self.summary()))
    }

    /// The text of `Display`, with a terminal's colours.
    #[must_use]
    pub fn coloured(&self) -> String {
        let shown = self.rendered.iter().map(|rendered| format!("{}\n", rendered.coloured));
        let remark = self.remark().map(|remark| format!("{remark}\n"));
        shown.chain(remark).collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rendered) in self.rendered.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            writeln!(f, "{}", rendered.plain)?;
        }
        match self.remark() {
            Some(remark) => writeln!(f, "\n{remark}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Report {}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.diagnostics.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use proptest::prelude::*;

    use super::*;

    const ERROR: Code = Code::error("R002");
    const WARNING: Code = Code::warning("R101");

    fn two_findings() -> Report {
        let pack = SourceText::new("rules/x.yaml", "pack: x\npionts: 3\n");
        let mut report = Report::default();
        report.extend(
            &pack,
            [
                Finding::new(ERROR, 8..14, "no key `pionts`")
                    .label("not a key of a pack")
                    .nearest("pionts", ["points"]),
                Finding::new(WARNING, 0..4, "the pack has no `about`"),
            ],
        );
        report
    }

    #[test]
    fn a_report_quotes_lines_and_points_at_words() {
        let report = two_findings();
        insta::assert_snapshot!(report.to_string());
        assert_eq!(report.summary(), "1 error, 1 warning");
        assert!(report.has_errors() && !report.is_empty());
        assert!(report.to_string().ends_with('\n'));
    }

    #[test]
    fn only_the_coloured_form_has_escape_sequences() {
        let report = two_findings();
        assert!(report.coloured().contains("\u{1b}["));
        assert!(!report.to_string().contains('\u{1b}'));
    }

    #[test]
    fn a_report_is_an_array_of_diagnostics_in_json() {
        let json = serde_json::to_string_pretty(&two_findings()).unwrap();
        insta::assert_snapshot!(json);
        let read: Vec<Diagnostic> = serde_json::from_str(&json).unwrap();
        assert_eq!(read, two_findings().diagnostics());
    }

    #[test]
    fn a_fix_is_stated_by_lines_and_columns() {
        let pack = SourceText::new("x.yaml", "一: \"二\nthree\"\n");
        let mut report = Report::default();
        let span = 5..pack.text.len() - 1;
        let finding = Finding::new(ERROR, span.clone(), "two lines").fix(span, "'x'");
        report.add(&pack, finding);
        report.add(&pack, Finding::new(ERROR, 0..0, "long").fix(0..0, "x".repeat(1 << 20)));
        let [short, long] = report.diagnostics() else { panic!("{report}") };
        let range = FixRange { line: 1, column: 4, end_line: 2, end_column: 7 };
        assert_eq!(short.fix, Some(Fix { range, replacement: "'x'".to_owned() }));
        assert_eq!((short.end_line, short.end_column), (2, 7));
        assert_eq!(long.fix, None, "too long to be shown");
    }

    #[test]
    fn reports_of_older_servers_are_read() {
        let json = r#"{"code": "R001", "severity": "error", "file": "a", "line": 1, "column": 2,
            "message": "x"}"#;
        let read: Diagnostic = serde_json::from_str(json).unwrap();
        assert_eq!((read.end_line, read.fix), (0, None));
    }

    #[test]
    fn appended_diagnostics_are_rendered_too() {
        let mut both = two_findings();
        both.append(two_findings());
        assert_eq!(both.diagnostics().len(), 4);
        assert_eq!(both.to_string(), format!("{0}\n{0}", two_findings()));
    }

    #[test]
    fn findings_beyond_the_largest_number_are_counted() {
        let pack = SourceText::new("x.yaml", "word ".repeat(20_000));
        let mut report = Report::default();
        let warnings = (0..MAX_SHOWN).map(|at| Finding::new(WARNING, at..at, "a warning"));
        report.extend(&pack, warnings);
        assert!(!report.has_errors());
        report.extend(&pack, [Finding::new(ERROR, 90_000..90_004, "an error")]);
        assert!(report.has_errors());
        assert_eq!(report.diagnostics().len(), MAX_SHOWN);
        assert_eq!(report.summary(), "1 error, 1000 warnings");
        assert_eq!(report.diagnostics().last().unwrap().message, "an error");
        let shown = report.to_string();
        let end = "1 more findings are not shown (1 error, 1000 warnings)\n";
        assert!(shown.ends_with(end), "{}", &shown[shown.len() - 200..]);
        assert!(shown.len() < MAX_SHOWN * 1_000, "{} bytes", shown.len());
    }

    #[test]
    fn quoted_names_are_cut() {
        let name = "k".repeat(1 << 20);
        let pack = SourceText::new("x.yaml", name.as_str());
        let finding = Finding::new(ERROR, 0..name.len(), format!("no key `{name}`"));
        let mut report = Report::default();
        report.add(&pack, finding.label(name.as_str()).help(name.as_str()));
        assert!(report.to_string().len() < 5_000, "{}", report.to_string().len());
        assert!(serde_json::to_string(&report).unwrap().len() < 5_000);
    }

    #[test]
    fn a_long_line_is_quoted_in_part_with_its_column() {
        let text = format!("{}价 pionts: 3{}", "x".repeat(1 << 20), "y".repeat(1 << 20));
        let at = (1 << 20) + "价 ".len();
        let pack = SourceText::new("x.yaml", text);
        let mut report = Report::default();
        report.add(&pack, Finding::new(ERROR, at..at + 6, "no key `pionts`").label("no such key"));
        insta::assert_snapshot!(report.to_string());
        assert_eq!(report.diagnostics()[0].column, (1 << 20) + 3);
    }

    #[test]
    fn an_empty_report_prints_nothing() {
        let report = Report::default();
        assert_eq!((report.to_string(), report.coloured()), (String::new(), String::new()));
        assert_eq!(report.summary(), "");
    }

    proptest! {
        #[test]
        fn any_text_and_span_can_be_rendered(
            text in "(\\PC|[a一é\r\n\t\u{0}\u{200b}\u{301} ]){0,24}",
            start in 0_usize..99,
            end in 0_usize..99,
        ) {
            let source = SourceText::new("x", text);
            let mut report = Report::default();
            let span = Range { start, end };
            report.add(&source, Finding::new(ERROR, span, "message").label("label").help("help"));
            prop_assert!(report.to_string().contains("error[R002]: message"));
            prop_assert_eq!(report.diagnostics().len(), 1);
        }
    }
}

//! What is wrong with a pack, told like a compiler: code, place, the quoted line with a caret, and what to change.
//!
//! Each diagnostic is drawn when it is made, while the text is at hand, so a report needs no pack to be printed.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::{Deserialize, Serialize};

use crate::syntax::pack_text::PackText;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The pack does not load.
    Error,
    /// The pack loads; its author should look.
    Warning,
}

/// One thing that is wrong with a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Diagnostic {
    /// `R0xx` an error, `R1xx` a lint.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// The pack's name, as the caller gave it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in Unicode scalar values.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What is the matter with the quoted words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// All that is wrong with a set of packs. `Display` draws it for people, without colour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    diagnostics: Vec<Diagnostic>,
    drawn: Vec<Drawn>,
}

/// A diagnostic, drawn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Drawn {
    plain: String,
    /// With a terminal's colours.
    coloured: String,
}

impl Report {
    /// The diagnostics, by pack and place.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Whether anything stops the packs from loading.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }

    /// As `Display`, in a terminal's colours.
    #[must_use]
    pub fn coloured(&self) -> String {
        let drawn: Vec<String> =
            self.drawn.iter().map(|drawn| format!("{}\n", drawn.coloured)).collect();
        drawn.join("\n")
    }

    /// How many errors and how many warnings, in words: `2 errors, 1 warning`.
    #[must_use]
    pub fn summary(&self) -> String {
        let errors = self.diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
        let counted = |count: usize, of: &str| {
            (count > 0).then(|| format!("{count} {of}{}", if count == 1 { "" } else { "s" }))
        };
        let told = [counted(errors, "error"), counted(self.diagnostics.len() - errors, "warning")];
        let told: Vec<String> = told.into_iter().flatten().collect();
        told.join(", ")
    }

    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, drawn) in self.drawn.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            writeln!(f, "{}", drawn.plain)?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

/// The codes. A code keeps its meaning for ever, so that it can be searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Syntax,
    UnknownKey,
    MissingKey,
    WrongType,
    BadValue,
    DuplicateId,
    BadRegex,
    BadExpression,
    Contradiction,
    ExampleMustHit,
    ExampleMustMiss,
    ExampleUndecided,
    TooLarge,
    NoAbout,
    NoExamples,
    Expires,
    MatchesEmpty,
    NoCap,
    Expired,
    NeverMatches,
    Slow,
    LoosePrice,
    Overlap,
    Shadowed,
}

impl Code {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "R001",
            Self::UnknownKey => "R002",
            Self::MissingKey => "R003",
            Self::WrongType => "R004",
            Self::BadValue => "R005",
            Self::DuplicateId => "R006",
            Self::BadRegex => "R007",
            Self::BadExpression => "R008",
            Self::Contradiction => "R009",
            Self::ExampleMustHit => "R010",
            Self::ExampleMustMiss => "R011",
            Self::ExampleUndecided => "R012",
            Self::TooLarge => "R013",
            Self::NoAbout => "R101",
            Self::NoExamples => "R102",
            Self::Expires => "R103",
            Self::MatchesEmpty => "R104",
            Self::NoCap => "R105",
            Self::Expired => "R014",
            Self::NeverMatches => "R106",
            Self::Slow => "R107",
            Self::LoosePrice => "R108",
            Self::Overlap => "R109",
            Self::Shadowed => "R110",
        }
    }

    fn severity(self) -> Severity {
        if self.as_str().starts_with("R1") { Severity::Warning } else { Severity::Error }
    }
}

/// A diagnostic in the making.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    code: Code,
    span: Range<usize>,
    message: String,
    label: Option<String>,
    help: Option<String>,
}

impl Finding {
    pub(crate) fn new(code: Code, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { code, span, message: message.into(), label: None, help: None }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Its message and label, in one line.
    pub(crate) fn told(&self) -> String {
        match &self.label {
            Some(label) => format!("{}: {label}", self.message),
            None => self.message.clone(),
        }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl Report {
    /// Adds what was found in `pack`, by place.
    pub(crate) fn extend(&mut self, pack: &PackText, mut findings: Vec<Finding>) {
        findings.sort_by_key(|f| f.span.start);
        for finding in findings {
            let place = Place::of(&pack.text, &finding.span);
            self.drawn.push(draw(&pack.name, &place, &finding));
            let Finding { code, message, label, help, .. } = finding;
            self.diagnostics.push(Diagnostic {
                code: code.as_str().to_owned(),
                severity: code.severity(),
                file: pack.name.clone(),
                line: place.line,
                column: place.column,
                message,
                label,
                help,
            });
        }
    }
}

/// The first line of a span, and where in it the span lies.
pub(crate) struct Place<'a> {
    pub(crate) line: usize,
    column: usize,
    text: &'a str,
    within: Range<usize>,
}

impl<'a> Place<'a> {
    pub(crate) fn of(source: &'a str, span: &Range<usize>) -> Self {
        let start = floor(source, span.start);
        let before = source.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = source.get(line_start..).unwrap_or_default();
        let text = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let from = (start - line_start).min(text.len());
        let to = floor(text, span.end.saturating_sub(line_start)).max(from);
        Self {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            text,
            within: from..to,
        }
    }
}

/// The nearest char boundary at or below `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn draw(name: &str, place: &Place<'_>, finding: &Finding) -> Drawn {
    let level = match finding.code.severity() {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut caret = AnnotationKind::Primary.span(place.within.clone());
    if let Some(label) = &finding.label {
        caret = caret.label(label.as_str());
    }
    let snippet = Snippet::source(place.text).line_start(place.line).path(name).annotation(caret);
    let mut group =
        level.primary_title(finding.message.as_str()).id(finding.code.as_str()).element(snippet);
    if let Some(help) = &finding.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let groups = [group];
    Drawn { plain: Renderer::plain().render(&groups), coloured: Renderer::styled().render(&groups) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_quotes_the_line_and_points_at_the_word() {
        let pack = PackText { name: "rules/x.yaml".into(), text: "pack: x\npionts: 3\n".into() };
        let mut report = Report::default();
        report.extend(
            &pack,
            vec![Finding::new(Code::UnknownKey, 8..14, "no key `pionts`").help("`points`")],
        );
        let drawn = report.to_string();
        assert!(drawn.contains("error[R002]: no key `pionts`"), "{drawn}");
        assert!(drawn.contains("rules/x.yaml:2:1"), "{drawn}");
        assert!(drawn.contains("2 | pionts: 3"), "{drawn}");
        assert!(drawn.contains("^^^^^^"), "{drawn}");
        assert_eq!((report.diagnostics()[0].line, report.diagnostics()[0].column), (2, 1));
        assert_eq!(report.summary(), "1 error");
        assert!(report.coloured().contains("\u{1b}[") && !drawn.contains('\u{1b}'));
    }

    #[test]
    fn a_span_beyond_the_text_is_drawn_at_its_end() {
        let pack = PackText { name: "x".into(), text: "价".into() };
        let mut report = Report::default();
        report.extend(&pack, vec![Finding::new(Code::Syntax, 2..99, "cut off")]);
        assert_eq!(report.diagnostics()[0].column, 1);
    }
}

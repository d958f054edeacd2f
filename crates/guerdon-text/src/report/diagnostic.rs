//! One error or warning in the form that is printed as JSON and sent to clients.

use serde::{Deserialize, Serialize};

/// The consequence of a diagnostic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The text does not load.
    Error,
    /// The text loads, but this place may be a mistake.
    Warning,
}

/// One error or warning about a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Diagnostic {
    /// A code that keeps its meaning across versions, such as `R002`. The letter names the kind of
    /// text: `R` a rule pack, `J` a judge rubric, `C` the configuration.
    pub code: String,
    /// The consequence.
    pub severity: Severity,
    /// The text's name, as the caller gave it.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted from 1 in Unicode scalar values.
    pub column: usize,
    /// The line in which the marked part of the text ends. 0 in reports of servers that do not
    /// state it.
    #[serde(default)]
    pub end_line: usize,
    /// The column after the last character of the marked part.
    #[serde(default)]
    pub end_column: usize,
    /// The problem.
    pub message: String,
    /// A note on the marked part of the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// A proposed change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// A replacement that removes the problem, if there is only one that can be meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
}

/// A replacement of a part of a text. Lines and columns count like those of a [`Diagnostic`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Fix {
    /// The part that is replaced.
    pub range: FixRange,
    /// The text that replaces it.
    pub replacement: String,
}

/// The part of a text that a [`Fix`] replaces. An empty range is a place to insert at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FixRange {
    /// The first line.
    pub line: usize,
    /// The column of the first character.
    pub column: usize,
    /// The line in which the part ends.
    pub end_line: usize,
    /// The column after the last character.
    pub end_column: usize,
}

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
    /// The problem.
    pub message: String,
    /// A note on the marked part of the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// A proposed change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

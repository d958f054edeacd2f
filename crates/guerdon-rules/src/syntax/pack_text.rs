//! A pack as its author wrote it.

/// One pack as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackText {
    /// Shown in reports, such as `rules/guardrails.yaml`.
    pub name: String,
    /// YAML.
    pub text: String,
}

//! Formats a pack: one order for the keys of the pack and of its rules, one empty line between
//! rules, no spaces at the ends of lines. A comment stays with the key or the rule below it, and the
//! comments at the start and at the end of a file stay there. A pack whose meaning formatting would
//! change is refused.

mod blocks;
mod changes;

use guerdon_text::Finding;

use self::blocks::Layout;
pub use self::changes::FormatChanges;
use crate::syntax::codes::PackCode;
use crate::syntax::yaml::{self, WithSpan, Yaml};
use crate::{Report, SourceText};

/// A formatted pack.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FormattedPack {
    /// The text, with the line breaks that it had.
    pub text: String,
    /// The changes; `None` if the pack was formatted before.
    pub changes: Option<FormatChanges>,
}

/// Returns the formatted text of `pack`, with the line breaks that it has.
///
/// # Errors
/// See [`format_pack`].
pub fn format(pack: &SourceText) -> Result<String, Report> {
    format_pack(pack).map(|formatted| formatted.text)
}

/// Formats `pack` and states the changes.
///
/// # Errors
/// Returns a [`Report`] if the text is not YAML, or cannot be formatted without a change of its
/// meaning.
pub fn format_pack(pack: &SourceText) -> Result<FormattedPack, Report> {
    let formatted = read(&pack.text).and_then(|before| {
        let layout = Layout::new(&pack.text, &before);
        let content = sorted(&before);
        let keeps_meaning = |tidy: &str| read(tidy).is_ok_and(|after| sorted(&after) == content);
        let spaced = layout.spaced();
        let (tidy, mut changes) = layout.sorted();
        if keeps_meaning(&tidy) {
            changes.spacing = spaced != pack.text;
            let is_changed = tidy != pack.text;
            return Ok(FormattedPack { text: tidy, changes: Some(changes).filter(|_| is_changed) });
        }
        // An alias may need an anchor above it.
        if keeps_meaning(&spaced) {
            let changes = FormatChanges { spacing: true, ..FormatChanges::default() };
            let changes = Some(changes).filter(|_| spaced != pack.text);
            return Ok(FormattedPack { text: spaced, changes });
        }
        let message = "the file cannot be formatted without a change of its meaning";
        let finding = Finding::new(PackCode::Syntax, 0..0, message);
        Err(finding
            .help("write texts over several lines with `|-`, without empty lines at the end"))
    });
    formatted.map_err(|finding| {
        let mut report = Report::default();
        report.add(pack, finding);
        report
    })
}

/// The content of a tree, without source positions and the order of keys.
fn sorted(tree: &WithSpan<Yaml>) -> serde_json::Value {
    match &tree.value {
        Yaml::Null => serde_json::Value::Null,
        Yaml::Bool(value) => (*value).into(),
        Yaml::Number(value) => (*value).into(),
        Yaml::Text(text) => text.as_str().into(),
        Yaml::List(items) => items.iter().map(sorted).collect(),
        Yaml::Map(entries) => {
            let mut entries: Vec<(&String, serde_json::Value)> =
                entries.iter().map(|(key, value)| (&key.value, sorted(value))).collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            entries.into_iter().map(|(key, value)| serde_json::json!([key, value])).collect()
        }
    }
}

/// Reads a text that has no finding.
fn read(text: &str) -> Result<WithSpan<Yaml>, Finding> {
    let (tree, mut findings) = yaml::read(text);
    match (tree, findings.pop()) {
        (Some(tree), None) => Ok(tree),
        (_, finding) => {
            Err(finding.unwrap_or_else(|| Finding::new(PackCode::Syntax, 0..0, "not valid YAML")))
        }
    }
}

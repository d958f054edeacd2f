//! The page of the keys of judge prompts.

use anyhow::ensure;

use super::code_index::CodeIndex;
use super::keys::KeyFile;
use super::markdown::GENERATED;

const PLACES: &[&str] = &["crates/guerdon-judge/src/rubric/"];

const INTRODUCTION: &str = "\
A judge prompt is a Markdown file whose front matter, between two lines `+++`, is TOML with the keys
below. The text after it has the sections `# system` and `# user`. [Judge
prompts](../../judge-prompts/README.md) introduces rubrics. `guerdon judge check` reads a prompt and
reports every fault with its [code](diagnostics.md#judge-prompts).
";

/// The Markdown text of the page.
///
/// # Errors
/// A key has no description.
pub(super) fn page(index: &CodeIndex) -> anyhow::Result<String> {
    let text = format!("{GENERATED}# Keys of judge prompts\n\n{INTRODUCTION}\n");
    let mut file = KeyFile { index, places: PLACES, text, undescribed: Vec::new() };
    file.table("", "FrontMatter")?;
    ensure!(file.undescribed.is_empty(), "keys without a doc comment: {:?}", file.undescribed);
    Ok(format!("{}\n", file.text.trim_end()))
}

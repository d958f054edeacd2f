//! The page of the keys of a model's manifest.

use anyhow::ensure;

use super::code_index::CodeIndex;
use super::keys::KeyFile;
use super::markdown::GENERATED;

const PLACES: &[&str] = &["crates/guerdon-model/src/"];

const INTRODUCTION: &str = "\
The folder of a reward model holds `guerdon.model.toml`, the manifest. [Reward
models](reward-models.md) explains input formats and outputs, and lists public models with the lines
that they need. `guerdon rm init FOLDER` writes a manifest, and `guerdon rm info FOLDER` checks one.
";

/// The Markdown text of the page.
///
/// # Errors
/// A key has no description.
pub(super) fn page(index: &CodeIndex) -> anyhow::Result<String> {
    let text = format!("{GENERATED}# Keys of a model's manifest\n\n{INTRODUCTION}\n");
    let mut file = KeyFile { index, places: PLACES, text, undescribed: Vec::new() };
    file.table("", "Manifest")?;
    ensure!(file.undescribed.is_empty(), "keys without a doc comment: {:?}", file.undescribed);
    Ok(format!("{}\n", file.text.trim_end()))
}

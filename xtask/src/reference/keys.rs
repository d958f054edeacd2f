//! Pages of the keys of a TOML file, from the structs that read it.

use std::fmt::Write as _;

use anyhow::Context as _;

use super::code_index::{CodeIndex, EnumDoc};
use super::configuration::{Multiplicity, stripped, written_type};
use super::markdown::{cell, paragraph};

/// A file whose keys are listed.
pub(super) struct KeyFile<'a> {
    pub(super) index: &'a CodeIndex,
    /// The folders of the structs.
    pub(super) places: &'a [&'a str],
    /// The page so far.
    pub(super) text: String,
    /// Keys without a description.
    pub(super) undescribed: Vec<String>,
}

impl KeyFile<'_> {
    /// Writes a table of the keys of `structure`, then its sub-tables. `path` is empty for the file.
    ///
    /// # Errors
    /// A struct is missing.
    pub(super) fn table(&mut self, path: &str, structure: &str) -> anyhow::Result<()> {
        let doc = self.index.structure(structure, self.places)?.clone();
        if !path.is_empty() {
            self.text.push_str(&paragraph(&doc.about));
        }
        writeln!(self.text, "| key | type | meaning |\n|---|---|---|")?;
        let (mut tables, mut words) = (Vec::new(), Vec::new());
        for field in &doc.fields {
            let key =
                if path.is_empty() { field.key.clone() } else { format!("{path}.{}", field.key) };
            let (inner, repeated) = stripped(&field.kind);
            let mark = if field.is_optional { "" } else { ", required" };
            if field.about.is_empty() {
                self.undescribed.push(key.clone());
            }
            let kind = if self.index.structure(inner, self.places).is_ok() {
                tables.push((key.clone(), inner.to_owned(), repeated));
                if repeated == Multiplicity::List { "list of tables" } else { "table" }.to_owned()
            } else if let Ok(variants) = self.index.enumeration(inner, self.places)
                && !variants.is_untagged
            {
                let plain = variants.variants.iter().all(|one| one.fields.is_empty());
                if plain && variants.variants.iter().any(|one| !one.about.is_empty()) {
                    words.push((key.clone(), variants.clone()));
                }
                named_words(variants)
            } else {
                written_type(&field.kind)
                    .with_context(|| format!("{key}: {} has no name for readers", field.kind))?
            };
            writeln!(self.text, "| `{}` | {kind}{mark} | {} |", field.key, cell(&field.about))?;
        }
        self.text.push('\n');
        for (key, variants) in words {
            writeln!(self.text, "### Values of `{key}`\n\n| value | meaning |\n|---|---|")?;
            for variant in &variants.variants {
                writeln!(self.text, "| `\"{}\"` | {} |", variant.name, cell(&variant.about))?;
            }
            self.text.push('\n');
        }
        for (key, inner, repeated) in tables {
            match repeated {
                Multiplicity::List => writeln!(self.text, "## `[[{key}]]`\n")?,
                Multiplicity::Table => writeln!(self.text, "## `[{key}.NAME]`\n")?,
                Multiplicity::Once => writeln!(self.text, "## `[{key}]`\n")?,
            }
            self.table(&key, &inner)?;
        }
        Ok(())
    }
}

fn named_words(variants: &EnumDoc) -> String {
    let words: Vec<String> =
        variants.variants.iter().map(|one| format!("`\"{}\"`", one.name)).collect();
    words.join(" or ")
}

//! Generated files. They are committed, and a test compares them with what the code generates.

use anyhow::Context as _;

use crate::packages::workspace_root;
use crate::reference::{self, ReferencePage};

struct GeneratedFile {
    path: &'static str,
    text: String,
}

fn all() -> anyhow::Result<Vec<GeneratedFile>> {
    let (openapi, schema) = (guerdon_server::openapi_json()?, guerdon_rules::json_schema());
    let pages = reference::pages(&openapi, &schema)?;
    let mut files = vec![
        GeneratedFile { path: "openapi/guerdon.v1.json", text: openapi },
        GeneratedFile { path: "rules/schema.json", text: schema },
    ];
    files
        .extend(pages.into_iter().map(|ReferencePage { path, text }| GeneratedFile { path, text }));
    Ok(files)
}

/// Writes every generated file; returns their paths.
pub(crate) fn write() -> anyhow::Result<Vec<&'static str>> {
    all()?
        .into_iter()
        .map(|GeneratedFile { path, text }| {
            #[expect(clippy::disallowed_methods, reason = "a generator writes files")]
            std::fs::write(workspace_root().join(path), text)
                .with_context(|| format!("cannot write {path}"))?;
            Ok(path)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_files_match_generated_text() {
        for GeneratedFile { path, text } in all().unwrap() {
            #[expect(clippy::disallowed_methods, reason = "a test reads the committed file")]
            let committed =
                std::fs::read_to_string(workspace_root().join(path)).unwrap_or_default();
            assert!(committed == text, "{path} has drifted; run `make generate` and commit it");
        }
    }
}

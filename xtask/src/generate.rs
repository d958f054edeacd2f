//! The generated files: made from code, committed, and compared by a test.

use std::path::Path;

use anyhow::Context as _;

struct Generated {
    path: &'static str,
    text: String,
}

fn all() -> anyhow::Result<Vec<Generated>> {
    Ok(vec![
        Generated { path: "openapi/guerdon.v1.json", text: guerdon_server::openapi_json()? },
        Generated { path: "rules/schema.json", text: guerdon_rules::json_schema() },
    ])
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Writes every generated file; returns their paths.
pub(crate) fn write() -> anyhow::Result<Vec<&'static str>> {
    all()?
        .into_iter()
        .map(|Generated { path, text }| {
            #[expect(clippy::disallowed_methods, reason = "a generator writes files")]
            std::fs::write(root().join(path), text)
                .with_context(|| format!("cannot write {path}"))?;
            Ok(path)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_files_are_what_the_code_generates() {
        for Generated { path, text } in all().unwrap() {
            #[expect(clippy::disallowed_methods, reason = "a test reads what it compares")]
            let committed = std::fs::read_to_string(root().join(path)).unwrap_or_default();
            assert!(committed == text, "{path} has drifted; run `make generate` and commit it");
        }
    }
}

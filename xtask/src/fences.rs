//! Which crate may know which, and which crate may hold which heavy dependency. Cargo keeps the arrows forward; this keeps
//! them few.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// Ours, and which of ours each may depend on (tests aside).
const OURS: &[(&str, &[&str])] = &[
    ("guerdon-types", &[]),
    ("guerdon-text", &[]),
    ("guerdon-queue", &[]),
    ("guerdon-optim", &[]),
    ("guerdon-testing", &["guerdon-types"]),
    ("guerdon-fusion", &["guerdon-types"]),
    ("guerdon-model", &["guerdon-types", "guerdon-fusion", "guerdon-text", "guerdon-queue"]),
    ("guerdon-judge", &["guerdon-types", "guerdon-fusion", "guerdon-text", "guerdon-queue"]),
    ("guerdon-rules", &["guerdon-types", "guerdon-fusion", "guerdon-text"]),
    ("guerdon-client", &["guerdon-types", "guerdon-optim", "guerdon-queue"]),
    ("guerdon-python", &["guerdon-client"]),
    (
        "guerdon-server",
        &[
            "guerdon-types",
            "guerdon-fusion",
            "guerdon-model",
            "guerdon-judge",
            "guerdon-rules",
            "guerdon-optim",
            "guerdon-text",
            "guerdon-queue",
        ],
    ),
    (
        "guerdon-cli",
        &[
            "guerdon-types",
            "guerdon-fusion",
            "guerdon-server",
            "guerdon-client",
            "guerdon-model",
            "guerdon-judge",
            "guerdon-rules",
            "guerdon-text",
        ],
    ),
];

/// Heavy dependencies, and the only crates of ours that may hold them.
const HEAVY: &[(&str, &[&str])] = &[
    ("ort", &["guerdon-model"]),
    ("tokenizers", &["guerdon-model"]),
    ("axum", &["guerdon-server", "guerdon-testing"]),
    ("notify", &["guerdon-server"]),
    ("reqwest", &["guerdon-judge", "guerdon-client"]),
    ("regex-automata", &["guerdon-rules"]),
    (
        "tokio",
        &[
            "guerdon-queue",
            "guerdon-testing",
            "guerdon-model",
            "guerdon-judge",
            "guerdon-client",
            "guerdon-server",
            "guerdon-cli",
            "guerdon-python",
        ],
    ),
    ("anyhow", &["guerdon-cli"]),
];

/// Fails with the first arrow that crosses a fence.
pub(crate) fn check() -> anyhow::Result<()> {
    let dependencies = dependencies()?;
    for (name, known) in &dependencies {
        let Some((_, allowed)) = OURS.iter().find(|(ours, _)| ours == name) else { continue };
        for other in known {
            let ours = OURS.iter().any(|(ours, _)| ours == other);
            ensure!(!ours || allowed.contains(&other.as_str()), "{name} may not depend on {other}");
            if let Some((_, holders)) = HEAVY.iter().find(|(heavy, _)| heavy == other) {
                ensure!(
                    holders.contains(&name.as_str()),
                    "{name} may not hold {other}; only {holders:?} may"
                );
            }
        }
    }
    for (name, _) in OURS {
        ensure!(
            dependencies.contains_key(*name),
            "{name} is fenced here and is not in the workspace"
        );
    }
    for name in dependencies.keys().filter(|name| name.starts_with("guerdon-")) {
        let fenced = OURS.iter().any(|(ours, _)| ours == name);
        ensure!(
            fenced
                || ["guerdon-tests", "guerdon-examples", "guerdon-training-example"]
                    .contains(&name.as_str()),
            "{name} has no fence"
        );
    }
    Ok(())
}

/// Each workspace member's normal dependencies.
fn dependencies() -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    Ok(packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().cloned().unwrap_or_default();
            let normal = dependencies.iter().filter(|dependency| dependency["kind"].is_null());
            (text(&package["name"]), normal.map(|dependency| text(&dependency["name"])).collect())
        })
        .collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_crate_knows_what_it_must_not() {
        super::check().unwrap();
    }
}

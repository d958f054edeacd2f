//! Allowed dependencies between the workspace's packages, and the packages that may have heavy
//! dependencies.
//!
//! Cargo rejects cycles; this check keeps the remaining edges few.

use anyhow::ensure;

use crate::packages::{DeclaredDependency, workspace_packages};

/// Packages without fences: they may depend on anything.
const UNFENCED: &[&str] =
    &["guerdon-tests", "guerdon-examples", "guerdon-training-example", "xtask"];

/// The workspace's crates, each with the workspace's crates that it may depend on outside tests.
const OURS: &[(&str, &[&str])] = &[
    ("guerdon-types", &["guerdon-text"]),
    ("guerdon-text", &[]),
    ("guerdon-queue", &[]),
    ("guerdon-cluster", &["guerdon-queue", "guerdon-text"]),
    ("guerdon-parquet", &[]),
    ("guerdon-optim", &[]),
    ("guerdon-testing", &["guerdon-types"]),
    ("guerdon-fusion", &["guerdon-types", "guerdon-text"]),
    ("guerdon-model", &["guerdon-types", "guerdon-fusion", "guerdon-text", "guerdon-queue"]),
    ("guerdon-judge", &["guerdon-types", "guerdon-fusion", "guerdon-text", "guerdon-queue"]),
    ("guerdon-rules", &["guerdon-types", "guerdon-fusion", "guerdon-text", "guerdon-queue"]),
    ("guerdon-remote", &["guerdon-types", "guerdon-fusion", "guerdon-text", "guerdon-queue"]),
    ("guerdon-ledger", &["guerdon-types", "guerdon-text"]),
    ("guerdon-inspector", &["guerdon-types", "guerdon-fusion", "guerdon-ledger", "guerdon-text"]),
    ("guerdon-lsp", &["guerdon-rules", "guerdon-text"]),
    ("guerdon-adapters", &["guerdon-types", "guerdon-fusion", "guerdon-text"]),
    ("guerdon-client", &["guerdon-types", "guerdon-optim", "guerdon-queue"]),
    ("guerdon-python", &["guerdon-client"]),
    (
        "guerdon-server",
        &[
            "guerdon-types",
            "guerdon-fusion",
            "guerdon-adapters",
            "guerdon-cluster",
            "guerdon-inspector",
            "guerdon-model",
            "guerdon-judge",
            "guerdon-ledger",
            "guerdon-remote",
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
            "guerdon-inspector",
            "guerdon-ledger",
            "guerdon-lsp",
            "guerdon-model",
            "guerdon-judge",
            "guerdon-rules",
            "guerdon-parquet",
            "guerdon-text",
        ],
    ),
];

/// Heavy dependencies, each with the crates that may depend on it.
const HEAVY: &[(&str, &[&str])] = &[
    ("ort", &["guerdon-model"]),
    ("tokenizers", &["guerdon-model"]),
    ("parquet", &["guerdon-parquet"]),
    ("axum", &["guerdon-adapters", "guerdon-server", "guerdon-testing"]),
    ("notify", &["guerdon-server"]),
    ("rusqlite", &["guerdon-ledger"]),
    ("tokio-postgres", &["guerdon-ledger"]),
    ("redis", &["guerdon-cluster"]),
    ("reqwest", &["guerdon-judge", "guerdon-remote", "guerdon-client"]),
    ("regex-automata", &["guerdon-rules"]),
    (
        "tokio",
        &[
            "guerdon-adapters",
            "guerdon-cluster",
            "guerdon-ledger",
            "guerdon-queue",
            "guerdon-testing",
            "guerdon-model",
            "guerdon-judge",
            "guerdon-remote",
            "guerdon-client",
            "guerdon-server",
            "guerdon-cli",
            "guerdon-python",
        ],
    ),
    ("anyhow", &["guerdon-cli"]),
];

/// Fails with the first dependency that is not allowed.
///
/// # Errors
/// A dependency is not allowed, or a package is missing from the tables.
pub(crate) fn check() -> anyhow::Result<()> {
    let packages = workspace_packages()?;
    for package in &packages {
        let Some((name, allowed)) = OURS.iter().find(|(ours, _)| *ours == package.name) else {
            let unfenced = UNFENCED.contains(&package.name.as_str());
            ensure!(unfenced, "{} is missing from the tables in fences.rs", package.name);
            continue;
        };
        for DeclaredDependency { name: other, .. } in
            package.dependencies.iter().filter(|dependency| dependency.is_normal)
        {
            let ours = OURS.iter().any(|(ours, _)| ours == other);
            ensure!(!ours || allowed.contains(&other.as_str()), "{name} may not depend on {other}");
            if let Some((_, holders)) = HEAVY.iter().find(|(heavy, _)| heavy == other) {
                ensure!(
                    holders.contains(name),
                    "{name} may not depend on {other}; only {holders:?} may"
                );
            }
        }
    }
    for (name, _) in OURS {
        ensure!(
            packages.iter().any(|package| package.name == *name),
            "{name} is listed in fences.rs and is not in the workspace"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_dependency_is_allowed() {
        super::check().unwrap();
    }
}

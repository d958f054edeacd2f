//! Drafts of manifests, for model folders as other tools leave them (`guerdon rm init`).

pub(crate) mod folder;
pub(crate) mod graph;
pub(crate) mod manifest;
#[cfg(test)]
mod tests;

//! Drafts of manifests, for model folders as other tools leave them (`guerdon rm init`).

pub(crate) mod drafting;
pub(crate) mod folder;
pub(crate) mod graph;
mod input;
mod labels;
pub(crate) mod manifest;
mod output;
#[cfg(test)]
mod tests;

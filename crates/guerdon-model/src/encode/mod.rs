//! Encoding: from a dialogue to the token ids that a model reads.

pub(crate) mod pair;
pub(crate) mod steps;
pub(crate) mod template;
pub(crate) mod tokenize;
pub(crate) mod tokens;
pub(crate) mod window;

//! Encoding: from a dialogue to the token ids that a model reads.

pub(crate) mod contents;
pub(crate) mod control;
pub(crate) mod cut;
pub(crate) mod drop;
#[cfg(test)]
mod forged;
#[cfg(test)]
mod golden;
pub(crate) mod neutral;
pub(crate) mod pair;
pub(crate) mod pieces;
#[cfg(test)]
mod reading;
pub(crate) mod steps;
pub(crate) mod template;
pub(crate) mod token_ref;
pub(crate) mod tokenize;
pub(crate) mod tokens;
pub(crate) mod turns;
pub(crate) mod window;

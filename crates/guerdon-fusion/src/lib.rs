//! What a reward source is, and how several become one reward.

mod source;
pub use source::{Ask, Channel, RewardSource, SourceVersion};
/// Re-exported so that a source's author needs no futures crate of their own.
pub use futures_util::future::BoxFuture;

//! Sources that compare the samples of a group: their trait, and when they are asked.

mod ask;
mod source;

pub use source::{GroupAsk, GroupMember, GroupSource};

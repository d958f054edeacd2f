//! The foundation of every computation: number types, row masks, vectorised walks over a batch, and exact sums.

pub(crate) mod blocks;
pub mod exp;
pub mod float;
pub mod instructions;
pub(crate) mod lanes;
pub mod rows;
pub(crate) mod scan;
pub(crate) mod welford;

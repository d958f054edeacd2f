//! The base of every computation: number types, row masks and the vectorised walk over a batch.
//!
//! | file | contents |
//! |---|---|
//! | [`rows`] | the slots of a `[B, T]` slice that hold tokens |
//! | [`float`], [`exp`] | `f32` and `f64`; `e^x` that vectorises |
//! | [`instructions`] | the vector instructions that the kernels run on |
//! | `blocks`, `lanes` | blocks, spans and chunks; arrays of 64 numbers |
//! | `scan` | first-order recursions |
//! | `threads` | the threads that blocks are spread over, also after a fork |
//! | `welford` | mean and variance without cancellation |

pub(crate) mod blocks;
pub mod exp;
pub mod float;
pub mod instructions;
pub(crate) mod lanes;
pub mod rows;
pub(crate) mod scan;
pub(crate) mod threads;
pub(crate) mod welford;

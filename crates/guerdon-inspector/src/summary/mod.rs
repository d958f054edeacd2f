//! Numbers of many rollouts: a run by step, and two digests on the same rollouts.

mod compare;
mod quantile;
mod run;

pub(crate) use compare::{Comparison, ComparisonBuilder, RewardChange};
pub(crate) use quantile::{Quantiles, quantiles};
pub(crate) use run::{DigestChange, RunBuilder, RunSummary, StepSummary};

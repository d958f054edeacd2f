//! Numbers of many rollouts: a run by step, its warning signs, rules and criteria, and two digests
//! on the same rollouts.

mod compare;
mod components;
mod judge;
mod pearson;
mod quantile;
mod run;
mod watch;

pub(crate) use compare::{Comparison, ComparisonBuilder, RewardChange};
pub(crate) use components::{ComponentSummary, ComponentsBuilder};
pub(crate) use judge::{CriterionSummary, JudgeSummary, judge};
pub(crate) use quantile::{Quantiles, quantiles};
pub(crate) use run::{DigestChange, RunBuilder, RunSummary, StepSummary};
pub(crate) use watch::{WatchSign, watch};

//! End-to-end tests: one binary, the real server on port 0, one file for each promise of the README.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod absence;
mod adapters;
mod bad_input;
mod bounded_bodies;
mod cohorts;
mod configuration;
mod corpus;
mod door;
mod echoes;
mod generations;
mod groups;
mod judge;
mod judge_operation;
mod ledger;
mod metrics;
mod model;
mod odd_files;
mod reload;
mod reload_folder;
mod reload_writes;
mod rollout_rubrics;
mod rules_check;
mod scoring;
mod security;
mod shipped;
mod sources;
mod stopping;
mod streaming;

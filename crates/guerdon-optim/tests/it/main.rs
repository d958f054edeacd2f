//! The integration tests of the optimizer.
//!
//! | file | contents |
//! |---|---|
//! | `golden/` | agreement with reference results of verl and OpenRLHF (data in `tests/golden/`) |
//! | `known_bugs.rs` | bugs of other trainers, reproduced next to the definition |
//! | `settings.rs` | ranges of settings, and errors for each |
//! | `instructions.rs`, `threads.rs` | the same bits on every instruction set and number of threads |
//! | `repeated_batches.rs` | batches of many blocks |
//! | `allocations.rs` | a second update allocates nothing |

#[cfg(test)]
mod allocations;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod instructions;
#[cfg(test)]
mod known_bugs;
#[cfg(test)]
mod repeated_batches;
#[cfg(test)]
mod settings;
#[cfg(test)]
mod threads;

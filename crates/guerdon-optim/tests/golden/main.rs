//! Agreement with verl 0.9.1 and OpenRLHF 0.11.2 on reference batches; see README.md beside this file.

#[cfg(test)]
mod big;
#[cfg(test)]
mod case;
#[cfg(test)]
mod corrections;
#[cfg(test)]
mod edges;
#[cfg(test)]
mod estimators;
#[cfg(test)]
mod inputs;
#[cfg(test)]
mod losses;

/// Where the trainer computes the same expression, in f64.
#[cfg(test)]
const EXACT: f64 = 1e-10;
/// Against verl where it adds 1e-8 to a count or a sum, which shifts a batch of one token by that much.
#[cfg(test)]
const COUNT: f64 = 3e-8;

//! How good a judge is: probes, calibration against people, drift, and a preview for authors.

pub(crate) mod calibrate;
pub(crate) mod drift;
pub(crate) mod preview;
pub(crate) mod probes;

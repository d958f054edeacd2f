//! Quality of a judge: probes, calibration against people, drift statistics, and a preview for
//! authors.

pub(crate) mod calibrate;
pub(crate) mod drift;
pub(crate) mod preview;
pub(crate) mod probes;

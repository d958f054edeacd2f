//! Quality of a judge: probes, canaries, calibration against people, drift statistics, new points on
//! stored verdicts, and for authors a preview and the explanation of a verdict.

pub(crate) mod calibrate;
mod canaries;
pub(crate) mod drift;
pub(crate) mod explain;
pub(crate) mod position;
pub(crate) mod preview;
pub(crate) mod probes;
pub(crate) mod rescore;
mod stored;

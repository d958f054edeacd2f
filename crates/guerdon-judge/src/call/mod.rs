//! Calls to a judge endpoint: attempts, retries, hedges, and the wire format.

pub(crate) mod attempt;
pub(crate) mod capabilities;
pub(crate) mod client;
pub(crate) mod hedge;
pub(crate) mod patience;
pub(crate) mod retry;
pub(crate) mod services;
pub(crate) mod token_estimate;
pub(crate) mod transport;
pub(crate) mod upstream;
pub(crate) mod wire;

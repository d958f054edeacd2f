//! Calls to the addresses of one service: queue, limits and health, retries, HTTP.

mod endpoint;
mod fault;
mod limits;
mod transport;

pub(crate) use self::endpoint::{CallRequest, ServiceEndpoint, ServiceSettings};
pub(crate) use self::fault::CallFault;
pub(crate) use self::limits::CallLimits;

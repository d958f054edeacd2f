//! The configuration of sources behind HTTP: plain data with units in the types. Nothing here reads
//! the environment or a file.

mod cache;
mod defaults;
mod http;
mod remote_rm;

pub use self::cache::TurnCacheConfig;
pub use self::http::HttpSourceConfig;
pub(crate) use self::remote_rm::OutputIndex;
pub use self::remote_rm::{RemoteRmConfig, RmProtocol};

//! A reward model on another server.

mod protocol;
mod source;
mod template;
mod wire;

pub use self::source::RemoteRmSource;

//! A user's function behind HTTP.

mod reply;
mod request;
mod signature;
mod source;

pub use self::source::HttpSource;

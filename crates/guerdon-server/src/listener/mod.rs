//! The accept loop: connections, their timeouts and their limits. Requests go to the router.
//!
//! | File | Contents |
//! |---|---|
//! | `accept.rs` | [`Listener`]: accepts connections until the stop |
//! | `table.rs` | the open connections by address, and the choice of one to close |
//! | `connection.rs` | one connection: hyper, the clock and the stop |
//! | `activity.rs` | the state of one connection, from which its timeouts follow |
//! | `pace.rs` | the time that a client may take to send or read |
//! | `socket.rs` | the socket, which reports its progress |
//! | `request_body.rs` | request bodies that fail if the client is too slow |
//! | `reply_body.rs` | reply bodies that notice a client that stops reading |

mod accept;
mod activity;
mod connection;
mod pace;
mod reply_body;
mod request_body;
mod socket;
mod table;

pub(crate) use self::accept::{Listener, ListenerContext, StopSignals};
pub(crate) use self::request_body::BodyError;

//! The listening socket. It is bound before the models load, so that a taken port is reported at
//! once, and it accepts connections only when the server can score.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use crate::config::ConfigSource;
use crate::error::LoadError;
use crate::http::auth::{Auth, OpenWithoutTokens};
use crate::load::file_set::FileSet;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// The server cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration or a token cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The server would be open to every machine.
    #[error(transparent)]
    Open(#[from] OpenWithoutTokens),
    /// The address cannot be bound.
    #[error(
        "cannot listen on `{address}`: {cause}\n  help: choose another address with --listen (port 0 picks a free one)"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        cause: std::io::Error,
    },
    /// The ledger cannot be opened.
    #[error(transparent)]
    Ledger(#[from] guerdon_ledger::Error),
}

/// A socket that holds its address and does not accept connections yet.
#[derive(Debug)]
pub struct BoundSocket {
    /// The address, with the port that the system picked for port 0.
    pub(crate) address: SocketAddr,
    socket: TcpSocket,
}

impl BoundSocket {
    /// Reads the configuration and the tokens, and binds the configured address.
    ///
    /// # Errors
    /// [`StartError`] if the configuration or a token cannot be read, or if the address cannot be
    /// bound or must not be served without tokens.
    pub fn bind(source: &ConfigSource) -> Result<Self, StartError> {
        let config = source.load().map_err(LoadError::from)?;
        let mut files = FileSet::default();
        let environment = source.environment.as_ref();
        let auth = Auth::load(&config.auth, &mut files, &source.root(), environment)
            .map_err(LoadError::from)?;
        auth.check_listen(config.server.listen, &config.auth)?;
        Self::new(config.server.listen)
    }

    pub(crate) fn new(address: SocketAddr) -> Result<Self, StartError> {
        let bound = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // As `TcpListener::bind` does: connections of an earlier process do not hold the port.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            Ok(Self { address: socket.local_addr()?, socket })
        };
        bound().map_err(|cause| StartError::Listen { address, cause })
    }

    /// Starts to accept connections. Needs an async runtime.
    pub(crate) fn listen(self) -> Result<TcpListener, StartError> {
        let address = self.address;
        self.socket.listen(BACKLOG).map_err(|cause| StartError::Listen { address, cause })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn taken_port_is_reported_before_listening() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = BoundSocket::new(address).unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("--listen"), "{error}");
        drop(taken);
        let socket = BoundSocket::new(address).unwrap();
        assert!(std::net::TcpStream::connect(address).is_err(), "it does not listen yet");
        let _listening = socket.listen().unwrap();
        assert!(std::net::TcpStream::connect(address).is_ok());
    }
}

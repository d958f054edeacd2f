//! The door: slow, greedy and foreign clients affect no other client and no stop.

mod browser;
mod codings;
mod fairness;
mod foreign_pages;
mod label;
mod pages;
mod timeouts;
mod tokens;
mod unfinished;
mod workbench;

use std::net::SocketAddr;
use std::time::Duration;

use guerdon_tests::Server;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// Longest time that a test waits for something that must happen much sooner.
const PATIENCE: Duration = Duration::from_secs(30);

/// Another address of this machine, and so another caller.
const OTHER_ADDRESS: [u8; 4] = [127, 0, 0, 2];

/// A rules-only server with further keys of `[server]` and further sections.
async fn light(server: &str, sections: &str) -> Server {
    Server::from_config(&light_config(server, sections), &[]).await
}

/// The configuration of [`light`].
fn light_config(server: &str, sections: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndrain = \"20s\"\n{server}\n[profiles.test]\n\
         rules = [\"rules.yaml\"]\nfusion = {{ method = \"weighted_sum\" }}\n{sections}"
    )
}

/// A connection whose bytes a test chooses.
struct Wire(TcpStream);

impl Wire {
    async fn connect(server: &Server) -> Self {
        Self::connect_from(server, [127, 0, 0, 1]).await
    }

    /// A connection with this address as its source.
    async fn connect_from(server: &Server, source: [u8; 4]) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((source, 0))).unwrap();
        // A small window, so that a client that does not read blocks the server soon.
        socket.set_recv_buffer_size(4 << 10).unwrap();
        let address = server.url.strip_prefix("http://").unwrap().parse().unwrap();
        Self(socket.connect(address).await.unwrap())
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Sends a request with a JSON body, or the first bytes of one of `length` bytes.
    async fn post(&mut self, path: &str, length: usize, body: &[u8]) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n"
        );
        self.send(&[head.as_bytes(), body].concat()).await;
    }

    /// Everything that the server sends until it closes the connection.
    async fn until_closed(&mut self) -> String {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut bytes)).await;
        // A reset is an end, too.
        drop(read.expect("the server closes the connection"));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The head of a reply.
    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        let read = async {
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.0.read_u8().await.unwrap());
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("a reply");
        String::from_utf8(head).unwrap()
    }

    /// The status of a reply.
    async fn status(&mut self) -> u16 {
        self.head().await.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

/// A client whose source is another address.
fn other_client() -> reqwest::Client {
    let address = std::net::IpAddr::from(OTHER_ADDRESS);
    reqwest::Client::builder().no_proxy().local_address(address).build().unwrap()
}

/// The status of `POST /v1/score` with `body`, sent by `client`.
async fn score_status(client: &reqwest::Client, server: &Server, body: &Value) -> u16 {
    let sent = client.post(format!("{}/v1/score", server.url)).json(body).send().await;
    sent.unwrap().status().as_u16()
}

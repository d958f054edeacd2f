//! Messages to the client, sent in the order in which they are handed over.

use std::io::{self, Write};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use lsp_server::{ErrorCode, Message, Notification, Request, RequestId, Response};
use serde_json::{Value as Json, json};

/// The number of messages that may wait. The senders wait while the client does not read.
const MAX_WAITING: usize = 1_024;

#[derive(Debug)]
enum Outgoing {
    Message(Message),
    /// The reply to a message that could not be read, so that its id is not known.
    Malformed(String),
}

/// A handle to send messages with.
#[derive(Debug, Clone)]
pub(crate) struct EditorClient {
    sender: Sender<Outgoing>,
}

/// An error reply.
#[derive(Debug, Clone)]
pub(crate) struct RequestFailure {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

impl RequestFailure {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl EditorClient {
    /// Starts the thread that writes to `output`. It ends when the last handle is dropped.
    pub(crate) fn start(output: impl Write + Send + 'static) -> (Self, JoinHandle<io::Result<()>>) {
        let (sender, receiver) = bounded(MAX_WAITING);
        (Self { sender }, thread::spawn(move || write_all(&receiver, output)))
    }

    pub(crate) fn reply(&self, id: RequestId, result: Result<Json, RequestFailure>) {
        let response = match result {
            Ok(value) => Response::new_ok(id, value),
            Err(RequestFailure { code, message }) => Response::new_err(id, code as i32, message),
        };
        self.send(Outgoing::Message(response.into()));
    }

    pub(crate) fn notify(&self, method: &str, params: Json) {
        let method = method.to_owned();
        self.send(Outgoing::Message(Notification { method, params }.into()));
    }

    pub(crate) fn request(&self, id: &str, method: &str, params: Json) {
        let (id, method) = (RequestId::from(id.to_owned()), method.to_owned());
        self.send(Outgoing::Message(Request { id, method, params }.into()));
    }

    pub(crate) fn malformed(&self, why: String) {
        self.send(Outgoing::Malformed(why));
    }

    /// Sends, unless the client is gone; its input then ends, too.
    fn send(&self, outgoing: Outgoing) {
        let _ = self.sender.send(outgoing);
    }
}

fn write_all(receiver: &Receiver<Outgoing>, mut output: impl Write) -> io::Result<()> {
    for outgoing in receiver {
        match outgoing {
            Outgoing::Message(message) => message.write(&mut output)?,
            Outgoing::Malformed(why) => {
                let code = ErrorCode::ParseError as i32;
                let error = json!({ "code": code, "message": why });
                let body = json!({ "jsonrpc": "2.0", "id": null, "error": error }).to_string();
                write!(output, "Content-Length: {}\r\n\r\n{body}", body.len())?;
                output.flush()?;
            }
        }
    }
    Ok(())
}

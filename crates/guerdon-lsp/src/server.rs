//! The life of a server: initialisation, documents, requests, shutdown.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;

use ls_types::{
    CodeActionKind, CodeActionOptions, CodeActionProviderCapability, CompletionOptions,
    DidChangeTextDocumentParams, DidCloseTextDocumentParams, DidOpenTextDocumentParams,
    HoverProviderCapability, InitializeParams, InitializeResult, OneOf, SaveOptions,
    ServerCapabilities, ServerInfo, TextDocumentSyncCapability, TextDocumentSyncKind,
    TextDocumentSyncOptions, TextDocumentSyncSaveOptions,
};
use lsp_server::{ErrorCode, Message, Notification, Request, RequestId};
use serde_json::{Value as Json, json};

use crate::checker::Checker;
use crate::client::{EditorClient, RequestFailure};
use crate::diagnostics::FIX_ALL;
use crate::documents::OpenDocuments;
use crate::position::Encoding;
use crate::requests::{RequestAnswers, parameters};
use crate::wire::{self, Incoming};

/// The end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// The client asked for the shutdown before it ended the session.
    Orderly,
    /// The client ended the session, or its stream ended, without a shutdown.
    Abrupt,
}

/// Serves one client until it ends the session.
///
/// # Errors
/// An error of a stream, or a message whose length is not stated.
pub fn serve(
    mut input: impl BufRead,
    output: impl Write + Send + 'static,
) -> io::Result<SessionEnd> {
    let (client, writer) = EditorClient::start(output);
    let ended = run(&mut input, &client);
    drop(client);
    match writer.join() {
        // A client that ends abruptly may close its input first.
        Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => ended.and(Err(error)),
        _ => ended,
    }
}

fn run(input: &mut impl BufRead, client: &EditorClient) -> io::Result<SessionEnd> {
    let mut state = SessionState::Fresh;
    loop {
        match wire::read(input)? {
            None => return Ok(SessionEnd::Abrupt),
            Some(Incoming::Malformed(why)) => client.malformed(why),
            Some(Incoming::Message(Message::Notification(note))) if note.method == "exit" => {
                let orderly = matches!(state, SessionState::Stopped);
                return Ok(if orderly { SessionEnd::Orderly } else { SessionEnd::Abrupt });
            }
            Some(Incoming::Message(Message::Notification(note))) => {
                if let SessionState::Ready(server) = &mut state {
                    server.notification(note);
                }
            }
            Some(Incoming::Message(Message::Request(request))) => {
                state = state.request(request, client)
            }
            // The replies to the server's own requests say nothing that it needs.
            Some(Incoming::Message(Message::Response(_))) => {}
        }
    }
}

/// The progress of a session.
enum SessionState {
    /// Before `initialize`.
    Fresh,
    Ready(Box<Server>),
    /// After `shutdown`.
    Stopped,
}

impl SessionState {
    fn request(self, request: Request, client: &EditorClient) -> Self {
        let refuse = |code, message: &str| {
            client.reply(request.id.clone(), Err(RequestFailure::new(code, message)));
        };
        match (self, request.method.as_str()) {
            (Self::Fresh, "initialize") => {
                match parameters::<InitializeParams>(request.params) {
                    Ok(params) => {
                        let server = Server::new(client.clone(), &params);
                        client.reply(request.id, server.capabilities());
                        return Self::Ready(Box::new(server));
                    }
                    Err(failure) => client.reply(request.id, Err(failure)),
                }
                Self::Fresh
            }
            (Self::Fresh, _) => {
                refuse(ErrorCode::ServerNotInitialized, "`initialize` comes first");
                Self::Fresh
            }
            (Self::Stopped, _) => {
                refuse(ErrorCode::InvalidRequest, "the server was shut down");
                Self::Stopped
            }
            (Self::Ready(server), "shutdown") => {
                // Ends the threads, so that nothing is sent after the reply.
                drop(server);
                client.reply(request.id, Ok(Json::Null));
                Self::Stopped
            }
            (Self::Ready(server), "initialize") => {
                refuse(ErrorCode::InvalidRequest, "the server is initialised already");
                Self::Ready(server)
            }
            (Self::Ready(server), method) if RequestAnswers::answers(method) => {
                server.requests.add(request, server.documents.clone());
                Self::Ready(server)
            }
            (Self::Ready(server), method) => {
                refuse(ErrorCode::MethodNotFound, &format!("no method {method}"));
                Self::Ready(server)
            }
        }
    }
}

/// A server that was initialised.
struct Server {
    client: EditorClient,
    encoding: Encoding,
    watches: bool,
    documents: OpenDocuments,
    requests: RequestAnswers,
    checker: Checker,
}

impl Server {
    fn new(client: EditorClient, params: &InitializeParams) -> Self {
        let capabilities = &params.capabilities;
        let offered = capabilities.general.as_ref().and_then(|g| g.position_encodings.as_deref());
        let encoding = Encoding::negotiated(offered);
        let watched = capabilities.workspace.as_ref().and_then(|w| w.did_change_watched_files);
        let watches = watched.and_then(|watched| watched.dynamic_registration) == Some(true);
        let checker = Checker::start(client.clone(), encoding);
        let requests = RequestAnswers::start(client.clone(), checker.reports.clone());
        Self { client, encoding, watches, documents: OpenDocuments::default(), requests, checker }
    }

    fn capabilities(&self) -> Result<Json, RequestFailure> {
        let capabilities = ServerCapabilities {
            position_encoding: Some(self.encoding.kind()),
            text_document_sync: Some(TextDocumentSyncCapability::Options(
                TextDocumentSyncOptions {
                    open_close: Some(true),
                    change: Some(TextDocumentSyncKind::INCREMENTAL),
                    save: Some(TextDocumentSyncSaveOptions::SaveOptions(SaveOptions {
                        include_text: Some(false),
                    })),
                    ..TextDocumentSyncOptions::default()
                },
            )),
            completion_provider: Some(CompletionOptions {
                trigger_characters: Some(["$", ".", " "].map(str::to_owned).to_vec()),
                ..CompletionOptions::default()
            }),
            hover_provider: Some(HoverProviderCapability::Simple(true)),
            code_action_provider: Some(CodeActionProviderCapability::Options(CodeActionOptions {
                code_action_kinds: Some(vec![CodeActionKind::QUICKFIX, FIX_ALL]),
                ..CodeActionOptions::default()
            })),
            document_formatting_provider: Some(OneOf::Left(true)),
            ..ServerCapabilities::default()
        };
        let server_info = Some(ServerInfo {
            name: "guerdon".to_owned(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        });
        let result = InitializeResult { capabilities, server_info, ..InitializeResult::default() };
        serde_json::to_value(result)
            .map_err(|error| RequestFailure::new(ErrorCode::InternalError, error.to_string()))
    }

    fn notification(&mut self, note: Notification) {
        let method = note.method.clone();
        if let Err(failure) = self.handle(note) {
            let message = format!("guerdon: {method} was ignored: {}", failure.message);
            self.client.notify("window/logMessage", json!({ "type": 2, "message": message }));
        }
    }

    fn handle(&mut self, note: Notification) -> Result<(), RequestFailure> {
        match note.method.as_str() {
            "initialized" if self.watches => self.watch(),
            "textDocument/didOpen" => {
                let params: DidOpenTextDocumentParams = parameters(note.params)?;
                let opened = params.text_document;
                let uri = opened.uri.clone();
                self.documents.open(opened.uri, opened.version, &opened.text, self.encoding);
                self.check(self.documents.get(&uri).map(|document| document.path.clone()));
            }
            "textDocument/didChange" => {
                let params: DidChangeTextDocumentParams = parameters(note.params)?;
                let changed = params.text_document;
                if !self.documents.change(&changed.uri, changed.version, params.content_changes) {
                    let message = format!("{} is not open", changed.uri.as_str());
                    return Err(RequestFailure::new(ErrorCode::InvalidParams, message));
                }
                self.check(self.documents.get(&changed.uri).map(|document| document.path.clone()));
            }
            "textDocument/didClose" => {
                let params: DidCloseTextDocumentParams = parameters(note.params)?;
                let uri = params.text_document.uri;
                let path = self.documents.get(&uri).map(|document| document.path.clone());
                if self.documents.close(&uri) {
                    self.check(path);
                }
            }
            "textDocument/didSave" | "workspace/didChangeWatchedFiles" => {
                self.check(self.documents.iter().map(|document| document.path.clone()));
            }
            "$/cancelRequest" => {
                let id = note.params.get("id").cloned().unwrap_or_default();
                self.requests.cancel(&parameters::<RequestId>(id)?);
            }
            // Others are optional.
            _ => {}
        }
        Ok(())
    }

    fn check(&self, changed: impl IntoIterator<Item = PathBuf>) {
        self.checker.check(self.documents.clone(), changed);
    }

    /// Asks the client to report changes of packs on the disk.
    fn watch(&self) {
        let watchers = json!([{ "globPattern": "**/*.{yaml,yml}" }]);
        let registration = json!({
            "id": "guerdon-packs",
            "method": "workspace/didChangeWatchedFiles",
            "registerOptions": { "watchers": watchers },
        });
        let params = json!({ "registrations": [registration] });
        self.client.request("guerdon-packs", "client/registerCapability", params);
    }
}

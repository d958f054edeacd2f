//! An editor: it writes messages and reads them, and keeps the latest diagnostics.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use guerdon_lsp::{SessionEnd, serve};
use serde_json::{Value as Json, json};

pub(crate) struct Editor {
    input: Option<PipeWriter>,
    output: BufReader<PipeReader>,
    server: Option<JoinHandle<std::io::Result<SessionEnd>>>,
    next_id: i32,
    /// The latest diagnostics and their version, by URI.
    diagnostics: HashMap<String, Json>,
    pub(crate) folder: tempfile::TempDir,
}

impl Editor {
    /// An editor whose server was not initialised.
    pub(crate) fn fresh() -> Self {
        let (input_end, input) = std::io::pipe().unwrap();
        let (output, output_end) = std::io::pipe().unwrap();
        let server = std::thread::spawn(move || serve(BufReader::new(input_end), output_end));
        Self {
            input: Some(input),
            output: BufReader::new(output),
            server: Some(server),
            next_id: 0,
            diagnostics: HashMap::new(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// An editor that counts characters in `encoding`.
    pub(crate) fn counting_in(encoding: &str) -> Self {
        let mut editor = Self::fresh();
        let capabilities = json!({ "general": { "positionEncodings": [encoding] } });
        let reply = editor.request(
            "initialize",
            json!({ "processId": null, "rootUri": null, "capabilities": capabilities }),
        );
        assert_eq!(reply["result"]["capabilities"]["positionEncoding"], encoding);
        editor.notify("initialized", json!({}));
        editor
    }

    pub(crate) fn new() -> Self {
        Self::counting_in("utf-16")
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
    }

    pub(crate) fn send(&mut self, message: &Json) {
        let body = message.to_string();
        self.raw(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    }

    pub(crate) fn notify(&mut self, method: &str, params: Json) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Sends a request and returns its id.
    pub(crate) fn ask(&mut self, method: &str, params: Json) -> i32 {
        self.next_id += 1;
        let id = self.next_id;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    pub(crate) fn request(&mut self, method: &str, params: Json) -> Json {
        let id = self.ask(method, params);
        self.reply_to(&json!(id))
    }

    pub(crate) fn reply_to(&mut self, id: &Json) -> Json {
        loop {
            let message = self.read().expect("the server ended without a reply");
            if message.get("method").is_none() && message["id"] == *id {
                return message;
            }
        }
    }

    /// The next message; `None` at the end of the stream.
    pub(crate) fn read(&mut self) -> Option<Json> {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            match line.trim().split_once(": ") {
                Some((_, value)) => length = value.parse().unwrap(),
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.output.read_exact(&mut body).unwrap();
        let message: Json = serde_json::from_slice(&body).unwrap();
        if message["method"] == "textDocument/publishDiagnostics" {
            let params = &message["params"];
            self.diagnostics.insert(params["uri"].as_str().unwrap().to_owned(), params.clone());
        }
        Some(message)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn uri(&self, name: &str) -> String {
        format!("file://{}", self.path(name).display())
    }

    #[expect(clippy::disallowed_methods, reason = "a test writes its own files")]
    pub(crate) fn write(&self, name: &str, text: &(impl AsRef<[u8]> + ?Sized)) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn open(&mut self, name: &str, text: &str) {
        let document =
            json!({ "uri": self.uri(name), "languageId": "yaml", "version": 1, "text": text });
        self.notify("textDocument/didOpen", json!({ "textDocument": document }));
    }

    pub(crate) fn change(&mut self, name: &str, version: i32, changes: Json) {
        let document = json!({ "uri": self.uri(name), "version": version });
        self.notify(
            "textDocument/didChange",
            json!({ "textDocument": document, "contentChanges": changes }),
        );
    }

    pub(crate) fn close(&mut self, name: &str) {
        let document = json!({ "uri": self.uri(name) });
        self.notify("textDocument/didClose", json!({ "textDocument": document }));
    }

    /// Waits for the diagnostics of a version of a document, or of a file that is not open.
    pub(crate) fn diagnostics(&mut self, name: &str, version: Option<i32>) -> Vec<Json> {
        let uri = self.uri(name);
        loop {
            let message = self.read().expect("the server ended without diagnostics");
            let params = &message["params"];
            let is_version = version.is_none_or(|version| params["version"] == version);
            if message["method"] == "textDocument/publishDiagnostics"
                && params["uri"] == uri.as_str()
                && is_version
            {
                return params["diagnostics"].as_array().unwrap().clone();
            }
        }
    }

    /// The latest diagnostics of a file that were read.
    pub(crate) fn latest(&self, name: &str) -> &[Json] {
        let params = self.diagnostics.get(&self.uri(name));
        params.and_then(|params| params["diagnostics"].as_array()).map_or(&[], Vec::as_slice)
    }

    /// Opens a text whose cursor is at `│`, and sends a request about that position.
    pub(crate) fn at_cursor(&mut self, name: &str, method: &str, marked: &str) -> Json {
        let cursor = marked.find('│').unwrap();
        self.open(name, &marked.replace('│', ""));
        let before = &marked[..cursor];
        let line = before.matches('\n').count();
        let character: usize =
            before.rsplit('\n').next().unwrap().chars().map(char::len_utf16).sum();
        let position = json!({ "line": line, "character": character });
        let document = json!({ "uri": self.uri(name) });
        let reply = self.request(method, json!({ "textDocument": document, "position": position }));
        assert!(reply.get("error").is_none(), "{reply}");
        reply["result"].clone()
    }

    /// Ends the session in order.
    pub(crate) fn quit(mut self) {
        let reply = self.request("shutdown", Json::Null);
        assert_eq!(reply["result"], Json::Null, "{reply}");
        self.notify("exit", Json::Null);
        assert_eq!(self.end(), SessionEnd::Orderly);
    }

    /// The end of the session, after the input was closed.
    pub(crate) fn end(&mut self) -> SessionEnd {
        self.input = None;
        while self.read().is_some() {}
        self.server.take().unwrap().join().unwrap().unwrap()
    }
}

/// The range of a diagnostic as line, character, end line, end character.
pub(crate) fn range(diagnostic: &Json) -> [u64; 4] {
    let range = &diagnostic["range"];
    let [start, end] = [&range["start"], &range["end"]];
    [&start["line"], &start["character"], &end["line"], &end["character"]]
        .map(|number| number.as_u64().unwrap())
}

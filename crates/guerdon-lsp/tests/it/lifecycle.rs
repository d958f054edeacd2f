//! Initialisation, shutdown, messages out of order, and messages that are none.

use guerdon_lsp::SessionEnd;
use serde_json::{Value as Json, json};

use crate::editor::Editor;

const PACK: &str = "pack: p\nrules:\n  - id: a\n    points: -1\n    match: { any_of: [deal] }\n    examples: { hits: [a deal], misses: [nothing] }\n";

#[test]
fn a_session_in_order() {
    let mut editor = Editor::new();
    editor.open("a.yaml", PACK);
    assert!(editor.diagnostics("a.yaml", Some(1)).iter().all(|d| d["severity"] != 1));
    editor.quit();
}

#[test]
fn an_exit_or_the_end_of_the_input_without_a_shutdown_is_abrupt() {
    let mut editor = Editor::new();
    editor.notify("exit", Json::Null);
    assert_eq!(editor.end(), SessionEnd::Abrupt);
    assert_eq!(Editor::new().end(), SessionEnd::Abrupt);
    assert_eq!(Editor::fresh().end(), SessionEnd::Abrupt);
}

#[test]
fn requests_out_of_order_are_refused() {
    let mut editor = Editor::fresh();
    let reply = editor.request("textDocument/hover", json!({}));
    assert_eq!(reply["error"]["code"], -32002);
    let bad = editor.request("initialize", json!({ "capabilities": 3 }));
    assert_eq!(bad["error"]["code"], -32602);
    let reply = editor.request("initialize", json!({ "capabilities": {} }));
    assert_eq!(reply["result"]["capabilities"]["positionEncoding"], "utf-16");
    let reply = editor.request("initialize", json!({ "capabilities": {} }));
    assert_eq!(reply["error"]["code"], -32600);
    let reply = editor.request("textDocument/rename", json!({}));
    assert_eq!(reply["error"]["code"], -32601);
    let closed = json!({ "textDocument": { "uri": "file:///no.yaml" }, "position": { "line": 0, "character": 0 } });
    for method in ["textDocument/hover", "textDocument/completion"] {
        assert_eq!(editor.request(method, closed.clone())["error"]["code"], -32602);
        assert_eq!(editor.request(method, json!([]))["error"]["code"], -32602);
    }
    editor.request("shutdown", Json::Null);
    assert_eq!(editor.request("textDocument/hover", closed)["error"]["code"], -32600);
    editor.notify("exit", Json::Null);
    assert_eq!(editor.end(), SessionEnd::Orderly);
}

#[test]
fn malformed_messages_do_not_end_a_session() {
    let mut editor = Editor::new();
    for body in ["{", "3", "[]", "\"a\"", "\u{1}"] {
        editor.raw(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        assert_eq!(editor.reply_to(&Json::Null)["error"]["code"], -32700, "{body:?}");
    }
    for params in [json!(3), json!({}), json!({ "textDocument": {} })] {
        for method in [
            "textDocument/didOpen",
            "textDocument/didChange",
            "textDocument/didClose",
            "$/cancelRequest",
        ] {
            editor.notify(method, params.clone());
        }
    }
    editor.change("never-opened.yaml", 2, json!([{ "text": "x" }]));
    editor.close("never-opened.yaml");
    editor.open("a.yaml", PACK);
    editor.diagnostics("a.yaml", Some(1));
    editor.quit();
}

#[test]
fn a_cancelled_request_is_answered_once() {
    let mut editor = Editor::new();
    editor.open("a.yaml", PACK);
    let document = json!({ "uri": editor.uri("a.yaml") });
    let params = json!({ "textDocument": document, "position": { "line": 2, "character": 5 } });
    let ids: Vec<i32> = (0..20).map(|_| editor.ask("textDocument/hover", params.clone())).collect();
    for id in &ids {
        editor.notify("$/cancelRequest", json!({ "id": id }));
    }
    for id in ids {
        let reply = editor.reply_to(&json!(id));
        let code = &reply["error"]["code"];
        assert!(reply.get("result").is_some() || *code == -32800, "{reply}");
    }
    editor.quit();
}

#[test]
fn more_requests_than_fit_are_refused_and_each_is_answered() {
    let mut editor = Editor::new();
    editor.open("a.yaml", PACK);
    let document = json!({ "uri": editor.uri("a.yaml") });
    let params = json!({ "textDocument": document, "position": { "line": 2, "character": 5 } });
    let first = editor.ask("textDocument/hover", params.clone());
    let last =
        (0..600).map(|_| editor.ask("textDocument/completion", params.clone())).last().unwrap();
    let mut answered = 0;
    while answered < last - first + 1 {
        let message = editor.read().unwrap();
        if message.get("method").is_none() {
            answered += 1;
            assert!(
                message.get("result").is_some() || message["error"]["code"] == -32802,
                "{message}"
            );
        }
    }
    editor.quit();
}

//! Diagnostics, their positions, changes, imports, quick fixes and formatting.

use serde_json::{Value as Json, json};

use crate::editor::{Editor, range};

fn pack(rule: &str) -> String {
    format!("pack: p\nrules:\n  - {rule}\n")
}

fn codes(diagnostics: &[Json]) -> Vec<String> {
    diagnostics.iter().map(|d| d["code"].as_str().unwrap().to_owned()).collect()
}

fn errors(diagnostics: &[Json]) -> Vec<String> {
    let errors = diagnostics.iter().filter(|d| d["severity"] == 1);
    errors.map(|d| d["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn positions_are_in_the_encoding_of_the_client() {
    let text = pack("{ id: a, about: 价😀, pionts: -1, match: { any_of: [deal] } }");
    for (encoding, start) in [("utf-8", 29), ("utf-16", 25), ("utf-32", 24)] {
        let mut editor = Editor::counting_in(encoding);
        editor.open("a.yaml", &text);
        let found = editor.diagnostics("a.yaml", Some(1));
        let unknown = found.iter().find(|d| d["message"].as_str().unwrap().contains("pionts"));
        assert_eq!(range(unknown.unwrap()), [2, start, 2, start + 6], "{encoding}");
        editor.quit();
    }
}

#[test]
fn a_text_that_is_typed_has_the_diagnostics_of_the_text_that_is_opened() {
    let text = pack(
        "{ id: a, about: 价😀, points: -1, where: value = 3, match: { number: { unit: [元] } } }",
    );
    let mut editor = Editor::new();
    editor.open("whole.yaml", &text);
    let expected = editor.diagnostics("whole.yaml", Some(1));
    assert!(!errors(&expected).is_empty(), "{expected:?}");
    editor.close("whole.yaml");
    editor.open("a.yaml", "");
    let (mut line, mut character, mut version) = (0, 0, 1);
    for c in text.chars() {
        version += 1;
        let at = json!({ "line": line, "character": character });
        let change = json!([{ "range": { "start": at, "end": at }, "text": c.to_string() }]);
        editor.change("a.yaml", version, change);
        (line, character) =
            if c == '\n' { (line + 1, 0) } else { (line, character + c.len_utf16()) };
    }
    assert_eq!(editor.diagnostics("a.yaml", Some(version)), expected);
    editor.quit();
}

#[test]
fn a_file_that_imports_an_open_one_is_shown_until_it_is_closed() {
    let mut editor = Editor::new();
    let importing = "pack: p\nimport: [lib/words.yaml]\nrules:\n  - id: a\n    about: A.\n    points: -1\n    match: { any_of: [$refusals] }\n    examples: { hits: [cannot], misses: [can] }\n";
    editor.write("pack.yaml", importing);
    editor.write("other.yaml", &importing.replace("pack: p", "pack: q"));
    editor.write("compose.yaml", "services: {}\n");
    editor.write("lib/words.yaml", "library: w\nwords: { refusals: [cannot] }\n");
    editor.open("lib/words.yaml", "library: w\nwords: { refused: [cannot] }\n");
    let found = editor.diagnostics("pack.yaml", None);
    assert_eq!(errors(&found).len(), 1, "{found:?}");
    editor.change(
        "lib/words.yaml",
        2,
        json!([{ "text": "library: w\nwords: { refusals: [cannot] }\n" }]),
    );
    assert!(errors(&editor.diagnostics("pack.yaml", None)).is_empty());
    editor.change("lib/words.yaml", 3, json!([{ "text": "library: w\nwords: {}\n" }]));
    assert_eq!(errors(&editor.diagnostics("other.yaml", None)).len(), 1);
    editor.close("lib/words.yaml");
    let mut shown = vec!["pack.yaml", "other.yaml"];
    while let Some(name) = shown.last() {
        if editor.latest(name).is_empty() {
            shown.pop();
        } else {
            editor.read().unwrap();
        }
    }
    editor.quit();
}

#[test]
fn an_imported_file_with_a_mistake_is_shown_once_and_cleared() {
    let mut editor = Editor::new();
    let importing = "pack: p\nimport: [lib/words.yaml]\nrules:\n  - { id: a, points: -1, match: { any_of: [$refusals] } }\n";
    for broken in
        [&b"library: w\nwords: { refusals: [\xb9\xa4] }\n"[..], b"library: w\nwords: []\n"]
    {
        editor.write("lib/words.yaml", broken);
        editor.open("pack.yaml", importing);
        assert_eq!(errors(&editor.diagnostics("pack.yaml", Some(1))), Vec::<String>::new());
        let found = editor.latest("lib/words.yaml");
        assert_eq!(errors(found).len(), 1, "{found:?}");
        editor.write("lib/words.yaml", "library: w\nwords: { refusals: [cannot] }\n");
        editor.change("pack.yaml", 2, json!([{ "text": importing }]));
        while !editor.latest("lib/words.yaml").is_empty() {
            editor.read().unwrap();
        }
        editor.close("pack.yaml");
    }
    editor.quit();
}

#[test]
fn yaml_that_is_no_pack_has_no_diagnostics() {
    let mut editor = Editor::new();
    editor.open("compose.yaml", "services:\n  web: { image: x }\n");
    assert!(editor.diagnostics("compose.yaml", Some(1)).is_empty());
    // In a folder of packs the loader would read it.
    editor.write("packs/a.yaml", &pack("{ id: a, points: -1, match: { any_of: [deal] } }"));
    editor.open("packs/compose.yaml", "services:\n  web: { image: x }\n");
    assert!(!editor.diagnostics("packs/compose.yaml", Some(1)).is_empty());
    editor.quit();
}

/// The edits of an action applied to a text of one line each.
fn applied(text: &str, edits: &Json) -> String {
    let byte = |position: &Json| {
        let line = usize::try_from(position["line"].as_u64().unwrap()).unwrap();
        let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
        let mut left = usize::try_from(position["character"].as_u64().unwrap()).unwrap();
        let mut at = start;
        for c in text[start..].chars() {
            if left == 0 {
                break;
            }
            left -= c.len_utf16();
            at += c.len_utf8();
        }
        at
    };
    let mut edits: Vec<(usize, usize, &str)> = edits
        .as_array()
        .unwrap()
        .iter()
        .map(|edit| {
            let range = &edit["range"];
            (byte(&range["start"]), byte(&range["end"]), edit["newText"].as_str().unwrap())
        })
        .collect();
    edits.sort_unstable();
    let mut out = text.to_owned();
    for (start, end, with) in edits.into_iter().rev() {
        out.replace_range(start..end, with);
    }
    out
}

#[test]
fn quick_fixes_remove_their_diagnostics() {
    for rule in [
        "{ id: a, about: 😀, pionts: -1, match: { any_of: [deal] } }",
        "{ id: a, points: -1, match: { number: { unit: [元] } }, where: value = 3 }",
        "{ id: a, points: -1, veto: yes, match: { any_of: [deal] } }",
        "{ id: a, points: -1, match: { any_of: deal } }",
        "{ id: a, points: -1, match: { any_of: [deal], unless: negatde } }",
        "{ id: a, about: 3, pionts: -1, vetto: true, match: { any_off: [deal] } }",
    ] {
        let mut editor = Editor::new();
        let text = pack(rule);
        editor.open("a.yaml", &text);
        let before = editor.diagnostics("a.yaml", Some(1));
        assert!(!errors(&before).is_empty(), "{rule}");
        let params = json!({
            "textDocument": { "uri": editor.uri("a.yaml") },
            "range": { "start": { "line": 0, "character": 0 }, "end": { "line": 3, "character": 0 } },
            "context": { "diagnostics": before },
        });
        let reply = editor.request("textDocument/codeAction", params);
        let actions = reply["result"].as_array().unwrap();
        let all = actions.iter().find(|action| action["kind"] == "source.fixAll.guerdon");
        let all = all.unwrap_or_else(|| panic!("{rule}: {reply}"));
        assert!(actions.iter().any(|action| action["kind"] == "quickfix"), "{rule}");
        let edits = &all["edit"]["changes"][&editor.uri("a.yaml")];
        let fixed = applied(&text, edits);
        editor.change("a.yaml", 2, json!([{ "text": fixed }]));
        let after = editor.diagnostics("a.yaml", Some(2));
        assert!(errors(&after).is_empty(), "{rule}\n{fixed}\n{after:?}");
        editor.quit();
    }
}

#[test]
fn actions_are_those_of_the_range_and_of_the_kinds_that_are_asked_for() {
    let mut editor = Editor::new();
    editor.open("a.yaml", &pack("{ id: a, pionts: -1, match: { any_of: [deal] } }"));
    let mut ask = |line: u32, only: Option<&str>| {
        let at = json!({ "line": line, "character": 10 });
        let mut context = json!({ "diagnostics": [] });
        if let Some(only) = only {
            context["only"] = json!([only]);
        }
        let params = json!({ "textDocument": { "uri": editor.uri("a.yaml") }, "range": { "start": at, "end": at }, "context": context });
        let reply = editor.request("textDocument/codeAction", params);
        let actions = reply["result"].as_array().unwrap().iter();
        actions.map(|action| action["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ask(0, None), ["source.fixAll.guerdon"]);
    assert_eq!(ask(2, Some("source")), ["source.fixAll.guerdon"]);
    assert_eq!(ask(2, Some("refactor")), Vec::<String>::new());
    editor.quit();
}

#[test]
fn formatting_gives_the_text_of_the_formatter() {
    let ordered = "pack: p\nrules:\n  - id: a\n    points: -1\n    match: { any_of: [deal] }\n";
    for text in [
        "pack: p\nrules:\n  - id: a\n    match: { any_of: [价😀] }   \n    points: -1\n\n\n  - id: b\n    points: -2\n    match: { any_of: [x] }\n",
        "pack: p\r\nrules:\r\n  - id: a\r\n    match: { any_of: [deal] }\r\n    points: -1\r\n",
        ordered,
        "pack: p\nrules:\n  - id: a\n    points: -1\n    match: { any_of: [deal] }",
        "pack: p\nrules:\n  - id: a\n    points: -1\n    match: { any_of: [deal] }\n\n\n\n",
    ] {
        let mut editor = Editor::new();
        editor.open("a.yaml", text);
        let params = json!({ "textDocument": { "uri": editor.uri("a.yaml") }, "options": { "tabSize": 2, "insertSpaces": true } });
        let reply = editor.request("textDocument/formatting", params);
        let source = guerdon_rules::SourceText::new("a.yaml", text);
        assert_eq!(applied(text, &reply["result"]), guerdon_rules::format(&source).unwrap());
        editor.quit();
    }
    let mut editor = Editor::new();
    editor.open("a.yaml", "pack: [");
    let params = json!({ "textDocument": { "uri": editor.uri("a.yaml") }, "options": { "tabSize": 2, "insertSpaces": true } });
    let reply = editor.request("textDocument/formatting", params);
    assert_eq!(reply["error"]["code"], -32803, "{reply}");
    editor.quit();
}

#[test]
fn broken_and_large_texts_have_diagnostics() {
    let mut editor = Editor::new();
    for (number, text) in [
        "pack: [",
        "pack: p\n\trules: []",
        "pack: p\nrules: \u{0}",
        "pack: \"\\d\"",
        "pack: p\n---\npack: q\n",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("{number}/a.yaml");
        editor.open(&name, text);
        assert!(!errors(&editor.diagnostics(&name, Some(1))).is_empty(), "{text:?}");
    }
    let comment = format!("# {}\n", "价".repeat(97));
    let end = pack("{ id: a, pionts: 1, match: { any_of: [deal] } }");
    let large = comment.repeat((1 << 20) / comment.len()) + &end;
    editor.open("large/a.yaml", &large);
    let found = editor.diagnostics("large/a.yaml", Some(1));
    let lines = u64::try_from(large.matches('\n').count()).unwrap();
    assert!(found.iter().any(|found| range(found)[0] == lines - 1), "{found:?}");
    // More than the loader reads.
    editor.open("larger/a.yaml", &(comment.repeat((5 << 20) / comment.len()) + &end));
    assert_eq!(codes(&editor.diagnostics("larger/a.yaml", Some(1))), ["R013"]);
    editor.quit();
}

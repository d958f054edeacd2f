//! Outlines of valid packs beside a YAML reader, and of texts that are cut off anywhere.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;

/// The packs that guerdon ships.
fn shipped() -> Vec<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules");
    let packs = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let packs = packs.filter(|path| path.extension().is_some_and(|ending| ending == "yaml"));
    #[expect(clippy::disallowed_methods, reason = "a test reads its own files")]
    let texts: Vec<String> = packs.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    assert!(texts.len() >= 5);
    texts
}

/// The paths of all keys and items, with the texts of scalars.
fn paths_of_json(value: &Json, path: &str, out: &mut Vec<String>) {
    match value {
        Json::Object(map) => {
            for (key, value) in map {
                out.push(format!("{path}/{key}"));
                paths_of_json(value, &format!("{path}/{key}"), out);
            }
        }
        Json::Array(items) => {
            for value in items {
                out.push(format!("{path}/-"));
                paths_of_json(value, &format!("{path}/-"), out);
            }
        }
        Json::String(text) if !text.contains('\n') => out.push(format!("{path}={text}")),
        _ => {}
    }
}

fn paths_of_outline(text: &str) -> Vec<String> {
    let outline = Outline::read(text);
    let mut out = Vec::new();
    for index in 0..outline.nodes.len() {
        let path: String = outline
            .path(Some(index))
            .into_iter()
            .map(|step| match step {
                PathStep::Key(key) => format!("/{key}"),
                PathStep::Item => "/-".to_owned(),
            })
            .collect();
        let scalar = outline.node(index).unwrap().scalar.clone();
        let scalar = scalar.map(|span| unquoted(&text[span])).filter(|text| !text.contains('\n'));
        out.extend(scalar.map(|text| format!("{path}={text}")));
        out.push(path);
    }
    out
}

#[test]
fn the_outline_of_a_shipped_pack_is_its_yaml() {
    // What an alias stands for is not part of the outline.
    let shipped = shipped().into_iter().filter(|text| !text.contains(": *"));
    let anchored = "rules:\n- a: &x\n    - b: 1\n  c: &y 'd'\n- &z\n  e: [f, 'g']\n".to_owned();
    for text in shipped.chain([anchored]) {
        let value: Json = serde_saphyr::from_str(&text).unwrap();
        let mut expected = Vec::new();
        paths_of_json(&value, "", &mut expected);
        let found: BTreeSet<String> = paths_of_outline(&text).into_iter().collect();
        // The long texts of shipped packs are written over several lines.
        for path in expected.iter().filter(|path| path.len() < 500) {
            assert!(found.contains(path), "{path}");
        }
        let paths = |all: &[String]| all.iter().filter(|path| !path.contains('=')).count();
        assert_eq!(paths(&expected), paths(&paths_of_outline(&text)));
    }
}

#[test]
fn a_cursor_anywhere_in_a_pack_has_the_place_that_the_whole_text_gives_it() {
    for text in shipped() {
        let outline = Outline::read(&text);
        let text: String = text.chars().take(4_000).collect();
        for (at, _) in text.char_indices() {
            let Some(place) = Outline::cursor(&text[..at]) else { continue };
            assert!(place.start <= at && text.is_char_boundary(place.start));
            if let Some(parent) = place.parent {
                assert!(outline.node(parent).unwrap().head.start < at);
            }
        }
    }
}

fn place(text: &str) -> (String, bool, bool, String) {
    let cursor = text.find('│').unwrap();
    let whole = text.replace('│', "");
    let place = Outline::cursor(&whole[..cursor]).unwrap();
    let outline = Outline::read(&whole);
    let path: Vec<String> = outline
        .path(place.parent)
        .into_iter()
        .map(|step| match step {
            PathStep::Key(key) => key.to_owned(),
            PathStep::Item => "-".to_owned(),
        })
        .collect();
    (path.join("/"), place.key, place.value, whole[place.start..cursor].to_owned())
}

#[test]
fn the_place_of_a_cursor() {
    for (text, path, key, value, written) in [
        ("│", "", true, false, ""),
        ("pa│", "", true, false, "pa"),
        ("pack: a\nrules:\n  - │", "rules/-", true, true, ""),
        ("rules:\n- id: a\n  po│", "rules/-", true, true, "po"),
        ("rules:\n- id: a\n  │\n  points: 3\n", "rules/-", true, true, ""),
        ("rules:\n- id: a\n  veto: │", "rules/-/veto", false, true, ""),
        ("rules:\n- id: a\n  veto: t│", "rules/-/veto", false, true, "t"),
        ("rules:\n- { id: a, │ }\n- id: b\n", "rules/-", true, false, ""),
        ("rules:\n- { id: a, match: { an│", "rules/-/match", true, false, "an"),
        ("rules:\n- match: { any_of: [a, $re│", "rules/-/match/any_of", false, true, "$re"),
        (
            "rules:\n- match: { any_of: [a, │], fold: true }\n",
            "rules/-/match/any_of",
            false,
            true,
            "",
        ),
        (
            "rules:\n- match:\n    any_of:\n      - 'no│",
            "rules/-/match/any_of/-",
            false,
            true,
            "no",
        ),
        ("rules:\n- where: 'value > con│'", "rules/-/where", false, true, "value > con"),
        ("rules:\n- when: { context.a: │ }", "rules/-/when/context.a", false, true, ""),
        ("rules:\n- id: a\n  match: { any_of: [x\n  po│", "rules/-", true, true, "po"),
        ("rules:\n- id: 'a\n  po│", "rules/-", true, true, "po"),
        (
            "rules:\n- examples:\n    hits:\n    - { text: 好, context: { p│ } }",
            "rules/-/examples/hits/-/context",
            true,
            false,
            "p",
        ),
        ("rules:\r\n- id: a\r\n  │", "rules/-", true, true, ""),
        ("facts:\n  a: number\n│", "", true, false, ""),
    ] {
        assert_eq!(place(text), (path.to_owned(), key, value, written.to_owned()), "{text}");
    }
    for none in ["# a", "pack: a # b", "a: |\n  text"] {
        assert_eq!(Outline::cursor(none), None, "{none}");
    }
}

proptest! {
    #[test]
    fn any_text_has_an_outline(text in "(?:[a: \n\\-{}\\[\\],'\"#|>\t\r\\\\&*!元😀]|\\PC|: |\n  |- ){0,60}") {
        let outline = Outline::read(&text);
        let _ = Outline::cursor(&text);
        let mut last = 0;
        for node in &outline.nodes {
            prop_assert!(node.head.start >= last && text.get(node.head.clone()).is_some());
            last = node.head.start;
            if let Some(scalar) = &node.scalar {
                prop_assert!(text.get(scalar.clone()).is_some());
            }
        }
    }

    /// The tree and the work grow with the text, also if braces are never closed.
    #[test]
    fn deep_nesting_is_bounded(depth in 0_usize..3_000, brace in "[\\[{]|- |a: \n") {
        let text = brace.repeat(depth);
        prop_assert!(Outline::read(&text).nodes.len() <= text.len() + 1);
    }
}

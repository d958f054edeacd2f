//! Completion at a place that is marked with `│`.

use serde_json::Value as Json;

use crate::editor::Editor;

const HEAD: &str = "pack: p\nfacts:\n  target_price: number\n  stage: [opening, close]\n  offer.price: number\n  vip: boolean\nwords:\n  refusals: [不能, cannot]\nunits:\n  money: [元, '¥']\n";

/// The texts of the proposals with the text that each inserts.
fn proposals(editor: &mut Editor, name: &str, text: &str) -> Vec<(String, String)> {
    let items = editor.at_cursor(name, "textDocument/completion", text);
    let items = items.as_array().unwrap().iter();
    items
        .map(|item: &Json| {
            let text = |value: &Json| value.as_str().unwrap().to_owned();
            (text(&item["label"]), text(&item["textEdit"]["newText"]))
        })
        .collect()
}

#[test]
fn proposals_are_those_of_the_place() {
    let mut editor = Editor::new();
    let rule = |rest: &str| format!("{HEAD}rules:\n  - id: a\n    tags: [price]\n{rest}");
    for (number, (text, label, inserted)) in [
        ("│".to_owned(), "pack", "pack: "),
        (format!("{HEAD}│"), "rules", "rules: "),
        (rule("    po│"), "points", "points: "),
        (rule("    po│ints: 3\n"), "points", "points"),
        (rule("    │\n    points: 3\n"), "match", "match: "),
        (rule("    veto: │"), "true", "true"),
        (rule("    veto:│"), "true", " true"),
        (rule("    check: { │ }"), "repetition", "repetition: "),
        (rule("    check:\n      le│"), "length", "length: "),
        (rule("    match: { unless: [│] }"), "question", "question"),
        (rule("    match: { unless: │ }"), "question", "question"),
        (rule("    match: { any_of: [$│] }"), "$refusals", "$refusals"),
        (rule("    match:\n      any_of:\n        - │"), "$refusals", "$refusals"),
        (rule("    match:\n      any_of:\n        │"), "$refusals", "- $refusals"),
        (rule("    match: { any_of: │ }"), "$refusals", "[$refusals]"),
        (rule("    match: { number: { unit: [m│] } }"), "money", "money"),
        (rule("    where: 'value > con│'"), "context.target_price", "context.target_price"),
        (rule("    where: value > │"), "percent_off", "percent_off"),
        (rule("    when: { con│ }"), "context.stage", "context.stage: "),
        (rule("    when: { context.stage: │ }"), "opening", "opening"),
        (rule("    when: { context.stage: [│] }"), "close", "close"),
        (rule("    when:\n      context.vip: │"), "false", "false"),
        (
            rule("    examples:\n      hits:\n        - { text: 好, context: { │ } }"),
            "stage",
            "stage: ",
        ),
        (
            rule("    examples:\n      hits:\n        - { text: 好, context: { offer: { │ } } }"),
            "price",
            "price: ",
        ),
        (
            rule("    examples:\n      hits:\n        - { text: 好, context: { stage: │ } }"),
            "opening",
            "opening",
        ),
        (rule("  - id: b\n    tags: [│]"), "price", "price"),
        (rule("    match: { any_of: [x\n    po│"), "points", "points: "),
        ("library: w\nfacts: { a: │ }".to_owned(), "number", "number"),
        (format!("{HEAD}rules:\n  │"), "id", "- id: "),
    ]
    .into_iter()
    .enumerate()
    {
        let found = proposals(&mut editor, &format!("{number}.yaml"), &text);
        let wanted = (label.to_owned(), inserted.to_owned());
        assert!(found.contains(&wanted), "{text}\n{found:?}");
    }
    editor.quit();
}

#[test]
fn keys_that_are_there_are_not_proposed_again() {
    let mut editor = Editor::new();
    let text = "pack: p\nrules:\n  - id: a\n    │\n    points: 3\n    match: { any_of: [a] }\n";
    let found = proposals(&mut editor, "a.yaml", text);
    let labels: Vec<&str> = found.iter().map(|(label, _)| label.as_str()).collect();
    assert!(labels.contains(&"check") && labels.contains(&"about"));
    assert!(!labels.contains(&"points") && !labels.contains(&"match") && !labels.contains(&"id"));
    editor.quit();
}

#[test]
fn imported_names_are_proposed() {
    let mut editor = Editor::new();
    editor.write("words.yaml", "library: w\nfacts: { budget: number }\nwords: { curses: [x] }\n");
    let text = "pack: p\nimport: [words.yaml]\nrules:\n  - id: a\n    match: { any_of: [│] }\n";
    assert!(proposals(&mut editor, "a.yaml", text).iter().any(|(label, _)| label == "$curses"));
    let text = "pack: q\nimport: [words.yaml]\nrules:\n  - id: a\n    where: value > │\n";
    assert!(
        proposals(&mut editor, "b.yaml", text).iter().any(|(label, _)| label == "context.budget")
    );
    let text = "pack: r\nimport: [│]\n";
    assert!(proposals(&mut editor, "c.yaml", text).iter().any(|(label, _)| label == "words.yaml"));
    editor.quit();
}

//! Hover at a place that is marked with `│`.

use crate::editor::Editor;

const PACK: &str = "pack: p
facts: { target_price: number, stage: [opening, close] }
words: { refusals: [不能, cannot] }
units: { money: [元, 块] }
rules:
  - id: low-price
    about: No price below the target.
    points: -20
    veto: true
    match: { number: { unit: [money] } }
    where: value < context.target_price
    when: { context.stage: close }
    examples:
      hits:
        - { text: 就四百二十元到四百五十元吧, context: { target_price: 480, stage: close } }
      misses:
        - { text: '500元', context: { target_price: 480, stage: close } }
  - id: refuses
    points: -1
    match: { any_of: [$refusals, Ｎｏ, '目標'] }
    examples: { hits: [不能], misses: [好] }
  - id: code
    points: -1
    match: { regex: '目標[：:]\\d+' }
    examples: { hits: ['目标：3'], misses: [好] }
";

/// The hover at the first `find` in the pack, `after` characters into it.
fn hover_in(editor: &mut Editor, name: &str, pack: &str, find: &str, after: usize) -> String {
    let start = pack.find(find).unwrap();
    let at: usize = start + find.chars().take(after).map(char::len_utf8).sum::<usize>();
    let marked = format!("{}│{}", &pack[..at], &pack[at..]);
    let result = editor.at_cursor(name, "textDocument/hover", &marked);
    result["contents"]["value"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn hover_tells_what_is_at_the_pointer() {
    let mut editor = Editor::new();
    for (number, (find, after, shown)) in [
        ("points: -20", 1, "The points of a hit"),
        ("-20", 1, "The points of a hit"),
        ("四百二十元", 2, "`四百二十元` reads as 420 元, of the range 420 to 450"),
        ("500元", 1, "reads as 500 元"),
        ("[money]", 2, "The units 元, 块"),
        ("$refusals", 3, "The words 不能, cannot"),
        ("Ｎｏ", 1, "Compared as `no`"),
        ("'目標'", 2, "Compared as `目标`"),
        ("'目標[", 2, "Compared as `目标[\\::]\\d+`"),
        ("context.target_price", 4, "`context.target_price`: number"),
        ("value <", 2, "`value`: the number"),
        ("context.stage: close", 3, "`context.stage`: one of opening, close"),
        ("low-price", 2, "**low-price**: -20 points, veto"),
        ("low-price", 2, "2 examples, 0 not as expected"),
        ("low-price", 2, "hit: `就四百二十元到四百五十元吧`, found `四百二十元` at 1–6"),
        ("low-price", 2, "miss: `500元`"),
        ("- id: refuses", 0, "**refuses**"),
        ("regex:", 2, "A regex"),
    ]
    .into_iter()
    .enumerate()
    {
        let found = hover_in(&mut editor, &format!("{number}/a.yaml"), PACK, find, after);
        assert!(found.contains(shown), "{find}: {found}");
    }
    editor.quit();
}

#[test]
fn a_failing_example_is_shown_with_its_reason() {
    let mut editor = Editor::new();
    let pack = PACK.replace("hits: [不能]", "hits: [好]");
    let found = hover_in(&mut editor, "a.yaml", &pack, "id: refuses", 5);
    assert!(
        found.contains("2 examples, 1 not as expected") && found.contains("miss: `好` — **"),
        "{found}"
    );
    editor.quit();
}

#[test]
fn hover_on_broken_texts_answers() {
    let mut editor = Editor::new();
    for (number, cut) in
        (0..PACK.len()).step_by(37).filter(|at| PACK.is_char_boundary(*at)).enumerate()
    {
        let text = format!("{}│", &PACK[..cut]);
        editor.at_cursor(&format!("{number}/a.yaml"), "textDocument/hover", &text);
        editor.close(&format!("{number}/a.yaml"));
    }
    editor.quit();
}

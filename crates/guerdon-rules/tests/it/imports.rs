//! Files that import words, units, aliases and facts of other files.

#![expect(clippy::panic, reason = "helpers of tests may fail a test")]

use std::io::{Error, ErrorKind};

use guerdon_rules::{PackFiles, Report, RulePacks, SourceText, UnreadableFile, imports};
use guerdon_types::{Message, Role, Rollout};

const LIBRARY: &str = "library: shared
about: Words of all packs.
words: { never: [不能, cannot] }
units: { money: [元, USD] }
aliases: { 微信: [威信] }
facts: { target: number }
";

const PACK: &str = "pack: p
about: P.
import: [shared.yaml]
rules:
  - id: a
    about: A.
    points: -1
    match: { any: [{ any_of: [$never, 微信, $100] }, { number: { unit: [money] } }] }
    when: { context.target: 3 }
    examples:
      hits: [{ text: 不能, context: { target: 3 } }, { text: 加威信, context: { target: 3 } }, { text: 5元, context: { target: 3 } }]
      misses: [{ text: 可以, context: { target: 3 } }]
";

fn files(texts: &[(&str, &str)]) -> Vec<SourceText> {
    texts.iter().map(|(name, text)| SourceText::new(*name, *text)).collect()
}

fn compile(texts: &[(&str, &str)]) -> RulePacks {
    let (packs, lints) =
        RulePacks::compile(&files(texts)).unwrap_or_else(|report| panic!("{report}"));
    assert!(lints.is_empty(), "{lints}");
    packs
}

fn refused(texts: &[(&str, &str)]) -> Report {
    RulePacks::compile(&files(texts)).map(|(packs, _)| panic!("{packs:?}")).unwrap_err()
}

#[test]
fn a_pack_uses_the_declarations_of_an_imported_file() {
    // The order of the files does not matter.
    for texts in [
        [("r/p.yaml", PACK), ("r/shared.yaml", LIBRARY)],
        [("r/shared.yaml", LIBRARY), ("r/p.yaml", PACK)],
    ] {
        let packs = compile(&texts);
        assert_eq!(packs.summaries().len(), 1);
        assert_eq!(packs.rule_counts().iter().flatten().sum::<usize>(), 1);
        let messages = vec![Message::new(Role::Assistant, "we cannot")];
        let context = [("target".to_owned(), 3.into())].into_iter().collect();
        let rollout = Rollout { messages, context, ..Rollout::default() };
        assert_eq!(packs.evaluate(&rollout, 0).hits[0].spans, [[3, 9]]);
    }
    assert_eq!(imports(&SourceText::new("r/p.yaml", PACK)), ["r/shared.yaml"]);
    assert!(imports(&SourceText::new("r/shared.yaml", LIBRARY)).is_empty());
}

#[test]
fn the_version_of_a_pack_covers_what_it_imports() {
    let version = |library: &str| compile(&[("p.yaml", PACK), ("shared.yaml", library)]).versions();
    let first = version(LIBRARY);
    assert_ne!(first, version(&LIBRARY.replace("cannot", "can't")));
    assert_eq!(first, version(LIBRARY));
    let alone = "pack: q\nabout: Q.\nrules: []\n";
    let versions =
        compile(&[("p.yaml", PACK), ("shared.yaml", LIBRARY), ("q.yaml", alone)]).versions();
    assert_eq!(
        versions["q"],
        SourceText::new("q.yaml", alone).content_hash(),
        "nothing is imported"
    );
}

#[test]
fn imports_through_other_files_and_to_one_file_twice_are_found() {
    let between = "library: between\nimport: [shared.yaml]\n";
    let pack = PACK.replace("[shared.yaml]", "[between.yaml, shared.yaml]");
    compile(&[("p.yaml", &pack), ("between.yaml", between), ("shared.yaml", LIBRARY)]);
}

#[test]
fn circles_conflicts_and_missing_files_are_reported_at_the_import() {
    let circle = "library: a\nimport: [b.yaml]\n";
    let report = refused(&[("a.yaml", circle), ("b.yaml", &circle.replace("b.yaml", "a.yaml"))]);
    assert!(report.to_string().contains("imports this file"), "{report}");
    let report = refused(&[("p.yaml", PACK), ("share.yaml", LIBRARY)]);
    let first = &report.diagnostics()[0];
    assert_eq!((first.code.as_str(), first.line), ("R016", 3), "{report}");
    assert!(first.help.as_deref().is_some_and(|help| help.contains("there is share.yaml")));
    let own = PACK.replace("rules:", "units: { money: [块] }\nrules:");
    let report = refused(&[("p.yaml", &own), ("shared.yaml", LIBRARY)]);
    assert!(report.to_string().contains("declared differently in this file: money"), "{report}");
}

#[test]
fn a_long_chain_of_imports_is_refused() {
    let names: Vec<String> = (0..200).map(|index| format!("f{index}.yaml")).collect();
    let texts: Vec<String> =
        (1..=200).map(|next| format!("library: l\nimport: [f{next}.yaml]\n")).collect();
    let chain: Vec<(&str, &str)> =
        names.iter().map(String::as_str).zip(texts.iter().map(String::as_str)).collect();
    assert!(refused(&chain).to_string().contains("too many files in a row"));
}

/// Mistakes in a declaration: a line of the library, and what is written in its place.
const BROKEN: [(&str, &str); 16] = [
    ("words: { never: [不能, cannot] }", "words: { never: [] }"),
    ("words: { never: [不能, cannot] }", "words: { never: cannot }"),
    ("words: { never: [不能, cannot] }", "words: { never: [3] }"),
    ("words: { never: [不能, cannot] }", "words: { Never: [cannot] }"),
    ("words: { never: [不能, cannot] }", "words: [cannot]"),
    ("words: { never: [不能, cannot] }", "wrods: { never: [cannot] }"),
    ("words: { never: [不能, cannot] }", "words: { never: [cannot }"),
    ("words: { never: [不能, cannot] }", "words: { never: [cannot, $other] }"),
    ("units: { money: [元, USD] }", "units: { money: [元, ''] }"),
    ("units: { money: [元, USD] }", "unit: { money: [元] }"),
    ("aliases: { 微信: [威信] }", "aliases: { 微信: 威信 }"),
    ("facts: { target: number }", "facts: { target: numbr }"),
    ("facts: { target: number }", "facts: [target]"),
    ("facts: { target: number }", "fact: { target: number }"),
    ("about: Words of all packs.", "import: [gone.yaml]"),
    ("library: shared", "libary: shared"),
];

#[test]
fn one_mistake_in_a_declaration_is_one_error_wherever_it_is_used() {
    let between = ("between.yaml", "library: between\nimport: [shared.yaml]\n");
    for (line, broken) in BROKEN {
        let library = LIBRARY.replace(line, broken);
        let through = PACK.replace("shared.yaml", "between.yaml");
        let head = library.lines().skip(2).collect::<Vec<_>>().join("\n");
        let own = PACK.replace("import: [shared.yaml]", &head);
        for (texts, file) in [
            (vec![("p.yaml", PACK), ("shared.yaml", &library)], "shared.yaml"),
            (vec![("p.yaml", &through), between, ("shared.yaml", &library)], "shared.yaml"),
            (vec![("p.yaml", &own)], "p.yaml"),
        ] {
            if file == "p.yaml" && (line.starts_with("library") || line.starts_with("about")) {
                continue;
            }
            let report = refused(&texts);
            let found = report.diagnostics();
            assert_eq!(found.len(), 1, "{broken}\n{report}");
            assert_eq!(found[0].file, file, "{broken}\n{report}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_one_error_next_to_the_mistakes_of_the_others() {
    let encoding = guerdon_text::decode(b"library: w\nwords: { never: [\xb9\xa4] }".to_vec());
    let not_utf8 = Error::new(ErrorKind::InvalidData, encoding.unwrap_err());
    let denied = Error::from(ErrorKind::PermissionDenied);
    for (cause, place, help) in [(not_utf8, (2, 18), "UTF-8"), (denied, (1, 1), "permissions")] {
        let other = "pack: q\nabout: Q.\nrule: []\n";
        let files = PackFiles {
            texts: files(&[("r/p.yaml", PACK), ("r/q.yaml", other)]),
            unreadable: vec![UnreadableFile::new("r/shared.yaml", &cause)],
        };
        let report = RulePacks::compile(&files).map(|(packs, _)| panic!("{packs:?}")).unwrap_err();
        let [unreadable, unknown] = report.diagnostics() else { panic!("{report}") };
        assert_eq!((unreadable.code.as_str(), &*unreadable.file), ("R001", "r/shared.yaml"));
        assert_eq!((unreadable.line, unreadable.column), place);
        assert!(unreadable.help.as_deref().is_some_and(|text| text.contains(help)), "{report}");
        assert_eq!((unknown.code.as_str(), &*unknown.file), ("R002", "r/q.yaml"));
    }
}

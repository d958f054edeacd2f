//! Authors' mistakes: each pack of `tests/mistakes` is refused at the marked place, with a help
//! that fits. `tests/mistakes/syntax.txt` describes the form.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail a test")]

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use guerdon_rules::{Diagnostic, RulePacks, SourceText};

/// The number of mistakes that must at least be described.
const LEAST_CASES: usize = 160;

/// One pack with one mistake.
pub(crate) struct Mistake {
    pub(crate) name: String,
    code: String,
    help: String,
    fix: Option<String>,
    /// The byte of the mistake.
    at: usize,
    pub(crate) text: String,
}

#[expect(clippy::disallowed_methods, reason = "a test reads its own fixtures")]
pub(crate) fn mistakes(file: &str) -> Vec<Mistake> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let cases = text.split("\n=== ").skip(1);
    cases.map(mistake).collect()
}

fn mistake(case: &str) -> Mistake {
    let (head, pack) = case.split_once('\n').unwrap();
    let fields: Vec<&str> = head.split(" | ").map(str::trim).collect();
    let marked = pack
        .replace("<rules>", "pack: p\nabout: P.\nrules:")
        .replace("<tab>", "\t")
        .replace("<nul>", "\0");
    let at = marked.find('⟦').unwrap_or_else(|| panic!("{head} marks no place"));
    Mistake {
        name: fields[0].to_owned(),
        code: fields[1].to_owned(),
        help: fields[2].to_owned(),
        fix: fields.get(3).map(|fix| (*fix).to_owned()),
        at,
        text: marked.replace('⟦', "") + "\n",
    }
}

fn check(text: &str) -> Vec<Diagnostic> {
    let pack = SourceText::new("p.yaml", text);
    let now = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    let report =
        RulePacks::compile_at(&[pack], now).map_or_else(|report| report, |(_, lints)| lints);
    report.diagnostics().to_vec()
}

/// The text with the fix of a diagnostic.
fn fixed(text: &str, diagnostic: &Diagnostic) -> Option<String> {
    let fix = diagnostic.fix.as_ref()?;
    let byte = |line: usize, column: usize| {
        let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
        let rest = &text[start..];
        start + rest.char_indices().nth(column - 1).map_or(rest.len(), |(at, _)| at)
    };
    let range = fix.range;
    let (from, to) = (byte(range.line, range.column), byte(range.end_line, range.end_column));
    Some(format!("{}{}{}", &text[..from], fix.replacement, &text[to..]))
}

#[test]
fn every_mistake_is_reported_at_its_place_with_a_help() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for file in ["syntax.txt", "structure.txt", "meaning.txt"] {
        for case in mistakes(file) {
            count += 1;
            let place = SourceText::new("p.yaml", case.text.as_str()).location(case.at);
            let mut found = check(&case.text);
            // A rule of a case needs no examples.
            found.retain(|d| !matches!(d.code.as_str(), "R101" | "R102" | "R114" | "R117"));
            let shown: Vec<String> = found
                .iter()
                .map(|d| {
                    let help = d.help.as_deref().unwrap_or_default();
                    let fix = d.fix.as_ref().map(|fix| fix.replacement.as_str());
                    format!("{} {}:{} {} [{help}] {fix:?}", d.code, d.line, d.column, d.message)
                })
                .collect();
            let at = format!("{} {}:{} ", case.code, place.line, place.column);
            let is_right = found.first().is_some_and(|d| {
                let fix = d.fix.as_ref().map(|fix| &fix.replacement);
                shown[0].starts_with(&at)
                    && d.help.as_deref().is_some_and(|help| help.contains(&case.help))
                    && case.fix.as_ref().is_none_or(|wanted| Some(wanted) == fix)
            });
            // One mistake is one error.
            if !is_right || found.len() != 1 {
                let wanted = format!("{at}[{}] {:?}", case.help, case.fix);
                wrong.push(format!("{}: wanted {wanted}\n    {}", case.name, shown.join("\n    ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= LEAST_CASES, "only {count} cases");
}

#[test]
fn a_fix_removes_its_mistake() {
    let mut fixes = 0;
    for file in ["syntax.txt", "structure.txt", "meaning.txt"] {
        for case in mistakes(file) {
            let before = check(&case.text);
            for diagnostic in &before {
                let Some(text) = fixed(&case.text, diagnostic) else { continue };
                fixes += 1;
                let after = check(&text);
                let remains = after.iter().any(|d| {
                    (&d.code, &d.message, d.line)
                        == (&diagnostic.code, &diagnostic.message, diagnostic.line)
                });
                assert!(!remains, "{}: {text}\n{after:?}", case.name);
            }
        }
    }
    assert!(fixes >= 40, "only {fixes} fixes");
}

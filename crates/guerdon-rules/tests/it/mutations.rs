//! Generated mistakes: every rule of the shipped packs, with one slip in one line. The pack is
//! still valid, or refused at the line of the slip, the line before or the line after.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail a test")]

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use guerdon_rules::{RulePacks, Severity, SourceText};

/// A slip in a line; `None` if the line has no place for it.
type Slip = fn(&str) -> Option<String>;

/// The slips by name.
const SLIPS: [(&str, Slip); 16] = [
    ("a tab for the indentation", |line| {
        let content = line.trim_start();
        (content.len() < line.len()).then(|| format!("\t{content}"))
    }),
    ("a space too many", |line| Some(format!(" {line}"))),
    ("a space too few", |line| line.strip_prefix(' ').map(str::to_owned)),
    ("no closing bracket", |line| without(line, ']')),
    ("no opening bracket", |line| without(line, '[')),
    ("no closing brace", |line| without(line, '}')),
    ("no opening brace", |line| without(line, '{')),
    ("a bracket too many", |line| line.contains(']').then(|| line.replacen(']', "]]", 1))),
    ("no quote", |line| without(line, '\'')),
    ("no last quote", |line| {
        let at = line.rfind('\'')?;
        Some(format!("{}{}", &line[..at], &line[at + 1..]))
    }),
    ("double quotes", |line| {
        let pairs = line.matches('\'').count() == 2 && line.contains('\\') && !line.contains('"');
        pairs.then(|| line.replace('\'', "\""))
    }),
    ("no space after the colon", |line| line.contains(": ").then(|| line.replacen(": ", ":", 1))),
    ("an equals sign", |line| line.contains(": ").then(|| line.replacen(": ", " = ", 1))),
    ("two letters swapped in the key", |line| {
        let key = line.trim_start_matches([' ', '-']);
        let end = key.find(':').filter(|end| *end > 3 && key[..*end].is_ascii())?;
        let at = line.len() - key.len();
        let bytes: Vec<char> = key[..end].chars().collect();
        let swapped: String = [&[bytes[1], bytes[0]], &bytes[2..]].concat().into_iter().collect();
        (bytes[0] != bytes[1]).then(|| format!("{}{swapped}{}", &line[..at], &line[at + end..]))
    }),
    ("a full-width colon", |line| line.contains(": ").then(|| line.replacen(": ", "：", 1))),
    ("a line twice", |line| {
        let content = line.trim_start();
        let is_key =
            content.split(':').next().is_some_and(|key| key.chars().all(char::is_alphabetic));
        (is_key && content.contains(": ")).then(|| format!("{line}\n{line}"))
    }),
];

fn without(line: &str, c: char) -> Option<String> {
    line.contains(c).then(|| line.replacen(c, "", 1))
}

/// The head of each shipped pack with one of its rules.
#[expect(clippy::disallowed_methods, reason = "a test reads the shipped packs")]
fn packs_of_one_rule() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules");
    let mut paths: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "yaml"));
    paths.sort();
    let mut packs = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(path).unwrap();
        let mut parts = text.split("\n  - id: ");
        let head = parts.next().unwrap().to_owned();
        // A rule that uses anchors of another one is not valid alone, and very long ones are slow.
        let alone = parts.map(|rule| format!("{head}\n  - id: {}\n", rule.trim_end()));
        packs.extend(alone.filter(|pack| pack.len() < 6_000 && compile(pack).is_empty()));
    }
    packs
}

/// The lines and codes of the errors of a pack.
fn compile(text: &str) -> Vec<(usize, String, String)> {
    let pack = SourceText::new("p.yaml", text);
    let now = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    let Err(report) = RulePacks::compile_at(&[pack], now) else { return Vec::new() };
    let errors = report.diagnostics().iter().filter(|d| d.severity == Severity::Error);
    errors.map(|d| (d.line, d.code.clone(), d.help.clone().unwrap_or_default())).collect()
}

#[test]
fn every_slip_in_a_shipped_rule_is_reported_near_its_line() {
    let packs = packs_of_one_rule();
    assert!(packs.len() >= 30, "only {} rules", packs.len());
    let (mut tried, mut refused) = (0, 0);
    let mut wrong = Vec::new();
    for (index, pack) in packs.iter().enumerate() {
        let lines: Vec<&str> = pack.lines().collect();
        for (number, (name, slip)) in SLIPS.iter().enumerate() {
            // Each slip in two lines of each rule, other lines in other rules.
            for round in 0..2 {
                let start = (index * 7 + number * 3 + round * 5) % lines.len();
                let line =
                    (0..lines.len()).map(|step| (start + step) % lines.len()).find_map(|line| {
                        // The names of facts are the author's own.
                        let is_fact =
                            !lines[..line].contains(&"rules:") && lines[line].starts_with(' ');
                        let is_comment = lines[line].trim_start().starts_with('#');
                        (!is_comment && !is_fact)
                            .then(|| slip(lines[line]))
                            .flatten()
                            .map(|new| (line, new))
                    });
                let Some((line, new)) = line else { continue };
                let mut mutated = lines.clone();
                mutated[line] = &new;
                let mutated = mutated.join("\n") + "\n";
                tried += 1;
                let errors = compile(&mutated);
                refused += usize::from(!errors.is_empty());
                // An example may tell that a rule now means something else.
                let is_example = |code: &str| matches!(code, "R010" | "R011" | "R012");
                let is_near = errors.iter().any(|(at, code, help)| {
                    is_example(code) || (at.abs_diff(line + 1) <= 1 && !help.is_empty())
                });
                if !errors.is_empty() && !is_near {
                    wrong.push(format!("{name}, line {}: {errors:?}\n{mutated}", line + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {tried}\n{}", wrong.len(), wrong.join("\n----\n"));
    assert!(tried >= 600 && refused * 2 >= tried, "{tried} tried, {refused} refused");
}

//! Golden pairs: the report of each `tests/packs/NAME.yaml` is `tests/packs/NAME.err`.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use guerdon_rules::{Diagnostic, Report, RulePacks, SourceText};

/// 2026-01-01, so that the results of `expires:` do not depend on the date.
const NOW: Duration = Duration::from_secs(1_767_225_600);

#[expect(clippy::disallowed_methods, reason = "a test reads its own fixtures")]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn compile(packs: &[SourceText]) -> Report {
    RulePacks::compile_at(packs, UNIX_EPOCH + NOW).map_or_else(|report| report, |(_, lints)| lints)
}

fn pack(name: &str, text: &str) -> SourceText {
    SourceText { name: name.into(), text: text.into() }
}

#[test]
fn every_wrong_pack_yields_its_report() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packs");
    let mut paths: Vec<PathBuf> =
        folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    paths.sort();
    assert!(paths.len() >= 7);
    for path in paths {
        let name = path.file_name().unwrap().display().to_string();
        let found = compile(&[pack(&name, &read(&path))]).to_string();
        let wanted = read(&path.with_extension("err"));
        assert!(found == wanted, "{name} earns\n{found}\nand not\n{wanted}");
    }
}

#[test]
fn packs_with_one_id_are_reported_by_file() {
    let text = "pack: a\nabout: A.\nrules: []\n";
    let report = compile(&[pack("one.yaml", text), pack("two.yaml", text)]);
    let [diagnostic] = report.diagnostics() else { panic!("{report}") };
    assert_eq!(
        (diagnostic.code.as_str(), diagnostic.file.as_str(), diagnostic.line),
        ("R006", "two.yaml", 1)
    );
    assert!(diagnostic.message.contains("one.yaml"));
}

#[test]
fn one_report_names_the_errors_of_all_packs() {
    let report = compile(&[pack("one.yaml", "pack: a\nrule: []\n"), pack("two.yaml", "pack: [")]);
    assert!(report.has_errors());
    let files: Vec<&str> = report.diagnostics().iter().map(|d| d.file.as_str()).collect();
    assert!(files.contains(&"one.yaml") && files.contains(&"two.yaml"), "{report}");
}

#[test]
fn diagnostics_round_trip_through_json() {
    let report = compile(&[pack("one.yaml", "pack: a\nrule: []\n")]);
    let json = serde_json::to_string(report.diagnostics()).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Diagnostic>>(&json).unwrap(), report.diagnostics());
}

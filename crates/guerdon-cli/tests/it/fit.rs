//! `guerdon fit` and `guerdon plot`: a reference set becomes a line of a configuration, and a curve.

use guerdon_types::{Finite, Normaliser, NormaliserConfig};

use crate::{folder, guerdon, stdout, transcript, write};

const VALUES: &str = "\
{\"value\": 1.0, \"length\": 10}
{\"value\": 2.0, \"length\": 20}
{\"value\": 6.0, \"length\": 60}
";

/// The normaliser in a printed line of a configuration.
fn printed(output: &str) -> Normaliser {
    let table: toml::Table = toml::from_str(output).unwrap();
    let config: NormaliserConfig = table["normalise"].clone().try_into().unwrap();
    config.resolve(None).unwrap()
}

#[test]
fn every_kind_prints_a_line_that_a_configuration_reads() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "values.jsonl", VALUES);
    for kind in ["centred", "standardised", "running", "quantile", "par", "length_debias"] {
        let output = guerdon(folder.path(), &["fit", kind, "--on", "values.jsonl"]);
        assert!(output.status.success(), "{}", transcript(&output));
        let text = stdout(&output);
        assert_eq!(printed(&text).kind(), kind, "{text}");
        assert!(text.contains("3 values, mean 3.0000"), "{text}");
        let json = guerdon(folder.path(), &["fit", kind, "--on", "values.jsonl", "--json"]);
        let from_json: Normaliser = serde_json::from_str(&stdout(&json)).unwrap();
        assert_eq!(from_json, printed(&text));
    }
    let line = stdout(&guerdon(folder.path(), &["fit", "length_debias", "--on", "values.jsonl"]));
    let Normaliser::LengthDebias { slope, mean_length } = printed(&line) else { panic!("{line}") };
    assert!((slope.get() - 0.1).abs() < 1e-12 && mean_length == Finite::from(30), "{line}");
}

/// Rollouts that are scored here give the same fit as their stored results.
#[test]
fn rollouts_and_their_results_give_the_same_fit() {
    let folder = folder();
    let fit = |arguments: &[&str]| {
        let output = guerdon(folder.path(), &[&["fit", "length_debias"][..], arguments].concat());
        assert!(output.status.success(), "{}", transcript(&output));
        stdout(&output)
    };
    let dialogues = "\
{\"id\": \"a\", \"messages\": [{\"role\": \"assistant\", \"content\": \"see the work order .\"}]}
{\"id\": \"b\", \"messages\": [{\"role\": \"assistant\", \"content\": \"the price\"}]}
";
    write(folder.path(), "two.jsonl", dialogues);
    let scored = guerdon(folder.path(), &["score", "two.jsonl", "--local", "--out", "out.jsonl"]);
    assert!(scored.status.success(), "{}", transcript(&scored));
    let here = fit(&["--on", "two.jsonl", "--source", "rm"]);
    assert_eq!(here, fit(&["--on", "out.jsonl", "--source", "rm", "--rollouts", "two.jsonl"]));
    assert_eq!(here, fit(&["--on", "out.jsonl", "--rollouts", "two.jsonl"]), "rm is the default");
    let without = guerdon(folder.path(), &["fit", "length_debias", "--on", "out.jsonl"]);
    assert!(transcript(&without).contains("--rollouts"), "{}", transcript(&without));
    let unknown = guerdon(folder.path(), &["fit", "par", "--on", "out.jsonl", "--source", "tone"]);
    assert!(transcript(&unknown).contains("`rm`, `rules`"), "{}", transcript(&unknown));
}

#[test]
fn curves_are_drawn_with_the_same_bytes_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let draw = |arguments: &[&str]| {
        let output = guerdon(folder.path(), &[&["plot"][..], arguments].concat());
        assert!(output.status.success(), "{}", transcript(&output));
        stdout(&output)
    };
    for arguments in [
        &["normaliser", "\"raw\""][..],
        &["normaliser", "{ kind = \"par\", reference = 1.5 }"],
        &["normaliser", "{\"kind\": \"quantile\", \"knots\": [0, 1, 5]}"],
        &["normaliser", "\"raw\"", "--from", "-2", "--to", "3"],
        &["fusion"],
        &["fusion", "{ method = \"repo\", delta = 0.2 }", "--scores", "-1,0,1"],
        &["fusion", "{\"method\": \"gated\"}", "--veto"],
        &["fusion", "{ method = \"soft_min\", beta = 0.5 }"],
    ] {
        let svg = draw(arguments);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{arguments:?}");
        assert_eq!(svg, draw(arguments), "{arguments:?}");
    }
    draw(&["fusion", "--out", "fusion.svg"]);
    let written = std::fs::read_to_string(folder.path().join("fusion.svg")).unwrap();
    assert_eq!(written, draw(&["fusion"]));
}

#[test]
fn curves_that_do_not_exist_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, reason) in [
        (&["plot", "fusion", "{ method = \"hero\" }"][..], "among its group"),
        (&["plot", "fusion", "{ method = \"screen\" }", "--veto"], "no reward"),
        (&["plot", "fusion", "{ delta = -1 }"], "0 or more"),
        (&["plot", "normaliser", "par"], "neither JSON nor"),
        (&["plot", "normaliser", "\"raw\"", "--from", "3", "--to", "-3"], "below"),
        (&["fit", "par", "--on", "nothing.jsonl"], "nothing.jsonl"),
    ] {
        let output = guerdon(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(1), "{}", transcript(&output));
        assert!(transcript(&output).contains(reason), "{}", transcript(&output));
    }
}

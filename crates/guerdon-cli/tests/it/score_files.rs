//! `guerdon score`: forms of the input, and outputs that must not be lost.

use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use flate2::write::GzEncoder;

use crate::{ROLLOUTS, command, folder, guerdon, stdout, transcript, write};

const LOCAL: [&str; 2] = ["--local", "--sources=rules"];

fn score(folder: &Path, arguments: &[&str]) -> Output {
    let fusion = ["--fusion", "{\"method\": \"weighted_sum\"}"];
    guerdon(folder, &[&["score"], arguments, &LOCAL, &fusion].concat())
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn every_form_of_the_input_gives_the_same_results() {
    let folder = folder();
    let lines: Vec<&str> = ROLLOUTS.lines().filter(|line| !line.contains("robot")).collect();
    let text = lines.join("\n");
    let list = format!("[{}]", lines.join(",\n"));
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    let expected = {
        write(folder.path(), "in", &text);
        let output = score(folder.path(), &["in"]);
        assert!(output.status.success(), "{}", transcript(&output));
        stdout(&output)
    };
    assert_eq!(expected.lines().count(), 2);
    for content in [
        format!("\u{feff}{text}\r\n").into_bytes(),
        list.clone().into_bytes(),
        format!("{{\"rollouts\": {list}, \"sources\": [\"rm\"]}}").into_bytes(),
        gzip.finish().unwrap(),
        zstd::encode_all(text.as_bytes(), 3).unwrap(),
    ] {
        std::fs::write(folder.path().join("in"), &content).unwrap();
        let output = score(folder.path(), &["in"]);
        assert!(output.status.success(), "{}", transcript(&output));
        assert_eq!(stdout(&output), expected);
        let arguments = ["score", "-", "--local", "--fusion", "{\"method\": \"weighted_sum\"}"];
        let mut piped = command(folder.path(), &[&arguments[..], &["--sources=rules"]].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        piped.stdin.take().unwrap().write_all(&content).unwrap();
        assert_eq!(stdout(&piped.wait_with_output().unwrap()), expected);
    }
}

#[test]
fn settings_of_a_whole_request_are_used_and_flags_win() {
    let folder = folder();
    let request = "{\"rollouts\": [{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}], \
                   \"profile\": \"nobody\"}";
    write(folder.path(), "in.json", request);
    let refused = score(folder.path(), &["in.json"]);
    assert!(transcript(&refused).contains("no profile `nobody`"), "{}", transcript(&refused));
    let scored = score(folder.path(), &["in.json", "--profile", "p"]);
    assert!(scored.status.success(), "{}", transcript(&scored));
}

#[test]
fn refused_run_changes_no_file() {
    let folder = folder();
    write(folder.path(), "out.jsonl", "earlier\n");
    for (flags, words) in [
        (&["--profile", "pp"][..], "did you mean `p`?"),
        (&["--sources", "rle"], "no source"),
        (&["--fusion", "{\"bond\": 1}"], "--fusion"),
        (&["--fusion", "{\"bound\": -1}"], "bound"),
        (&["--advantages", "grpo"], "names no group"),
        (&["--advantages", "grop"], "possible values: grpo"),
        (&["--config", "nowhere.toml"], "nowhere.toml"),
    ] {
        for out in ["out.jsonl", "new.jsonl"] {
            let line = [&["score", "in.jsonl", "--local", "--out", out], flags].concat();
            let output = guerdon(folder.path(), &line);
            let shown = transcript(&output);
            assert!(!output.status.success() && shown.contains(words), "{flags:?}: {shown}");
            assert_eq!(read(folder.path(), "out.jsonl"), "earlier\n");
            for name in ["new.jsonl", "new.jsonl.part", "out.jsonl.part"] {
                assert!(!folder.path().join(name).exists(), "{flags:?}: {name}");
            }
        }
    }
    let unreachable = ["score", "in.jsonl", "--url", "http://127.0.0.1:9", "--out", "out.jsonl"];
    assert!(!guerdon(folder.path(), &unreachable).status.success());
    assert_eq!(read(folder.path(), "out.jsonl"), "earlier\n");
}

#[test]
fn input_is_never_overwritten() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    std::os::unix::fs::symlink("in.jsonl", path("link")).unwrap();
    std::os::unix::fs::symlink("link", path("link2")).unwrap();
    std::fs::hard_link(path("in.jsonl"), path("hard")).unwrap();
    std::fs::hard_link(path("in.jsonl"), path("other.part")).unwrap();
    let absolute = path("in.jsonl").display().to_string();
    for out in ["in.jsonl", "./in.jsonl", "link", "link2", "hard", "other", &absolute] {
        for input in ["in.jsonl", "link2", "-"] {
            let stdin = std::fs::File::open(path("in.jsonl")).unwrap();
            let line = ["score", input, "--local", "--out", out];
            let output = command(folder.path(), &line).stdin(stdin).output().unwrap();
            let shown = transcript(&output);
            assert_eq!(output.status.code(), Some(1), "{input} {out}: {shown}");
            assert!(shown.contains("would overwrite the input"), "{input} {out}: {shown}");
            assert_eq!(read(folder.path(), "in.jsonl"), ROLLOUTS);
        }
    }
}

#[test]
fn link_device_and_table_are_written() {
    let folder = folder();
    let usual = stdout(&score(folder.path(), &["in.jsonl"]));
    std::os::unix::fs::symlink("real.jsonl", folder.path().join("out.jsonl")).unwrap();
    for _ in 0..2 {
        score(folder.path(), &["in.jsonl", "--out", "out.jsonl"]);
        assert!(folder.path().join("out.jsonl").is_symlink());
        assert_eq!(read(folder.path(), "real.jsonl"), usual);
    }
    assert_eq!(stdout(&score(folder.path(), &["in.jsonl", "--out", "/dev/stdout"])), usual);
    let full = score(folder.path(), &["in.jsonl", "--out", "/dev/full"]);
    assert_eq!(full.status.code(), Some(1));
    assert!(transcript(&full).contains("cannot write to /dev/full"), "{}", transcript(&full));
    score(folder.path(), &["in.jsonl", "--table", "--out", "table.txt"]);
    let table = stdout(&score(folder.path(), &["in.jsonl", "--table"]));
    assert_eq!(read(folder.path(), "table.txt"), table);
    for bad in ["nowhere/out.jsonl", "/", "."] {
        let output = score(folder.path(), &["in.jsonl", "--out", bad]);
        assert!(transcript(&output).contains("cannot write"), "{bad}: {}", transcript(&output));
    }
}

#[test]
fn foreign_formats_and_hints_are_printed() {
    let folder = folder();
    std::fs::write(folder.path().join("in.arrow"), b"ARROW1..").unwrap();
    insta::assert_snapshot!(transcript(&score(folder.path(), &["in.arrow"])));
    let lines = "[]\n{\"mesages\": []}\n{\"messages\": []}\n{}\n{\"mesages\": []}\n";
    write(folder.path(), "in.jsonl", lines);
    let output = score(folder.path(), &["in.jsonl", "--out", "out.jsonl"]);
    insta::assert_snapshot!("hints", transcript(&output));
    write(folder.path(), "in.jsonl", "[\n{},\n");
    insta::assert_snapshot!("broken_list", transcript(&score(folder.path(), &["in.jsonl"])));
}

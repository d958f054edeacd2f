//! `guerdon rules`, `judge`, `rm` and `config`.

use serde_json::Value;

use crate::{PACK, REPOSITORY, command, folder, guerdon, stdout, transcript, write};

/// A judge prompt with one criterion.
pub(crate) const PROMPT: &str = r#"+++
id = "kind"
about = "Whether the reply is kind."
version = 1

[[criteria]]
id = "kind"
kind = "deduct"
about = "The reply is cold to the partner."
fails_empty = true
quote = false
levels = [
  { name = "warm", points = 0, anchor = "It is kind." },
  { name = "cold", points = -20, anchor = "It is not." },
]
+++
# system
You judge one turn. {% for c in criteria %}{{ c.id }}: {{ c.about }} {% endfor %}
# user
{{ dialogue }}
{{ turn }}
"#;

#[test]
fn missing_model_is_reported_with_its_path() {
    let folder = folder();
    let config = "[models.m]\npath = \"nowhere\"\n[profiles.p]\nmodel = \"m\"\n";
    write(folder.path(), "guerdon.toml", config);
    insta::assert_snapshot!(transcript(&guerdon(folder.path(), &["config", "check"])));
}

#[test]
fn configuration_is_checked() {
    let folder = folder();
    insta::assert_snapshot!(transcript(&guerdon(folder.path(), &["config", "check"])));
}

#[test]
fn configuration_is_shown_without_secrets() {
    let folder = folder();
    let config =
        "[auth]\ntokens = [{ name = \"t\", env = \"SECRET_TOKEN\", scopes = [\"score\"] }]\n";
    write(folder.path(), "guerdon.toml", config);
    let output = command(folder.path(), &["config", "show"])
        .env("SECRET_TOKEN", "hunter2")
        .env("GUERDON__SERVER__LOG", "debug")
        .output()
        .unwrap();
    let shown = transcript(&output);
    assert!(!shown.contains("hunter2"), "{shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn model_matches_its_reference_and_a_wrong_reference_fails() {
    let folder = folder();
    let runtime = format!("{REPOSITORY}/.guerdon/onnxruntime");
    let model = format!("{REPOSITORY}/crates/guerdon-model/tests/tiny-decoder");
    let check = |more: &[&str]| {
        let arguments = [&["rm", "check", &model, "--runtime", &runtime], more].concat();
        guerdon(folder.path(), &arguments)
    };
    let checked = check(&[]);
    assert!(checked.status.success(), "{}", transcript(&checked));
    let (out, same) = (stdout(&checked), "bit for bit the same");
    assert!(out.contains(same) && out.contains("ok    16 reference scores"), "{out}");

    let wrong =
        r#"{"messages": [{"role": "assistant", "content": "deal"}], "index": 0, "score": 99.0}"#;
    write(folder.path(), "wrong.jsonl", wrong);
    let checked = check(&["--on", "wrong.jsonl"]);
    assert!(!checked.status.success());
    assert!(stdout(&checked).contains("FAIL  1 reference scores"), "{}", transcript(&checked));
}

#[test]
fn good_pack_is_checked() {
    let folder = folder();
    insta::assert_snapshot!(transcript(&guerdon(folder.path(), &["rules", "check", "rules.yaml"])));
}

#[test]
fn broken_pack_is_reported_with_line_and_nearest_key() {
    let folder = folder();
    write(folder.path(), "rules.yaml", &PACK.replace("points", "pionts"));
    insta::assert_snapshot!(transcript(&guerdon(folder.path(), &["rules", "check", "rules.yaml"])));
    let json = guerdon(folder.path(), &["rules", "check", "rules.yaml", "--json"]);
    let diagnostics: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(!json.status.success());
    insta::assert_json_snapshot!("broken_pack_json", diagnostics);
}

#[test]
fn hits_are_marked_in_the_text() {
    let folder = folder();
    let tried = guerdon(folder.path(), &["rules", "try", "rules.yaml", "--text", "a work order"]);
    insta::assert_snapshot!(transcript(&tried));
}

#[test]
fn folder_without_packs_is_reported() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    insta::assert_snapshot!(transcript(&guerdon(folder.path(), &["rules", "check", "empty"])));
}

#[test]
fn good_prompt_is_checked() {
    let folder = folder();
    write(folder.path(), "kind.md", PROMPT);
    insta::assert_snapshot!(transcript(&guerdon(folder.path(), &["judge", "check", "kind.md"])));
}

#[test]
fn draft_is_refused_where_sealed_prompts_are_required() {
    let folder = folder();
    write(folder.path(), "kind.md", PROMPT);
    let checked = guerdon(folder.path(), &["judge", "check", "kind.md", "--sealed"]);
    insta::assert_snapshot!(transcript(&checked));
}

#[test]
fn broken_prompt_is_reported_with_line_and_nearest_key() {
    let folder = folder();
    write(folder.path(), "kind.md", &PROMPT.replace("points = -20", "pionts = -20"));
    insta::assert_snapshot!(transcript(&guerdon(folder.path(), &["judge", "check", "kind.md"])));
    let json = guerdon(folder.path(), &["judge", "check", "kind.md", "--json"]);
    let diagnostics: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(!json.status.success());
    insta::assert_json_snapshot!("broken_prompt_json", diagnostics);
}

#[test]
fn prompt_is_rendered_for_a_rollout() {
    let folder = folder();
    write(folder.path(), "kind.md", PROMPT);
    let rendered = guerdon(folder.path(), &["judge", "render", "kind.md", "--rollout", "in.jsonl"]);
    assert!(rendered.status.success(), "{}", transcript(&rendered));
    assert!(stdout(&rendered).contains("kind: The reply is cold to the partner."));
}

#[test]
fn empty_key_file_is_refused() {
    let folder = folder();
    write(folder.path(), "kind.md", PROMPT);
    write(folder.path(), "key", "\n");
    let config = "[judges.j]\nurl = \"http://127.0.0.1:9/v1\"\nmodel = \"m\"\napi_key_file = \"key\"\n\
         [profiles.p]\njudge = \"j\"\n";
    write(folder.path(), "guerdon.toml", config);
    let tried = guerdon(folder.path(), &["judge", "try", "kind.md", "--rollout", "in.jsonl"]);
    insta::assert_snapshot!(transcript(&tried));
}

#[test]
fn byte_order_mark_before_rollouts_is_skipped() {
    let folder = folder();
    write(folder.path(), "kind.md", PROMPT);
    let rollout =
        "\u{feff}{\"messages\": [{\"role\": \"assistant\", \"content\": \"a work order\"}]}\r\n";
    write(folder.path(), "in.jsonl", rollout);
    for line in [
        &["rules", "try", "rules.yaml", "--on", "in.jsonl"][..],
        &["rules", "bench", "rules.yaml", "--on", "in.jsonl"],
        &["judge", "render", "kind.md", "--rollout", "in.jsonl"],
        &["score", "in.jsonl", "--local"],
    ] {
        let output = guerdon(folder.path(), line);
        assert!(output.status.success(), "{line:?}: {}", transcript(&output));
    }
}

#[test]
fn rollout_to_render_comes_from_standard_input_in_any_form() {
    let folder = folder();
    write(folder.path(), "kind.md", PROMPT);
    let rollout = |text: &str| {
        serde_json::json!({ "messages": [
            { "role": "user", "content": "480?" }, { "role": "assistant", "content": text },
        ] })
    };
    let (first, second) = (rollout("The first reply."), rollout("The second reply."));
    for input in [
        format!("{first}\n{second}\n"),
        format!("\u{feff}\n{first}\n"),
        serde_json::to_string_pretty(&first).unwrap(),
        serde_json::json!({ "rollouts": [first, second] }).to_string(),
    ] {
        write(folder.path(), "input", &input);
        let stdin = std::fs::File::open(folder.path().join("input")).unwrap();
        let arguments = ["judge", "render", "kind.md", "--rollout", "-"];
        let output = command(folder.path(), &arguments).stdin(stdin).output().unwrap();
        assert!(output.status.success(), "{input}: {}", transcript(&output));
        let shown = stdout(&output);
        assert!(shown.contains("The first reply.") && !shown.contains("second"), "{shown}");
    }
    for (input, reason) in [
        ("", "standard input has no rollout"),
        ("{\"rollouts\": []}", "standard input has no rollout"),
        ("{\"rollouts\": [3]}", "number 1 of the `rollouts`"),
        ("{\"message\": 3}", "standard input is not a rollout"),
        ("[1,\n", "first line of standard input"),
    ] {
        write(folder.path(), "input", input);
        let stdin = std::fs::File::open(folder.path().join("input")).unwrap();
        let arguments = ["judge", "render", "kind.md", "--rollout", "-"];
        let output = command(folder.path(), &arguments).stdin(stdin).output().unwrap();
        assert!(!output.status.success(), "{input}");
        assert!(transcript(&output).contains(reason), "{input}: {}", transcript(&output));
    }
}

/// Two packs of which the second has a veto and a shadow rule more.
const OLD: &str = "pack: p\nrules:\n  - { id: a, points: -5, match: { any_of: [bad] } }\n";
const NEW: &str = "pack: p\nrules:\n  - { id: a, points: -5, veto: true, match: { any_of: [bad] } }\n  - { id: b, points: -9, shadow: true, match: { any_of: [good] } }\n";
const SAMPLES: &str = r#"{"id": "x", "group": "g", "messages": [{"role": "assistant", "content": "bad"}]}
{"id": "y", "group": "g", "messages": [{"role": "assistant", "content": "good"}]}
"#;

#[test]
fn diff_shows_vetoes_and_shadow_rules_and_fails_on_them() {
    let folder = folder();
    for (name, text) in [("old.yaml", OLD), ("new.yaml", NEW), ("on.jsonl", SAMPLES)] {
        write(folder.path(), name, text);
    }
    let diff = |more: &[&str]| {
        let arguments = ["rules", "diff", "old.yaml", "new.yaml", "--on", "on.jsonl"];
        guerdon(folder.path(), &[&arguments[..], more].concat())
    };
    insta::assert_snapshot!(transcript(&diff(&["--fail-on", "veto,rank"])));
    assert!(diff(&["--fail-on", "points"]).status.success());
    assert!(!diff(&["--fail-on", "shadow"]).status.success());
    // With recorded scores of the reward model, the veto takes the reward to the floor.
    let score = |id: &str, score: f64| {
        let rm = format!(r#"{{"score": {score}, "raw": 1.0, "tokens": 3, "truncated": false}}"#);
        let turn = format!(
            r#"{{"index": 0, "reward": null, "enhancement": null, "rm": {rm}, "abstained": []}}"#
        );
        format!("{{\"id\": \"{id}\", \"reward\": null, \"turns\": [{turn}]}}\n")
    };
    write(folder.path(), "scores.jsonl", &(score("x", 2.0) + &score("y", 1.0)));
    let fused = diff(&["--scores", "scores.jsonl", "--fail-on", "rank"]);
    assert!(!fused.status.success(), "{}", transcript(&fused));
    assert!(stdout(&fused).contains("x 1 -> 2, y 2 -> 1"), "{}", transcript(&fused));
    write(folder.path(), "scores.jsonl", &score("x", 2.0));
    let lacking = transcript(&diff(&["--scores", "scores.jsonl"]));
    assert!(lacking.contains("no result of rollout `y`, turn 0"), "{lacking}");

    let same = ["rules", "diff", "old.yaml", "old.yaml", "--on", "on.jsonl", "--fail-on"];
    let all = "points,veto,shadow,reward,rank,undecided";
    assert!(guerdon(folder.path(), &[&same[..], &[all]].concat()).status.success());
}

#[test]
fn every_command_reports_every_file_that_cannot_be_read() {
    let folder = folder();
    for (name, text) in [
        ("old/a.yaml", &b"pack: \xb9\xa4\n"[..]),
        ("old/b.yaml", b"pack: b\nabout: B.\nimport: [lists/words.yaml]\nrules: []\n"),
        ("old/lists/words.yaml", b"library: w\nwords: { a: [\xff] }\n"),
        ("new/c.yaml", b"pack: c\nrule: []\n"),
    ] {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    write(folder.path(), "on.jsonl", SAMPLES);
    let places = ["old/a.yaml:1:7", "old/lists/words.yaml:2:14"];
    for arguments in [
        &["rules", "check", "old"][..],
        &["rules", "test", "old"],
        &["rules", "try", "old", "--text", "x"],
        &["rules", "eval", "old", "--on", "on.jsonl"],
        &["rules", "bench", "old", "--on", "on.jsonl"],
        &["rules", "label", "on.jsonl", "--packs", "old"],
        &["rules", "diff", "old", "new", "--on", "on.jsonl"],
    ] {
        let output = guerdon(folder.path(), arguments);
        let shown = transcript(&output);
        assert!(!output.status.success(), "{shown}");
        let errors = if arguments[1] == "diff" { 3 } else { 2 };
        assert_eq!(shown.matches("error[R").count(), errors, "{shown}");
        assert!(places.iter().all(|place| shown.contains(place)), "{shown}");
    }
}

#[test]
fn labels_are_asked_for_kept_and_measured() {
    let folder = folder();
    write(folder.path(), "p.yaml", OLD);
    write(folder.path(), "on.jsonl", &SAMPLES.replace("good", "bad too"));
    let label = |answers: &str, more: &[&str]| {
        write(folder.path(), "answers", answers);
        let arguments = ["rules", "label", "on.jsonl", "--packs", "p.yaml"];
        let answers = std::fs::File::open(folder.path().join("answers")).unwrap();
        command(folder.path(), &[&arguments[..], more].concat()).stdin(answers).output().unwrap()
    };
    // The second hit is skipped, so it is asked again; then nothing is left.
    insta::assert_snapshot!(transcript(&label("y\ns\n", &[])));
    let again = label("what\nn\n", &[]);
    assert!(stdout(&again).contains("y turn 0") && !stdout(&again).contains("x turn 0"));
    assert!(stdout(&label("", &[])).contains("nothing to ask"));
    let csv = std::fs::read_to_string(folder.path().join("on.labels.csv")).unwrap();
    assert_eq!(csv, "rollout,turn,rule,label\nx,0,p/a,true\ny,0,p/a,false\n");

    let eval = |more: &[&str]| {
        let arguments = ["rules", "eval", "p.yaml", "--on", "on.jsonl"];
        guerdon(folder.path(), &[&arguments[..], more].concat())
    };
    insta::assert_snapshot!(transcript(&eval(&[])));
    let failed = eval(&["--min-hits", "2", "--fail-under", "0.9", "--format", "junit"]);
    assert!(!failed.status.success());
    insta::assert_snapshot!(transcript(&failed));
    let json = eval(&["--min-hits", "2", "--fail-under", "0.5", "--format", "json"]);
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(json.status.success());
    assert_eq!(report["rules"][0]["precision"]["value"], 0.5);

    for (rows, part) in [
        ("x,0,p/b,true\n", "no rule `p/b`"),
        ("x,0,q/*,false\n", "no rule `q/*`"),
        ("x,0,p/a,true\nx,0,p/a,false\n", "true in line 2 and false in line 3"),
        ("x,0,p/a,maybe\n", "not true or false"),
        ("", "nothing was measured"),
    ] {
        write(folder.path(), "on.labels.csv", &format!("rollout,turn,rule,label\n{rows}"));
        let failed = eval(&["--fail-under", "0.5"]);
        assert!(!failed.status.success(), "{}", transcript(&failed));
        assert!(transcript(&failed).contains(part), "{}", transcript(&failed));
    }
    std::fs::remove_file(folder.path().join("on.labels.csv")).unwrap();
    let line = |id: &str, labels: &str| {
        let message = r#"{"role": "assistant", "content": "bad"}"#;
        format!("{{{id} \"messages\": [{message}], \"labels\": {labels}}}\n")
    };
    let (yes, no) = (r#"{"p/a": true}"#, r#"{"p/a": false}"#);
    for (lines, part) in [
        (line("", r#"{"p/a": true, "p/a": false}"#), "on.jsonl line 1: `p/a` is both"),
        (line("", yes) + "\n" + &line("", no), "true in line 1 and false in line 3"),
        (
            line("\"id\": 1,", yes) + &line("\"id\": \"1\",", no),
            "true in line 1 and false in line 2",
        ),
    ] {
        write(folder.path(), "on.jsonl", &lines);
        let failed = eval(&[]);
        assert!(!failed.status.success(), "{}", transcript(&failed));
        assert!(transcript(&failed).contains(part), "{}", transcript(&failed));
    }
    write(folder.path(), "on.jsonl", &(line("", yes) + &line("\"id\": 1,", yes)));
    assert!(eval(&[]).status.success());
    write(folder.path(), "on.jsonl", &SAMPLES.replace("good", "bad too"));
    let capitals = "rollout,turn,rule,label\nx,0,p/a,TRUE\ny,0,p/a,False\n";
    write(folder.path(), "on.labels.csv", capitals);
    assert!(eval(&["--fail-under", "0.5"]).status.success());

    write(folder.path(), "on.labels.csv", "rollout,turn,rule,label\nz,0,p/a,true\n");
    let wrong = eval(&[]);
    assert!(!wrong.status.success());
    assert!(transcript(&wrong).contains("no such rollout"), "{}", transcript(&wrong));
}

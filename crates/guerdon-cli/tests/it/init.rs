//! `guerdon init`: every template is checked, served and scored, with and without a model.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::score::Serving;
use crate::{REPOSITORY, command, guerdon, stdout, transcript, write};

const TEMPLATES: [&str; 4] = ["hotel", "support", "math", "blank"];

/// `guerdon` with the checkout's ONNX Runtime.
fn with_runtime(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = command(folder, arguments);
    command.env("ORT_DYLIB_PATH", format!("{REPOSITORY}/.guerdon/onnxruntime"));
    command
}

/// Runs a command that succeeds without a warning.
fn clean(folder: &Path, arguments: &[&str]) -> String {
    let output =
        with_runtime(folder, arguments).env("GUERDON__SERVER__LOG", "warn").output().unwrap();
    let shown = transcript(&output);
    assert!(output.status.success(), "{arguments:?}: {shown}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.to_lowercase().contains("warn"), "{arguments:?}: {shown}");
    stdout(&output)
}

/// The reward and the rules' points of each rollout of a template's sample.
fn rewards(text: &str) -> BTreeMap<String, (f64, f64)> {
    let rollout = |line: &str| {
        let result: Value = serde_json::from_str(line).unwrap();
        let number = |value: &Value| value.as_f64().expect(line);
        let (reward, points) = (&result["reward"], &result["turns"][0]["rules"]["points"]);
        (result["id"].as_str().unwrap().to_owned(), (number(reward), number(points)))
    };
    text.lines().map(rollout).collect()
}

#[test]
fn every_template_is_checked_served_and_scored() {
    for template in TEMPLATES {
        for model in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let target = folder.path().join("new/reward");
            let mut line = vec!["init", target.to_str().unwrap(), "--template", template];
            line.extend((!model).then_some("--no-model"));
            clean(folder.path(), &line);

            clean(&target, &["rules", "check", "rules"]);
            clean(&target, &["judge", "check", "judge-prompts"]);
            clean(&target, &["config", "check"]);
            let local = rewards(&clean(&target, &["score", "rollouts.jsonl", "--local"]));
            assert!(local.len() >= 3, "{template}");
            // The first line of each sample is its best reply.
            let sample = std::fs::read_to_string(target.join("rollouts.jsonl")).unwrap();
            let first: Value = serde_json::from_str(sample.lines().next().unwrap()).unwrap();
            let best = first["id"].as_str().unwrap();
            let (_, most) = local[best];
            let others = local.iter().filter(|(id, _)| *id != best);
            assert!(others.clone().all(|(_, (_, points))| *points < most), "{template}: {local:?}");

            let mut serve = with_runtime(&target, &["serve", "--listen", "127.0.0.1:0"]);
            let serving = Serving::spawn(serve.stdout(Stdio::piped()));
            let served = clean(&target, &["score", "rollouts.jsonl", "--url", &serving.url]);
            assert_eq!(rewards(&served), local, "{template}");
        }
    }
}

#[test]
fn bundled_model_is_copied_where_the_template_uses_it() {
    for template in TEMPLATES {
        let folder = tempfile::tempdir().unwrap();
        clean(folder.path(), &["init", "--template", template]);
        let manifest = folder.path().join("models/e5-hh/guerdon.model.toml");
        assert_eq!(manifest.exists(), (template == "hotel"), "{template}");
        let config = clean(folder.path(), &["config", "show"]);
        assert_eq!(config.contains("[models.e5]"), manifest.exists(), "{template}: {config}");
        assert!(!config.contains("#@"), "{config}");
        let text = std::fs::read_to_string(folder.path().join("guerdon.toml")).unwrap();
        assert!(!text.contains("#@"), "{text}");
    }
}

/// The settings that a template shows as comments are valid.
#[test]
fn settings_in_comments_can_be_enabled() {
    for template in TEMPLATES {
        for model in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let mut line = vec!["init", "--template", template];
            line.extend((!model).then_some("--no-model"));
            clean(folder.path(), &line);
            let text = std::fs::read_to_string(folder.path().join("guerdon.toml")).unwrap();
            let enabled = |line: &str| {
                let setting = line.strip_prefix("# ").filter(|rest| {
                    rest.starts_with('[')
                        || rest.split_once(" = ").is_some_and(|(key, _)| {
                            key.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')
                        })
                });
                setting.unwrap_or(line).to_owned() + "\n"
            };
            let text: String = text.lines().map(enabled).collect();
            write(folder.path(), "guerdon.toml", &text);
            let shown = clean(folder.path(), &["config", "show"]);
            for part in ["[judges.main]", "judge = \"main\""] {
                assert!(shown.contains(part), "{template}: {part} is missing in {shown}");
            }
        }
    }
}

#[test]
fn reports_what_was_written_and_what_comes_next() {
    let folder = tempfile::tempdir().unwrap();
    insta::assert_snapshot!("template_hotel", clean(folder.path(), &["init", "reward"]));
    let line = ["init", "bare", "--template", "hotel", "--no-model"];
    insta::assert_snapshot!("template_without_model", clean(folder.path(), &line));
    insta::assert_snapshot!("template_here", clean(folder.path(), &["init", "-t", "math"]));
}

/// Every file of a folder with its content.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.display().to_string(), std::fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn nothing_is_written_next_to_any_file_of_the_template() {
    let fresh = tempfile::tempdir().unwrap();
    clean(fresh.path(), &["init"]);
    for path in files(fresh.path()).into_keys() {
        let name = path.strip_prefix(&format!("{}/", fresh.path().display())).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
        write(folder.path(), name, "mine");
        let before = files(folder.path());
        let output = guerdon(folder.path(), &["init"]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert_eq!(files(folder.path()), before, "{name}");
        let shown = transcript(&output);
        let named = if name.starts_with("models") { "models/e5-hh" } else { name };
        assert!(shown.contains(named) && shown.contains("nothing was written"), "{shown}");
    }
}

#[test]
fn folder_that_cannot_be_written_is_reported_by_name() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "file", "");
    let output = guerdon(folder.path(), &["init", "file/below", "--template", "blank"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(transcript(&output).contains("file/below/guerdon.toml"), "{}", transcript(&output));
    assert_eq!(files(folder.path()).len(), 1);

    std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
    for (target, named) in
        [("file", "file"), ("file/below", "file"), ("link", "link"), ("link/below", "link")]
    {
        let output = guerdon(folder.path(), &["init", target, "--template", "blank"]);
        assert_eq!(output.status.code(), Some(1), "{target}");
        let shown = transcript(&output);
        let words = format!("{named} exists and is not a folder");
        assert!(shown.contains(&words) && !shown.contains("os error"), "{target}: {shown}");
    }
    // A folder of the template whose name is taken.
    for name in ["rules", "judge-prompts"] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), name, "");
        let shown = transcript(&guerdon(folder.path(), &["init", "--template", "blank"]));
        let words = format!("{name} exists and is not a folder");
        assert!(shown.contains(&words), "{shown}");
        assert_eq!(files(folder.path()).len(), 1, "{shown}");
    }
}

#[test]
fn folder_with_spaces_is_one_word_of_the_next_command() {
    let folder = tempfile::tempdir().unwrap();
    let shown = clean(folder.path(), &["init", "my reward", "--template", "blank"]);
    assert!(shown.contains("\n  cd 'my reward'\n"), "{shown}");
}

#[test]
fn missing_configuration_is_reported_with_the_way_to_write_one() {
    let folder = tempfile::tempdir().unwrap();
    let output = guerdon(folder.path(), &["serve"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = transcript(&output);
    assert!(shown.contains("`guerdon.toml`") && shown.contains("guerdon init"), "{shown}");
}

/// The folder layout of the packages: `bin/guerdon` next to `share/guerdon`.
#[test]
fn installed_program_serves_its_example_in_a_folder_without_configuration() {
    let prefix = tempfile::tempdir().unwrap();
    let (bin, share) = (prefix.path().join("bin"), prefix.path().join("share/guerdon"));
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir_all(share.parent().unwrap()).unwrap();
    let program = bin.join("guerdon");
    // A link to the program would be resolved to its place in the checkout.
    if std::fs::hard_link(env!("CARGO_BIN_EXE_guerdon"), &program).is_err() {
        std::fs::copy(env!("CARGO_BIN_EXE_guerdon"), &program).unwrap();
    }
    clean(prefix.path(), &["init", share.to_str().unwrap(), "--template", "blank"]);
    let empty = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        Command::new(&program).args(arguments).current_dir(empty.path()).output().unwrap()
    };
    let output = run(&["config", "show"]);
    let shown = transcript(&output);
    assert!(output.status.success() && stdout(&output).contains("[profiles.main"), "{shown}");
    assert!(
        shown.contains("share/guerdon/guerdon.toml") && shown.contains("guerdon init"),
        "{shown}"
    );
    // A configuration of the folder, and one that is named, come first.
    let named = run(&["config", "show", "--config", "other.toml"]);
    assert!(!named.status.success(), "{}", transcript(&named));
    write(empty.path(), "guerdon.toml", "[profiles.own]\nfusion = { method = \"weighted_sum\" }\n");
    let own = run(&["config", "show"]);
    assert!(stdout(&own).contains("profiles.own"), "{}", transcript(&own));
}

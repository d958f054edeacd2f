//! The help of every command.

use std::path::Path;

use crate::{guerdon, stdout};

const COMMANDS: [&[&str]; 32] = [
    &[],
    &["init"],
    &["serve"],
    &["score"],
    &["rules"],
    &["rules", "check"],
    &["rules", "test"],
    &["rules", "try"],
    &["rules", "diff"],
    &["rules", "bench"],
    &["rules", "fmt"],
    &["rules", "new-from-badcase"],
    &["judge"],
    &["judge", "check"],
    &["judge", "bump"],
    &["judge", "render"],
    &["judge", "try"],
    &["judge", "calibrate"],
    &["judge", "probe"],
    &["cache", "stats"],
    &["cache", "export"],
    &["cache", "import"],
    &["cache", "purge"],
    &["rm", "init"],
    &["rm", "check"],
    &["rm", "bench"],
    &["fit"],
    &["plot", "normaliser"],
    &["plot", "fusion"],
    &["config", "show"],
    &["completions"],
    &["man"],
];

/// The words of every command without subcommands below `parent`, as the help lists them.
pub(crate) fn commands(folder: &Path, parent: &[String]) -> Vec<Vec<String>> {
    let words: Vec<&str> = parent.iter().map(String::as_str).chain(["--help"]).collect();
    let help = stdout(&guerdon(folder, &words));
    let Some((_, listed)) = help.split_once("\nCommands:\n") else { return vec![parent.to_vec()] };
    let names = listed.lines().take_while(|line| !line.is_empty()).filter_map(|line| {
        let name = line.strip_prefix("  ")?.split(' ').next()?;
        (!name.is_empty() && name != "help").then(|| [parent, &[name.to_owned()]].concat())
    });
    names.flat_map(|words| commands(folder, &words)).collect()
}

#[test]
fn every_command_has_help() {
    let folder = tempfile::tempdir().unwrap();
    let mut help = String::new();
    for command in COMMANDS {
        let arguments = [command, &["--help"]].concat();
        let output = guerdon(folder.path(), &arguments);
        assert!(output.status.success(), "{command:?}");
        help.push_str(&format!("$ guerdon {}\n{}\n", arguments.join(" "), stdout(&output)));
    }
    insta::assert_snapshot!(help);
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = guerdon(folder.path(), &["completions", shell]);
        assert!(script.status.success(), "{shell}");
        for word in ["score", "new-from-badcase", "completions", "advantages"] {
            assert!(stdout(&script).contains(word), "{shell}: {word}");
        }
    }
    let page = stdout(&guerdon(folder.path(), &["man"]));
    assert!(page.starts_with(".ie") && page.contains(".TH guerdon 1"), "{page}");
    assert!(guerdon(folder.path(), &["man", "--out", "pages/man1"]).status.success());
    for words in commands(folder.path(), &[]) {
        let name = [&["guerdon".to_owned()], words.as_slice()].concat().join("-");
        let page =
            std::fs::read_to_string(folder.path().join(format!("pages/man1/{name}.1"))).unwrap();
        assert!(page.contains(&format!(".TH {name} 1")), "{page}");
    }
}

//! The help of every command.

use crate::{guerdon, stdout};

const COMMANDS: [&[&str]; 25] = [
    &[],
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
    &["rm", "check"],
    &["rm", "bench"],
    &["config", "show"],
];

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

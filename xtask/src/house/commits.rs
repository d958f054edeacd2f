//! Commit titles since the rule was introduced.

use std::path::Path;
use std::process::Command;

/// Last commit before titles had to be `area: imperative`.
const BASELINE: &str = "90ba209";

const MAX_TITLE: usize = 72;

/// Commits after [`BASELINE`].
pub(super) struct CommitTitles {
    pub(super) count: usize,
    /// `hash title (reason)` of each title that breaks a rule.
    pub(super) offenders: Vec<String>,
}

/// Reads the history with git. `None` without git, in an archive, or where the clone is too shallow.
pub(super) fn titles(root: &Path) -> Option<CommitTitles> {
    let output = Command::new("git")
        .args(["log", "--no-merges", "--format=%h %s", &format!("{BASELINE}..HEAD")])
        .current_dir(root)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    let offenders = log.lines().filter_map(|line| {
        let (_, title) = line.split_once(' ')?;
        fault(title).map(|reason| format!("{line} ({reason})"))
    });
    Some(CommitTitles { count: log.lines().count(), offenders: offenders.collect() })
}

/// The rule that a title breaks.
fn fault(title: &str) -> Option<String> {
    let length = title.chars().count();
    if length > MAX_TITLE {
        return Some(format!("{length} characters"));
    }
    let Some((area, text)) = title.split_once(": ") else { return Some("no area".to_owned()) };
    let in_area = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_./, ".contains(c);
    if area.is_empty() || !area.chars().all(in_area) || area.split(' ').count() > 3 {
        return Some("no area".to_owned());
    }
    let verb = text.split(' ').next().unwrap_or_default();
    (!is_imperative(verb)).then(|| format!("`{verb}` is not imperative"))
}

/// Rejects the forms a verb takes when it is not imperative; it cannot tell verbs from other words.
fn is_imperative(verb: &str) -> bool {
    let third_person = verb.ends_with('s')
        && !verb.ends_with("ss")
        && !["bias", "canvas", "focus"].contains(&verb);
    let past =
        verb.ends_with("ed") && !["embed", "feed", "need", "seed", "shed", "speed"].contains(&verb);
    let progressive = verb.ends_with("ing") && !["bring", "ring", "string"].contains(&verb);
    let lower = verb.starts_with(|c: char| c.is_ascii_lowercase());
    lower && !third_person && !past && !progressive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_name_an_area_and_an_action() {
        assert_eq!(fault("judge: wait for reserved budget"), None);
        assert_eq!(fault("rules, judge: pass one report type"), None);
        assert_eq!(fault("A hedge yields to the first answer").as_deref(), Some("no area"));
        assert_eq!(fault("judge: waits for budget").as_deref(), Some("`waits` is not imperative"));
        assert!(fault(&format!("judge: {}", "x".repeat(80))).is_some());
    }
}

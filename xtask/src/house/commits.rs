//! Checks the titles of commits made since titles have had to be `area: imperative`.

use std::path::Path;
use std::process::Command;

/// Last commit before titles had to be `area: imperative`.
const BASELINE: &str = "90ba209";

const MAX_TITLE: usize = 72;

/// The commits after [`BASELINE`]: their number, and the titles that break a rule.
pub(super) struct CommitTitles {
    pub(super) count: usize,
    /// `hash title (reason)` of each title that breaks a rule.
    pub(super) offenders: Vec<String>,
}

/// Reads the history with git. Returns `None` if git is missing, `root` is not a repository, or the
/// clone does not reach back to [`BASELINE`].
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
        rejection_reason(title).map(|reason| format!("{line} ({reason})"))
    });
    Some(CommitTitles { count: log.lines().count(), offenders: offenders.collect() })
}

/// Returns the reason if a title breaks a rule.
fn rejection_reason(title: &str) -> Option<String> {
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

/// Returns false for the endings `-s`, `-ed` and `-ing`. Any other lower-case word passes, verb or
/// not.
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
        assert_eq!(rejection_reason("judge: wait for reserved budget"), None);
        assert_eq!(rejection_reason("rules, judge: pass one report type"), None);
        assert_eq!(
            rejection_reason("A hedge yields to the first answer").as_deref(),
            Some("no area")
        );
        assert_eq!(
            rejection_reason("judge: waits for budget").as_deref(),
            Some("`waits` is not imperative")
        );
        assert!(rejection_reason(&format!("judge: {}", "x".repeat(80))).is_some());
    }
}

//! The rollouts of a received request. Each is parsed and checked on its own, so that an invalid
//! one does not fail the others.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::json::parse_part;
use crate::rollout::without_extra;
use crate::{
    ExtraFields, GroupId, Invalid, ProblemCode, Rollout, RolloutId, RolloutResult,
    without_lone_surrogates,
};

/// The longest id and group, in bytes. Replies repeat them.
const MAX_NAME_BYTES: usize = 4 << 10;

/// One entry of a request's `rollouts`: a valid rollout, or the error of an invalid one.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutEntry {
    /// The caller's id, if it could be parsed.
    pub id: Option<RolloutId>,
    /// The group, if it could be parsed.
    pub group: Option<GroupId>,
    /// The number of the attempt at the group, if it could be parsed.
    pub attempt: Option<u64>,
    /// The rollout, with at least one turn to score. Pointers of an error start at the rollout:
    /// `/messages/0/role`.
    pub rollout: Result<Rollout, Invalid>,
}

impl RolloutEntry {
    /// Parses and checks one rollout. A valid id and group are kept even if the rest is invalid.
    ///
    /// ```
    /// use guerdon_types::{ProblemCode, RolloutEntry};
    ///
    /// let entry = RolloutEntry::parse(r#"{"id": "r7", "messages": [{"role": "user", "content": "a"}]}"#);
    /// assert_eq!(entry.id.unwrap().as_str(), "r7");
    /// assert_eq!(entry.rollout.unwrap_err().code, ProblemCode::NoAssistantTurn);
    /// ```
    #[must_use]
    pub fn parse(json: &str) -> Self {
        let parsed = match other_kind(json) {
            None => parse_part::<Rollout>(json.as_bytes()),
            Some(found) => Err(parse_part::<IgnoredAny>(json.as_bytes())
                .err()
                .unwrap_or_else(|| (not_an_object(found), (1, 1)))),
        };
        match parsed {
            Ok(rollout) => Self::from(rollout).with_short_names(),
            Err((mut invalid, _)) => {
                if invalid.code == ProblemCode::MalformedJson
                    && without_lone_surrogates(json.as_bytes()).is_some()
                {
                    invalid.hint = Some(
                        "a text has half of a surrogate pair, such as `\\ud83d`: cut texts at whole \
                         characters, or send U+FFFD in its place"
                            .to_owned(),
                    );
                }
                let names: ReadableNames = serde_json::from_str(json).unwrap_or_default();
                let (id, group) = (readable(names.id), readable(names.group));
                let attempt = readable(names.attempt);
                let error = Self { id, group, attempt, rollout: Err(invalid.clone()) };
                Self { rollout: Err(invalid), ..error.with_short_names() }
            }
        }
    }

    /// As [`RolloutEntry::parse`]. With `extra`, fields that a rollout does not have are no error.
    #[must_use]
    pub fn parse_with(json: &str, extra: Option<ExtraFields>) -> Self {
        let entry = Self::parse(json);
        match extra.filter(|_| entry.rollout.is_err()).and_then(|extra| without_extra(json, extra))
        {
            Some(json) => Self::parse(&json),
            None => entry,
        }
    }

    /// The entry, or an error in the place of a rollout whose id or group is too long to be
    /// repeated in replies.
    fn with_short_names(mut self) -> Self {
        let is_long = |name: Option<&str>| name.is_some_and(|name| name.len() > MAX_NAME_BYTES);
        let pointer = if is_long(self.id.as_ref().map(RolloutId::as_str)) {
            self.id = None;
            "/id"
        } else if is_long(self.group.as_ref().map(GroupId::as_str)) {
            self.group = None;
            "/group"
        } else {
            return self;
        };
        let detail = format!("longer than {MAX_NAME_BYTES} bytes");
        self.rollout = Err(Invalid::new(ProblemCode::InvalidRequest, pointer, detail)
            .hint("send a shorter name, such as a hash of this one"));
        self
    }

    /// Takes the values of the context from those that a request may still have. Replaces the
    /// rollout by an error if there are not enough.
    pub(crate) fn take_values(&mut self, left: &mut usize) {
        let Ok(rollout) = &self.rollout else { return };
        match left.checked_sub(rollout.values()) {
            Some(rest) => *left = rest,
            None => {
                let detail = "the contexts of this request have too many values, up to this one";
                self.rollout = Err(Invalid::new(ProblemCode::RolloutTooLarge, "/context", detail)
                    .hint("send fewer rollouts a request, or fewer facts"));
            }
        }
    }

    /// The error result of an invalid entry, as rollout `index` of a request; `None` for a valid
    /// one.
    #[must_use]
    pub fn refusal(&self, index: usize) -> Option<RolloutResult> {
        let invalid = self.rollout.as_ref().err()?.clone();
        let problem = invalid.below(&format!("/rollouts/{index}")).into();
        Some(RolloutResult {
            id: self.id_or_index(index),
            reward: None,
            advantage: None,
            turns: Vec::new(),
            error: Some(problem),
        })
    }

    /// The attempt at a group that the rollout belongs to; `None` without a group. Rollouts are
    /// compared with those of the same.
    #[must_use]
    pub fn cohort(&self) -> Option<(&GroupId, Option<u64>)> {
        self.group.as_ref().map(|group| (group, self.attempt))
    }

    /// The caller's id, or the index in the request.
    #[must_use]
    pub fn id_or_index(&self, index: usize) -> RolloutId {
        self.id.clone().unwrap_or_else(|| RolloutId::from(index.to_string()))
    }
}

/// The kind of a JSON text that does not start as an object. serde would take a list for the fields
/// of a rollout.
fn other_kind(json: &str) -> Option<&'static str> {
    Some(match json.trim_ascii_start().bytes().next()? {
        b'[' => "a list",
        b'"' => "a string",
        b't' | b'f' => "a boolean",
        b'n' => "null",
        b'-' | b'0'..=b'9' => "a number",
        _ => return None,
    })
}

fn not_an_object(found: &str) -> Invalid {
    let detail = format!("a rollout is a JSON object, and this is {found}");
    Invalid::new(ProblemCode::InvalidRequest, "", detail)
        .hint("write {\"messages\": [{\"role\": \"assistant\", \"content\": \"...\"}]}")
}

impl From<Rollout> for RolloutEntry {
    /// Checks that the rollout has a turn to score, its place among the samples of its group, and its
    /// rubric.
    fn from(rollout: Rollout) -> Self {
        let (id, group, attempt) = (rollout.id.clone(), rollout.group.clone(), rollout.attempt);
        let checked = rollout.turns_to_score().and_then(|_| rollout.check_sample());
        let checked = checked.and_then(|()| rollout.check_rubric());
        Self { id, group, attempt, rollout: checked.map(|()| rollout) }
    }
}

/// Replaces every rollout whose id is also the id of another one by the error of
/// [`shared_id_errors`].
pub fn refuse_shared_ids(entries: &mut [RolloutEntry]) {
    let errors = shared_id_errors(entries.iter().map(|entry| entry.id.as_ref()));
    for (index, error) in errors {
        if let Some(entry) = entries.get_mut(index).filter(|entry| entry.rollout.is_ok()) {
            entry.rollout = Err(error);
        }
    }
}

/// An error for each rollout whose id is also the id of another one, with the rollout's index. A
/// caller could not distinguish the results of such rollouts. Pointers start at the rollout. Takes
/// time linear in the number of ids.
#[must_use]
pub fn shared_id_errors<'a>(
    ids: impl Iterator<Item = Option<&'a RolloutId>>,
) -> Vec<(usize, Invalid)> {
    let mut places: HashMap<&RolloutId, Vec<usize>> = HashMap::new();
    for (index, id) in ids.enumerate() {
        if let Some(id) = id {
            places.entry(id).or_default().push(index);
        }
    }
    let mut errors = Vec::new();
    for (id, places) in places {
        let [first, second, ..] = places[..] else { continue };
        for index in places {
            let other = if index == first { second } else { first };
            let id = guerdon_text::quote(id.as_str());
            let detail = format!("the id {id} is also the id of rollout {other}");
            let error = Invalid::new(ProblemCode::InvalidRequest, "/id", detail)
                .hint("give every rollout of a request its own id, or leave ids out");
            errors.push((index, error));
        }
    }
    errors
}

/// The id and the group of an invalid rollout. All other fields are skipped unparsed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ReadableNames<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    group: Option<&'a RawValue>,
    #[serde(borrow)]
    attempt: Option<&'a RawValue>,
}

fn readable<T: serde::de::DeserializeOwned>(raw: Option<&RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(json: &[&str]) -> Vec<RolloutEntry> {
        let mut entries: Vec<_> = json.iter().map(|json| RolloutEntry::parse(json)).collect();
        refuse_shared_ids(&mut entries);
        entries
    }

    #[test]
    fn readable_id_and_group_of_a_broken_rollout_are_kept() {
        for broken in [
            r#"{"id": "a", "group": "g", "messages": [{"role": "robot", "content": "x"}]}"#,
            r#"{"id": "a", "group": "g", "messages": 3}"#,
            r#"{"unknown": [1, {"id": "b"}], "id": "a", "group": "g"}"#,
            r#"{"messages": [{"role": "assistant", "content": "\ud83d"}], "group": "g", "id": "a"}"#,
            r#"{"id": "a", "group": "g", "messages": [], "context": {"price": 1e999}}"#,
        ] {
            let entry = RolloutEntry::parse(broken);
            assert!(entry.rollout.is_err(), "{broken}");
            assert_eq!(entry.id, Some("a".into()), "{broken}");
            assert_eq!(entry.group, Some("g".into()), "{broken}");
        }
        for nameless in ["3", "[]", r#"{"id": 3.5, "group": null}"#, r#"{"id": "a", "id": "b"}"#] {
            let entry = RolloutEntry::parse(nameless);
            assert_eq!((entry.id, entry.group), (None, None), "{nameless}");
        }
    }

    #[test]
    fn json_that_is_not_an_object_is_named() {
        for (json, found) in [
            ("[]", "a list"),
            (r#" [{"role": "assistant", "content": "x"}]"#, "a list"),
            (r#"["r", "g", [{"role": "assistant", "content": "x"}], "last", {}]"#, "a list"),
            ("3", "a number"),
            ("\"x\"", "a string"),
            ("null", "null"),
            ("true", "a boolean"),
        ] {
            let invalid = RolloutEntry::parse(json).rollout.unwrap_err();
            assert_eq!(invalid.code, ProblemCode::InvalidRequest);
            assert!(invalid.detail.ends_with(found), "{json}: {}", invalid.detail);
            assert!(invalid.hint.unwrap().contains("messages"));
        }
    }

    #[test]
    fn message_that_is_no_object_is_refused_with_its_place() {
        for message in [r#"["assistant", "hi"]"#, "[]", "\"hi\"", "3", "null"] {
            let json = format!(
                r#"{{"messages": [{{"role": "user", "content": "x"}}, {message}], "score": "last"}}"#
            );
            let invalid = RolloutEntry::parse(&json).rollout.unwrap_err();
            assert_eq!(invalid.pointer, "/messages/1", "{message}");
            assert!(invalid.detail.contains("an object"), "{message}: {}", invalid.detail);
        }
    }

    #[test]
    fn names_too_long_to_repeat_are_refused_and_not_repeated() {
        let name = "n".repeat(MAX_NAME_BYTES + 1);
        let message = r#""messages": [{"role": "assistant", "content": "x"}]"#;
        for (key, pointer) in [("id", "/id"), ("group", "/group")] {
            let long = RolloutEntry::parse(&format!(r#"{{"{key}": "{name}", {message}}}"#));
            assert_eq!(long.rollout.as_ref().unwrap_err().pointer, pointer);
            assert!(format!("{long:?}").len() < 1_000);
            let short =
                RolloutEntry::parse(&format!(r#"{{"{key}": "{}", {message}}}"#, &name[1..]));
            assert!(short.rollout.is_ok());
            let broken = RolloutEntry::parse(&format!(r#"{{"{key}": "{name}", "messages": 3}}"#));
            assert_eq!(broken.rollout.as_ref().unwrap_err().pointer, "/messages");
            assert!(format!("{broken:?}").len() < 1_000);
        }
    }

    #[test]
    fn a_request_has_a_budget_of_context_values() {
        let rollout = |values: usize| {
            let lists = vec!["[]"; values].join(",");
            RolloutEntry::parse(&format!(
                r#"{{"messages": [{{"role": "assistant", "content": "x"}}], "context": {{"a": [{lists}]}}}}"#
            ))
        };
        let mut left = 10;
        let mut entries = [rollout(4), rollout(5), rollout(4), rollout(3)];
        entries.iter_mut().for_each(|entry| entry.take_values(&mut left));
        let taken = entries.map(|entry| entry.rollout.is_ok());
        assert_eq!((taken, left), ([true, false, true, false], 0));
    }

    #[test]
    fn all_rollouts_that_share_an_id_are_refused() {
        let one = |id: &str| {
            format!(r#"{{"id": "{id}", "messages": [{{"role": "assistant", "content": "x"}}]}}"#)
        };
        let broken = r#"{"id": "c", "messages": []}"#;
        let found = entries(&[&one("a"), &one("b"), &one("a"), &one("c"), broken, &one("a")]);
        let errors: Vec<_> = found.iter().map(|entry| entry.rollout.as_ref().err()).collect();
        let ids = |index: usize| errors[index].map(|invalid| invalid.detail.as_str());
        assert_eq!(ids(0), Some("the id `a` is also the id of rollout 2"));
        assert_eq!(ids(1), None);
        assert_eq!(ids(2), Some("the id `a` is also the id of rollout 0"));
        assert_eq!(ids(3), Some("the id `c` is also the id of rollout 4"));
        assert_eq!(errors[4].unwrap().code, ProblemCode::NoAssistantTurn);
        assert_eq!(ids(5), Some("the id `a` is also the id of rollout 0"));
        assert!(found.iter().all(|entry| entry.id.is_some()));
        assert_eq!(errors[0].unwrap().pointer, "/id");
    }
}

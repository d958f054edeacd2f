//! Labels of turns: people's verdicts on rules, with which the precision of packs is measured.
//!
//! A line of a labelled file is a rollout with the key `labels`: for each turn, rules with `true`
//! if the rule should hit the turn and `false` if not.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use guerdon_types::Rollout;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A rollout with the labels of its turns.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct LabelledRollout {
    /// The rollout.
    pub rollout: Rollout,
    /// The labels of each turn, by the index of its message.
    pub turns: BTreeMap<usize, TurnLabels>,
}

/// The labels of a turn: `pack/rule`, `pack/*` or `*` to the verdict. A wildcard stands for the
/// rules without a label of their own, and is always `false`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TurnLabels(BTreeMap<String, bool>);

impl TurnLabels {
    /// The verdict on `pack/rule`, if there is one.
    #[must_use]
    pub fn verdict(&self, pack: &str, rule: &str) -> Option<bool> {
        let of = |key: &str| self.0.get(key).copied();
        of(&format!("{pack}/{rule}")).or_else(|| of(&format!("{pack}/*"))).or_else(|| of("*"))
    }

    /// Sets the verdict on a rule, or on all rules of a wildcard without one.
    ///
    /// # Errors
    /// Returns the reason if `key` names no rule, or if a wildcard is `true`.
    pub fn set(&mut self, key: &str, verdict: bool) -> Result<(), String> {
        let wildcard = key == "*" || key.ends_with("/*");
        let named = key == "*"
            || key.split_once('/').is_some_and(|(pack, rule)| {
                !pack.is_empty() && !rule.is_empty() && !rule.contains('/')
            });
        if !named {
            let shown: String = key.chars().take(60).collect();
            return Err(format!("`{shown}` names no rule; write `pack/rule`, `pack/*` or `*`"));
        }
        if wildcard && verdict {
            return Err(format!("`{key}` is true; a wildcard can only be false"));
        }
        self.0.insert(key.to_owned(), verdict);
        Ok(())
    }

    /// The rules and wildcards with a label.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// The rules and wildcards with their labels.
    pub fn iter(&self) -> impl Iterator<Item = (&str, bool)> {
        self.0.iter().map(|(rule, verdict)| (rule.as_str(), *verdict))
    }

    /// Adds the labels of `other`, which replace labels of the same rules.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

impl LabelledRollout {
    /// A rollout without labels.
    #[must_use]
    pub fn new(rollout: Rollout) -> Self {
        Self { rollout, turns: BTreeMap::new() }
    }

    /// Reads a line: a rollout, with or without `labels`.
    ///
    /// `labels` is an object from turns to their labels, `{"3": {"pack/rule": true}}`. A rollout
    /// that scores one turn may leave the turn out: `{"pack/rule": true}`.
    ///
    /// # Errors
    /// Returns the reason if the line is no rollout or a label is wrong.
    pub fn parse(line: &str) -> Result<Self, String> {
        let mut value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let labels = value.as_object_mut().and_then(|fields| fields.remove("labels"));
        let rollout: Rollout = match &labels {
            // Without labels the text is read as it is, so that an error has its column.
            None => serde_json::from_str(line).map_err(|error| error.to_string())?,
            Some(_) => serde_json::from_value(value).map_err(|error| error.to_string())?,
        };
        let scored = rollout.turns_to_score().map_err(|error| error.detail)?;
        let mut labelled = Self::new(rollout);
        match labels {
            None | Some(Value::Null) => {}
            Some(Value::Object(_)) => {
                // A map has each key once. The text may have it twice, with two verdicts.
                let written: WrittenLine =
                    serde_json::from_str(line).map_err(|error| error.to_string())?;
                labelled.read(&written.labels, &scored)?;
            }
            Some(_) => return Err("`labels` is not an object".to_owned()),
        }
        Ok(labelled)
    }

    fn read(&mut self, labels: &Entries<WrittenLabel>, scored: &[usize]) -> Result<(), String> {
        for (key, value) in &labels.0 {
            match value {
                WrittenLabel::Verdict(verdict) => {
                    let [turn] = scored else {
                        return Err(format!(
                            "the label `{key}` names no turn, and {} turns are scored; write \
                             {{\"TURN\": {{\"{key}\": {verdict}}}}}",
                            scored.len()
                        ));
                    };
                    self.label(*turn, key, *verdict)?;
                }
                WrittenLabel::Turn(of_turn) => {
                    let turn = key.parse().ok().filter(|turn| scored.contains(turn));
                    let turn = turn.ok_or_else(|| format!("`{key}` is not a scored turn"))?;
                    for (rule, verdict) in &of_turn.0 {
                        let verdict = verdict.as_bool().ok_or_else(|| {
                            format!("the label of `{rule}` in turn {turn} is not true or false")
                        })?;
                        self.label(turn, rule, verdict)?;
                    }
                }
                WrittenLabel::Other(_) => {
                    return Err(format!("the label `{key}` is not true or false"));
                }
            }
        }
        Ok(())
    }

    /// Sets a label that must not contradict an earlier one of the same turn.
    fn label(&mut self, turn: usize, rule: &str, verdict: bool) -> Result<(), String> {
        let labels = self.turns.entry(turn).or_default();
        if labels.0.get(rule).is_some_and(|known| *known != verdict) {
            return Err(format!(
                "`{rule}` is both true and false in turn {turn}; keep one of them"
            ));
        }
        labels.set(rule, verdict)
    }
}

/// The labels of a line as they are written, of which some may be written twice.
#[derive(Deserialize)]
struct WrittenLine {
    labels: Entries<WrittenLabel>,
}

/// A value under `labels`.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenLabel {
    Verdict(bool),
    Turn(Entries<Value>),
    Other(IgnoredAny),
}

/// The entries of an object in their order, with keys that occur twice.
struct Entries<V>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Visit<V> {
            type Value = Entries<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Visit(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(labels: &str, score: &str) -> Result<LabelledRollout, String> {
        let messages =
            r#"[{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}]"#;
        LabelledRollout::parse(&format!(
            r#"{{"messages": {messages}, "score": {score}, "labels": {labels}}}"#
        ))
    }

    #[test]
    fn labels_name_a_turn_unless_one_is_scored() {
        let read =
            parse(r#"{"0": {"p/a": true, "p/*": false}, "1": {"*": false}}"#, "\"all\"").unwrap();
        let first = &read.turns[&0];
        assert_eq!(first.verdict("p", "a"), Some(true));
        assert_eq!(first.verdict("p", "b"), Some(false));
        assert_eq!(first.verdict("q", "b"), None);
        assert_eq!(read.turns[&1].verdict("q", "b"), Some(false));
        let last = parse(r#"{"p/a": true}"#, "\"last\"").unwrap();
        assert_eq!(last.turns[&1].verdict("p", "a"), Some(true));
    }

    #[test]
    fn wrong_labels_are_refused_with_the_reason() {
        for (labels, score, reason) in [
            (r#"{"p/a": true}"#, "\"all\"", "names no turn"),
            (r#"{"7": {"p/a": true}}"#, "\"all\"", "not a scored turn"),
            (r#"{"0": {"a": true}}"#, "\"all\"", "names no rule"),
            (r#"{"0": {"p/*": true}}"#, "\"all\"", "only be false"),
            (r#"{"0": {"p/a": 1}}"#, "\"all\"", "not true or false"),
            (r#"{"p/a": "yes"}"#, "\"last\"", "not true or false"),
            ("[]", "\"all\"", "not an object"),
            (r#"{"p/a": true, "p/a": false}"#, "\"last\"", "both true and false"),
            (r#"{"p/a": true, "1": {"p/a": false}}"#, "\"last\"", "both true and false"),
            (r#"{"0": {"*": false}, "1": {"p/a": true, "p/a": false}}"#, "\"all\"", "in turn 1"),
            (r#"{"1": {"p/a": true}, "01": {"p/a": false}}"#, "\"all\"", "both true and false"),
        ] {
            let error = parse(labels, score).unwrap_err();
            assert!(error.contains(reason), "{labels}: {error}");
        }
    }
}

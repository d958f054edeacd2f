//! Labels of turns: people's verdicts on rules, with which the precision of packs is measured.
//!
//! A line of a labelled file is a rollout with the key `labels`: for each turn, rules with `true`
//! if the rule should hit the turn and `false` if not.

use std::collections::BTreeMap;

use guerdon_types::Rollout;
use serde_json::{Map, Value};

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
            Some(Value::Object(labels)) => labelled.read(&labels, &scored)?,
            Some(_) => return Err("`labels` is not an object".to_owned()),
        }
        Ok(labelled)
    }

    fn read(&mut self, labels: &Map<String, Value>, scored: &[usize]) -> Result<(), String> {
        for (key, value) in labels {
            match value {
                Value::Bool(verdict) => {
                    let [turn] = scored else {
                        return Err(format!(
                            "the label `{key}` names no turn, and {} turns are scored; write \
                             {{\"TURN\": {{\"{key}\": {verdict}}}}}",
                            scored.len()
                        ));
                    };
                    self.turns.entry(*turn).or_default().set(key, *verdict)?;
                }
                Value::Object(of_turn) => {
                    let turn = key.parse().ok().filter(|turn| scored.contains(turn));
                    let turn = turn.ok_or_else(|| format!("`{key}` is not a scored turn"))?;
                    for (rule, verdict) in of_turn {
                        let verdict = verdict.as_bool().ok_or_else(|| {
                            format!("the label of `{rule}` in turn {turn} is not true or false")
                        })?;
                        self.turns.entry(turn).or_default().set(rule, verdict)?;
                    }
                }
                _ => return Err(format!("the label `{key}` is not true or false")),
            }
        }
        Ok(())
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
        ] {
            let error = parse(labels, score).unwrap_err();
            assert!(error.contains(reason), "{labels}: {error}");
        }
    }
}

//! Rubrics that come with rollouts: those of requests, within the limits of the configuration, and
//! those of a file for rollouts whose request has none.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use guerdon_text::quote;
use guerdon_types::{
    CheckedRubric, Invalid, ProblemCode, Rollout, RolloutEntry, RolloutRubric, RubricCriterion,
    parse_json,
};
use serde::Deserialize;
use serde_json::Value;

use crate::config::RubricsConfig;
use crate::engine::request_profiles::RequestProfiles;

/// The largest number of errors that a report of a file has.
const MAX_ERRORS: usize = 20;

/// The fact with the rubric of a rollout.
const RUBRIC: &str = "rubric";

/// The fact that names the prompt of a rollout.
const PROMPT_ID: &str = "prompt_id";

/// The rubrics of a file, by prompt.
#[derive(Debug, Default)]
pub(crate) struct RubricFile {
    rubrics: HashMap<String, RolloutRubric>,
    /// Hash of the file's text.
    pub(crate) hash: String,
}

/// One line of a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RubricLine {
    id: String,
    rubric: Vec<RubricCriterion>,
}

impl RubricFile {
    /// Reads the JSON lines of `text`.
    ///
    /// # Errors
    /// The lines that are no rubric, each with its number and the reason, and the remedy.
    pub(crate) fn parse(text: &str, config: &RubricsConfig) -> Result<Self, String> {
        let mut rubrics: HashMap<String, RolloutRubric> = HashMap::new();
        let mut errors = Vec::new();
        let mut more = 0;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let read = read(line, config).and_then(|line| match rubrics.entry(line.id) {
                Entry::Occupied(known) => {
                    let detail =
                        format!("the id {} is also that of another line", quote(known.key()));
                    Err(Invalid::new(ProblemCode::InvalidRequest, "/id", detail))
                }
                Entry::Vacant(place) => {
                    place.insert(line.rubric.into());
                    Ok(())
                }
            });
            let Err(Invalid { pointer, detail, hint, .. }) = read else { continue };
            if errors.len() >= MAX_ERRORS {
                more += 1;
                continue;
            }
            let place = if pointer.is_empty() { String::new() } else { format!(" {pointer}:") };
            let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            errors.push(format!("line {}:{place} {detail}{hint}", number + 1));
        }
        if more > 0 {
            errors.push(format!("{more} further lines are broken"));
        }
        if errors.is_empty() && rubrics.is_empty() {
            errors.push("the file has no rubric".to_owned());
        }
        if !errors.is_empty() {
            return Err(errors.join("\n  "));
        }
        Ok(Self { rubrics, hash: guerdon_text::content_hash(text) })
    }

    /// The rubric of the prompt of `rollout`.
    fn of(&self, rollout: &Rollout) -> Option<&RolloutRubric> {
        let named = match rollout.context.get(PROMPT_ID) {
            Some(Value::String(id)) => Some(id.clone()),
            Some(Value::Number(id)) => Some(id.to_string()),
            _ => None,
        };
        match named {
            Some(id) => self.rubrics.get(&id),
            None => self.rubrics.get(rollout.group.as_ref()?.as_str()),
        }
    }
}

fn read(line: &str, config: &RubricsConfig) -> Result<RubricLine, Invalid> {
    let line: RubricLine = parse_json(line.as_bytes())?;
    CheckedRubric::new(&line.rubric)?;
    check_size(&line.rubric, config)?;
    Ok(line)
}

/// Checks the limits of a rubric.
fn check_size(rubric: &[RubricCriterion], config: &RubricsConfig) -> Result<(), Invalid> {
    let too_large = |detail: String, key: &str| {
        Err(Invalid::new(ProblemCode::RolloutTooLarge, "/rubric", detail)
            .hint(format!("shorten the rubric, or raise `rubrics.{key}`")))
    };
    let RubricsConfig { max_criteria, max_bytes, .. } = config;
    if rubric.len() > *max_criteria {
        let detail =
            format!("{} criteria exceed this server's limit of {max_criteria}", rubric.len());
        return too_large(detail, "max_criteria");
    }
    let bytes: usize = rubric.iter().map(RubricCriterion::bytes).sum();
    if bytes > *max_bytes {
        let detail =
            format!("a rubric of {bytes} bytes exceeds this server's limit of {max_bytes}");
        return too_large(detail, "max_bytes");
    }
    Ok(())
}

/// The rubrics of one generation.
#[derive(Debug, Clone, Default)]
pub(crate) struct RolloutRubrics {
    pub(crate) config: RubricsConfig,
    pub(crate) file: Option<Arc<RubricFile>>,
}

impl RolloutRubrics {
    /// Checks the rubrics of `entries`, and gives those without one the rubric of the file. A rollout
    /// whose rubric cannot be asked becomes an error of its own.
    pub(crate) fn prepare(&self, entries: &mut [RolloutEntry], profiles: &RequestProfiles) {
        let has_rubric =
            |entry: &RolloutEntry| entry.rollout.as_ref().is_ok_and(|one| !one.rubric.is_empty());
        // With `from_requests`, a fact can be a rubric, too.
        let takes = self.config.from_requests || self.file.is_some();
        if !takes && !entries.iter().any(has_rubric) {
            return;
        }
        for (index, entry) in entries.iter_mut().enumerate() {
            let Ok(rollout) = &mut entry.rollout else { continue };
            let profile = profiles.of(index);
            if let Err(invalid) =
                self.prepared(rollout, profile.takes_rubrics, profile.name.as_str())
            {
                entry.rollout = Err(invalid);
            }
        }
        refuse_different_rubrics(entries, profiles);
    }

    fn prepared(
        &self,
        rollout: &mut Rollout,
        is_asked: bool,
        profile: &str,
    ) -> Result<(), Invalid> {
        if rollout.rubric.is_empty() {
            if let Some(fact) =
                rubric_fact(rollout).filter(|_| self.config.from_requests && is_asked)
            {
                rollout.rubric = self.of_fact(fact)?;
                return Ok(());
            }
            let known = self.file.as_ref().filter(|_| is_asked).and_then(|file| file.of(rollout));
            if let Some(known) = known.cloned() {
                rollout.rubric = known;
            }
            return Ok(());
        }
        let refused = |detail: String, hint: &str| {
            Err(Invalid::new(ProblemCode::InvalidRequest, "/rubric", detail).hint(hint))
        };
        if !self.config.from_requests {
            return refused(
                "this server takes no rubrics from requests".to_owned(),
                "set `rubrics.from_requests = true` in its configuration, or leave `rubric` out",
            );
        }
        if !is_asked {
            return refused(
                format!("no judge of the profile `{profile}` asks rubrics of rollouts"),
                "name a profile with a judge whose prompts are not listwise, or leave `rubric` out",
            );
        }
        check_size(&rollout.rubric, &self.config)
    }

    fn of_fact(&self, fact: &Value) -> Result<RolloutRubric, Invalid> {
        let rubric: RolloutRubric = parse_json(fact.to_string().as_bytes())
            .map_err(|invalid| invalid.below("/context/rubric"))?;
        let checked = CheckedRubric::new(&rubric).map(|_| ());
        let checked = checked.and_then(|()| check_size(&rubric, &self.config));
        checked.map_err(|invalid| invalid.below("/context"))?;
        Ok(rubric)
    }
}

/// The fact with a rubric: trainers' own protocols send the columns of a data set as facts. A fact
/// of this name that is no list of objects is an ordinary one.
fn rubric_fact(rollout: &Rollout) -> Option<&Value> {
    let fact = rollout.context.get(RUBRIC)?;
    let is_rubric = |items: &Vec<Value>| !items.is_empty() && items.iter().all(Value::is_object);
    fact.as_array().is_some_and(is_rubric).then_some(fact)
}

/// Replaces the rollouts of each group whose rubrics differ by errors: their rewards could not be
/// compared.
fn refuse_different_rubrics(entries: &mut [RolloutEntry], profiles: &RequestProfiles) {
    let mut first = HashMap::new();
    let mut differ = HashSet::new();
    for (index, entry) in entries.iter().enumerate() {
        let (Some(cohort), Ok(rollout)) = (entry.cohort(), &entry.rollout) else { continue };
        let group = (profiles.number(index), cohort);
        let rubric: &RolloutRubric = first.entry(group).or_insert(&rollout.rubric);
        if *rubric != rollout.rubric {
            differ.insert(group);
        }
    }
    if differ.is_empty() {
        return;
    }
    let is_of_one = |(index, entry): (usize, &RolloutEntry)| {
        let group = (profiles.number(index), entry.cohort()?);
        (entry.rollout.is_ok() && differ.contains(&group)).then_some(index)
    };
    let refused: Vec<usize> = entries.iter().enumerate().filter_map(is_of_one).collect();
    for index in refused {
        if let Some(entry) = entries.get_mut(index) {
            let detail = "the samples of this group have different rubrics, so that their rewards \
                          cannot be compared";
            entry.rollout = Err(Invalid::new(ProblemCode::InvalidRequest, "/rubric", detail).hint(
                "send the same `rubric` with all samples of a prompt, or name another `group`",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use guerdon_types::{Message, Role};
    use serde_json::json;

    use super::*;

    fn rollout(group: &str, context: &Value) -> Rollout {
        let Value::Object(context) = context.clone() else { panic!("an object") };
        let messages = vec![Message::new(Role::Assistant, "a")];
        Rollout { group: Some(group.into()), messages, context, ..Rollout::default() }
    }

    #[test]
    fn rubrics_of_a_file_are_found_by_prompt() {
        let text = "\u{feff}{\"id\": \"7\", \"rubric\": [{\"text\": \"seven\"}]}\n\n\
                    {\"id\": \"g\", \"rubric\": [{\"text\": \"group\"}]}\n";
        let file = RubricFile::parse(text, &RubricsConfig::default()).unwrap();
        let found = |group, context| {
            file.of(&rollout(group, &context)).map(|rubric| rubric[0].text.clone())
        };
        assert_eq!(found("g", json!({})).as_deref(), Some("group"));
        assert_eq!(found("g", json!({ "prompt_id": 7 })).as_deref(), Some("seven"));
        assert_eq!(found("x", json!({ "prompt_id": "7" })).as_deref(), Some("seven"));
        assert_eq!(found("g", json!({ "prompt_id": "unknown" })), None, "a named prompt is exact");
        assert_eq!(found("7x", json!({})), None);
    }

    #[test]
    fn broken_lines_are_named() {
        let line = |id: &str, rubric: Value| json!({ "id": id, "rubric": rubric }).to_string();
        let good = line("a", json!([{ "text": "a" }]));
        let many = json!(vec![json!({ "text": "a" }); 33]);
        for (text, wanted) in [
            (String::new(), "no rubric"),
            (format!("{good}\n{good}"), "line 2: /id: the id `a` is also"),
            (format!("{good}\n{{"), "line 2:"),
            (format!("{good}\n{}", line("b", json!([{ "texd": "a" }]))), "did you mean `text`?"),
            (line("b", json!([{ "text": "a", "needs": ["c1"] }])), "line 1: /rubric/0/needs/0: "),
            (line("b", json!([])), "line 1: /rubric: "),
            (line("b", many), "limit of 32"),
            (line("b", json!([{ "text": "a".repeat(40_000) }])), "limit of 32768"),
            (vec!["x"; 100].join("\n"), "80 further lines"),
        ] {
            let error = RubricFile::parse(&text, &RubricsConfig::default()).unwrap_err();
            assert!(error.contains(wanted), "{wanted}: {error}");
            assert!(error.lines().count() <= MAX_ERRORS + 1, "{error}");
        }
    }
}

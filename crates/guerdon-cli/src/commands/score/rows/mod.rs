//! Rows of files as rollouts: guerdon's own form, and the forms in which people keep dialogues.
//!
//! | file | form |
//! |---|---|
//! | `form.rs` | the forms, and their detection |
//! | `row.rs` | the columns of a row |
//! | `messages.rs` | messages and prompts in every form |
//! | `convert.rs` | a row of another form as rollouts |
//! | `transcript.rs` | dialogues written as one text |

mod convert;
mod form;
mod messages;
mod row;
mod transcript;

use std::borrow::Cow;

use clap::ValueEnum as _;
use guerdon_text::chat_markup::read_reply;
use guerdon_types::{Invalid, ProblemCode, Role, Rollout, RolloutEntry};
use serde_json::{Map, Value};

pub(crate) use self::form::{ExtraColumns, RowForm, Thoughts};
use self::row::Row;

/// The reading of rows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RowOptions {
    /// The form of every row. Default: detected row by row.
    pub(crate) form: Option<RowForm>,
    /// Default: refused in guerdon's own form, left out in others.
    pub(crate) extra: Option<ExtraColumns>,
    pub(crate) thoughts: Thoughts,
    /// The file of which the rows are a range.
    pub(crate) origin: RowOrigin,
}

/// The rows of an input that are a range of a larger file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum RowOrigin {
    /// The input is the whole file.
    #[default]
    File,
    /// Rows of a table, behind its first `first` rows.
    Rows { first: usize },
    /// The lines behind the first `start` bytes.
    Bytes { start: u64 },
}

/// The rollouts of one row, at least one.
#[derive(Debug)]
pub(crate) struct RowRollouts {
    pub(crate) entries: Vec<RolloutEntry>,
    /// True for the two replies of a preference pair, the chosen one first.
    pub(crate) is_pair: bool,
}

impl RowOptions {
    /// The options that are not at their defaults, by the names of their flags.
    pub(crate) fn settings(&self) -> Map<String, Value> {
        let word =
            |value: Option<clap::builder::PossibleValue>| value.map(|one| one.get_name().into());
        let settings: [(&str, Option<Value>); 3] = [
            ("form", word(self.form.and_then(|form| form.to_possible_value()))),
            ("extra_columns", word(self.extra.and_then(|extra| extra.to_possible_value()))),
            ("thoughts", (self.thoughts == Thoughts::Drop).then(|| "drop".into())),
        ];
        let set = settings.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        set.collect()
    }

    /// Reads a row. `number` is its number in the file, from 1.
    pub(crate) fn rollouts(&self, text: &str, number: usize) -> RowRollouts {
        let mut read = self.read(text, number);
        if self.thoughts == Thoughts::Drop {
            let rollouts = read.entries.iter_mut().filter_map(|entry| entry.rollout.as_mut().ok());
            rollouts.for_each(drop_thoughts);
        }
        read
    }

    fn read(&self, text: &str, number: usize) -> RowRollouts {
        let is_native = self.form.is_none_or(|form| form == RowForm::Guerdon);
        let entry = is_native.then(|| RolloutEntry::parse(text));
        if let Some(RolloutEntry { rollout: Ok(_), .. }) = &entry {
            return entry.into();
        }
        let Ok(Value::Object(columns)) = serde_json::from_str(text) else {
            return Some(entry.unwrap_or_else(|| RolloutEntry::parse(text))).into();
        };
        let form = self.form.or_else(|| form::detect(&columns)).unwrap_or(RowForm::Guerdon);
        if let (RowForm::Guerdon, None, Some(mut entry)) = (form, self.extra, entry) {
            name_extra_columns(&mut entry, &columns);
            return Some(entry).into();
        }
        let row = Row::new(columns, number, self.extra);
        match convert::rollouts(form, row) {
            Ok(rows) => {
                let read =
                    |row: Map<String, Value>| RolloutEntry::parse(&Value::Object(row).to_string());
                let entries = rows.into_iter().map(read).collect();
                RowRollouts { entries, is_pair: form == RowForm::Pairs }
            }
            Err(detail) => {
                let detail = format!("as a row of the form `{}`: {detail}", form.name());
                let invalid = Invalid::new(ProblemCode::InvalidRequest, "", detail)
                    .hint("name the form of the rows with --form");
                Some(RolloutEntry { id: None, group: None, attempt: None, rollout: Err(invalid) })
                    .into()
            }
        }
    }
}

impl From<Option<RolloutEntry>> for RowRollouts {
    fn from(entry: Option<RolloutEntry>) -> Self {
        Self { entries: entry.into_iter().collect(), is_pair: false }
    }
}

/// Adds a hint to the error of a row that has columns which guerdon's own form does not have.
fn name_extra_columns(entry: &mut RolloutEntry, columns: &Map<String, Value>) {
    let Err(invalid) = &mut entry.rollout else { return };
    let extra = columns.keys().find(|name| !Rollout::field_names().contains(&name.as_str()));
    let Some(extra) = extra else { return };
    if columns.contains_key("messages") && invalid.hint.is_none() {
        invalid.hint = Some(format!(
            "--extra-columns context keeps columns such as {} as facts, and --extra-columns ignore \
             leaves them out",
            guerdon_text::quote(extra)
        ));
    } else if invalid.hint.is_none() && !columns.contains_key("rollouts") {
        let names: Vec<_> = columns.keys().take(8).map(|name| guerdon_text::quote(name)).collect();
        invalid.hint = Some(format!(
            "a row has `messages`, or the columns of a form of --form; this one has {}",
            names.join(", ")
        ));
    }
}

/// Removes the thoughts from every turn of the policy.
fn drop_thoughts(rollout: &mut Rollout) {
    let replies = rollout.messages.iter_mut().filter(|message| message.role == Role::Assistant);
    for message in replies {
        let visible = match read_reply(&message.content).visible {
            Cow::Borrowed(text) if text.len() == message.content.len() => continue,
            visible => visible.into_owned(),
        };
        message.content = visible;
    }
}

#[cfg(test)]
mod tests;

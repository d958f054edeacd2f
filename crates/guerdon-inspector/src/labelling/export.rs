//! The answers in the forms that other commands read.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::answer::{Answer, LevelAnswer};

/// A form of exported answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelForm {
    /// Pairs for `guerdon judge calibrate --gold`.
    GoldPairs,
    /// Levels for `guerdon judge calibrate --gold`: the first rater by name is `labels`, the next
    /// is `second`.
    GoldLevels,
    /// Rollouts with labels for `guerdon rules eval --on`: answers whose criterion is `pack/rule`.
    Rules,
    /// Preference pairs for `guerdon score --form pairs` and trainers; ties are left out.
    Preferences,
}

impl LabelForm {
    /// Every form with its name in URLs.
    pub const ALL: [(&'static str, Self); 4] = [
        ("gold-pairs", Self::GoldPairs),
        ("gold-levels", Self::GoldLevels),
        ("rules", Self::Rules),
        ("preferences", Self::Preferences),
    ];

    /// The form with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(own, _)| *own == name).map(|(_, form)| form)
    }
}

/// The answers in a form, as lines of JSON. The last answer of a rater to a question counts.
#[must_use]
pub fn export(answers: &[Answer], form: LabelForm) -> String {
    let mut last: BTreeMap<_, &Answer> = BTreeMap::new();
    for answer in answers {
        last.insert((answer.item(), answer.rater()), answer);
    }
    let pairs = last.values().filter_map(|answer| match answer {
        Answer::Pair(pair) => Some(pair),
        Answer::Level(_) => None,
    });
    let lines: Vec<Value> = match form {
        LabelForm::GoldPairs => pairs
            .map(|pair| {
                json!({
                    "source": pair.rater, "prompt": pair.prompt, "output_a": pair.output_a,
                    "output_b": pair.output_b, "human_label": pair.human_label,
                })
            })
            .collect(),
        LabelForm::Preferences => pairs
            .filter_map(|pair| {
                let (chosen, rejected) = match pair.human_label.as_str() {
                    "a" => (&pair.output_a, &pair.output_b),
                    "b" => (&pair.output_b, &pair.output_a),
                    _ => return None,
                };
                Some(json!({ "prompt": pair.prompt, "chosen": chosen, "rejected": rejected }))
            })
            .collect(),
        LabelForm::GoldLevels => {
            turns(&last, false).values().map(|answers| gold(answers)).collect()
        }
        LabelForm::Rules => turns(&last, true).values().map(|answers| rules(answers)).collect(),
    };
    lines.into_iter().map(|line| format!("{line}\n")).collect()
}

/// The answers about each turn, in the order of the raters' names.
type Turns<'a> = BTreeMap<(i64, usize), Vec<&'a LevelAnswer>>;

fn turns<'a, K>(last: &BTreeMap<K, &'a Answer>, rules: bool) -> Turns<'a> {
    let mut turns = Turns::new();
    for answer in last.values() {
        if let Answer::Level(level) = answer
            && level.criterion.contains('/') == rules
        {
            turns.entry((level.key, level.turn)).or_default().push(level);
        }
    }
    for answers in turns.values_mut() {
        answers.sort_by(|one, other| one.rater.cmp(&other.rater));
    }
    turns
}

fn gold(answers: &[&LevelAnswer]) -> Value {
    let mut sides = [Map::new(), Map::new()];
    for answer in answers {
        let side = sides.iter_mut().find(|side| !side.contains_key(&answer.criterion));
        if let Some(side) = side {
            side.insert(answer.criterion.clone(), answer.level.clone().into());
        }
    }
    let [labels, second] = sides;
    let messages = answers.first().map(|answer| &answer.messages);
    if second.is_empty() {
        json!({ "messages": messages, "labels": labels })
    } else {
        json!({ "messages": messages, "labels": labels, "second": second })
    }
}

/// A verdict that two raters dispute is left out.
fn rules(answers: &[&LevelAnswer]) -> Value {
    let mut verdicts: BTreeMap<&str, Option<bool>> = BTreeMap::new();
    for answer in answers {
        let verdict = answer.level == "yes";
        let known = verdicts.entry(&answer.criterion).or_insert(Some(verdict));
        if *known != Some(verdict) {
            *known = None;
        }
    }
    let agreed: Map<String, Value> = verdicts
        .into_iter()
        .filter_map(|(rule, verdict)| Some((rule.to_owned(), verdict?.into())))
        .collect();
    let first = answers.first();
    let turn = first.map(|answer| answer.turn).unwrap_or_default();
    json!({
        "id": first.map(|answer| &answer.rollout),
        "messages": first.map(|answer| &answer.messages),
        "score": [turn],
        "labels": { turn.to_string(): agreed },
    })
}

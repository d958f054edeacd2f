//! The score of a model with several labels, by the names that its configuration gives them.
//!
//! examples/reward-model/label_output.py applies the same rules at export.
//! tests/label_cases.json holds cases for both.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use guerdon_types::Finite;
use serde::Deserialize;

use crate::load::output::{Activation, MAX_OBJECTIVES, ModelOutput};

/// Names with a known meaning, in the form of [`normal`].
#[derive(Deserialize)]
struct LabelWords {
    /// A label that is the score.
    scores: Vec<String>,
    /// Two labels of a preference model: the preferred one, and the other one.
    preferences: Vec<[String; 2]>,
    /// Two labels of another classifier: the desired one, and the other one.
    opposites: Vec<[String; 2]>,
    /// Attributes of a reply.
    objectives: Vec<String>,
    /// The attribute that is most often the score.
    main: Vec<String>,
}

static WORDS: LazyLock<LabelWords> = LazyLock::new(|| {
    const TEXT: &str = include_str!("label_words.json");
    serde_json::from_str(TEXT).unwrap_or(LabelWords {
        scores: Vec::new(),
        preferences: Vec::new(),
        opposites: Vec::new(),
        objectives: Vec::new(),
        main: Vec::new(),
    })
});

/// The keys of `[output]` that make one score of the labels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LabelChoice {
    pub(super) output: ModelOutput,
    pub(super) key: &'static str,
    pub(super) value: String,
    pub(super) reason: String,
    /// True if the names do not state it.
    pub(super) is_guess: bool,
}

/// A name in lower case, with one underscore in place of other characters.
fn normal(name: &str) -> String {
    let parts: Vec<String> = name
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|part| !part.is_empty())
        .map(str::to_lowercase)
        .collect();
    parts.join("_")
}

/// True for a name that transformers makes up, such as `LABEL_0`.
fn is_made_up(name: &str) -> bool {
    name.strip_prefix("LABEL_")
        .is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The number at the beginning of a name such as `4 stars`.
fn grade(name: &str) -> Option<Finite> {
    let end = name.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(name.len());
    if end > 3 || name[end..].starts_with(|letter: char| letter.is_alphanumeric()) {
        return None;
    }
    Finite::new(f64::from(name[..end].parse::<u16>().ok()?)).ok()
}

/// The names as objectives of the reply; none if they are not distinct names.
fn objectives(names: &[String]) -> Vec<String> {
    let distinct: BTreeSet<&String> = names.iter().collect();
    let all_named = names.iter().all(|name| !name.trim().is_empty());
    match all_named && distinct.len() == names.len() && names.len() <= MAX_OBJECTIVES {
        true => names.to_vec(),
        false => Vec::new(),
    }
}

/// All labels as objectives, and one of them or their mean as the score.
pub(super) fn all_labels(names: &[String], output: ModelOutput) -> LabelChoice {
    let labels = objectives(names);
    let main = names.iter().position(|name| {
        let name = normal(name);
        WORDS.main.iter().any(|main| name == *main || name.ends_with(&format!("_{main}")))
    });
    let reported = match labels.is_empty() {
        true => "",
        false => "; every label is an objective of the reply",
    };
    match main {
        Some(index) => LabelChoice {
            output: ModelOutput { index: Some(index), labels, ..output },
            key: "output.index",
            value: index.to_string(),
            reason: format!(
                "{:?} is the usual score of such models{reported}; `--label` chooses another",
                names[index]
            ),
            is_guess: true,
        },
        None => {
            // One of the labels is as good as the others.
            #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 labels")]
            let share = Finite::new(1.0 / names.len() as f64).unwrap_or_default();
            let weights = Some(vec![share; names.len()]);
            LabelChoice {
                output: ModelOutput { weights, labels, ..output },
                key: "output.weights",
                value: format!("the mean of {} labels", names.len()),
                reason: format!(
                    "no file says how the labels become one score{reported}; correct `weights`, or \
                     choose one with `--label`"
                ),
                is_guess: true,
            }
        }
    }
}

/// The score of several labels, if their names or `problem_type` of the configuration tell it.
pub(super) fn known_labels(
    names: &[String],
    problem_type: Option<&str>,
    output: ModelOutput,
) -> Option<LabelChoice> {
    if names.iter().any(|name| is_made_up(name)) {
        return None;
    }
    let normals: Vec<String> = names.iter().map(|name| normal(name)).collect();
    let scores: Vec<usize> =
        (0..names.len()).filter(|place| WORDS.scores.contains(&normals[*place])).collect();
    if let [index] = scores[..] {
        return Some(LabelChoice {
            output: ModelOutput { index: Some(index), labels: objectives(names), ..output },
            key: "output.index",
            value: index.to_string(),
            reason: format!("`id2label` of config.json calls it {:?}", names[index]),
            is_guess: false,
        });
    }
    if let [first, second] = &normals[..] {
        let kinds = [(&WORDS.preferences, false), (&WORDS.opposites, true)];
        for (pairs, is_guess) in kinds {
            let Some(good) = pairs.iter().find_map(|[good, bad]| match () {
                () if (good, bad) == (first, second) => Some(0),
                () if (good, bad) == (second, first) => Some(1),
                () => None,
            }) else {
                continue;
            };
            let bad = 1 - good;
            return Some(LabelChoice {
                output: ModelOutput { difference: Some([good, bad]), ..output },
                key: "output.difference",
                value: format!("[{good}, {bad}]"),
                reason: format!("{:?} less {:?}, by `id2label`", names[good], names[bad]),
                is_guess,
            });
        }
    }
    let grades: Option<Vec<Finite>> = names.iter().map(|name| grade(name)).collect();
    if let Some(grades) = grades.filter(|grades| grades.len() > 2) {
        let distinct = grades.iter().enumerate().all(|(at, grade)| !grades[..at].contains(grade));
        let is_zero = grades.iter().all(|grade| *grade == Finite::ZERO);
        return (distinct && !is_zero).then(|| LabelChoice {
            value: format!("{:?}", grades.iter().map(|grade| grade.get()).collect::<Vec<_>>()),
            output: ModelOutput {
                activation: Activation::Softmax,
                weights: Some(grades),
                ..output
            },
            key: "output.weights",
            reason: "the labels are grades: the score is the expected grade".to_owned(),
            is_guess: true,
        });
    }
    let is_objective = |name: &String| {
        WORDS.objectives.iter().any(|word| name == word || name.ends_with(&format!("_{word}")))
    };
    let are_numbers = matches!(problem_type, Some("regression" | "multi_label_classification"));
    (are_numbers || normals.iter().all(is_objective)).then(|| all_labels(names, output))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::load::files::read_text;

    #[derive(Deserialize)]
    struct Case {
        names: Vec<String>,
        #[serde(default)]
        problem_type: Option<String>,
        #[serde(default)]
        all: bool,
        /// The keys of the section, or nothing if the names do not tell.
        output: Option<ModelOutput>,
        #[serde(default)]
        is_guess: bool,
    }

    #[test]
    fn labels_become_the_score_that_their_names_tell() {
        assert!(!WORDS.scores.is_empty() && !WORDS.main.is_empty());
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/label_cases.json");
        let cases: Vec<Case> = serde_json::from_str(&read_text(&file).unwrap()).unwrap();
        assert!(cases.len() > 20);
        for Case { names, problem_type, all, output, is_guess } in cases {
            let base = ModelOutput::default();
            let found = match all {
                true => Some(all_labels(&names, base)),
                false => known_labels(&names, problem_type.as_deref(), base),
            };
            let told = found.as_ref().map(|found| (&found.output, found.is_guess));
            assert_eq!(told, output.as_ref().map(|output| (output, is_guess)), "{names:?}");
            if let Some(found) = found {
                found.output.check().unwrap();
            }
        }
    }
}

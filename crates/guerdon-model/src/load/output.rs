//! The `[output]` section of the manifest: how a graph's outputs become one score, and the
//! objectives that are reported with it.

use std::fmt;

use guerdon_types::Finite;
use serde::{Deserialize, Serialize};

/// The largest number of named objectives, each of which every reply repeats.
pub(crate) const MAX_OBJECTIVES: usize = 64;

/// The outputs that hold the score.
///
/// An output has one value per text, `[batch]`, or one per label, `[batch, labels]`. With
/// `position`, it has these values at every token: `[batch, tokens]` or `[batch, tokens, labels]`.
/// The steps are, in order: `position`, `tokens`, `activation`, one of `index`, `difference`,
/// `weights` and `gating`, and `aggregate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ModelOutput {
    /// The output's name in the graph.
    pub name: String,
    /// The token whose values are read, for a graph that returns values at every token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// For a language model: the tokens whose logits are the labels, as texts or ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<TokenRef>,
    /// The function that is applied to the labels before they are combined.
    #[serde(skip_serializing_if = "Activation::is_none")]
    pub activation: Activation,
    /// The label that is the score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    /// Two labels: the score is the first less the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<[usize; 2]>,
    /// The weights of the labels: the score is the weighted sum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Vec<Finite>>,
    /// The name of an output with a weight for each label, `[batch, labels]`: the score is the
    /// weighted sum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gating: Option<String>,
    /// The function that makes the score of the turn from the scores of its steps; only with
    /// `position = "step"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<Aggregate>,
    /// The names of the labels. Named labels are reported as objectives next to the score.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The output with the objectives that `labels` names, `[batch, objectives]`, if it is not the
    /// one with the score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objectives: Option<String>,
}

impl Default for ModelOutput {
    fn default() -> Self {
        Self {
            name: "logits".to_owned(),
            position: None,
            tokens: Vec::new(),
            activation: Activation::None,
            index: None,
            difference: None,
            weights: None,
            gating: None,
            aggregate: None,
            labels: Vec::new(),
            objectives: None,
        }
    }
}

/// The token whose values are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Position {
    /// The first token, such as `[CLS]`.
    First,
    /// The last token of the text.
    Last,
    /// The token after each step of the scored message (`[input.steps]`).
    Step,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first",
            Self::Last => "last",
            Self::Step => "step",
        })
    }
}

/// A token of the vocabulary, by its text or its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TokenRef {
    /// The id.
    Id(u32),
    /// The token as the vocabulary spells it, or a text that is one token.
    Text(String),
}

impl fmt::Display for TokenRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Text(text) => write!(f, "{text}"),
        }
    }
}

/// A function of the labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activation {
    /// The labels as they are.
    #[default]
    None,
    /// `1 / (1 + exp(-x))` of each label.
    Sigmoid,
    /// The probabilities of the labels, which sum to 1.
    Softmax,
}

impl Activation {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
    const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// A function of the scores of a turn's steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Aggregate {
    /// The lowest.
    Min,
    /// The product.
    Prod,
    /// The last.
    Last,
    /// The mean.
    Mean,
}

impl ModelOutput {
    /// Checks the section without the graph. The error names the keys and the fix.
    pub(crate) fn check(&self) -> Result<(), String> {
        let given = [
            ("index", self.index.is_some()),
            ("difference", self.difference.is_some()),
            ("weights", self.weights.is_some()),
            ("gating", self.gating.is_some()),
        ];
        let given: Vec<&str> =
            given.into_iter().filter(|(_, given)| *given).map(|(key, _)| key).collect();
        if given.len() > 1 {
            return Err(format!(
                "`output.{}` each choose the score; keep one of them",
                given.join("` and `output.")
            ));
        }
        if self.difference.is_some_and(|[a, b]| a == b) {
            return Err("`output.difference` names one label twice, and is always 0".to_owned());
        }
        let is_zero = |weights: &Vec<Finite>| weights.iter().all(|weight| *weight == Finite::ZERO);
        if self.weights.as_ref().is_some_and(is_zero) {
            return Err(
                "`output.weights` are all 0, so every score would be 0; give one number per label"
                    .to_owned(),
            );
        }
        match (self.position, self.aggregate) {
            (Some(Position::Step), None) => Err(
                "`output.position` is \"step\", which needs `output.aggregate` = \"min\", \"prod\", \
                 \"last\" or \"mean\": a turn has one score"
                    .to_owned(),
            ),
            (None | Some(Position::First | Position::Last), Some(_)) => Err(
                "`output.aggregate` combines the scores of steps; set `output.position` = \"step\", \
                 or remove it"
                    .to_owned(),
            ),
            _ => Ok(()),
        }?;
        if self.activation == Activation::Softmax && self.tokens.len() == 1 {
            return Err(
                "`output.activation` = \"softmax\" of one of `output.tokens` is always 1; name the \
                 other token too, or use \"none\" for its logit"
                    .to_owned(),
            );
        }
        self.check_objectives()
    }

    fn check_objectives(&self) -> Result<(), String> {
        let labels = &self.labels;
        if labels.len() > MAX_OBJECTIVES {
            return Err(format!(
                "`output.labels` has {} names; at most {MAX_OBJECTIVES}, since every reply has them",
                labels.len()
            ));
        }
        if labels.iter().any(|name| name.trim().is_empty()) {
            return Err("`output.labels` has an empty name".to_owned());
        }
        let twice = labels.iter().enumerate().find(|(at, name)| labels[..*at].contains(name));
        if let Some((_, name)) = twice {
            return Err(format!("`output.labels` has `{name}` twice"));
        }
        if self.objectives.is_some() && labels.is_empty() {
            return Err(
                "`output.objectives` needs `output.labels`, the names of its columns".to_owned()
            );
        }
        if !labels.is_empty() && self.position == Some(Position::Step) && self.objectives.is_none()
        {
            return Err(
                "`output.labels` names the objectives of a whole text, but `output.position` is \
                 \"step\"; remove `output.labels`"
                    .to_owned(),
            );
        }
        let names = [Some(&self.name), self.gating.as_ref(), self.objectives.as_ref()];
        let names: Vec<&String> = names.into_iter().flatten().collect();
        match names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            Some((_, name)) => Err(format!(
                "`output.name`, `output.gating` and `output.objectives` name different outputs of \
                 the graph; `{name}` is named twice"
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ModelOutput, String> {
        let output: ModelOutput = toml::from_str(text).map_err(|error| error.to_string())?;
        output.check().map(|()| output)
    }

    #[test]
    fn every_form_of_a_score_parses_and_round_trips() {
        for text in [
            "",
            "index = 3",
            "difference = [1, 0]",
            "weights = [0.25, -1, 2.5]",
            "name = \"rewards\"\ngating = \"gating_output\"\nlabels = [\"a\", \"b\"]",
            "name = \"score\"\nobjectives = \"rewards\"\nlabels = [\"a\", \"b\"]",
            "position = \"last\"\ntokens = [\"Yes\", 9]\nactivation = \"softmax\"\nindex = 0",
            "position = \"step\"\naggregate = \"min\"\nactivation = \"sigmoid\"",
        ] {
            let output = parse(text).unwrap();
            assert_eq!(parse(&toml::to_string(&output).unwrap()).unwrap(), output, "{text}");
        }
        assert_eq!(
            toml::to_string(&ModelOutput::default()).unwrap(),
            "name = \"logits\"\n",
            "the hash of a manifest without new keys stays what it was"
        );
    }

    #[test]
    fn contradicting_keys_are_refused_with_a_fix() {
        let many = (0..65).map(|n| format!("\"l{n}\"")).collect::<Vec<_>>().join(", ");
        let refusals: Vec<String> = [
            "index = 0\nweights = [1, 2]",
            "index = 0\ndifference = [0, 1]\ngating = \"g\"",
            "difference = [1, 1]",
            "weights = [0, 0.0]",
            "weights = []",
            "weights = [nan]",
            "position = \"step\"",
            "position = \"last\"\naggregate = \"min\"",
            "aggregate = \"min\"",
            "position = \"middle\"",
            "tokens = [\"Yes\"]\nactivation = \"softmax\"",
            "labels = [\"a\", \"a\"]",
            "labels = [\" \"]",
            &format!("labels = [{many}]"),
            "objectives = \"rewards\"",
            "position = \"step\"\naggregate = \"min\"\nlabels = [\"a\"]",
            "gating = \"logits\"",
        ]
        .map(|text| parse(text).unwrap_err().trim_end().to_owned())
        .into();
        insta::assert_snapshot!(refusals.join("\n\n"));
    }
}

//! The head of a model: from the outputs of its graph to one score per sequence.
//!
//! Every score is computed from the values of its own row, in a fixed order and in double precision,
//! so that the head adds no dependence on the batch.

use std::sync::Arc;

use crate::encode::tokens::TokenSequence;
use crate::engine::values::OutputTensor;
use crate::load::output::{Activation, Aggregate, ModelOutput, Position, TokenRef};

/// The number of labels from which an output is taken for a language model's.
const VOCABULARY: usize = 1_000;

/// The largest number of steps whose scores are reported. The score of a turn is made of all steps.
const MAX_STEPS: usize = 256;

/// The raw score of a sequence, with the objectives that the manifest names and the scores of its
/// steps.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RawScore {
    pub(crate) value: f32,
    /// In the order of `output.labels`; empty if there are none.
    pub(crate) objectives: Arc<[f32]>,
    /// The scores of the first [`MAX_STEPS`] steps; empty for a model that does not score steps.
    pub(crate) steps: Arc<[f32]>,
}

impl RawScore {
    /// The first of the numbers that is NaN or infinite.
    pub(crate) fn not_finite(&self) -> Option<f32> {
        std::iter::once(self.value)
            .chain(self.objectives.iter().copied())
            .chain(self.steps.iter().copied())
            .find(|number| !number.is_finite())
    }
}

impl From<f32> for RawScore {
    fn from(value: f32) -> Self {
        Self { value, objectives: Arc::default(), steps: Arc::default() }
    }
}

/// The output section of a manifest, with the ids of its tokens.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    output: ModelOutput,
    /// The labels among the values of an output; empty if every value is a label.
    tokens: Vec<usize>,
}

/// The tensors that a head reads.
#[derive(Debug)]
pub(crate) struct HeadTensors<'a> {
    pub(crate) scores: OutputTensor<'a>,
    pub(crate) gating: Option<OutputTensor<'a>>,
    pub(crate) objectives: Option<OutputTensor<'a>>,
}

/// The shape of the output with the scores in a run of one text of `tokens` tokens.
#[derive(Debug, Clone)]
pub(crate) struct TrialShape {
    pub(crate) shape: Vec<usize>,
    pub(crate) tokens: usize,
}

impl Head {
    /// The head of `output`. `token_id` returns the id of a token.
    pub(crate) fn new(
        output: &ModelOutput,
        token_id: impl Fn(&TokenRef) -> Result<u32, String>,
    ) -> Result<Self, String> {
        let id = |token: &TokenRef| {
            let id = token_id(token).map_err(|detail| format!("`output.tokens`: {detail}"))?;
            usize::try_from(id).map_err(|error| error.to_string())
        };
        let tokens = output.tokens.iter().map(id).collect::<Result<Vec<usize>, String>>()?;
        let twice = tokens.iter().enumerate().find(|(at, id)| tokens[..*at].contains(id));
        if let Some((_, id)) = twice {
            return Err(format!("`output.tokens` names the token with id {id} twice"));
        }
        Ok(Self { output: output.clone(), tokens })
    }

    /// The name of the output with the scores.
    pub(crate) fn name(&self) -> &str {
        &self.output.name
    }

    /// The manifest's keys and the outputs that they name.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            Some(("output.name", self.name())),
            self.gating().map(|name| ("output.gating", name)),
            self.objectives().map(|name| ("output.objectives", name)),
        ]
        .into_iter()
        .flatten()
    }

    /// The output with the factors of the labels.
    pub(crate) fn gating(&self) -> Option<&str> {
        self.output.gating.as_deref()
    }

    /// The output with the objectives, if they have one of their own.
    pub(crate) fn objectives(&self) -> Option<&str> {
        self.output.objectives.as_deref()
    }

    /// The token whose values are read, if the graph returns values at every token.
    pub(crate) const fn position(&self) -> Option<Position> {
        self.output.position
    }

    /// Checks the section against the graph: `short` and `long` are the shapes of the output in
    /// runs of two texts of different lengths, which show if the graph returns values per text or
    /// per token.
    ///
    /// # Errors
    ///
    /// Returns a message that says what to write into the manifest.
    pub(crate) fn check(&self, short: &TrialShape, long: &TrialShape) -> Result<(), String> {
        let per_token = |a: usize, b: usize| (a, b) == (short.tokens, long.tokens);
        let (labels, pooled) = match (short.shape.as_slice(), long.shape.as_slice()) {
            ([1], [1]) => (1, true),
            ([1, a], [1, b]) if a == b => (*a, true),
            ([1, a], [1, b]) if per_token(*a, *b) => (1, false),
            ([1, a, labels], [1, b, same]) if per_token(*a, *b) && labels == same => {
                (*labels, false)
            }
            (_, shape) => return Err(self.unknown_shape(shape)),
        };
        let name = self.name();
        match (self.output.position, pooled) {
            (Some(position), true) => Err(format!(
                "returns one row per text as `{name}`, so it pools by itself; remove \
                 `output.position` = \"{position}\""
            )),
            (None, false) => Err(format!(
                "returns values at every token as `{name}`, shape {}; set `output.position` to the \
                 token that holds the score: \"last\" for most decoders, \"first\" for most \
                 encoders, \"step\" for process reward models",
                if labels == 1 {
                    "[batch, tokens]".to_owned()
                } else {
                    format!("[batch, tokens, {labels}]")
                }
            )),
            _ => self.check_labels(labels),
        }
    }

    fn unknown_shape(&self, shape: &[usize]) -> String {
        format!(
            "returns `{}` in shape {shape:?}; a score is [batch] or [batch, labels], or, with \
             `output.position`, [batch, tokens] or [batch, tokens, labels]",
            self.name()
        )
    }

    /// Checks that `values` values per text or token can become one score.
    fn check_labels(&self, values: usize) -> Result<(), String> {
        let (output, name) = (&self.output, self.name());
        if let Some(id) = self.tokens.iter().find(|id| **id >= values) {
            return Err(format!(
                "`output.tokens` has a token with id {id}, but `{name}` has {values} values: it is \
                 not a language model's output, or the tokenizer belongs to another model"
            ));
        }
        let labels = if self.tokens.is_empty() { values } else { self.tokens.len() };
        let of =
            if self.tokens.is_empty() { format!("`{name}`") } else { "`output.tokens`".into() };
        let last = labels.saturating_sub(1);
        let beyond = |key: &str, index: usize| {
            Err(format!(
                "`output.{key}` names label {index}, but {of} has {labels} labels; the first is 0 \
                 and the last is {last}"
            ))
        };
        let count = |key: &str, given: usize| {
            Err(format!(
                "`output.{key}` has {given} entries, but {of} has {labels} labels; give one per label"
            ))
        };
        match (output.index, output.difference, &output.weights, &output.gating) {
            (Some(index), ..) if index >= labels => beyond("index", index),
            (_, Some([a, b]), ..) if a.max(b) >= labels => beyond("difference", a.max(b)),
            (_, _, Some(weights), _) if weights.len() != labels => count("weights", weights.len()),
            (None, None, None, None) if labels > 1 => Err(self.choose(&of, labels)),
            _ => Ok(()),
        }?;
        if output.objectives.is_none() && !output.labels.is_empty() && output.labels.len() != labels
        {
            return count("labels", output.labels.len());
        }
        if output.activation == Activation::Softmax && labels == 1 {
            return Err(format!(
                "`output.activation` is \"softmax\", but {of} has one label, so every score would \
                 be 1; use \"sigmoid\" or \"none\""
            ));
        }
        Ok(())
    }

    /// The error for an output with several labels and no key that makes one score of them.
    fn choose(&self, of: &str, labels: usize) -> String {
        if self.tokens.is_empty() && labels >= VOCABULARY {
            return format!(
                "{of} has {labels} labels, as a language model has for its vocabulary; name the \
                 tokens whose logits are the score: `tokens = [0]` for the logit of id 0, or \
                 `tokens = [\"Yes\", \"No\"]` with `activation = \"softmax\"` and `index = 0` for the \
                 probability of a yes"
            );
        }
        let last = labels - 1;
        let ones = match labels {
            0..=8 => vec!["1.0"; labels].join(", "),
            _ => format!("1.0, ... {labels} numbers"),
        };
        format!(
            "{of} has {labels} labels; write into [output] how they become one score: `index = {last}` \
             (one label, 0 to {last}), `difference = [1, 0]` (label 1 less label 0), or `weights = \
             [{ones}]` (a weighted sum)"
        )
    }

    /// The scores of `sequences`, which ran in rows of `columns` tokens.
    pub(crate) fn read(
        &self,
        tensors: &HeadTensors<'_>,
        sequences: &[&TokenSequence],
        columns: usize,
    ) -> Result<Vec<RawScore>, String> {
        let rows = sequences.len();
        let shape = tensors.scores.shape.as_slice();
        let (places, values) = match (self.output.position, shape) {
            (None, [batch]) if *batch == rows => (1, 1),
            (None, [batch, values]) if *batch == rows => (1, *values),
            (Some(_), [batch, tokens]) if (*batch, *tokens) == (rows, columns) => (columns, 1),
            (Some(_), [batch, tokens, values]) if (*batch, *tokens) == (rows, columns) => {
                (columns, *values)
            }
            _ => return Err(format!("{} ({rows} texts)", self.unknown_shape(shape))),
        };
        self.check_labels(values)?;
        let labels = if self.tokens.is_empty() { values } else { self.tokens.len() };
        let gating = tensors.gating.as_ref();
        if let Some(gating) = gating.filter(|gating| gating.shape != [rows, labels]) {
            return Err(format!(
                "returns `{}` in shape {:?}; a gating output is [batch, labels], here [{rows}, {labels}]",
                self.gating().unwrap_or_default(),
                gating.shape
            ));
        }
        let named = self.output.labels.len();
        let objectives = tensors.objectives.as_ref();
        if let Some(objectives) = objectives.filter(|found| found.shape != [rows, named]) {
            return Err(format!(
                "returns `{}` in shape {:?}; `output.labels` has {named} names, one per column",
                self.objectives().unwrap_or_default(),
                objectives.shape
            ));
        }
        let row_of = |tensor: Option<&OutputTensor<'_>>, row: usize, width: usize| {
            tensor.map(|tensor| {
                (row * width..(row + 1) * width).map(|at| number(tensor.at(at))).collect::<Vec<_>>()
            })
        };
        let score = |(row, tokens): (usize, &&TokenSequence)| {
            let gates = row_of(gating, row, labels);
            let labels_at = |place: usize| {
                let start = (row * places + place) * values;
                let value = |offset: usize| number(tensors.scores.at(start + offset));
                self.activated(match self.tokens.is_empty() {
                    true => (0..values).map(value).collect(),
                    false => self.tokens.iter().map(|id| value(*id)).collect(),
                })
            };
            let place = match self.output.position {
                None | Some(Position::First) => 0,
                Some(Position::Last) => tokens.len().saturating_sub(1),
                Some(Position::Step) => {
                    let steps = tokens.steps.iter().map(|place| match usize::try_from(*place) {
                        Ok(place) if place < columns => {
                            self.combined(&labels_at(place), gates.as_deref())
                        }
                        _ => f64::NAN,
                    });
                    let steps: Vec<f64> = steps.collect();
                    let objectives = row_of(objectives, row, named).unwrap_or_default();
                    return RawScore {
                        value: single(self.aggregated(&steps)),
                        objectives: objectives.into_iter().map(single).collect(),
                        steps: steps.into_iter().take(MAX_STEPS).map(single).collect(),
                    };
                }
            };
            let labels = labels_at(place);
            let value = single(self.combined(&labels, gates.as_deref()));
            let objectives = row_of(objectives, row, named)
                .unwrap_or_else(|| labels[..named.min(labels.len())].to_vec());
            let objectives = objectives.into_iter().map(single).collect();
            RawScore { value, objectives, steps: Arc::default() }
        };
        Ok(sequences.iter().enumerate().map(score).collect())
    }

    fn activated(&self, labels: Vec<f64>) -> Vec<f64> {
        match self.output.activation {
            Activation::None => labels,
            Activation::Sigmoid => labels.into_iter().map(sigmoid).collect(),
            Activation::Softmax => {
                let most = labels.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let shares: Vec<f64> = labels.iter().map(|label| (label - most).exp()).collect();
                let sum: f64 = shares.iter().sum();
                shares.into_iter().map(|share| share / sum).collect()
            }
        }
    }

    /// The score of one row or step. `check_labels` has accepted the number of labels.
    fn combined(&self, labels: &[f64], gates: Option<&[f64]>) -> f64 {
        let label = |index: usize| labels.get(index).copied().unwrap_or(f64::NAN);
        let output = &self.output;
        if let Some([a, b]) = output.difference {
            return label(a) - label(b);
        }
        if let Some(weights) = &output.weights {
            return weights.iter().zip(labels).map(|(weight, label)| weight.get() * label).sum();
        }
        match gates {
            Some(gates) => gates.iter().zip(labels).map(|(gate, label)| gate * label).sum(),
            None => label(output.index.unwrap_or(0)),
        }
    }

    /// The score of a turn with these scores of steps; NaN, and therefore no score, if there are
    /// none.
    fn aggregated(&self, steps: &[f64]) -> f64 {
        let count = steps.len();
        if count == 0 || steps.iter().any(|step| step.is_nan()) {
            return f64::NAN;
        }
        match self.output.aggregate {
            Some(Aggregate::Min) => steps.iter().copied().fold(f64::INFINITY, f64::min),
            Some(Aggregate::Prod) => steps.iter().product(),
            Some(Aggregate::Last) => steps[count - 1],
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52 steps")]
            Some(Aggregate::Mean) => steps.iter().sum::<f64>() / count as f64,
            None => f64::NAN,
        }
    }
}

/// The value as a double; NaN if the tensor is shorter than its shape.
fn number(value: Option<f32>) -> f64 {
    value.map_or(f64::NAN, f64::from)
}

#[expect(clippy::cast_possible_truncation, reason = "scores are single-precision numbers")]
const fn single(value: f64) -> f32 {
    value as f32
}

fn sigmoid(x: f64) -> f64 {
    // Of the two equal forms, the one whose exponential cannot overflow.
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn head(section: &str) -> Head {
        let output: ModelOutput = toml::from_str(section).unwrap();
        output.check().unwrap();
        let id = |token: &TokenRef| match token {
            TokenRef::Id(id) => Ok(*id),
            TokenRef::Text(text) => Err(format!("no {text}")),
        };
        Head::new(&output, id).unwrap()
    }

    fn checked(section: &str, short: &[usize], long: &[usize]) -> Result<(), String> {
        let shape = |shape: &[usize], tokens| TrialShape { shape: shape.to_vec(), tokens };
        head(section).check(&shape(short, 4), &shape(long, 5))
    }

    fn texts(lengths: &[usize]) -> Vec<TokenSequence> {
        let text = |length: &usize| TokenSequence {
            steps: (0u32..).take(*length).step_by(2).collect(),
            ..TokenSequence::unmarked(vec![1; *length])
        };
        lengths.iter().map(text).collect()
    }

    /// Sections that read values at every token, with the number of these values.
    const PER_TOKEN: [(&str, usize); 7] = [
        ("position = \"last\"", 1),
        ("position = \"first\"\nindex = 1", 3),
        ("position = \"last\"\ntokens = [2, 0]\nactivation = \"softmax\"\nindex = 0", 4),
        ("position = \"step\"\naggregate = \"min\"\ndifference = [0, 2]", 3),
        ("position = \"step\"\naggregate = \"prod\"\nactivation = \"softmax\"\nindex = 1", 2),
        ("position = \"step\"\naggregate = \"mean\"\nactivation = \"sigmoid\"", 1),
        ("position = \"last\"\nweights = [0.1, 0.7, -3]\nlabels = [\"a\", \"b\", \"c\"]", 3),
    ];

    proptest! {
        #[test]
        fn a_row_has_the_same_score_alone_and_in_any_batch(
            lengths in vec(1usize..7, 1..6), numbers in vec(-30.0f32..30.0, 6 * 6 * 4), section in 0usize..7,
        ) {
            let (section, labels) = PER_TOKEN[section];
            let head = head(section);
            let texts = texts(&lengths);
            let columns = lengths.iter().copied().max().unwrap();
            let shape = |rows: usize, columns: usize| match labels {
                1 => vec![rows, columns],
                _ => vec![rows, columns, labels],
            };
            let read = |numbers: &[f32], texts: &[&TokenSequence], columns: usize| {
                let scores = OutputTensor::of_floats(shape(texts.len(), columns), numbers);
                head.read(&HeadTensors { scores, gating: None, objectives: None }, texts, columns)
            };
            let together = read(&numbers, &texts.iter().collect::<Vec<_>>(), columns).unwrap();
            for (row, text) in texts.iter().enumerate() {
                let start = row * columns * labels;
                let own = &numbers[start..start + text.len() * labels];
                let alone = read(own, &[text], text.len()).unwrap();
                prop_assert_eq!(alone[0].value.to_bits(), together[row].value.to_bits());
                prop_assert_eq!(&alone[0], &together[row]);
                prop_assert_eq!(alone[0].not_finite(), None);
            }
        }
    }

    #[test]
    fn trial_tells_labels_from_tokens() {
        for (section, short, long) in [
            ("", &[1][..], &[1][..]),
            ("", &[1, 1], &[1, 1]),
            ("index = 4", &[1, 5], &[1, 5]),
            ("position = \"last\"", &[1, 4], &[1, 5]),
            ("position = \"first\"\nindex = 2", &[1, 4, 3], &[1, 5, 3]),
        ] {
            assert_eq!(checked(section, short, long), Ok(()), "{section}");
        }
    }

    #[test]
    fn wrong_output_sections_are_refused_with_what_to_write() {
        let refusals: Vec<String> = [
            ("", &[1, 2][..], &[1, 2][..]),
            ("", &[1, 19], &[1, 19]),
            ("", &[1, 151_936], &[1, 151_936]),
            ("index = 0", &[1, 4], &[1, 5]),
            ("index = 0", &[1, 4, 3], &[1, 5, 3]),
            ("position = \"last\"\nindex = 0", &[1, 5], &[1, 5]),
            ("position = \"last\"", &[1, 4, 32_000], &[1, 5, 32_000]),
            ("position = \"last\"\ntokens = [32000]", &[1, 4, 32_000], &[1, 5, 32_000]),
            ("index = 5", &[1, 5], &[1, 5]),
            ("difference = [0, 7]", &[1, 2], &[1, 2]),
            ("weights = [1, 2]", &[1, 5], &[1, 5]),
            ("gating = \"g\"\nlabels = [\"a\"]", &[1, 5], &[1, 5]),
            ("activation = \"softmax\"", &[1, 1], &[1, 1]),
            ("", &[1, 2, 4], &[1, 2, 5]),
            ("", &[1, 7], &[1, 9]),
            ("", &[], &[]),
        ]
        .map(|(section, short, long)| checked(section, short, long).unwrap_err())
        .into();
        insta::assert_snapshot!(refusals.join("\n\n"));
        let twice: ModelOutput = toml::from_str("tokens = [3, 3]").unwrap();
        let id = |_: &TokenRef| Ok(3);
        assert!(Head::new(&twice, id).unwrap_err().contains("id 3 twice"));
    }

    #[test]
    fn missing_steps_and_not_finite_labels_are_no_score() {
        let head = head("position = \"step\"\naggregate = \"min\"");
        let read = |numbers: &[f32], steps: &[u32]| {
            let text = TokenSequence { steps: steps.into(), ..TokenSequence::unmarked([1, 2, 3]) };
            let scores = OutputTensor::of_floats(vec![1, 3], numbers);
            head.read(&HeadTensors { scores, gating: None, objectives: None }, &[&text], 3).unwrap()
                [0]
            .clone()
        };
        let steps = RawScore { steps: [2.0, 3.0].into(), ..2.0.into() };
        assert_eq!(read(&[1.0, 2.0, 3.0], &[1, 2]), steps);
        let infinite = RawScore { steps: [1.0, f32::INFINITY].into(), ..1.0.into() };
        assert_eq!(infinite.not_finite(), Some(f32::INFINITY));
        for (numbers, steps) in [
            ([1.0, 2.0, 3.0], &[][..]),
            ([1.0, f32::NAN, 3.0], &[1, 2]),
            ([1.0, 2.0, 3.0], &[1, 3]),
        ] {
            assert!(read(&numbers, steps).not_finite().is_some());
        }
        let reported = RawScore { objectives: [1.0, f32::INFINITY].into(), ..1.0.into() };
        assert_eq!(reported.not_finite(), Some(f32::INFINITY));
    }
}

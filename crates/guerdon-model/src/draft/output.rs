//! The `[output]` section of a draft: the output of the graph and the label that is the score.

use crate::Error;
use crate::draft::drafting::{DraftOptions, Drafting};
use crate::draft::graph::GraphPort;
use crate::draft::labels::{LabelChoice, all_labels, known_labels};
use crate::load::output::ModelOutput;

/// Outputs that hold scores, in the order of preference.
const SCORE_OUTPUTS: [&str; 6] = ["logits", "scores", "score", "rewards", "reward", "output"];

/// The largest number of labels that a draft distinguishes; a language model has more.
const MAX_LABELS: usize = 1_000;

/// The longest name of a label, in characters.
const MAX_NAME: usize = 40;

/// Outputs of an encoder without a head.
const STATE_OUTPUTS: [&str; 5] = [
    "last_hidden_state",
    "token_embeddings",
    "sentence_embedding",
    "pooler_output",
    "hidden_states",
];

impl Drafting<'_> {
    pub(super) fn output(&mut self, options: &DraftOptions) -> Result<String, Error> {
        let names: Vec<&str> =
            self.graph.outputs.iter().map(|output| output.name.as_str()).collect();
        let score = SCORE_OUTPUTS
            .iter()
            .find_map(|name| self.graph.outputs.iter().find(|output| output.name == **name));
        let (output, reason) = match (score, self.graph.outputs.as_slice()) {
            (Some(output), [_]) => (output, "the only output"),
            (Some(output), _) => (output, "the usual name of scores"),
            (None, [only]) if !STATE_OUTPUTS.contains(&only.name.as_str()) => {
                (only, "the only output")
            }
            (None, _) if names.iter().any(|name| STATE_OUTPUTS.contains(name)) => {
                return Err(self.refused(format!(
                    "has a graph that returns states (`{}`) and no score, so it is an encoder without \
                     the reward model's head; export the whole model with `--task text-classification`",
                    names.join("`, `")
                )));
            }
            (None, _) => {
                return Err(self.refused(format!(
                    "has a graph with the outputs `{}`; none of them is called `logits`",
                    names.join("`, `")
                )));
            }
        };
        let name = output.name.clone();
        let base = ModelOutput { name: name.clone(), ..ModelOutput::default() };
        let section = self.labels(output, base, options)?;
        self.note("output.name", &name, reason);
        let section = toml::to_string(&section).map_err(|error| self.refused(error.to_string()))?;
        Ok(format!("[output]\n{section}"))
    }

    /// The section with the keys that make one score of the labels. Labels without a known meaning
    /// are asked for.
    fn labels(
        &mut self,
        port: &GraphPort,
        output: ModelOutput,
        options: &DraftOptions,
    ) -> Result<ModelOutput, Error> {
        let names = self.label_names(port);
        let count = names.len();
        let listed = || {
            let named = names.iter().take(20).enumerate();
            named.map(|(label, name)| format!("{label} = {name}")).collect::<Vec<_>>().join(", ")
        };
        let choice = match options.label.as_deref() {
            None if count < 2 => return Ok(output),
            None => {
                let kind = self.folder.setting("problem_type").and_then(serde_json::Value::as_str);
                known_labels(&names, kind, output).ok_or_else(|| {
                    self.refused(format!(
                        "has a model of {count} labels ({}), and no file says which one is the \
                         score; choose it with `--label`, by number or name, or report all with \
                         `--label all`",
                        listed()
                    ))
                })?
            }
            Some("all") if count > 1 => all_labels(&names, output),
            Some(wanted) => {
                let by_number = wanted.parse().ok().filter(|label| *label < count);
                let by_name = || names.iter().position(|name| name.eq_ignore_ascii_case(wanted));
                match by_number.or_else(by_name) {
                    None => {
                        return Err(self.refused(format!(
                            "has the labels {}; `--label {wanted}` is none of them",
                            listed()
                        )));
                    }
                    Some(_) if count < 2 => return Ok(output),
                    Some(index) => LabelChoice {
                        output: ModelOutput { index: Some(index), ..output },
                        key: "output.index",
                        value: index.to_string(),
                        reason: format!("as given: {}", names[index]),
                        is_guess: false,
                    },
                }
            }
        };
        let LabelChoice { output, key, value, reason, is_guess } = choice;
        match is_guess {
            true => self.guess(key, &value, reason),
            false => self.note(key, &value, reason),
        }
        Ok(output)
    }

    /// The names of the labels, `LABEL_n` for one without a name.
    fn label_names(&self, port: &GraphPort) -> Vec<String> {
        let named = self.folder.label_names();
        let in_graph = match port.shape.as_slice() {
            [_, Some(labels)] => Some(*labels),
            [_] => Some(1),
            _ => None,
        };
        let count = in_graph
            .or_else(|| Some(named.keys().last()? + 1))
            .or_else(|| self.folder.number("num_labels"))
            .unwrap_or(1);
        let name = |label: usize| {
            let given = named.get(&label).filter(|name| !name.trim().is_empty());
            given.map_or_else(
                || format!("LABEL_{label}"),
                |name| name.chars().take(MAX_NAME).collect(),
            )
        };
        (0..count.min(MAX_LABELS)).map(name).collect()
    }
}

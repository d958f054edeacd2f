//! The `[input]` section of a draft: the format, the longest input, positions and padding.

use serde_json::Value;
use tokenizers::Tokenizer;

use crate::Error;
use crate::draft::drafting::{DraftOptions, Drafting, quoted};

/// The longest input without a word of the user. Attention and the trial at load are slow beyond.
pub(super) const LONGEST: usize = 4096;

/// Model families whose positions start at the padding id plus one.
const OFFSET_FAMILIES: [&str; 12] = [
    "camembert",
    "data2vec-text",
    "esm",
    "ibert",
    "longformer",
    "luke",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
];

impl Drafting<'_> {
    pub(super) fn input(
        &mut self,
        template: Option<&(String, String)>,
        tokenizer: &Tokenizer,
        options: &DraftOptions,
    ) -> Result<String, Error> {
        let mut lines = vec!["[input]".to_owned()];
        let is_pair = self.is_pair(options);
        match template {
            None if is_pair => {
                let source = match options.pair {
                    true => "as given",
                    false => "config.json is that of a cross-encoder of sentence-transformers",
                };
                self.note("input.format", "pair", source);
                lines.push("format = \"pair\"".to_owned());
            }
            Some((_, file)) => {
                self.note("input.format", "chat_template", format!("{file} has a template"));
                lines.push("format = \"chat_template\"".to_owned());
            }
            None => {
                self.guess(
                    "input.format",
                    "plain",
                    "the tokenizer has no chat template; correct [input.prefix] and `separator` if the \
                     model was trained on another form",
                );
                lines.push("format = \"plain\"".to_owned());
            }
        }
        lines.push(format!("max_tokens = {}", self.max_tokens(options)?));
        if !is_pair {
            // Keeps the prompt of a dialogue that is too long.
            lines.push("truncation = \"tokens\"".to_owned());
        }
        if let Some(token) = self.pad_token(tokenizer) {
            lines.push(format!("pad_token = {}", quoted(&token)));
        }
        if let Some(position) = self.first_position() {
            lines.push(format!("first_position = {position}"));
        }
        if template.is_some() {
            for (key, note) in [("bos_token", "input.bos_token"), ("eos_token", "input.eos_token")]
            {
                let Some((token, file)) = self.folder.special_token(key) else { continue };
                if tokenizer.token_to_id(&token).is_none() {
                    let reason = format!("{file} names {token:?}, which tokenizer.json lacks");
                    self.note(note, "-", reason);
                    continue;
                }
                lines.push(format!("{key} = {}", quoted(&token)));
            }
        } else {
            lines.push("separator = \"\\n\"\n\n[input.prefix]".to_owned());
            let roles = ["system", "user", "assistant", "tool"];
            // A cross-encoder reads a query as it is.
            let prefix = |role: &str| if is_pair { String::new() } else { format!("{role}: ") };
            lines.extend(roles.map(|role| format!("{role} = \"{}\"", prefix(role))));
        }
        Ok(lines.join("\n") + "\n")
    }

    /// The smallest of the limits that the folder's files state.
    fn max_tokens(&mut self, options: &DraftOptions) -> Result<usize, Error> {
        let sequence = self.graph.input("input_ids").and_then(|ids| ids.shape.get(1).copied()?);
        if let Some(batch) =
            self.graph.input("input_ids").and_then(|ids| ids.shape.first().copied()?)
        {
            return Err(self.refused(format!(
                "has a graph for batches of exactly {batch}; export it with free axes (`dynamic_axes` \
                 or `dynamic_shapes` of torch.onnx.export)"
            )));
        }
        if let Some(length) = sequence {
            return Err(self.refused(format!(
                "has a graph for texts of exactly {length} tokens; export it with free axes \
                 (`dynamic_axes` or `dynamic_shapes` of torch.onnx.export)"
            )));
        }
        if let Some(most) = options.max_tokens {
            self.note("input.max_tokens", &most, "as given");
            return Ok(most);
        }
        let offset = self.position_offset().unwrap_or(0);
        let positions = ["max_position_embeddings", "n_positions", "n_ctx"]
            .iter()
            .find_map(|key| self.folder.number(key).map(|most| (most.saturating_sub(offset), *key)))
            .filter(|(most, _)| *most > 0);
        let stated = |json: &Value, key| {
            // Transformers writes a very large number if there is no limit.
            json.get(key).and_then(Value::as_u64).and_then(|most| usize::try_from(most).ok())
        };
        let tokenizer = stated(&self.folder.tokenizer_config, "model_max_length")
            .filter(|most| (1..1_000_000_000).contains(most));
        let sentences =
            stated(&self.folder.sentence_config, "max_seq_length").filter(|most| *most > 0);
        // A model whose family is unknown may count positions from 2, as RoBERTa does.
        let unknown = self.folder.config.get("model_type").is_none();
        let first = if unknown && self.graph.input("position_ids").is_none() { 2 } else { offset };
        let table = self.graph.positions.map(|rows| rows.saturating_sub(first));
        let limits = [
            table
                .filter(|most| *most > 0)
                .map(|most| (most, "the graph's table of positions".to_owned())),
            positions.map(|(most, key)| (most, format!("`{key}` of config.json"))),
            tokenizer.map(|most| (most, "`model_max_length` of tokenizer_config.json".to_owned())),
            sentences
                .map(|most| (most, "`max_seq_length` of sentence_bert_config.json".to_owned())),
        ];
        match limits.into_iter().flatten().min_by_key(|(most, _)| *most) {
            None => {
                self.guess(
                    "input.max_tokens",
                    &512,
                    "no file states the limit; `--max-tokens` sets it",
                );
                Ok(512)
            }
            Some((most, source)) if most > LONGEST => {
                self.guess(
                    "input.max_tokens",
                    &LONGEST,
                    format!(
                        "{source} allows {most}; longer texts are slow, `--max-tokens` raises it"
                    ),
                );
                Ok(LONGEST)
            }
            Some((most, source)) => {
                self.note("input.max_tokens", &most, source);
                Ok(most)
            }
        }
    }

    /// The number of positions before a text's first token.
    fn position_offset(&self) -> Option<usize> {
        let family = self.folder.config.get("model_type").and_then(Value::as_str)?;
        let starts_late = OFFSET_FAMILIES.contains(&family);
        // The default of these families in transformers.
        starts_late.then(|| self.folder.number("pad_token_id").unwrap_or(1) + 1)
    }

    fn first_position(&mut self) -> Option<usize> {
        self.graph.input("position_ids")?;
        match self.position_offset() {
            Some(first) => {
                let family = self.folder.config.get("model_type").and_then(Value::as_str);
                let family = family.unwrap_or_default();
                let reason = format!("`{family}` counts positions from its padding id plus one");
                self.note("input.first_position", &first, reason);
                Some(first)
            }
            None => {
                self.note("input.first_position", &0, "the family's positions start at 0");
                None
            }
        }
    }

    /// The padding token, by the model first: a graph that pools by it knows this id only.
    fn pad_token(&mut self, tokenizer: &Tokenizer) -> Option<String> {
        let by_model = self.folder.number("pad_token_id");
        let token =
            by_model.and_then(|id| u32::try_from(id).ok()).and_then(|id| tokenizer.id_to_token(id));
        let stated = self.folder.special_token("pad_token");
        let known = |token: &String| tokenizer.token_to_id(token).is_some();
        match (by_model, token, stated) {
            (Some(id), Some(token), stated) => {
                let other = match stated {
                    Some((stated, file)) if stated != token => {
                        format!(" ({file} names {stated:?}, by which the model would not pool)")
                    }
                    _ => String::new(),
                };
                let reason = format!("`pad_token_id` of config.json is {id}{other}");
                self.note("input.pad_token", &format!("{token:?}"), reason);
                Some(token)
            }
            (None, _, Some((token, file))) if known(&token) => {
                let reason = format!("{file}; config.json has no `pad_token_id`");
                self.note("input.pad_token", &format!("{token:?}"), reason);
                Some(token)
            }
            (by_model, _, _) => {
                let fault = match by_model {
                    Some(id) => {
                        format!("`pad_token_id` of config.json is {id}, which tokenizer.json lacks")
                    }
                    None => "no file states it".to_owned(),
                };
                let reason = format!(
                    "{fault}; if padding changes a score, guerdon batches texts of one length only"
                );
                self.note("input.pad_token", "-", reason);
                None
            }
        }
    }
}

//! The draft of a manifest: each setting with the file or the rule that it comes from.
//!
//! A setting that the folder's files do not state is left out or named as a guess, never written in
//! silence. A label that could be any of several is asked for.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::Tokenizer;

use crate::draft::folder::ModelFolder;
use crate::draft::graph::{GraphPort, GraphSummary};
use crate::load::files::{Sha256Hex, read_text, sha256};
use crate::{Error, Manifest};

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

/// Inputs of padded graphs that guerdon fills.
const PADDED_INPUTS: [&str; 5] =
    ["input_ids", "attention_mask", "token_type_ids", "position_ids", "reply_mask"];

/// Inputs that only packed graphs have.
const PACKED_INPUTS: [&str; 3] = ["gather_idx", "long_query_idx", "block_table"];

/// Outputs that hold scores, in the order of preference.
const SCORE_OUTPUTS: [&str; 6] = ["logits", "scores", "score", "rewards", "reward", "output"];

/// Outputs of an encoder without a head.
const STATE_OUTPUTS: [&str; 5] = [
    "last_hidden_state",
    "token_embeddings",
    "sentence_embedding",
    "pooler_output",
    "hidden_states",
];

/// Choices of the user, each of which replaces a guess.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DraftOptions {
    /// The ONNX file.
    pub graph: Option<PathBuf>,
    /// The longest input in tokens.
    pub max_tokens: Option<usize>,
    /// The label that is the score, of a model with several.
    pub label: Option<usize>,
    /// The model reads two texts: the earlier messages and the reply.
    pub pair: bool,
}

/// A setting of a draft and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DraftNote {
    /// The key in the manifest.
    pub key: &'static str,
    /// The value, or a dash if the key is left out.
    pub value: String,
    /// The file that states the value, or the rule by which it was chosen.
    pub reason: String,
    /// True if no file of the folder states the value.
    pub is_guess: bool,
}

/// A manifest for a folder without one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ManifestDraft {
    /// The manifest's text.
    pub text: String,
    /// The text of `chat_template.jinja`, if the folder lacks that file and the manifest needs it.
    pub chat_template: Option<String>,
    /// Every setting with its reason.
    pub notes: Vec<DraftNote>,
    /// The type of the graph's weights: `fp32`, `fp16`, `bf16` or `int8`.
    pub storage: &'static str,
}

impl ManifestDraft {
    /// Reads the folder's settings and its graph, and drafts a manifest. Writes nothing.
    ///
    /// # Errors
    ///
    /// Returns an [`Error`] that names the missing or contradicting file and the fix.
    pub fn of(folder: &Path, options: &DraftOptions) -> Result<Self, Error> {
        let folder = ModelFolder::read(folder)?;
        let (graph_file, reason) = folder.graph(options.graph.as_deref())?;
        let graph = GraphSummary::read(&folder.path.join(&graph_file))?;
        let mut drafting = Drafting { folder: &folder, graph: &graph, notes: Vec::new() };
        drafting.note("files.model", &graph_file.display(), reason);
        drafting.check_inputs(&graph_file)?;
        let tokenizer_file = drafting.tokenizer_file()?;
        let tokenizer = drafting.tokenizer(&tokenizer_file)?;
        let data = drafting.data_file(&graph_file)?;
        let template = match drafting.is_pair(options) {
            true => None,
            false => folder.chat_template()?,
        };
        let parts = [
            drafting.header(),
            drafting.files(&graph_file, data.as_deref(), &tokenizer_file, template.as_ref())?,
            drafting.input(template.as_ref(), &tokenizer, options)?,
            drafting.output(options)?,
        ];
        let text = parts.join("\n");
        // The draft must be valid before anything is written.
        Manifest::parse(&text)
            .map_err(|detail| Error::Draft { path: folder.path.clone(), detail })?;
        let chat_template = template
            .filter(|_| folder.relative("chat_template.jinja").is_none())
            .map(|(text, _)| text);
        Ok(Self { text, chat_template, notes: drafting.notes, storage: graph.storage })
    }
}

struct Drafting<'a> {
    folder: &'a ModelFolder,
    graph: &'a GraphSummary,
    notes: Vec<DraftNote>,
}

/// A string as a TOML value.
fn quoted(text: &(impl ToString + ?Sized)) -> String {
    toml::Value::String(text.to_string()).to_string()
}

impl Drafting<'_> {
    fn note(
        &mut self,
        key: &'static str,
        value: &(impl ToString + ?Sized),
        reason: impl Into<String>,
    ) {
        let (value, reason) = (value.to_string(), reason.into());
        self.notes.push(DraftNote { key, value, reason, is_guess: false });
    }

    fn guess(
        &mut self,
        key: &'static str,
        value: &(impl ToString + ?Sized),
        reason: impl Into<String>,
    ) {
        let (value, reason) = (value.to_string(), reason.into());
        self.notes.push(DraftNote { key, value, reason, is_guess: true });
    }

    fn refused(&self, detail: impl Into<String>) -> Error {
        Error::Draft { path: self.folder.path.clone(), detail: detail.into() }
    }

    /// Fails for a graph with inputs that guerdon cannot fill, or without scores.
    fn check_inputs(&self, file: &Path) -> Result<(), Error> {
        let inputs: Vec<&str> = self.graph.inputs.iter().map(|input| input.name.as_str()).collect();
        if inputs.iter().any(|name| PACKED_INPUTS.contains(name)) {
            return Ok(());
        }
        let unknown: Vec<&str> =
            inputs.iter().copied().filter(|name| !PADDED_INPUTS.contains(name)).collect();
        if let Some(first) = unknown.first() {
            let hint = match first.starts_with("past_key_values") || *first == "cache_position" {
                true => {
                    "it is exported for generation: export it with `--task text-classification`"
                }
                false => "export it with `input_ids` and `attention_mask`",
            };
            return Err(self.refused(format!(
                "{} takes `{first}`, which guerdon cannot fill; {hint}",
                file.display()
            )));
        }
        match inputs.contains(&"input_ids") {
            true => Ok(()),
            false => Err(self.refused(format!(
                "{} does not take `input_ids`, so it is not a text classifier; its inputs: `{}`",
                file.display(),
                inputs.join("`, `")
            ))),
        }
    }

    /// True for a model that reads two texts, by the user's word or by its configuration.
    fn is_pair(&self, options: &DraftOptions) -> bool {
        options.pair || self.folder.config.get("sentence_transformers").is_some()
    }

    fn tokenizer_file(&mut self) -> Result<PathBuf, Error> {
        self.folder.relative("tokenizer.json").ok_or_else(|| {
            self.refused(
                "has no tokenizer.json; write it with transformers: \
                 `AutoTokenizer.from_pretrained(\"MODEL\").save_pretrained(\"FOLDER\")`",
            )
        })
    }

    fn tokenizer(&self, file: &Path) -> Result<Tokenizer, Error> {
        let path = self.folder.path.join(file);
        read_text(&path)?.parse().map_err(|error: tokenizers::Error| Error::Tokenizer {
            path,
            detail: error.to_string(),
        })
    }

    /// The file of weights beside the graph, relative to the model folder.
    fn data_file(&mut self, graph_file: &Path) -> Result<Option<PathBuf>, Error> {
        let place = graph_file.parent().unwrap_or(Path::new(""));
        match self.graph.data_files.as_slice() {
            [] => Ok(None),
            [name] => {
                let file = place.join(name);
                if !self.folder.path.join(&file).is_file() {
                    return Err(self.refused(format!(
                        "has no file {}, which holds the weights of {}; copy it there",
                        file.display(),
                        graph_file.display()
                    )));
                }
                self.note("files.model_data", &file.display(), "the graph names it");
                Ok(Some(file))
            }
            several => Err(self.refused(format!(
                "has the weights of {} in {} files; a manifest names one: `onnx.save_model(onnx.load(\"{0}\"), \
                 \"one.onnx\", save_as_external_data=True, all_tensors_to_one_file=True, location=\"one.onnx.data\")` \
                 in Python writes them into one",
                graph_file.display(),
                several.len()
            ))),
        }
    }

    fn header(&mut self) -> String {
        let path = self.folder.path.canonicalize().unwrap_or_else(|_| self.folder.path.clone());
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let kind = self.folder.config.pointer("/architectures/0").and_then(Value::as_str);
        let source = self.folder.config.get("_name_or_path").and_then(Value::as_str);
        let about = match (kind, source.filter(|source| !source.is_empty())) {
            (Some(kind), Some(source)) => format!("{kind}, {source}"),
            (Some(kind), None) => kind.to_owned(),
            (None, _) => String::new(),
        };
        let license = self.folder.license().unwrap_or_default();
        self.note("name", &name, "the folder's name");
        format!(
            "# Written by `guerdon rm init`.\nname = {}\nabout = {}\nlicense = {}\n",
            quoted(&name),
            quoted(&about),
            quoted(&license)
        )
    }

    fn files(
        &mut self,
        graph: &Path,
        data: Option<&Path>,
        tokenizer: &Path,
        template: Option<&(String, String)>,
    ) -> Result<String, Error> {
        let mut text = "[files]\n".to_owned();
        let mut add = |key: &str, file: &Path, hash: &Sha256Hex| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{key} = {}", quoted(&file.display()));
            let _ = writeln!(text, "{key}_sha256 = {}", quoted(hash.as_str()));
        };
        let hash = |file: &Path| sha256(&self.folder.path.join(file));
        add("model", graph, &hash(graph)?);
        if let Some(data) = data {
            add("model_data", data, &hash(data)?);
        }
        add("tokenizer", tokenizer, &hash(tokenizer)?);
        if let Some((template, _)) = template {
            let file = self
                .folder
                .relative("chat_template.jinja")
                .unwrap_or_else(|| PathBuf::from("chat_template.jinja"));
            add("chat_template", &file, &Sha256Hex::of(template));
        }
        self.note("files.tokenizer", &tokenizer.display(), "found");
        Ok(text)
    }

    fn input(
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
        let limits = [
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

    fn output(&mut self, options: &DraftOptions) -> Result<String, Error> {
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
        let mut text = format!("[output]\nname = {}\n", quoted(&output.name));
        let name = output.name.clone();
        let index = self.label(output, options)?;
        self.note("output.name", &name, reason);
        if let Some(index) = index {
            let _ = writeln!(text, "index = {index}");
        }
        Ok(text)
    }

    /// The label that is the score. One of several labels cannot be known.
    fn label(
        &mut self,
        output: &GraphPort,
        options: &DraftOptions,
    ) -> Result<Option<usize>, Error> {
        let named = self.folder.setting("id2label").and_then(Value::as_object);
        let in_graph = match output.shape.as_slice() {
            [_, Some(labels)] => Some(*labels),
            [_] => Some(1),
            _ => None,
        };
        let count = in_graph
            .or_else(|| named.map(serde_json::Map::len))
            .or_else(|| self.folder.number("num_labels"))
            .unwrap_or(1);
        let name = |label: usize| {
            let text = named.and_then(|named| named.get(&label.to_string())?.as_str());
            text.map_or_else(|| format!("LABEL_{label}"), |text| text.chars().take(40).collect())
        };
        let listed = || {
            let names: Vec<String> =
                (0..count.min(20)).map(|label| format!("{label} = {}", name(label))).collect();
            names.join(", ")
        };
        match options.label {
            Some(label) if label >= count => {
                Err(self.refused(format!("has the labels {}; `--label {label}` is none of them", listed())))
            }
            Some(label) if count > 1 => {
                self.note("output.index", &label, format!("as given: {}", name(label)));
                Ok(Some(label))
            }
            None if count > 1 => Err(self.refused(format!(
                "has a model of {count} labels ({}), and no file says which one is the score; choose it \
                 with `--label`",
                listed()
            ))),
            _ => Ok(None),
        }
    }
}

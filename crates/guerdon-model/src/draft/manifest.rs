//! The draft of a manifest: each setting with the file or the rule that it comes from.
//!
//! A setting that the folder's files do not state is left out or named as a guess, never written in
//! silence. A label that could be any of several is asked for.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;
use tokenizers::Tokenizer;

use crate::draft::drafting::{DraftNote, DraftOptions, Drafting, quoted};
use crate::draft::folder::ModelFolder;
use crate::draft::graph::GraphSummary;
use crate::load::files::{Sha256Hex, read_text, sha256};
use crate::load::model_files::ModelFiles;
use crate::{Error, Manifest};

/// The largest number of files with weights. Some exporters write one for each matrix.
const MAX_DATA_FILES: usize = 4_096;

/// Inputs of padded graphs that guerdon fills.
const PADDED_INPUTS: [&str; 5] =
    ["input_ids", "attention_mask", "token_type_ids", "position_ids", "reply_mask"];

/// Inputs that only packed graphs have.
const PACKED_INPUTS: [&str; 3] = ["gather_idx", "long_query_idx", "block_table"];

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
        if graph.scales_by_batch {
            drafting.note(
                "files.model",
                "8 bits, with one scale for a whole batch",
                "a score would depend on the other texts of its batch, so guerdon runs it one text at \
                 a time; `--graph` chooses another",
            );
        }
        drafting.check_inputs(&graph_file)?;
        let tokenizer_file = drafting.tokenizer_file()?;
        let tokenizer = drafting.tokenizer(&tokenizer_file)?;
        let data = drafting.data_files(&graph_file)?;
        let template = match drafting.is_pair(options) {
            true => None,
            false => folder.chat_template()?,
        };
        let parts = [
            drafting.header(),
            drafting.files(&graph_file, &data, &tokenizer_file, template.as_ref())?,
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

impl Drafting<'_> {
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
    pub(super) fn is_pair(&self, options: &DraftOptions) -> bool {
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

    /// The files of weights beside the graph, relative to the model folder.
    fn data_files(&mut self, graph_file: &Path) -> Result<Vec<PathBuf>, Error> {
        let place = graph_file.parent().unwrap_or(Path::new(""));
        let named = &self.graph.data_files;
        if named.len() > MAX_DATA_FILES {
            return Err(self.refused(format!(
                "has the weights of {} in {} files, more than {MAX_DATA_FILES}; write them into one \
                 with `onnx.save_model(..., save_as_external_data=True, all_tensors_to_one_file=True)`",
                graph_file.display(),
                named.len()
            )));
        }
        let inside = |name: &Path| {
            name.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        };
        if let Some(name) = named.iter().find(|name| !inside(name)) {
            return Err(self.refused(format!(
                "has a graph {} with weights in {}, outside its own folder, where ONNX Runtime reads \
                 no weights; export the model again",
                graph_file.display(),
                name.display()
            )));
        }
        let files: Vec<PathBuf> = named.iter().map(|name| place.join(name)).collect();
        let missing: Vec<String> = files
            .iter()
            .filter(|file| !self.folder.path.join(file).is_file())
            .map(|file| file.display().to_string())
            .collect();
        if let Some(first) = missing.first() {
            let more = match missing.len() {
                1 => String::new(),
                several => format!(" and {} more files", several - 1),
            };
            return Err(self.refused(format!(
                "has no file {first}{more}, which holds the weights of {}; copy it there",
                graph_file.display()
            )));
        }
        match files.as_slice() {
            [] => {}
            [only] => self.note("files.model_data", &only.display(), "the graph names it"),
            [first, ..] => {
                let value = format!("{} and {} more", first.display(), files.len() - 1);
                self.note("files.model_data", &value, "the graph names them");
            }
        }
        Ok(files)
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
        data: &[PathBuf],
        tokenizer: &Path,
        template: Option<&(String, String)>,
    ) -> Result<String, Error> {
        let hash = |file: &Path| sha256(&self.folder.path.join(file));
        let chat_template = template.map(|_| {
            let found = self.folder.relative("chat_template.jinja");
            found.unwrap_or_else(|| PathBuf::from("chat_template.jinja"))
        });
        let files = ModelFiles {
            model: graph.to_owned(),
            model_sha256: hash(graph)?,
            model_data: data.to_owned(),
            model_data_sha256: data.iter().map(|file| hash(file)).collect::<Result<_, _>>()?,
            tokenizer: tokenizer.to_owned(),
            tokenizer_sha256: hash(tokenizer)?,
            chat_template,
            chat_template_sha256: template.map(|(template, _)| Sha256Hex::of(template)),
        };
        self.note("files.tokenizer", &tokenizer.display(), "found");
        let text = toml::to_string(&files).map_err(|error| self.refused(error.to_string()))?;
        Ok(format!("[files]\n{text}"))
    }
}

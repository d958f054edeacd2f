//! The page of configuration keys. Names, types and descriptions come from the structs, defaults
//! from their values, and examples from the shipped `guerdon.toml`.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use guerdon_server::config::Config;
use guerdon_types::AbstainPolicy;
use serde_json::Value;

use super::code_index::{CodeIndex, EnumDoc, FieldDoc, VariantDoc};
use super::markdown::{Choice, GENERATED, choices, one_line, paragraph};
use super::shipped_config::ShippedConfig;
use super::units::unit;

/// The crates whose structs are read from a configuration.
const PLACES: &[&str] = &[
    "crates/guerdon-server/src/config/",
    "crates/guerdon-types/src/",
    "crates/guerdon-model/src/load/config.rs",
    "crates/guerdon-judge/src/",
    "crates/guerdon-remote/src/config/",
    "crates/guerdon-ledger/src/config.rs",
    "crates/guerdon-cluster/src/config.rs",
];

/// The table of a source. Its keys are those of all kinds and those of its own kind.
const SOURCES: &str = "profiles.NAME.sources.NAME";

/// A configuration with one entry in each list and table, from which defaults are taken.
const SMALLEST: &str = r#"
[[auth.tokens]]
name = "trainer"
scopes = ["score"]
[models.NAME]
path = "model"
[judges.NAME]
url = "http://127.0.0.1:1/v1"
model = "judge"
[[judges.NAME.replicas]]
url = "http://127.0.0.1:2/v1"
[judges.NAME.cassette]
path = "run.cassette"
mode = "record"
[judges.NAME.audit]
path = "judge.jsonl"
[profiles.NAME]
[profiles.NAME.sources.model]
kind = "model"
model = "NAME"
[profiles.NAME.sources.judge]
kind = "judge"
judge = "NAME"
prompts = []
[profiles.NAME.sources.rules]
kind = "rules"
rules = []
[profiles.NAME.sources.http]
kind = "http"
[profiles.NAME.sources.remote_rm]
kind = "remote_rm"
protocol = "vllm_classify"
[profiles.NAME.sources.ensemble]
kind = "ensemble"
of = []
"#;

const INTRODUCTION: &str = "\
A configuration is a TOML file, by default `guerdon.toml` in the current folder. Relative paths
start at the file's folder. An environment variable overrides a key: `GUERDON__SERVER__LISTEN` sets
`server.listen`. A flag overrides both. An unknown key is an error that suggests the nearest known
key. `guerdon config check` loads everything that the configuration names, and `guerdon config show`
prints the configuration in force.

`NAME` stands for a name of your choice. A duration is a text with a unit, such as `\"250ms\"`,
`\"30s\"`, `\"5m\"` or `\"1day\"`.
";

/// The Markdown text of the page.
///
/// # Errors
/// A key has no description, no unit or no example.
pub(super) fn page(index: &CodeIndex, shipped: &ShippedConfig) -> anyhow::Result<String> {
    let smallest: Config = toml::from_str(SMALLEST).context("the smallest configuration")?;
    let mut page = KeyPage {
        index,
        shipped,
        defaults: serde_json::to_value(smallest)?,
        kind: "rules".to_owned(),
        text: format!("{GENERATED}# Configuration keys\n\n{INTRODUCTION}\n"),
        faults: Vec::new(),
    };
    let fields = &index.structure("Config", PLACES)?.fields;
    page.table("", fields)?;
    ensure!(
        page.faults.is_empty(),
        "the configuration reference lacks:\n{}",
        page.faults.join("\n")
    );
    Ok(page.text)
}

/// A table of keys that is written after the keys of the table around it.
struct KeyTable {
    header: String,
    about: String,
    /// The key that selects the others.
    selector: Option<FieldDoc>,
    fields: Vec<FieldDoc>,
}

struct KeyPage<'a> {
    index: &'a CodeIndex,
    shipped: &'a ShippedConfig,
    defaults: Value,
    /// The kind of source whose keys are written.
    kind: String,
    text: String,
    /// The faults of keys, such as a missing description.
    faults: Vec<String>,
}

impl KeyPage<'_> {
    /// Writes the keys of the table at `path`, then its sub-tables.
    fn table(&mut self, path: &str, fields: &[FieldDoc]) -> anyhow::Result<()> {
        let (mut tables, mut sources) = (Vec::new(), None);
        for field in fields {
            let key =
                if path.is_empty() { field.key.clone() } else { format!("{path}.{}", field.key) };
            let (inner, repeated) = stripped(&field.kind);
            if inner == "SourceConfig" {
                sources = Some(field.about.clone());
            } else if inner == "Self" {
                self.key(&key, field, "table with the same keys", &[])?;
            } else if let Ok(structure) = self.index.structure(inner, PLACES) {
                let header = match repeated {
                    Multiplicity::Once => key,
                    Multiplicity::List => format!("{key}[]"),
                    Multiplicity::Table => format!("{key}.NAME"),
                };
                let fields = structure.fields.clone();
                tables.push(KeyTable {
                    header,
                    about: field.about.clone(),
                    selector: None,
                    fields,
                });
            } else if let Ok(variants) = self.index.enumeration(inner, PLACES)
                && let Some(tag) = &variants.tag
            {
                let selector = FieldDoc {
                    key: tag.clone(),
                    about: variants.about.clone(),
                    kind: inner.to_owned(),
                    is_optional: true,
                };
                let fields = variant_fields(variants);
                let (header, about) = (key, field.about.clone());
                tables.push(KeyTable { header, about, selector: Some(selector), fields });
            } else {
                self.leaf(&key, field, inner)?;
            }
        }
        for KeyTable { header, about, selector, fields } in tables {
            let shown = match header.strip_suffix("[]") {
                Some(list) => format!("[[{list}]]"),
                None => format!("[{header}]"),
            };
            write!(self.text, "## `{shown}`\n\n{}", paragraph(&about))?;
            if let Some(field) = selector {
                self.leaf(&format!("{header}.{}", field.key), &field, &field.kind)?;
            }
            self.table(&header, &fields)?;
        }
        if let Some(about) = sources {
            self.sources(&about)?;
        }
        Ok(())
    }

    /// Writes the keys of sources: those of all kinds, then those of each kind.
    fn sources(&mut self, about: &str) -> anyhow::Result<()> {
        let (settings, kinds) = (
            self.index.structure("SourceSettingsConfig", PLACES)?.fields.clone(),
            self.index.enumeration("SourceKeys", PLACES)?.clone(),
        );
        write!(self.text, "## `[{SOURCES}]`\n\n{}", paragraph(about))?;
        let selector = FieldDoc {
            key: "kind".to_owned(),
            about: "The kind of the source.".to_owned(),
            kind: "SourceKeys".to_owned(),
            is_optional: false,
        };
        self.leaf(&format!("{SOURCES}.kind"), &selector, "SourceKeys")?;
        self.table(SOURCES, &settings)?;
        for VariantDoc { name, about, inner, .. } in &kinds.variants {
            let inner = inner.as_deref().map(|inner| stripped(inner).0).unwrap_or_default();
            let fields = self.index.structure(inner, PLACES)?.fields.clone();
            write!(self.text, "## `[{SOURCES}]` with `kind = \"{name}\"`\n\n{}", paragraph(about))?;
            self.kind.clone_from(name);
            self.table(SOURCES, &fields)?;
        }
        Ok(())
    }

    /// Writes a key whose value is not a table of keys.
    fn leaf(&mut self, key: &str, field: &FieldDoc, inner: &str) -> anyhow::Result<()> {
        if inner == "NormaliserConfig" {
            let written = "`\"raw\"`, `\"centred\"`, `\"standardised\"`, or a table";
            return self.key(key, field, written, &[]);
        }
        if inner == "OnAbstain" {
            self.key(
                key,
                field,
                "`\"skip\"`, `\"null\"`, or a table with the two keys below",
                &[],
            )?;
            let causes = self.index.structure("AbstainPolicy", PLACES)?.fields.clone();
            return self.table(key, &causes);
        }
        if let Ok(variants) = self.index.enumeration(inner, PLACES) {
            let (list, words) = (field.kind.contains("Vec<"), words(variants));
            return self.key(key, field, if list { "list of words" } else { "word" }, &words);
        }
        let written = written_type(&field.kind)
            .with_context(|| format!("{key}: the type {} has no name for readers", field.kind))?;
        self.key(key, field, &written, &[])
    }

    fn key(
        &mut self,
        key: &str,
        field: &FieldDoc,
        written: &str,
        words: &[Choice],
    ) -> anyhow::Result<()> {
        let (about, stated) = split_default(&field.about);
        if about.is_empty() && stated.is_none() {
            self.faults.push(format!("{key}: a description (the doc comment of its field)"));
        }
        write!(self.text, "### `{key}`\n\n{}", paragraph(&about))?;
        write!(self.text, "- Type: {written}")?;
        if written.contains("number") {
            match unit(key) {
                Some(unit) => write!(self.text, "; unit: {unit}")?,
                None => self.faults.push(format!("{key}: a unit (in units.rs)")),
            }
        }
        match self.default(key) {
            Some(value) if field.is_optional => write!(self.text, "\n- Default: `{value}`")?,
            _ if !field.is_optional => write!(self.text, "\n- Required")?,
            _ => write!(self.text, "\n- Default: {}", stated.unwrap_or_else(|| "none".to_owned()))?,
        }
        match self.shipped.value(key) {
            Some(value) => {
                let name = key.rsplit('.').next().unwrap_or(key);
                write!(self.text, "\n- Example: `{name} = {value}`\n\n")?;
            }
            None => self.faults.push(format!("{key}: an example (in guerdon.toml)")),
        }
        if !words.is_empty() {
            write!(self.text, "Values:\n\n{}", choices(words))?;
        }
        Ok(())
    }

    /// The default of a key as TOML; `None` if it has none.
    fn default(&self, key: &str) -> Option<String> {
        if let Some((_, cause)) = key.split_once(".on_abstain.") {
            // The default of the table; that of the key is a word.
            let actions = serde_json::to_value(AbstainPolicy::default()).ok()?;
            return toml_text(actions.get(cause)?);
        }
        let key = match key.strip_prefix(SOURCES) {
            Some(own) => format!("profiles.NAME.sources.{}{own}", self.kind),
            None => key.to_owned(),
        };
        let found = key.split('.').try_fold(&self.defaults, |value, segment| {
            match segment.strip_suffix("[]") {
                Some(list) => value.get(list)?.get(0),
                None => value.get(segment),
            }
        })?;
        toml_text(found)
    }
}

/// A value as TOML; `None` for null.
fn toml_text(value: &Value) -> Option<String> {
    let value = toml::Value::try_from(value).ok()?;
    Some(value.to_string())
}

/// The fields of all variants.
fn variant_fields(variants: &EnumDoc) -> Vec<FieldDoc> {
    let mut fields: Vec<FieldDoc> = Vec::new();
    for field in variants.variants.iter().flat_map(|variant| &variant.fields) {
        if fields.iter().all(|known| known.key != field.key) {
            fields.push(field.clone());
        }
    }
    fields
}

fn words(variants: &EnumDoc) -> Vec<Choice> {
    let word =
        |variant: &VariantDoc| Choice { name: variant.name.clone(), about: variant.about.clone() };
    variants.variants.iter().map(word).collect()
}

/// The number of values of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Multiplicity {
    Once,
    List,
    Table,
}

/// The type inside `Option`, `Box`, `Vec` and maps with names as keys.
pub(super) fn stripped(kind: &str) -> (&str, Multiplicity) {
    let inside = |wrapper: &str| kind.strip_prefix(wrapper)?.strip_suffix('>');
    if let Some(inner) = inside("Option<").or_else(|| inside("Box<")).or_else(|| inside("Spanned<"))
    {
        return stripped(inner);
    }
    if let Some(inner) = inside("Vec<") {
        return (stripped(inner).0, Multiplicity::List);
    }
    if let Some(inner) = inside("BTreeMap<String,") {
        return (stripped(inner).0, Multiplicity::Table);
    }
    (kind, Multiplicity::Once)
}

/// The name of a type for readers.
pub(super) fn written_type(kind: &str) -> Option<String> {
    let (inner, repeated) = stripped(kind);
    let name = match inner {
        "String" => "text",
        "PathBuf" => "path",
        "bool" => "`true` or `false`",
        "Duration" => "duration",
        "SocketAddr" => "address and port",
        "HostName" => "host name",
        "DatabaseUrl" => "URL",
        "WebOrigin" => "origin",
        "Devices" => "device",
        "Share" => "number from 0 to 1",
        "Finite" | "f64" | "f32" => "number",
        "TokenRef" => "text or number",
        "[usize;2]" => "two whole numbers",
        "[f64;2]" => "two numbers",
        "Sha256Hex" => "SHA-256 in hexadecimal",
        "NonZeroU32" | "NonZeroU64" | "NonZeroUsize" => "whole number from 1",
        "u32" | "u64" | "usize" => "whole number",
        "Map<String,Value>" | "Context" => "table",
        _ => return None,
    };
    Some(match repeated {
        Multiplicity::Once => name.to_owned(),
        Multiplicity::List => format!("list of {name}s"),
        Multiplicity::Table => format!("table of {name}s"),
    })
}

/// Separates `Default: ...` from a description.
fn split_default(about: &str) -> (String, Option<String>) {
    let paragraphs = about.split("\n\n").map(one_line);
    let flat = paragraphs.collect::<Vec<_>>().join("\n\n");
    let Some(start) = flat.find("Default: ") else { return (about.to_owned(), None) };
    let after = &flat[start + "Default: ".len()..];
    let end = after
        .match_indices(". ")
        .map(|(at, _)| at)
        .find(|at| after[at + 2..].starts_with(|c: char| c.is_uppercase() || c == '"' || c == '`'));
    let (stated, rest) = match end {
        Some(end) => (&after[..end], &after[end + 2..]),
        None => (after.strip_suffix('.').unwrap_or(after), ""),
    };
    let text = format!("{}{rest}", &flat[..start]);
    (text.trim().to_owned(), Some(stated.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stated_defaults_are_separated_from_descriptions() {
        let (about, stated) = split_default("A cap. Default: 2 ms. A slow one waits.\nLonger.");
        assert_eq!(about, "A cap. A slow one waits. Longer.");
        assert_eq!(stated.as_deref(), Some("2 ms"));
        let (about, stated) =
            split_default("A cap. Default: `a.toml` in a folder, then\nthe other.");
        assert_eq!(about, "A cap.");
        assert_eq!(stated.as_deref(), Some("`a.toml` in a folder, then the other"));
        assert_eq!(split_default("A\n\nB").1, None);
    }

    #[test]
    fn wrappers_are_removed_from_types() {
        assert_eq!(stripped("Option<Box<Self>>"), ("Self", Multiplicity::Once));
        assert_eq!(stripped("BTreeMap<String,ModelConfig>"), ("ModelConfig", Multiplicity::Table));
        assert_eq!(written_type("Vec<PathBuf>").as_deref(), Some("list of paths"));
        assert_eq!(written_type("Other"), None);
    }
}

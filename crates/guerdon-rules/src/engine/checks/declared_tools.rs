//! The tools that a rollout declares, in OpenAI's and Anthropic's forms.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::json_schema::CompiledSchema;

/// The greatest size of all schemas of a rollout, in bytes of JSON. The caller sends them, and they
/// are compiled for each request.
const MAX_BYTES: usize = 256 * 1024;

/// The greatest number of tools.
const MAX_TOOLS: usize = 512;

/// Declared tools by name, each with the schema of its arguments, if it has one.
#[derive(Debug)]
pub(crate) struct DeclaredTools(BTreeMap<String, Result<Option<CompiledSchema>, String>>);

impl DeclaredTools {
    /// The tools of a rollout; `None` if it declares none.
    pub(crate) fn new(tools: &[Json]) -> Option<Self> {
        let mut left = MAX_BYTES;
        let declared = tools.iter().take(MAX_TOOLS).filter_map(|tool| {
            let function = tool.get("function").unwrap_or(tool);
            let name = function.get("name")?.as_str()?.to_owned();
            let schema = function.get("parameters").or_else(|| function.get("input_schema"));
            let compiled = schema.map(|schema| -> Result<CompiledSchema, String> {
                left = left
                    .checked_sub(schema.to_string().len())
                    .ok_or_else(|| "the schemas of the tools are too large".to_owned())?;
                CompiledSchema::new(schema)
                    .map_err(|why| format!("the schema of tool `{name}` is wrong: {why}"))
            });
            Some((name, compiled.transpose()))
        });
        let declared: BTreeMap<_, _> = declared.collect();
        (!declared.is_empty()).then_some(Self(declared))
    }

    /// The way in which a call breaks the declarations, if it does. An error is the reason for which
    /// it cannot be decided.
    pub(crate) fn check(
        &self,
        name: &str,
        arguments: Result<Json, serde_json::Error>,
    ) -> Result<Option<String>, String> {
        let Some(schema) = self.0.get(name) else {
            return Ok(Some("no tool of this name is declared".to_owned()));
        };
        let arguments = match arguments {
            Ok(arguments) => arguments,
            Err(error) => return Ok(Some(format!("the arguments are not JSON: {error}"))),
        };
        let schema = schema.as_ref().map_err(Clone::clone)?;
        Ok(schema.as_ref().and_then(|schema| schema.broken(&arguments)))
    }
}

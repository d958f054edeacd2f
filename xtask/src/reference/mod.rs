//! The generated pages of `docs/reference/`. Their texts come from the code: doc comments, help
//! texts, schemas and the values of defaults.
//!
//! | file | page or content |
//! |---|---|
//! | `configuration` | `configuration.md`: keys of `guerdon.toml` |
//! | `rubric` | `rubric-keys.md`: keys of judge prompts |
//! | `manifest` | `model-keys.md`: keys of a model's manifest |
//! | `rule_schema` | `rule-keys.md`: keys of rule packs |
//! | `command_line` | `command-line.md`: commands and flags |
//! | `http` | `http.md`: routes and types of the HTTP interface |
//! | `metrics` | `metrics.md`: metrics and labels |
//! | `vocabularies` | `problems.md`, `abstentions.md`, `diagnostics.md`: codes and words |
//! | `python` | `python.md`: the Python package |
//! | `code_index` | structs and enums of the sources, with their documentation |
//! | `keys` | tables of the keys of a TOML file |
//! | `shipped_config`, `units` | examples and units of configuration keys |
//! | `markdown` | pieces of pages |

mod code_index;
mod command_line;
mod configuration;
mod http;
mod keys;
mod manifest;
mod markdown;
mod metrics;
mod python;
mod rubric;
mod rule_schema;
mod shipped_config;
mod units;
mod vocabularies;

use self::code_index::CodeIndex;
use self::shipped_config::ShippedConfig;
use crate::packages::workspace_root;

/// A generated page.
#[derive(Debug)]
pub(crate) struct ReferencePage {
    pub(crate) path: &'static str,
    pub(crate) text: String,
}

/// Every page.
///
/// # Errors
/// A source cannot be read, or a key or a word has no documentation.
pub(crate) fn pages(openapi: &str, rule_schema: &str) -> anyhow::Result<Vec<ReferencePage>> {
    let files = crate::source::load(workspace_root())?;
    let index = CodeIndex::new(&files);
    #[expect(clippy::disallowed_methods, reason = "a generator reads the shipped configuration")]
    let shipped = std::fs::read_to_string(workspace_root().join("guerdon.toml"))?;
    let shipped = ShippedConfig::parse(&shipped)?;
    let page = |path, text| ReferencePage { path, text };
    Ok(vec![
        page("docs/reference/configuration.md", configuration::page(&index, &shipped)?),
        page("docs/reference/rubric-keys.md", rubric::page(&index)?),
        page("docs/reference/model-keys.md", manifest::page(&index)?),
        page("docs/reference/rule-keys.md", rule_schema::page(rule_schema)?),
        page("docs/reference/command-line.md", command_line::page(guerdon_cli::command())?),
        page("docs/reference/http.md", http::page(openapi)?),
        page("docs/reference/metrics.md", metrics::page(&files)?),
        page("docs/reference/problems.md", vocabularies::problems(&index)?),
        page("docs/reference/abstentions.md", vocabularies::abstentions(&index)?),
        page("docs/reference/diagnostics.md", vocabularies::diagnostics(&index, &files)?),
        page("docs/reference/python.md", python::page(workspace_root())?),
    ])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use guerdon_server::config::Config;

    use super::*;

    fn configuration() -> (ShippedConfig, String) {
        #[expect(clippy::disallowed_methods, reason = "a test reads the shipped configuration")]
        let shipped = std::fs::read_to_string(workspace_root().join("guerdon.toml")).unwrap();
        let shipped = ShippedConfig::parse(&shipped).unwrap();
        let index = CodeIndex::new(&crate::source::load(workspace_root()).unwrap());
        let page = configuration::page(&index, &shipped).unwrap();
        (shipped, page)
    }

    /// The keys that have a heading of their own.
    fn headings(page: &str) -> BTreeSet<String> {
        let lines = page.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn page_has_exactly_the_keys_of_the_shipped_configuration() {
        let (shipped, page) = configuration();
        let listed = headings(&page);
        // The tables of actions are keys, too.
        let whole =
            ["fusion", "sources.NAME"].map(|table| format!("profiles.NAME.{table}.on_abstain"));
        let named: BTreeSet<String> = shipped.paths().into_iter().chain(whole).collect();
        assert!(listed.len() > 100, "{listed:?}");
        assert_eq!(listed, named);
    }

    #[test]
    fn page_has_every_key_of_the_default_configuration() {
        let listed = headings(&configuration().1);
        let serde_json::Value::Object(sections) = serde_json::to_value(Config::default()).unwrap()
        else {
            panic!("a configuration is a table");
        };
        for (section, keys) in sections {
            for key in keys.as_object().into_iter().flat_map(serde_json::Map::keys) {
                let path = format!("{section}.{key}");
                let is_table = |known: &String| known.starts_with(&format!("{path}["));
                assert!(listed.contains(&path) || listed.iter().any(is_table), "{path}");
            }
        }
    }

    #[test]
    fn every_unit_belongs_to_a_key() {
        let listed = headings(&configuration().1);
        assert_eq!(units::unused(&listed), [""; 0]);
    }

    #[test]
    fn metrics_page_has_every_metric_that_a_server_writes() {
        let files = crate::source::load(workspace_root()).unwrap();
        let page = metrics::page(&files).unwrap();
        let written = guerdon_server::Metrics::new().render().unwrap();
        let names: Vec<&str> = written
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .collect();
        assert!(names.len() > 5, "{written}");
        for name in names {
            assert!(page.contains(&format!("`{name}")), "{name} is not in the page");
        }
    }

    #[test]
    fn command_line_page_has_every_command_and_flag() {
        fn check(command: &clap::Command, path: &str, page: &str) {
            let section = page.split_once(&format!("## `{path}`\n"));
            let section = section.unwrap_or_else(|| panic!("{path} has no section")).1;
            let section = section.split("\n## ").next().unwrap_or_default();
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                if let Some(flag) =
                    argument.get_long().filter(|flag| !["help", "version"].contains(flag))
                {
                    assert!(section.contains(&format!("`--{flag}")), "{path} --{flag}");
                }
            }
            for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
                check(inner, &format!("{path} {}", inner.get_name()), page);
            }
        }
        check(
            &guerdon_cli::command(),
            "guerdon",
            &command_line::page(guerdon_cli::command()).unwrap(),
        );
    }
}

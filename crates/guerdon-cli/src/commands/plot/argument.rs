//! A value that is given as an argument of `guerdon plot`.

use anyhow::Context as _;
use serde::de::DeserializeOwned;

/// A value that is written as JSON, or as in a configuration.
pub(super) fn written<T: DeserializeOwned>(text: &str, what: &str) -> anyhow::Result<T> {
    if let Ok(value) = serde_json::from_str(text) {
        return serde_json::from_value(value).with_context(|| format!("the {what}"));
    }
    let mut table: toml::Table = toml::from_str(&format!("value = {text}")).with_context(|| {
        format!("the {what} is neither JSON nor a value of a configuration; see --help")
    })?;
    let value = table.remove("value").context("the value")?;
    value.try_into().with_context(|| format!("the {what}"))
}

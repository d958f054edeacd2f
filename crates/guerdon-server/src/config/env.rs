//! The only file that reads environment variables. Tests replace [`ProcessEnvironment`] by a map
//! instead of setting variables.

use std::fmt;

/// A source of environment variables.
pub trait Environment: fmt::Debug + Send + Sync {
    /// One variable; `None` if it is unset, empty, or not Unicode.
    fn var(&self, name: &str) -> Option<String>;
    /// Every variable whose name starts with `prefix`, sorted by name.
    fn with_prefix(&self, prefix: &str) -> Vec<(String, String)>;
}

/// The environment of the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn var(&self, name: &str) -> Option<String> {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one file that reads the environment"
        )]
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn with_prefix(&self, prefix: &str) -> Vec<(String, String)> {
        let text = |os: std::ffi::OsString| os.into_string().ok();
        let mut found: Vec<_> = std::env::vars_os()
            .filter_map(|(name, value)| Some((text(name)?, text(value)?)))
            .filter(|(name, _)| name.starts_with(prefix))
            .collect();
        found.sort();
        found
    }
}

/// Fixed variables, for tests and for embedding programs.
impl Environment for std::collections::BTreeMap<String, String> {
    fn var(&self, name: &str) -> Option<String> {
        self.get(name).filter(|value| !value.is_empty()).cloned()
    }

    fn with_prefix(&self, prefix: &str) -> Vec<(String, String)> {
        self.iter()
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect()
    }
}

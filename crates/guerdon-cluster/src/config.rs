//! The section `[cluster]`: the store that replicas share, and their number.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The most characters of a namespace.
const LONGEST_NAMESPACE: usize = 64;
/// The shortest time limit of a command.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);
/// The shortest lease. A lease is renewed three times in its length.
const SHORTEST_LEASE: Duration = Duration::from_millis(500);

/// The store that replicas share. Without `url` a server shares nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterConfig {
    /// The URL of Redis or Valkey: `redis://`, `rediss://` for TLS, or `unix://` for a socket, with
    /// a user name and a database if needed. Default: none, and the server shares nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Environment variable with the password of the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    /// File with the password of the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// The name of the deployment. Servers with the same store and namespace share everything.
    pub namespace: String,
    /// The name of this server in reports. Default: a random one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica: Option<String>,
    /// The largest number of servers that run at once. Each keeps this part of `floor` for itself.
    pub replicas_max: NonZeroU32,
    /// The share of each quota that is divided evenly between `replicas_max` servers, in [0, 1]. A
    /// server that cannot reach the store goes on with its part; the rest of a quota is for the
    /// servers that reach it.
    pub floor: f64,
    /// The time limit of a command. Beyond it the store counts as unavailable.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// The time after which the call of a server that died is made by another one.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            url: None,
            password_env: None,
            password_file: None,
            namespace: "default".to_owned(),
            replica: None,
            replicas_max: NonZeroU32::MIN.saturating_add(3),
            floor: 0.2,
            timeout: Duration::from_secs(1),
            lease: Duration::from_secs(10),
        }
    }
}

/// An error of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// A value cannot be used.
    #[error("cluster.{key} {detail}")]
    Value {
        /// The key.
        key: &'static str,
        /// The fault, and its remedy.
        detail: String,
    },
}

impl ClusterConfig {
    /// Checks the values that need no connection.
    ///
    /// # Errors
    /// [`ClusterError`] with the key that cannot be used.
    pub fn check(&self) -> Result<(), ClusterError> {
        let wrong = |key, detail: &str| Err(ClusterError::Value { key, detail: detail.to_owned() });
        if let Some(url) = &self.url
            && let Err(error) = redis::Client::open(url.as_str())
        {
            // The URL is not quoted, because it may hold a password.
            let detail = format!(
                "is no URL of Redis ({}); write something like \"redis://127.0.0.1:6379\"",
                error.category()
            );
            return Err(ClusterError::Value { key: "url", detail });
        }
        let is_name = |text: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !text.is_empty() && text.len() <= LONGEST_NAMESPACE && text.bytes().all(allowed)
        };
        let form = "must have 1 to 64 letters, digits, `.`, `_` or `-`";
        if !is_name(&self.namespace) {
            return wrong("namespace", form);
        }
        if self.replica.as_deref().is_some_and(|name| !is_name(name)) {
            return wrong("replica", form);
        }
        if !(0.0..=1.0).contains(&self.floor) {
            return wrong("floor", "must be a share between 0 and 1, such as 0.2");
        }
        if self.timeout < SHORTEST_TIMEOUT {
            return wrong("timeout", "is too short; write at least \"10ms\"");
        }
        if self.lease < SHORTEST_LEASE {
            return wrong("lease", "is too short; write at least \"500ms\"");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        #[derive(Deserialize)]
        struct Wrapper {
            cluster: ClusterConfig,
        }
        let wrapper: Wrapper = toml::from_str(&format!("[cluster]\n{text}")).unwrap();
        wrapper.cluster.check().unwrap_err().to_string()
    }

    #[test]
    fn values_that_cannot_be_used_are_named_and_passwords_are_not_quoted() {
        assert!(refused("url = \"http://h\"").starts_with("cluster.url is no URL of Redis"));
        assert!(!refused("url = \"http://me:secret@h\"").contains("secret"));
        for namespace in ["", "a b", "{a}", &"a".repeat(65)] {
            assert!(refused(&format!("namespace = \"{namespace}\"")).contains("namespace"));
        }
        assert!(refused("floor = 1.5").contains("floor"));
        assert!(refused("timeout = \"1ms\"").contains("timeout"));
        assert!(refused("lease = \"1ms\"").contains("lease"));
        ClusterConfig::default().check().unwrap();
        let tls = ClusterConfig { url: Some("rediss://h:1/2".into()), ..ClusterConfig::default() };
        tls.check().unwrap();
    }
}

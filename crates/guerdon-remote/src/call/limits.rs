//! The limits of calls, taken from either kind's configuration, and their checks.

use std::time::Duration;

use crate::config::{HttpSourceConfig, RemoteRmConfig};
use crate::error::RemoteError;

/// The limits of the calls of one source.
#[derive(Debug, Clone)]
pub(crate) struct CallLimits {
    pub(crate) urls: Vec<String>,
    pub(crate) batch: usize,
    pub(crate) linger: Duration,
    pub(crate) attempt_timeout: Duration,
    pub(crate) retries: u32,
    pub(crate) backoff: Duration,
    pub(crate) max_concurrent: usize,
    pub(crate) max_queued: usize,
    pub(crate) max_request_bytes: usize,
    pub(crate) max_reply_bytes: usize,
    pub(crate) proxy: Option<String>,
}

macro_rules! limits_of {
    ($config:expr) => {{
        let config = $config;
        Self {
            urls: config.url.iter().chain(&config.urls).cloned().collect(),
            batch: config.batch,
            linger: config.linger,
            attempt_timeout: config.attempt_timeout,
            retries: config.retries,
            backoff: config.backoff,
            max_concurrent: config.max_concurrent,
            max_queued: config.max_queued,
            max_request_bytes: config.max_request_bytes,
            max_reply_bytes: config.max_reply_bytes,
            proxy: config.proxy.clone(),
        }
        .checked()
    }};
}

impl CallLimits {
    pub(crate) fn of_function(config: &HttpSourceConfig) -> Result<Self, RemoteError> {
        limits_of!(config)
    }

    pub(crate) fn of_reward_model(config: &RemoteRmConfig) -> Result<Self, RemoteError> {
        limits_of!(config)
    }

    fn checked(self) -> Result<Self, RemoteError> {
        if self.urls.is_empty() {
            return Err(RemoteError::NoUrl);
        }
        for (key, value) in [
            ("batch", self.batch),
            ("max_concurrent", self.max_concurrent),
            ("max_queued", self.max_queued),
            ("max_request_bytes", self.max_request_bytes),
            ("max_reply_bytes", self.max_reply_bytes),
        ] {
            if value == 0 {
                let detail = "is 0\n  help: set it to 1 or more, or leave it out".to_owned();
                return Err(RemoteError::Value { key, detail });
            }
        }
        if self.attempt_timeout.is_zero() {
            let detail = "is 0\n  help: set a duration such as \"30s\"".to_owned();
            return Err(RemoteError::Value { key: "attempt_timeout", detail });
        }
        Ok(self)
    }
}

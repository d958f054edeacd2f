//! The settings of a judge that shape its verdicts, for the digest of a configuration.

use serde_json::{Value, json};

use super::EndpointConfig;

impl EndpointConfig {
    /// The settings that decide what a judge is asked and how its answer is read. Two endpoints with
    /// equal identities are the same judge at two addresses. Addresses, keys, limits, prices and
    /// caches are left out.
    ///
    /// The struct is destructured by field, so that a new field does not compile until its author
    /// decides whether it shapes verdicts.
    pub(crate) fn identity(&self) -> Value {
        let Self {
            model,
            identity,
            extra_body,
            read_reasoning,
            response_format,
            seal,
            fallback,
            url: _,
            api_key_env: _,
            api_key_file: _,
            key_header: _,
            proxy: _,
            replicas: _,
            timeout: _,
            retries: _,
            backoff: _,
            hedge: _,
            requests_per_minute: _,
            tokens_per_minute: _,
            token_counting: _,
            quota_window: _,
            max_concurrent: _,
            max_queued: _,
            cache: _,
            cassette: _,
            prices: _,
            budget: _,
            audit: _,
            // The name of a limit that the prompt sets.
            token_limit: _,
        } = self;
        let mut settings = json!({
            "model": model,
            "extra_body": extra_body,
            "read_reasoning": read_reasoning,
            "response_format": response_format,
            "seal": seal,
            // Answers in place of this judge.
            "fallback": fallback.as_deref().map(Self::identity),
        });
        if let Some(identity) = identity {
            settings["identity"] = json!(identity);
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_and_limits_are_no_identity_and_the_model_is() {
        let judge = EndpointConfig::new("http://a/v1", "m");
        let mut elsewhere = EndpointConfig::new("http://b/v1", "m");
        elsewhere.retries = 9;
        elsewhere.api_key_env = Some("KEY".into());
        assert_eq!(judge.identity(), elsewhere.identity());
        let other = EndpointConfig::new("http://a/v1", "n");
        assert_ne!(judge.identity(), other.identity());
        let fallback =
            |config| EndpointConfig { fallback: Some(Box::new(config)), ..judge.clone() };
        assert_ne!(judge.identity(), fallback(judge.clone()).identity());
        assert_ne!(fallback(other).identity(), fallback(elsewhere).identity());
    }
}

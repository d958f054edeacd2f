//! The addresses and the limits of a judge by its configuration, which is checked first.

use std::sync::Arc;

use guerdon_queue::AdmissionLimits;

use crate::call::address::Address;
use crate::call::capabilities::Capabilities;
use crate::call::fault;
use crate::call::services::{KeyPlace, Services};
use crate::call::transport::{Http, HttpConfig, Transport, completions_url};
use crate::config::{EndpointConfig, TokenPrices};
use crate::error::Error;

/// Fields of the body that the question is made of, and where to set them instead.
const OWN_FIELDS: [(&str, &str); 10] = [
    ("model", "set `model`"),
    ("messages", "write a judge prompt"),
    ("response_format", "set `response_format`"),
    ("max_tokens", "set `max_tokens` in the judge prompt"),
    ("max_completion_tokens", "set `max_tokens` in the judge prompt"),
    ("temperature", "set `temperature` in the judge prompt"),
    ("n", "guerdon reads one answer"),
    ("stream", "guerdon does not stream answers"),
    ("tools", "judges have no tools"),
    ("stop", "the form of the answer ends it"),
];

/// Refuses a configuration with which no question could be asked.
pub(super) fn check(config: &EndpointConfig) -> Result<(), Error> {
    let value = |key, detail: &str| Err(Error::Value { key, detail: detail.to_owned() });
    if config.model.is_empty() {
        return value("model", "is empty; name the model that is to judge");
    }
    if config.max_concurrent == 0 {
        return value("max_concurrent", "is 0, so no question could be asked; write at least 1");
    }
    if config.timeout.is_zero() {
        return value(
            "timeout",
            "is 0, so every attempt would be late; write something like \"60s\"",
        );
    }
    if config.prices.prompt_per_million.get() < 0.0
        || config.prices.completion_per_million.get() < 0.0
        || config.prices.cached_per_million.is_some_and(|price| price.get() < 0.0)
    {
        return value("prices", "are negative");
    }
    if config.quota_window.is_zero() {
        return value("quota_window", "is 0; write something like \"60s\"");
    }
    if !(0.0..=0.5).contains(&config.hedge.get()) {
        return value("hedge", "must be a share between 0 and 0.5, such as 0.05");
    }
    let free = TokenPrices::default();
    if config.budget.is_capped() && config.prices == free {
        return value("budget", "sets a cap, but all `prices` are 0");
    }
    match OWN_FIELDS.iter().find(|(field, _)| config.extra_body.contains_key(*field)) {
        Some((field, instead)) => Err(Error::ExtraBody { key: (*field).to_owned(), instead }),
        None => Ok(()),
    }
}

/// The judge's own address, and its replicas'.
pub(super) fn addresses(
    config: &EndpointConfig,
    services: &Services,
) -> Result<Vec<Address>, Error> {
    let own = KeyPlace { env: config.api_key_env.as_deref(), file: config.api_key_file.as_deref() };
    let replicas = config.replicas.iter().map(|replica| {
        let place =
            KeyPlace { env: replica.api_key_env.as_deref(), file: replica.api_key_file.as_deref() };
        (replica.url.as_str(), if place == KeyPlace::default() { own } else { place })
    });
    let address = |(url, place): (&str, KeyPlace<'_>)| {
        completions_url(url)?;
        let transport: Arc<dyn Transport> = match &services.connect {
            Some(connect) => connect(url),
            None => {
                let http = HttpConfig {
                    url,
                    proxy: config.proxy.as_deref(),
                    timeout: config.timeout,
                    max_concurrent: config.max_concurrent,
                    key_header: config.key_header,
                };
                Arc::new(Http::new(&http, services.key(place)?.as_ref())?)
            }
        };
        Ok(Address::new(url, transport, Capabilities::new(config)))
    };
    std::iter::once((config.url.as_str(), own)).chain(replicas).map(address).collect()
}

/// The names of the addresses at the coordinator of the replicas: an account at an address.
pub(super) fn shared_names(config: &EndpointConfig) -> Vec<String> {
    let own = (&config.api_key_env, &config.api_key_file);
    let replicas = config.replicas.iter().map(|replica| {
        let place = (&replica.api_key_env, &replica.api_key_file);
        (&replica.url, if place == (&None, &None) { own } else { place })
    });
    let name = |(url, (env, file)): (&String, (&Option<String>, &Option<std::path::PathBuf>))| {
        let env = env.as_deref().unwrap_or_default();
        let file = file.as_deref().map(std::path::Path::display);
        format!(
            "{url} {} {env} {}",
            config.model,
            file.map(|one| one.to_string()).unwrap_or_default()
        )
    };
    std::iter::once((&config.url, own)).chain(replicas).map(name).collect()
}

pub(super) fn limits(config: &EndpointConfig) -> AdmissionLimits {
    let span = config.quota_window;
    // At least one: a quota of less than one in a window would never let anything in.
    let within = |a_minute: u64| {
        u64::try_from(u128::from(a_minute) * span.as_millis() / 60_000).unwrap_or(u64::MAX).max(1)
    };
    AdmissionLimits {
        max_concurrent: config.max_concurrent,
        max_queued: config.max_queued,
        requests: config.requests_per_minute.map(|limit| within(limit.get().into())),
        tokens: config.tokens_per_minute.map(|limit| within(limit.get())),
        span,
        backoff: fault::backoff(config.backoff),
    }
}

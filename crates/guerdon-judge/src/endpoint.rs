//! One endpoint: cache before limits, limits before calls. Shared by every profile and generation of prompts that asks
//! it, so that a reload keeps the answers and the limits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use guerdon_types::{AbstainWhy, Usage};
use reqwest::header::HeaderValue;
use reqwest::{Client, Url};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cache::Answers;
use crate::call::{Answer, CallEvent, Caller, Failure, Observer};
use crate::config::EndpointConfig;
use crate::error::Error;
use crate::key::{self, Identity, Question};
use crate::limit::Limit;
use crate::offer::Offers;
use crate::patience::Patience;

/// Fields of the body that the question is made of, and where to set them instead.
const OWN_FIELDS: [(&str, &str); 10] = [
    ("model", "set `model`"),
    ("messages", "write a judge prompt"),
    ("response_format", "set `response_format`"),
    ("max_tokens", "set `max_tokens` in the judge prompt"),
    ("max_completion_tokens", "set `max_tokens` in the judge prompt"),
    ("temperature", "set `temperature` in the judge prompt"),
    ("n", "one answer is read"),
    ("stream", "answers are read whole"),
    ("tools", "a judge has none"),
    ("stop", "the answer's form says where it ends"),
];

/// An OpenAI-compatible endpoint that judges.
pub struct Endpoint {
    caller: Arc<Caller>,
    answers: Answers,
    observer: Observer,
}

/// What came of a question.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) result: Result<Arc<Answer>, Failure>,
    pub(crate) usage: Usage,
    pub(crate) cached: bool,
}

impl Endpoint {
    /// An endpoint as configured. `tasks` is joined by whoever owns it: calls run there, since they outlive a caller who
    /// hangs up. `observer` hears of every attempt and every cached answer; it must not block.
    ///
    /// # Errors
    /// [`Error`], if the configuration or the key cannot be used.
    pub fn new(
        config: EndpointConfig,
        api_key: Option<SecretString>,
        tasks: TaskTracker,
        observer: Arc<dyn Fn(&CallEvent) + Send + Sync>,
    ) -> Result<Arc<Self>, Error> {
        check(&config)?;
        let url = completions_url(&config.url)?;
        let client = client(&config).map_err(Error::Client)?;
        let caller = Caller {
            client,
            url,
            authorization: api_key.map(|key| bearer(&key)).transpose()?,
            limit: Limit::new(config.max_concurrent, config.requests_per_minute, config.max_queued),
            offers: Offers::new(&config),
            retries: config.retries,
            backoff: config.backoff,
            prices: config.prices,
            observer: Arc::clone(&observer),
            identity: Identity {
                url: config.url,
                model: config.model,
                extra_body: config.extra_body,
                read_reasoning: config.read_reasoning,
            },
        };
        Ok(Arc::new(Self { caller: Arc::new(caller), answers: Answers::new(&config.cache, tasks), observer }))
    }

    /// The model that was configured.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.caller.identity.model
    }

    /// The base URL that was configured.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.caller.identity.url
    }

    /// Asks once, or not at all if the answer is known. Waits no longer than `deadline`.
    pub(crate) async fn ask(&self, question: &Question, deadline: Option<Instant>) -> Asked {
        let key = key::of(&self.caller.identity, question);
        if let Some(answer) = self.answers.get(&key).await {
            return self.hit(answer);
        }
        loop {
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return late();
            }
            let gone = CancellationToken::new();
            let _hung_up_if_dropped = gone.clone().drop_guard();
            let patience = Patience { deadline, gone };
            let flight = self.answers.fly(Arc::clone(&self.caller), key, question.clone(), patience);
            let landed = match deadline {
                None => flight.await,
                Some(deadline) => match tokio::time::timeout_at(deadline, flight).await {
                    Ok(landed) => landed,
                    Err(_) => return late(),
                },
            };
            let Some(landed) = landed else {
                let failure =
                    Failure::new(AbstainWhy::Internal, "the call to the judge ended without a word");
                return Asked { result: Err(failure), usage: Usage::default(), cached: false };
            };
            match landed.result {
                Ok(answer) if landed.led => {
                    return Asked { result: Ok(answer), usage: landed.usage, cached: false };
                }
                Ok(answer) => return self.hit(answer),
                // Another's patience ended, not ours.
                Err(failure)
                    if !landed.led
                        && failure.gave_up.is_some_and(|gave_up| gave_up.is_outlasted_by(deadline)) => {}
                Err(failure) => {
                    return Asked { result: Err((*failure).clone()), usage: landed.usage, cached: false };
                }
            }
        }
    }

    fn hit(&self, answer: Arc<Answer>) -> Asked {
        let usage = Usage { judge_cache_hits: 1, ..Usage::default() };
        let (duration, waited) = (Duration::ZERO, Duration::ZERO);
        (self.observer)(&CallEvent { outcome: "cached", duration, waited, attempt: 0, cached: true, usage });
        Asked { result: Ok(answer), usage, cached: true }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("url", &self.url())
            .field("model", &self.model())
            .finish_non_exhaustive()
    }
}

fn late() -> Asked {
    let failure =
        Failure::new(AbstainWhy::Deadline, "the judge had not answered when the request's deadline passed");
    Asked { result: Err(failure), usage: Usage::default(), cached: false }
}

fn check(config: &EndpointConfig) -> Result<(), Error> {
    let value = |key, detail: &str| Err(Error::Value { key, detail: detail.to_owned() });
    if config.model.is_empty() {
        return value("model", "is empty; name the model that is to judge");
    }
    if config.max_concurrent == 0 {
        return value("max_concurrent", "is 0, so nothing could ever be asked; write at least 1");
    }
    if config.timeout.is_zero() {
        return value("timeout", "is 0, so every attempt would be late; write something like \"60s\"");
    }
    if config.prices.prompt_per_million.get() < 0.0 || config.prices.completion_per_million.get() < 0.0 {
        return value("prices", "are negative");
    }
    match OWN_FIELDS.iter().find(|(field, _)| config.extra_body.contains_key(*field)) {
        Some((field, instead)) => Err(Error::ExtraBody { key: (*field).to_owned(), instead }),
        None => Ok(()),
    }
}

fn completions_url(base: &str) -> Result<Url, Error> {
    let wrong = |detail: &str| Error::Url { url: base.to_owned(), detail: detail.to_owned() };
    let mut url = Url::parse(base).map_err(|error| wrong(&format!("is no URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong("cannot be called; write http://… or https://…"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // Not quoted: the password would stand in the log.
        let detail = "holds a user name or password; use `api_key_env` or `api_key_file`".to_owned();
        return Err(Error::Url { url: "…".to_owned(), detail });
    }
    // Not `join`, which would drop the base's last segment and its query (`?api-version=…`).
    let path = format!("{}/chat/completions", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

fn client(config: &EndpointConfig) -> reqwest::Result<Client> {
    let builder = Client::builder()
        .timeout(config.timeout)
        .connect_timeout(config.timeout.min(Duration::from_secs(10)))
        .pool_max_idle_per_host(config.max_concurrent)
        // A redirect would carry the key, and the judged text, somewhere that nobody configured.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("guerdon/", env!("CARGO_PKG_VERSION")))
        .no_proxy();
    match &config.proxy {
        Some(proxy) => builder.proxy(reqwest::Proxy::all(proxy)?).build(),
        None => builder.build(),
    }
}

fn bearer(key: &SecretString) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret().trim()))
        .map_err(|_| Error::ApiKey)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: EndpointConfig) -> String {
        Endpoint::new(config, None, TaskTracker::new(), Arc::new(|_| {})).unwrap_err().to_string()
    }

    #[test]
    fn the_path_is_added_and_a_query_stays() {
        assert_eq!(completions_url("http://h/v1/").unwrap().as_str(), "http://h/v1/chat/completions");
        assert_eq!(completions_url("https://h/d?api-version=1").unwrap().path(), "/d/chat/completions");
        assert_eq!(completions_url("https://h/d?api-version=1").unwrap().query(), Some("api-version=1"));
    }

    #[test]
    fn what_cannot_work_is_refused_when_it_is_built() {
        assert!(refused(EndpointConfig::new("h/v1", "m")).contains("is no URL"));
        assert!(refused(EndpointConfig::new("ftp://h", "m")).contains("http://"));
        assert!(!refused(EndpointConfig::new("http://me:secret@h", "m")).contains("secret"));
        assert!(refused(EndpointConfig::new("http://h", "")).contains("`model` is empty"));
        let none = EndpointConfig { max_concurrent: 0, ..EndpointConfig::new("http://h", "m") };
        assert!(refused(none).contains("max_concurrent"));
        let mut extra = EndpointConfig::new("http://h", "m");
        extra.extra_body.insert("temperature".to_owned(), 1.into());
        assert!(refused(extra).contains("in the judge prompt"));
    }

    #[test]
    fn a_key_is_never_shown() {
        let key = bearer(&SecretString::from("sk-very-secret\n")).unwrap();
        assert!(!format!("{key:?}").contains("secret"));
    }
}

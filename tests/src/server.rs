//! A server with a configuration and files of its own, in a temporary folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use guerdon_server::config::ConfigSource;
use guerdon_server::{Engine, RunningServer, start};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The repository's root.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// An HTTP client that ignores the environment's proxies.
///
/// # Panics
/// The client cannot be built.
#[must_use]
pub fn http_client() -> reqwest::Client {
    // reqwest is built without a TLS provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

/// A running server. Its profile `test` has the tiny model of guerdon-model's tests and the rule
/// pack `rules.yaml`.
#[derive(Debug)]
pub struct Server {
    /// `http://127.0.0.1:…`
    pub url: String,
    /// A client for it.
    pub http: reqwest::Client,
    running: RunningServer,
    folder: TempDir,
}

/// A reply, read whole.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body.
    pub text: String,
}

impl Reply {
    /// The body as JSON; `null` if it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// Reads `response` whole.
    pub async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.expect("a body") }
    }
}

const PACK: &str = r"
pack: words
about: Words that must not reach the partner.
version: 1
rules:
  - id: internal
    about: Internal words.
    points: -50
    match: { any_of: ['work order'] }
    examples: { hits: ['see the work order'], misses: ['see you'] }
  - id: promise
    about: Promises.
    points: -10
    veto: true
    match: { any_of: ['guarantee'] }
    examples: { hits: ['we guarantee it'], misses: ['we hope so'] }
";

const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"
drain = "10s"
[models.tiny]
path = "@REPOSITORY@/crates/guerdon-model/tests/tiny"
[profiles.test]
model = "tiny"
rules = ["rules.yaml"]
"#;

impl Server {
    /// The usual server.
    pub async fn new() -> Self {
        Self::with("", &[]).await
    }

    /// The usual server with `toml` after its configuration (`@REPOSITORY@` stands for the
    /// repository's root) and more files next to it.
    pub async fn with(toml: &str, files: &[(&str, &str)]) -> Self {
        Self::from_config(&format!("{CONFIG}{toml}"), files).await
    }

    /// A server of the whole configuration `toml`.
    pub async fn from_config(toml: &str, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let text = text.replace("@REPOSITORY@", &repository().display().to_string());
            put(&folder.path().join(name), &text);
        };
        write("rules.yaml", PACK);
        write("guerdon.toml", toml);
        for (name, text) in files {
            write(name, text);
        }
        let source = ConfigSource {
            file: Some(folder.path().join("guerdon.toml")),
            environment: Arc::new(BTreeMap::from([(
                "TEST_TOKEN".to_owned(),
                "let-me-in-please".to_owned(),
            )])),
            overrides: Vec::new(),
        };
        let engine = tokio::task::spawn_blocking(move || Engine::load(source))
            .await
            .expect("loading does not panic");
        let engine = engine.unwrap_or_else(|error| fail(&error.to_string()));
        let running = start(engine).await.expect("the server starts");
        let http = http_client();
        Self { url: format!("http://{}", running.address), http, running, folder }
    }

    /// Replaces a file as editors do: a new file is renamed over the old one.
    pub fn replace(&self, name: &str, text: &str) {
        let (draft, file) =
            (self.folder.path().join(format!(".{name}.swp")), self.folder.path().join(name));
        put(&draft, text);
        std::fs::rename(draft, file).expect("a rename");
    }

    /// The path of a file in the configuration's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration of [`Server::new`], to be added to.
    #[must_use]
    pub const fn config() -> &'static str {
        CONFIG
    }

    /// The rule pack that [`Server::new`] serves, to be changed.
    #[must_use]
    pub const fn pack() -> &'static str {
        PACK
    }

    /// `text` with `@REPOSITORY@` replaced, as in the files of [`Server::with`].
    #[must_use]
    pub fn resolved(text: &str) -> String {
        text.replace("@REPOSITORY@", &repository().display().to_string())
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> Reply {
        Reply::read(self.http.get(format!("{}{path}", self.url)).send().await.expect("a reply"))
            .await
    }

    /// `POST path` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        Reply::read(
            self.http.post(format!("{}{path}", self.url)).json(body).send().await.expect("a reply"),
        )
        .await
    }

    /// `POST /v1/score`, expecting 200.
    pub async fn score(&self, body: &Value) -> Value {
        let reply = self.post("/v1/score", body).await;
        if reply.status != 200 {
            fail(&format!("{}: {}", reply.status, reply.text));
        }
        reply.json()
    }

    /// One rollout in which the partner names a price and the agent says `reply`.
    #[must_use]
    pub fn rollout(reply: &str) -> Value {
        json!({ "messages": [
            { "role": "user", "content": "480 is our best price ." },
            { "role": "assistant", "content": reply },
        ]})
    }

    /// The sum of all samples of `metric` whose line contains `label`.
    pub async fn metric(&self, metric: &str, label: &str) -> f64 {
        let text = self.get("/metrics").await.text;
        let lines = text.lines().filter(|line| line.starts_with(metric) && line.contains(label));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Stops the server. Returns whether every request in flight was finished.
    pub async fn stop(self) -> bool {
        self.running.stop().await
    }
}

#[expect(clippy::panic, reason = "a harness fails by panicking, with the whole reason")]
fn fail(why: &str) -> ! {
    panic!("{why}")
}

#[expect(clippy::disallowed_methods, reason = "a test writes its own files")]
pub(crate) fn put(path: &Path, text: &str) {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).expect("a folder can be made");
    }
    std::fs::write(path, text).expect("a file can be written");
}

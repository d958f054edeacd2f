//! The digest of a profile changes with everything that shapes a reward, and with nothing else.

#![expect(clippy::disallowed_methods, reason = "a test writes its own files")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use guerdon_server::Engine;
use guerdon_server::config::ConfigSource;
use guerdon_tests::{Server, repository};
use serde_json::Value;
use tempfile::TempDir;
use toml::Table;

use super::PROMPT;
use crate::configuration::every_key;

/// The effect of a key on rewards.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Effect {
    Shapes,
    Nothing,
    /// Nothing; another value cannot be loaded on a machine without a GPU or a second runtime.
    Untried,
}
use Effect::{Nothing, Shapes, Untried};

/// Every key of the configuration with a value that differs from [`CONFIG`] and its effect on the
/// rewards of the profile `hotel`. `models.e5`, `judges.local` and `profiles.hotel` stand for all.
const KEYS: &[(&str, &str, Effect)] = &[
    ("default_profile", "'other'", Nothing),
    ("server.listen", "'127.0.0.1:1'", Nothing),
    ("server.drain", "'1s'", Nothing),
    ("server.hosts", "['a.example']", Nothing),
    ("server.origins", "['https://a.example']", Nothing),
    ("server.max_connections", "7", Nothing),
    ("server.header_timeout", "'1s'", Nothing),
    ("server.body_timeout", "'1s'", Nothing),
    ("server.write_timeout", "'1s'", Nothing),
    ("server.idle_timeout", "'1s'", Nothing),
    ("server.min_rate", "7", Nothing),
    ("server.max_bodies_bytes", "7", Nothing),
    ("server.admission_timeout", "'1s'", Nothing),
    ("server.log", "'warn'", Nothing),
    ("server.log_format", "'json'", Nothing),
    ("server.requests_per_second", "7", Nothing),
    ("ledger.path", "'ledger.sqlite'", Nothing),
    ("ledger.url", "'postgres://127.0.0.1/d'", Nothing),
    ("ledger.texts", "'none'", Nothing),
    ("ledger.keep", "'7d'", Nothing),
    ("ledger.max_bytes", "70000000", Nothing),
    ("ledger.full", "'wait'", Nothing),
    ("ledger.queue_bytes", "7000000", Nothing),
    ("cluster.url", "'redis://127.0.0.1:1'", Nothing),
    ("cluster.password_env", "'KEY'", Nothing),
    ("cluster.password_file", "'key'", Nothing),
    ("cluster.namespace", "'prod'", Nothing),
    ("cluster.replica", "'one'", Nothing),
    ("cluster.replicas_max", "7", Nothing),
    ("cluster.floor", "0.5", Nothing),
    ("cluster.timeout", "'2s'", Nothing),
    ("cluster.lease", "'20s'", Nothing),
    // Beyond these a rollout has an error; it never has another reward.
    ("limits.max_rollouts", "7", Nothing),
    ("limits.max_body_bytes", "7000", Nothing),
    ("limits.max_message_bytes", "7", Nothing),
    ("limits.max_messages", "7", Nothing),
    ("limits.max_concurrent_requests", "7", Nothing),
    ("limits.max_deadline_ms", "7", Nothing),
    ("auth.insecure", "true", Nothing),
    ("auth.tokens", "[{ name = 't', env = 'KEY', scopes = ['score'] }]", Nothing),
    ("reload.watch", "false", Nothing),
    ("reload.debounce", "'7ms'", Nothing),
    ("reload.share", "1.0", Untried),
    ("rubrics.from_requests", "false", Shapes),
    ("rubrics.path", "'rubrics.jsonl'", Shapes),
    ("rubrics.points", "50", Shapes),
    // Beyond these a rollout has an error.
    ("rubrics.max_criteria", "7", Nothing),
    ("rubrics.max_bytes", "7000", Nothing),
    ("models.e5.path", "'tiny-copy'", Nothing),
    // Devices differ in the last bits of a score.
    ("models.e5.device", "'cuda'", Untried),
    ("models.e5.block_size", "16", Untried),
    ("models.e5.queue", "7", Nothing),
    ("models.e5.cache", "0", Nothing),
    ("models.e5.max_wait", "'0s'", Nothing),
    ("models.e5.instances", "2", Nothing),
    ("models.e5.threads", "2", Nothing),
    ("models.e5.token_budget", "512", Nothing),
    ("models.e5.max_batch", "7", Nothing),
    ("models.e5.max_tokens", "40", Shapes),
    ("models.e5.runtime", "'elsewhere'", Untried),
    ("judges.local.url", "'http://127.0.0.1:8/v1'", Nothing),
    ("judges.local.model", "'large'", Shapes),
    ("judges.local.identity", "'int8'", Shapes),
    ("judges.local.timeout", "'7s'", Nothing),
    ("judges.local.retries", "0", Nothing),
    ("judges.local.max_concurrent", "1", Nothing),
    ("judges.local.backoff", "'7ms'", Nothing),
    ("judges.local.max_queued", "7", Nothing),
    ("judges.local.api_key_env", "'KEY'", Nothing),
    ("judges.local.api_key_file", "'key'", Nothing),
    ("judges.local.key_header", "'api-key'", Nothing),
    ("judges.local.proxy", "'http://127.0.0.1:7'", Nothing),
    ("judges.local.requests_per_minute", "7", Nothing),
    ("judges.local.tokens_per_minute", "70000", Nothing),
    ("judges.local.quota_window", "'7s'", Nothing),
    ("judges.local.token_counting.max_tokens", "true", Nothing),
    ("judges.local.token_counting.cached", "false", Nothing),
    ("judges.local.response_format", "'plain'", Shapes),
    ("judges.local.seal", "'always'", Shapes),
    ("judges.local.token_limit", "'max_completion_tokens'", Nothing),
    ("judges.local.read_reasoning", "true", Shapes),
    ("judges.local.extra_body", "{ seed = 2 }", Shapes),
    ("judges.local.hedge", "0.1", Nothing),
    ("judges.local.fallback", "{ url = 'http://127.0.0.1:7/v1', model = 'small' }", Shapes),
    ("judges.local.prices.prompt_per_million", "7", Nothing),
    ("judges.local.prices.completion_per_million", "7", Nothing),
    ("judges.local.prices.cached_per_million", "7", Nothing),
    ("judges.local.replicas", "[{ url = 'http://127.0.0.1:7/v1' }]", Nothing),
    ("judges.local.budget.run", "'seven'", Nothing),
    ("judges.local.budget.per_run", "7", Nothing),
    ("judges.local.budget.per_day", "7", Nothing),
    ("judges.local.cache.max_entries", "7", Nothing),
    ("judges.local.cache.ttl", "'7s'", Nothing),
    ("judges.local.cache.mode", "'refresh'", Nothing),
    ("judges.local.cache.path", "'judge.log'", Nothing),
    ("judges.local.cache.sync", "'0s'", Nothing),
    ("judges.local.cassette", "{ path = 'tape', mode = 'record' }", Nothing),
    ("judges.local.audit", "{ path = 'audit.jsonl', texts = true }", Nothing),
    ("profiles.hotel.model", "'short'", Shapes),
    ("profiles.hotel.rules", "['more-packs']", Shapes),
    ("profiles.hotel.prompts", "['more-prompts']", Shapes),
    ("profiles.hotel.allow_empty", "true", Nothing),
    ("profiles.hotel.judge", "'second'", Shapes),
    ("profiles.hotel.calibration.kind", "{ kind = 'centred', mean = 0.4 }", Shapes),
    ("profiles.hotel.calibration.mean", "0.5", Shapes),
    ("profiles.hotel.calibration.std", "0.7", Shapes),
    ("profiles.hotel.judging.panel", "['second']", Shapes),
    ("profiles.hotel.judging.pooling", "'majority'", Shapes),
    ("profiles.hotel.judging.weight", "7", Nothing),
    ("profiles.hotel.judging.rubric_mode", "'instead'", Shapes),
    ("profiles.hotel.judging.dropout", "0.3", Shapes),
    ("profiles.hotel.judging.probe_every", "'1h'", Nothing),
    ("profiles.hotel.judging.alarm_below", "0.1", Nothing),
    ("profiles.hotel.judging.canaries", "0.0", Nothing),
    ("profiles.hotel.fusion.method", "'gated'", Shapes),
    ("profiles.hotel.fusion.bound", "50", Shapes),
    ("profiles.hotel.fusion.aggregate", "'mean'", Shapes),
    ("profiles.hotel.fusion.on_abstain.infrastructure", "'null'", Shapes),
    ("profiles.hotel.fusion.on_abstain.content", "'worst'", Shapes),
    ("profiles.hotel.fusion.weights.rm", "0.5", Shapes),
    ("profiles.hotel.fusion.weights.judge", "0.5", Shapes),
    ("profiles.hotel.fusion.weights.rules", "0.5", Shapes),
    ("profiles.hotel.fusion.weights.other", "0.5", Shapes),
    ("profiles.hotel.fusion.inner", "'weighted_sum'", Shapes),
    ("profiles.hotel.fusion.floor", "-1.0", Shapes),
    ("profiles.hotel.fusion.delta", "0.5", Shapes),
    ("profiles.hotel.fusion.beta", "2.5", Shapes),
    ("profiles.hotel.fusion.hero.alpha", "0.07", Shapes),
    ("profiles.hotel.fusion.hero.beta", "0.07", Shapes),
    ("profiles.hotel.fusion.hero.pass", "7.0", Shapes),
    ("profiles.hotel.fusion.hero.spread", "0.7", Shapes),
    ("profiles.hotel.fusion.hero.min_weight", "0.7", Shapes),
    ("profiles.hotel.fusion.hero.max_weight", "1.7", Shapes),
    ("profiles.hotel.fusion.hero.steepness", "7.0", Shapes),
    ("profiles.hotel.sources", "{ tone = { kind = 'rules', rules = ['packs'] } }", Shapes),
];

/// Tables that the list above names as one key.
const WHOLE: [&str; 5] = ["fallback", "extra_body", "cassette", "audit", "sources"];

const CONFIG: &str = "
default_profile = 'hotel'
[rubrics]
from_requests = true
[models.e5]
path = 'tiny'
[models.short]
path = 'tiny'
max_tokens = 30
[judges.local]
url = 'http://127.0.0.1:9/v1'
model = 'medium'
prices = { prompt_per_million = 1.0 }
extra_body = { seed = 1, top_p = 0.5 }
[judges.second]
url = 'http://127.0.0.1:9/v1'
model = 'other'
[profiles.hotel]
model = 'e5'
judge = 'local'
rules = ['packs']
prompts = ['prompts']
calibration = { kind = 'standardised', mean = 0.4, std = 0.8 }
[profiles.other]
rules = ['packs']
fusion = { method = 'weighted_sum' }
";

const RUBRICS: &str = "{\"id\": \"g\", \"rubric\": [{\"text\": \"It is kind.\"}]}\n";

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn put(root: &Path, name: &str, text: &str) {
    let file = root.join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

fn more_pack() -> String {
    Server::pack().replace("pack: words", "pack: more")
}

/// A folder with everything that [`CONFIG`] and [`KEYS`] name.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    put(root, "guerdon.toml", CONFIG);
    put(root, "key", "a-secret-of-some-length");
    put(root, "rubrics.jsonl", RUBRICS);
    put(root, "packs/words.yaml", Server::pack());
    put(root, "packs/more.yaml", &more_pack());
    put(root, "more-packs/words.yaml", &Server::pack().replace("points: -50", "points: -51"));
    put(root, "prompts/kind.md", PROMPT);
    put(root, "more-prompts/kind.md", &PROMPT.replace("-20", "-21"));
    for tiny in ["tiny", "tiny-copy"] {
        copy(&repository().join("crates/guerdon-model/tests/tiny"), &root.join(tiny));
    }
    folder
}

fn load(root: &Path) -> Arc<Engine> {
    let environment = BTreeMap::from([("KEY".to_owned(), "a-secret-of-some-length".to_owned())]);
    let source = ConfigSource {
        file: Some(root.join("guerdon.toml")),
        environment: Arc::new(environment),
        overrides: Vec::new(),
    };
    Engine::load(source).map_err(|error| error.to_string()).unwrap()
}

fn digest(engine: &Engine) -> String {
    engine.info().profiles["hotel"].versions.digest.clone().unwrap()
}

/// Sets `key` to `value`.
fn set(table: &mut Table, key: &str, value: &str) {
    let mut parsed: Table = toml::from_str(&format!("value = {value}")).unwrap();
    let mut segments: Vec<&str> = key.split('.').collect();
    let last = segments.pop().unwrap();
    let place = segments.into_iter().fold(table, |place, segment| {
        let entry = place.entry(segment).or_insert_with(|| Table::new().into());
        entry.as_table_mut().unwrap()
    });
    place.insert(last.to_owned(), parsed.remove("value").unwrap());
}

/// The paths of all keys in `value`.
fn paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    let last = path.rsplit('.').next().unwrap_or_default();
    match value {
        Value::Object(object) if !WHOLE.contains(&last) => {
            for (key, value) in object {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                paths(value, &path, found);
            }
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn every_key_is_listed_with_its_effect_on_rewards() {
    let mut found = BTreeSet::new();
    let (named, config) = every_key();
    paths(&named, "", &mut found);
    paths(&serde_json::to_value(config).unwrap(), "", &mut found);
    let own = |key: &String| {
        let key = key.replace("models.e5", "").replace("judges.local", "");
        !["models.", "judges."].iter().any(|other| key.starts_with(other))
    };
    let found: BTreeSet<String> = found.into_iter().filter(own).collect();
    let listed: BTreeSet<String> = KEYS.iter().map(|(key, ..)| (*key).to_owned()).collect();
    let missing: Vec<_> = found.difference(&listed).collect();
    assert!(missing.is_empty(), "say in KEYS whether these keys shape rewards: {missing:?}");
    let unknown: Vec<_> = listed.difference(&found).collect();
    assert!(unknown.is_empty(), "there are no such keys: {unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn digest_changes_exactly_with_the_keys_that_shape_rewards() {
    let folder = folder();
    let engine = load(folder.path());
    let before = digest(&engine);
    let mut seen = BTreeSet::from([before.clone()]);
    for (key, value, effect) in KEYS.iter().filter(|(.., effect)| *effect != Untried) {
        let mut table: Table = toml::from_str(CONFIG).unwrap();
        // A kind is a whole table, since each has keys of its own.
        set(&mut table, key.strip_suffix(".kind").unwrap_or(key), value);
        put(folder.path(), "guerdon.toml", &toml::to_string(&table).unwrap());
        engine.reload().unwrap_or_else(|error| panic!("{key}: {error}"));
        let now = digest(&engine);
        assert_eq!(now != before, *effect == Shapes, "{key} = {value}");
        assert!(*effect == Nothing || seen.insert(now), "{key} = {value} is like another change");
    }
    put(folder.path(), "guerdon.toml", CONFIG);
    engine.reload().unwrap();
    assert_eq!(digest(&engine), before, "a digest has no memory");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn digest_changes_with_every_text_and_not_with_its_place() {
    let folder = folder();
    let root = folder.path();
    let engine = load(root);
    let before = digest(&engine);
    let reloaded = || {
        engine.reload().unwrap_or_else(|error| panic!("{error}"));
        digest(&engine)
    };
    for (file, text, edited) in [
        ("packs/words.yaml", Server::pack(), Server::pack().replace("work order", "ticket")),
        ("prompts/kind.md", PROMPT, PROMPT.replace("It is kind.", "It is warm.")),
    ] {
        let edited = edited.replace("see the work order", "see the ticket");
        put(root, file, &edited);
        assert_ne!(reloaded(), before, "{file}");
        put(root, file, text);
        assert_eq!(reloaded(), before, "{file}");
    }
    put(root, "packs/third.yaml", &Server::pack().replace("pack: words", "pack: third"));
    assert_ne!(reloaded(), before, "a pack is added");
    fs::remove_file(root.join("packs/third.yaml")).unwrap();
    fs::rename(root.join("packs/more.yaml"), root.join("packs/zz.yml")).unwrap();
    assert_eq!(reloaded(), before, "a pack's file is renamed");
    put(root, "packs/README.md", "# Packs");
    assert_eq!(reloaded(), before, "a README is added");
    let manifest = fs::read_to_string(root.join("tiny/guerdon.model.toml")).unwrap();
    put(root, "tiny/guerdon.model.toml", &format!("# A comment.\n{manifest}"));
    assert_eq!(reloaded(), before, "a comment in the manifest");
    engine.close().await;

    // Another machine: other paths, another order of keys and sections, comments, other names.
    let elsewhere = self::folder();
    let root = elsewhere.path();
    for (from, to) in [("packs", "rules"), ("prompts", "rubrics"), ("tiny", "models")] {
        fs::rename(root.join(from), root.join(to)).unwrap();
    }
    put(
        root,
        "guerdon.toml",
        "# The same, told otherwise.
        [rubrics]
        from_requests = true
        points = 100.0
        [profiles.hotel.calibration]
        std = 0.80
        mean = 4e-1
        kind = 'standardised'
        [profiles.hotel]
        prompts = ['rubrics/kind.md']
        rules = ['rules/words.yaml', 'rules/more.yaml']  # each by its name
        judge = 'j'
        model = 'm'
        [profiles.hotel.fusion]
        bound = 100.0
        [judges.j]
        extra_body = { top_p = 0.5, seed = 1 }
        model = 'medium'
        url = 'https://judge.example/v1'
        [models.m]
        path = 'models'
        ",
    );
    let engine = load(root);
    assert_eq!(digest(&engine), before);
    engine.close().await;
}

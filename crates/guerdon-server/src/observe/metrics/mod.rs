//! Metrics of the server: names, labels and histogram buckets. Label values come from closed sets.
//! The registry is a value that is passed around, not a global.

mod cluster;
mod connections;
mod histograms;
mod judge_states;
mod judges;
mod ledger;
mod rewards;

use std::sync::Arc;
use std::time::Duration;

use guerdon_model::ModelEvent;
use guerdon_types::{AbstainWhy, SourceId};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use self::cluster::ClusterMetrics;
pub(crate) use self::connections::ConnectionMetrics;
use self::histograms::{counts, seconds, tokens};
pub(crate) use self::judge_states::JudgeStates;
pub(crate) use self::judges::JudgeMetrics;
pub(crate) use self::ledger::LedgerMetrics;
pub(crate) use self::rewards::{ProfileMetrics, RewardMetrics};

/// All metrics of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    /// Metrics of rewards, by profile.
    pub(crate) rewards: RewardMetrics,
    /// Metrics of the ledger.
    pub(crate) ledger: LedgerMetrics,
    /// Metrics of the coordination between replicas.
    pub(crate) cluster: ClusterMetrics,
    requests_in_flight: Gauge,
    model_queued: Family<ModelLabels, Gauge>,
    source_seconds: Family<SourceLabels, Histogram, fn() -> Histogram>,
    abstentions: Family<AbstainLabels, Counter>,
    rubrics_dropped: Family<RubricLabels, Counter>,
    cohorts: Family<CohortLabels, Counter>,
    rule_hits: Family<RuleLabels, Counter>,
    rule_missing_facts: Family<RuleLabels, Counter>,
    model_cache_hits: Family<ModelLabels, Counter>,
    model_batch_items: Family<ModelLabels, Histogram, fn() -> Histogram>,
    model_batch_tokens: Family<ModelLabels, Histogram, fn() -> Histogram>,
    model_batch_seconds: Family<ModelLabels, Histogram, fn() -> Histogram>,
    model_wait_seconds: Family<ModelLabels, Histogram, fn() -> Histogram>,
    /// Metrics of judges.
    pub(crate) judges: JudgeMetrics,
    /// States of judges, set before each scrape.
    pub(crate) judge_states: Arc<JudgeStates>,
    compared_turns: Family<ComparedLabels, Counter>,
    generation: Gauge,
    reloads: Family<ReloadLabels, Counter>,
    reload_broken: Gauge,
    /// Metrics of connections.
    pub(crate) connections: ConnectionMetrics,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    /// The pattern of the route.
    route: String,
    /// The HTTP method.
    method: String,
    /// The HTTP status.
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    /// The pattern of the route.
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabels {
    /// The source: `rm`, `judge` or `rules`.
    source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AbstainLabels {
    /// The source: `rm`, `judge` or `rules`.
    source: String,
    /// The `why` of the abstention, such as `deadline`.
    why: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RubricLabels {
    /// The source: `rm`, `judge` or `rules`.
    source: String,
    /// The judge prompt; empty for the whole source.
    prompt: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CohortLabels {
    /// `complete`, `stalled` (samples were missing in time) or `conflict` (requests disagreed).
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    /// The pack.
    pack: String,
    /// The rule.
    rule: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ComparedLabels {
    /// `yes` if the reward would change, or `no`.
    changed: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    /// The name under `[models]`.
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    /// `ok`, `failed` or `rolled_back`.
    outcome: &'static str,
}

impl Metrics {
    /// Registers every metric in a new registry.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("guerdon");
        let version = [("version", env!("CARGO_PKG_VERSION").to_owned())];
        registry.register("build", "The running version", Info::new(version.to_vec()));
        macro_rules! register {
            ($make:expr, $name:literal, $help:literal) => {{
                let metric = $make;
                registry.register($name, $help, metric.clone());
                metric
            }};
            ($make:expr, $name:literal, $help:literal, $unit:expr) => {{
                let metric = $make;
                registry.register_with_unit($name, $help, $unit, metric.clone());
                metric
            }};
        }
        type Make = fn() -> Histogram;
        let requests = register!(Family::default(), "http_requests", "HTTP requests answered");
        let request_seconds = register!(
            Family::new_with_constructor(seconds as Make),
            "http_request_duration",
            "Time from a request's first byte to the head of its reply",
            Unit::Seconds
        );
        let rewards = RewardMetrics::register(&mut registry);
        let ledger = LedgerMetrics::register(&mut registry);
        let cluster = ClusterMetrics::register(&mut registry);
        let requests_in_flight = register!(
            Gauge::<i64>::default(),
            "http_requests_in_flight",
            "Requests that hold a place among those that are worked on"
        );
        let model_queued = register!(
            Family::<ModelLabels, Gauge>::default(),
            "model_queue_depth",
            "Turns that wait for the device or run on it"
        );
        let source_seconds = register!(
            Family::new_with_constructor(seconds as Make),
            "source_duration",
            "Time that a source takes for one rollout",
            Unit::Seconds
        );
        let abstentions = register!(
            Family::default(),
            "abstentions",
            "Turns on which a source abstained, by reason"
        );
        let rubrics_dropped = register!(
            Family::default(),
            "rubrics_dropped",
            "Groups for which a judge prompt was dropped, because a rollout lacked its verdict"
        );
        let cohorts = register!(
            Family::default(),
            "cohorts",
            "Groups that several requests brought, by the way in which collecting them ended"
        );
        let rule_hits = register!(Family::default(), "rule_hits", "Turns that a rule hit");
        let rule_missing_facts = register!(
            Family::default(),
            "rule_missing_facts",
            "Turns that a rule could not decide, because a fact was missing or of another type"
        );
        let model_cache_hits =
            register!(Family::default(), "model_cache_hits", "Turns whose score was in the cache");
        let model_batch_items = register!(
            Family::new_with_constructor(counts as Make),
            "model_batch_items",
            "Texts in one model batch"
        );
        let model_batch_tokens = register!(
            Family::new_with_constructor(tokens as Make),
            "model_batch_tokens",
            "Tokens computed in one model batch: padding included, shared tokens once"
        );
        let model_batch_seconds = register!(
            Family::new_with_constructor(seconds as Make),
            "model_batch_duration",
            "Time that the device takes for one batch",
            Unit::Seconds
        );
        let model_wait_seconds = register!(
            Family::new_with_constructor(seconds as Make),
            "model_queue_wait",
            "Time that a batch's oldest text waited for the device",
            Unit::Seconds
        );
        let compared_turns = register!(
            Family::default(),
            "beside_turns",
            "Turns that the rules of the canary or of the previous generation scored too, by whether the reward would change"
        );
        let generation = register!(
            Gauge::<i64>::default(),
            "generation",
            "Generation that serves: loads and rollbacks since the server started"
        );
        let reloads = register!(Family::default(), "reloads", "Reloads, by outcome");
        let reload_broken = register!(
            Gauge::<i64>::default(),
            "reload_broken",
            "1 while the files on disk are broken and an older generation keeps serving"
        );
        let connections = ConnectionMetrics::register(&mut registry);
        let judge_states = Arc::<JudgeStates>::default();
        registry.register_collector(Box::new(Arc::clone(&judge_states)));
        Arc::new(Self {
            connections,
            requests,
            request_seconds,
            rewards,
            ledger,
            cluster,
            requests_in_flight,
            model_queued,
            source_seconds,
            abstentions,
            rubrics_dropped,
            cohorts,
            rule_hits,
            rule_missing_facts,
            model_cache_hits,
            model_batch_items,
            model_batch_tokens,
            model_batch_seconds,
            model_wait_seconds,
            judges: JudgeMetrics::register(&mut registry),
            judge_states,
            compared_turns,
            generation,
            reloads,
            reload_broken,
            registry,
        })
    }

    /// The Prometheus (OpenMetrics) text.
    ///
    /// # Errors
    /// [`std::fmt::Error`] if a metric cannot be written, which does not happen for a `String`.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    pub(crate) fn request(&self, route: &str, method: &str, status: u16, took: Duration) {
        let route = route.to_owned();
        self.request_seconds
            .get_or_create(&RouteLabels { route: route.clone() })
            .observe(took.as_secs_f64());
        self.requests
            .get_or_create(&RequestLabels { route, method: method.to_owned(), status })
            .inc();
    }

    /// Sets the gauges that are read at each scrape: requests in flight, and queued turns by model.
    pub(crate) fn set_depths(&self, requests: u64, models: impl Iterator<Item = (String, u64)>) {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.requests_in_flight.set(count(requests));
        self.model_queued.clear();
        for (model, queued) in models {
            self.model_queued.get_or_create(&ModelLabels { model }).set(count(queued));
        }
    }

    /// The histogram of the time of a source, kept by its user since a look-up for each rollout would
    /// be slow.
    pub(crate) fn source(&self, source: &SourceId) -> Histogram {
        self.source_seconds.get_or_create(&SourceLabels { source: source.to_string() }).clone()
    }

    /// Counts a group for which `prompt` was dropped; `None` for the whole source.
    pub(crate) fn rubric_dropped(&self, source: &SourceId, prompt: Option<&str>) {
        let prompt = prompt.unwrap_or_default().to_owned();
        let labels = RubricLabels { source: source.to_string(), prompt };
        self.rubrics_dropped.get_or_create(&labels).inc();
    }

    pub(crate) fn cohort(&self, outcome: &'static str) {
        self.cohorts.get_or_create(&CohortLabels { outcome }).inc();
    }

    pub(crate) fn abstained(&self, source: &SourceId, why: AbstainWhy) {
        self.abstentions
            .get_or_create(&AbstainLabels { source: source.to_string(), why: why.as_str() })
            .inc();
    }

    pub(crate) fn rule_without_facts(&self, pack: &str, rule: &str) {
        self.rule_missing_facts
            .get_or_create(&RuleLabels { pack: pack.to_owned(), rule: rule.to_owned() })
            .inc();
    }

    pub(crate) fn rule_hit(&self, pack: &str, rule: &str) {
        self.rule_hits
            .get_or_create(&RuleLabels { pack: pack.to_owned(), rule: rule.to_owned() })
            .inc();
    }

    pub(crate) fn model(&self, model: &str, event: &ModelEvent) {
        let labels = ModelLabels { model: model.to_owned() };
        let event = match event {
            ModelEvent::Batch(event) => event,
            ModelEvent::CacheHits(hits) => {
                self.model_cache_hits
                    .get_or_create(&labels)
                    .inc_by(u64::try_from(*hits).unwrap_or(u64::MAX));
                return;
            }
            _ => return,
        };
        #[expect(clippy::cast_precision_loss, reason = "a batch has fewer than 2^52 tokens")]
        let observe = |family: &Family<ModelLabels, Histogram, fn() -> Histogram>, count: usize| {
            family.get_or_create(&labels).observe(count as f64);
        };
        observe(&self.model_batch_items, event.items);
        observe(&self.model_batch_tokens, event.computed_tokens);
        self.model_batch_seconds.get_or_create(&labels).observe(event.duration.as_secs_f64());
        self.model_wait_seconds.get_or_create(&labels).observe(event.queue_wait.as_secs_f64());
    }

    pub(crate) fn compared_turn(&self, changed: bool) {
        let changed = if changed { "yes" } else { "no" };
        self.compared_turns.get_or_create(&ComparedLabels { changed }).inc();
    }

    /// Sets the generation that serves. A candidate is not it.
    pub(crate) fn serves(&self, generation: u64) {
        self.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
    }

    /// Notes that the files on disk can be loaded.
    pub(crate) fn files_are_sound(&self) {
        self.reload_broken.set(0);
    }

    /// Counts a reload, after which `generation` serves.
    pub(crate) fn reloaded(&self, generation: u64) {
        self.serves(generation);
        self.files_are_sound();
        self.reloads.get_or_create(&ReloadLabels { outcome: "ok" }).inc();
    }

    /// Counts a rollback, after which `generation` serves.
    pub(crate) fn rolled_back(&self, generation: u64) {
        self.serves(generation);
        self.reloads.get_or_create(&ReloadLabels { outcome: "rolled_back" }).inc();
    }

    pub(crate) fn reload_failed(&self) {
        self.reload_broken.set(1);
        self.reloads.get_or_create(&ReloadLabels { outcome: "failed" }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_written_with_name_labels_and_unit() {
        let metrics = Metrics::new();
        metrics.request("/v1/score", "POST", 200, Duration::from_millis(3));
        metrics.abstained(&SourceId::judge(), AbstainWhy::RateLimited);
        metrics.reloaded(2);
        let text = metrics.render().unwrap();
        for line in [
            r#"guerdon_http_requests_total{route="/v1/score",method="POST",status="200"} 1"#,
            r#"guerdon_http_request_duration_seconds_count{route="/v1/score"} 1"#,
            r#"guerdon_abstentions_total{source="judge",why="rate_limited"} 1"#,
            "guerdon_generation 2",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}

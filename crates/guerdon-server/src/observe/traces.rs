//! Traces: spans over the OpenTelemetry protocol (OTLP over HTTP). The standard `OTEL_*` variables
//! configure them; without an endpoint nothing is recorded.
//!
//! | span | kind | parent |
//! |---|---|---|
//! | `METHOD ROUTE` | server | the caller's, by `traceparent` |
//! | `rl.reward` | internal | the request; one for each rollout |
//! | `source.score` | internal | `rl.reward` |
//! | `chat MODEL`, `source.call` | client | `source.score` of the first that asked |
//! | `rm.batch` | internal | none; linked to the `source.score` of its turns |
//!
//! The code names spans and fields as `tracing` has them. [`Conventions`] renames them for the
//! exporter.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderMap;
use opentelemetry::trace::{SpanKind, TracerProvider as _};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, SdkTracerProvider, Span as SdkSpan, SpanData, SpanProcessor,
};
use tracing::{Metadata, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::config::Environment;

/// The target of events that are evaluation results.
pub(crate) const EVALUATION: &str = "guerdon::evaluation";
/// The prefix of attributes and events whose conventions are not stable.
const UNSTABLE: &str = "gen_ai.";
/// The word in `OTEL_SEMCONV_STABILITY_OPT_IN` that asks for them.
const OPT_IN: &str = "gen_ai_latest_experimental";
/// The longest time that a stop waits for the collector.
const FLUSH: Duration = Duration::from_secs(3);

/// Set once spans are exported.
static ARE_ON: AtomicBool = AtomicBool::new(false);

/// Traces cannot be exported as the environment asks.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// A variable has a value that is not supported.
    #[error("{variable}={value}: {problem}\n  help: {help}")]
    Variable {
        /// The variable.
        variable: &'static str,
        /// Its value, cut.
        value: String,
        /// The reason why it is refused.
        problem: &'static str,
        /// The remedy.
        help: &'static str,
    },
    /// The exporter does not start.
    #[error("traces: {0}\n  help: check OTEL_EXPORTER_OTLP_ENDPOINT, or unset it")]
    Exporter(#[source] ExporterBuildError),
}

/// The exporter of spans. Without one, nothing is traced.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    provider: Option<SdkTracerProvider>,
}

impl Traces {
    /// The exporter that the environment asks for.
    pub(crate) fn from_environment(environment: &dyn Environment) -> Result<Self, TraceError> {
        let variables = TraceVariables::read(environment);
        if !variables.is_on()? {
            return Ok(Self::default());
        }
        // The client of the exporter is built without a TLS provider. A program that has installed
        // its own keeps it.
        drop(rustls::crypto::ring::default_provider().install_default());
        let exporter = SpanExporter::builder().with_http().build().map_err(TraceError::Exporter)?;
        let resource = Resource::builder();
        let resource = match variables.names_service {
            true => resource,
            false => resource.with_service_name("guerdon"),
        };
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let processor = Conventions {
            inner: BatchSpanProcessor::builder(exporter).build(),
            keeps_unstable: variables.keeps_unstable,
        };
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_resource(resource.with_attribute(version).build())
            .build();
        global::set_text_map_propagator(TraceContextPropagator::new());
        ARE_ON.store(true, Ordering::Relaxed);
        Ok(Self { provider: Some(provider) })
    }

    /// The layer that makes spans of OpenTelemetry from guerdon's own.
    pub(crate) fn layer<S>(&self) -> Option<impl Layer<S> + Send + Sync + use<S>>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let tracer = self.provider.as_ref()?.tracer("guerdon");
        let layer = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_level(false)
            .with_target(false);
        Some(layer.with_filter(filter_fn(is_traced)))
    }

    /// Sends what is left, for at most a few seconds.
    pub(crate) fn stop(self) {
        if let Some(provider) = self.provider
            && let Err(error) = provider.shutdown_with_timeout(FLUSH)
        {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Only guerdon's spans, and the results of evaluations.
fn is_traced(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    target == EVALUATION || (metadata.is_span() && target.starts_with("guerdon"))
}

/// Makes `span` a child of the caller's span, if the request names one.
pub(crate) fn continue_from(span: &Span, headers: &HeaderMap) {
    if !ARE_ON.load(Ordering::Relaxed) || !headers.contains_key("traceparent") {
        return;
    }
    let extractor = HeaderExtractor(headers);
    let parent = global::get_text_map_propagator(|propagator| {
        propagator.extract_with_context(&Context::new(), &extractor)
    });
    // An error means that the span is not recorded.
    drop(span.set_parent(parent));
}

/// Names the route and the status of a request's span.
pub(crate) fn answered(span: &Span, route: &str, status: u16) {
    if ARE_ON.load(Ordering::Relaxed) {
        span.set_attribute("http.route", route.to_owned());
        span.set_attribute("http.response.status_code", i64::from(status));
    }
}

/// The variables that this module reads itself. The exporter and the sampler read the others.
#[derive(Debug, Default)]
struct TraceVariables {
    endpoint: bool,
    disabled: bool,
    exporter: Option<String>,
    protocol: Option<(&'static str, String)>,
    names_service: bool,
    keeps_unstable: bool,
}

impl TraceVariables {
    fn read(environment: &dyn Environment) -> Self {
        let get = |name: &str| environment.var(name).filter(|value| !value.trim().is_empty());
        let of_protocol = |name: &'static str| get(name).map(|value| (name, value));
        let attributes = get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let opt_in = get("OTEL_SEMCONV_STABILITY_OPT_IN").unwrap_or_default();
        Self {
            endpoint: get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").is_some()
                || get("OTEL_EXPORTER_OTLP_ENDPOINT").is_some(),
            disabled: get("OTEL_SDK_DISABLED")
                .is_some_and(|value| value.eq_ignore_ascii_case("true")),
            exporter: get("OTEL_TRACES_EXPORTER"),
            protocol: of_protocol("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
                .or_else(|| of_protocol("OTEL_EXPORTER_OTLP_PROTOCOL")),
            names_service: get("OTEL_SERVICE_NAME").is_some()
                || attributes.contains("service.name="),
            keeps_unstable: opt_in.split(',').any(|word| word.trim() == OPT_IN),
        }
    }

    /// True if spans are to be exported.
    fn is_on(&self) -> Result<bool, TraceError> {
        let shown = |value: &str| guerdon_text::cut(value, 60).into_owned();
        if self.disabled || !self.endpoint {
            return Ok(false);
        }
        match self.exporter.as_deref() {
            None | Some("otlp") => {}
            Some("none") => return Ok(false),
            Some(other) => {
                return Err(TraceError::Variable {
                    variable: "OTEL_TRACES_EXPORTER",
                    value: shown(other),
                    problem: "guerdon exports spans over OTLP alone",
                    help: "use `otlp` or `none`",
                });
            }
        }
        match &self.protocol {
            Some((variable, value)) if value != "http/protobuf" => Err(TraceError::Variable {
                variable,
                value: shown(value),
                problem: "guerdon speaks OTLP over HTTP with protobuf bodies",
                help: "use `http/protobuf`, and the collector's HTTP port, usually 4318",
            }),
            _ => Ok(true),
        }
    }
}

/// Gives spans the names and kinds of OpenTelemetry's conventions, and takes out what is not stable
/// unless it was asked for.
#[derive(Debug)]
struct Conventions {
    inner: BatchSpanProcessor,
    keeps_unstable: bool,
}

impl Conventions {
    fn apply(&self, span: &mut SpanData) {
        let text = |span: &SpanData, key: &str| {
            let found = span.attributes.iter().find(|one| one.key.as_str() == key);
            found.map(|one| one.value.to_string()).unwrap_or_default()
        };
        match span.name.as_ref() {
            "http.request" => {
                span.span_kind = SpanKind::Server;
                let (method, route) = (text(span, "http.method"), text(span, "http.route"));
                span.name = format!("{method} {route}").into();
            }
            "chat" => {
                span.span_kind = SpanKind::Client;
                span.name = format!("chat {}", text(span, "gen_ai.request.model")).into();
            }
            "source.call" => span.span_kind = SpanKind::Client,
            _ => {}
        }
        // The layer notes level and target of every event.
        for event in &mut span.events.events {
            event.attributes.retain(|one| !matches!(one.key.as_str(), "level" | "target"));
        }
        if !self.keeps_unstable {
            span.attributes.retain(|one| !one.key.as_str().starts_with(UNSTABLE));
            span.events.events.retain(|event| !event.name.starts_with(UNSTABLE));
        }
    }
}

impl SpanProcessor for Conventions {
    fn on_start(&self, span: &mut SdkSpan, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, mut span: SpanData) {
        self.apply(&mut span);
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn is_on(variables: &[(&str, &str)]) -> Result<bool, String> {
        let environment: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let read = TraceVariables::read(&environment);
        read.is_on().map_err(|error| error.to_string())
    }

    #[test]
    fn traces_are_off_without_an_endpoint_and_where_the_environment_says_so() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        for (variables, expected) in [
            (vec![], false),
            (vec![("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], false),
            (vec![endpoint], true),
            (vec![("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1/v1/traces")], true),
            (vec![endpoint, ("OTEL_SDK_DISABLED", "TRUE")], false),
            (vec![endpoint, ("OTEL_TRACES_EXPORTER", "none")], false),
            (vec![endpoint, ("OTEL_TRACES_EXPORTER", "otlp")], true),
            (vec![endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")], true),
        ] {
            assert_eq!(is_on(&variables), Ok(expected), "{variables:?}");
        }
    }

    #[test]
    fn exporters_and_protocols_that_are_not_supported_are_named_with_a_fix() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        for (name, value, fix) in [
            ("OTEL_TRACES_EXPORTER", "zipkin", "`otlp` or `none`"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "http/protobuf"),
        ] {
            let error = is_on(&[endpoint, (name, value)]).unwrap_err();
            assert!(
                error.contains(name) && error.contains(value) && error.contains(fix),
                "{error}"
            );
        }
    }
}

//! A stand-in for an OpenTelemetry collector that keeps the spans it receives.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::{Mutex, MutexGuard};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A span as it was received. Ids are in hexadecimal digits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReceivedSpan {
    /// The name.
    pub name: String,
    /// The kind, as its number in the protocol: 1 internal, 2 server, 3 client.
    pub kind: i32,
    /// The trace.
    pub trace: String,
    /// The span itself.
    pub id: String,
    /// The parent; empty for a root.
    pub parent: String,
    /// The spans that it is linked to.
    pub links: Vec<String>,
    /// The attributes, as text.
    pub attributes: BTreeMap<String, String>,
    /// The events with their attributes.
    pub events: Vec<(String, BTreeMap<String, String>)>,
    /// The attributes of the process that sent it.
    pub resource: BTreeMap<String, String>,
}

type SpanLog = Arc<Mutex<Vec<ReceivedSpan>>>;

/// A stand-in for an OpenTelemetry collector, on a free port of 127.0.0.1. It takes traces over HTTP
/// with protobuf bodies. Dropping it stops it.
#[derive(Debug)]
pub struct StandInCollector {
    url: String,
    received: SpanLog,
    _serving: JoinSet<()>,
}

impl StandInCollector {
    /// Starts a collector.
    pub async fn start() -> Self {
        let received = SpanLog::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new()
            .route("/v1/traces", routing::post(receive))
            .with_state(Arc::clone(&received));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, received, _serving: serving }
    }

    /// The base URL, the value of `OTEL_EXPORTER_OTLP_ENDPOINT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The spans so far, in the order in which they ended.
    pub fn spans(&self) -> MutexGuard<'_, Vec<ReceivedSpan>> {
        self.received.lock()
    }
}

async fn receive(State(received): State<SpanLog>, body: Bytes) -> Response {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    for group in request.resource_spans {
        let resource = group.resource.map(|one| texts(&one.attributes)).unwrap_or_default();
        let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
        received.lock().extend(spans.map(|span| read(&span, &resource)));
    }
    let reply = ExportTraceServiceResponse::default().encode_to_vec();
    ([(header::CONTENT_TYPE, "application/x-protobuf")], reply).into_response()
}

fn read(span: &Span, resource: &BTreeMap<String, String>) -> ReceivedSpan {
    ReceivedSpan {
        name: span.name.clone(),
        kind: span.kind,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
        attributes: texts(&span.attributes),
        events: span.events.iter().map(|one| (one.name.clone(), texts(&one.attributes))).collect(),
        resource: resource.clone(),
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: Option<&AnyValue>| match value.and_then(|one| one.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(is_true)) => is_true.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|one| (one.key.clone(), text(one.value.as_ref()))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

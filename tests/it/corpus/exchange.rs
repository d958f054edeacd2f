//! Sends a recorded request, and reads the reply in the form that recordings have.

use std::collections::{BTreeMap, BTreeSet};

use guerdon_tests::{Reply, Server};
use reqwest::RequestBuilder;
use serde_json::{Map, Value, json};

use super::case::{Case, Request};

/// Headers of a reply that clients may read.
const HEADERS: [&str; 8] = [
    "allow",
    "content-type",
    "guerdon-version",
    "location",
    "retry-after",
    "www-authenticate",
    "x-guerdon-unrecognised",
    "x-request-id",
];

/// Most times that a request with `until` is sent.
const MOST_TRIES: usize = 50;

/// Sends `case`'s request. `kept` holds the values that earlier cases named.
pub(super) async fn exchange(
    server: &Server,
    case: &Case,
    kept: &mut BTreeMap<String, String>,
) -> Value {
    for (name, text) in &case.files {
        server.replace(name, text);
    }
    let mut reply = send(request(server, &case.request, kept)).await;
    for _ in 0..MOST_TRIES {
        if case.until.is_none_or(|status| reply.status == status) {
            break;
        }
        reply = send(request(server, &case.request, kept)).await;
    }
    let recorded = recorded(&case.request.path, &reply);
    for (name, pointer) in &case.keep {
        let value = recorded["body"].pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        kept.insert(format!("@{name}@"), value.to_owned());
    }
    recorded
}

fn request(server: &Server, request: &Request, kept: &BTreeMap<String, String>) -> RequestBuilder {
    let url = format!("{}{}", server.url, request.path);
    let mut sent = server.http.request(request.method.parse().unwrap(), url);
    if let Some(body) = &request.body {
        let mut text = body.to_string();
        for (name, value) in kept {
            text = text.replace(name, value);
        }
        sent = sent.header("content-type", "application/json").body(text);
    }
    if let Some(text) = &request.text {
        sent = sent.body(text.clone());
    }
    if let Some(hex) = &request.hex {
        sent = sent.body(bytes(hex));
    }
    for (name, value) in &request.headers {
        sent = sent.header(name, value);
    }
    sent
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

async fn send(request: RequestBuilder) -> Reply {
    Reply::read(request.send().await.expect("a reply")).await
}

fn recorded(path: &str, reply: &Reply) -> Value {
    let header = |name: &str| Some(reply.headers.get(name)?.to_str().unwrap().to_owned());
    let headers: BTreeMap<_, _> =
        HEADERS.iter().filter_map(|name| Some((*name, header(name)?))).collect();
    let content = header("content-type").unwrap_or_default();
    let (key, value) = match path {
        "/metrics" if reply.status == 200 => ("metrics", metrics(&reply.text)),
        "/openapi.json" => ("routes", routes(&reply.json())),
        _ if content.starts_with("application/x-ndjson") => ("lines", lines(&reply.text)),
        _ if content.contains("json") => ("body", reply.json()),
        _ if content.starts_with("text/html") => ("text", json!("<string>")),
        _ => ("text", json!(reply.text)),
    };
    json!({ "status": reply.status, "headers": headers, key: value })
}

/// A stream's lines. Results may come in any order and are sorted by their index; the summary stays
/// last.
fn lines(text: &str) -> Value {
    let mut lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(|line| line.get("index").and_then(Value::as_u64).unwrap_or(u64::MAX));
    json!(lines)
}

/// Each series as `name{label="value"}`, histograms without their buckets. Values are not recorded.
fn metrics(text: &str) -> Value {
    let series = text.lines().filter(|line| !line.starts_with('#'));
    let names = series.filter_map(|line| Some(line.rsplit_once(' ')?.0));
    let names = names.filter(|name| !name.contains("le=\""));
    names
        .map(str::to_owned)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|name| (name, json!({})))
        .collect::<Map<_, _>>()
        .into()
}

/// Each documented path with its methods and the names of its parameters.
fn routes(document: &Value) -> Value {
    let parameters = |operation: &Value| -> Map<String, Value> {
        let list = operation["parameters"].as_array().into_iter().flatten();
        list.map(|one| (one["name"].as_str().unwrap().to_owned(), json!({}))).collect()
    };
    let methods = |path: &Value| -> Map<String, Value> {
        let methods = path.as_object().into_iter().flatten();
        methods.map(|(method, one)| (method.clone(), parameters(one).into())).collect()
    };
    let paths = document["paths"].as_object().into_iter().flatten();
    paths.map(|(path, one)| (path.clone(), Value::from(methods(one)))).collect::<Map<_, _>>().into()
}

//! Faults of the other side: each abstains by name, and only the turns that it concerns.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use futures_util::future::join_all;
use guerdon_remote::HttpSourceConfig;
use guerdon_types::{AbstainCause, AbstainReason, AbstainWhy, Signal};
use serde_json::{Value, json};

use crate::server::{
    FunctionServer, Received, abstention, ask, ask_until, config, lengths, reply, source, value,
};

/// Checks the name and the cause of an abstention.
fn check(signal: &Signal, why: AbstainWhy, reason: Option<AbstainReason>, cause: AbstainCause) {
    let abstention = abstention(signal);
    assert_eq!(abstention.why, why, "{abstention:?}");
    assert_eq!(
        abstention.reason.as_ref().and_then(|reason| reason.known()),
        reason,
        "{abstention:?}"
    );
    assert_eq!(abstention.cause(), cause, "{abstention:?}");
    assert_eq!(abstention.source.as_str(), "lengths");
    assert!(!abstention.detail.is_empty() && abstention.detail.chars().count() <= 300);
}

async fn asked(answer: impl Fn(&Received) -> Response + Send + Sync + 'static) -> (Signal, usize) {
    let server = FunctionServer::start(answer).await;
    let config = HttpSourceConfig {
        max_reply_bytes: 100_000,
        attempt_timeout: Duration::from_millis(500),
        ..config(server.url())
    };
    let signal = ask(&source(config), &["a"]).await;
    (signal, server.received().len())
}

fn never() -> Body {
    Body::from_stream(futures_util::stream::pending::<Result<String, std::io::Error>>())
}

#[tokio::test]
async fn every_status_has_its_name_and_only_those_that_help_are_retried() {
    use AbstainCause::{Content, Infrastructure};
    use AbstainReason::{BadRequest, Denied, EndpointFailed};
    for (status, reason, cause, calls) in [
        (500, EndpointFailed, Infrastructure, 2),
        (502, EndpointFailed, Infrastructure, 2),
        (503, EndpointFailed, Infrastructure, 2),
        (408, EndpointFailed, Infrastructure, 2),
        (401, Denied, Infrastructure, 1),
        (403, Denied, Infrastructure, 1),
        (404, Denied, Infrastructure, 1),
        (400, BadRequest, Content, 1),
        (413, BadRequest, Content, 1),
        (422, BadRequest, Content, 1),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let (signal, received) = asked(move |_| (status, "no").into_response()).await;
        check(&signal, AbstainWhy::EndpointError, Some(reason), cause);
        assert_eq!(received, calls, "{status}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_reply_is_malformed() {
    for body in [
        "",
        "null",
        "[]",
        "{}",
        "NaN",
        "<html>",
        "{\"results\": []}",
        "{\"results\": 3}",
        "{\"results\": [{\"value\": 1}, {\"value\": 2}]}",
        "{\"results\": [{\"value\": NaN}]}",
        "{\"results\": [{\"value\": 1e999}]}",
        "{\"results\": [{\"value\": null}]}",
        "{\"results\": [3]}",
        "{\"results\": [{\"value\": 1}]",
        "\u{0}",
        "{\"results\": [{\"value\": \"1\"}]}",
    ] {
        let (signal, calls) = asked(move |_| body.into_response()).await;
        check(&signal, AbstainWhy::Malformed, None, AbstainCause::Content);
        assert_eq!(calls, 1, "{body}");
    }
}

#[tokio::test]
async fn a_huge_body_is_cut_off_and_malformed() {
    let (signal, _) = asked(|_| {
        let block = || Ok::<_, std::io::Error>("x".repeat(10_000));
        Body::from_stream(futures_util::stream::repeat_with(block)).into_response()
    })
    .await;
    check(&signal, AbstainWhy::Malformed, None, AbstainCause::Content);
}

#[tokio::test]
async fn a_server_that_hangs_times_out() {
    for answer in [
        || never().into_response(),
        || {
            let slow = futures_util::stream::unfold((), async |()| {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some((Ok::<_, std::io::Error>(" "), ()))
            });
            Body::from_stream(Box::pin(slow)).into_response()
        },
    ] {
        let (signal, calls) = asked(move |_| answer()).await;
        let reason = Some(AbstainReason::TimedOut);
        check(&signal, AbstainWhy::Unreachable, reason, AbstainCause::Infrastructure);
        assert_eq!(calls, 2);
    }
}

#[tokio::test]
async fn a_refused_connection_is_unreachable() {
    let url = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/score", listener.local_addr().unwrap())
    };
    let signal = ask(&source(config(url)), &["a"]).await;
    let reason = Some(AbstainReason::ConnectionRefused);
    check(&signal, AbstainWhy::Unreachable, reason, AbstainCause::Infrastructure);
}

#[tokio::test]
async fn a_redirect_to_another_host_is_not_followed() {
    let other = FunctionServer::lengths().await;
    for status in [301, 302, 303, 307, 308] {
        let (status, target) = (StatusCode::from_u16(status).unwrap(), other.url());
        let (signal, _) =
            asked(move |_| (status, [("location", target.clone())], "").into_response()).await;
        let reason = Some(AbstainReason::Denied);
        check(&signal, AbstainWhy::EndpointError, reason, AbstainCause::Infrastructure);
    }
    assert!(other.received().is_empty(), "the dialogue left the configured host");
}

#[tokio::test]
async fn a_redirect_on_the_same_host_that_keeps_the_body_is_followed() {
    let (signal, calls) = asked(|received| match received.path.as_str() {
        "/score" => Redirect::temporary("/score/").into_response(),
        _ => lengths(received, "1"),
    })
    .await;
    assert_eq!((value(&signal), calls), (Some(1.0), 2));
    let (signal, _) = asked(|_| Redirect::temporary("/score").into_response()).await;
    abstention(&signal);
}

#[tokio::test]
async fn the_delay_of_a_refusal_for_load_is_kept() {
    let calls = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let (signal, _) = asked(move |received| {
        if calls.fetch_add(1, Ordering::Relaxed) == 0 {
            (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")], "later").into_response()
        } else {
            lengths(received, "1")
        }
    })
    .await;
    assert_eq!(value(&signal), Some(1.0));
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_refusal_for_load_until_the_deadline_is_rate_limited() {
    let refuses = |_: &Received| {
        (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "30")], "later").into_response()
    };
    let server = FunctionServer::start(refuses).await;
    let source = source(config(server.url()));
    let signal = ask_until(&source, &["a"], Some(Duration::from_secs(2))).await;
    check(&signal, AbstainWhy::RateLimited, None, AbstainCause::Infrastructure);
}

#[tokio::test]
async fn a_deadline_ends_the_wait() {
    let server = FunctionServer::start(|_| never().into_response()).await;
    let source = source(config(server.url()));
    let started = Instant::now();
    let signal = ask_until(&source, &["a"], Some(Duration::from_millis(200))).await;
    check(&signal, AbstainWhy::Deadline, None, AbstainCause::Infrastructure);
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_turn_that_the_function_refuses_silences_no_other_one() {
    let server = FunctionServer::start(|received| {
        if received.asked().iter().any(|content| content.starts_with("poison")) {
            return (StatusCode::UNPROCESSABLE_ENTITY, "cannot be read").into_response();
        }
        lengths(received, "1")
    })
    .await;
    let source =
        source(HttpSourceConfig { linger: Duration::from_millis(50), ..config(server.url()) });
    let texts: Vec<String> =
        (0..32).map(|at| if at == 13 { "poison".to_owned() } else { "x".repeat(at) }).collect();
    let signals = join_all(texts.iter().map(|text| {
        let source = &source;
        async move { ask(source, &[text]).await }
    }))
    .await;
    for (at, signal) in signals.iter().enumerate() {
        assert_eq!(value(signal), (at != 13).then_some(at as f64), "{at}");
    }
}

#[tokio::test]
async fn a_wrong_result_or_an_abstention_is_of_its_own_turn() {
    let server = FunctionServer::start(|received| {
        let result = |content: &String| match content.as_str() {
            "reason" => json!({ "abstain": "no price" }),
            "wrong" => json!({ "value": "no number" }),
            content => json!({ "value": content.len() }),
        };
        let results: Vec<Value> = received.asked().iter().map(result).collect();
        reply(json!({ "version": "1", "results": results }))
    })
    .await;
    let source =
        source(HttpSourceConfig { linger: Duration::from_millis(50), ..config(server.url()) });
    let signals = join_all(["aa", "reason", "wrong", "b"].map(|text| {
        let source = &source;
        async move { ask(source, &[text]).await }
    }))
    .await;
    assert_eq!(server.received().len(), 1);
    assert_eq!([value(&signals[0]), value(&signals[3])], [Some(2.0), Some(1.0)]);
    check(&signals[1], AbstainWhy::Refused, None, AbstainCause::Content);
    assert_eq!(abstention(&signals[1]).detail, "no price");
    check(&signals[2], AbstainWhy::Malformed, None, AbstainCause::Content);
}

#[tokio::test]
async fn calls_go_to_the_address_that_is_up() {
    let server = FunctionServer::lengths().await;
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/score", listener.local_addr().unwrap())
    };
    let config = HttpSourceConfig { urls: vec![server.url()], batch: 1, ..config(closed) };
    let source = source(config);
    let texts: Vec<String> = (1..40).map(|length| "x".repeat(length)).collect();
    let signals = join_all(texts.iter().map(|text| {
        let source = &source;
        async move { ask(source, &[text]).await }
    }))
    .await;
    assert!(signals.iter().all(|signal| value(signal).is_some()), "{signals:?}");
}

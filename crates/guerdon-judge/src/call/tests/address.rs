//! One reply of one address.

use std::time::Duration;

use guerdon_types::{AbstainReason, AbstainWhy};
use serde_json::json;

use super::{Bench, Script, ScriptedAddress, config, fails, reply, verdict};
use crate::call::fault::Fault;
use crate::call::fault::classes::Class;
use crate::call::transport::TransportError;

const SECOND: Duration = Duration::from_secs(1);

async fn fault(script: impl Fn(usize) -> Script + Send + Sync + 'static) -> Fault {
    let bench = Bench::one(config(), &ScriptedAddress::that(script));
    bench.client.address(0).post(b"{}".to_vec(), SECOND).await.outcome.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_completion_comes_with_the_quotas_of_its_headers() {
    let address = ScriptedAddress::that(|_| {
        reply(200, &verdict())
            .header("x-ratelimit-limit-requests", "60")
            .header("x-ratelimit-remaining-requests", "59")
    });
    let bench = Bench::one(config(), &address);
    let reply = bench.client.address(0).post(b"{}".to_vec(), SECOND).await;
    assert_eq!(reply.outcome.unwrap().completion_tokens, 6);
    assert_eq!(
        (reply.quotas.requests[0].limit, reply.quotas.requests[0].remaining),
        (Some(60), Some(59))
    );
}

#[tokio::test(start_paused = true)]
async fn what_brings_no_reply_has_a_class_and_a_reason() {
    for (error, reason, unsent) in [
        (TransportError::UnknownHost, Some(AbstainReason::UnknownHost), true),
        (TransportError::RefusedConnection, Some(AbstainReason::ConnectionRefused), true),
        (TransportError::Tls, Some(AbstainReason::Tls), true),
        (TransportError::ConnectTimeout, Some(AbstainReason::ConnectTimeout), true),
        (TransportError::NotReached, None, true),
        (TransportError::BrokeOff, Some(AbstainReason::BrokeOff), false),
    ] {
        let fault = fault(move |_| fails(error)).await;
        assert_eq!((fault.class, fault.reason), (Class::Unreachable, reason), "{error:?}");
        assert_eq!((fault.unsent, fault.uncounted), (unsent, !unsent), "{error:?}");
        assert_eq!(fault.failure().why, AbstainWhy::Unreachable);
    }
    let late = fault(|_| Script { after: 2 * SECOND, ..reply(200, &verdict()) }).await;
    assert_eq!((late.class, late.reason), (Class::Unreachable, Some(AbstainReason::TimedOut)));
    assert!(late.timed_out && late.uncounted);
    let long = fault(|_| fails(TransportError::TooLong)).await;
    assert_eq!((long.class, long.reason), (Class::BadRequest, Some(AbstainReason::BadRequest)));
}

#[tokio::test(start_paused = true)]
async fn a_status_and_a_page_are_faults_with_reasons() {
    let status = |status: u16| move |_| reply(status, &json!({ "error": { "message": "no" } }));
    for (code, class, reason) in [
        (400, Class::BadRequest, Some(AbstainReason::BadRequest)),
        (401, Class::Denied, Some(AbstainReason::Denied)),
        (402, Class::QuotaGone, Some(AbstainReason::QuotaGone)),
        (429, Class::RateLimited, None),
        (500, Class::Transient, Some(AbstainReason::EndpointFailed)),
    ] {
        let fault = fault(status(code)).await;
        assert_eq!((fault.class, fault.reason), (class, reason), "{code}");
    }
    let page = fault(|_| reply(200, &json!("<html>")).header("content-type", "text/html")).await;
    assert_eq!(page.class, Class::Denied);
    assert!(page.detail.contains("text/html") && page.uncounted, "{page:?}");
}

#[test]
fn only_failures_of_the_address_itself_are_remembered() {
    let bench = Bench::one(config(), &ScriptedAddress::that(|_| reply(200, &verdict())));
    let address = bench.client.address(0);
    for class in [Class::BadRequest, Class::TooLong, Class::Filtered, Class::RateLimited] {
        address.remember(&Fault::new(class, "d".to_owned()));
        assert_eq!(address.last_failure(), None, "{class:?}");
    }
    address.remember(&Fault::new(Class::Denied, "no key".to_owned()));
    let failure = address.last_failure().unwrap();
    assert_eq!(
        (failure.why, failure.reason),
        (AbstainWhy::EndpointError, Some(AbstainReason::Denied))
    );
}

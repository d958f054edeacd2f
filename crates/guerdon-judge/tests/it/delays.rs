//! Delays that endpoints name, under virtual time: no form of them makes the judge call in a tight
//! loop.

use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use guerdon_judge::EndpointConfig;
use proptest::prelude::*;
use tokio::time::Instant;

use crate::paused::{Act, Judge, ScriptedTransport, URL, config};

const MINUTE: Duration = Duration::from_secs(60);
/// Waits of at least 25 ms that double up to at least 4 s leave room for this many calls in a
/// minute.
const CALLS_A_MINUTE: usize = 25;

/// A refusal's headers and body: every way to name a delay, none included.
#[derive(Debug, Clone)]
struct Refusal {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: &'static str,
}

fn refusals() -> impl Strategy<Value = Refusal> {
    let date = |ago: u64| httpdate::fmt_http_date(SystemTime::now() - Duration::from_secs(ago));
    let header = prop_oneof![
        Just(Vec::new()),
        prop::sample::select(vec!["0", "0.0", "-0", "-5", "0.001", "soon", "", "1e-9", "NaN", "1"])
            .prop_map(|text| vec![("retry-after", text.to_owned())]),
        (0u64..100_000).prop_map(move |ago| vec![("retry-after", date(ago))]),
        prop::sample::select(vec!["retry-after-ms", "x-ms-retry-after-ms"])
            .prop_map(|name| vec![(name, "0".to_owned())]),
        prop::sample::select(vec!["0s", "0", "1700000000", "2020-01-01T00:00:00Z"])
            .prop_map(|reset| vec![("x-ratelimit-reset-requests", reset.to_owned())]),
    ];
    let body = prop::sample::select(vec![
        r#"{"error": "no"}"#,
        r#"{"error": {"code": 429, "details": [{"retryDelay": "0s"}]}}"#,
        r#"[{"error": {"code": 429, "details": [{"retryDelay": "0.000001s"}]}}]"#,
        "",
    ]);
    let status = prop::sample::select(vec![429, 529, 503, 500, 408, 200]);
    (status, header, body).prop_map(|(status, headers, body)| Refusal { status, headers, body })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn no_form_of_a_delay_makes_a_hot_loop(
        refusal in refusals(),
        questions in 1usize..20,
        backoff in prop::sample::select(vec![0u64, 1, 500]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let stand_in = ScriptedTransport::that(move |_| {
                let Refusal { status, headers, body } = refusal.clone();
                Act::Reply(status, headers, body.to_owned())
            });
            let config = EndpointConfig { backoff: Duration::from_millis(backoff), ..config() };
            let judge = Judge::of(config, &[(URL, std::sync::Arc::clone(&stand_in))]);
            let deadline = Some(Instant::now() + MINUTE);
            let ask = async |number| judge.judge_by(&format!("turn {number}"), deadline).await;
            let signals = join_all((0..questions).map(ask)).await;
            prop_assert!(signals.iter().all(|signal| signal.part.is_none()));
            let calls = stand_in.calls();
            prop_assert!(calls <= questions * CALLS_A_MINUTE, "{calls} calls for {questions} questions");
            Ok(())
        })?;
    }
}

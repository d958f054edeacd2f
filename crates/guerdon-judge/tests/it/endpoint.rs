//! The judge against a scripted endpoint: one call per question, honest failures, no score out of
//! nothing.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use guerdon_judge::EndpointConfig;
use guerdon_testing::{JudgeReply, StandInJudge};
use guerdon_types::{AbstainWhy, Finite};
use serde_json::json;

use crate::house::{House, TURN, abstained, let_all_tasks_ask, part, verdict, verdict_reply};

#[tokio::test]
async fn identical_questions_share_one_call() {
    let stand_in = StandInJudge::start_gated([verdict_reply("yes", Some("Take it"))], 0).await;
    let house = House::of(&stand_in);
    let asked = join_all((0..1024).map(|_| house.judge(TURN)));
    let release = async {
        stand_in.wait_for_calls(1).await;
        let_all_tasks_ask().await;
        stand_in.release(usize::from(u16::MAX));
    };
    let (signals, ()) = tokio::join!(asked, release);
    assert_eq!(stand_in.calls(), 1);
    assert!(signals.iter().all(|signal| part(signal).points == Finite::from(-10)));
    let calls: u64 = signals.iter().map(|signal| signal.usage.judge_calls).sum();
    let hits: u64 = signals.iter().map(|signal| signal.usage.judge_cache_hits).sum();
    assert_eq!((calls, hits), (1, 1023));
    assert_eq!(signals.iter().filter(|signal| part(signal).cached).count(), 1023);
}

#[tokio::test]
async fn failure_is_shared_by_waiters_and_not_cached() {
    let stand_in = StandInJudge::start_gated(
        [JudgeReply::status(401, &json!({"error": "sk-123"})), verdict_reply("no", None)],
        0,
    )
    .await;
    let house = House::of(&stand_in);
    let asked = join_all((0..64).map(|_| house.judge(TURN)));
    let release = async {
        stand_in.wait_for_calls(1).await;
        let_all_tasks_ask().await;
        stand_in.release(100);
    };
    let (signals, ()) = tokio::join!(asked, release);
    assert_eq!(stand_in.calls(), 2, "the question and a check");
    for signal in &signals {
        abstained(signal, AbstainWhy::EndpointError);
        assert!(!signal.abstained[0].detail.contains("sk-123"));
    }
    part(&house.judge(TURN).await);
    assert_eq!(stand_in.calls(), 3);
}

#[tokio::test]
async fn paid_call_of_a_cancelled_caller_completes_into_the_cache() {
    let stand_in = StandInJudge::start_gated([verdict_reply("no", None)], 0).await;
    let house = House::of(&stand_in);
    tokio::select! {
        _ = house.judge(TURN) => panic!("answered too early"),
        () = stand_in.wait_for_calls(1) => {}
    }
    stand_in.release(1);
    house.tasks.close();
    house.tasks.wait().await;
    let signal = house.judge(TURN).await;
    assert!(part(&signal).cached);
    assert_eq!(stand_in.calls(), 1);
}

#[tokio::test]
async fn caller_cancelled_before_sending_costs_nothing() {
    let stand_in = StandInJudge::start_gated([verdict_reply("no", None)], 0).await;
    let config = EndpointConfig { max_concurrent: 1, ..EndpointConfig::new(stand_in.url(), "m") };
    let house = House::configured(config, &["manners"]);
    let mut first = Box::pin(house.judge("first"));
    tokio::select! {
        _ = &mut first => panic!("answered too early"),
        () = stand_in.wait_for_calls(1) => {}
    }
    // It queues behind the first, is joined by a third, and goes.
    let mut second = Box::pin(house.judge("second"));
    assert!(futures_util::poll!(&mut second).is_pending());
    tokio::task::yield_now().await;
    let mut third = Box::pin(house.judge("second"));
    assert!(futures_util::poll!(&mut third).is_pending());
    tokio::task::yield_now().await;
    drop(second);
    stand_in.release(10);
    part(&first.await);
    part(&third.await);
    assert_eq!(stand_in.calls(), 2);
}

#[tokio::test]
async fn late_answer_abstains_and_is_cached_for_the_next_time() {
    let stand_in = StandInJudge::start_gated([verdict_reply("no", None)], 0).await;
    let house = House::of(&stand_in);
    let signal = house.judge_by(TURN, Some(Instant::now() + Duration::from_millis(300))).await;
    abstained(&signal, AbstainWhy::Deadline);
    stand_in.release(1);
    part(&house.judge(TURN).await);
    assert_eq!(stand_in.calls(), 1);
}

#[tokio::test]
async fn passed_deadline_sends_nothing_but_uses_the_cache() {
    let stand_in = StandInJudge::start([verdict_reply("no", None)]).await;
    let house = House::of(&stand_in);
    abstained(&house.judge_by(TURN, Some(Instant::now())).await, AbstainWhy::Deadline);
    assert_eq!(stand_in.calls(), 0);
    house.judge(TURN).await;
    assert!(part(&house.judge_by(TURN, Some(Instant::now())).await).cached);
}

#[tokio::test]
async fn a_429_is_waited_out_in_each_form_of_its_delay() {
    let date = "Mon, 23 Nov 2020 09:00:00 GMT";
    let slow_down =
        || JudgeReply::status(429, &json!({"error": {"message": "slow down", "code": "429"}}));
    let stand_in = StandInJudge::start([
        slow_down().header("retry-after-ms", "5"),
        slow_down().header("retry-after", "0.005"),
        slow_down().header("retry-after", date),
        verdict_reply("no", None),
    ])
    .await;
    let house = House::of(&stand_in);
    let signal = house.judge(TURN).await;
    assert_eq!(part(&signal).points, Finite::ZERO);
    assert_eq!(signal.usage.judge_calls, 4);
    assert_eq!(house.outcomes(), ["rate_limited", "rate_limited", "rate_limited", "ok"]);
}

#[tokio::test]
async fn delay_beyond_the_deadline_abstains_and_pauses_the_address() {
    let stand_in = StandInJudge::start([
        JudgeReply::status(429, &json!({"error": "no"})).header("retry-after", "60")
    ])
    .await;
    let house = House::of(&stand_in);
    let started = Instant::now();
    let deadline = Some(started + Duration::from_secs(30));
    abstained(&house.judge_by(TURN, deadline).await, AbstainWhy::RateLimited);
    abstained(&house.judge_by("another", deadline).await, AbstainWhy::RateLimited);
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(stand_in.calls(), 1);
}

#[tokio::test]
async fn delay_of_hours_abstains_immediately() {
    let stand_in = StandInJudge::start([
        JudgeReply::status(429, &json!({"error": "no"})).header("retry-after", "7200")
    ])
    .await;
    let house = House::of(&stand_in);
    abstained(&house.judge(TURN).await, AbstainWhy::RateLimited);
    assert_eq!(stand_in.calls(), 1);
}

#[tokio::test]
async fn a_500_is_asked_again() {
    let stand_in = StandInJudge::start([
        JudgeReply::status(500, &json!("oops")),
        verdict_reply("yes", Some("leave it")),
    ])
    .await;
    let house = House::of(&stand_in);
    let signal = house.judge(TURN).await;
    assert_eq!(part(&signal).criteria[0].evidence.as_deref(), Some("leave it"));
    assert_eq!(house.outcomes(), ["transient", "ok"]);
}

#[tokio::test]
async fn an_endpoint_that_goes_on_failing_abstains() {
    let stand_in =
        StandInJudge::start([JudgeReply::status(500, &json!({"error": {"message": "oops"}}))])
            .await;
    let house = House::of(&stand_in);
    let signal = house.judge(TURN).await;
    abstained(&signal, AbstainWhy::EndpointError);
    assert!(signal.abstained[0].detail.contains("HTTP 500"), "{:?}", signal.abstained);
    assert_eq!(signal.usage.judge_calls, 4);
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_abstains_as_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let house = House::configured(EndpointConfig::new(url, "m"), &["manners"]);
    abstained(&house.judge(TURN).await, AbstainWhy::Unreachable);
}

#[tokio::test]
async fn a_malformed_answer_is_asked_once_more_without_showing_it() {
    let stand_in =
        StandInJudge::start([JudgeReply::content("I would say: fine"), verdict_reply("no", None)])
            .await;
    let house = House::of(&stand_in);
    part(&house.judge(TURN).await);
    let bodies = stand_in.requests();
    assert_eq!(bodies.len(), 2);
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(house.outcomes(), ["malformed", "ok"]);
}

#[tokio::test]
async fn an_answer_that_stays_malformed_abstains_and_is_not_kept() {
    let stand_in =
        StandInJudge::start([JudgeReply::content(r#"{"findings": {"ignores": {"level": "no"}}}"#)])
            .await;
    let house = House::of(&stand_in);
    let signal = house.judge(TURN).await;
    abstained(&signal, AbstainWhy::Malformed);
    assert!(signal.abstained[0].detail.contains("`rude` is not judged"), "{:?}", signal.abstained);
    assert_eq!((signal.usage.judge_calls, signal.usage.prompt_tokens), (2, 200));
    house.judge(TURN).await;
    assert_eq!(stand_in.calls(), 4);
}

#[tokio::test]
async fn disagreeing_verdicts_are_ambiguous_and_not_re_asked() {
    let forged =
        format!("The reply says {} but I find {}", verdict("no", None), verdict("yes", None));
    let stand_in = StandInJudge::start([JudgeReply::content(&forged)]).await;
    let house = House::of(&stand_in);
    abstained(&house.judge(TURN).await, AbstainWhy::Ambiguous);
    assert_eq!(stand_in.calls(), 1);
}

#[tokio::test]
async fn a_cut_off_answer_gets_twice_the_room_once() {
    let cut = JudgeReply::finished(r#"{"findings": {"#, "length");
    let stand_in =
        StandInJudge::start([cut.clone(), cut.clone(), cut, verdict_reply("no", None)]).await;
    let house = House::of(&stand_in);
    abstained(&house.judge(TURN).await, AbstainWhy::Truncated);
    let bodies = stand_in.requests();
    assert_eq!((&bodies[0]["max_tokens"], &bodies[1]["max_tokens"]), (&json!(512), &json!(1024)));
    part(&house.judge(TURN).await);
}

#[tokio::test]
async fn a_refusal_abstains_as_refused() {
    let refusal = json!({"choices": [{"message": {"content": null, "refusal": "I cannot"}, "finish_reason": "stop"}]});
    for scripted in [JudgeReply::status(200, &refusal), JudgeReply::finished("", "content_filter")]
    {
        let stand_in = StandInJudge::start([scripted]).await;
        let house = House::of(&stand_in);
        abstained(&house.judge(TURN).await, AbstainWhy::Refused);
        assert_eq!(stand_in.calls(), 1);
    }
}

#[tokio::test]
async fn an_error_inside_a_success_is_an_error() {
    let hidden = JudgeReply::status(
        200,
        &json!({"error": {"code": 502, "message": "upstream"}, "choices": null}),
    );
    let stand_in = StandInJudge::start([hidden, verdict_reply("no", None)]).await;
    let house = House::of(&stand_in);
    part(&house.judge(TURN).await);
    assert_eq!(house.outcomes(), ["transient", "ok"]);
}

#[tokio::test]
async fn a_format_that_is_refused_is_weakened_once_and_remembered() {
    let bad_request =
        json!({"error": {"message": "response_format json_schema is not supported", "code": 400}});
    let pydantic = json!({"detail": [{"type": "literal_error", "loc": ["body", "response_format", "type"],
        "msg": "Input should be 'text' or 'json_object'", "input": "json_schema"}]});
    // A text may quote the question, so a question of guerdon's own confirms it.
    let mentioned = [JudgeReply::status(400, &bad_request), JudgeReply::status(400, &bad_request)];
    let named = [JudgeReply::status(500, &pydantic)];
    for refusals in [mentioned.as_slice(), named.as_slice()] {
        let replies = refusals.iter().cloned().chain([verdict_reply("no", None)]);
        let stand_in = StandInJudge::start(replies).await;
        let house = House::of(&stand_in);
        part(&house.judge("one").await);
        part(&house.judge("two").await);
        let formats: Vec<_> = stand_in
            .requests()
            .iter()
            .map(|body| body["response_format"]["type"].clone())
            .collect();
        let (refused, accepted) = formats.split_at(refusals.len());
        assert!(refused.iter().all(|format| format == "json_schema"), "{formats:?}");
        assert_eq!(accepted, ["json_object", "json_object"]);
        assert_eq!(house.outcomes()[refusals.len() - 1..], ["weakened", "ok", "ok"]);
    }
}

#[tokio::test]
async fn a_format_that_only_one_question_is_refused_for_is_kept_for_the_others() {
    let refusal = json!({"error": {"message": "bad grammar", "code": 400}});
    let stand_in =
        StandInJudge::start([JudgeReply::status(400, &refusal), verdict_reply("no", None)]).await;
    let house = House::of(&stand_in);
    part(&house.judge("Marmalade!").await);
    part(&house.judge("two").await);
    let bodies = stand_in.requests();
    let formats: Vec<_> = bodies.iter().map(|body| &body["response_format"]["type"]).collect();
    assert_eq!(formats, ["json_schema", "json_schema", "json_object", "json_schema"]);
    assert_eq!(house.outcomes(), ["checked", "weakened", "ok", "ok"]);
    let check = bodies[1]["messages"].to_string();
    assert!(
        !check.contains("Marmalade") && check.contains("checks that you can be reached"),
        "{check}"
    );
}

#[tokio::test]
async fn quote_that_does_not_occur_is_no_evidence() {
    let stand_in = StandInJudge::start([verdict_reply("yes", Some("you are a fool"))]).await;
    let house = House::of(&stand_in);
    let signal = house.judge(TURN).await;
    assert_eq!(part(&signal).points, Finite::from(-10), "the level needs no quote, so it stands");
    assert_eq!(part(&signal).criteria[0].evidence, None);
    assert!(signal.abstained.is_empty());
}

#[tokio::test]
async fn a_verdict_in_prose_is_read_and_changes_nothing_for_others() {
    let prose = format!("Sure! Here it is: {}", verdict("no", None));
    let stand_in = StandInJudge::start([JudgeReply::content(&prose)]).await;
    let house = House::of(&stand_in);
    part(&house.judge("one").await);
    part(&house.judge("two").await);
    assert_eq!(stand_in.requests()[1]["response_format"]["type"], "json_schema");
    assert_eq!(house.outcomes(), ["ok", "ok"]);
}

#[tokio::test]
async fn an_empty_reply_fails_without_a_call() {
    let stand_in = StandInJudge::start([verdict_reply("no", None)]).await;
    let house = House::of(&stand_in);
    for silence in ["", " \n\t", "\u{200b}\u{2060}"] {
        let signal = house.judge(silence).await;
        assert_eq!(part(&signal).points, Finite::from(-20));
        assert_eq!(part(&signal).criteria[0].id, "ignores");
        assert_eq!(part(&signal).criteria[0].evidence, None);
    }
    assert_eq!(stand_in.calls(), 0);
}

#[tokio::test]
async fn a_prompt_that_fails_is_named_beside_those_that_answer() {
    let stand_in = StandInJudge::start([
        verdict_reply("yes", None),
        JudgeReply::status(404, &json!({"error": "gone"})),
    ])
    .await;
    let config = EndpointConfig { max_concurrent: 1, ..EndpointConfig::new(stand_in.url(), "m") };
    let house = House::configured(config, &["first", "second"]);
    let signal = house.judge(TURN).await;
    assert_eq!(part(&signal).points, Finite::from(-10));
    assert_eq!(signal.abstained.len(), 1);
    let answered = &part(&signal).criteria[0].prompt;
    assert!(
        !signal.abstained[0].detail.contains(&format!("`{answered}`")),
        "{:?}",
        signal.abstained
    );
}

#[tokio::test]
async fn cost_is_reported_to_caller_and_observer() {
    let stand_in = StandInJudge::start([verdict_reply("no", None)]).await;
    let mut config = EndpointConfig::new(stand_in.url(), "m");
    config.prices.prompt_per_million = Finite::from(10_000);
    let house = House::configured(config, &["manners"]);
    let paid = house.judge(TURN).await.usage;
    assert!((paid.cost - 1.0).abs() < 1e-9);
    assert_eq!(house.judge(TURN).await.usage.cost.to_bits(), 0f64.to_bits());
    assert_eq!(house.outcomes(), ["ok", "cached"]);
    assert_eq!(house.events.lock().unwrap()[0].usage, paid);
}

//! A model that reasons its whole room away is asked once more, with more room and for less
//! reasoning.

use guerdon_judge::EndpointConfig;
use guerdon_testing::{JudgeReply, StandInJudge};
use guerdon_types::AbstainWhy;
use serde_json::{Value, json};

use crate::house::{House, TURN, abstained, part, verdict_reply};

fn house(stand_in: &StandInJudge, extra_body: &Value) -> House {
    let config = EndpointConfig {
        extra_body: extra_body.as_object().unwrap().clone(),
        ..EndpointConfig::new(stand_in.url(), "m")
    };
    House::configured(config, &["manners"])
}

/// A reply that is cut off, with these fields in its message and in its usage.
fn cut(message: &Value, usage: &Value) -> JudgeReply {
    JudgeReply::status(
        200,
        &json!({"choices": [{"message": message, "finish_reason": "length"}], "usage": usage}),
    )
}

fn silent() -> JudgeReply {
    cut(&json!({"content": ""}), &json!({"prompt_tokens": 100, "completion_tokens": 512}))
}

fn efforts(stand_in: &StandInJudge) -> Vec<Value> {
    stand_in.requests().iter().map(|body| body["reasoning_effort"].clone()).collect()
}

#[tokio::test]
async fn configured_reasoning_is_lowered_for_the_re_ask_only() {
    let stand_in = StandInJudge::start([silent(), verdict_reply("no", None)]).await;
    let house = house(&stand_in, &json!({"reasoning_effort": "high", "seed": 7}));
    part(&house.judge(TURN).await);
    part(&house.judge("another").await);
    assert_eq!(efforts(&stand_in), ["high", "low", "high"]);
    let bodies = stand_in.requests();
    assert_eq!((&bodies[1]["max_tokens"], &bodies[1]["seed"]), (&json!(1024), &json!(7)));
}

#[tokio::test]
async fn where_nothing_is_configured_a_reply_has_to_show_that_the_model_reasons() {
    let counted =
        json!({"completion_tokens": 512, "completion_tokens_details": {"reasoning_tokens": 512}});
    for (reply, wanted) in [
        (silent(), Value::Null),
        (cut(&json!({"content": null}), &counted), json!("low")),
        (cut(&json!({"content": null}), &json!({"reasoning_tokens": 512})), json!("low")),
        (
            cut(&json!({"content": null, "reasoning_content": "Let me see"}), &json!({})),
            json!("low"),
        ),
        (cut(&json!({"content": "<think>\nLet me see"}), &json!({})), json!("low")),
    ] {
        let stand_in = StandInJudge::start([reply, verdict_reply("no", None)]).await;
        let house = house(&stand_in, &json!({}));
        part(&house.judge(TURN).await);
        assert_eq!(efforts(&stand_in), [Value::Null, wanted]);
    }
}

#[tokio::test]
async fn an_endpoint_that_refuses_the_field_is_asked_without_it_and_that_is_remembered() {
    let reasoned = cut(&json!({"content": null, "reasoning": "Let me see"}), &json!({}));
    let unknown = json!([{"error": {"code": 400, "message": "Unknown name \"reasoning_effort\""}}]);
    let stand_in = StandInJudge::start([
        reasoned.clone(),
        JudgeReply::status(400, &unknown),
        // A question of guerdon's own confirms it.
        JudgeReply::status(400, &unknown),
        verdict_reply("no", None),
        reasoned,
    ])
    .await;
    let house = house(&stand_in, &json!({}));
    part(&house.judge(TURN).await);
    abstained(&house.judge("another").await, AbstainWhy::Truncated);
    assert_eq!(
        efforts(&stand_in),
        [Value::Null, json!("low"), json!("low"), Value::Null, Value::Null, Value::Null]
    );
    let outcomes = ["truncated", "bad_request", "weakened", "ok", "truncated", "truncated"];
    assert_eq!(house.outcomes(), outcomes);
}

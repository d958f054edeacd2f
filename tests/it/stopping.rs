//! A stop finishes the requests in flight.

use guerdon_tests::{JudgeReply, Server, StandInJudge};
use serde_json::json;

use crate::judge::{PROMPT, configured, verdict};

#[tokio::test]
async fn request_in_flight_is_answered_before_the_server_stops() {
    let judge = StandInJudge::start_gated([JudgeReply::content(verdict("warm"))], 0).await;
    let server = Server::with(&configured(judge.url()), &[("kind.md", PROMPT)]).await;
    let (http, url) = (server.http.clone(), format!("{}/v1/score", server.url));
    let request = async {
        let sent = http
            .post(url)
            .json(&json!({ "rollouts": [Server::rollout("480 .")] }))
            .send()
            .await
            .unwrap();
        sent.json::<serde_json::Value>().await.unwrap()
    };
    let stop = async {
        judge.wait_for_calls(1).await;
        let stopping = server.stop();
        judge.release(1);
        stopping.await
    };
    let (reply, finished) = tokio::join!(request, stop);
    assert!(finished);
    assert!(reply["results"][0]["turns"][0]["judge"].is_object(), "{reply}");
}

//! The ledger records what was replied, on every scoring route, and is never in the way of a reply.

use guerdon_ledger::{LedgerReader, PostgresReader, RolloutFilter, StoredRollout};
use guerdon_testing::PostgresServer;
use guerdon_tests::{Server, WAIT_LIMIT, wait_until};
use serde_json::{Value, json};

use crate::corpus::{recorded_posts, trainers_server_with};

const LEDGER: &str = "\n[ledger]\npath = \"kept/ledger.sqlite\"\nfull = \"wait\"\n";

/// The rollouts of a selection, once the server has written all that it has handed over.
async fn recorded(server: &Server, filter: &RolloutFilter) -> Vec<StoredRollout> {
    let is_idle = async || server.metric("guerdon_ledger_queue_depth", "").await < 0.5;
    wait_until("the ledger is written", WAIT_LIMIT, is_idle).await;
    let reader = LedgerReader::open(&server.path("kept/ledger.sqlite")).unwrap();
    reader.rollouts(filter, 10_000).unwrap()
}

/// JSON with numbers of six digits: raw scores are written as `f32`.
fn rounded(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            json!(number.as_f64().map(|number| format!("{number:.5}")))
        }
        Value::Array(items) => items.iter().map(rounded).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), rounded(value))).collect()
        }
        other => other.clone(),
    }
}

fn result_of(stored: &StoredRollout) -> Value {
    rounded(&serde_json::to_value(&stored.result).unwrap())
}

#[tokio::test]
async fn replies_at_once_and_streamed_are_recorded_as_they_were_sent() {
    let server = Server::with(LEDGER, &[]).await;
    let mut rollouts: Vec<Value> = (0..40).map(|n| Server::rollout(&format!("{n} ."))).collect();
    rollouts.iter_mut().for_each(|rollout| rollout["group"] = json!("g"));
    rollouts[3] = json!({ "id": "broken", "group": "g", "messages": [] });
    let body = json!({
        "rollouts": rollouts, "run": "exp-12", "step": 140, "split": "train",
        "advantages": { "estimator": "grpo" },
    });
    let reply = server.score(&body).await;
    let stored = recorded(&server, &RolloutFilter::default()).await;
    assert_eq!(stored.len(), 40);
    for (index, stored) in stored.iter().enumerate() {
        assert_eq!(result_of(stored), rounded(&reply["results"][index]));
        assert_eq!(json!(stored.request_id), reply["request_id"]);
        assert_eq!(rounded(&json!(*stored.versions)), rounded(&reply["versions"]));
        assert_eq!(stored.labels.run.as_deref(), Some("exp-12"));
        assert_eq!(stored.labels.step, Some(140));
        assert_eq!(stored.labels.split.as_deref(), Some("train"));
    }
    assert_eq!(stored[3].result.reward, None);
    assert!(stored.iter().all(|one| one.group.as_deref() == Some("g")));
    assert!(stored[4].result.advantage.is_some());
    assert_eq!(
        json!(stored[4].rollout.as_ref().unwrap().messages[1].content),
        rollouts[4]["messages"][1]["content"]
    );

    let url = format!("{}/v1/score", server.url);
    let sent = server.http.post(url).header("accept", "application/x-ndjson").json(&body).send();
    let text = sent.await.unwrap().text().await.unwrap();
    let filter = RolloutFilter { after: Some(stored[39].id), ..RolloutFilter::default() };
    let streamed = recorded(&server, &filter).await;
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (_, lines) = lines.split_last().unwrap();
    assert_eq!((streamed.len(), lines.len()), (40, 40));
    for (stored, line) in streamed.iter().zip(lines) {
        let mut line = rounded(line);
        line.as_object_mut().unwrap().remove("index");
        assert_eq!(result_of(stored), line);
    }
    server.stop().await;
}

#[tokio::test]
async fn every_rollout_of_every_scoring_route_is_recorded_with_its_labels() {
    let (_judges, server) = trainers_server_with(LEDGER).await;
    let (mut scoring, mut seen) = (0, 0);
    for name in ["trainers", "trainers_forms", "trainers_under_profile"] {
        for (number, (path, body)) in recorded_posts(name).into_iter().enumerate() {
            let before = server.metric("guerdon_rollouts_total", "").await;
            let (run, step) = (format!("{name} é"), number.to_string());
            let sent = server.http.post(format!("{}{path}", server.url)).json(&body);
            let sent = sent.header("x-guerdon-run", run.as_bytes()).header("x-guerdon-step", step);
            assert_eq!(sent.send().await.unwrap().status(), 200, "{path} {body}");
            let filter = RolloutFilter {
                run: Some(run),
                first_step: Some(number.try_into().unwrap()),
                last_step: Some(number.try_into().unwrap()),
                ..RolloutFilter::default()
            };
            let scored = async || server.metric("guerdon_rollouts_total", "").await - before;
            // Some protocols score after their reply.
            let mut stored = 0;
            let what = format!("{path} {body}: what is scored is recorded");
            wait_until(&what, WAIT_LIMIT, async || {
                stored = recorded(&server, &filter).await.len();
                (scored().await - f64::from(u32::try_from(stored).unwrap())).abs() < 0.5
            })
            .await;
            scoring += usize::from(stored > 0);
            seen += 1;
        }
    }
    assert!(scoring > 60, "{scoring} of {seen} requests were recorded");
    server.stop().await;
}

#[tokio::test]
async fn labels_come_from_the_url_and_the_nearest_place_wins() {
    let (_judges, server) = trainers_server_with(LEDGER).await;
    let (path, body) = recorded_posts("trainers")
        .into_iter()
        .find(|(path, _)| path.starts_with("/get_reward"))
        .unwrap();
    let join = if path.contains('?') { '&' } else { '?' };
    let url = format!("{}{path}{join}run=by+url&step=7&split=eval", server.url);
    let sent = server.http.post(url).json(&body).header("x-guerdon-run", "by header");
    assert_eq!(sent.send().await.unwrap().status(), 200);
    let filter = RolloutFilter { run: Some("by url".into()), ..RolloutFilter::default() };
    let stored = recorded(&server, &filter).await;
    assert!(!stored.is_empty());
    assert!(stored.iter().all(|one| one.labels.step == Some(7)));
    assert!(stored.iter().all(|one| one.labels.split.as_deref() == Some("eval")));
    for (header, value) in [("x-guerdon-step", "last"), ("x-guerdon-run", &*"x".repeat(201))] {
        let sent = server.http.post(format!("{}/v1/score", server.url)).header(header, value);
        let reply = sent.json(&json!({ "rollouts": [] })).send().await.unwrap();
        assert_eq!(reply.status(), 422, "{header}");
    }
    server.stop().await;
}

#[tokio::test]
async fn broken_ledger_is_counted_and_changes_no_reply() {
    let config = LEDGER.replace("\"wait\"", "\"drop\"");
    let server = Server::with(&config, &[]).await;
    let body = json!({ "rollouts": [Server::rollout("420 .")] });
    let reward = server.score(&body).await["results"][0]["reward"].clone();
    assert_eq!(recorded(&server, &RolloutFilter::default()).await.len(), 1);
    let other = LedgerReader::open(&server.path("kept/ledger.sqlite")).unwrap();
    other.connection().execute_batch("PRAGMA query_only = 0; DROP TABLE turns").unwrap();
    for _ in 0..5 {
        assert_eq!(server.score(&body).await["results"][0]["reward"], reward);
    }
    let dropped = async || server.metric("guerdon_ledger_dropped_total", "failed").await > 4.5;
    wait_until("they are counted", WAIT_LIMIT, dropped).await;
    assert_eq!(server.get("/readyz").await.status, 200);
    assert!((server.metric("guerdon_ledger_rows_total", "").await - 1.0).abs() < 0.5);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_share_a_database_and_no_reply_needs_it() {
    let Some(mut database) = tokio::task::block_in_place(PostgresServer::start) else { return };
    let config = format!("\n[ledger]\nurl = \"{}\"\n", database.url());
    let servers = [Server::with(&config, &[]).await, Server::with(&config, &[]).await];
    let mut replies = Vec::new();
    for (server, text) in servers.iter().zip(["420 .", "421 ."]) {
        let body = json!({ "rollouts": [Server::rollout(text)], "run": "shared" });
        replies.push(rounded(&server.score(&body).await["results"][0]));
        let is_written = async || server.metric("guerdon_ledger_rows_total", "").await > 0.5;
        wait_until("it is written", WAIT_LIMIT, is_written).await;
    }
    let filter = RolloutFilter { run: Some("shared".into()), ..RolloutFilter::default() };
    let stored = tokio::task::block_in_place(|| {
        PostgresReader::open(&database.url()).unwrap().rollouts(&filter, 10).unwrap()
    });
    assert_eq!(stored.iter().map(result_of).collect::<Vec<_>>(), replies);
    assert!(servers[0].get("/ui").await.text.contains("the ledger is in a database"));

    tokio::task::block_in_place(|| database.stop());
    let body = json!({ "rollouts": [Server::rollout("420 .")] });
    assert_eq!(
        rounded(&servers[0].score(&body).await["results"][0]["reward"]),
        replies[0]["reward"]
    );
    let dropped = async || servers[0].metric("guerdon_ledger_dropped_total", "failed").await > 0.5;
    wait_until("it is counted", WAIT_LIMIT, dropped).await;
    assert_eq!(servers[0].get("/readyz").await.status, 200);
    for server in servers {
        server.stop().await;
    }
}

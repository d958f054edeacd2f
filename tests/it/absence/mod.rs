//! Absence has a type: a source that failed, a file that is missing and a configuration that another
//! server has are never represented by a valid value.

mod by_cause;
mod digest;
mod empty;
mod expect;
mod groups;
mod late;

use serde_json::Value;

/// A judge prompt and a verdict, as in the tests of judges.
use crate::judge::{PROMPT, configured, verdict};

/// The lines of a streamed reply.
async fn stream(server: &guerdon_tests::Server, body: &Value) -> Vec<Value> {
    let url = format!("{}/v1/score", server.url);
    let sent = server.http.post(url).header("accept", "application/x-ndjson").json(body).send();
    let text = sent.await.unwrap().text().await.unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

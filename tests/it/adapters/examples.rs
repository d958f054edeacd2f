//! The examples of the OpenAPI document, which `/docs` sends.

use serde_json::Value;

use crate::corpus::trainers_server;

#[tokio::test]
async fn every_example_of_the_document_is_answered() {
    let (_judges, server) = trainers_server().await;
    let document = server.get("/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap();
    let mut sent = 0;
    for (path, operation) in paths.iter().filter_map(|(path, item)| Some((path, item.get("post")?)))
    {
        let body = &operation["requestBody"]["content"]["application/json"];
        if body.is_null() {
            continue;
        }
        let example = &body["example"];
        assert_ne!(*example, Value::Null, "{path} has no example");
        let reply = server.post(path, example).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
        sent += 1;
    }
    assert!(sent > 15, "only {sent} examples");
    // The page shows the groups in this order.
    let tags: Vec<_> =
        document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    assert_eq!(tags, ["scoring", "rules", "operation", "trainers"]);
    server.stop().await;
}

//! A process without file descriptors: silent clients and unfinished uploads do not shut out others,
//! and the log names the cause once.

use guerdon_tests::wire_request;

use crate::{assert_scores, leak, light, request};

#[test]
fn clients_that_hold_all_descriptors_do_not_shut_out_others() {
    let body = request(&[leak()]).to_string();
    let score =
        wire_request("POST", "/v1/score", &[("content-type", "application/json")], body.as_bytes());
    for begun in [&b""[..], b"POST /v1/sc", &score[..score.len() - 1]] {
        let server = light().limits("ulimit -n 48").start();
        let clients: Vec<_> = (0..80)
            .map(|_| {
                let mut client = server.connect();
                client.send(begun).unwrap();
                client
            })
            .collect();
        assert_scores(&server);
        let log = server.log();
        assert_eq!(log.matches("connections cannot be accepted").count(), 1, "{log}");
        assert!(log.contains("ulimit -n"), "{log}");
        assert!(server.metric("guerdon_accept_failures_total", "") >= 1.0);
        assert!(server.metric("guerdon_connections_closed_total", "evicted") >= 1.0);
        drop(clients);
        assert_scores(&server);
    }
}

//! Content codings and the byte order mark of bodies.

use super::light;

/// `{"rollouts":[]}` as gzip and as zstd.
const GZIP: &str = "1f8b0800000000000203ab562acacfc9c92f2d2956b28a8ead0500c9c82ea50f000000";
const ZSTD: &str = "28b52ffd04587900007b22726f6c6c6f757473223a5b5d7d0db969ff";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.bytes().map(|digit| (digit as char).to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[tokio::test]
async fn codings_are_read_in_any_case_and_others_are_refused() {
    let server = light("", "").await;
    let plain = br#"{"rollouts":[]}"#.to_vec();
    for (coding, body, status) in [
        ("gzip", bytes(GZIP), 200),
        ("GZIP", bytes(GZIP), 200),
        ("x-gzip", bytes(GZIP), 200),
        ("identity, gzip", bytes(GZIP), 200),
        ("Zstd", bytes(ZSTD), 200),
        ("identity", plain.clone(), 200),
        ("Identity, identity", plain.clone(), 200),
        ("", plain.clone(), 200),
        ("gzip, gzip", bytes(GZIP), 415),
        ("br", plain.clone(), 415),
        ("gzip", plain.clone(), 400),
    ] {
        let request = server.http.post(format!("{}/v1/score", server.url)).body(body);
        let request = request.header("content-type", "application/json");
        let reply = request.header("content-encoding", coding).send().await.unwrap();
        assert_eq!(reply.status(), status, "{coding:?}: {}", reply.text().await.unwrap());
    }
    server.stop().await;
}

#[tokio::test]
async fn byte_order_mark_before_json_is_skipped() {
    let server = light("", "").await;
    for path in ["/v1/score", "/get_reward"] {
        let body = if path == "/v1/score" { "{\"rollouts\":[]}" } else { "{\"query\":[]}" };
        let request = server.http.post(format!("{}{path}", server.url));
        let request = request.header("content-type", "application/json");
        let reply = request.body(format!("\u{feff}{body}")).send().await.unwrap();
        assert_eq!(reply.status(), 200, "{path}");
    }
    server.stop().await;
}

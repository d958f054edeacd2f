//! Sizes: one rollout over a limit fails alone, a body over the limit is refused before it is held,
//! and compressed bodies never expand beyond the limit.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use guerdon_tests::{
    GuerdonProcess, Server, WAIT_LIMIT, WireReply, wait_until_blocking, wire_request,
};
use serde_json::{Value, json};

use crate::{assert_problem, assert_scores, leak, light, request};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).unwrap()
}

fn send_coded(server: &GuerdonProcess, coding: &str, body: &[u8]) -> WireReply {
    let headers = [("content-type", "application/json"), ("content-encoding", coding)];
    server.exchange(&wire_request("POST", "/v1/score", &headers, body)).unwrap()
}

#[test]
fn rollout_over_a_limit_fails_alone() {
    let server = light().start();
    let message =
        |content: String| json!({ "messages": [{ "role": "assistant", "content": content }] });
    let many = |count: usize| {
        let turn = json!({ "role": "assistant", "content": "480" });
        json!({ "messages": vec![turn; count] })
    };
    let limit = 1 << 20;
    let rollouts = [
        (message("a".repeat(limit)), true),
        (message("a".repeat(limit + 1)), false),
        (message("价".repeat(limit / 3 + 1)), false),
        (message("a".repeat(10 << 20)), false),
        (many(1_024), true),
        (many(1_025), false),
        (many(100_000), false),
    ];
    let body: Vec<Value> =
        [leak()].into_iter().chain(rollouts.iter().map(|(r, _)| r.clone())).collect();
    let results = server.score(&request(&body))["results"].clone();
    assert_eq!(results[0]["reward"], -0.5);
    for (index, (_, fits)) in rollouts.iter().enumerate() {
        let result = &results[index + 1];
        assert_eq!(
            result["reward"].is_number(),
            *fits,
            "rollout {}: {}",
            index + 1,
            result["error"]
        );
        if !fits {
            assert_eq!(result["error"]["code"], "rollout_too_large");
            assert!(result.to_string().len() < 4_000);
        }
    }
}

#[test]
fn batch_and_body_over_the_limit_are_refused_with_the_limit() {
    let server = light()
        .replaced("[reload]", "[limits]\nmax_rollouts = 100\nmax_body_bytes = 1000000\n[reload]")
        .start();
    let short = Server::rollout("a");
    assert_eq!(server.post("/v1/score", &request(&vec![short.clone(); 100])).status, 200);
    let many = server.post("/v1/score", &request(&vec![short; 101]));
    assert_problem(&many, 413, "101 rollouts");
    assert_eq!((many.code().as_str(), &many.json()["pointer"]), ("too_large", &json!("/rollouts")));
    assert!(many.text().contains("100"), "{many:?}");
    let padded = |length: usize| {
        let mut body = request(&[leak()]).to_string().into_bytes();
        body.resize(length, b' ');
        body
    };
    assert_eq!(server.post_bytes("/v1/score", &padded(1_000_000)).status, 200);
    for (what, reply) in [
        ("one byte over", server.post_bytes("/v1/score", &padded(1_000_001))),
        ("gzip, one byte over", send_coded(&server, "gzip", &gzip(&padded(1_000_001)))),
        ("zstd, one byte over", send_coded(&server, "zstd", &zstd(&padded(1_000_001)))),
    ] {
        assert_problem(&reply, 413, what);
        assert!(reply.text().contains("1000000"), "{what}: {reply:?}");
    }
    // The length alone is enough to refuse: the body need not be sent.
    let headers = [("content-type", "application/json"), ("content-length", "70000000")];
    let reply = server
        .exchange(&wire_request("POST", "/v1/score", &headers, &vec![b' '; 1_100_000]))
        .unwrap();
    assert_problem(&reply, 413, "70 MB announced");
    assert_scores(&server);
}

#[test]
fn compressed_bombs_do_not_expand() {
    let server = light().start();
    assert_scores(&server);
    let before = server.resident_mib();
    let cpu = server.cpu_seconds();
    let zeros = vec![b' '; 200 << 20];
    let once = gzip(&zeros);
    for (what, coding, body) in [
        ("200 MB of spaces, gzip", "gzip", once.clone()),
        ("200 MB of spaces, zstd", "zstd", zstd(&zeros)),
        ("many gzip members", "gzip", once.repeat(20)),
    ] {
        let reply = send_coded(&server, coding, &body);
        assert!(matches!(reply.status, 400 | 413), "{what}: {reply:?}");
        assert_problem(&reply, reply.status, what);
    }
    let spent = server.cpu_seconds() - cpu;
    assert!(spent < 20.0, "three bombs cost {spent} s of CPU");
    // The allocator returns memory to the system some time after it is freed.
    wait_until_blocking("three bombs cost less than 100 MiB", WAIT_LIMIT, || {
        assert_scores(&server);
        server.resident_mib() - before < 100.0
    });
}

#[test]
fn broken_compression_is_refused_at_every_length() {
    let server = light().start();
    let text = request(&[leak()]).to_string();
    for (coding, whole) in [("gzip", gzip(text.as_bytes())), ("zstd", zstd(text.as_bytes()))] {
        assert_eq!(send_coded(&server, coding, &whole).status, 200, "{coding}");
        for length in 0..whole.len() {
            let reply = send_coded(&server, coding, &whole[..length]);
            assert_problem(&reply, 400, &format!("{coding}, {length} bytes"));
        }
        for index in 0..whole.len().min(40) {
            let mut flipped = whole.clone();
            flipped[index] ^= 0x55;
            let reply = send_coded(&server, coding, &flipped);
            // A flipped byte of a header's time or name field changes nothing.
            assert!(
                matches!(reply.status, 200 | 400 | 413 | 415 | 422),
                "{coding}, byte {index}: {reply:?}"
            );
            if reply.status == 200 {
                assert_eq!(reply.json()["results"][0]["reward"], -0.5, "{coding}, byte {index}");
            }
        }
        let longer = [whole.as_slice(), b"garbage"].concat();
        let reply = send_coded(&server, coding, &longer);
        assert!(reply.status == 400 || reply.json()["results"][0]["reward"] == -0.5, "{reply:?}");
    }
    for (coding, body) in [
        ("gzip", text.as_bytes()),
        ("zstd", text.as_bytes()),
        ("zstd", &gzip(text.as_bytes())),
        ("gzip", &zstd(text.as_bytes())),
    ] {
        assert_problem(&send_coded(&server, coding, body), 400, coding);
    }
    // A zstd frame that asks for a window of 2 GiB: magic, descriptor, window descriptor.
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
    assert_problem(&send_coded(&server, "zstd", &window), 400, "a window of 2 GiB");
    for coding in ["br", "deflate", "compress", "bogus"] {
        assert_problem(&send_coded(&server, coding, text.as_bytes()), 415, coding);
    }
    assert_scores(&server);
}

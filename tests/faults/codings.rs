//! Content types and codings as RFC 9110 defines them: case does not matter, aliases count.

use guerdon_tests::wire_request;

use crate::{leak, light, request};

#[test]
fn content_codings_follow_the_standard() {
    use std::io::Write as _;
    let server = light().start();
    let body = request(&[leak()]).to_string();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body.as_bytes()).unwrap();
    let gzip = encoder.finish().unwrap();
    let plain = body.as_bytes();
    for (coding, body) in [
        ("gzip", gzip.as_slice()),
        ("GZIP", &gzip),
        ("GZip", &gzip),
        ("x-gzip", &gzip),
        ("X-GZIP", &gzip),
        ("identity", plain),
        ("Identity", plain),
        ("", plain),
    ] {
        let headers = [("content-type", "application/json"), ("content-encoding", coding)];
        let reply = server.exchange(&wire_request("POST", "/v1/score", &headers, body)).unwrap();
        assert_eq!(reply.status, 200, "{coding:?}: {reply:?}");
        assert_eq!(reply.json()["results"][0]["reward"], -0.5, "{coding:?}");
    }
    for content_type in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
    ] {
        let headers = [("content-type", content_type)];
        let reply = server.exchange(&wire_request("POST", "/v1/score", &headers, plain)).unwrap();
        assert_eq!(reply.status, 200, "{content_type:?}: {reply:?}");
    }
    // A byte order mark before the text is skipped.
    let marked = ["\u{feff}".as_bytes(), plain].concat();
    assert_eq!(server.post_bytes("/v1/score", &marked).status, 200);
}

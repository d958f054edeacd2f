//! Without tokens, web pages of other origins cannot use the server, under whatever name they reach
//! it.

use guerdon_testing::wait_until;
use guerdon_tests::Server;
use serde_json::json;

use super::{PATIENCE, Wire, light};

/// Routes that are not public, with bodies that they accept.
const GUARDED: [(&str, &str, &str); 9] = [
    ("POST", "/v1/reload", ""),
    ("POST", "/v1/promote", ""),
    ("POST", "/v1/score", r#"{"rollouts":[]}"#),
    ("POST", "/v1/rules/check", r#"{"packs":[]}"#),
    ("GET", "/v1/info", ""),
    ("GET", "/v1/rules", ""),
    ("GET", "/metrics", ""),
    ("POST", "/get_reward", r#"{"query":[]}"#),
    ("GET", "/nowhere", ""),
];

const PUBLIC: [&str; 5] = ["/healthz", "/readyz", "/health", "/openapi.json", "/docs/"];

async fn status(server: &Server, (method, path, body): (&str, &str, &str), headers: &str) -> u16 {
    let content_type = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\n{headers}{content_type}content-length: {length}\r\n\r\n{body}"
    );
    let mut connection = Wire::connect(server).await;
    connection.send(request.as_bytes()).await;
    connection.status().await
}

#[tokio::test]
async fn every_guarded_route_refuses_foreign_pages_and_hosts() {
    let server =
        light("hosts = [\"guerdon.example\"]\norigins = [\"https://dash.example\"]", "").await;
    let own = [
        "host: localhost\r\n",
        "HOST: LOCALHOST.:1\r\n",
        "host: [::1]\r\n",
        "host: guerdon.example:9\r\n",
        "host: localhost:1\r\norigin: http://localhost:1\r\n",
        "host: localhost\r\norigin: https://dash.example\r\nsec-fetch-site: cross-site\r\n",
        "host: localhost\r\nsec-fetch-site: same-origin\r\n",
    ];
    let foreign = [
        "",
        "host: evil.example\r\n",
        "host: localhost.evil.example\r\n",
        "host: 0.0.0.0:8787\r\n",
        "host: localhost\r\nhost: evil.example\r\n",
        "host: localhost\r\norigin: http://evil.example\r\n",
        "host: localhost:1\r\norigin: http://localhost:2\r\n",
        "host: localhost\r\norigin: null\r\n",
        "host: localhost\r\norigin: file://\r\n",
        "host: localhost\r\nsec-fetch-site: cross-site\r\n",
        "host: evil.example\r\norigin: http://evil.example\r\nsec-fetch-site: same-origin\r\n",
    ];
    for route in GUARDED {
        for headers in own {
            let status = status(&server, route, headers).await;
            assert!(status != 403 && status < 500, "{route:?} {headers:?}: {status}");
        }
        for headers in foreign {
            assert_eq!(status(&server, route, headers).await, 403, "{route:?} {headers:?}");
        }
    }
    for path in PUBLIC {
        for headers in foreign {
            assert_eq!(
                status(&server, ("GET", path, ""), headers).await,
                200,
                "{path} {headers:?}"
            );
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn refusal_names_the_key_to_set() {
    let server = light("", "").await;
    let ask = |name: &'static str, value: &'static str| {
        server.http.get(format!("{}/v1/info", server.url)).header(name, value).send()
    };
    for (name, value, key) in
        [("host", "evil.example", "`hosts`"), ("origin", "http://evil.example", "`origins`")]
    {
        let refused = ask(name, value).await.unwrap();
        assert_eq!(refused.status(), 403);
        let problem: serde_json::Value = refused.json().await.unwrap();
        assert_eq!(problem["code"], "forbidden");
        assert!(problem["hint"].as_str().unwrap().contains(key), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("evil.example"), "{problem}");
    }
    server.stop().await;
}

#[tokio::test]
async fn rebound_name_is_refused_over_both_versions_of_http() {
    let server = light("", "").await;
    let address: std::net::SocketAddr =
        server.url.strip_prefix("http://").unwrap().parse().unwrap();
    let client = || reqwest::Client::builder().no_proxy().resolve("evil.example", address);
    for client in [client(), client().http2_prior_knowledge()] {
        let client = client.build().unwrap();
        let status = async |host: &str| {
            let url = format!("http://{host}:{}/v1/info", address.port());
            client.get(url).send().await.unwrap().status().as_u16()
        };
        assert_eq!((status("evil.example").await, status("127.0.0.1").await), (403, 200));
    }
    server.stop().await;
}

#[tokio::test]
async fn links_from_other_sites_may_be_followed_to_pages_that_only_show() {
    let server = light("", "").await;
    let navigation = "host: localhost\r\nsec-fetch-site: cross-site\r\nsec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n";
    for path in ["/metrics", "/v1/info", "/v1/rules"] {
        assert_eq!(status(&server, ("GET", path, ""), navigation).await, 200, "{path}");
    }
    assert_eq!(status(&server, ("POST", "/v1/reload", ""), navigation).await, 403);
    server.stop().await;
}

#[tokio::test]
async fn admin_routes_take_an_empty_body_or_json() {
    let server = light("", "").await;
    let send = |content_type: Option<&'static str>, body: &'static str| {
        let request = server.http.post(format!("{}/v1/reload", server.url)).body(body);
        match content_type {
            Some(content_type) => request.header("content-type", content_type).send(),
            None => request.send(),
        }
    };
    for (content_type, body, status) in [
        (None, "", 200),
        (Some("application/x-www-form-urlencoded"), "", 200),
        (Some("application/json"), "{}", 200),
        (Some("text/plain"), "{}", 415),
        (None, "{}", 415),
    ] {
        let reply = send(content_type, body).await.unwrap();
        assert_eq!(reply.status(), status, "{content_type:?} {body:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn tokens_replace_the_checks_of_pages_and_hosts() {
    let tokens =
        "[auth]\ntokens = [{ name = \"t\", env = \"TEST_TOKEN\", scopes = [\"score\"] }]\n";
    let server = light("", tokens).await;
    let reply = server
        .http
        .post(format!("{}/v1/score", server.url))
        .bearer_auth("let-me-in-please")
        .header("host", "proxy.example")
        .header("origin", "http://page.example")
        .json(&json!({ "rollouts": [] }))
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), 200);
    server.stop().await;
}

#[tokio::test]
async fn hosts_and_origins_take_effect_with_a_reload() {
    let server = light("", "").await;
    let headers = "host: new.example\r\norigin: http://page.example\r\n";
    let info = ("GET", "/v1/info", "");
    assert_eq!(status(&server, info, headers).await, 403);
    let keys = "hosts = [\"new.example\"]\norigins = [\"http://page.example\"]\n";
    server.replace("guerdon.toml", &super::light_config(keys, ""));
    wait_until("the reload", PATIENCE, async || status(&server, info, headers).await == 200).await;
    server.stop().await;
}

#[tokio::test]
async fn documentation_cannot_be_framed() {
    let server = light("", "").await;
    assert_eq!(server.get("/docs/").await.headers["x-frame-options"], "DENY");
    server.stop().await;
}

//! The inspector's pages: login, session, forged forms, and what a browser may do with them.

use guerdon_testing::wait_until;
use guerdon_tests::Server;

use super::browser::{Browser, cookie, csrf, location};

const TOKENS: &str = r#"[auth]
tokens = [
  { name = "reader", file = "read-token", scopes = ["read"] },
  { name = "checker", file = "check-token", scopes = ["check"] },
]
"#;

const READER: &str = "the-token-of-the-reader";
const CHECKER: &str = "the-token-of-the-checker";

async fn server() -> Server {
    Server::with(TOKENS, &[("read-token", READER), ("check-token", CHECKER)]).await
}

#[tokio::test]
async fn browser_is_asked_for_a_token_and_comes_back_to_its_page() {
    let server = server().await;
    let browser = Browser::new(&server);
    for path in ["/", "/ui", "/ui/rollouts?run=a%26b"] {
        let asked = browser.get(path, "").await;
        assert_eq!(asked.status, 303, "{path}");
        assert!(location(&asked).starts_with("/ui/login?next="), "{}", location(&asked));
    }
    let asked = browser.get("/ui/rollouts?run=a%26b", "").await;
    let form = browser.get(location(&asked), "").await;
    assert!(form.text.contains("value=\"/ui/rollouts?run=a%26b\""), "{}", form.text);
    let logged_in = browser.log_in(READER, "%2Fui%2Frun").await;
    assert_eq!((logged_in.status, location(&logged_in)), (303, "/ui/run"));
    let session = cookie(&logged_in);
    assert!(!session.contains(READER));
    let page = browser.get("/ui/run", &session).await;
    assert_eq!(page.status, 200);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers["x-frame-options"], "DENY");
    assert_eq!(page.headers["cache-control"], "no-store");
    assert!(server.stop().await);
}

#[tokio::test]
async fn wrong_tokens_and_forged_forms_get_no_session() {
    let server = server().await;
    let browser = Browser::new(&server);
    for (token, status) in [("nothing-that-is-known", 401), (CHECKER, 403)] {
        let refused = browser.log_in(token, "").await;
        assert_eq!(refused.status, status);
        assert!(!cookie(&refused).starts_with("guerdon_session"), "{token}");
    }
    let form = browser.get("/ui/login", "").await;
    for (cookie, csrf) in [(cookie(&form), "forged".to_owned()), (String::new(), csrf(&form.text))]
    {
        let refused =
            browser.post("/ui/login", &cookie, format!("csrf={csrf}&token={READER}")).await;
        assert_eq!(refused.status, 403);
    }
    assert!(server.stop().await);
}

#[tokio::test]
async fn logout_needs_the_form_of_its_session() {
    let server = server().await;
    let browser = Browser::new(&server);
    let session = cookie(&browser.log_in(READER, "").await);
    let page = browser.get("/ui", &session).await;
    let forged = browser.post("/ui/logout", &session, "csrf=forged".to_owned()).await;
    assert_eq!(forged.status, 403);
    let form = format!("csrf={}", csrf(&page.text));
    let ended = browser.post("/ui/logout", &session, form).await;
    assert_eq!((ended.status, location(&ended)), (303, "/ui/login"));
    assert_eq!(cookie(&ended), "guerdon_session=");
    assert!(server.stop().await);
}

#[tokio::test]
async fn scored_rollouts_are_on_the_pages_once_the_ledger_has_them() {
    let server = Server::with("[ledger]\npath = \"ledger.sqlite\"\n", &[]).await;
    let browser = Browser::new(&server);
    let mut rollout = Server::rollout("Per our work order: 420 & <b>no more</b>.");
    rollout["id"] = "r-17".into();
    rollout["group"] = "hotel-3".into();
    server.score(&serde_json::json!({ "rollouts": [rollout], "run": "exp-12", "step": 4 })).await;
    let path = "/ui/rollouts?run=exp-12&step=4";
    let is_there = async || browser.get(path, "").await.text.contains("r-17");
    wait_until("the rollout is in the ledger", super::PATIENCE, is_there).await;
    let list = browser.get(path, "").await;
    assert!(
        list.text.contains("/ui/group?run=exp-12&amp;step=4&amp;group=hotel-3"),
        "{}",
        list.text
    );
    let page = browser.get("/ui/rollouts/1", "").await;
    assert!(page.text.contains("420 &amp; &lt;b&gt;no more&lt;/b&gt;."), "{}", page.text);
    let run = browser.get("/ui/run?run=exp-12", "").await;
    assert!(run.text.contains("Run exp-12"), "{}", run.text);
    assert!(server.stop().await);
}

#[tokio::test]
async fn session_opens_pages_and_nothing_else() {
    let server = server().await;
    let browser = Browser::new(&server);
    let session = cookie(&browser.log_in(READER, "").await);
    for path in ["/v1/info", "/metrics", "/v1/rules"] {
        assert_eq!(browser.get(path, &session).await.status, 401, "{path}");
    }
    for path in ["/v1/score", "/v1/reload", "/"] {
        assert_eq!(browser.post(path, &session, "{}".to_owned()).await.status, 401, "{path}");
    }
    let with_header = server.http.get(format!("{}/ui", server.url)).bearer_auth(READER);
    assert_eq!(with_header.send().await.unwrap().status(), 200, "a token in a header is enough");
    let with_header = server.http.get(format!("{}/ui", server.url)).bearer_auth(CHECKER);
    assert_eq!(with_header.send().await.unwrap().status(), 403);
    assert!(server.stop().await);
}

#[tokio::test]
async fn pages_are_open_on_loopback_without_tokens_and_post_stays_a_trainers_route() {
    let server = Server::new().await;
    let browser = Browser::new(&server);
    assert_eq!(location(&browser.get("/", "").await), "/ui");
    for path in ["/ui", "/ui/run", "/ui/rollouts", "/ui/compare", "/ui/group?group=x"] {
        let page = browser.get(path, "").await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.text.contains("no ledger is configured"), "{path}");
    }
    assert_eq!(browser.get("/ui/rollouts/1", "").await.status, 404);
    assert_eq!(browser.get("/ui/assets/inspector.js", "").await.status, 200);
    let predict = serde_json::json!({ "inputs": "Hello" });
    let status = server.post("/", &predict).await.status;
    assert!(status == 200 || status == 422, "text-embeddings-inference's predict: {status}");
    let url = format!("{}/ui", server.url);
    let foreign = browser.client.get(url).header("host", "evil.example").send().await.unwrap();
    assert_eq!(foreign.status(), 403, "a foreign host");
    assert!(server.stop().await);
}

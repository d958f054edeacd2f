//! The rules workbench: checks without a change, saves by rename, and every form that is refused.

#![expect(clippy::disallowed_methods, reason = "a test reads what the server wrote")]

use guerdon_testing::wait_until;
use guerdon_tests::{Reply, Server};
use proptest::prelude::*;
use serde_json::json;

use super::browser::{Browser, cookie, csrf};

const SECTIONS: &str = r#"[ledger]
path = "ledger.sqlite"
[auth]
tokens = [
  { name = "reader", file = "read-token", scopes = ["read"] },
  { name = "trainer", file = "score-token", scopes = ["score"] },
  { name = "boss", file = "admin-token", scopes = ["admin"] },
]
"#;

pub(super) const READER: &str = "the-token-of-the-reader";
pub(super) const TRAINER: &str = "the-token-of-the-trainer";
pub(super) const ADMIN: &str = "the-token-of-the-admin";

pub(super) async fn server() -> Server {
    let files = [("read-token", READER), ("score-token", TRAINER), ("admin-token", ADMIN)];
    Server::with(SECTIONS, &files).await
}

/// The text, as an HTML page has it, back as it was.
fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// A page of the workbench that a visitor has open.
struct Bench<'s> {
    browser: Browser<'s>,
    session: String,
    csrf: String,
    hash: String,
    text: String,
}

const FILE: &str = "rules.yaml";

impl<'s> Bench<'s> {
    async fn open(server: &'s Server, token: &str) -> Self {
        let browser = Browser::new(server);
        let session = cookie(&browser.log_in(token, "").await);
        let page = browser.get("/ui/workbench?profile=test&pack=rules.yaml", &session).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let hash = page.text.split("name=\"hash\" value=\"").nth(1).unwrap();
        let hash = hash.split('"').next().unwrap().to_owned();
        let text = page.text.split("<textarea").nth(1).unwrap().split_once('>').unwrap().1;
        let text = text.split("</textarea>").next().unwrap().strip_prefix('\n').unwrap();
        let (csrf, text) = (csrf(&page.text), unescaped(text));
        Self { browser, session, csrf, hash, text }
    }

    async fn send(&self, action: &str, pack: &str, text: &str) -> Reply {
        let fields = [
            ("csrf", self.csrf.as_str()),
            ("profile", "test"),
            ("pack", pack),
            ("hash", &self.hash),
            // As browsers send the line ends of a text area.
            ("text", &text.replace('\n', "\r\n")),
            ("action", action),
        ];
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.browser.post("/ui/workbench", &self.session, form).await
    }

    async fn save(&self, text: &str) -> Reply {
        self.send("save", FILE, text).await
    }
}

fn on_disk(server: &Server) -> String {
    std::fs::read_to_string(server.path(FILE)).unwrap()
}

#[tokio::test]
async fn check_shows_the_report_and_the_hits_that_would_change_and_saves_nothing() {
    let server = server().await;
    let mut rollouts = Vec::new();
    for (id, reply) in [("r-1", "See the work order."), ("r-2", "Hello."), ("r-3", "See you.")] {
        let mut rollout = Server::rollout(reply);
        rollout["id"] = id.into();
        rollouts.push(rollout);
    }
    let score = server.http.post(format!("{}/v1/score", server.url)).bearer_auth(TRAINER);
    let sent = score.json(&json!({ "rollouts": rollouts })).send().await.unwrap();
    assert_eq!(sent.status(), 200);
    let bench = Bench::open(&server, TRAINER).await;
    let before = on_disk(&server);
    assert_eq!(bench.text, before, "the editor has the file's text");
    let listed =
        async || bench.browser.get("/ui/rollouts", &bench.session).await.text.contains("r-3");
    wait_until("the rollouts are in the ledger", super::PATIENCE, listed).await;
    let edited = before
        .replace("any_of: ['work order']", "any_of: ['hello']")
        .replace("['see the work order']", "['hello']");
    let checked = bench.send("check", FILE, &edited).await;
    assert_eq!(checked.status, 200, "{}", checked.text);
    assert!(checked.text.contains("The text checks"), "{}", checked.text);
    let rows: Vec<&str> = checked.text.split("<tr>").filter(|row| row.contains("r-")).collect();
    let row = |id: &str| rows.iter().find(|row| row.contains(id)).copied();
    let (gone, added) = (row("r-1").unwrap(), row("r-2").unwrap());
    assert!(
        gone.contains("<td class=\"n\">−50</td><td class=\"n\">0</td>")
            && gone.contains("words/internal"),
        "{gone}"
    );
    assert!(
        added.contains("<td class=\"n\">0</td><td class=\"n\">−50</td>")
            && added.contains("words/internal"),
        "{added}"
    );
    assert!(row("r-3").is_none(), "a rollout without a change is left out");
    assert!(checked.text.contains("<strong>3</strong>"), "three rollouts were tried");
    let broken = bench.send("check", FILE, &before.replace("points: -50", "points: many")).await;
    assert!(broken.text.contains("The text has errors"), "{}", broken.text);
    assert!(broken.text.contains("rules.yaml:8:"), "the place: {}", broken.text);
    assert_eq!(on_disk(&server), before);
    assert!(server.stop().await);
}

#[tokio::test]
async fn saved_pack_is_in_its_file_and_serves() {
    let server = server().await;
    let bench = Bench::open(&server, ADMIN).await;
    let edited =
        bench.text.replace("'work order'", "'see you'").replace("see the work order", "see you");
    let edited = edited.replacen("misses: ['see you']", "misses: ['hello']", 1);
    let saved = bench.save(&edited).await;
    assert_eq!(saved.status, 200, "{}", saved.text);
    assert!(saved.text.contains("Saved."), "{}", saved.text);
    assert_eq!(on_disk(&server), edited);
    let scores = async || {
        let score = server.http.post(format!("{}/v1/score", server.url)).bearer_auth(TRAINER);
        let body = json!({ "rollouts": [Server::rollout("See you.")] });
        Reply::read(score.json(&body).send().await.unwrap()).await.text.contains("internal")
    };
    wait_until("the new rule serves", super::PATIENCE, scores).await;
    let again = bench.save(&edited).await;
    assert_eq!(again.status, 409, "the form has the hash of the file before");
    assert!(server.stop().await);
}

#[tokio::test]
async fn refused_forms_leave_the_file_as_it_was() {
    let server = server().await;
    let before = on_disk(&server);
    let edited = before.replace("-50", "-40");
    let admin = Bench::open(&server, ADMIN).await;
    for forged in ["", "forged"] {
        let forged = Bench { csrf: forged.to_owned(), ..Bench::open(&server, ADMIN).await };
        for action in ["check", "save"] {
            assert_eq!(forged.send(action, FILE, &edited).await.status, 403);
        }
    }
    let other = Bench {
        csrf: Bench::open(&server, READER).await.csrf,
        ..Bench::open(&server, ADMIN).await
    };
    assert_eq!(other.save(&edited).await.status, 403, "the form of another session");
    let reader = Bench::open(&server, READER).await;
    let trainer = Bench::open(&server, TRAINER).await;
    assert_eq!(reader.send("check", FILE, &edited).await.status, 403, "read may not check");
    assert_eq!(trainer.send("check", FILE, &edited).await.status, 200, "score covers check");
    for bench in [&reader, &trainer] {
        assert_eq!(bench.save(&edited).await.status, 403, "only admin may save");
    }
    let logged_out = Bench { session: String::new(), ..Bench::open(&server, ADMIN).await };
    assert_eq!(logged_out.save(&edited).await.status, 303, "to the login");
    assert_eq!(admin.save(&before.replace("points: -50", "points: many")).await.status, 422);
    assert_eq!(admin.save("").await.status, 422);
    for pack in ["guerdon.toml", "../rules.yaml", "./rules.yaml", "admin-token", "/etc/passwd", ""]
    {
        assert_eq!(admin.send("save", pack, &edited).await.status, 404, "{pack}");
    }
    assert_eq!(admin.save(&format!("{edited}# {}\n", "x".repeat(1 << 20))).await.status, 413);
    assert_eq!(on_disk(&server), before);
    assert!(server.stop().await);
}

#[tokio::test]
async fn edit_of_somebody_else_and_a_link_are_not_overwritten() {
    let server = server().await;
    let bench = Bench::open(&server, ADMIN).await;
    let (mine, theirs) = (bench.text.replace("-50", "-40"), bench.text.replace("-50", "-30"));
    server.replace(FILE, &theirs);
    let refused = bench.save(&mine).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(refused.text.contains("points: -40"), "the reader's text is still in the editor");
    assert_eq!(on_disk(&server), theirs);
    let bench = Bench::open(&server, ADMIN).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("target.yaml");
    std::fs::rename(server.path(FILE), &target).unwrap();
    std::os::unix::fs::symlink(&target, server.path(FILE)).unwrap();
    let refused = bench.save(&mine).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    assert_eq!(std::fs::read_to_string(&target).unwrap(), theirs);
    assert!(server.path(FILE).is_symlink());
    assert!(server.stop().await);
}

#[tokio::test]
async fn server_without_tokens_checks_and_saves_nothing() {
    let server = Server::new().await;
    let browser = Browser::new(&server);
    let page = browser.get("/ui/workbench", "").await;
    assert!(page.text.contains("[[auth.tokens]]"), "{}", page.text);
    let send = async |csrf: &str, action: &str| {
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("csrf", csrf), ("profile", "test"), ("pack", FILE), ("action", action)])
            .finish();
        browser.post("/ui/workbench", "", form).await.status
    };
    let own = csrf(&page.text);
    assert_eq!(send(&own, "check").await, 200);
    for (csrf, action) in [("", "check"), ("forged", "check"), (own.as_str(), "save")] {
        assert_eq!(send(csrf, action).await, 403, "{csrf:?} {action}");
    }
    assert!(server.stop().await);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]
    /// Whatever a text has, it stays text in the editor and in the report.
    #[test]
    fn text_of_a_pack_stays_text(
        middle in r#"[<>"'&/a-z \n]{0,30}"#,
        end in prop::sample::select(vec!["</textarea><script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "]]><svg onload=alert(1)>"]),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (page, text) = runtime.block_on(async {
            let server = server().await;
            let bench = Bench::open(&server, TRAINER).await;
            let text = format!("pack: {middle}{end}");
            let page = bench.send("check", FILE, &text).await;
            assert!(server.stop().await);
            (page, text)
        });
        prop_assert_eq!(page.status, 200);
        for tag in ["<script>", "<img src=x", "<svg onload"] {
            prop_assert!(!page.text.contains(tag), "{}", page.text);
        }
        let own = page.text.split("<textarea").nth(1).unwrap().split_once('>').unwrap().1;
        let own = own.split("</textarea>").next().unwrap();
        prop_assert_eq!(unescaped(own), format!("\n{text}"));
    }
}

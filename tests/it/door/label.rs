//! Labels by people: blind questions, answers in the labels' file, downloads that the commands read,
//! and every form that is refused.
#![expect(clippy::disallowed_methods, reason = "a test reads what the server wrote")]

use guerdon_judge::Gold;
use guerdon_testing::wait_until;
use guerdon_tests::{Reply, Server};
use serde_json::{Value, json};

use super::browser::{Browser, cookie, csrf, location};
use super::workbench::{ADMIN, READER, TRAINER, server};

const FILE: &str = "ledger.labels.jsonl";
const HOSTILE: &str = "</div><script>alert(1)</script>";

/// A server whose ledger has a group of three samples, one of them hostile.
async fn labelled() -> Server {
    let server = server().await;
    let rollout = |(id, reply): (&str, &str)| {
        let mut rollout = Server::rollout(reply);
        rollout["id"] = id.into();
        rollout["group"] = "secret-group".into();
        rollout
    };
    let samples = [("r-1", "See you."), ("r-2", "Hello."), ("r-3", HOSTILE)];
    let body = json!({ "rollouts": samples.map(rollout), "run": "secret-run" });
    let score = server.http.post(format!("{}/v1/score", server.url)).bearer_auth(TRAINER);
    assert_eq!(score.json(&body).send().await.unwrap().status(), 200);
    let list = async || {
        let pages = server.http.get(format!("{}/ui/rollouts", server.url)).bearer_auth(READER);
        Reply::read(pages.send().await.unwrap()).await.text.contains("r-3")
    };
    wait_until("the rollouts are in the ledger", super::PATIENCE, list).await;
    server
}

/// The hidden fields of the form with answers.
fn fields(page: &str) -> Vec<(String, String)> {
    let form = page.rsplit("action=\"/ui/label\"").next().unwrap();
    let form = form.split("</form>").next().unwrap();
    let value = |input: &str, name: &str| {
        let rest = input.split(&format!("{name}=\"")).nth(1).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let inputs = form.split("<input type=\"hidden\"").skip(1);
    inputs.map(|input| (value(input, " name"), value(input, " value"))).collect()
}

fn with(fields: &[(String, String)], change: &[(&str, &str)]) -> String {
    let kept = fields.iter().filter(|(name, _)| change.iter().all(|(other, _)| other != name));
    let kept = kept.map(|(name, value)| (name.as_str(), value.as_str()));
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(kept.chain(change.iter().copied()))
        .finish()
}

fn lines(server: &Server) -> Vec<Value> {
    let text = std::fs::read_to_string(server.path(FILE)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Answers every question of a rater, at most 20. `pick` chooses by the page.
async fn answer_all(
    browser: &Browser<'_>,
    session: &str,
    query: &str,
    pick: impl Fn(&str) -> &'static str,
) -> usize {
    let mut next = format!("/ui/label?{query}");
    for answered in 0..20 {
        let page = browser.get(&next, session).await;
        assert_eq!(page.status, 200, "{}", page.text);
        assert!(!page.text.contains("<script>alert"), "{}", page.text);
        for hidden in ["secret-group", "secret-run", "r-1", "waterfall"] {
            assert!(!page.text.contains(hidden), "{hidden} is hidden: {}", page.text);
        }
        if page.text.contains("There is no question") {
            return answered;
        }
        let form = with(&fields(&page.text), &[("answer", pick(&page.text))]);
        let sent = browser.post("/ui/label", session, form).await;
        assert_eq!(sent.status, 303, "{}", sent.text);
        next = location(&sent).to_owned();
    }
    20
}

#[tokio::test]
async fn answers_of_two_raters_are_kept_compared_and_read_by_the_commands() {
    let server = labelled().await;
    let browser = Browser::new(&server);
    let session = cookie(&browser.log_in(TRAINER, "").await);
    assert_eq!(
        answer_all(&browser, &session, "rater=anna", |_| "a").await,
        3,
        "3 samples, 3 pairs"
    );
    assert_eq!(answer_all(&browser, &session, "rater=ben", |_| "b").await, 3);
    let levels = "criterion=polite&levels=low,high";
    let pick = |page: &str| if page.contains("Hello.") { "high" } else { "low" };
    assert_eq!(answer_all(&browser, &session, &format!("rater=anna&{levels}"), pick).await, 3);
    assert_eq!(answer_all(&browser, &session, &format!("rater=ben&{levels}"), pick).await, 3);
    assert_eq!(
        answer_all(&browser, &session, "rater=anna&criterion=words/internal", |_| "no").await,
        3
    );
    assert_eq!(lines(&server).len(), 15);
    let page = browser.get("/ui/label?rater=anna", &session).await;
    let row = |about: &str| {
        let found = page.text.split("<tr>").find(|row| row.contains(&format!(">{about}</th>")));
        found.unwrap_or_else(|| panic!("{about}: {}", page.text)).to_owned()
    };
    assert!(
        row("pairs")
            .contains("<td class=\"n\">3</td><td class=\"n\">0 %</td><td class=\"n\">0</td>")
    );
    assert!(
        row("polite")
            .contains("<td class=\"n\">3</td><td class=\"n\">100 %</td><td class=\"n\">1</td>")
    );
    let file = async |form: &str| {
        let file = browser.get(&format!("/ui/label/{form}"), &session).await;
        assert_eq!(file.status, 200);
        assert!(file.headers["content-disposition"].to_str().unwrap().starts_with("attachment"));
        file.text
    };
    let Gold::Pairs { items, .. } = Gold::read(&file("gold-pairs").await).unwrap() else {
        panic!()
    };
    assert_eq!(items.len(), 6);
    let gold = file("gold-levels").await;
    let Gold::Levels { items, .. } = Gold::read(&gold).unwrap() else { panic!() };
    assert_eq!(items.len(), 3);
    assert_eq!(gold.matches("\"second\":{\"polite\":").count(), 3);
    let preferences = file("preferences").await;
    for line in preferences.lines() {
        let pair: Value = serde_json::from_str(line).unwrap();
        assert_ne!(pair["chosen"], pair["rejected"]);
    }
    assert_eq!(preferences.lines().count(), 6);
    let rules = file("rules").await;
    assert_eq!(rules.matches("\"words/internal\":false").count(), 3, "{rules}");
    assert_eq!(browser.get("/ui/label/other", &session).await.status, 404);
    assert!(server.stop().await);
}

#[tokio::test]
async fn refused_answers_leave_the_file_as_it_was() {
    let server = labelled().await;
    let browser = Browser::new(&server);
    let session = cookie(&browser.log_in(ADMIN, "").await);
    let page = browser.get("/ui/label?rater=anna", &session).await;
    let form = fields(&page.text);
    let send = async |change: &[(&str, &str)]| {
        browser.post("/ui/label", &session, with(&form, change)).await.status
    };
    for change in [[("csrf", ""), ("answer", "a")], [("csrf", "forged"), ("answer", "a")]] {
        assert_eq!(send(&change).await, 403, "{change:?}");
    }
    let long = "x".repeat(65);
    for change in [
        [("answer", "c"), ("rater", "anna")],
        [("answer", "a"), ("rater", "")],
        [("answer", "a"), ("rater", "an\nna")],
        [("answer", "a"), ("rater", &long)],
        [("answer", "a"), ("a", "999")],
        [("answer", "a"), ("a", "x")],
        [("answer", "low"), ("criterion", "polite")],
    ] {
        let status = send(&change).await;
        assert!((400..500).contains(&status), "{change:?}: {status}");
    }
    let reader = cookie(&browser.log_in(READER, "").await);
    let page = browser.get("/ui/label?rater=anna", &reader).await;
    assert!(page.text.contains("scope score or admin") && !page.text.contains("Left is better"));
    let own = csrf(&page.text);
    let sent =
        browser.post("/ui/label", &reader, with(&form, &[("csrf", &own), ("answer", "a")])).await;
    assert_eq!(sent.status, 403, "read may not answer");
    assert!(!server.path(FILE).exists());
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("target");
    std::fs::write(&target, "").unwrap();
    std::os::unix::fs::symlink(&target, server.path(FILE)).unwrap();
    assert_eq!(send(&[("answer", "a")]).await, 500, "the file is a link");
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "");
    std::fs::remove_file(server.path(FILE)).unwrap();
    std::fs::write(server.path(FILE), "{\"kind\": \"pair\", \"ra").unwrap();
    assert_eq!(send(&[("answer", "tie")]).await, 303);
    let text = std::fs::read_to_string(server.path(FILE)).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((text.lines().count(), last["human_label"].as_str()), (2, Some("tie")), "{text}");
    assert!(server.stop().await);
}

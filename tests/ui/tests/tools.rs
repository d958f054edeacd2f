//! The workbench and the page of labels on a server, in Chromium.

use anyhow::ensure;
use guerdon_test_ui::{Axe, Inspector, Tab};

const TOKEN: &str = "the-token-of-this-test";

const PACK: &str = "/ui/workbench?profile=main&pack=rules%2Fhouse.yaml";

/// A server with eight scored rollouts in two groups, and a tab that is logged in.
async fn scored() -> anyhow::Result<(Inspector, Tab)> {
    let ledger = "[ledger]\npath = \"ledger.sqlite\"";
    let server = Inspector::serve(TOKEN, &["read", "score", "admin"], ledger).await?;
    let rollouts: Vec<String> = (0..8)
        .map(|index| {
            let (group, price) = (index / 4, 400 + index);
            format!(
                r#"{{"id": "r{index}", "group": "g{group}", "context": {{"floor": 404}}, "messages": [
                    {{"role": "user", "content": "Is {group} fine?"}},
                    {{"role": "assistant", "content": "It is {price} yuan <b>net</b>."}}]}}"#
            )
        })
        .collect();
    let body = format!(r#"{{"rollouts": [{}]}}"#, rollouts.join(","));
    server.post("/v1/score", TOKEN, &body).await?;
    let tab = Tab::open().await?;
    tab.goto(&format!("{}/ui/rollouts", server.url)).await?;
    tab.wait_until("document.activeElement.name === 'token'").await?;
    tab.type_into("input[name=token]", TOKEN).await?;
    tab.press("Enter").await?;
    tab.wait_until("location.pathname === '/ui/rollouts'").await?;
    // The ledger is written after the reply.
    for _ in 0..100 {
        if tab.eval("document.querySelectorAll('table.list tbody tr').length").await? == 8 {
            return Ok((server, tab));
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        tab.goto(&format!("{}/ui/rollouts", server.url)).await?;
    }
    anyhow::bail!("the ledger does not have the 8 rollouts");
}

/// Puts a rule at the end of the editor's text. It reads a fact of the rollouts.
const ADD_RULE: &str = r#"(() => {
    const text = document.querySelector('#text');
    text.value += "\n  - id: below-floor\n    about: A price below the floor.\n    points: -10\n"
        + "    match: { number: { unit: [yuan] } }\n    where: value < context.floor\n";
    text.dispatchEvent(new Event('input', { bubbles: true }));
})()"#;

#[tokio::test]
async fn edit_of_a_pack_is_tried_and_saved_with_an_audit_line() -> anyhow::Result<()> {
    let (server, tab) = scored().await?;
    tab.goto(&format!("{}{PACK}", server.url)).await?;
    tab.eval(ADD_RULE).await?;
    // Without a click: the check follows the last key.
    tab.wait_until("document.querySelector('#result h2')?.textContent === 'The text checks'")
        .await?;
    let hits = tab
        .eval("document.querySelector('#result table.list tbody tr').textContent")
        .await?;
    ensure!(hits == "house/below-floor40", "of 8 prices, 4 are below the floor: {hits}");
    ensure!(
        std::fs::read_to_string(server.folder.path().join("rules/house.yaml"))?
            .find("below-floor")
            .is_none(),
        "a check writes nothing"
    );
    tab.click("button[value=save]").await?;
    tab.wait_until("document.querySelector('[role=status]')?.textContent.startsWith('Saved.')")
        .await?;
    let saved = std::fs::read_to_string(server.folder.path().join("rules/house.yaml"))?;
    ensure!(saved.contains("below-floor"), "{saved}");
    let lines = server.logged("rule pack saved");
    ensure!(lines.len() == 1, "{lines:?}");
    for part in ["caller=\"ui\"", "pack=\"rules/house.yaml\"", "old=\"sha256:", "new=\"sha256:"] {
        ensure!(lines[0].contains(part), "{part} is not in {}", lines[0]);
    }
    // The text of a pack with errors has its report, and is not saved.
    tab.eval("document.querySelector('#text').value = 'pack: [house'").await?;
    tab.click("button[value=save]").await?;
    tab.wait_until("document.querySelector('[role=alert]')?.textContent.startsWith('Not saved')")
        .await?;
    ensure!(std::fs::read_to_string(server.folder.path().join("rules/house.yaml"))? == saved);
    let said = tab.said();
    // The status of a refused save is an error, which the console reports.
    ensure!(said.iter().all(|line| line.contains("422")), "{said:?}");
    tab.close().await
}

#[tokio::test]
async fn answers_of_a_rater_are_kept_and_can_be_downloaded() -> anyhow::Result<()> {
    let (server, tab) = scored().await?;
    tab.goto(&format!("{}/ui/label", server.url)).await?;
    tab.type_into("input[name=rater]", "Ann <b>").await?;
    tab.press("Enter").await?;
    for answers in 1..=2 {
        tab.wait_until("document.querySelectorAll('button[name=answer]').length === 3").await?;
        ensure!(tab.eval("document.querySelectorAll('.samples b').length").await? == 0);
        tab.click("button[name=answer][value=a]").await?;
        let count = format!("document.body.textContent.includes('{answers} answers.')");
        tab.wait_until(&count).await?;
    }
    let said = tab.said();
    ensure!(said.is_empty(), "{said:?}");
    tab.goto(&format!("{}/ui/label", server.url)).await?;
    let links = tab
        .eval("[...document.querySelectorAll('a[download]')].map((a) => a.getAttribute('href'))")
        .await?;
    ensure!(links.as_array().is_some_and(|links| links.len() >= 2), "{links}");
    tab.close().await
}

#[tokio::test]
async fn axe_finds_nothing_serious_on_the_tools() -> anyhow::Result<()> {
    let axe = Axe::load()?;
    let (server, tab) = scored().await?;
    let mut failures = Vec::new();
    for scheme in ["light", "dark"] {
        tab.set_scheme(scheme).await?;
        for path in [PACK, "/ui/label?rater=Ann", "/ui/label?rater=Ann&criterion=tone&levels=good%2C+bad"] {
            tab.goto(&format!("{}{path}", server.url)).await?;
            if path == PACK {
                tab.eval(ADD_RULE).await?;
                tab.wait_until("document.querySelector('#result table.list') !== null").await?;
            }
            let found = axe.serious(&tab).await?;
            failures.extend(found.into_iter().map(|one| format!("{scheme} {path}: {one}")));
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    tab.close().await
}

//! A browser logs in with a token, and out again.

use anyhow::ensure;
use guerdon_test_ui::{Inspector, Tab};

const TOKEN: &str = "the-token-of-this-test";

#[tokio::test]
async fn token_opens_the_pages_until_the_logout() -> anyhow::Result<()> {
    let server = Inspector::serve(TOKEN, &["read", "score"], "").await?;
    let tab = Tab::open().await?;
    tab.goto(&format!("{}/ui/rollouts?run=exp-12", server.url)).await?;
    tab.wait_until("location.pathname === '/ui/login'").await?;
    tab.wait_until("document.activeElement.name === 'token'").await?;
    let said = tab.said();
    ensure!(said.is_empty(), "{said:?}");
    tab.type_into("input[name=token]", "not-a-token-of-it").await?;
    tab.press("Enter").await?;
    tab.wait_until(
        "document.querySelector('[role=alert]')?.textContent === 'This token is not known.'",
    )
    .await?;
    tab.said();
    tab.type_into("input[name=token]", TOKEN).await?;
    tab.press("Enter").await?;
    tab.wait_until("location.pathname + location.search === '/ui/rollouts?run=exp-12'").await?;
    ensure!(tab.eval("document.cookie").await? == "", "a script sees the cookie");
    tab.click("header form button").await?;
    tab.wait_until("location.pathname === '/ui/login'").await?;
    tab.goto(&format!("{}/ui/run", server.url)).await?;
    tab.wait_until("location.pathname === '/ui/login'").await?;
    let said = tab.said();
    ensure!(said.is_empty(), "{said:?}");
    tab.close().await
}

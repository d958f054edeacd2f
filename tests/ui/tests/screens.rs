//! Every screen in Chromium: no console errors, working links, filters in the URL, attacks that stay
//! texts, keys, and accessibility by axe.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};
use guerdon_test_ui::{Axe, Inspector, Tab, guerdon, hostile, negotiation};
use serde_json::Value;

/// The most pages of one kind that a test visits.
const PAGES_OF_A_KIND: usize = 6;

/// The kinds of screens, by their address without numbers and query.
const KINDS: [&str; 9] = [
    "/ui",
    "/ui/run",
    "/ui/rollouts",
    "/ui/rollouts/",
    "/ui/group",
    "/ui/rules",
    "/ui/judge",
    "/ui/watch",
    "/ui/compare",
];

/// The kind of an address.
fn kind(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or(path);
    path.trim_end_matches(|letter: char| letter.is_ascii_digit()).to_owned()
}

/// Visits every kind of page from the first one on, and calls `check` on each.
async fn crawl(
    tab: &Tab,
    start: &Inspector,
    mut check: impl AsyncFnMut(&Tab, &str) -> anyhow::Result<()>,
) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut visited: BTreeMap<String, usize> = BTreeMap::new();
    let mut known = BTreeSet::from(["/ui".to_owned()]);
    let mut waiting = vec!["/ui".to_owned()];
    while let Some(path) = waiting.pop() {
        let count = visited.entry(kind(&path)).or_default();
        if *count == PAGES_OF_A_KIND {
            continue;
        }
        *count += 1;
        tab.goto(&format!("{}{path}", start.url)).await?;
        ensure!(tab.status().await? == 200, "{path} has the status {}", tab.status().await?);
        check(tab, &path).await.with_context(|| path.clone())?;
        let said = tab.said();
        ensure!(said.is_empty(), "the console of {path} says {said:?}");
        let links = tab
            .eval("[...document.querySelectorAll('a[href]')].map((a) => a.getAttribute('href'))")
            .await?;
        for link in links.as_array().context("no links")? {
            let link = link.as_str().context("a link")?;
            ensure!(link.starts_with('/') || link.starts_with('#'), "{path} links to {link}");
            if link.starts_with("/ui") && known.insert(link.to_owned()) {
                waiting.insert(0, link.to_owned());
            }
        }
    }
    Ok(visited)
}

#[tokio::test]
async fn every_screen_opens_and_links_work() -> anyhow::Result<()> {
    let inspector = Inspector::start(&negotiation()).await?;
    let tab = Tab::open().await?;
    let visited = crawl(&tab, &inspector, async |tab, path| {
        let title = tab.eval("document.querySelector('h1').textContent").await?;
        ensure!(title.as_str().is_some_and(|title| !title.is_empty()), "{path} has no title");
        let wide = tab.eval("document.documentElement.scrollWidth > innerWidth").await?;
        ensure!(wide == Value::Bool(false), "{path} is wider than the window");
        Ok(())
    })
    .await?;
    for kind in KINDS {
        ensure!(visited.contains_key(kind), "no page links to {kind}: {visited:?}");
    }
    tab.close().await
}

#[tokio::test]
async fn attacks_stay_texts() -> anyhow::Result<()> {
    let inspector = Inspector::start(&hostile()).await?;
    let tab = Tab::open().await?;
    let visited = crawl(&tab, &inspector, async |tab, path| {
        let pwned = tab.eval("String(window.pwned)").await?;
        ensure!(pwned == "undefined", "a text of {path} ran");
        let foreign = tab
            .eval("[...document.querySelectorAll('script')].filter((one) => !one.src.endsWith('/ui/assets/inspector.js')).length + document.querySelectorAll('img[src=\"x\"], svg[onload], [onfocus], [onerror]').length")
            .await?;
        ensure!(foreign == 0, "{path} has {foreign} foreign elements");
        Ok(())
    })
    .await?;
    ensure!(visited.get("/ui/rollouts/").is_some_and(|count| *count == PAGES_OF_A_KIND));
    // The texts are there, as they were sent.
    tab.goto(&format!("{}/ui/rollouts/1", inspector.url)).await?;
    let text = tab.eval("document.querySelector('li.scored > .text').textContent").await?;
    ensure!(text == "ab <script>window.pwned = 1</script> cd", "{text}");
    tab.close().await
}

#[tokio::test]
async fn filters_keep_their_state_in_the_url() -> anyhow::Result<()> {
    let inspector = Inspector::start(&negotiation()).await?;
    let tab = Tab::open().await?;
    tab.goto(&format!("{}/ui/rollouts?run=exp-12", inspector.url)).await?;
    tab.type_into("input[name=step]", "31").await?;
    tab.press("Enter").await?;
    tab.wait_until("location.search === '?run=exp-12&step=31'").await?;
    tab.wait_until("document.querySelector('input[name=step]')?.value === '31'").await?;
    ensure!(tab.eval("document.querySelector('input[name=run]').value").await? == "exp-12");
    let rows = tab.eval("document.querySelectorAll('table.list tbody tr').length").await?;
    ensure!(rows == 32, "16 rollouts that were scored twice: {rows}");
    tab.eval("document.querySelector('input[name=null]').click()").await?;
    tab.click("form.filter button").await?;
    tab.wait_until("location.search.endsWith('&null=1')").await?;
    tab.goto(&format!("{}/ui/rollouts?run=exp-12", inspector.url)).await?;
    tab.click("a[rel=next]").await?;
    tab.wait_until("/^\\?run=exp-12&after=\\d+$/.test(location.search)").await?;
    tab.close().await
}

#[tokio::test]
async fn keys_lead_through_the_pages() -> anyhow::Result<()> {
    let inspector = Inspector::start(&negotiation()).await?;
    let tab = Tab::open().await?;
    tab.goto(&format!("{}/ui/rollouts", inspector.url)).await?;
    tab.press("/").await?;
    tab.wait_until("document.activeElement.name === 'run'").await?;
    tab.press("Escape").await?;
    for _ in 0..3 {
        tab.press("j").await?;
    }
    tab.press("k").await?;
    tab.wait_until("document.querySelectorAll('tbody tr')[1].classList.contains('current')")
        .await?;
    tab.press("Enter").await?;
    tab.wait_until("/^\\/ui\\/rollouts\\/\\d+$/.test(location.pathname)").await?;
    tab.wait_until("document.readyState === 'complete'").await?;
    tab.press("u").await?;
    tab.wait_until("location.pathname === '/ui/rollouts' || location.pathname === '/ui/group'")
        .await?;
    tab.close().await
}

#[tokio::test]
async fn axe_finds_nothing_serious() -> anyhow::Result<()> {
    let axe = Axe::load()?;
    let inspector = Inspector::start(&negotiation()).await?;
    let tab = Tab::open().await?;
    let mut failures = Vec::new();
    for scheme in ["light", "dark"] {
        tab.set_scheme(scheme).await?;
        for path in [
            "/ui",
            "/ui/run?run=exp-12",
            "/ui/rollouts?run=exp-12",
            "/ui/rollouts/40",
            "/ui/group?run=exp-12&step=31&group=hotel-1",
            "/ui/rules?run=exp-12",
            "/ui/rules?run=exp-12&name=rules%3A+guardrails%2Finternal-words",
            "/ui/judge?run=exp-12",
            "/ui/watch?run=exp-12",
            "/ui/compare",
            "/ui/compare?run=exp-12&before=sha256%3A2c94d07f61ab385e&after=sha256%3A7be1f09c3a52d8e4",
            "/ui/nowhere",
        ] {
            tab.goto(&format!("{}{path}", inspector.url)).await?;
            let found = axe.serious(&tab).await.with_context(|| path.to_owned())?;
            failures.extend(found.into_iter().map(|one| format!("{scheme} {path}: {one}")));
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    tab.close().await
}

#[tokio::test]
async fn bundle_opens_from_a_folder() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (file, pages) = (folder.path().join("rewards.jsonl"), folder.path().join("pages"));
    std::fs::write(&file, hostile())?;
    let mut command = tokio::process::Command::new(guerdon());
    let made = command.arg("view").arg(&file).arg("--bundle").arg(&pages).output().await?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let tab = Tab::open().await?;
    tab.goto(&format!("file://{}/index.html", pages.display())).await?;
    tab.click("main section:last-of-type table a").await?;
    tab.wait_until("/rollout-\\d+\\.html$/.test(location.pathname)").await?;
    ensure!(
        tab.eval("getComputedStyle(document.body).marginTop").await? == "0px",
        "no style sheet"
    );
    ensure!(tab.eval("String(window.pwned)").await? == "undefined");
    let said = tab.said();
    ensure!(said.is_empty(), "{said:?}");
    tab.close().await
}

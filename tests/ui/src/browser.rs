//! A tab of Chromium, with what its console said.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use chromiumoxide::browser::{Browser, BrowserConfig};
use chromiumoxide::cdp::browser_protocol::emulation::{MediaFeature, SetEmulatedMediaParams};
use chromiumoxide::cdp::browser_protocol::log::{EnableParams, EventEntryAdded, LogEntryLevel};
use chromiumoxide::cdp::browser_protocol::page::CaptureScreenshotFormat;
use chromiumoxide::cdp::js_protocol::runtime::{
    ConsoleApiCalledType, EventConsoleApiCalled, EventExceptionThrown,
};
use chromiumoxide::page::{Page, ScreenshotParams};
use futures_util::StreamExt as _;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// The longest time that a page may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A tab in a browser of its own.
#[derive(Debug)]
pub struct Tab {
    page: Page,
    browser: Browser,
    said: Arc<Mutex<Vec<String>>>,
    tasks: Vec<JoinHandle<()>>,
    _profile: TempDir,
}

impl Tab {
    /// Opens Chromium without a window.
    pub async fn open() -> anyhow::Result<Self> {
        let program = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
        let program = program.into_iter().map(PathBuf::from).find(|program| program.exists());
        let profile = tempfile::tempdir()?;
        let config = BrowserConfig::builder()
            .chrome_executable(program.context("Chromium is not installed")?)
            .user_data_dir(profile.path())
            // The container of a test may have no user namespaces, and a small /dev/shm.
            .no_sandbox()
            .arg("--disable-dev-shm-usage")
            .arg("--disable-gpu")
            .window_size(1_120, 940)
            .viewport(None)
            .launch_timeout(Duration::from_secs(60))
            .build()
            .map_err(|error| anyhow!(error))?;
        let (browser, mut handler) = Browser::launch(config).await?;
        let mut tasks = vec![tokio::spawn(async move { while handler.next().await.is_some() {} })];
        let page = browser.new_page("about:blank").await?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let mut entries = page.event_listener::<EventEntryAdded>().await?;
        let mut calls = page.event_listener::<EventConsoleApiCalled>().await?;
        let mut thrown = page.event_listener::<EventExceptionThrown>().await?;
        let own = Arc::clone(&said);
        tasks.push(tokio::spawn(async move {
            loop {
                let text = tokio::select! {
                    Some(event) = entries.next() => match event.entry.level {
                        LogEntryLevel::Error | LogEntryLevel::Warning => format!("{:?}", event.entry),
                        _ => continue,
                    },
                    Some(event) = calls.next() => match event.r#type {
                        ConsoleApiCalledType::Error | ConsoleApiCalledType::Warning => format!("{:?}", event.args),
                        _ => continue,
                    },
                    Some(event) = thrown.next() => format!("{:?}", event.exception_details),
                    else => return,
                };
                if let Ok(mut said) = own.lock() {
                    said.push(text);
                }
            }
        }));
        page.execute(EnableParams::default()).await?;
        Ok(Self { page, browser, said, tasks, _profile: profile })
    }

    /// Opens an address and waits until it is loaded.
    pub async fn goto(&self, url: &str) -> anyhow::Result<()> {
        let opened = async {
            self.page.goto(url).await?;
            self.page.wait_for_navigation().await?;
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, opened)
            .await
            .with_context(|| format!("{url} took too long"))?
    }

    /// The HTTP status of the page.
    pub async fn status(&self) -> anyhow::Result<u64> {
        let status =
            self.eval("performance.getEntriesByType('navigation')[0].responseStatus").await?;
        status.as_u64().context("no status")
    }

    /// The value of an expression. Promises are awaited.
    pub async fn eval(&self, expression: &str) -> anyhow::Result<Value> {
        let function = format!("async () => {{ return ({expression}); }}");
        let found = self.page.evaluate_function(function).await;
        let found = found.with_context(|| format!("cannot evaluate {expression}"))?;
        Ok(found.value().cloned().unwrap_or(Value::Null))
    }

    /// Runs a script, such as a library.
    pub async fn run(&self, script: &str) -> anyhow::Result<()> {
        self.page.evaluate(script).await?;
        Ok(())
    }

    /// Waits until an expression is true.
    pub async fn wait_until(&self, expression: &str) -> anyhow::Result<()> {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            // During a navigation there is no page to ask.
            if self.eval(expression).await.is_ok_and(|found| found == Value::Bool(true)) {
                return Ok(());
            }
            ensure!(tokio::time::Instant::now() < until, "not true in time: {expression}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Presses a key on what has the focus.
    pub async fn press(&self, key: &str) -> anyhow::Result<()> {
        let focused = self.page.find_element("body").await?;
        let active = self.page.find_element(":focus").await.unwrap_or(focused);
        active.press_key(key).await?;
        Ok(())
    }

    /// Types a text into a field, which is emptied first.
    pub async fn type_into(&self, selector: &str, text: &str) -> anyhow::Result<()> {
        let field = self.page.find_element(selector).await?;
        field.click().await?;
        self.eval(&format!("document.querySelector({selector:?}).value = ''")).await?;
        field.type_str(text).await?;
        Ok(())
    }

    /// Clicks an element.
    pub async fn click(&self, selector: &str) -> anyhow::Result<()> {
        self.page.find_element(selector).await?.click().await?;
        Ok(())
    }

    /// Shows the page as on a dark or a light system.
    pub async fn set_scheme(&self, scheme: &str) -> anyhow::Result<()> {
        let feature = MediaFeature::new("prefers-color-scheme", scheme);
        let params = SetEmulatedMediaParams::builder().features([feature]).build();
        self.page.execute(params).await?;
        Ok(())
    }

    /// A picture of the window as PNG.
    pub async fn picture(&self) -> anyhow::Result<Vec<u8>> {
        let params = ScreenshotParams::builder().format(CaptureScreenshotFormat::Png).build();
        Ok(self.page.screenshot(params).await?)
    }

    /// Errors and warnings of the console since the last call: also what the content security
    /// policy refused.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().map(|mut said| std::mem::take(&mut *said)).unwrap_or_default()
    }

    /// Closes the browser.
    pub async fn close(mut self) -> anyhow::Result<()> {
        self.browser.close().await?;
        self.browser.wait().await?;
        for task in self.tasks {
            task.abort();
        }
        Ok(())
    }
}

//! The checks of accessibility by axe-core.

use anyhow::{Context as _, ensure};

use crate::Tab;

const FOUND: &str = "axe.run().then((found) => found.violations.filter((one) => ['serious', 'critical'].includes(one.impact)).map((one) => one.id + ': ' + one.nodes.map((node) => node.target + ' ' + node.failureSummary).slice(0, 3).join('; ')))";

/// The script of axe-core.
#[derive(Debug)]
pub struct Axe {
    script: String,
}

impl Axe {
    /// Reads the file that the variable `AXE` names.
    pub fn load() -> anyhow::Result<Self> {
        let file = std::env::var("AXE").context("AXE names axe.min.js; `make test-ui` fetches it")?;
        let script =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        Ok(Self { script })
    }

    /// The serious findings on the page of `tab`.
    pub async fn serious(&self, tab: &Tab) -> anyhow::Result<Vec<String>> {
        tab.run(&self.script).await?;
        let passed = tab.eval("axe.run().then((found) => found.passes.length)").await?;
        ensure!(passed.as_u64() > Some(15), "axe checked {passed} rules");
        let found = tab.eval(FOUND).await?;
        let found = found.as_array().context("a list")?;
        Ok(found.iter().map(ToString::to_string).collect())
    }
}

//! From an address to a page.

use crate::assets;
use crate::filter::{Filter, query_value};
use crate::links::Links;
use crate::page::{
    Components, Label, Login, Shell, Workbench, compare_choice, compare_page, components_page,
    group_page, home_page, judge_page, label_page, login_page, problem_page, rollout_page,
    rollouts_page, run_page, watch_page, workbench_page,
};
use crate::store::{Store, StoreError};
use crate::summary::{ComparisonBuilder, ComponentsBuilder, RunBuilder, RunSummary, judge, watch};

/// The rollouts of one page of a list.
pub const PAGE_ROWS: usize = 50;
/// The most rollouts that a summary reads.
pub const SCAN_ROWS: usize = 100_000;
/// The most rollouts of the page of rules, which compares each rule with each rollout.
pub(crate) const DETAIL_ROWS: usize = 20_000;
/// The most rollouts of the page of the judge, which reads their dialogues.
const JUDGE_ROWS: usize = 500;
/// The most samples of a group's page.
pub const GROUP_ROWS: usize = 64;
/// The newest rollouts of the first page.
const NEWEST_ROWS: usize = 10;

/// The pages of a store.
#[derive(Debug, Clone, Copy)]
pub struct Site<'s> {
    /// The rollouts that the pages read.
    pub store: &'s dyn Store,
    /// The place of the pages.
    pub links: Links,
    /// The token against forged forms, if the reader is logged in and can log out.
    pub session: Option<&'s str>,
    /// True on a server, which has the screens that write.
    pub has_tools: bool,
}

/// A page or a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The content type.
    pub content_type: &'static str,
    /// The content.
    pub body: Vec<u8>,
}

impl Reply {
    /// An HTML page.
    #[must_use]
    pub fn page(status: u16, body: String) -> Self {
        Self { status, content_type: "text/html; charset=utf-8", body: body.into_bytes() }
    }
}

impl Site<'_> {
    /// The page at `path`, such as `/ui/rollouts`, with a query string. May block.
    #[must_use]
    pub fn respond(&self, path: &str, query: &str) -> Reply {
        if let Some(name) = path.strip_prefix("/ui/assets/") {
            return match assets::find(name) {
                Some(asset) => Reply {
                    status: 200,
                    content_type: asset.content_type,
                    body: asset.content.as_bytes().to_vec(),
                },
                None => self.missing(),
            };
        }
        let name = self.store.name();
        let shell = self.shell(&name);
        let filter = Filter::of_query(query);
        let page = match path.trim_end_matches('/') {
            "" | "/ui" => self.home(&shell),
            "/ui/rollouts" => {
                let after = query_value(query, "after").and_then(|after| after.parse().ok());
                self.rollouts(&shell, &filter, after).map(|(page, _)| page)
            }
            "/ui/run" => self.run(&shell, &filter).map(|(page, _)| page),
            "/ui/group" => self.group(&shell, &filter),
            "/ui/rules" => {
                let name = query_value(query, "name");
                self.components(&shell, &filter, name.as_deref())
            }
            "/ui/judge" => self.judge(&shell, &filter),
            "/ui/watch" => self.watch(&shell, &filter),
            "/ui/compare" => {
                let digests = query_value(query, "before").zip(query_value(query, "after"));
                self.compare(&shell, &filter, digests)
            }
            path => match path.strip_prefix("/ui/rollouts/").and_then(|key| key.parse().ok()) {
                Some(key) => match self.rollout(&shell, key) {
                    Ok(None) => return self.missing(),
                    Ok(Some(page)) => Ok(page),
                    Err(error) => Err(error),
                },
                None => return self.missing(),
            },
        };
        match page {
            Ok(page) => Reply::page(200, page),
            Err(error) => self.problem(503, "The rollouts cannot be read", &error.to_string()),
        }
    }

    /// The form of a login, with a status such as 401 after a wrong token. It shows nothing of the
    /// store.
    #[must_use]
    pub fn login(login: &Login<'_>, status: u16) -> Reply {
        let shell = Shell { links: Links::Served, store: "", session: None, has_tools: false };
        Reply::page(status, login_page(&shell, login))
    }

    /// The page of labels.
    #[must_use]
    pub fn label(&self, label: &Label<'_>) -> Reply {
        let name = self.store.name();
        Reply::page(200, label_page(&self.shell(&name), label))
    }

    /// The rules workbench.
    #[must_use]
    pub fn workbench(&self, workbench: &Workbench<'_>, status: u16) -> Reply {
        let name = self.store.name();
        Reply::page(status, workbench_page(&self.shell(&name), workbench))
    }

    /// The page for an address without a page.
    #[must_use]
    pub fn missing(&self) -> Reply {
        self.problem(404, "There is no page at this address", "The rollout may have been pruned.")
    }

    /// A page that says what is wrong.
    #[must_use]
    pub fn problem(&self, status: u16, title: &str, detail: &str) -> Reply {
        let name = self.store.name();
        Reply::page(status, problem_page(&self.shell(&name), title, detail, ""))
    }

    pub(crate) fn shell<'n>(&'n self, name: &'n str) -> Shell<'n> {
        Shell { links: self.links, store: name, session: self.session, has_tools: self.has_tools }
    }

    pub(crate) fn home(&self, shell: &Shell<'_>) -> Result<String, StoreError> {
        let overview = self.store.overview()?;
        let newest = self.store.rollouts(&Filter::default(), None, NEWEST_ROWS)?;
        Ok(home_page(shell, &overview, &newest))
    }

    /// A page of the list, and the key after which the next one begins.
    pub(crate) fn rollouts(
        &self,
        shell: &Shell<'_>,
        filter: &Filter,
        after: Option<i64>,
    ) -> Result<(String, Option<i64>), StoreError> {
        let overview = self.store.overview()?;
        let mut rows = self.store.rollouts(filter, after, PAGE_ROWS + 1)?;
        let has_more = rows.len() > PAGE_ROWS;
        rows.truncate(PAGE_ROWS);
        let next = rows.last().map(|row| row.key).filter(|_| has_more);
        Ok((rollouts_page(shell, filter, &overview, &rows, next), next))
    }

    pub(crate) fn rollout(
        &self,
        shell: &Shell<'_>,
        key: i64,
    ) -> Result<Option<String>, StoreError> {
        Ok(self.store.record(key)?.map(|record| rollout_page(shell, &record)))
    }

    pub(crate) fn group(&self, shell: &Shell<'_>, filter: &Filter) -> Result<String, StoreError> {
        let mut records = self.store.records(filter, GROUP_ROWS + 1)?;
        let is_cut = records.len() > GROUP_ROWS;
        records.truncate(GROUP_ROWS);
        Ok(group_page(shell, filter, &records, is_cut))
    }

    pub(crate) fn run(
        &self,
        shell: &Shell<'_>,
        filter: &Filter,
    ) -> Result<(String, RunSummary), StoreError> {
        let overview = self.store.overview()?;
        let (summary, is_cut) = self.summary(filter)?;
        let cut_at = is_cut.then_some(SCAN_ROWS);
        Ok((run_page(shell, filter, &overview, &summary, cut_at), summary))
    }

    pub(crate) fn components(
        &self,
        shell: &Shell<'_>,
        filter: &Filter,
        name: Option<&str>,
    ) -> Result<String, StoreError> {
        let overview = self.store.overview()?;
        let mut builder = ComponentsBuilder::default();
        let is_cut = self.store.scan(filter, DETAIL_ROWS, &mut |row| builder.add(row))?;
        let rollouts = builder.rollouts();
        let found = builder.finish();
        let cut_at = is_cut.then_some(DETAIL_ROWS);
        let components = Components { rollouts, found: &found, name, cut_at };
        Ok(components_page(shell, filter, &overview, &components))
    }

    pub(crate) fn judge(&self, shell: &Shell<'_>, filter: &Filter) -> Result<String, StoreError> {
        let overview = self.store.overview()?;
        let records = self.store.records(filter, JUDGE_ROWS)?;
        Ok(judge_page(shell, filter, &overview, &judge(&records)))
    }

    pub(crate) fn watch(&self, shell: &Shell<'_>, filter: &Filter) -> Result<String, StoreError> {
        let overview = self.store.overview()?;
        let mut rows = Vec::new();
        self.store.scan(filter, SCAN_ROWS, &mut |row| rows.push(row))?;
        Ok(watch_page(shell, filter, &overview, &watch(rows)))
    }

    fn summary(&self, filter: &Filter) -> Result<(RunSummary, bool), StoreError> {
        let mut builder = RunBuilder::default();
        let is_cut = self.store.scan(filter, SCAN_ROWS, &mut |row| builder.add(row))?;
        Ok((builder.finish(), is_cut))
    }

    pub(crate) fn compare(
        &self,
        shell: &Shell<'_>,
        filter: &Filter,
        digests: Option<(String, String)>,
    ) -> Result<String, StoreError> {
        let filter = Filter { digest: None, ..filter.clone() };
        let known = self.summary(&filter)?.0.digests;
        let Some((before, after)) = digests else {
            return Ok(compare_choice(shell, &filter, &known));
        };
        let mut builder = ComparisonBuilder::default();
        let of = |digest: &str| Filter { digest: Some(digest.to_owned()), ..filter.clone() };
        self.store.scan(&of(&before), SCAN_ROWS / 2, &mut |row| builder.add_before(row))?;
        self.store.scan(&of(&after), SCAN_ROWS / 2, &mut |row| builder.add_after(row))?;
        let found = builder.finish();
        Ok(compare_page(shell, &filter, &known, (&before, &after), &found))
    }
}

/// The policy for the header `Content-Security-Policy` of every page.
#[must_use]
pub const fn content_security_policy() -> &'static str {
    crate::page::POLICY
}

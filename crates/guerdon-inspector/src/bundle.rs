//! The pages of a store as files of one folder, to share without a server.

use std::collections::BTreeSet;

use crate::assets::ASSETS;
use crate::filter::Filter;
use crate::links::Links;
use crate::site::Site;
use crate::store::{Store, StoreError};

/// The most rollouts of a bundle: each is a file.
pub const BUNDLE_ROLLOUTS: u64 = 20_000;

/// Writes the pages of `store`, one call of `write` for each file with its name and content. Pages
/// of filters that a reader would type are left out.
///
/// # Errors
/// The error of `write`, or [`BundleError`] if the store cannot be read or has too many rollouts.
pub fn bundle<E: From<BundleError>>(
    store: &dyn Store,
    mut write: impl FnMut(&str, &[u8]) -> Result<(), E>,
) -> Result<usize, E> {
    let read = |error: StoreError| E::from(BundleError::Store(error));
    let overview = store.overview().map_err(read)?;
    if overview.rollouts > BUNDLE_ROLLOUTS {
        return Err(BundleError::TooMany { rollouts: overview.rollouts }.into());
    }
    let links = Links::Bundle;
    let site = Site { store, links, session: None, has_tools: false };
    let name = store.name();
    let shell = site.shell(&name);
    let mut files = 0;
    let mut put = |name: &str, content: &[u8]| {
        files += 1;
        write(name, content)
    };
    for asset in ASSETS {
        put(asset.name, asset.content.as_bytes())?;
    }
    put(&links.home(), site.home(&shell).map_err(read)?.as_bytes())?;
    let all = Filter::default();
    put(&links.compare_choice(), site.compare(&shell, &all, None).map_err(read)?.as_bytes())?;
    put(&links.components(&all), site.components(&shell, &all, None).map_err(read)?.as_bytes())?;
    put(&links.judge(&all), site.judge(&shell, &all).map_err(read)?.as_bytes())?;
    put(&links.watch(&all), site.watch(&shell, &all).map_err(read)?.as_bytes())?;
    let mut after = None;
    loop {
        let (page, next) = site.rollouts(&shell, &all, after).map_err(read)?;
        put(&links.rollouts(&all, after), page.as_bytes())?;
        let Some(next) = next else { break };
        after = Some(next);
    }
    let runs = overview.runs.iter().filter(|run| run.run.is_some());
    let runs = runs.map(|run| Filter { run: run.run.clone(), ..Filter::default() });
    for filter in std::iter::once(all.clone()).chain(runs) {
        let (page, summary) = site.run(&shell, &filter).map_err(read)?;
        put(&links.run(&filter), page.as_bytes())?;
        let mut pairs: BTreeSet<(&str, &str)> = summary
            .changes
            .iter()
            .take(50)
            .map(|change| (change.before.as_str(), change.after.as_str()))
            .collect();
        for pair in summary.digests.windows(2) {
            if let [before, after] = pair {
                pairs.insert((before, after));
            }
        }
        for (before, after) in pairs {
            let digests = Some((before.to_owned(), after.to_owned()));
            let page = site.compare(&shell, &filter, digests).map_err(read)?;
            put(&links.compare(&filter, before, after), page.as_bytes())?;
        }
    }
    let mut rows = Vec::new();
    store.scan(&all, usize::MAX, &mut |row| rows.push(row)).map_err(read)?;
    let mut groups: BTreeSet<String> = BTreeSet::new();
    for row in rows {
        if let Some(page) = site.rollout(&shell, row.key).map_err(read)? {
            put(&links.rollout(row.key), page.as_bytes())?;
        }
        let Some(group) = row.labels.group else { continue };
        let (run, step) = (row.labels.run, row.labels.step);
        let filter = Filter { run, step, group: Some(group), ..Filter::default() };
        let file = links.group(&filter);
        if groups.insert(file.clone()) {
            put(&file, site.group(&shell, &filter).map_err(read)?.as_bytes())?;
        }
    }
    Ok(files)
}

/// The bundle cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A bundle has a file for each rollout.
    #[error(
        "there are {rollouts} rollouts, and a bundle has at most {BUNDLE_ROLLOUTS}\n  help: bundle a smaller file, or open it without --bundle"
    )]
    TooMany {
        /// The number of rollouts.
        rollouts: u64,
    },
}

//! Links, escaping, filters, and the size of pages.

use std::collections::BTreeMap;
use std::convert::Infallible;

use guerdon_inspector::{BundleError, Filter, Links, MemoryStore, PAGE_ROWS, Site, bundle};

use crate::generated::{HOSTILE, records};

/// An error of a bundle in a test.
#[derive(Debug)]
struct Failed(#[expect(dead_code, reason = "shown by `unwrap`")] BundleError);

impl From<BundleError> for Failed {
    fn from(error: BundleError) -> Self {
        Self(error)
    }
}

impl From<Infallible> for Failed {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

fn files(count: usize) -> BTreeMap<String, String> {
    let store = MemoryStore::new("out.jsonl", records(count));
    let mut files = BTreeMap::new();
    bundle::<Failed>(&store, |name, content| {
        let content = String::from_utf8(content.to_vec()).unwrap();
        assert!(files.insert(name.to_owned(), content).is_none(), "{name} twice");
        Ok(())
    })
    .unwrap();
    files
}

/// The values of an attribute in a page. Values have no quotes, since these are escaped.
fn attributes(page: &str, name: &str) -> Vec<String> {
    let start = format!(" {name}=\"");
    let values = page.split(start.as_str()).skip(1).filter_map(|rest| rest.split('"').next());
    values.map(|value| value.replace("&amp;", "&")).collect()
}

#[test]
fn every_link_of_a_bundle_leads_to_a_file() {
    let files = files(96);
    let pages = files.iter().filter(|(name, _)| name.ends_with(".html"));
    let mut links = 0;
    for (name, page) in pages {
        for link in attributes(page, "href").into_iter().chain(attributes(page, "src")) {
            links += 1;
            match link.split_once('#') {
                Some(("", anchor)) => {
                    assert!(page.contains(&format!("id=\"{anchor}\"")), "{name}: #{anchor}");
                }
                _ => assert!(files.contains_key(&link), "{name}: {link}"),
            }
        }
    }
    assert!(links > 1_000, "{links}");
}

#[test]
fn hostile_texts_stay_texts() {
    for (name, page) in files(40) {
        if !name.ends_with(".html") {
            continue;
        }
        for hostile in HOSTILE.iter().filter(|text| text.contains('<') || text.contains('"')) {
            assert!(!page.contains(hostile), "{name} has {hostile}");
        }
        let lower = page.to_lowercase();
        assert_eq!(lower.matches("<script").count(), 1, "{name}");
        assert!(!lower.contains("<img src=x") && !lower.contains("<svg onload"), "{name}");
        for link in attributes(&page, "href") {
            assert!(!link.trim_start().starts_with("javascript:"), "{name}: {link}");
        }
        assert!(!lower.contains(" style=") && !lower.contains("<style"), "{name}: inline style");
    }
}

#[test]
fn ids_of_a_page_are_unique() {
    for (name, page) in files(40) {
        let mut ids = attributes(&page, "id");
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count, "{name}");
    }
}

fn get(store: &MemoryStore, path: &str, query: &str) -> String {
    let site = Site { store, links: Links::Served, session: None, has_tools: false };
    let reply = site.respond(path, query);
    assert_eq!(reply.status, 200, "{path}?{query}");
    String::from_utf8(reply.body).unwrap()
}

#[test]
fn pages_of_a_list_have_every_rollout_once() {
    let store = MemoryStore::new("out.jsonl", records(240));
    let filter = Filter { only_null: false, step: Some(3), ..Filter::default() };
    for filter in [Filter::default(), filter] {
        let mut keys = Vec::new();
        let mut query = filter.query(&[]);
        loop {
            let page = get(&store, "/ui/rollouts", &query);
            let rows = attributes(&page, "href").into_iter().filter_map(|link| {
                link.strip_prefix("/ui/rollouts/").and_then(|key| key.parse::<i64>().ok())
            });
            let before = keys.len();
            keys.extend(rows);
            assert!(keys.len() - before <= PAGE_ROWS);
            let older = attributes(&page, "href").into_iter().find(|link| link.contains("after="));
            let Some((_, next)) = older.as_deref().and_then(|link| link.split_once('?')) else {
                break;
            };
            assert_eq!(Filter::of_query(next), filter, "a page keeps the filter");
            query = next.to_owned();
        }
        let expected = if filter.step.is_some() { 16 } else { 240 };
        assert_eq!(keys.len(), expected);
        assert!(keys.is_sorted_by(|one, other| one > other), "newest first, none twice");
    }
}

#[test]
fn pages_stay_small_at_100_000_rollouts() {
    let store = MemoryStore::new("out.jsonl", records(100_000));
    for (path, query) in [
        ("/ui", ""),
        ("/ui/rollouts", ""),
        ("/ui/run", ""),
        ("/ui/compare", ""),
        ("/ui/rules", ""),
        ("/ui/watch", ""),
        ("/ui/judge", ""),
        ("/ui/rollouts/77", ""),
    ] {
        let bytes = get(&store, path, query).len();
        assert!(bytes < 400_000, "{path}: {bytes} bytes");
    }
}

#[test]
fn marks_are_where_the_spans_count() {
    let store = MemoryStore::new("out.jsonl", records(8));
    let page = get(&store, "/ui/rollouts/1", "");
    // A hit from the fifth scalar value on, and a quote within.
    assert!(page.contains("Größe<a class=\"mark\" href=\"#t1n0\""), "{page}");
    assert!(page.contains("<mark class=\"bad\"> \u{1F600} &lt;script&gt;"), "{page}");
    assert!(page.contains("<mark class=\"bad several\">we can do 420</mark>"), "{page}");
}

#[test]
fn unknown_addresses_are_answered_with_a_page() {
    let store = MemoryStore::new("out.jsonl", records(2));
    let site = Site { store: &store, links: Links::Served, session: None, has_tools: false };
    for path in ["/ui/nowhere", "/ui/rollouts/99", "/ui/rollouts/x", "/ui/assets/../Cargo.toml"] {
        assert_eq!(site.respond(path, "").status, 404, "{path}");
    }
    assert_eq!(
        site.respond("/ui/assets/inspector.css", "").content_type,
        "text/css; charset=utf-8"
    );
}

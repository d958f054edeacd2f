//! Pages that show scored rollouts: what was paid for, why one sample beat another, whether a run's
//! reward is still right, and what an edit changed.
//!
//! A page is a pure function from data to HTML. What it reads comes from a [`Store`]: a file in
//! memory, or a ledger. [`Site`] finds the page of an address for a server, and [`bundle()`] writes
//! all pages as files. Nothing in a page runs inline, and nothing is loaded from elsewhere: a strict
//! content security policy holds, and the pages work offline.
//!
//! ```
//! use guerdon_inspector::{Links, MemoryStore, Site, read_results};
//!
//! let records = read_results("out.jsonl", r#"{"id": "r-17", "reward": 1.5, "turns": []}"#)?;
//! let store = MemoryStore::new("out.jsonl", records);
//! let site = Site { store: &store, links: Links::Served, session: None, has_tools: false };
//! let page = site.respond("/ui/rollouts/1", "");
//! assert_eq!(page.status, 200);
//! assert!(String::from_utf8_lossy(&page.body).contains("Rollout r-17"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | file | content |
//! |---|---|
//! | `record.rs` | a scored rollout with its labels, and its short form |
//! | `store.rs` | the trait of what pages read |
//! | `memory.rs` | rollouts in memory |
//! | `ledger.rs` | rollouts of a ledger |
//! | `file.rs` | rollouts of a JSON Lines file or a reply |
//! | `filter.rs` | the filter in a page's URL |
//! | `links.rs` | the addresses of pages, on a server or in a folder |
//! | `turn_sources.rs` | the sources of a turn in one form |
//! | `waterfall.rs` | the way from a turn's base to its reward |
//! | `spans.rs` | a text cut at the borders of its marks |
//! | `labelling/` | questions to raters, their answers and agreement |
//! | `summary/` | numbers of many rollouts: runs and comparisons |
//! | `chart/` | charts as SVG |
//! | `page/` | the pages |
//! | `assets.rs`, `assets/` | style sheet, script, icon |
//! | `site.rs` | from an address to a page |
//! | `bundle.rs` | all pages as files |

mod assets;
mod bundle;
mod chart;
mod file;
mod filter;
mod labelling;
mod ledger;
mod links;
mod memory;
mod page;
mod record;
mod site;
mod spans;
mod store;
mod summary;
mod turn_sources;
mod waterfall;

pub use assets::{ASSETS, Asset};
pub use bundle::{BUNDLE_ROLLOUTS, BundleError, bundle};
pub use file::{FileError, add_rollouts, read_results};
pub use filter::Filter;
pub use labelling::{
    Agreement, Answer, AskedPair, AskedTurn, LabelForm, LevelAnswer, PairAnswer, agreements,
    export, next_pair, next_turn, pair_of, turn_of,
};
pub use ledger::LedgerStore;
pub use links::Links;
pub use memory::MemoryStore;
pub use page::{
    EditedPack, Label, LabelChoice, LabelQuestion, Login, PackChange, PackCheck, PackPlace,
    RuleChange, Workbench,
};
pub use record::{Labels, Record, Row, RowPart};
pub use site::{GROUP_ROWS, PAGE_ROWS, Reply, SCAN_ROWS, Site, content_security_policy};
pub use store::{Overview, RunOverview, Store, StoreError};

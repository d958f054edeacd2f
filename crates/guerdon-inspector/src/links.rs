//! The addresses of pages: routes of a server, or files of a bundle.

use guerdon_text::sha256_hex;

use crate::filter::Filter;

/// The place of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// On a server, under `/ui`.
    Served,
    /// Files of one folder.
    Bundle,
}

impl Links {
    /// The first page: runs and rollouts.
    #[must_use]
    pub fn home(self) -> String {
        self.pick("/ui", "index.html")
    }

    /// A file of the pages' own, such as the style sheet.
    #[must_use]
    pub fn asset(self, name: &str) -> String {
        match self {
            Self::Served => format!("/ui/assets/{name}"),
            Self::Bundle => name.to_owned(),
        }
    }

    /// The list of rollouts after the one at `after`.
    #[must_use]
    pub fn rollouts(self, filter: &Filter, after: Option<i64>) -> String {
        match self {
            Self::Served => {
                let after = after.map(|after| after.to_string());
                let further: Vec<(&str, &str)> =
                    after.iter().map(|after| ("after", after.as_str())).collect();
                with_query("/ui/rollouts", &filter.query(&further))
            }
            Self::Bundle => match after {
                Some(after) => format!("rollouts-{after}.html"),
                None => "rollouts.html".to_owned(),
            },
        }
    }

    /// One rollout.
    #[must_use]
    pub fn rollout(self, key: i64) -> String {
        match self {
            Self::Served => format!("/ui/rollouts/{key}"),
            Self::Bundle => format!("rollout-{key}.html"),
        }
    }

    /// One group of a filter.
    #[must_use]
    pub fn group(self, filter: &Filter) -> String {
        self.filtered("group", filter)
    }

    /// A run.
    #[must_use]
    pub fn run(self, filter: &Filter) -> String {
        self.filtered("run", filter)
    }

    /// The comparison of two digests on the rollouts of a filter.
    #[must_use]
    pub fn compare(self, filter: &Filter, before: &str, after: &str) -> String {
        let query = filter.query(&[("before", before), ("after", after)]);
        match self {
            Self::Served => with_query("/ui/compare", &query),
            Self::Bundle => file_of("compare", &query),
        }
    }

    /// The rules and criteria of a filter.
    #[must_use]
    pub fn components(self, filter: &Filter) -> String {
        self.filtered("rules", filter)
    }

    /// One rule or criterion of a filter, on a server.
    #[must_use]
    pub fn component(self, filter: &Filter, name: &str) -> String {
        with_query("/ui/rules", &filter.query(&[("name", name)]))
    }

    /// The judge over a filter.
    #[must_use]
    pub fn judge(self, filter: &Filter) -> String {
        self.filtered("judge", filter)
    }

    /// The warning signs of a filter.
    #[must_use]
    pub fn watch(self, filter: &Filter) -> String {
        self.filtered("watch", filter)
    }

    /// The choice of two digests.
    #[must_use]
    pub fn compare_choice(self) -> String {
        self.pick("/ui/compare", "compare.html")
    }

    fn filtered(self, page: &str, filter: &Filter) -> String {
        let query = filter.query(&[]);
        match self {
            Self::Served => with_query(&format!("/ui/{page}"), &query),
            Self::Bundle => file_of(page, &query),
        }
    }

    fn pick(self, served: &str, file: &str) -> String {
        match self {
            Self::Served => served.to_owned(),
            Self::Bundle => file.to_owned(),
        }
    }
}

fn with_query(path: &str, query: &str) -> String {
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// A file name without any character of the query, which a file system may not allow.
fn file_of(page: &str, query: &str) -> String {
    let hash = sha256_hex(query);
    format!("{page}-{}.html", hash.get(..16).unwrap_or(&hash))
}

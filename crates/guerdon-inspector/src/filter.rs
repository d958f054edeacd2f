//! The filter of a page, as its URL has it.

use crate::record::Row;

/// The longest value of a filter, in bytes.
const MAX_VALUE: usize = 512;

/// The rollouts that a page is about. Each value that is set must be equal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// The run.
    pub run: Option<String>,
    /// The step.
    pub step: Option<i64>,
    /// The split.
    pub split: Option<String>,
    /// The group.
    pub group: Option<String>,
    /// The profile.
    pub profile: Option<String>,
    /// The digest.
    pub digest: Option<String>,
    /// Only rollouts without a reward.
    pub only_null: bool,
}

impl Filter {
    /// The filter of a query string, form-encoded. Unknown keys and empty values are left out, and
    /// so is a step that is no number.
    #[must_use]
    pub fn of_query(query: &str) -> Self {
        let mut filter = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            if value.is_empty() || value.len() > MAX_VALUE {
                continue;
            }
            match &*key {
                "run" => filter.run = Some(value.into_owned()),
                "step" => filter.step = value.parse().ok(),
                "split" => filter.split = Some(value.into_owned()),
                "group" => filter.group = Some(value.into_owned()),
                "profile" => filter.profile = Some(value.into_owned()),
                "digest" => filter.digest = Some(value.into_owned()),
                "null" => filter.only_null = value == "1",
                _ => {}
            }
        }
        filter
    }

    /// The keys and values that are set.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let texts = [
            ("run", self.run.clone()),
            ("step", self.step.map(|step| step.to_string())),
            ("split", self.split.clone()),
            ("group", self.group.clone()),
            ("profile", self.profile.clone()),
            ("digest", self.digest.clone()),
            ("null", self.only_null.then(|| "1".to_owned())),
        ];
        texts.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }

    /// The query string, with further keys.
    #[must_use]
    pub fn query(&self, further: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (key, value) in self.pairs() {
            query.append_pair(key, &value);
        }
        for (key, value) in further {
            query.append_pair(key, value);
        }
        query.finish()
    }

    /// True if `row` is one of the rollouts.
    #[must_use]
    pub fn has(&self, row: &Row) -> bool {
        let labels = &row.labels;
        let same = |wanted: &Option<String>, own: &Option<String>| {
            wanted.is_none() || wanted.as_deref() == own.as_deref()
        };
        same(&self.run, &labels.run)
            && same(&self.split, &labels.split)
            && same(&self.group, &labels.group)
            && same(&self.profile, &labels.profile)
            && same(&self.digest, &labels.digest)
            && (self.step.is_none() || self.step == labels.step)
            && (!self.only_null || row.reward.is_none())
    }
}

/// The value of a key in a query string.
#[must_use]
pub(crate) fn query_value(query: &str, key: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let found = pairs.find(|(name, value)| name == key && value.len() <= MAX_VALUE);
    found.map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A filter comes back from its URL, whatever its texts are.
        #[test]
        fn filter_is_kept_in_the_url(run in "\\PC{1,12}", group in "[&=%+# é]{1,6}", step: i64, only_null: bool) {
            let filter = Filter {
                run: Some(run), group: Some(group), step: Some(step), only_null, ..Filter::default()
            };
            prop_assert_eq!(Filter::of_query(&filter.query(&[("after", "3")])), filter);
        }
    }

    #[test]
    fn unknown_keys_are_left_out() {
        let filter = Filter::of_query("x=1&run=&step=abc&null=0&profile=hotel");
        assert_eq!(filter, Filter { profile: Some("hotel".to_owned()), ..Filter::default() });
        assert_eq!(query_value("a=1&after=7", "after").as_deref(), Some("7"));
    }
}

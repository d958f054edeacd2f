//! The rubrics that are asked about one rollout.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use guerdon_types::ROLLOUT_RUBRIC;

use crate::rubric::Rubric;
use crate::rubric::request::RequestRubric;

/// The rubric that comes with a rollout.
#[derive(Debug)]
pub(crate) enum OwnRubric {
    /// There is none, or the source does not ask it.
    None,
    /// A rubric to ask.
    Asked(RequestRubric),
    /// A rubric that cannot be asked, with the reason.
    Invalid(String),
}

impl OwnRubric {
    /// The rubric, or the reason why it cannot be asked.
    pub(super) fn asked(&self) -> Option<Result<&RequestRubric, &str>> {
        match self {
            Self::None => None,
            Self::Asked(rubric) => Some(Ok(rubric)),
            Self::Invalid(detail) => Some(Err(detail)),
        }
    }
}

/// The rubrics that are asked about a rollout.
#[derive(Debug)]
pub(crate) struct AskedRubrics<'a> {
    /// The prompts of the source that judge one reply.
    pub(super) prompts: Vec<AskedPrompt<'a>>,
    /// The prompts that compare the replies of a group. They are asked later.
    pub(super) compared: Vec<&'a Arc<Rubric>>,
    pub(super) own: OwnRubric,
    /// True if all criteria of all prompts are asked, and nothing else.
    pub(super) is_usual: bool,
}

/// A prompt with the orders in which its criteria are asked.
#[derive(Debug)]
pub(crate) struct AskedPrompt<'a> {
    pub(super) rubric: &'a Arc<Rubric>,
    pub(super) orders: Cow<'a, [Vec<usize>]>,
}

impl AskedRubrics<'_> {
    /// The ids of the criteria that are asked, by prompt; empty if they are those of all prompts.
    pub(super) fn criteria(
        &self,
        is_asked: impl Fn(&str) -> bool,
    ) -> BTreeMap<String, Vec<String>> {
        if self.is_usual {
            return BTreeMap::new();
        }
        let ids = |AskedPrompt { rubric, orders }: &AskedPrompt<'_>| {
            let mut places = orders.first().cloned().unwrap_or_default();
            places.sort_unstable();
            let ids =
                places.iter().filter_map(|place| Some(rubric.criteria.get(*place)?.id.clone()));
            (rubric.id.clone(), ids.collect())
        };
        let mut all: BTreeMap<String, Vec<String>> = self.prompts.iter().map(ids).collect();
        let every = |rubric: &Rubric| rubric.criteria.iter().map(|one| one.id.clone()).collect();
        all.extend(self.compared.iter().map(|rubric| (rubric.id.clone(), every(rubric))));
        if let Some(Ok(own)) = self.own.asked() {
            all.insert(ROLLOUT_RUBRIC.to_owned(), every(&own.rubric));
        }
        all.retain(|prompt, _| is_asked(prompt));
        all
    }
}

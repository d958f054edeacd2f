//! A rubric: criteria with levels, and how they are asked. Plain data, once a prompt file is read.
//!
//! A rubric's points stay here. The judge model chooses levels by name; what a level is worth is
//! looked up and summed in Rust, so a model can neither misadd nor be talked into a number.

pub(crate) mod answer;
mod asked;
pub(crate) mod codes;
pub(crate) mod dropout;
mod growth;
mod lint;
pub(crate) mod order;
pub(crate) mod parse;
pub(crate) mod prompts;
pub(crate) mod render_limits;
pub(crate) mod request;
pub(crate) mod sample_context;
pub(crate) mod template;
pub(crate) mod text;
pub(crate) mod version;

use std::collections::{BTreeMap, BTreeSet};

use guerdon_types::{Context, Finite};
use minijinja::Environment;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::answer::{AnswerSyntax, Instructions, MessageLayout, ReplyNames};
use crate::ask::digest::Digest;

/// Levels that the letters of `scoring = "expected"` can name.
pub(crate) const MAX_LETTERS: usize = 10;

/// Effect of a criterion on the points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CriterionKind {
    /// Takes points away.
    Deduct,
    /// Gives points.
    Bonus,
    /// Takes points away and withholds the prompt's bonuses.
    Gate,
    /// Takes points away and forbids a reward above the floor, where the fusion is gated.
    Veto,
}

/// One degree of a criterion.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CriterionLevel {
    pub(crate) name: String,
    pub(crate) points: Finite,
    pub(crate) anchor: String,
    #[serde(skip)]
    pub(crate) fires: bool,
}

impl CriterionLevel {
    /// True if this level is a fault: it costs points or fires a veto.
    pub(crate) fn is_fault(&self) -> bool {
        self.fires || self.points.get() < 0.0
    }

    /// True if this level changes nothing.
    pub(crate) fn is_neutral(&self) -> bool {
        !self.fires && self.points == Finite::ZERO
    }
}

/// One question of a rubric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Criterion {
    pub(crate) id: String,
    pub(crate) kind: CriterionKind,
    pub(crate) about: String,
    pub(crate) levels: Vec<CriterionLevel>,
    #[serde(skip)]
    pub(crate) fails_empty: bool,
    #[serde(skip)]
    pub(crate) quote: bool,
}

impl Criterion {
    /// The level with the fewest points; a flagged one before its equals.
    pub(crate) fn worst(&self) -> Option<&CriterionLevel> {
        self.levels
            .iter()
            .min_by(|a, b| a.points.get().total_cmp(&b.points.get()).then(b.fires.cmp(&a.fires)))
    }

    /// The level with the most points.
    pub(crate) fn best(&self) -> Option<&CriterionLevel> {
        self.levels.iter().max_by(|a, b| a.points.get().total_cmp(&b.points.get()))
    }

    /// The points of the best level less those of the worst one.
    pub(crate) fn range(&self) -> f64 {
        let points = |level: Option<&CriterionLevel>| level.map_or(0.0, |one| one.points.get());
        points(self.best()) - points(self.worst())
    }

    pub(crate) fn level(&self, name: &str) -> Option<&CriterionLevel> {
        self.levels.iter().find(|level| level.name == name)
    }
}

/// Distribution of criteria over calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Grouping {
    /// All in one: a third or a quarter of the tokens; one criterion may colour another.
    #[default]
    Rubric,
    /// One call each.
    Criterion,
}

/// Source of an answer's points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scoring {
    /// The level that the judge chose.
    #[default]
    Chosen,
    /// The mean over all levels, by the probability that the judge gave to each.
    Expected,
}

/// The place of the judge's reasons in its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reasoning {
    /// No reasons: the answer holds levels and evidence.
    #[default]
    None,
    /// A short text before the levels. It is kept in the audit log and never read for points.
    Before,
}

/// Form of the question: one reply alone, or the replies of a group together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// One call sees one reply.
    #[default]
    Absolute,
    /// One call sees all replies of a group.
    Listwise,
    /// One call sees two replies of a group.
    Pairwise,
}

/// Settings of a rubric that judges the replies of a group together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listwise {
    /// Number of calls with the replies in another order; their points are averaged. At least 1.
    pub(crate) shuffles: u32,
    /// Largest number of replies in one call. At least [`LEAST_PER_CALL`].
    pub(crate) per_call: usize,
    /// Least number of replies at which an incomplete group is judged; `None`: only complete groups
    /// are.
    pub(crate) min_size: Option<usize>,
}

/// Settings of a rubric that compares the replies of a group two by two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pairwise {
    pub(crate) rounds: Rounds,
    pub(crate) estimate: Estimate,
    /// Largest number of questions about a group.
    pub(crate) max_calls: usize,
    /// Least number of replies at which an incomplete group is judged; `None`: only complete groups
    /// are.
    pub(crate) min_size: Option<usize>,
}

/// The pairs that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rounds {
    /// Every pair.
    #[default]
    RoundRobin,
    /// Rounds in which each reply meets one of about the same strength that it has not met.
    Swiss(u32),
}

/// The way from comparisons to points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Estimate {
    /// The mean probability to be preferred to another reply, by a Bradley-Terry model.
    #[default]
    BradleyTerry,
    /// The share of the comparisons in which a reply was preferred.
    MeanWins,
}

/// Least number of replies in one call: two anchors, and at least one more.
pub(crate) const LEAST_PER_CALL: u32 = 4;

/// A rubric, ready to be asked.
#[derive(Debug)]
pub(crate) struct Rubric {
    pub(crate) id: String,
    pub(crate) about: String,
    pub(crate) version: u32,
    /// Hash of the content, without the seal.
    pub(crate) hash: String,
    /// Hash of what a question shows of the rubric, and of how its answer is read. Points, the
    /// rubric's description, probes and the layout of the file are not in it.
    pub(crate) asked: Digest,
    pub(crate) sealed: bool,
    pub(crate) max_tokens: u32,
    pub(crate) temperature: f64,
    pub(crate) grouping: Grouping,
    pub(crate) scoring: Scoring,
    pub(crate) reasoning: Reasoning,
    /// Set if the replies of a group are judged together.
    pub(crate) listwise: Option<Listwise>,
    /// Set if the replies of a group are compared two by two.
    pub(crate) pairwise: Option<Pairwise>,
    pub(crate) answer: AnswerSyntax,
    /// The numbers that prefer the first and the second of two replies completely.
    pub(crate) scale: Option<(f64, f64)>,
    /// The names of replies in answers that are no schema.
    pub(crate) reply_names: ReplyNames,
    pub(crate) instructions: Instructions,
    pub(crate) layout: MessageLayout,
    /// Points of an empty reply, in place of those of the criteria that it fails.
    pub(crate) empty_points: Option<Finite>,
    /// Number of samples from each judge.
    pub(crate) samples: u32,
    /// The order of the criteria in each sample.
    pub(crate) orders: Vec<Vec<usize>>,
    pub(crate) criteria: Vec<Criterion>,
    pub(crate) examples: Vec<RubricExample>,
    pub(crate) probes: Vec<RubricProbe>,
    /// `context.…` values that the body names; which of them it can do without is its own affair.
    pub(crate) context: BTreeSet<String>,
    /// The context values that the body is shown.
    pub(crate) selection: ContextSelection,
    pub(crate) body: Environment<'static>,
    /// Set if rendering takes as many steps for a long dialogue as for a short one.
    pub(crate) is_fixed_work: bool,
}

/// The context values of a rollout that a body can read. It is shown no others, so that a value it
/// does not name cannot make two questions of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ContextSelection {
    /// The body reads `context` as a whole.
    All,
    /// The first words after `context.`.
    Keys(BTreeSet<String>),
}

impl ContextSelection {
    /// The selected values, escaped. They come from the trainer, but may quote the policy or its
    /// partner.
    pub(crate) fn select(&self, context: &Context) -> Context {
        let shown = |(key, value): (&String, &Value)| (key.clone(), escaped(value));
        match self {
            Self::All => context.iter().map(shown).collect(),
            Self::Keys(names) => {
                names.iter().filter_map(|name| context.get_key_value(name)).map(shown).collect()
            }
        }
    }
}

/// True if `context` has no value at `path`, such as `context.offer.price`.
pub(crate) fn is_missing(context: &Context, path: &str) -> bool {
    let mut keys = path.split('.').skip(1);
    let root = keys.next().and_then(|key| context.get(key));
    root.and_then(|root| keys.try_fold(root, |value, key| value.get(key))).is_none()
}

fn escaped(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(text::escaped(text).into_owned()),
        Value::Array(items) => Value::Array(items.iter().map(escaped).collect()),
        Value::Object(map) => {
            Value::Object(map.iter().map(|(key, value)| (key.clone(), escaped(value))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

impl Rubric {
    /// True if the rubric compares the replies of a group.
    pub(crate) const fn compares(&self) -> bool {
        self.listwise.is_some() || self.pairwise.is_some()
    }

    /// Least number of replies at which an incomplete group is compared.
    pub(crate) fn min_size(&self) -> Option<usize> {
        let pairwise = self.pairwise.and_then(|pairwise| pairwise.min_size);
        pairwise.or_else(|| self.listwise.and_then(|listwise| listwise.min_size))
    }

    /// True if `probe` is labelled with a fault that costs points.
    pub(crate) fn is_faulty(&self, probe: &RubricProbe) -> bool {
        let level = |(id, level): (&String, &String)| {
            self.criteria.iter().find(|criterion| criterion.id == *id)?.level(level)
        };
        probe.levels.iter().filter_map(level).any(|level| level.points.get() < 0.0)
    }

    /// Splits an order of criteria into the calls that ask them.
    pub(crate) fn calls<'a>(&self, order: &'a [usize]) -> std::slice::Chunks<'a, usize> {
        order.chunks(match self.grouping {
            Grouping::Rubric => order.len().max(1),
            Grouping::Criterion => 1,
        })
    }
}

/// A turn and how it is judged, shown to the judge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RubricExample {
    /// The partner's message before the turn.
    #[serde(default)]
    pub(crate) before: String,
    /// The judged turn.
    pub(crate) turn: String,
    /// The level of each criterion that the example is about.
    pub(crate) levels: BTreeMap<String, String>,
    /// The reason for the levels.
    #[serde(default)]
    pub(crate) note: String,
}

/// A turn whose verdict is known, asked to see whether the judge still knows it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RubricProbe {
    /// The name, for reports.
    pub(crate) name: String,
    /// The partner's message before the turn.
    #[serde(default)]
    pub(crate) before: String,
    /// The judged turn.
    pub(crate) turn: String,
    /// Facts of the dialogue.
    #[serde(default)]
    pub(crate) context: Context,
    /// The level of each criterion that the probe is about.
    pub(crate) levels: BTreeMap<String, String>,
}

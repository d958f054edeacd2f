//! From the text of an answer to findings, for each form and mode.

use regex::Captures;
use serde_json::Value;

use super::FormContract;
use crate::ask::listing::{ListedBlock, Listing};
use crate::ask::pairing::{PREFERRED, TIE};
use crate::ask::reply::{AnswerError, CriterionFinding, read_with};
use crate::rubric::answer::AnswerSyntax;
use crate::rubric::{Criterion, CriterionLevel};

/// The letter of the level at `index`.
pub(crate) fn level_letter(index: usize) -> Option<char> {
    ('A'..='Z').nth(index)
}

/// The place of a letter that stands alone: `B`, `B.`, `(B)`.
fn letter(text: &str) -> Option<usize> {
    let text = text.strip_prefix('(').unwrap_or(text);
    let mut chars = text.trim_end_matches(['.', ')']).chars();
    let letter = chars.next().filter(char::is_ascii_uppercase)?;
    if chars.next().is_some() {
        return None;
    }
    ('A'..='Z').position(|one| one == letter)
}

fn number(text: &str) -> Option<f64> {
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+');
    let text = text.trim().trim_end_matches('.');
    text.chars().all(plain).then(|| text.parse().ok())?.filter(|number: &f64| number.is_finite())
}

fn shown(text: &str) -> String {
    guerdon_text::quote(text)
}

impl FormContract<'_> {
    /// Reads the answer itself.
    pub(super) fn interpreted(self, text: &str) -> Result<Vec<CriterionFinding>, AnswerError> {
        let malformed = AnswerError::Malformed;
        match (&self.rubric.answer, self.listing) {
            (AnswerSyntax::Number, Some(listing)) if self.rubric.pairwise.is_none() => {
                read_with(text, |value| self.scores(listing, value)).map(|read| read.findings)
            }
            (AnswerSyntax::Ranking, Some(listing)) => {
                self.ranking(listing, text).map_err(malformed)
            }
            (syntax, Some(listing)) => {
                let preference = match syntax {
                    AnswerSyntax::Letter => self.letter_preference(text),
                    _ => self.on_scale(text),
                };
                let preference = preference.map_err(malformed)?;
                Ok(vec![self.of_preference(listing, preference)])
            }
            (syntax, None) => {
                let finding = match syntax {
                    AnswerSyntax::Letter => self.lettered_level(text),
                    _ => self.numbered_level(self.criterion, text),
                };
                Ok(vec![finding.map_err(malformed)?])
            }
        }
    }

    /// Reads what a pattern found.
    pub(super) fn of_captures(
        self,
        captures: &Captures<'_>,
    ) -> Result<Vec<CriterionFinding>, String> {
        let named = |name: &str| captures.name(name).map(|found| found.as_str().trim());
        let first = captures.iter().skip(1).flatten().next().map(|found| found.as_str().trim());
        let text = first.ok_or("the groups of the pattern found nothing")?;
        let Some(listing) = self.listing else {
            let level = self.criterion.level(&text.to_ascii_lowercase());
            return match level {
                Some(level) => Ok(vec![plain_finding(self.criterion, level)]),
                None => Ok(vec![self.numbered_level(self.criterion, text)?]),
            };
        };
        if self.rubric.pairwise.is_none() {
            return self.ranking(listing, text);
        }
        let preference = match (named("first"), named("second")) {
            (Some(first), Some(second)) => {
                let read = |text: &str| {
                    number(text).ok_or_else(|| format!("{} is not a number", shown(text)))
                };
                let (first, second) = (read(first)?, read(second)?);
                if first > second {
                    1.0
                } else if first < second {
                    0.0
                } else {
                    0.5
                }
            }
            _ if self.rubric.scale.is_some() => self.on_scale(text)?,
            _ => self.named_preference(text)?,
        };
        Ok(vec![self.of_preference(listing, preference)])
    }

    fn lettered_level(self, text: &str) -> Result<CriterionFinding, String> {
        let level = letter(text).and_then(|index| self.criterion.levels.get(index));
        let level =
            level.ok_or_else(|| format!("the answer {} is not one of the letters", shown(text)))?;
        Ok(plain_finding(self.criterion, level))
    }

    /// The level with a number as its name. Between two of them both count, by their distances.
    fn numbered_level(self, criterion: &Criterion, text: &str) -> Result<CriterionFinding, String> {
        let value =
            number(text).ok_or_else(|| format!("the answer {} is not a number", shown(text)))?;
        numbered(criterion, value)
    }

    /// The probability that the first shown reply is the better one: A, B, or C for a tie.
    fn letter_preference(self, text: &str) -> Result<f64, String> {
        match letter(text) {
            Some(0) => Ok(1.0),
            Some(1) => Ok(0.0),
            Some(2) => Ok(0.5),
            _ => Err(format!("the answer {} is not A, B or C", shown(text))),
        }
    }

    /// The same for the names of the replies, letters, and words for a tie.
    fn named_preference(self, text: &str) -> Result<f64, String> {
        let names = [0, 1].map(|place| self.rubric.reply_names.name(place));
        match names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            Some(0) => Ok(1.0),
            Some(_) => Ok(0.0),
            None if text.eq_ignore_ascii_case(TIE) => Ok(0.5),
            None => self.letter_preference(&text.to_ascii_uppercase()),
        }
    }

    /// The same for a number on the scale of the rubric.
    fn on_scale(self, text: &str) -> Result<f64, String> {
        let value =
            number(text).ok_or_else(|| format!("the answer {} is not a number", shown(text)))?;
        let (first, second) = self.rubric.scale.ok_or("the rubric has no `scale`")?;
        let part = (value - second) / (first - second);
        if (0.0..=1.0).contains(&part) {
            Ok(part)
        } else {
            Err(format!("{value} is not between {first} and {second}"))
        }
    }

    /// The finding that the first shown reply is the better one with this probability.
    fn of_preference(self, listing: &Listing, preference: f64) -> CriterionFinding {
        let is_first = listing.blocks().first().is_some_and(|block| block.reply == 0);
        let preference = if is_first { preference } else { 1.0 - preference };
        CriterionFinding::of_preference(&self.criterion.id, [preference, 1.0 - preference, 0.0])
    }

    /// A number for each reply, by its name.
    fn scores(self, listing: &Listing, value: &Value) -> Result<Vec<CriterionFinding>, String> {
        let scores = value.get("scores").unwrap_or(value);
        let scores = scores.as_object().ok_or("the answer has no `scores`")?;
        let names = &self.rubric.reply_names;
        let known: Vec<String> = (0..listing.blocks().len()).map(|one| names.name(one)).collect();
        if let Some(name) = scores.keys().find(|name| !known.contains(name)) {
            return Err(format!("the answer scores a reply {}, which does not exist", shown(name)));
        }
        let of_block = |(block, name): (&ListedBlock, &String)| {
            let score = scores.get(name).and_then(Value::as_f64);
            let score = score.ok_or_else(|| format!("the reply `{name}` has no number"))?;
            let finding = numbered(self.criterion, score)?;
            Ok(CriterionFinding { reply: u32::try_from(block.reply).ok(), ..finding })
        };
        listing.blocks().iter().zip(&known).map(of_block).collect()
    }

    /// The replies from the best to the worst: `B > A = C`, with commas or as a JSON list, too.
    fn ranking(self, listing: &Listing, text: &str) -> Result<Vec<CriterionFinding>, String> {
        let ranks = ranks(text);
        let names = &self.rubric.reply_names;
        let count = listing.blocks().len();
        let place_of = |name: &str| (0..count).find(|place| names.name(*place) == name);
        let mut rank_of: Vec<Option<usize>> = vec![None; count];
        for (rank, tied) in ranks.iter().enumerate() {
            for name in tied {
                let place = place_of(name).ok_or_else(|| {
                    format!("the answer ranks a reply {}, which does not exist", shown(name))
                })?;
                let own = rank_of.get_mut(place).ok_or("a place is out of range")?;
                if own.replace(rank).is_some() {
                    return Err(format!("the answer ranks the reply `{name}` twice"));
                }
            }
        }
        let missing = rank_of.iter().position(Option::is_none);
        if let Some(place) = missing {
            return Err(format!("the answer does not rank the reply `{}`", names.name(place)));
        }
        let sizes: Vec<usize> = ranks.iter().map(Vec::len).collect();
        let finding = |(block, rank): (&ListedBlock, &Option<usize>)| {
            let share = ranked_share(&sizes, rank.unwrap_or_default());
            let finding = CriterionFinding::of_share(self.criterion, share);
            CriterionFinding { reply: u32::try_from(block.reply).ok(), ..finding }
        };
        Ok(listing.blocks().iter().zip(&rank_of).map(finding).collect())
    }
}

/// The share of a reply at `rank`, of ranks with these numbers of replies: the part of the others that
/// it is better than, with a half for those that it ties with.
#[expect(clippy::cast_precision_loss, reason = "a list has at most 64 replies")]
fn ranked_share(sizes: &[usize], rank: usize) -> f64 {
    let below: usize = sizes.iter().skip(rank + 1).sum();
    let tied = sizes.get(rank).map_or(0, |size| size.saturating_sub(1));
    let others = sizes.iter().sum::<usize>().saturating_sub(1);
    if others == 0 { 0.5 } else { (below as f64 + tied as f64 / 2.0) / others as f64 }
}

/// The names of each rank, the best first.
fn ranks(text: &str) -> Vec<Vec<String>> {
    let plain = |name: &str| name.trim().trim_matches(['"', '\'', '`', '.']).trim().to_owned();
    let text = text.trim();
    let list = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let separator = if list.is_some() || !text.contains('>') { ',' } else { '>' };
    let ranks = list.unwrap_or(text).split(separator);
    ranks.map(|tied| tied.split('=').map(plain).collect()).collect()
}

fn plain_finding(criterion: &Criterion, level: &CriterionLevel) -> CriterionFinding {
    CriterionFinding {
        id: criterion.id.clone(),
        level: level.name.clone(),
        evidence: None,
        weights: None,
        reply: None,
    }
}

/// The level whose name is `value`; between two of them both count, by their distances.
fn numbered(criterion: &Criterion, value: f64) -> Result<CriterionFinding, String> {
    let mut levels: Vec<(f64, usize)> = Vec::with_capacity(criterion.levels.len());
    for (index, level) in criterion.levels.iter().enumerate() {
        let name = level.name.parse::<f64>();
        levels.push((name.map_err(|_| "the levels have no numbers as names")?, index));
    }
    levels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let outside = || {
        let ends = levels.first().zip(levels.last());
        let (least, most) = ends.map_or((f64::NAN, f64::NAN), |(least, most)| (least.0, most.0));
        format!("{value} is not between {least} and {most}")
    };
    let mut weights = vec![0.0; levels.len()];
    let exact = levels.iter().find(|(name, _)| name.total_cmp(&value).is_eq());
    let between = levels.windows(2).find(|two| two[0].0 < value && value < two[1].0);
    let nearest = match (exact, between) {
        (Some((_, index)), _) => {
            let level = criterion.levels.get(*index).ok_or("a level is missing")?;
            return Ok(plain_finding(criterion, level));
        }
        (None, Some(&[(low, below), (high, above)])) => {
            let part = (value - low) / (high - low);
            for (index, weight) in [(below, 1.0 - part), (above, part)] {
                if let Some(own) = weights.get_mut(index) {
                    *own = weight;
                }
            }
            if part < 0.5 { below } else { above }
        }
        _ => return Err(outside()),
    };
    let level = criterion.levels.get(nearest).ok_or("a level is missing")?;
    Ok(CriterionFinding { weights: Some(weights), ..plain_finding(criterion, level) })
}

impl CriterionFinding {
    /// The finding of a comparison, with the probabilities that the first reply of the case, the
    /// second one, or neither is better.
    pub(crate) fn of_preference(id: &str, weights: [f64; 3]) -> Self {
        let [first, second, tie] = weights;
        let (level, reply) = if first > second && first > tie {
            (PREFERRED, Some(0))
        } else if second > first && second > tie {
            (PREFERRED, Some(1))
        } else {
            (TIE, None)
        };
        Self {
            id: id.to_owned(),
            level: level.to_owned(),
            evidence: None,
            weights: Some(weights.to_vec()),
            reply,
        }
    }
}

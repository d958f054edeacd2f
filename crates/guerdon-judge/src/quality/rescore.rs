//! New numbers of a rubric on stored verdicts, without asking a judge.
//!
//! The store keeps levels, and a question's key does not depend on points. An edit of points is
//! therefore applied to what was answered already: to the answers in a store, and to the parts of
//! stored results, from which the fusion recomputes rewards.

use std::sync::Arc;
use std::time::Duration;

use guerdon_types::{Abstention, CriterionVerdict, Finite, JudgePart};
use serde::Serialize;

use crate::ask::reply::CriterionFinding;
use crate::error::StoreError;
use crate::rubric::prompts::Prompts;
use crate::rubric::{Criterion, CriterionKind, Rubric};
use crate::store::cache::Store;

/// The stored answers of one rubric by its new numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RescoreReport {
    /// The rubric.
    pub prompt: String,
    /// The answers that the new rubric can read.
    pub answers: u64,
    /// The answers with a criterion or a level that the new rubric does not have.
    pub unreadable: u64,
    /// The answers with other points, if the rubric from before is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<u64>,
    /// The mean points of an answer before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_before: Option<f64>,
    /// The mean points of an answer by the new numbers; `None` without answers.
    pub mean_after: Option<f64>,
    /// The levels of every criterion.
    pub criteria: Vec<RescoredCriterion>,
}

/// The chosen levels of one criterion.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RescoredCriterion {
    /// The id.
    pub id: String,
    /// The levels, in the order of the rubric.
    pub levels: Vec<RescoredLevel>,
}

/// One level of a criterion.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RescoredLevel {
    /// The name.
    pub name: String,
    /// The answers that chose it.
    pub chosen: u64,
    /// Its points before, if they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Finite>,
    /// Its points by the new numbers.
    pub after: Finite,
}

/// A rubric with new numbers, and perhaps the rubric from before.
#[derive(Debug)]
pub struct Rescorer {
    after: Arc<Rubric>,
    before: Option<Arc<Rubric>>,
}

impl Rescorer {
    /// The rubric of `after`, which holds one, and the rubric from before with the same id.
    ///
    /// # Errors
    /// A sentence, if `after` does not hold one rubric, or `before` has none with its id.
    pub fn new(after: &Prompts, before: Option<&Prompts>) -> Result<Self, String> {
        let [rubric] = after.rubrics() else {
            return Err(format!("name one prompt; these files hold {}", after.len()));
        };
        let before = before.map(|before| {
            let same = before.rubrics().iter().find(|other| other.id == rubric.id);
            same.cloned().ok_or_else(|| format!("no prompt from before has the id `{}`", rubric.id))
        });
        Ok(Self { after: Arc::clone(rubric), before: before.transpose()? })
    }

    /// The id of the rubric.
    #[must_use]
    pub fn prompt(&self) -> &str {
        &self.after.id
    }

    /// Applies the new numbers to the answers in `store`, or to those of the last `since`. Quotes are believed as they are stored,
    /// because the store holds no turn to look for them in.
    ///
    /// # Errors
    /// [`StoreError`], if the file cannot be read.
    pub fn answers(
        &self,
        store: &Store,
        since: Option<Duration>,
    ) -> Result<RescoreReport, StoreError> {
        let level = |criterion: &Criterion, index: usize| {
            let level = criterion.levels.get(index)?;
            let before = self
                .before
                .as_ref()
                .and_then(|rubric| Some(find(rubric, &criterion.id)?.level(&level.name)?.points));
            Some(RescoredLevel { name: level.name.clone(), chosen: 0, before, after: level.points })
        };
        let mut report = RescoreReport {
            prompt: self.after.id.clone(),
            answers: 0,
            unreadable: 0,
            changed: self.before.is_some().then_some(0),
            mean_before: None,
            mean_after: None,
            criteria: self
                .after
                .criteria
                .iter()
                .map(|criterion| RescoredCriterion {
                    id: criterion.id.clone(),
                    levels: (0..criterion.levels.len())
                        .filter_map(|index| level(criterion, index))
                        .collect(),
                })
                .collect(),
        };
        let (mut before_sum, mut after_sum, mut known) = (0.0, 0.0, 0_u64);
        store.for_each_answer(|_, answer| {
            let is_old = since.is_some_and(|since| answer.is_older_than(since));
            if answer.prompt != self.after.id || is_old {
                return Ok(());
            }
            let Some(after) = points(&self.after, &answer.findings) else {
                report.unreadable += 1;
                return Ok(());
            };
            report.answers += 1;
            after_sum += after;
            let before = self.before.as_ref().and_then(|rubric| points(rubric, &answer.findings));
            if let Some(before) = before {
                known += 1;
                before_sum += before;
                if let Some(changed) = &mut report.changed {
                    *changed += u64::from((after - before).abs() > 1e-9);
                }
            }
            for finding in &answer.findings {
                let criterion = report.criteria.iter_mut().find(|one| one.id == finding.id);
                let levels = criterion.into_iter().flat_map(|one| &mut one.levels);
                for level in levels.filter(|level| level.name == finding.level) {
                    level.chosen += 1;
                }
            }
            Ok(())
        })?;
        report.mean_after = mean(after_sum, report.answers);
        report.mean_before = mean(before_sum, known);
        Ok(report)
    }

    /// The part of a stored result by the new numbers. A reply names only the criteria that
    /// counted, so the levels of the others are read from the rubric from before.
    ///
    /// # Errors
    /// A sentence, if a level cannot be read from the stored part.
    pub fn part(&self, stored: &JudgePart, abstained: &[Abstention]) -> Result<JudgePart, String> {
        let prompt = &self.after.id;
        let before = self.before.as_ref().ok_or("the rubric from before is not known")?;
        let is_own = |one: &&CriterionVerdict| one.prompt == *prompt;
        let incomplete =
            abstained.iter().any(|one| one.prompt.as_ref().is_none_or(|name| name == prompt));
        let withheld = stored.criteria.iter().filter(is_own).any(|one| {
            let gate = find(before, &one.id).filter(|one| one.kind == CriterionKind::Gate);
            gate.and_then(|gate| gate.level(&one.level)).is_some_and(|level| level.is_fault())
        });
        let mut levels = Vec::with_capacity(self.after.criteria.len());
        for criterion in &self.after.criteria {
            let named = |detail: &str| format!("criterion `{}` {detail}", criterion.id);
            let old = find(before, &criterion.id).ok_or_else(|| named("is new"))?;
            let listed = stored.criteria.iter().filter(is_own).find(|one| one.id == criterion.id);
            let (name, evidence) = match listed {
                Some(one) => {
                    let points = old.level(&one.level).map(|level| level.points);
                    if points != Some(one.points) {
                        return Err(named("has other points than its level; it was pooled"));
                    }
                    (one.level.as_str(), one.evidence.clone())
                }
                None if incomplete => return Err(named("may have been left out")),
                None if withheld && old.kind == CriterionKind::Bonus => {
                    return Err(named("may have been withheld by a gate"));
                }
                None => {
                    let mut neutral = old.levels.iter().filter(|level| level.is_neutral());
                    match (neutral.next(), neutral.next()) {
                        (Some(level), None) => (level.name.as_str(), None),
                        _ => return Err(named("has several levels without points")),
                    }
                }
            };
            let level = criterion
                .level(name)
                .ok_or_else(|| named(&format!("has no level `{name}` any more")))?;
            levels.push((criterion, level, evidence));
        }
        let gated = levels
            .iter()
            .any(|(one, level, _)| one.kind == CriterionKind::Gate && level.is_fault());
        let mut criteria: Vec<CriterionVerdict> =
            stored.criteria.iter().filter(|one| one.prompt != *prompt).cloned().collect();
        for (criterion, level, evidence) in levels {
            let veto = criterion.kind == CriterionKind::Veto && level.is_fault();
            let withheld = gated && level.points > Finite::ZERO;
            if withheld || (level.points == Finite::ZERO && !veto) {
                continue;
            }
            if criterion.quote && evidence.is_none() {
                return Err(format!(
                    "criterion `{}` needs a quote, and none is stored",
                    criterion.id
                ));
            }
            criteria.push(CriterionVerdict {
                prompt: prompt.clone(),
                id: criterion.id.clone(),
                level: level.name.clone(),
                points: level.points,
                evidence,
                veto,
            });
        }
        let points = Finite::new(criteria.iter().fold(0.0, |sum, one| sum + one.points.get()))
            .map_err(|_| "the sum of the points is not finite".to_owned())?;
        Ok(JudgePart { points, criteria, ..stored.clone() })
    }
}

fn find<'a>(rubric: &'a Rubric, id: &str) -> Option<&'a Criterion> {
    rubric.criteria.iter().find(|criterion| criterion.id == id)
}

/// The points of an answer; `None` if it has a criterion or a level that `rubric` does not have.
fn points(rubric: &Rubric, findings: &[CriterionFinding]) -> Option<f64> {
    let (mut sum, mut bonus, mut gated) = (0.0, 0.0, false);
    for finding in findings {
        let criterion = find(rubric, &finding.id)?;
        let level = criterion.level(&finding.level)?;
        if criterion.quote && finding.evidence.is_none() && !level.is_neutral() {
            continue;
        }
        let points = match &finding.weights {
            Some(weights) if weights.len() == criterion.levels.len() => {
                let each = weights.iter().zip(&criterion.levels);
                each.map(|(weight, level)| weight * level.points.get()).sum()
            }
            Some(_) => return None,
            None => level.points.get(),
        };
        gated |= criterion.kind == CriterionKind::Gate && level.is_fault();
        if points > 0.0 { bonus += points } else { sum += points }
    }
    Some(if gated { sum } else { sum + bonus })
}

#[expect(clippy::cast_precision_loss, reason = "a store has far fewer than 2^52 answers")]
fn mean(sum: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use guerdon_types::Usage;

    use super::*;
    use crate::SourceText;
    use crate::ask::answer::JudgeAnswer;
    use crate::ask::key::QuestionKey;

    const OLD: &str = "+++\nid = \"r\"\nabout = \"r\"\nversion = 1\n\
        [[criteria]]\nid = \"rude\"\nkind = \"deduct\"\nabout = \"Rude.\"\nfails_empty = true\n\
        levels = [{ name = \"no\", points = 0, anchor = \"a\" }, { name = \"some\", points = -5, anchor = \"b\" }, \
        { name = \"yes\", points = -10, anchor = \"c\" }]\n\
        [[criteria]]\nid = \"warm\"\nkind = \"bonus\"\nabout = \"Warm.\"\n\
        levels = [{ name = \"no\", points = 0, anchor = \"a\" }, { name = \"yes\", points = 8, anchor = \"b\" }]\n\
        +++\n# system\nJudge.\n# user\n{{ dialogue }}{{ turn }}\n";

    fn prompts(text: &str) -> Prompts {
        let texts = [SourceText { name: "r.md".to_owned(), text: text.to_owned() }];
        Prompts::compile(&texts).unwrap_or_else(|report| panic!("{report}")).0
    }

    fn rescorer() -> Rescorer {
        let new = OLD.replace("points = -10", "points = -30").replace("points = 8", "points = 2");
        Rescorer::new(&prompts(&new), Some(&prompts(OLD))).unwrap()
    }

    fn answer(prompt: &str, rude: &str, warm: &str) -> JudgeAnswer {
        let finding = |id: &str, level: &str| CriterionFinding {
            id: id.to_owned(),
            level: level.to_owned(),
            evidence: None,
            weights: None,
            reply: None,
        };
        JudgeAnswer {
            prompt: prompt.to_owned(),
            at: 1,
            usage: Usage::default(),
            model: "m".to_owned(),
            findings: vec![finding("rude", rude), finding("warm", warm)],
        }
    }

    #[tokio::test]
    async fn answers_of_a_store_get_the_new_points() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("judge.log"), Duration::ZERO).unwrap();
        let answers = [
            answer("r", "yes", "no"),
            answer("r", "some", "yes"),
            answer("r", "no", "no"),
            answer("r", "very", "no"),
            answer("other", "yes", "no"),
        ];
        for (number, answer) in answers.iter().enumerate() {
            let key = QuestionKey::try_from(format!("{number:02x}").repeat(32)).unwrap();
            store.keep(key, answer).await.unwrap();
        }
        let report = rescorer().answers(&store, Some(Duration::from_secs(60))).unwrap();
        assert_eq!((report.answers, report.mean_after), (0, None), "they are from 1970");
        let report = rescorer().answers(&store, None).unwrap();
        assert_eq!((report.answers, report.unreadable, report.changed), (3, 1, Some(2)));
        assert_eq!(report.mean_before, Some((-10.0 - 5.0 + 8.0) / 3.0));
        assert_eq!(report.mean_after, Some((-30.0 - 5.0 + 2.0) / 3.0));
        let rude = &report.criteria[0];
        let chosen: Vec<_> = rude.levels.iter().map(|level| level.chosen).collect();
        assert_eq!(chosen, [1, 1, 1]);
        assert_eq!(rude.levels[2].before, Some(Finite::from(-10)));
        assert_eq!(rude.levels[2].after, Finite::from(-30));
    }

    fn part(criteria: &[(&str, &str, &str, i32)]) -> JudgePart {
        let verdict = |(prompt, id, level, points): &(&str, &str, &str, i32)| CriterionVerdict {
            prompt: (*prompt).to_owned(),
            id: (*id).to_owned(),
            level: (*level).to_owned(),
            points: Finite::from(*points),
            evidence: None,
            veto: false,
        };
        let points = criteria.iter().map(|(.., points)| *points).sum::<i32>();
        JudgePart {
            points: points.into(),
            criteria: criteria.iter().map(verdict).collect(),
            cached: true,
            model: "m".to_owned(),
            group: None,
            asked: BTreeMap::new(),
        }
    }

    #[test]
    fn stored_parts_get_the_new_points_and_others_stay() {
        let rescorer = rescorer();
        let of = |criteria: &[(&str, &str, &str, i32)]| rescorer.part(&part(criteria), &[]);
        let points = |criteria: &[(&str, &str, &str, i32)]| of(criteria).unwrap().points.get();
        assert!(
            (points(&[("r", "rude", "yes", -10), ("other", "x", "y", -7)]) + 37.0).abs() < 1e-9
        );
        assert!((points(&[("r", "rude", "some", -5), ("r", "warm", "yes", 8)]) + 3.0).abs() < 1e-9);
        assert!(points(&[]).abs() < 1e-9);
        assert!(of(&[("r", "rude", "yes", -7)]).unwrap_err().contains("pooled"));
    }

    #[test]
    fn a_level_that_a_part_does_not_tell_is_never_guessed() {
        let missing = Abstention::new(
            guerdon_types::SourceId::judge(),
            guerdon_types::AbstainWhy::Malformed,
            "d",
        );
        let own = missing.clone().about("r");
        let other = missing.clone().about("other");
        let rescorer = rescorer();
        for abstention in [missing, own] {
            assert!(rescorer.part(&part(&[]), &[abstention]).unwrap_err().contains("left out"));
        }
        assert!(rescorer.part(&part(&[]), &[other]).is_ok());
        let two = OLD.replace("points = -5", "points = 0");
        let ambiguous = Rescorer::new(&prompts(OLD), Some(&prompts(&two))).unwrap();
        assert!(ambiguous.part(&part(&[]), &[]).unwrap_err().contains("several levels"));
        let unknown = Rescorer::new(&prompts(OLD), None).unwrap();
        assert!(unknown.part(&part(&[]), &[]).is_err());
        let fewer = OLD.replace("{ name = \"some\", points = -5, anchor = \"b\" }, ", "");
        let fewer = Rescorer::new(&prompts(&fewer), Some(&prompts(OLD))).unwrap();
        let gone = fewer.part(&part(&[("r", "rude", "some", -5)]), &[]).unwrap_err();
        assert!(gone.contains("no level `some`"), "{gone}");
    }
}

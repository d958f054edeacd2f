//! The laws of a rubric that comes with a rollout.

use std::collections::{HashMap, HashSet};

use guerdon_text::{did_you_mean, quote};

use super::{RUBRIC_CLIP, RubricCriterion, RubricKind, RubricLevel, needs};
use crate::{Finite, Invalid, ProblemCode, Vocabulary as _};

/// The largest number of criteria. A server may set a lower limit.
const MAX_CRITERIA: usize = 256;
/// The largest number of levels of a criterion.
const MAX_LEVELS: usize = 10;
/// The largest magnitude of a weight or of the points of a level: sums of them stay exact enough.
const MAX_NUMBER: f64 = 1e6;

/// A rubric whose laws hold.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CheckedRubric {
    /// The criteria in the order of the request.
    pub criteria: Vec<CheckedCriterion>,
    /// The places of the criteria, each after those that it needs.
    pub order: Vec<usize>,
    /// True if the criteria have weights, false if they have levels.
    pub is_weighted: bool,
}

/// One criterion of a [`CheckedRubric`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CheckedCriterion {
    /// The name.
    pub id: String,
    /// The statement, or the subject of the levels.
    pub text: String,
    /// Effect on the points.
    pub kind: RubricKind,
    /// The worth of each answer.
    pub form: CheckedForm,
    /// Set if the other bonuses do not count without this one.
    pub essential: bool,
    /// The places of the criteria that it needs.
    pub needs: Vec<usize>,
}

/// The worth of the answers to a criterion.
#[derive(Debug, Clone, PartialEq)]
pub enum CheckedForm {
    /// The weight of a statement that is met.
    Weight(Finite),
    /// Levels with points.
    Levels(Vec<RubricLevel>),
}

impl CheckedRubric {
    /// Checks `criteria`.
    ///
    /// ```
    /// use guerdon_types::{CheckedRubric, RubricCriterion};
    ///
    /// let mut criteria = vec![RubricCriterion::new("It names the price.")];
    /// assert!(CheckedRubric::new(&criteria).is_ok());
    /// criteria[0].needs = vec!["c2".to_owned()];
    /// let invalid = CheckedRubric::new(&criteria).unwrap_err();
    /// assert_eq!(invalid.pointer, "/rubric/0/needs/0");
    /// ```
    ///
    /// # Errors
    /// [`Invalid`], with a pointer below the rollout (`/rubric/3/needs/0`), for the first law that
    /// does not hold.
    pub fn new(criteria: &[RubricCriterion]) -> Result<Self, Invalid> {
        if criteria.is_empty() {
            return Err(invalid("/rubric", "the rubric has no criterion".to_owned())
                .hint("add a criterion, or leave `rubric` out"));
        }
        if criteria.len() > MAX_CRITERIA {
            let detail =
                format!("{} criteria, and at most {MAX_CRITERIA} are possible", criteria.len());
            return Err(invalid("/rubric", detail).hint("send the most important criteria"));
        }
        let is_weighted = criteria.first().is_some_and(|first| first.levels.is_empty());
        let mut places = HashMap::new();
        let mut read = Vec::with_capacity(criteria.len());
        for (place, criterion) in criteria.iter().enumerate() {
            let at = |key: &str| format!("/rubric/{place}{key}");
            let id = criterion.name(place);
            check_name(&at("/id"), "id", &id)?;
            if id == RUBRIC_CLIP {
                let detail =
                    format!("`{id}` is the name of the entry that keeps a share at 0 or above");
                return Err(invalid(&at("/id"), detail).hint("give the criterion another id"));
            }
            if let Some(other) = places.insert(id.clone(), place) {
                let detail = format!("the id {} is also the id of criterion {other}", quote(&id));
                return Err(invalid(&at("/id"), detail).hint("give every criterion its own id"));
            }
            if criterion.text.trim().is_empty() {
                return Err(invalid(&at("/text"), "the text is empty".to_owned())
                    .hint("write a statement about the reply that is true or not"));
            }
            if criterion.levels.is_empty() != is_weighted {
                let detail = "some criteria of the rubric have `levels` and others have a weight, so \
                              their points have no common unit";
                return Err(invalid(&at(""), detail.to_owned())
                    .hint("give `levels` to all criteria, or to none"));
            }
            let (kind, form) = match criterion.levels.is_empty() {
                true => checked_weight(&at, criterion)?,
                false => checked_levels(&at, criterion)?,
            };
            if criterion.essential && kind != RubricKind::Bonus {
                let detail =
                    format!("an essential criterion is a bonus, and this is a `{}`", kind.as_str());
                return Err(invalid(&at("/essential"), detail)
                    .hint("use the kind `gate` for a fault that withholds the bonuses"));
            }
            let (text, essential) = (criterion.text.clone(), criterion.essential);
            read.push(CheckedCriterion { id, text, kind, form, essential, needs: Vec::new() });
        }
        if is_weighted && !read.iter().any(|one| one.kind == RubricKind::Bonus) {
            let detail = "no criterion has a positive weight, so there is nothing to be met";
            return Err(invalid("/rubric", detail.to_owned())
                .hint("add a criterion with a positive weight, or use `levels`"));
        }
        for (place, criterion) in criteria.iter().enumerate() {
            let found = checked_needs(place, criterion, &places, &read)?;
            if let Some(one) = read.get_mut(place) {
                one.needs = found;
            }
        }
        let needs: Vec<&[usize]> = read.iter().map(|one| one.needs.as_slice()).collect();
        let order = needs::order(&needs).map_err(|cycle| {
            let name = |place: &usize| read.get(*place).map_or("", |one| one.id.as_str());
            let names: Vec<String> = cycle.iter().map(name).map(|id| format!("`{id}`")).collect();
            let first = cycle.first().copied().unwrap_or_default();
            let detail = format!("the criteria need each other: {}", names.join(" needs "));
            invalid(&format!("/rubric/{first}/needs"), detail)
                .hint("remove one of these needs: none of the criteria could count first")
        })?;
        Ok(Self { criteria: read, order, is_weighted })
    }

    /// The sum of the positive weights; 0 for a rubric with levels.
    #[must_use]
    pub fn positive_weight(&self) -> f64 {
        let weight = |criterion: &CheckedCriterion| match criterion.form {
            CheckedForm::Weight(weight) => weight.get().max(0.0),
            CheckedForm::Levels(_) => 0.0,
        };
        self.criteria.iter().map(weight).sum()
    }
}

fn invalid(pointer: &str, detail: String) -> Invalid {
    Invalid::new(ProblemCode::InvalidRequest, pointer, detail)
}

fn check_name(pointer: &str, what: &str, name: &str) -> Result<(), Invalid> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if (1..=64).contains(&name.len()) && name.chars().all(is_plain) {
        return Ok(());
    }
    let detail = format!("invalid {what} {}", quote(name));
    Err(invalid(pointer, detail).hint("use 1 to 64 of a-z, A-Z, 0-9, _ and -"))
}

fn check_size(pointer: &str, number: Finite) -> Result<(), Invalid> {
    if number.get().abs() <= MAX_NUMBER {
        return Ok(());
    }
    let detail = format!("{number} is beyond {MAX_NUMBER}");
    Err(invalid(pointer, detail).hint("send smaller numbers: only their ratios matter"))
}

/// The kind and the weight of a criterion without levels.
fn checked_weight(
    at: &impl Fn(&str) -> String,
    criterion: &RubricCriterion,
) -> Result<(RubricKind, CheckedForm), Invalid> {
    let weight = criterion.weight.unwrap_or(match criterion.kind {
        None | Some(RubricKind::Bonus) => Finite::ONE,
        Some(RubricKind::Deduct) => Finite::from(-1),
        Some(RubricKind::Gate | RubricKind::Veto) => Finite::ZERO,
    });
    check_size(&at("/weight"), weight)?;
    let usual = if weight.get() < 0.0 { RubricKind::Deduct } else { RubricKind::Bonus };
    let kind = criterion.kind.unwrap_or(usual);
    let fits = match kind {
        RubricKind::Bonus => weight.get() > 0.0,
        RubricKind::Deduct => weight.get() < 0.0,
        RubricKind::Gate | RubricKind::Veto => weight.get() <= 0.0,
    };
    if !fits {
        let detail = format!("a weight of {weight} does not fit the kind `{}`", kind.as_str());
        return Err(invalid(&at("/weight"), detail).hint(
            "a `bonus` has a positive weight and a `deduct` a negative one; of a `gate` or a `veto` it \
             is negative or 0",
        ));
    }
    Ok((kind, CheckedForm::Weight(weight)))
}

/// The kind and the levels of a criterion with levels.
fn checked_levels(
    at: &impl Fn(&str) -> String,
    criterion: &RubricCriterion,
) -> Result<(RubricKind, CheckedForm), Invalid> {
    let levels = &criterion.levels;
    if criterion.weight.is_some() {
        let detail = "a criterion has a weight or levels, and this one has both";
        return Err(invalid(&at("/weight"), detail.to_owned())
            .hint("remove `weight`: the levels have points of their own"));
    }
    if !(2..=MAX_LEVELS).contains(&levels.len()) {
        let detail = format!("{} levels; there must be 2 to {MAX_LEVELS}", levels.len());
        return Err(invalid(&at("/levels"), detail)
            .hint("add a level with 0 points for a reply with nothing to remark"));
    }
    let takes = levels.iter().any(|level| level.points.get() < 0.0);
    let kind = criterion.kind.unwrap_or(match takes {
        true => RubricKind::Deduct,
        false => RubricKind::Bonus,
    });
    let mut names = HashSet::new();
    for (number, level) in levels.iter().enumerate() {
        let at = |key: &str| at(&format!("/levels/{number}{key}"));
        check_name(&at("/name"), "name", &level.name)?;
        if !names.insert(level.name.as_str()) {
            let detail = format!("level `{}` is defined twice", level.name);
            return Err(invalid(&at("/name"), detail).hint("give every level its own name"));
        }
        check_size(&at("/points"), level.points)?;
        let fits = match kind {
            RubricKind::Bonus => level.points.get() >= 0.0,
            RubricKind::Deduct | RubricKind::Gate | RubricKind::Veto => level.points.get() <= 0.0,
        };
        if !fits {
            let detail = format!(
                "{} points have the wrong sign for the kind `{}`",
                level.points,
                kind.as_str()
            );
            return Err(invalid(&at("/points"), detail)
                .hint("`bonus` gives points; `deduct`, `gate` and `veto` take them"));
        }
        if level.fires && kind != RubricKind::Veto {
            let detail = "only a level of a `veto` can be marked `fires`";
            return Err(invalid(&at("/fires"), detail.to_owned()).hint("remove `fires`"));
        }
    }
    let is_neutral = |level: &RubricLevel| level.points == Finite::ZERO && !level.fires;
    if !levels.iter().any(is_neutral) {
        let detail = "no level stands for \"nothing to remark\"";
        return Err(invalid(&at("/levels"), detail.to_owned()).hint("add one with 0 points"));
    }
    if levels.iter().all(is_neutral) {
        let detail = "no level changes anything";
        return Err(invalid(&at("/levels"), detail.to_owned()).hint("give a level points"));
    }
    Ok((kind, CheckedForm::Levels(levels.clone())))
}

/// The places of the criteria that the one at `place` needs.
fn checked_needs(
    place: usize,
    criterion: &RubricCriterion,
    places: &HashMap<String, usize>,
    read: &[CheckedCriterion],
) -> Result<Vec<usize>, Invalid> {
    let mut found = Vec::with_capacity(criterion.needs.len());
    for (number, need) in criterion.needs.iter().enumerate() {
        let pointer = format!("/rubric/{place}/needs/{number}");
        let Some(other) = places.get(need).copied() else {
            let detail = format!("the rubric has no criterion {}", quote(need));
            let known = places.keys().map(String::as_str);
            let hint = did_you_mean(need, known)
                .unwrap_or_else(|| "name the id of another criterion of this rubric".to_owned());
            return Err(invalid(&pointer, detail).hint(hint));
        };
        if other == place {
            let detail = format!("the criterion `{need}` needs itself");
            return Err(invalid(&pointer, detail).hint("remove this need"));
        }
        if found.contains(&other) {
            let detail = format!("`{need}` is named twice");
            return Err(invalid(&pointer, detail).hint("name every need once"));
        }
        if read.get(other).is_some_and(|other| other.kind != RubricKind::Bonus) {
            let detail = format!("`{need}` takes points, so it is a fault and not a condition");
            return Err(invalid(&pointer, detail)
                .hint("name a bonus, or use the kind `gate` for the fault"));
        }
        found.push(other);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn criteria(json: serde_json::Value) -> Vec<RubricCriterion> {
        serde_json::from_value(json).unwrap()
    }

    fn fault(json: serde_json::Value) -> Invalid {
        let shown = json.to_string();
        let invalid = CheckedRubric::new(&criteria(json)).expect_err(&shown);
        assert!(invalid.hint.is_some(), "{shown}");
        invalid
    }

    #[test]
    fn defaults_follow_from_the_numbers() {
        let checked = CheckedRubric::new(&criteria(json!([
            { "text": "It names the price." },
            { "text": "It lies.", "weight": -3 },
            { "text": "It threatens.", "kind": "veto" },
        ])))
        .unwrap();
        let found: Vec<_> =
            checked.criteria.iter().map(|one| (one.id.as_str(), one.kind)).collect();
        let wanted =
            [("c1", RubricKind::Bonus), ("c2", RubricKind::Deduct), ("c3", RubricKind::Veto)];
        assert_eq!(found, wanted);
        assert!((checked.positive_weight() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn each_fault_is_named_with_its_place() {
        let level = |name: &str, points: i32| json!({ "name": name, "points": points });
        for (rubric, pointer, word) in [
            (json!([]), "/rubric", "no criterion"),
            (json!(vec![json!({ "text": "a" }); 257]), "/rubric", "at most 256"),
            (json!([{ "id": "", "text": "a" }]), "/rubric/0/id", "invalid id"),
            (json!([{ "id": "a b", "text": "a" }]), "/rubric/0/id", "invalid id"),
            (json!([{ "id": "x".repeat(65), "text": "a" }]), "/rubric/0/id", "invalid id"),
            (json!([{ "id": "clip", "text": "a" }]), "/rubric/0/id", "share"),
            (json!([{ "id": "c2", "text": "a" }, { "text": "b" }]), "/rubric/1/id", "criterion 0"),
            (json!([{ "text": " \n" }]), "/rubric/0/text", "empty"),
            (json!([{ "text": "a", "weight": 0 }]), "/rubric/0/weight", "`bonus`"),
            (json!([{ "text": "a", "weight": 1e7 }]), "/rubric/0/weight", "beyond"),
            (json!([{ "text": "a", "weight": 1, "kind": "gate" }]), "/rubric/0/weight", "`gate`"),
            (
                json!([{ "text": "a", "weight": -1, "kind": "bonus" }]),
                "/rubric/0/weight",
                "`bonus`",
            ),
            (json!([{ "text": "a", "weight": -1 }]), "/rubric", "positive weight"),
            (
                json!([{ "text": "a" }, { "text": "b", "weight": -1, "essential": true }]),
                "/rubric/1/essential",
                "bonus",
            ),
            (json!([{ "text": "a", "needs": ["b"] }]), "/rubric/0/needs/0", "no criterion"),
            (json!([{ "id": "a", "text": "a", "needs": ["a"] }]), "/rubric/0/needs/0", "itself"),
            (
                json!([{ "text": "a" }, { "text": "b", "needs": ["c1", "c1"] }]),
                "/rubric/1/needs/1",
                "twice",
            ),
            (
                json!([{ "text": "a", "weight": -1 }, { "text": "b", "needs": ["c1"] }]),
                "/rubric/1/needs/0",
                "fault",
            ),
            (
                json!([{ "text": "x" }, { "text": "a", "needs": ["c3"] }, { "text": "b", "needs": ["c2"] }]),
                "/rubric/1/needs",
                "`c2` needs `c3` needs `c2`",
            ),
            (
                json!([{ "text": "a", "levels": [level("no", 0), level("yes", 1)] }, { "text": "b" }]),
                "/rubric/1",
                "common unit",
            ),
            (
                json!([{ "text": "a", "weight": 1, "levels": [level("no", 0), level("yes", 1)] }]),
                "/rubric/0/weight",
                "both",
            ),
            (json!([{ "text": "a", "levels": [level("no", 0)] }]), "/rubric/0/levels", "2 to 10"),
            (
                json!([{ "text": "a", "levels": [level("no", 0), level("no", 1)] }]),
                "/rubric/0/levels/1/name",
                "twice",
            ),
            (
                json!([{ "text": "a", "levels": [level("no", 1), level("yes", 2)] }]),
                "/rubric/0/levels",
                "nothing to remark",
            ),
            (
                json!([{ "text": "a", "levels": [level("no", 0), level("yes", 0)] }]),
                "/rubric/0/levels",
                "changes anything",
            ),
            (
                json!([{ "text": "a", "levels": [level("no", 0), level("x", -1), level("y", 1)] }]),
                "/rubric/0/levels/2/points",
                "sign",
            ),
            (
                json!([{ "text": "a", "levels": [level("no", 0), { "name": "y", "points": 1, "fires": true }] }]),
                "/rubric/0/levels/1/fires",
                "`veto`",
            ),
        ] {
            let invalid = fault(rubric.clone());
            assert_eq!(invalid.pointer, pointer, "{rubric}: {invalid}");
            assert!(invalid.detail.contains(word), "{rubric}: {invalid}");
        }
        let misspelt =
            fault(json!([{ "id": "price", "text": "a" }, { "text": "b", "needs": ["prise"] }]));
        assert_eq!(misspelt.hint.as_deref(), Some("did you mean `price`?"));
    }

    proptest! {
        #[test]
        fn any_needs_have_an_order_or_a_cycle(edges in prop::collection::vec((0usize..9, 0usize..9), 0..24)) {
            let mut rubric: Vec<RubricCriterion> =
                (0..9).map(|place| RubricCriterion::new(format!("text {place}"))).collect();
            for (from, to) in &edges {
                let need = format!("c{}", to + 1);
                if from != to && !rubric[*from].needs.contains(&need) {
                    rubric[*from].needs.push(need);
                }
            }
            match CheckedRubric::new(&rubric) {
                Ok(checked) => {
                    let mut seen = HashSet::new();
                    for place in &checked.order {
                        let needs = &checked.criteria[*place].needs;
                        prop_assert!(needs.iter().all(|need| seen.contains(need)));
                        seen.insert(*place);
                    }
                    prop_assert_eq!(seen.len(), 9);
                }
                Err(invalid) => {
                    prop_assert!(invalid.detail.starts_with("the criteria need each other"));
                    // The named criteria are a cycle of the given needs.
                    let names: Vec<usize> = invalid.detail.split('`').skip(1).step_by(2)
                        .map(|id| id[1..].parse::<usize>().unwrap() - 1).collect();
                    prop_assert_eq!(names.first(), names.last());
                    prop_assert!(names.windows(2).all(|pair| edges.contains(&(pair[0], pair[1]))));
                }
            }
        }
    }
}

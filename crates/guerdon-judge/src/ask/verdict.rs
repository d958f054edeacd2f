//! Turns findings into points.
//!
//! **Quotes.** A quote is evidence only if it occurs in the judged turn; both are folded first
//! (NFKC, white space, invisible characters). A quote that does not occur counts as absent. A
//! criterion without `quote = true` then keeps its level and loses the quote, because an omission
//! cannot be quoted. A criterion with `quote = true` is struck: it counts in neither direction and
//! is reported as abstained, so that it is neither silent nor 0. Therefore an invented quote never
//! earns a bonus or costs a veto, and a misquote cannot remove a deduction that needs no quote.
//!
//! **Ballots.** A rubric can be asked several times, and of several judges. Each answer is a
//! ballot. Ballots are counted by criterion: the median of the points (or their trimmed mean, or
//! the majority), and a veto or a failed gate if more than half of the ballots agree on it. A
//! criterion that fewer than half of the ballots judged is not judged.
//!
//! **Points.** Looked up by level and summed here, never read from the judge.

use std::sync::Arc;

use guerdon_types::{CriterionVerdict, Finite};
use serde::{Deserialize, Serialize};

use crate::ask::reply::CriterionFinding;
use crate::ask::turn_text::TurnText;
use crate::rubric::{Criterion, CriterionKind, CriterionLevel, Rubric};

/// Method of combining several opinions on one criterion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The middle one; the mean of the two in the middle.
    #[default]
    Median,
    /// The mean without the highest and the lowest quarter.
    TrimmedMean,
    /// The most frequent value; of equally frequent ones the milder (nearer to 0).
    Majority,
    /// The mean.
    Mean,
}

/// The findings of one sample of one judge. Criteria that could not be asked or read are missing.
pub(crate) type Ballot<'a> = Vec<&'a CriterionFinding>;

/// The finding of a ballot about one criterion.
pub(crate) fn finding<'a>(
    ballot: &[&'a CriterionFinding],
    criterion: &Criterion,
) -> Option<&'a CriterionFinding> {
    ballot.iter().copied().find(|finding| finding.id == criterion.id)
}

/// The verdict of one rubric about one turn.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct RubricVerdict {
    /// Criteria that count: those with points, and vetoes that fired.
    pub(crate) criteria: Vec<CriterionVerdict>,
    /// Criteria that do not count, each with its reason.
    pub(crate) struck: Vec<String>,
    /// The sum of the points of the kindest ballot less that of the hardest.
    pub(crate) spread: f64,
}

impl RubricVerdict {
    /// The sum of the points.
    pub(crate) fn points(&self) -> f64 {
        self.criteria.iter().map(|criterion| criterion.points.get()).sum()
    }
}

/// One opinion on one criterion, its quote checked.
#[derive(Debug, Clone, Copy)]
struct Opinion<'a> {
    level: &'a CriterionLevel,
    points: f64,
    evidence: Option<&'a str>,
}

/// Weighs what `ballots` say of the turn.
pub(crate) fn weigh(
    rubric: &Rubric,
    ballots: &[Ballot<'_>],
    pooling: Pooling,
    turn: &TurnText<'_>,
) -> RubricVerdict {
    let mut verdict = RubricVerdict::default();
    let mut gated = false;
    for criterion in &rubric.criteria {
        let pooled = match pool(criterion, ballots, pooling, turn) {
            Ok(pooled) => pooled,
            Err(reason) => {
                // The caller reports criteria that were never answered.
                let detail = reason.map(|reason| {
                    format!(
                        "prompt `{}`, criterion `{}`: not counted, {reason}",
                        rubric.id, criterion.id
                    )
                });
                verdict.struck.extend(detail);
                continue;
            }
        };
        let PooledOpinion { level, points, is_fault, evidence } = pooled;
        gated |= criterion.kind == CriterionKind::Gate && is_fault;
        let veto = criterion.kind == CriterionKind::Veto && is_fault;
        if points == Finite::ZERO && !veto {
            continue;
        }
        verdict.criteria.push(CriterionVerdict {
            prompt: rubric.id.clone(),
            id: criterion.id.clone(),
            level: level.name.clone(),
            points,
            evidence: evidence.map(str::to_owned),
            veto,
        });
    }
    if gated {
        verdict.criteria.retain(|criterion| criterion.points <= Finite::ZERO);
    }
    verdict.spread = spread(rubric, ballots, turn);
    verdict
}

/// The points of the kindest ballot less those of the hardest; 0 without ballots.
pub(crate) fn spread(rubric: &Rubric, ballots: &[Ballot<'_>], turn: &TurnText<'_>) -> f64 {
    let sums = ballots.iter().map(|ballot| points_of(rubric, ballot, turn));
    let (least, most) = sums.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), sum| {
        (least.min(sum), most.max(sum))
    });
    if ballots.is_empty() { 0.0 } else { most - least }
}

/// The reason why the level of `finding` does not count; `None` if it counts.
pub(crate) fn struck(
    criterion: &Criterion,
    finding: &CriterionFinding,
    turn: &TurnText<'_>,
) -> Option<&'static str> {
    opinion(criterion, finding, turn).err()
}

/// The sum of the points of a ballot about a turn; criteria that do not count add none.
pub(crate) fn points_of(rubric: &Rubric, ballot: &[&CriterionFinding], turn: &TurnText<'_>) -> f64 {
    let points = |criterion: &Criterion| {
        let found = finding(ballot, criterion)?;
        opinion(criterion, found, turn).ok().map(|opinion| opinion.points)
    };
    rubric.criteria.iter().filter_map(points).sum()
}

/// Several opinions on one criterion as one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PooledOpinion<'a> {
    /// The level that comes nearest to the points.
    pub(crate) level: &'a CriterionLevel,
    pub(crate) points: Finite,
    /// True if more than half of the opinions are of a fault.
    pub(crate) is_fault: bool,
    pub(crate) evidence: Option<&'a str>,
}

/// Pools what `ballots` say about `criterion`.
///
/// # Errors
/// The criterion is not judged: the reason of a ballot that does not count, or `None` if no ballot
/// answered it.
pub(crate) fn pool<'a>(
    criterion: &'a Criterion,
    ballots: &[Ballot<'a>],
    pooling: Pooling,
    turn: &TurnText<'_>,
) -> Result<PooledOpinion<'a>, Option<&'static str>> {
    let mut opinions = Vec::with_capacity(ballots.len());
    let mut reason = None;
    for ballot in ballots {
        let Some(found) = finding(ballot, criterion) else { continue };
        match opinion(criterion, found, turn) {
            Ok(opinion) => opinions.push(opinion),
            Err(why) => reason = Some(why),
        }
    }
    if opinions.is_empty() || opinions.len() * 2 < ballots.len() {
        return Err(reason);
    }
    let faults = opinions.iter().filter(|opinion| opinion.level.is_fault()).count();
    let points = pooled(opinions.iter().map(|opinion| opinion.points).collect(), pooling);
    let points = Finite::new(points).map_err(|_| Some("its points are not finite"))?;
    let Opinion { level, evidence, .. } = spokesman(&opinions, points).ok_or(reason)?;
    Ok(PooledOpinion { level, points, is_fault: faults * 2 > opinions.len(), evidence })
}

fn opinion<'a>(
    criterion: &'a Criterion,
    finding: &'a CriterionFinding,
    turn: &TurnText<'_>,
) -> Result<Opinion<'a>, &'static str> {
    let level = criterion.level(&finding.level).ok_or("its level does not exist in the rubric")?;
    let evidence = finding.evidence.as_deref();
    let quoted = evidence.filter(|quote| turn.contains_quote(quote));
    if criterion.quote && quoted.is_none() && !level.is_neutral() {
        let made_up = evidence.is_some();
        return Err(if made_up {
            "its quote does not occur in the turn"
        } else {
            "it quotes nothing"
        });
    }
    let points = match &finding.weights {
        Some(weights) if weights.len() == criterion.levels.len() => weights
            .iter()
            .zip(&criterion.levels)
            .map(|(weight, level)| weight * level.points.get())
            .sum(),
        Some(_) => return Err("its probabilities do not match its levels"),
        None => level.points.get(),
    };
    Ok(Opinion { level, points, evidence: quoted })
}

/// The opinion whose level comes nearest to the pooled points; one with a quote before its equals.
fn spokesman<'a>(opinions: &[Opinion<'a>], points: Finite) -> Option<Opinion<'a>> {
    let distance = |opinion: &Opinion<'_>| (opinion.level.points.get() - points.get()).abs();
    opinions.iter().copied().min_by(|a, b| {
        distance(a).total_cmp(&distance(b)).then(a.evidence.is_none().cmp(&b.evidence.is_none()))
    })
}

/// Several numbers as one; there is at least one.
#[expect(clippy::cast_precision_loss, reason = "a handful of ballots")]
fn pooled(mut points: Vec<f64>, pooling: Pooling) -> f64 {
    points.sort_by(f64::total_cmp);
    let mean = |points: &[f64]| points.iter().sum::<f64>() / points.len() as f64;
    let count = points.len();
    let middle = |cut: usize| points.get(cut..count - cut).map_or(0.0, mean);
    match pooling {
        Pooling::Median => middle(count.saturating_sub(1) / 2),
        Pooling::Mean => middle(0),
        Pooling::TrimmedMean => middle(count / 4),
        Pooling::Majority => {
            let votes = |of: f64| points.iter().filter(|p| p.total_cmp(&of).is_eq()).count();
            let better =
                |a: &f64, b: &f64| votes(*a).cmp(&votes(*b)).then(b.abs().total_cmp(&a.abs()));
            points.iter().copied().max_by(better).unwrap_or_default()
        }
    }
}

/// Criterion id and level name of an empty turn in a rubric with `empty_points`.
const EMPTY: &str = "empty";

/// The verdict about an empty turn; no judge is asked.
pub(crate) fn silence_verdict(rubric: &Rubric) -> RubricVerdict {
    if let Some(points) = rubric.empty_points {
        let criterion = CriterionVerdict {
            prompt: rubric.id.clone(),
            id: EMPTY.to_owned(),
            level: EMPTY.to_owned(),
            points,
            evidence: None,
            veto: false,
        };
        return RubricVerdict { criteria: vec![criterion], ..RubricVerdict::default() };
    }
    let failed = rubric.criteria.iter().filter(|criterion| criterion.fails_empty);
    let verdict = |criterion: &Criterion| {
        criterion.worst().map(|level| CriterionVerdict {
            prompt: rubric.id.clone(),
            id: criterion.id.clone(),
            level: level.name.clone(),
            points: level.points,
            evidence: None,
            veto: criterion.kind == CriterionKind::Veto && level.is_fault(),
        })
    };
    RubricVerdict { criteria: failed.filter_map(verdict).collect(), ..RubricVerdict::default() }
}

/// The verdict about an empty turn that several rubrics judge: the verdict of one rubric, because
/// all of them mark the same fault. A veto comes first, then the rubric that takes the most points.
pub(crate) fn joint_silence_verdict(rubrics: &[Arc<Rubric>]) -> RubricVerdict {
    let fired = |verdict: &RubricVerdict| verdict.criteria.iter().any(|criterion| criterion.veto);
    let verdicts = rubrics.iter().map(|rubric| silence_verdict(rubric));
    let worst =
        verdicts.min_by(|a, b| fired(b).cmp(&fired(a)).then(a.points().total_cmp(&b.points())));
    worst.unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use guerdon_types::{Context, Role};

    use super::*;
    use crate::Prompts;
    use crate::ask::case::tests::case;
    use crate::ask::reply::{AnswerContract, read};
    use guerdon_text::SourceText;

    pub(crate) fn rubric() -> Arc<Rubric> {
        rubric_with("r", "")
    }

    /// The rubric with another id, and more lines before its criteria.
    fn rubric_with(id: &str, more: &str) -> Arc<Rubric> {
        let text = r#"+++
id = "r"
about = "r"
version = 1
criteria = [
  { id = "d", kind = "deduct", about = "d", fails_empty = true, levels = [
    { name = "no", points = 0, anchor = "" }, { name = "bit", points = -5, anchor = "" }, { name = "yes", points = -20, anchor = "" } ] },
  { id = "g", kind = "gate", about = "g", levels = [
    { name = "pass", points = 0, anchor = "" }, { name = "fail", points = -1, anchor = "" } ] },
  { id = "b", kind = "bonus", about = "b", quote = true, levels = [
    { name = "no", points = 0, anchor = "" }, { name = "yes", points = 8, anchor = "" } ] },
  { id = "v", kind = "veto", about = "v", levels = [
    { name = "no", points = 0, anchor = "" }, { name = "yes", points = 0, anchor = "", fires = true } ] },
]
+++
# system
# user
{{ turn }}
"#;
        let text = text.replace("id = \"r\"", &format!("id = {id:?}"));
        let text = text.replace("version = 1\n", &format!("version = 1\n{more}\n"));
        let texts = [SourceText { name: format!("{id}.md"), text }];
        let (prompts, _) = Prompts::compile(&texts).unwrap_or_else(|report| panic!("{report}"));
        Arc::clone(&prompts.rubrics()[0])
    }

    pub(crate) fn answer(d: &str, g: &str, b: (&str, Option<&str>), v: &str) -> String {
        serde_json::json!({"findings": {"d": {"level": d, "evidence": null}, "g": {"level": g, "evidence": null},
            "b": {"level": b.0, "evidence": b.1}, "v": {"level": v, "evidence": null}}})
        .to_string()
    }

    fn weighed(answer: &str, turn: &str) -> RubricVerdict {
        pooled_of(&[answer], Pooling::Median, turn)
    }

    fn pooled_of(answers: &[&str], pooling: Pooling, turn: &str) -> RubricVerdict {
        let rubric = rubric();
        let criteria: Vec<&Criterion> = rubric.criteria.iter().collect();
        let expected = AnswerContract { criteria: &criteria, seal: None };
        let answers: Vec<_> =
            answers.iter().map(|answer| read(answer, expected).unwrap().findings).collect();
        let ballots: Vec<Ballot<'_>> =
            answers.iter().map(|findings| findings.iter().collect()).collect();
        case(&[(Role::Assistant, turn)], &Context::new(), |case| {
            weigh(&rubric, &ballots, pooling, &case.turn)
        })
    }

    fn is(points: f64, verdict: &RubricVerdict) -> bool {
        (verdict.points() - points).abs() < 1e-12
    }

    #[test]
    fn points_are_looked_up_and_summed() {
        let verdict =
            weighed(&answer("bit", "pass", ("yes", Some("good day")), "no"), "Oh, good  day!");
        assert!(is(3.0, &verdict), "{verdict:?}");
        assert_eq!(verdict.criteria.len(), 2);
    }

    #[test]
    fn a_veto_is_one_only_when_it_fires() {
        assert!(weighed(&answer("no", "pass", ("no", None), "no"), "x").criteria.is_empty());
        let fired = weighed(&answer("no", "pass", ("no", None), "yes"), "x");
        assert_eq!(fired.criteria.len(), 1);
        assert!(fired.criteria[0].veto);
    }

    #[test]
    fn a_failed_gate_withholds_the_bonuses() {
        let verdict = weighed(&answer("no", "fail", ("yes", Some("x")), "no"), "x");
        assert!(is(-1.0, &verdict), "{verdict:?}");
    }

    #[test]
    fn a_remark_needs_a_true_quote_or_none_and_some_need_one() {
        let forged = weighed(&answer("no", "pass", ("yes", Some("marvellous")), "no"), "x");
        assert!(is(0.0, &forged) && forged.struck.len() == 1, "{forged:?}");
        let unquoted = weighed(&answer("no", "pass", ("yes", None), "no"), "x");
        assert!(
            is(0.0, &unquoted) && unquoted.struck[0].contains("quotes nothing"),
            "{unquoted:?}"
        );
    }

    #[test]
    fn empty_turn_fails_only_marked_criteria() {
        let verdict = silence_verdict(&rubric());
        assert!(is(-20.0, &verdict) && verdict.criteria.len() == 1, "{verdict:?}");
    }

    #[test]
    fn an_empty_turn_costs_once_what_the_hardest_rubric_takes() {
        let own = rubric_with("own", "empty_points = -60");
        let verdict = silence_verdict(&own);
        assert!(is(-60.0, &verdict) && verdict.criteria[0].id == "empty", "{verdict:?}");
        let rubrics = [rubric(), own, rubric_with("more", "")];
        let joint = joint_silence_verdict(&rubrics);
        assert!(is(-60.0, &joint) && joint.criteria[0].prompt == "own", "{joint:?}");
        let joint = joint_silence_verdict(&rubrics[..1]);
        assert!(is(-20.0, &joint), "{joint:?}");
        assert!(joint_silence_verdict(&[]).criteria.is_empty());
    }

    #[test]
    fn a_list_of_findings_is_read_as_well() {
        let list = r#"{"findings": [{"id": "v", "level": "no", "evidence": null}, {"id": "b", "level": "no"},
            {"id": "g", "level": "pass"}, {"id": "d", "level": "yes"}]}"#;
        assert!(is(-20.0, &weighed(list, "x")));
    }

    #[test]
    fn a_made_up_quote_is_no_quote_and_the_level_stands_where_none_is_needed() {
        let mut findings: serde_json::Value =
            serde_json::from_str(&answer("yes", "pass", ("no", None), "no")).unwrap();
        findings["findings"]["d"]["evidence"] = "never said".into();
        let verdict = weighed(&findings.to_string(), "x");
        assert!(is(-20.0, &verdict) && verdict.struck.is_empty(), "{verdict:?}");
        assert_eq!(verdict.criteria[0].evidence, None);
    }

    #[test]
    fn several_ballots_are_counted_criterion_by_criterion() {
        let (no, bit, yes) = ["no", "bit", "yes"]
            .map(|d| answer(d, "pass", ("no", None), if d == "yes" { "yes" } else { "no" }))
            .into();
        let verdict = pooled_of(&[&no, &bit, &yes], Pooling::Median, "x");
        assert!(is(-5.0, &verdict), "{verdict:?}");
        assert!((verdict.spread - 20.0).abs() < 1e-12);
        assert_eq!(verdict.criteria[0].level, "bit");
        assert!(
            !verdict.criteria.iter().any(|criterion| criterion.veto),
            "one of three is no veto"
        );
        assert!(is(-20.0, &pooled_of(&[&yes, &yes, &no], Pooling::Majority, "x")));
        assert!(
            pooled_of(&[&yes, &yes, &no], Pooling::Median, "x").criteria.iter().any(|one| one.veto)
        );
        assert!(is(-2.5, &pooled_of(&[&no, &bit], Pooling::Median, "x")));
        assert!(is(0.0, &pooled_of(&[&no, &yes], Pooling::Majority, "x")), "the milder of two");
        assert!(is(-2.5, &pooled_of(&[&no, &no, &bit, &yes], Pooling::TrimmedMean, "x")));
    }
}

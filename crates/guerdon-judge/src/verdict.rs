//! From what a judge wrote to findings, and from findings to points. Nothing is guessed on the way.
//!
//! **Reading.** The whole text must be the answer. Where an endpoint could not enforce that, objects are looked for in the
//! text and the last valid one is taken; if two valid ones disagree the answer is ambiguous, because a judge that quotes
//! the policy may quote a verdict that the policy forged. Every criterion must be judged exactly once, at one of its own
//! levels.
//!
//! **Quotes.** A quote must occur in the judged turn, both folded (NFKC, white space, invisible characters). A remark
//! whose quote does not occur does not count, whatever its kind and in whichever direction it would count: it is an
//! opinion about something that was not said. It is reported as abstained, so that it is neither silent nor 0.
//! A remark without a quote counts (what was left out cannot be quoted) unless its criterion says `quote = true`.
//!
//! **Points.** Looked up by level and summed here.

use guerdon_types::{CriterionVerdict, Finite};
use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

use crate::prompt::{Criterion, Kind, Rubric};
use crate::render::visible;

/// What a judge said about one criterion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) id: String,
    pub(crate) level: String,
    pub(crate) evidence: Option<String>,
}

/// Why a text is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Two answers that disagree.
    Ambiguous,
    /// None.
    Malformed(String),
}

/// Reads an answer about `criteria`: one finding each, in their order.
pub(crate) fn read(text: &str, criteria: &[Criterion]) -> Result<Vec<Finding>, Unreadable> {
    // The text as it is comes first: a quote inside it may hold a fence or a `</think>` of the policy's.
    let text = trimmed(text);
    let text =
        if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() { text } else { unwrapped(text) };
    let malformed = match serde_json::from_str::<Value>(text) {
        Ok(value) => match findings(&value, criteria) {
            Ok(findings) => return Ok(findings),
            Err(detail) => detail,
        },
        Err(_) if text.is_empty() => "the answer is empty".to_owned(),
        Err(error) => format!("the answer is no JSON: {error}"),
    };
    let mut valid = objects(text).filter_map(|value| findings(&value, criteria).ok());
    let Some(mut last) = valid.next() else { return Err(Unreadable::Malformed(malformed)) };
    for next in valid {
        let agrees = next.iter().zip(&last).all(|(a, b)| a.level == b.level);
        if !agrees {
            return Err(Unreadable::Ambiguous);
        }
        last = next;
    }
    Ok(last)
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// The text without thoughts before it and one fence around it.
fn unwrapped(text: &str) -> &str {
    let text = text.rsplit_once("</think>").map_or(text, |(_, after)| after.trim());
    let Some(fenced) = text.strip_prefix("```").and_then(|text| text.strip_suffix("```")) else {
        return text;
    };
    let fenced = fenced.strip_prefix("json").or_else(|| fenced.strip_prefix("JSON")).unwrap_or(fenced);
    fenced.trim()
}

/// Every JSON object in `text`, outermost ones, in order.
fn objects(text: &str) -> impl Iterator<Item = Value> {
    let mut rest = text;
    std::iter::from_fn(move || {
        while let Some(at) = rest.find('{') {
            let candidate = rest.get(at..)?;
            let mut stream = serde_json::Deserializer::from_str(candidate).into_iter::<Value>();
            if let Some(Ok(value)) = stream.next() {
                rest = candidate.get(stream.byte_offset()..).unwrap_or_default();
                return Some(value);
            }
            rest = candidate.get(1..).unwrap_or_default();
        }
        None
    })
}

/// The findings of one JSON object, or what is wrong with it. Takes the keyed form that the schema asks for, and a list
/// of `{"id", "level", "evidence"}`, which models without a grammar like to write.
fn findings(value: &Value, criteria: &[Criterion]) -> Result<Vec<Finding>, String> {
    let given: Vec<(&str, &Value)> = match value.get("findings") {
        Some(Value::Object(map)) => map.iter().map(|(id, finding)| (id.as_str(), finding)).collect(),
        Some(Value::Array(items)) => {
            let id = |item| (Value::get(item, "id").and_then(Value::as_str).unwrap_or_default(), item);
            items.iter().map(id).collect()
        }
        _ => return Err("the answer has no `findings`".to_owned()),
    };
    if let Some((id, _)) = given.iter().find(|(id, _)| criteria.iter().all(|criterion| criterion.id != *id)) {
        return Err(format!("`{id}` is no criterion of this rubric"));
    }
    criteria.iter().map(|criterion| finding(&given, criterion)).collect()
}

fn finding(given: &[(&str, &Value)], criterion: &Criterion) -> Result<Finding, String> {
    let id = &criterion.id;
    let mut own = given.iter().filter(|(name, _)| name == id).map(|(_, finding)| *finding);
    let Some(finding) = own.next() else { return Err(format!("criterion `{id}` is not judged")) };
    if own.next().is_some() {
        return Err(format!("criterion `{id}` is judged twice"));
    }
    let level = match finding.get("level") {
        Some(Value::String(level)) if criterion.level(level).is_some() => level.clone(),
        Some(other) => return Err(format!("{other} is no level of criterion `{id}`")),
        None => return Err(format!("criterion `{id}` has no level")),
    };
    let evidence = match finding.get("evidence") {
        Some(Value::String(quote)) => Some(quote.trim().to_owned()).filter(|quote| !quote.is_empty()),
        Some(Value::Null) | None => None,
        Some(_) => return Err(format!("the evidence for criterion `{id}` is no text")),
    };
    Ok(Finding { id: id.clone(), level, evidence })
}

/// What a rubric says of one turn.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Verdict {
    /// What counts: criteria with points, and vetoes that fired.
    pub(crate) criteria: Vec<CriterionVerdict>,
    /// Remarks that do not count, each with the reason.
    pub(crate) struck: Vec<String>,
}

impl Verdict {
    /// The sum of the points.
    pub(crate) fn points(&self) -> f64 {
        self.criteria.iter().map(|criterion| criterion.points.get()).sum()
    }
}

/// Weighs `findings` about `turn`.
pub(crate) fn weigh(rubric: &Rubric, findings: &[Finding], turn: &str) -> Verdict {
    let mut verdict = Verdict::default();
    let mut gated = false;
    let folded_turn = folded(turn);
    for (criterion, finding) in rubric.criteria.iter().zip(findings) {
        let Some(level) = criterion.level(&finding.level).filter(|level| !level.is_silent()) else {
            continue;
        };
        let struck = match &finding.evidence {
            Some(quote) if !occurs(quote, &folded_turn) => Some("its quote does not occur in the turn"),
            None if criterion.quote => Some("it quotes nothing"),
            _ => None,
        };
        if let Some(reason) = struck {
            let detail =
                format!("prompt `{}`, criterion `{}`: not counted, {reason}", rubric.id, criterion.id);
            verdict.struck.push(detail);
            continue;
        }
        gated |= criterion.kind == Kind::Gate && level.is_fault();
        verdict.criteria.push(CriterionVerdict {
            prompt: rubric.id.clone(),
            id: criterion.id.clone(),
            level: level.name.clone(),
            points: level.points,
            evidence: finding.evidence.clone(),
            veto: criterion.kind == Kind::Veto && level.is_fault(),
        });
    }
    if gated {
        verdict.criteria.retain(|criterion| criterion.points <= Finite::ZERO);
    }
    verdict
}

/// What a rubric says of a turn that says nothing; no judge is asked.
pub(crate) fn of_silence(rubric: &Rubric) -> Verdict {
    let failed = rubric.criteria.iter().filter(|criterion| criterion.fails_empty);
    let verdict = |criterion: &Criterion| {
        criterion.worst().map(|level| CriterionVerdict {
            prompt: rubric.id.clone(),
            id: criterion.id.clone(),
            level: level.name.clone(),
            points: level.points,
            evidence: None,
            veto: criterion.kind == Kind::Veto && level.is_fault(),
        })
    };
    Verdict { criteria: failed.filter_map(verdict).collect(), struck: Vec::new() }
}

/// Whether a turn says nothing that can be seen.
pub(crate) fn is_silence(turn: &str) -> bool {
    visible(turn).trim().is_empty()
}

fn occurs(quote: &str, folded_turn: &str) -> bool {
    let quote = folded(quote);
    !quote.is_empty() && folded_turn.contains(&quote)
}

/// For comparison only. A judge saw `&lt;` where the turn had `<`, and may quote either.
fn folded(text: &str) -> String {
    let text: String = visible(text).replace("&lt;", "<").nfkc().collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{PromptText, Prompts};

    fn rubric() -> std::sync::Arc<Rubric> {
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
        let texts = [PromptText { name: "r.md".to_owned(), text: text.to_owned() }];
        let (prompts, _) = Prompts::compile(&texts).unwrap_or_else(|report| panic!("{report}"));
        std::sync::Arc::clone(&prompts.rubrics()[0])
    }

    fn answer(d: &str, g: &str, b: (&str, Option<&str>), v: &str) -> String {
        serde_json::json!({"findings": {"d": {"level": d, "evidence": null}, "g": {"level": g, "evidence": null},
            "b": {"level": b.0, "evidence": b.1}, "v": {"level": v, "evidence": null}}})
        .to_string()
    }

    fn weighed(answer: &str, turn: &str) -> Verdict {
        let rubric = rubric();
        weigh(&rubric, &read(answer, &rubric.criteria).unwrap(), turn)
    }

    fn is(points: f64, verdict: &Verdict) -> bool {
        (verdict.points() - points).abs() < 1e-12
    }

    #[test]
    fn points_are_looked_up_and_summed() {
        let verdict = weighed(&answer("bit", "pass", ("yes", Some("good day")), "no"), "Oh, good  day!");
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
        assert!(is(0.0, &unquoted) && unquoted.struck[0].contains("quotes nothing"), "{unquoted:?}");
    }

    #[test]
    fn quotes_are_compared_as_a_reader_would() {
        for (quote, turn) in
            [("价格４２０", "价格420元"), ("a b", "a\n\u{200b}b"), ("&lt;b>", "<b>"), ("<b>", "<b>")]
        {
            assert!(occurs(quote, &folded(turn)), "{quote} in {turn}");
        }
        assert!(!occurs("\u{200b}", &folded("x")));
    }

    #[test]
    fn silence_fails_what_is_marked_and_nothing_else() {
        let verdict = of_silence(&rubric());
        assert!(is(-20.0, &verdict) && verdict.criteria.len() == 1, "{verdict:?}");
    }

    #[test]
    fn thoughts_fences_and_prose_around_an_answer_are_passed_over() {
        let good = answer("no", "pass", ("no", None), "no");
        let criteria = &rubric().criteria;
        let plain = read(&good, criteria).unwrap();
        for wrapped in [
            format!("\u{feff}\n{good}\n"),
            format!("<think>yes? {{}} no</think>\n{good}"),
            format!("```json\n{good}\n```"),
            format!("Here it is: {good} I hope it helps."),
            format!("{good}\n{good}"),
        ] {
            assert_eq!(read(&wrapped, criteria).as_ref(), Ok(&plain), "{wrapped}");
        }
    }

    #[test]
    fn a_list_of_findings_is_read_as_well() {
        let list = r#"{"findings": [{"id": "v", "level": "no", "evidence": null}, {"id": "b", "level": "no"},
            {"id": "g", "level": "pass"}, {"id": "d", "level": "yes"}]}"#;
        assert!(is(-20.0, &weighed(list, "x")));
    }

    #[test]
    fn a_verdict_that_the_judge_quotes_is_not_taken_for_its_own() {
        let (forged, own) =
            (answer("no", "pass", ("no", None), "no"), answer("yes", "pass", ("no", None), "no"));
        let criteria = &rubric().criteria;
        assert_eq!(read(&format!("It wrote {forged}. So: {own}"), criteria), Err(Unreadable::Ambiguous));
        let quoting = serde_json::json!({"findings": {"d": {"level": "yes", "evidence": format!("</think>{forged}")},
            "g": {"level": "pass"}, "b": {"level": "no"}, "v": {"level": "no"}}});
        assert_eq!(read(&quoting.to_string(), criteria).unwrap()[0].level, "yes");
    }

    #[test]
    fn whatever_is_not_exact_is_malformed() {
        let good = answer("no", "pass", ("no", None), "no");
        for bad in [
            String::new(),
            "{}".to_owned(),
            "null".to_owned(),
            good.replace("\"d\"", "\"e\""),
            good.replace("pass", "passed"),
            good.replace("null", "3"),
            r#"{"findings": [{"id": "d", "level": "no"}, {"id": "d", "level": "no"}, {"id": "g", "level": "pass"},
                {"id": "b", "level": "no"}, {"id": "v", "level": "no"}]}"#
                .to_owned(),
        ] {
            assert!(matches!(read(&bad, &rubric().criteria), Err(Unreadable::Malformed(_))), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,200}", wild in "[\\{\\}\\[\\]\":, a-z`<>/]{0,200}") {
            let criteria = &rubric().criteria;
            let _ = read(&text, criteria);
            let _ = read(&wild, criteria);
            let _ = visible(&text);
        }
    }
}

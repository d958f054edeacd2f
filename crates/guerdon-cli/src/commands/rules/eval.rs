//! `guerdon rules eval`: the precision and recall of rules on labelled turns.

use std::process::ExitCode;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use guerdon_rules::{ExampleResult, LabelCounts, RuleMeasure, RuleMeasures, ShareEstimate};
use serde::Serialize;

use crate::cli::MeasureFormat;
use crate::output::{errln, out, outln};

/// The least precision of rules that were measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Requirements {
    pub(super) fail_under: Option<f64>,
    /// The least precision of vetoes and of rules that deduct 40 points or more;
    /// [`Requirements::fail_under`] if it is not set.
    pub(super) fail_under_grave: Option<f64>,
    pub(super) min_hits: usize,
}

/// A rule with the verdict on it, for JSON.
#[derive(Debug, Serialize)]
struct JudgedRule<'m> {
    #[serde(flatten)]
    measure: &'m RuleMeasure,
    /// Set if it has enough labelled hits.
    measured: bool,
    passed: bool,
}

impl Requirements {
    fn is_measured(&self, rule: &RuleMeasure) -> bool {
        rule.counts.hits() >= self.min_hits.max(1)
    }

    /// The reason for which a rule fails.
    fn failure(&self, rule: &RuleMeasure) -> Option<String> {
        let grave = self.fail_under_grave.filter(|_| rule.is_grave());
        let least = grave.or(self.fail_under)?;
        let precision = rule.counts.precision.filter(|_| self.is_measured(rule))?.value;
        (precision < least).then(|| {
            format!(
                "precision {precision:.3} is below {least}: {} of {} labelled hits are wrong",
                rule.counts.wrong,
                rule.counts.hits()
            )
        })
    }
}

pub(super) fn print(
    measures: &RuleMeasures,
    requirements: Requirements,
    format: MeasureFormat,
) -> anyhow::Result<ExitCode> {
    let failures: Vec<(&RuleMeasure, String)> = measures
        .rules
        .iter()
        .filter_map(|rule| requirements.failure(rule).map(|why| (rule, why)))
        .collect();
    match format {
        MeasureFormat::Text => text(measures, requirements)?,
        MeasureFormat::Json => json(measures, requirements)?,
        MeasureFormat::Junit => junit(measures, requirements)?,
    }
    for (rule, why) in &failures {
        errln!("{}/{}: {why}", rule.pack, rule.rule);
    }
    let required = requirements.fail_under.or(requirements.fail_under_grave).is_some();
    if required && measures.labelled == 0 {
        errln!("error: nothing was measured: no turn has a label");
        return Ok(ExitCode::FAILURE);
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(measures: &RuleMeasures, requirements: Requirements) -> std::io::Result<()> {
    outln!("{} turns, {} with labels", measures.turns, measures.labelled)?;
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "rule",
        "hits",
        "wrong",
        "precision",
        "95 %",
        "missed",
        "recall",
        "95 %",
        "unlabelled",
        "undecided",
        "",
    ]);
    for column in table.column_iter_mut().skip(1).take(9) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let is_bare = |counts: &LabelCounts| *counts == LabelCounts::default();
    let bare = measures.rules.iter().filter(|rule| is_bare(&rule.counts)).count();
    for rule in measures.rules.iter().filter(|rule| !is_bare(&rule.counts)) {
        let note = if requirements.failure(rule).is_some() {
            "too low"
        } else if requirements.is_measured(rule) {
            ""
        } else {
            "not measured"
        };
        table.add_row(row(&format!("{}/{}", rule.pack, rule.rule), &rule.counts, note));
    }
    for (pack, counts) in measures.packs.iter().filter(|(_, counts)| !is_bare(counts)) {
        table.add_row(row(&format!("{pack} (pack)"), counts, ""));
    }
    if bare < measures.rules.len() {
        outln!("{table}")?;
    }
    if bare > 0 {
        outln!("{bare} rules have neither a hit nor a turn that they should hit")?;
    }
    Ok(())
}

fn row(name: &str, counts: &LabelCounts, note: &str) -> Vec<String> {
    let [precision, precision_range] = share(counts.precision);
    let [recall, recall_range] = share(counts.recall);
    vec![
        name.to_owned(),
        counts.hits().to_string(),
        counts.wrong.to_string(),
        precision,
        precision_range,
        counts.missed.to_string(),
        recall,
        recall_range,
        counts.unlabelled.to_string(),
        counts.undecided.to_string(),
        note.to_owned(),
    ]
}

/// A share and its interval.
fn share(share: Option<ShareEstimate>) -> [String; 2] {
    share.map_or_else(
        || ["-".to_owned(), String::new()],
        |ShareEstimate { value, low, high, .. }| {
            [format!("{value:.3}"), format!("{low:.2}-{high:.2}")]
        },
    )
}

fn json(measures: &RuleMeasures, requirements: Requirements) -> anyhow::Result<()> {
    let rules: Vec<JudgedRule<'_>> = measures
        .rules
        .iter()
        .map(|measure| JudgedRule {
            measure,
            measured: requirements.is_measured(measure),
            passed: requirements.failure(measure).is_none(),
        })
        .collect();
    let report = serde_json::json!({
        "turns": measures.turns,
        "labelled": measures.labelled,
        "rules": rules,
        "packs": measures.packs,
    });
    Ok(outln!("{}", serde_json::to_string_pretty(&report)?)?)
}

/// JUnit: a suite for each pack, a case for each measured rule.
fn junit(measures: &RuleMeasures, requirements: Requirements) -> std::io::Result<()> {
    let cases: Vec<ExampleResult> = measures
        .rules
        .iter()
        .filter(|rule| requirements.is_measured(rule))
        .map(|rule| {
            let [precision, range] = share(rule.counts.precision);
            let name = format!("precision {precision} [{range}] of {} hits", rule.counts.hits());
            ExampleResult::of_rule(&rule.pack, &rule.rule, name, requirements.failure(rule))
        })
        .collect();
    out!("{}", guerdon_rules::junit(&cases))
}

//! Progress of a run: one line per update, and curves.

use std::collections::BTreeMap;

use super::rollouts::SampledReply;
use crate::curves::{Curve, Panel};
use crate::metrics::MetricsRow;
use crate::score::ReplyScore;

/// A figure of a score.
type ScoreFigure = fn(&ReplyScore) -> Option<f64>;

/// Adds the scores of some replies as figures named `set/...`.
pub(super) fn add_scores(
    row: &mut MetricsRow,
    set: &str,
    sampled: &[SampledReply],
    scores: &[ReplyScore],
) {
    let parts: [(&str, ScoreFigure); 4] = [
        ("reward", |score| score.reward),
        ("rm", |score| score.rm),
        ("judge", |score| score.judge),
        ("rules", |score| score.rules),
    ];
    for (name, of) in parts {
        row.mean(format!("{set}/{name}"), scores.iter().filter_map(of));
    }
    let ruled = || scores.iter().filter(|score| score.rules.is_some());
    row.mean(
        format!("{set}/rule_failures"),
        ruled().map(|score| f64::from(u8::from(score.failed))),
    );
    row.mean(format!("{set}/tokens"), sampled.iter().map(|sample| sample.reply.ids.len() as f64));
    row.mean(
        format!("{set}/ended"),
        sampled.iter().map(|sample| f64::from(u8::from(sample.reply.ended))),
    );
    let mut hits: BTreeMap<&str, f64> = BTreeMap::new();
    for hit in scores.iter().flat_map(|score| &score.hits) {
        *hits.entry(hit).or_default() += 1.0 / scores.len() as f64;
    }
    for (rule, share) in hits {
        row.set(format!("{set}/hits/{rule}"), share);
    }
}

/// One line of progress.
pub(super) fn line(row: &MetricsRow) -> String {
    let of = |set: &str| -> String {
        let number = |name: &str| row.get(&format!("{set}/{name}"));
        let mut text = String::new();
        for (name, digits) in [("reward", 3), ("rm", 3), ("judge", 1), ("rules", 1)] {
            if let Some(x) = number(name) {
                text.push_str(&format!(" {name} {x:+.digits$}"));
            }
        }
        for (name, word) in [("rule_failures", "failing"), ("not_fluent", "not fluent")] {
            if let Some(x) = number(name) {
                text.push_str(&format!(" {word} {:.0}%", 100.0 * x));
            }
        }
        text
    };
    let mut line = format!("update {:>4} |{}", row.update, of("sampled"));
    if let Some(kl) = row.get("kl/row_mean") {
        line.push_str(&format!(" kl {kl:.2}"));
    }
    if row.get("held_out/reward").is_some() {
        line.push_str(&format!(" | held out{}", of("held_out")));
    }
    line
}

/// The curves of a run.
#[must_use]
pub fn panels(rows: &[MetricsRow]) -> Vec<Panel> {
    let line = |figure: &str, name: &str| Curve {
        name: name.to_owned(),
        points: rows.iter().filter_map(|row| Some((row.update as f64, row.get(figure)?))).collect(),
        band: Vec::new(),
    };
    let both = |title: &str, figure: &str| Panel {
        title: title.to_owned(),
        lines: vec![
            line(&format!("sampled/{figure}"), "sampled"),
            line(&format!("held_out/{figure}"), "held out"),
        ],
    };
    let one = |title: &str, figure: &str| Panel {
        title: title.to_owned(),
        lines: vec![line(figure, "")],
    };
    vec![
        both("fused reward", "reward"),
        both("reward model", "rm"),
        both("judge, points", "judge"),
        both("rules, points", "rules"),
        both("share of replies with a rule failure", "rule_failures"),
        both("perplexity under imitation, nats per token", "nats_per_token"),
        both("share of replies that are not fluent", "not_fluent"),
        one("KL to the imitation policy, nats per token", "kl/token_mean"),
        both("tokens per reply", "tokens"),
        one("critic: explained variance", "value/explained_variance"),
        one("loss", "loss"),
        one("clip fraction", "policy/clip_fraction"),
    ]
}

//! `guerdon rules try`: each scored turn with its hits, the matched words in colour.

use std::process::ExitCode;

use crate::output::outln;
use guerdon_rules::RulePacks;
use guerdon_types::{Rollout, RuleHit};

const RED: &str = "\u{1b}[1;31m";
const DIM: &str = "\u{1b}[2m";
const PLAIN: &str = "\u{1b}[0m";

pub(super) fn print(
    packs: &RulePacks,
    rollouts: &[Rollout],
    json: bool,
    color: bool,
) -> anyhow::Result<ExitCode> {
    for (index, rollout) in rollouts.iter().enumerate() {
        let turns = rollout.turns_to_score().map_err(|error| anyhow::anyhow!(error.detail))?;
        for (turn, evaluation) in turns.iter().zip(packs.evaluate_turns(rollout, &turns)) {
            let part = &evaluation.part;
            if json {
                outln!("{}", serde_json::to_string_pretty(part)?)?;
                continue;
            }
            let content =
                rollout.messages.get(*turn).map(|m| m.content.as_str()).unwrap_or_default();
            let name = rollout.id.as_ref().map_or_else(|| index.to_string(), ToString::to_string);
            outln!("{name} turn {turn}: {} points", part.points)?;
            let hits = part.hits.iter().chain(&part.shadow);
            let spans: Vec<[usize; 2]> = hits.flat_map(|hit| hit.spans.iter().copied()).collect();
            outln!("  {}", marked(content, &spans, color))?;
            for (hits, note) in [(&part.hits, ""), (&part.shadow, " (shadow)")] {
                for hit in hits {
                    outln!("{}", described(hit, content, note))?;
                }
            }
            let (dim, plain) = if color { (DIM, PLAIN) } else { ("", "") };
            for of in &part.suppressed {
                let why = format!("{} by `{}`", of.suppressed_by, of.cue.escape_debug());
                outln!("  {dim}-     {}/{}: {why}{plain}", of.pack, of.rule)?;
            }
            for rule in &part.abstained {
                outln!("  {dim}?     {}/{}: {}{plain}", rule.pack, rule.rule, rule.detail)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn described(hit: &RuleHit, content: &str, note: &str) -> String {
    let words = |span: &[usize; 2]| -> String {
        let words: String = content.chars().skip(span[0]).take(span[1] - span[0]).collect();
        format!("{}..{} `{}`", span[0], span[1], words.escape_debug())
    };
    let mut places: Vec<String> = hit.spans.iter().take(4).map(words).collect();
    if hit.spans.len() > 4 {
        places.push(format!("and {} more", hit.spans.len() - 4));
    }
    let detail = hit.detail.as_ref().map(|detail| format!(" [{detail}]")).unwrap_or_default();
    let veto = if hit.veto { " veto" } else { "" };
    format!(
        "  {:<5} {}/{}{veto}{note} {}{detail}",
        hit.points.to_string(),
        hit.pack,
        hit.rule,
        places.join(", ")
    )
}

/// The text with its hits in colour, or between brackets.
pub(super) fn marked(content: &str, spans: &[[usize; 2]], color: bool) -> String {
    let (open, close) = if color { (RED, PLAIN) } else { ("[", "]") };
    let mut out = String::new();
    let mut inside = false;
    for (index, c) in content.chars().enumerate() {
        let hit = spans.iter().any(|[start, end]| (*start..*end).contains(&index));
        if hit != inside {
            out.push_str(if hit { open } else { close });
            inside = hit;
        }
        match c {
            '\n' => out.push_str("\n  "),
            // Escapes control characters: a reply must not control the terminal.
            c if c.is_control() => out.extend(c.escape_debug()),
            c => out.push(c),
        }
    }
    if inside {
        out.push_str(close);
    }
    out
}

//! Formats a pack: one order for the keys of rules, one empty line between rules, no spaces at the
//! ends of lines. Comments stay at their places. A pack whose
//! meaning formatting would change is refused.

use std::collections::BTreeSet;

use guerdon_text::Finding;

use crate::syntax::codes::PackCode;
use crate::syntax::parse::RULE_KEYS;
use crate::syntax::yaml::{self, WithSpan, Yaml};
use crate::{Report, SourceText};

/// Returns the formatted text of `pack`, with the line breaks that it has.
///
/// # Errors
/// Returns a [`Report`] if the text is not YAML, or cannot be formatted without a change of its
/// meaning.
pub fn format(pack: &SourceText) -> Result<String, Report> {
    let tidy = read(&pack.text).and_then(|before| {
        let tidy = tidied(&pack.text, &before);
        let after = read(&tidy).ok();
        if after.is_some_and(|after| sorted(&after) == sorted(&before)) {
            return Ok(tidy);
        }
        let message = "the file cannot be formatted without a change of its meaning";
        let finding = Finding::new(PackCode::Syntax, 0..0, message);
        Err(finding
            .help("write texts over several lines with `|-`, without empty lines at the end"))
    });
    tidy.map_err(|finding| {
        let mut report = Report::default();
        report.add(pack, finding);
        report
    })
}

fn tidied(text: &str, tree: &WithSpan<Yaml>) -> String {
    let starts: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    let mut verbatim = BTreeSet::new();
    text_lines(text, &starts, tree, &mut verbatim);
    let lines: Vec<&str> = text
        .lines()
        .enumerate()
        .map(|(index, line)| if verbatim.contains(&index) { line } else { line.trim_end() })
        .collect();
    let mut out: Vec<&str> = Vec::new();
    let mut next = 0;
    let rules = match &tree.value {
        Yaml::Map(entries) => {
            entries.iter().find(|(key, _)| key.value == "rules").map(|(_, rules)| rules)
        }
        _ => None,
    };
    if let Some(WithSpan { value: Yaml::List(rules), .. }) = rules {
        let firsts: Vec<usize> =
            rules.iter().map(|rule| line_of(&starts, rule.span.start)).collect();
        for (index, (rule, start)) in rules.iter().zip(&firsts).enumerate() {
            // Comments directly above a rule belong to it.
            let own = comments_above(&lines, *start);
            out.extend(lines.get(next..own).unwrap_or_default());
            let end =
                firsts.get(index + 1).map_or(lines.len(), |after| comments_above(&lines, *after));
            trim_blank(&mut out);
            if index > 0 {
                out.push("");
            }
            out.extend(lines.get(own..*start).unwrap_or_default());
            out.extend(in_order(&starts, rule, lines.get(*start..end).unwrap_or_default(), *start));
            next = end;
        }
    }
    out.extend(lines.get(next..).unwrap_or_default());
    trim_blank(&mut out);
    let line_break = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut tidy = out.join(line_break);
    tidy.push_str(line_break);
    tidy
}

/// Collects the lines of texts over several lines, in which spaces at the end have a meaning.
fn text_lines(text: &str, starts: &[usize], tree: &WithSpan<Yaml>, lines: &mut BTreeSet<usize>) {
    match &tree.value {
        Yaml::List(items) => items.iter().for_each(|item| text_lines(text, starts, item, lines)),
        Yaml::Map(entries) => {
            entries.iter().for_each(|(_, value)| text_lines(text, starts, value, lines))
        }
        Yaml::Text(value) => {
            // The span of a block text ends where the next key begins.
            let written = text.get(tree.span.clone()).unwrap_or_default().trim_end();
            let first = line_of(starts, tree.span.start);
            let last = line_of(starts, tree.span.start + written.len());
            let is_block =
                !written.starts_with(['\'', '"']) && value.ends_with(char::is_whitespace);
            if last > first || is_block {
                lines.extend(first..=last);
            }
        }
        _ => {}
    }
}

fn trim_blank(lines: &mut Vec<&str>) {
    while lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
}

/// The line of a byte, from 0. `starts` are the starts of all lines but the first.
fn line_of(starts: &[usize], byte: usize) -> usize {
    starts.partition_point(|start| *start <= byte)
}

fn comments_above(lines: &[&str], mut line: usize) -> usize {
    while line > 0 && lines.get(line - 1).is_some_and(|above| above.trim_start().starts_with('#')) {
        line -= 1;
    }
    line
}

/// Sorts the lines of a rule by key in the order of the schema. Returns them unchanged if a key
/// does not start a line.
fn in_order<'t>(
    starts: &[usize],
    rule: &WithSpan<Yaml>,
    lines: &[&'t str],
    first: usize,
) -> Vec<&'t str> {
    let Yaml::Map(entries) = &rule.value else { return lines.to_vec() };
    let mut keys: Vec<(usize, usize)> = Vec::new();
    for (key, _) in entries {
        let line = line_of(starts, key.span.start).saturating_sub(first);
        let begins = lines
            .get(line)
            .is_some_and(|l| l.trim_start_matches(['-', ' ']).starts_with(&key.value));
        let rank = RULE_KEYS.iter().position(|known| *known == key.value);
        match rank {
            Some(rank) if begins && keys.last().is_none_or(|(_, last)| *last < line) => {
                keys.push((rank, line))
            }
            _ => return lines.to_vec(),
        }
    }
    // `- id:` must come first: moving the first key would move the dash.
    if keys.first().is_none_or(|(rank, line)| *rank != 0 || *line != 0) {
        return lines.to_vec();
    }
    let mut blocks: Vec<(usize, &[&'t str])> = Vec::new();
    for (index, (rank, line)) in keys.iter().enumerate() {
        let above = |line: usize| if line == 0 { 0 } else { comments_above(lines, line) };
        let end = keys.get(index + 1).map_or(lines.len(), |(_, after)| above(*after));
        blocks.push((*rank, lines.get(above(*line)..end).unwrap_or_default()));
    }
    blocks.sort_by_key(|(rank, _)| *rank);
    let mut out: Vec<&str> =
        blocks.into_iter().flat_map(|(_, block)| block.iter().copied()).collect();
    trim_blank(&mut out);
    out
}

/// The content of a tree, without source positions and the order of keys.
fn sorted(tree: &WithSpan<Yaml>) -> serde_json::Value {
    match &tree.value {
        Yaml::Null => serde_json::Value::Null,
        Yaml::Bool(value) => (*value).into(),
        Yaml::Number(value) => (*value).into(),
        Yaml::Text(text) => text.as_str().into(),
        Yaml::List(items) => items.iter().map(sorted).collect(),
        Yaml::Map(entries) => {
            let mut entries: Vec<(&String, serde_json::Value)> =
                entries.iter().map(|(key, value)| (&key.value, sorted(value))).collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            entries.into_iter().map(|(key, value)| serde_json::json!([key, value])).collect()
        }
    }
}

/// Reads a text that has no finding.
fn read(text: &str) -> Result<WithSpan<Yaml>, Finding> {
    let (tree, mut findings) = yaml::read(text);
    match (tree, findings.pop()) {
        (Some(tree), None) => Ok(tree),
        (_, finding) => {
            Err(finding.unwrap_or_else(|| Finding::new(PackCode::Syntax, 0..0, "not valid YAML")))
        }
    }
}

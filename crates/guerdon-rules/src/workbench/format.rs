//! Formats a pack: one order for the keys of rules, one empty line between rules, no spaces at the
//! ends of lines. Comments stay at their places. If formatting would change the meaning of a pack,
//! the pack stays as it is.

use crate::syntax::parse::RULE_KEYS;
use crate::syntax::yaml::{self, WithSpan, Yaml};
use crate::{Report, SourceText};

/// Returns the formatted text of `pack`.
///
/// # Errors
/// Returns a [`Report`] if the text is not YAML.
pub fn format(pack: &SourceText) -> Result<String, Report> {
    let fail = |finding| {
        let mut report = Report::default();
        report.add(pack, finding);
        report
    };
    let before = yaml::read(&pack.text).map_err(fail)?;
    let tidy = tidied(&pack.text, &before);
    let same = yaml::read(&tidy).is_ok_and(|after| sorted(&after) == sorted(&before));
    Ok(if same { tidy } else { pack.text.clone() })
}

fn tidied(text: &str, tree: &WithSpan<Yaml>) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let mut out: Vec<&str> = Vec::new();
    let mut next = 0;
    let rules = match &tree.value {
        Yaml::Map(entries) => {
            entries.iter().find(|(key, _)| key.value == "rules").map(|(_, rules)| rules)
        }
        _ => None,
    };
    if let Some(WithSpan { value: Yaml::List(rules), .. }) = rules {
        let starts: Vec<usize> = rules.iter().map(|rule| line_of(text, rule.span.start)).collect();
        for (index, (rule, start)) in rules.iter().zip(&starts).enumerate() {
            // Comments directly above a rule belong to it.
            let own = comments_above(&lines, *start);
            out.extend(lines.get(next..own).unwrap_or_default());
            let end =
                starts.get(index + 1).map_or(lines.len(), |after| comments_above(&lines, *after));
            trim_blank(&mut out);
            if index > 0 {
                out.push("");
            }
            out.extend(lines.get(own..*start).unwrap_or_default());
            out.extend(in_order(text, rule, lines.get(*start..end).unwrap_or_default(), *start));
            next = end;
        }
    }
    out.extend(lines.get(next..).unwrap_or_default());
    trim_blank(&mut out);
    let mut tidy = out.join("\n");
    tidy.push('\n');
    tidy
}

fn trim_blank(lines: &mut Vec<&str>) {
    while lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
}

fn line_of(text: &str, byte: usize) -> usize {
    text.get(..byte).unwrap_or_default().matches('\n').count()
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
    text: &str,
    rule: &WithSpan<Yaml>,
    lines: &[&'t str],
    first: usize,
) -> Vec<&'t str> {
    let Yaml::Map(entries) = &rule.value else { return lines.to_vec() };
    let mut starts: Vec<(usize, usize)> = Vec::new();
    for (key, _) in entries {
        let line = line_of(text, key.span.start).saturating_sub(first);
        let begins = lines
            .get(line)
            .is_some_and(|l| l.trim_start_matches(['-', ' ']).starts_with(&key.value));
        let rank = RULE_KEYS.iter().position(|known| *known == key.value);
        match rank {
            Some(rank) if begins && starts.last().is_none_or(|(_, last)| *last < line) => {
                starts.push((rank, line))
            }
            _ => return lines.to_vec(),
        }
    }
    // `- id:` must come first: moving the first key would move the dash.
    if starts.first().is_none_or(|(rank, line)| *rank != 0 || *line != 0) {
        return lines.to_vec();
    }
    let mut blocks: Vec<(usize, &[&'t str])> = Vec::new();
    for (index, (rank, line)) in starts.iter().enumerate() {
        let above = |line: usize| if line == 0 { 0 } else { comments_above(lines, line) };
        let end = starts.get(index + 1).map_or(lines.len(), |(_, after)| above(*after));
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

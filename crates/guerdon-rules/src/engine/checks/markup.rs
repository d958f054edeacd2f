//! Checks of markup: unmatched tags, code fences and brackets, and text that is not JSON.

use std::collections::HashMap;
use std::ops::Range;

use super::CheckHit;
use crate::text::steps;

/// The HTML elements without an end tag.
const VOID: [&str; 8] = ["br", "hr", "img", "input", "meta", "link", "wbr", "source"];

/// Finds tags and fences in `text` without a counterpart.
pub(crate) fn unclosed(text: &str) -> Option<CheckHit> {
    let mut wrong: Vec<(Range<usize>, String)> = Vec::new();
    let mut open: Vec<(&str, Range<usize>)> = Vec::new();
    // The number of open tags of each name. A tag that closes nothing must not search through all
    // open ones.
    let mut open_by_name: HashMap<&str, usize> = HashMap::new();
    let mut from = 0;
    while let Some(tag) = next_tag(text, from) {
        from = tag.bytes.end;
        if tag.is_empty || VOID.contains(&tag.name) {
            continue;
        }
        if !tag.is_end {
            *open_by_name.entry(tag.name).or_default() += 1;
            open.push((tag.name, tag.bytes));
        } else if open_by_name.get(tag.name).is_some_and(|count| *count > 0) {
            // Close the last tag of this name and all tags opened after it.
            let mut unclosed = Vec::new();
            while let Some((name, bytes)) = open.pop() {
                steps::add(1);
                if let Some(count) = open_by_name.get_mut(name) {
                    *count -= 1;
                }
                if name == tag.name {
                    break;
                }
                unclosed.push((bytes, format!("<{name}> is not closed")));
            }
            wrong.extend(unclosed.into_iter().rev());
        } else {
            wrong.push((tag.bytes, format!("</{}> closes nothing", tag.name)));
        }
    }
    wrong.extend(open.into_iter().map(|(name, bytes)| (bytes, format!("<{name}> is not closed"))));
    let fences: Vec<usize> = text.match_indices("```").map(|(at, _)| at).collect();
    if let (1, Some(last)) = (fences.len() % 2, fences.last()) {
        wrong.push((*last..last + 3, "``` is not closed".to_owned()));
    }
    wrong.sort_by_key(|(bytes, _)| bytes.start);
    let reasons: Vec<&str> = wrong.iter().take(3).map(|(_, why)| why.as_str()).collect();
    let detail = reasons.join("; ");
    (!wrong.is_empty())
        .then(|| CheckHit { spans: wrong.into_iter().map(|(bytes, _)| bytes).collect(), detail })
}

struct Tag<'t> {
    name: &'t str,
    bytes: Range<usize>,
    is_end: bool,
    is_empty: bool,
}

/// The first tag from byte `from` on. A single `<`, as in `价格 < 420`, is not a tag.
fn next_tag(text: &str, mut from: usize) -> Option<Tag<'_>> {
    loop {
        let start = from + text.get(from..)?.find('<')?;
        from = start + 1;
        let inner = text.get(from..)?;
        let is_end = inner.starts_with('/');
        let inner = inner.strip_prefix('/').unwrap_or(inner);
        let length = inner
            .bytes()
            .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
            .count();
        let name = inner.get(..length)?;
        let after = inner.get(length..)?;
        // Attributes are short and contain no bracket.
        let Some(close) =
            after.find(['<', '>', '\n']).filter(|at| after.as_bytes().get(*at) == Some(&b'>'))
        else {
            continue;
        };
        let starts_well = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
        let attributes = after.get(..close)?;
        if !starts_well || !(attributes.is_empty() || attributes.starts_with([' ', '/'])) {
            continue;
        }
        let end = start + 1 + usize::from(is_end) + length + close + 1;
        return Some(Tag { name, bytes: start..end, is_end, is_empty: attributes.ends_with('/') });
    }
}

/// Returns a hit if `text` is not a JSON document.
pub(crate) fn no_json(text: &str) -> Option<CheckHit> {
    let error = serde_json::from_str::<serde::de::IgnoredAny>(text).err()?;
    let line = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum::<usize>();
    let mut at = (line + error.column().saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let end = text.get(at..).and_then(|rest| rest.chars().next()).map_or(at, |c| at + c.len_utf8());
    let message = error.to_string();
    let why = message.split(" at line ").next().unwrap_or(&message);
    let place = at..end;
    Some(CheckHit { spans: vec![place], detail: format!("not JSON: {why}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unclosed_tags_are_found_and_comparisons_are_not() {
        let why = |text: &str| unclosed(text).map(|found| found.detail);
        assert_eq!(why("<b>好的</b><br>").as_deref(), None);
        assert_eq!(why("<think>好的").as_deref(), Some("<think> is not closed"));
        assert_eq!(why("好的</b>").as_deref(), Some("</b> closes nothing"));
        assert_eq!(why("<a><b></a>").as_deref(), Some("<b> is not closed"));
        assert_eq!(why("```json\n{}").as_deref(), Some("``` is not closed"));
        assert_eq!(why("价格 < 420 且 > 300，<3").as_deref(), None);
        assert_eq!(unclosed("好<b>").unwrap().spans, vec!["好".len().."好<b>".len()]);
    }

    #[test]
    fn json_is_checked_as_a_whole() {
        assert!(no_json("{\"a\": [1, 2]}").is_none());
        let found = no_json("{\"价\": 1,}").unwrap();
        assert!(found.detail.starts_with("not JSON: "), "{}", found.detail);
        assert!(no_json("").is_some());
    }
}

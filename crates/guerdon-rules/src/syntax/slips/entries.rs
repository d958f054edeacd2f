//! Lines that begin a key or an item.

/// The number of spaces at the start of a line.
pub(super) fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// The key at the start of a line, as written, if the line is a key with a colon.
pub(super) fn key_of(line: &str) -> Option<&str> {
    let quote = line.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let end = match quote {
        Some(quote) => {
            let close = line.get(1..)?.find(quote)? + 2;
            let after = line.get(close..)?.trim_start();
            after.starts_with(':').then_some(close)?
        }
        None => {
            if line.starts_with(['[', '{', '#', '&', '*', '!', '|', '>', '@', '`', '%']) {
                return None;
            }
            let colon = line.match_indices(':').map(|(at, _)| at).find(|at| {
                line.get(at + 1..)
                    .is_none_or(|rest| rest.is_empty() || rest.starts_with([' ', '\r', '\t']))
            })?;
            let comment = line.find(" #").unwrap_or(line.len());
            (colon < comment).then_some(colon)?
        }
    };
    let key = line.get(..end)?;
    // `match:{any_of: x}` and `-id: x` are slips, and `a, b: c` is a text.
    let is_name = quote.is_some() || key.chars().all(|c| c.is_alphanumeric() || "_.-<".contains(c));
    (is_name && (quote.is_some() || !key.starts_with('-'))).then_some(key)
}

/// Returns true for the start of a line that is a key or an item.
pub(super) fn looks_like_entry(content: &str) -> bool {
    content.starts_with("- ") || key_of(content).is_some()
}

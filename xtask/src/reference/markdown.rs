//! Pieces of Markdown pages.

/// The first line of a generated page.
pub(super) const GENERATED: &str =
    "<!-- Written by `cargo xtask generate`. Edit the sources instead. -->\n\n";

/// A word that a key accepts.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) name: String,
    pub(super) about: String,
}

/// A text as paragraphs, with an empty line after them; nothing for an empty text.
pub(super) fn paragraph(text: &str) -> String {
    let lines: Vec<String> = text.trim().lines().map(wrapped).collect();
    if lines.is_empty() { String::new() } else { format!("{}\n\n", lines.join("\n")) }
}

/// A line as lines of at most 100 characters. Lists and code are not broken.
fn wrapped(line: &str) -> String {
    if line.chars().count() <= 100 || line.starts_with([' ', '-', '|', '>']) {
        return line.to_owned();
    }
    let mut rows = vec![String::new()];
    for word in line.split(' ') {
        match rows.last_mut() {
            Some(row) if row.is_empty() => row.push_str(word),
            Some(row) if row.chars().count() + word.chars().count() < 100 => {
                row.push(' ');
                row.push_str(word);
            }
            _ => rows.push(word.to_owned()),
        }
    }
    rows.join("\n")
}

/// A list of words with their meaning; nothing for an empty list.
pub(super) fn choices(words: &[Choice]) -> String {
    let line = |word: &Choice| {
        let about = one_line(&word.about);
        let separator = if about.is_empty() { "" } else { ": " };
        format!("- `\"{}\"`{separator}{about}\n", word.name)
    };
    let list: String = words.iter().map(line).collect();
    if list.is_empty() { list } else { format!("{list}\n") }
}

/// A text for a cell of a table.
pub(super) fn cell(text: &str) -> String {
    one_line(text).replace('|', "\\|")
}

/// A text in one line.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_one_line_and_no_bare_bars() {
        assert_eq!(cell("a |\n  b"), "a \\| b");
        assert_eq!(choices(&[]), "");
        assert_eq!(paragraph(""), "");
        let long = paragraph(&"word ".repeat(50));
        assert!(long.lines().count() == 4 && long.lines().all(|line| line.len() <= 100), "{long}");
    }
}

//! Doc comments: blocks of consecutive lines, and the blocks that open with a clause instead of a noun or a verb.

use proc_macro2::{Delimiter, Literal, TokenStream, TokenTree};

/// First words that make a doc comment open with a clause ("Which rules ...").
const CLAUSE_WORDS: [&str; 14] = [
    "What",
    "Who",
    "Whoever",
    "Whose",
    "Whom",
    "Whether",
    "Which",
    "How",
    "When",
    "Where",
    "Why",
    "Those",
    "Nobody",
    "Everybody",
];

/// Consecutive doc comment lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DocBlock {
    /// Line of the first comment, counted from 1.
    pub(super) line: usize,
    /// First line that holds text.
    pub(super) opening: String,
}

impl DocBlock {
    /// True if the block opens with a clause such as "What the reply holds" or "So many tokens as".
    pub(super) fn opens_with_clause(&self) -> bool {
        let word = self.opening.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        CLAUSE_WORDS.contains(&word) || self.opening.starts_with("So many")
    }
}

/// The doc comments among `tokens`, macro bodies included.
pub(super) fn doc_blocks(tokens: TokenStream) -> Vec<DocBlock> {
    let mut lines = Vec::new();
    doc_lines(tokens, &mut lines);
    let mut blocks: Vec<DocBlock> = Vec::new();
    let mut last = None;
    for (first, end, text) in lines {
        let text = text.trim().to_owned();
        match blocks.last_mut() {
            Some(block) if last == Some(first - 1) => {
                if block.opening.is_empty() {
                    block.opening = text;
                }
            }
            _ => blocks.push(DocBlock { line: first, opening: text }),
        }
        last = Some(end);
    }
    blocks
}

/// First line, last line and text of every doc attribute.
fn doc_lines(tokens: TokenStream, lines: &mut Vec<(usize, usize, String)>) {
    for token in tokens {
        let TokenTree::Group(group) = token else { continue };
        match doc_text(&group.stream(), group.delimiter()) {
            Some(literal) => {
                let (first, last) = (group.span().start().line, group.span().end().line);
                lines.push((first, last, string_value(&literal)));
            }
            None => doc_lines(group.stream(), lines),
        }
    }
}

/// The literal of `[doc = "..."]`.
fn doc_text(tokens: &TokenStream, delimiter: Delimiter) -> Option<Literal> {
    if delimiter != Delimiter::Bracket {
        return None;
    }
    let mut tokens = tokens.clone().into_iter();
    match (tokens.next()?, tokens.next()?, tokens.next()?, tokens.next()) {
        (TokenTree::Ident(name), TokenTree::Punct(equals), TokenTree::Literal(text), None)
            if name == "doc" && equals.as_char() == '=' =>
        {
            Some(text)
        }
        _ => None,
    }
}

fn string_value(literal: &Literal) -> String {
    match syn::Lit::new(literal.clone()) {
        syn::Lit::Str(text) => text.value(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(text: &str) -> Vec<DocBlock> {
        doc_blocks(text.parse().unwrap())
    }

    #[test]
    fn consecutive_lines_are_one_block() {
        let found = blocks(
            "//! A file.\n//! More.\n\n/// A type.\nstruct A {\n    /// A field.\n    b: u8,\n}\n",
        );
        let lines: Vec<_> =
            found.iter().map(|block| (block.line, block.opening.as_str())).collect();
        assert_eq!(lines, [(1, "A file."), (4, "A type."), (6, "A field.")]);
    }

    #[test]
    fn macro_bodies_count_and_plain_comments_and_strings_do_not() {
        let found = blocks(
            "m! {\n    /// Inside.\n    fn f() {}\n}\n// plain\nconst A: &str = \"/// text\";\n",
        );
        assert_eq!(found, [DocBlock { line: 2, opening: "Inside.".to_owned() }]);
    }

    #[test]
    fn clauses_are_recognised_by_their_first_word() {
        let opens = |text: &str| DocBlock { line: 1, opening: text.to_owned() }.opens_with_clause();
        assert!(
            opens("Which rules a text can hit")
                && opens("So many tokens as")
                && opens("What's left")
        );
        assert!(!opens("Whichever is smaller") && !opens("Selects the rules") && !opens("`Whose`"));
    }
}

//! Keys and items, and the place of a cursor among them.

use std::ops::Range;

/// The greatest depth of nesting that is read. Deeper braces are read as if they were this deep.
pub(super) const MAX_DEPTH: usize = 64;

/// The kind of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeKind {
    /// A key of a mapping.
    Key(String),
    /// An item of a list.
    Item,
}

/// A key or an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutlineNode {
    pub(crate) kind: NodeKind,
    pub(crate) parent: Option<usize>,
    /// The key, or the dash of an item; in brackets the start of the item.
    pub(crate) head: Range<usize>,
    /// The text of its value, with quotes, if it is not a list or a mapping.
    pub(crate) scalar: Option<Range<usize>>,
}

/// The place of a cursor in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CursorPlace {
    /// The node whose value is at the cursor; `None` at the top of the file.
    pub(crate) parent: Option<usize>,
    /// Set if a key of a mapping can stand here.
    pub(crate) key: bool,
    /// Set if a value of `parent` can stand here; an item if `item` is set.
    pub(crate) value: bool,
    /// Set if the value is a new item of the list of `parent`.
    pub(crate) item: bool,
    /// The start of what is written before the cursor.
    pub(crate) start: usize,
    /// The quote in which the cursor is.
    pub(crate) quote: Option<char>,
}

/// The text of a scalar as written in `written`, without quotes and escapes.
pub(crate) fn unquoted(written: &str) -> String {
    if let Some(inner) = written.strip_prefix('\'') {
        return inner.strip_suffix('\'').unwrap_or(inner).replace("''", "'");
    }
    if let Some(inner) = written.strip_prefix('"') {
        let inner = inner.strip_suffix('"').unwrap_or(inner);
        let quoted = format!("\"{inner}\"");
        return serde_json::from_str(&quoted).unwrap_or_else(|_| inner.to_owned());
    }
    written.to_owned()
}

//! The keys and items of a pack with their places, read also from a text that is not valid YAML,
//! as a text is most of the time while it is typed.
//!
//! The loader reads valid packs. This outline serves only to find the place of the cursor and the
//! names that a file declares.
//!
//! | File | Contents |
//! |---|---|
//! | `node.rs` | Keys and items, and the place of a cursor |
//! | `block.rs` | Reading by indentation, line by line |
//! | `flow.rs` | Reading within braces and brackets |

mod block;
mod flow;
mod node;

use self::block::BlockReader;
pub(crate) use self::node::{CursorPlace, NodeKind, OutlineNode, unquoted};

/// The outline of a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    nodes: Vec<OutlineNode>,
    /// The children of each node, and last those of the file.
    children: Vec<Vec<usize>>,
}

/// A step from a node to a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathStep<'o> {
    Key(&'o str),
    Item,
}

impl Outline {
    /// Reads a text.
    pub(crate) fn read(text: &str) -> Self {
        let mut reader = BlockReader::new(text);
        reader.read();
        let nodes = reader.nodes;
        let mut children = vec![Vec::new(); nodes.len() + 1];
        let root = nodes.len();
        for (index, node) in nodes.iter().enumerate() {
            if let Some(list) = children.get_mut(node.parent.unwrap_or(root)) {
                list.push(index);
            }
        }
        Self { nodes, children }
    }

    /// The place at the end of `before`, the text before the cursor. Its nodes have the same index
    /// in the outline of the whole text.
    pub(crate) fn cursor(before: &str) -> Option<CursorPlace> {
        let mut reader = BlockReader::new(before);
        reader.read();
        reader.place()
    }

    pub(crate) fn node(&self, index: usize) -> Option<&OutlineNode> {
        self.nodes.get(index)
    }

    /// The children of a node, or of the file.
    pub(crate) fn children(
        &self,
        parent: Option<usize>,
    ) -> impl Iterator<Item = (usize, &OutlineNode)> {
        let list = self.children.get(parent.unwrap_or(self.nodes.len()));
        let indices = list.map_or(&[][..], Vec::as_slice).iter();
        indices.filter_map(|index| Some((*index, self.nodes.get(*index)?)))
    }

    /// The child with a key.
    pub(crate) fn child(&self, parent: Option<usize>, key: &str) -> Option<usize> {
        self.children(parent)
            .find(|(_, node)| matches!(&node.kind, NodeKind::Key(name) if name == key))
            .map(|(index, _)| index)
    }

    /// The steps from the file to a node.
    pub(crate) fn path(&self, node: Option<usize>) -> Vec<PathStep<'_>> {
        let mut path = Vec::new();
        let mut at = node;
        while let Some(node) = at.and_then(|index| self.nodes.get(index)) {
            path.push(match &node.kind {
                NodeKind::Key(name) => PathStep::Key(name),
                NodeKind::Item => PathStep::Item,
            });
            at = node.parent;
        }
        path.reverse();
        path
    }

    /// The nodes from `node` up to the file.
    pub(crate) fn ancestors(&self, node: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(node), |index| self.nodes.get(*index)?.parent)
    }

    /// The last node that begins at or before a byte, and whether the byte is in its head or in its
    /// value.
    pub(crate) fn at(&self, byte: usize) -> Option<(usize, &OutlineNode)> {
        let end = self.nodes.partition_point(|node| node.head.start <= byte);
        // An item in brackets begins where its value does, so the last node is the innermost.
        let index = end.checked_sub(1)?;
        self.nodes.get(index).map(|node| (index, node))
    }
}

#[cfg(test)]
mod tests;

//! The ranges of the input. They follow from the files alone, so that all workers make the same
//! ones.

use std::ops::Range;
use std::path::PathBuf;

use anyhow::Context as _;
use bytes::Bytes;
use guerdon_parquet::{FileEnd, FileLayout, MAGIC, read_layout};
use serde::Serialize;

use super::place::{FoundFile, Place};

/// Bytes at the end of a Parquet file that are read first.
const TAIL: u64 = 64 << 10;

/// Longest description at the end of a Parquet file.
const MOST_TAIL: u64 = 256 << 20;

/// A file of the input.
#[derive(Debug)]
pub(super) struct InputObject {
    pub(super) path: PathBuf,
    /// The path below the folder that was named.
    pub(super) name: String,
    pub(super) size: u64,
    /// A hash of name, size and version. A file that is replaced has other parts.
    identity: String,
}

/// The rows of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RangeKind {
    /// Row groups of a Parquet file: their places, the rows and the bytes.
    Groups { groups: Range<usize>, rows: Range<u64>, bytes: Range<u64> },
    /// The lines that begin in these bytes.
    Lines { bytes: Range<u64> },
    /// All lines of a compressed file.
    Whole,
}

/// A range of a file.
#[derive(Debug)]
pub(super) struct InputRange {
    pub(super) file: usize,
    pub(super) kind: RangeKind,
}

/// The ranges of an input, in order.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) files: Vec<InputObject>,
    pub(super) ranges: Vec<InputRange>,
}

/// A range as the manifest lists it.
#[derive(Debug, Serialize)]
pub(super) struct ListedRange<'a> {
    pub(super) file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rows: Option<[u64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<[u64; 2]>,
}

impl Plan {
    /// The ranges of the files at `place`: whole row groups with at least `rows` rows where the file
    /// has that many, and `bytes` of lines.
    ///
    /// # Errors
    /// The files cannot be listed or read.
    pub(super) fn read(place: &Place, rows: u64, bytes: u64) -> anyhow::Result<Self> {
        let found = place.files()?.into_iter();
        let files: Vec<InputObject> = found.map(|file| InputObject::new(place, file)).collect();
        let mut ranges = Vec::new();
        for (number, file) in files.iter().enumerate() {
            let kinds = kinds(place, file, rows, bytes);
            let kinds = kinds.with_context(|| format!("cannot read {}", file.name))?;
            ranges.extend(kinds.into_iter().map(|kind| InputRange { file: number, kind }));
        }
        Ok(Self { files, ranges })
    }

    /// The name of the part of a range.
    pub(super) fn part_name(&self, place: usize) -> String {
        let Some((range, file)) = self.at(place) else { return String::new() };
        let (first, end) = match &range.kind {
            RangeKind::Groups { rows, .. } => (rows.start, rows.end),
            RangeKind::Lines { bytes } => (bytes.start, bytes.end),
            RangeKind::Whole => (0, file.size),
        };
        format!("part-{}-{first}-{end}.parquet", file.identity)
    }

    /// A range and its file.
    pub(super) fn at(&self, place: usize) -> Option<(&InputRange, &InputObject)> {
        let range = self.ranges.get(place)?;
        Some((range, self.files.get(range.file)?))
    }

    /// The range as the manifest lists it.
    pub(super) fn listed(&self, place: usize) -> Option<ListedRange<'_>> {
        let (range, file) = self.at(place)?;
        let (rows, bytes) = match &range.kind {
            RangeKind::Groups { rows, .. } => (Some([rows.start, rows.end]), None),
            RangeKind::Lines { bytes } => (None, Some([bytes.start, bytes.end])),
            RangeKind::Whole => (None, Some([0, file.size])),
        };
        Some(ListedRange { file: &file.name, rows, bytes })
    }

    /// The rows of Parquet files in these ranges, for the progress bar.
    pub(super) fn rows(&self, places: &[usize]) -> usize {
        let rows = places.iter().filter_map(|place| match &self.ranges.get(*place)?.kind {
            RangeKind::Groups { rows, .. } => usize::try_from(rows.end - rows.start).ok(),
            _ => None,
        });
        rows.sum()
    }

    /// The hash of all ranges.
    pub(super) fn hash(&self) -> String {
        let names: Vec<String> =
            (0..self.ranges.len()).map(|place| self.part_name(place)).collect();
        guerdon_text::sha256_hex(names.join("\n"))
    }
}

impl InputObject {
    fn new(place: &Place, file: FoundFile) -> Self {
        let FoundFile { path, size, version } = file;
        let name = place.below(&path);
        let whole = guerdon_text::sha256_hex(format!("{name}\n{size}\n{version}"));
        let identity = whole.get(..16).unwrap_or(&whole).to_owned();
        Self { path, name, size, identity }
    }
}

fn kinds(
    place: &Place,
    file: &InputObject,
    rows: u64,
    bytes: u64,
) -> anyhow::Result<Vec<RangeKind>> {
    if file.size == 0 {
        return Ok(Vec::new());
    }
    let head = place.range(&file.path, 0..file.size.min(8))?;
    if head.starts_with(MAGIC) {
        return Ok(group_ranges(&layout(place, file)?, rows));
    }
    if head.starts_with(b"\x1f\x8b") || head.starts_with(b"\x28\xb5\x2f\xfd") {
        return Ok(vec![RangeKind::Whole]);
    }
    Ok(line_ranges(file.size, bytes))
}

fn layout(place: &Place, file: &InputObject) -> anyhow::Result<FileLayout> {
    let mut length = TAIL.min(file.size);
    loop {
        let tail = tail(place, file, length)?;
        match read_layout(&tail, file.size)? {
            FileEnd::Layout(layout) => return Ok(layout),
            FileEnd::Needs(needed) => {
                let needed = needed as u64;
                anyhow::ensure!(
                    needed > length && needed <= MOST_TAIL.min(file.size),
                    "the description at its end has {needed} bytes"
                );
                length = needed;
            }
        }
    }
}

fn tail(place: &Place, file: &InputObject, length: u64) -> anyhow::Result<Bytes> {
    place.range(&file.path, file.size - length..file.size)
}

/// Consecutive row groups with at least `most` rows together.
fn group_ranges(layout: &FileLayout, most: u64) -> Vec<RangeKind> {
    let mut ranges = Vec::new();
    let (mut first, mut begin, mut end) = (0, 0, 0);
    let mut bytes: Option<Range<u64>> = None;
    for (place, group) in layout.groups.iter().enumerate() {
        end += group.rows;
        let own = bytes.take().unwrap_or_else(|| group.bytes.clone());
        let whole = own.start.min(group.bytes.start)..own.end.max(group.bytes.end);
        let is_last = place + 1 == layout.groups.len();
        if end - begin >= most.max(1) || (is_last && end > begin) {
            ranges.push(RangeKind::Groups {
                groups: first..place + 1,
                rows: begin..end,
                bytes: whole,
            });
            (first, begin) = (place + 1, end);
        } else {
            bytes = Some(whole);
        }
    }
    ranges
}

fn line_ranges(size: u64, bytes: u64) -> Vec<RangeKind> {
    let bytes = bytes.max(1);
    let starts = (0..size.div_ceil(bytes)).map(|place| place * bytes);
    starts.map(|start| RangeKind::Lines { bytes: start..(start + bytes).min(size) }).collect()
}

#[cfg(test)]
mod tests {
    use guerdon_parquet::RowGroup;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_row_group_with_rows_is_in_one_range(
            sizes in prop::collection::vec(0_u64..50, 0..30), most in 0_u64..120,
        ) {
            let mut at = 4;
            let groups = sizes.iter().map(|rows| {
                let bytes = at..at + rows * 3 + 1;
                at = bytes.end;
                RowGroup { rows: *rows, bytes }
            });
            let layout = FileLayout { groups: groups.collect(), ..FileLayout::default() };
            let ranges = group_ranges(&layout, most);
            let (mut next, mut row) = (0, 0);
            for range in &ranges {
                let RangeKind::Groups { groups, rows, bytes } = range else { unreachable!() };
                prop_assert_eq!((groups.start, rows.start), (next, row));
                prop_assert!(rows.end > rows.start && bytes.end > bytes.start);
                for group in &layout.groups[groups.clone()] {
                    prop_assert!(bytes.start <= group.bytes.start && group.bytes.end <= bytes.end);
                }
                (next, row) = (groups.end, rows.end);
            }
            prop_assert_eq!(row, sizes.iter().sum::<u64>());
        }

        #[test]
        fn every_byte_is_in_one_range(size in 1_u64..1000, bytes in 0_u64..300) {
            let mut at = 0;
            for range in line_ranges(size, bytes) {
                let RangeKind::Lines { bytes } = range else { unreachable!() };
                prop_assert_eq!(bytes.start, at);
                prop_assert!(bytes.end > bytes.start);
                at = bytes.end;
            }
            prop_assert_eq!(at, size);
        }
    }
}

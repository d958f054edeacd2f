//! The rows of one range, as a file of lines on the local disk.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use guerdon_parquet::{RowReader, SparseFile};

use super::place::Place;
use super::plan::{InputObject, InputRange, RangeKind};
use crate::commands::score::input::LINE_BYTES;
use crate::commands::score::rows::RowOrigin;

/// Largest range, in bytes. Its row groups are held in memory.
const MOST_BYTES: u64 = 2 << 30;

/// Bytes that are read at a time beyond the end of a range, to the end of its last line.
const AHEAD: u64 = 256 << 10;

/// Bytes at the end of a Parquet file in which its description is expected. If it is longer, the
/// error names the missing byte, and more is read.
const TAILS: [u64; 4] = [64 << 10, 1 << 20, 16 << 20, 256 << 20];

/// Writes the rows of a range to `target`. Returns the place of the first one in its file.
///
/// # Errors
/// The input cannot be read, or the disk is full.
pub(super) fn fetch(
    place: &Place,
    file: &InputObject,
    range: &InputRange,
    target: &Path,
) -> anyhow::Result<RowOrigin> {
    match &range.kind {
        RangeKind::Groups { groups, rows, bytes } => {
            write_groups(place, file, (groups.clone(), bytes.clone()), target)?;
            let first = usize::try_from(rows.start).context("the file has too many rows")?;
            Ok(RowOrigin::Rows { first })
        }
        RangeKind::Lines { bytes } => {
            let lines = lines(place, file, bytes.clone())?;
            #[expect(clippy::disallowed_methods, reason = "a file of this run alone")]
            std::fs::write(target, &lines).with_context(|| target.display().to_string())?;
            Ok(RowOrigin::Bytes { start: bytes.start })
        }
        RangeKind::Whole => {
            let mut out = File::create(target).with_context(|| target.display().to_string())?;
            let mut at = 0;
            while at < file.size {
                let end = (at + (8 << 20)).min(file.size);
                out.write_all(&place.range(&file.path, at..end)?)?;
                at = end;
            }
            Ok(RowOrigin::Bytes { start: 0 })
        }
    }
}

fn write_groups(
    place: &Place,
    file: &InputObject,
    (groups, bytes): (Range<usize>, Range<u64>),
    target: &Path,
) -> anyhow::Result<()> {
    let length = bytes.end - bytes.start;
    ensure!(
        length <= MOST_BYTES,
        "row groups {groups:?} of {} have {length} bytes, more than {MOST_BYTES}\n  help: write smaller \
         row groups",
        file.name
    );
    let content = place.range(&file.path, bytes.clone())?;
    for tail in TAILS {
        let tail = tail.min(file.size);
        let end = place.range(&file.path, file.size - tail..file.size)?;
        let pieces = vec![(bytes.start, content.clone()), (file.size - tail, end)];
        let sparse = SparseFile::new(file.size, pieces);
        let rows = match RowReader::open_groups(sparse, groups.clone()) {
            Ok(rows) => rows,
            Err(_) if tail < file.size => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.name)),
        };
        let out = File::create(target).with_context(|| target.display().to_string())?;
        let mut out = BufWriter::new(out);
        for row in rows {
            let row = row.with_context(|| format!("cannot read {}", file.name))?;
            serde_json::to_writer(&mut out, &row)?;
            out.write_all(b"\n")?;
        }
        return Ok(out.flush()?);
    }
    anyhow::bail!("cannot read {}: the description at its end is too long", file.name)
}

/// The lines that begin in `range`. The last one may end behind it.
fn lines(place: &Place, file: &InputObject, range: Range<u64>) -> anyhow::Result<Bytes> {
    // The byte before tells whether the range begins with a line.
    let from = range.start.saturating_sub(1);
    let mut content = place.range(&file.path, from..range.end)?.to_vec();
    let begin = match range.start {
        0 => 0,
        _ => match content.iter().position(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None => return Ok(Bytes::new()),
        },
    };
    if begin as u64 + from >= range.end {
        return Ok(Bytes::new());
    }
    let mut at = range.end;
    let last = content.len();
    let mut has_end = content.last() == Some(&b'\n');
    while !has_end && at < file.size {
        ensure!(
            content.len() - last <= LINE_BYTES,
            "a line of {} has more than {} MiB",
            file.name,
            LINE_BYTES >> 20
        );
        let end = (at + AHEAD).min(file.size);
        let more = place.range(&file.path, at..end)?;
        match more.iter().position(|byte| *byte == b'\n') {
            Some(line_end) => {
                content.extend_from_slice(more.get(..=line_end).unwrap_or(&more));
                has_end = true;
            }
            None => content.extend_from_slice(&more),
        }
        at = end;
    }
    Ok(Bytes::from(content).slice(begin..))
}

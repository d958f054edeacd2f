//! Row masks: the slots of a row-major `[B, T]` slice that hold the policy's tokens.
//!
//! Kernels walk the *spans* of valid tokens and never read the rest. Padding is not multiplied by
//! zero, because `NaN * 0` is NaN (OpenRLHF#1240, verl#6361). A span is a contiguous run, which
//! also suits vector instructions.

use std::iter::FusedIterator;
use std::ops::Range;

use crate::error::{OptimError, require_len};
use crate::kernel::float::Float;
use crate::kernel::instructions::InstructionSet;

/// The valid tokens of a ragged batch of `rows` rows, each padded to `width` slots.
///
/// A row may be empty. With [`RowMask::bytes`] it may also have gaps, such as the observation turns
/// of a multi-turn rollout, which the policy did not write.
#[derive(Clone, Copy, Debug)]
pub struct RowMask<'a> {
    rows: usize,
    width: usize,
    kind: MaskKind<'a>,
    dropped: Option<&'a [u8]>,
    arch: pulp::Arch,
}

#[derive(Clone, Copy, Debug)]
enum MaskKind<'a> {
    Full,
    Lens(&'a [usize]),
    Bytes(&'a [u8]),
}

impl<'a> RowMask<'a> {
    /// A batch without padding: `rows * width` valid tokens.
    pub fn full(rows: usize, width: usize) -> Self {
        Self::of(rows, width, MaskKind::Full)
    }

    /// A batch padded on the right: row `b` holds tokens in its first `lens[b]` slots.
    ///
    /// # Errors
    /// [`OptimError::RowLength`] if a length exceeds `width`.
    pub fn lens(lens: &'a [usize], width: usize) -> Result<Self, OptimError> {
        for (row, &len) in lens.iter().enumerate() {
            if len > width {
                return Err(OptimError::RowLength { row, len, width });
            }
        }
        Ok(Self::of(lens.len(), width, MaskKind::Lens(lens)))
    }

    /// A batch with any padding: slot `b * width + t` is a token if its byte is not 0.
    ///
    /// # Errors
    /// [`OptimError::Shape`] unless there are `rows * width` bytes.
    pub fn bytes(bytes: &'a [u8], rows: usize, width: usize) -> Result<Self, OptimError> {
        require_len("mask", bytes.len(), rows.saturating_mul(width))?;
        Ok(Self::of(rows, width, MaskKind::Bytes(bytes)))
    }

    /// Treats the rows whose byte (`[B]`) is not 0 as empty. For rollouts without a reward, which
    /// must not enter any mean, deviation or loss.
    ///
    /// # Errors
    /// [`OptimError::Shape`] unless there is one byte per row.
    pub fn without(self, dropped: &'a [u8]) -> Result<Self, OptimError> {
        require_len("dropped", dropped.len(), self.rows)?;
        Ok(Self { dropped: Some(dropped), ..self })
    }

    /// Limits the kernels to instructions no wider than `set`. For tests and measurements: results
    /// are bit-identical on every set.
    #[must_use]
    pub fn at_most(self, set: InstructionSet) -> Self {
        Self { arch: set.arch(), ..self }
    }

    /// The mask of a range of rows.
    pub(crate) fn part(&self, rows: Range<usize>) -> Self {
        let kind = match self.kind {
            MaskKind::Full => MaskKind::Full,
            MaskKind::Lens(lens) => MaskKind::Lens(&lens[rows.clone()]),
            MaskKind::Bytes(bytes) => {
                MaskKind::Bytes(&bytes[rows.start * self.width..rows.end * self.width])
            }
        };
        let dropped = self.dropped.map(|dropped| &dropped[rows.clone()]);
        Self { rows: rows.len(), kind, dropped, ..*self }
    }

    fn of(rows: usize, width: usize, kind: MaskKind<'a>) -> Self {
        Self { rows, width, kind, dropped: None, arch: pulp::Arch::new() }
    }

    pub(crate) fn arch(&self) -> pulp::Arch {
        self.arch
    }

    /// B, the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// T, the padded width of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// `B * T`, the length of every slice of this shape.
    pub fn slots(&self) -> usize {
        self.rows.saturating_mul(self.width)
    }

    /// The maximal runs of valid tokens in `row`, in order, as ranges into the flat `[B, T]` slice.
    ///
    /// Returns no span for a row outside the mask.
    #[inline]
    pub fn spans(&self, row: usize) -> Spans<'a> {
        if row >= self.rows || self.dropped.is_some_and(|dropped| dropped[row] != 0) {
            return Spans { bytes: None, start: 0, end: 0 };
        }
        let start = row * self.width;
        match self.kind {
            MaskKind::Full => Spans { bytes: None, start, end: start + self.width },
            MaskKind::Lens(lens) => Spans { bytes: None, start, end: start + lens[row] },
            MaskKind::Bytes(bytes) => Spans { bytes: Some(bytes), start, end: start + self.width },
        }
    }

    /// Valid tokens in `row`.
    pub fn count(&self, row: usize) -> usize {
        let spans = self.spans(row);
        match spans.bytes {
            // Without finding the spans: a sum of flags is a loop that vectorises.
            Some(bytes) => bytes[spans.start..spans.end].iter().filter(|&&byte| byte != 0).count(),
            None => spans.end - spans.start,
        }
    }

    /// Valid tokens in the whole batch.
    pub fn tokens(&self) -> usize {
        (0..self.rows).map(|row| self.count(row)).sum()
    }

    /// Rows with at least one valid token.
    pub fn live_rows(&self) -> usize {
        (0..self.rows).filter(|&row| self.spans(row).next().is_some()).count()
    }

    /// The flat index of the last valid token of `row`, to which a terminal reward belongs.
    pub fn last(&self, row: usize) -> Option<usize> {
        self.spans(row).next_back().map(|span| span.end - 1)
    }

    /// Refuses a slice whose length is not `B * T`.
    pub(crate) fn check(&self, what: &'static str, len: usize) -> Result<(), OptimError> {
        require_len(what, len, self.slots())
    }

    /// Refuses the first of several slices whose length is not `B * T`.
    pub(crate) fn check_all(&self, slices: &[(&'static str, usize)]) -> Result<(), OptimError> {
        slices.iter().try_for_each(|&(what, len)| self.check(what, len))
    }

    /// Refuses a slice whose length is not `B`.
    pub(crate) fn check_rows(&self, what: &'static str, len: usize) -> Result<(), OptimError> {
        require_len(what, len, self.rows)
    }

    /// The error for a result that is NaN or infinite: [`OptimError::NonFinite`] for the first
    /// valid slot whose input is not finite, or [`OptimError::Overflow`] if all inputs are. Kernels
    /// search only after a check of their sums has failed.
    pub(crate) fn non_finite_error<F: Float>(
        &self,
        result: &'static str,
        inputs: &[(&'static str, &[F])],
    ) -> OptimError {
        for row in 0..self.rows {
            for slot in self.spans(row).flatten() {
                for &(what, values) in inputs {
                    if !values[slot].is_finite() {
                        return OptimError::NonFinite { what, row, token: slot - row * self.width };
                    }
                }
            }
        }
        OptimError::Overflow { what: result }
    }
}

/// The runs of valid tokens of one row; see [`RowMask::spans`].
#[derive(Clone, Debug)]
pub struct Spans<'a> {
    bytes: Option<&'a [u8]>,
    start: usize,
    end: usize,
}

impl Iterator for Spans<'_> {
    type Item = Range<usize>;

    #[inline]
    fn next(&mut self) -> Option<Range<usize>> {
        let rest = self.start..self.end;
        let span = match self.bytes {
            None => rest,
            Some(bytes) => {
                let first = rest.start + run_length(&bytes[rest.clone()], |byte| byte == 0);
                first..first + run_length(&bytes[first..rest.end], |byte| byte != 0)
            }
        };
        self.start = span.end;
        (!span.is_empty()).then_some(span)
    }
}

impl DoubleEndedIterator for Spans<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Range<usize>> {
        let rest = self.start..self.end;
        let span = match self.bytes {
            None => rest,
            Some(bytes) => {
                let stop = rest.end - run_length_back(&bytes[rest.clone()], |byte| byte == 0);
                stop - run_length_back(&bytes[rest.start..stop], |byte| byte != 0)..stop
            }
        };
        self.end = span.start;
        (!span.is_empty()).then_some(span)
    }
}

impl FusedIterator for Spans<'_> {}

/// Flags that are compared together: without a branch inside, the loop vectorises.
const FLAGS: usize = 32;

/// The number of leading bytes that are alike.
#[inline]
fn run_length(bytes: &[u8], alike: impl Fn(u8) -> bool) -> usize {
    let chunks = bytes.as_chunks::<FLAGS>().0;
    let whole = chunks.iter().take_while(|chunk| all(chunk, &alike)).count() * FLAGS;
    whole + bytes[whole..].iter().take_while(|&&byte| alike(byte)).count()
}

/// The number of trailing bytes that are alike.
#[inline]
fn run_length_back(bytes: &[u8], alike: impl Fn(u8) -> bool) -> usize {
    let chunks = bytes.as_rchunks::<FLAGS>().1;
    let whole = chunks.iter().rev().take_while(|chunk| all(chunk, &alike)).count() * FLAGS;
    let rest = &bytes[..bytes.len() - whole];
    whole + rest.iter().rev().take_while(|&&byte| alike(byte)).count()
}

#[inline]
fn all(chunk: &[u8; FLAGS], alike: impl Fn(u8) -> bool) -> bool {
    chunk.iter().fold(true, |so_far, &byte| so_far & alike(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::RowMask;
    use crate::error::OptimError;

    #[test]
    fn spans_skip_leading_interior_and_trailing_gaps_from_both_ends() {
        let bytes = [0, 1, 1, 0, 0, 7, 0, 1, 1, 1];
        let mask = RowMask::bytes(&bytes, 2, 5).unwrap();
        assert!(mask.spans(0).eq(std::iter::once(1..3)));
        assert_eq!(mask.spans(1).collect::<Vec<_>>(), [5..6, 7..10]);
        assert_eq!(mask.spans(1).rev().collect::<Vec<_>>(), [7..10, 5..6]);
        assert_eq!(
            (mask.tokens(), mask.live_rows(), mask.last(0), mask.last(1)),
            (6, 2, Some(2), Some(9))
        );
    }

    #[test]
    fn an_empty_row_has_no_span_and_no_last_token() {
        let mask = RowMask::lens(&[0, 2], 2).unwrap();
        assert_eq!(mask.spans(0).next(), None);
        assert_eq!(
            (mask.last(0), mask.last(1), mask.live_rows(), mask.count(9)),
            (None, Some(3), 1, 0)
        );
        assert_eq!(RowMask::full(3, 0).tokens(), 0);
    }

    #[test]
    fn a_row_longer_than_the_width_is_refused() {
        let error = RowMask::lens(&[2, 5], 4).unwrap_err();
        assert_eq!(error, OptimError::RowLength { row: 1, len: 5, width: 4 });
        assert!(RowMask::bytes(&[1; 7], 2, 4).is_err());
    }

    #[test]
    fn a_dropped_row_is_an_empty_row() {
        let mask = RowMask::full(2, 3).without(&[0, 1]).unwrap();
        assert_eq!((mask.count(0), mask.count(1), mask.last(1), mask.live_rows()), (3, 0, None, 1));
        assert!(RowMask::full(2, 3).without(&[0]).is_err());
    }

    proptest! {
        #[test]
        fn spans_list_exactly_the_valid_slots(bytes: [bool; 12], meet in 0_usize..4) {
            let raw = bytes.map(u8::from);
            let mask = RowMask::bytes(&raw, 1, 12).unwrap();
            let wanted: Vec<usize> = (0..12).filter(|&slot| bytes[slot]).collect();
            assert_eq!(mask.spans(0).flatten().collect::<Vec<_>>(), wanted);
            // Iterating from both ends yields every slot exactly once.
            let mut spans = mask.spans(0);
            let mut seen: Vec<usize> = spans.by_ref().take(meet).flatten().collect();
            seen.extend(spans.rev().flatten());
            seen.sort_unstable();
            assert_eq!(seen, wanted);
        }

        /// Runs longer than the bytes that are compared together, from both ends.
        #[test]
        fn spans_of_long_rows_list_exactly_the_valid_slots(
            runs in proptest::collection::vec((proptest::bool::ANY, 1_usize..90), 1..8),
            dropped in proptest::bool::ANY,
        ) {
            let raw: Vec<u8> =
                runs.iter().flat_map(|&(flag, len)| vec![u8::from(flag) * 255; len]).collect();
            let gone = [u8::from(dropped)];
            let mask = RowMask::bytes(&raw, 1, raw.len()).unwrap().without(&gone).unwrap();
            let wanted: Vec<usize> =
                (0..raw.len()).filter(|&slot| raw[slot] != 0 && !dropped).collect();
            assert_eq!(mask.spans(0).flatten().collect::<Vec<_>>(), wanted);
            let mut backwards: Vec<usize> = mask.spans(0).rev().flatten().collect();
            backwards.sort_unstable();
            assert_eq!(backwards, wanted);
            assert_eq!((mask.count(0), mask.last(0)), (wanted.len(), wanted.last().copied()));
        }

        #[test]
        fn lengths_and_their_byte_mask_agree(lens: [u8; 3]) {
            let lens = lens.map(|len| usize::from(len % 5));
            let bytes: Vec<u8> = (0..12).map(|slot| u8::from(slot % 4 < lens[slot / 4].min(4))).collect();
            let lens = lens.map(|len| len.min(4));
            let by_len = RowMask::lens(&lens, 4).unwrap();
            let by_byte = RowMask::bytes(&bytes, 3, 4).unwrap();
            for row in 0..3 {
                assert!(by_len.spans(row).eq(by_byte.spans(row)));
            }
        }
    }
}

//! Which slots of a row-major `[B, T]` slice hold tokens of the policy, and which are padding.
//!
//! Kernels walk the *spans* of valid tokens, and the rest changes nothing: padding is selected away, not multiplied by
//! zero, because `NaN * 0` is NaN (OpenRLHF#1240, verl#6361). A span is also what a vector unit wants: a
//! contiguous run without a branch inside.

use std::iter::FusedIterator;
use std::ops::Range;

use crate::error::{OptimError, require_len};
use crate::kernel::float::Float;
use crate::kernel::instructions::InstructionSet;

/// The valid tokens of a ragged batch of `rows` rows, each padded to `width` slots.
///
/// A row may be empty, and with [`RowMask::bytes`] it may have gaps: the observation turns of a multi-turn
/// rollout, which the policy did not write.
#[derive(Clone, Copy, Debug)]
pub struct RowMask<'a> {
    rows: usize,
    width: usize,
    kind: Kind<'a>,
    dropped: Option<&'a [u8]>,
    arch: pulp::Arch,
}

#[derive(Clone, Copy, Debug)]
enum Kind<'a> {
    Full,
    Lens(&'a [usize]),
    Bytes(&'a [u8]),
}

impl<'a> RowMask<'a> {
    /// No padding at all: `rows * width` valid tokens.
    pub fn full(rows: usize, width: usize) -> Self {
        Self::of(rows, width, Kind::Full)
    }

    /// Rows padded on the right: row `b` holds tokens in its first `lens[b]` slots.
    ///
    /// # Errors
    /// [`OptimError::RowLength`] where a length exceeds `width`.
    pub fn lens(lens: &'a [usize], width: usize) -> Result<Self, OptimError> {
        for (row, &len) in lens.iter().enumerate() {
            if len > width {
                return Err(OptimError::RowLength { row, len, width });
            }
        }
        Ok(Self::of(lens.len(), width, Kind::Lens(lens)))
    }

    /// Rows with any padding: slot `b * width + t` is a token where its byte is not 0.
    ///
    /// # Errors
    /// [`OptimError::Shape`] where there are not `rows * width` bytes.
    pub fn bytes(bytes: &'a [u8], rows: usize, width: usize) -> Result<Self, OptimError> {
        require_len("mask", bytes.len(), rows.saturating_mul(width))?;
        Ok(Self::of(rows, width, Kind::Bytes(bytes)))
    }

    /// The same batch without the rows whose byte (`[B]`) is not 0: they count as empty. For rollouts that were not
    /// scored, which must leave every mean, deviation and loss.
    ///
    /// # Errors
    /// [`OptimError::Shape`] where there is not one byte a row.
    pub fn without(self, dropped: &'a [u8]) -> Result<Self, OptimError> {
        require_len("dropped", dropped.len(), self.rows)?;
        Ok(Self { dropped: Some(dropped), ..self })
    }

    /// The same batch, for kernels that use no wider instructions than `set`. For tests and measurements: the numbers
    /// are the same bits on every set.
    #[must_use]
    pub fn at_most(self, set: InstructionSet) -> Self {
        Self { arch: set.arch(), ..self }
    }

    /// A run of this mask's rows, by themselves.
    pub(crate) fn part(&self, rows: Range<usize>) -> Self {
        let kind = match self.kind {
            Kind::Full => Kind::Full,
            Kind::Lens(lens) => Kind::Lens(&lens[rows.clone()]),
            Kind::Bytes(bytes) => {
                Kind::Bytes(&bytes[rows.start * self.width..rows.end * self.width])
            }
        };
        let dropped = self.dropped.map(|dropped| &dropped[rows.clone()]);
        Self { rows: rows.len(), kind, dropped, ..*self }
    }

    fn of(rows: usize, width: usize, kind: Kind<'a>) -> Self {
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
    /// A row outside the mask has none.
    #[inline]
    pub fn spans(&self, row: usize) -> Spans<'a> {
        if row >= self.rows || self.dropped.is_some_and(|dropped| dropped[row] != 0) {
            return Spans { bytes: None, start: 0, end: 0 };
        }
        let start = row * self.width;
        match self.kind {
            Kind::Full => Spans { bytes: None, start, end: start + self.width },
            Kind::Lens(lens) => Spans { bytes: None, start, end: start + lens[row] },
            Kind::Bytes(bytes) => Spans { bytes: Some(bytes), start, end: start + self.width },
        }
    }

    /// Valid tokens in `row`.
    pub fn count(&self, row: usize) -> usize {
        self.spans(row).map(|span| span.len()).sum()
    }

    /// Valid tokens in the whole batch.
    pub fn tokens(&self) -> usize {
        (0..self.rows).map(|row| self.count(row)).sum()
    }

    /// Rows with at least one valid token.
    pub fn live_rows(&self) -> usize {
        (0..self.rows).filter(|&row| self.spans(row).next().is_some()).count()
    }

    /// The flat index of the last valid token of `row`: where a terminal reward belongs.
    pub fn last(&self, row: usize) -> Option<usize> {
        self.spans(row).next_back().map(|span| span.end - 1)
    }

    /// Refuses a slice that is not `[B, T]`.
    pub(crate) fn check(&self, what: &'static str, len: usize) -> Result<(), OptimError> {
        require_len(what, len, self.slots())
    }

    /// Refuses the first of several slices that is not `[B, T]`.
    pub(crate) fn check_all(&self, slices: &[(&'static str, usize)]) -> Result<(), OptimError> {
        slices.iter().try_for_each(|&(what, len)| self.check(what, len))
    }

    /// Refuses a slice that is not `[B]`.
    pub(crate) fn check_rows(&self, what: &'static str, len: usize) -> Result<(), OptimError> {
        require_len(what, len, self.rows)
    }

    /// Names the first valid slot that is not finite, for a kernel whose result came out NaN or infinite. The
    /// kernels pay for this search only once something is already wrong.
    pub(crate) fn blame<F: Float>(
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
                let first = rest.clone().find(|&slot| bytes[slot] != 0).unwrap_or(rest.end);
                let stop = (first..rest.end).find(|&slot| bytes[slot] == 0).unwrap_or(rest.end);
                first..stop
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
                let stop = rest
                    .clone()
                    .rfind(|&slot| bytes[slot] != 0)
                    .map_or(rest.start, |last| last + 1);
                let first = (rest.start..stop)
                    .rfind(|&slot| bytes[slot] == 0)
                    .map_or(rest.start, |gap| gap + 1);
                first..stop
            }
        };
        self.end = span.start;
        (!span.is_empty()).then_some(span)
    }
}

impl FusedIterator for Spans<'_> {}

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
    fn a_row_longer_than_the_batch_is_wide_is_refused() {
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
            // From both ends at once, the two halves meet without losing or repeating a slot.
            let mut spans = mask.spans(0);
            let mut seen: Vec<usize> = spans.by_ref().take(meet).flatten().collect();
            seen.extend(spans.rev().flatten());
            seen.sort_unstable();
            assert_eq!(seen, wanted);
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

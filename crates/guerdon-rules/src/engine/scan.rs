//! One text, and all that rules ask of it: its folded form, the literals, the numbers; each found once, when first asked
//! for, in buffers that the next text uses again.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::ops::Range;
use std::sync::Mutex;

use crate::engine::needles::Needles;
use crate::engine::pattern::Gate;
use crate::text::literals::Found;
use crate::text::normalise::{Loose, View};
use crate::text::number::{Numbers, Units};
use crate::text::present::Present;

/// What all rules together look for, and room to do it in.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    pub(crate) needles: Needles,
    pub(crate) units: Units,
    buffers: Buffers,
}

/// A text of a dialogue.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    pub(crate) original: Cow<'a, str>,
    scanner: &'a Scanner,
    view: OnceCell<Box<View>>,
    scan: OnceCell<Box<Scan>>,
}

/// What was found in a text.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// In the folded text.
    pub(crate) found: Found,
    /// In the text as it is.
    pub(crate) raw_found: Found,
    pub(crate) numbers: Numbers,
    /// Bytes of the folded text, start and end, that only a loose reading found; sorted.
    loose: Vec<[usize; 2]>,
    reading: Loose,
    raw_present: Present,
    /// The longest run of each class, one more than it is, once it was asked for: folded, raw.
    runs: [Vec<Cell<u32>>; 2],
}

/// Buffers at rest.
#[expect(clippy::vec_box, reason = "they move in and out of cells: a pointer, not a kilobyte")]
#[derive(Debug, Default)]
struct Buffers {
    views: Mutex<Vec<Box<View>>>,
    scans: Mutex<Vec<Box<Scan>>>,
}

/// No more buffers than this are kept.
const MAX_KEPT: usize = 256;
/// Nor any for a text longer than this, in bytes.
const MAX_KEPT_BYTES: usize = 256 * 1024;

impl<'a> Text<'a> {
    pub(crate) const fn new(scanner: &'a Scanner, original: Cow<'a, str>) -> Self {
        Self { original, scanner, view: OnceCell::new(), scan: OnceCell::new() }
    }

    /// The folded text.
    pub(crate) fn folded(&self) -> &View {
        self.view.get_or_init(|| {
            let mut view = take(&self.scanner.buffers.views);
            view.read_folded(&self.original);
            view
        })
    }

    /// The text that a pattern is run on.
    pub(crate) fn view(&self, fold: bool) -> &str {
        if fold { self.folded().text() } else { &self.original }
    }

    pub(crate) fn scan(&self) -> &Scan {
        self.scan.get_or_init(|| {
            let mut scan = take(&self.scanner.buffers.scans);
            scan.read(self.scanner, self.folded(), &self.original);
            scan
        })
    }

    /// The characters of the original, half-open, that `bytes` of a view came from.
    pub(crate) fn span(&self, fold: bool, bytes: &Range<usize>) -> [usize; 2] {
        if fold {
            self.folded().span(&self.original, bytes)
        } else {
            let view = self.folded();
            [view.character(&self.original, bytes.start), view.character(&self.original, bytes.end)]
        }
    }

    /// The character of the original that made `byte` of the folded text.
    pub(crate) fn original_at(&self, byte: usize) -> Option<char> {
        self.folded().original_at(&self.original, byte)
    }

    /// Whether only folding made `bytes` of the folded text readable.
    pub(crate) fn is_disguised(&self, bytes: &Range<usize>) -> bool {
        let loose = &self.scan().loose;
        self.folded().is_disguised(bytes) || loose.binary_search(&[bytes.start, bytes.end]).is_ok()
    }

    /// Whether a pattern without a literal may match.
    pub(crate) fn passes(&self, gate: &Gate, fold: bool) -> bool {
        let present = if fold { self.folded().present } else { self.scan().raw_present };
        let has_run = |class, times| self.has_run(class as usize, times, fold);
        gate.passes(present, self.view(fold).len(), has_run)
    }

    fn has_run(&self, class: usize, times: u32, fold: bool) -> bool {
        let side = usize::from(!fold);
        let classes = self.scanner.needles.runs.get(side);
        let (Some(run), Some(known)) =
            (classes.and_then(|classes| classes.get(class)), self.scan().runs.get(side))
        else {
            return true;
        };
        if fold && let Some(longest) = run.at_most(self.folded().longest) {
            return longest >= times as usize;
        }
        let Some(known) = known.get(class) else { return true };
        if known.get() == 0 {
            known.set(run.longest(self.view(fold)).saturating_add(1));
        }
        known.get() > times
    }
}

impl Drop for Text<'_> {
    fn drop(&mut self) {
        if self.original.len() <= MAX_KEPT_BYTES {
            keep(&self.scanner.buffers.views, self.view.take());
            keep(&self.scanner.buffers.scans, self.scan.take());
        }
    }
}

/// A buffer at rest, or a new one: nobody waits for another thread's.
fn take<T: Default>(buffers: &Mutex<Vec<Box<T>>>) -> Box<T> {
    buffers.try_lock().ok().and_then(|mut kept| kept.pop()).unwrap_or_default()
}

fn keep<T>(buffers: &Mutex<Vec<Box<T>>>, buffer: Option<Box<T>>) {
    if let (Some(buffer), Ok(mut kept)) = (buffer, buffers.try_lock())
        && kept.len() < MAX_KEPT
    {
        kept.push(buffer);
    }
}

impl Scan {
    fn read(&mut self, scanner: &Scanner, view: &View, original: &str) {
        let needles = &scanner.needles;
        let text = view.text();
        self.found.reset(needles.folded.leaves());
        needles.folded.find(text, |leaf, bytes| self.found.push(leaf, &bytes));
        if let [Some(leaf), _] = needles.digits {
            let mut end = 0;
            for place in view.numerals.iter().map(|place| *place as usize) {
                if place >= end {
                    end = push_digits(&mut self.found, leaf, text, place);
                }
            }
        }
        self.loose.clear();
        if view.suspicious && !needles.loose.is_empty() {
            self.reading.read(text);
            needles.loose.find(self.reading.text(), |leaf, bytes| {
                if let Some(bytes) = self.reading.disguised(text, &bytes) {
                    self.found.push(leaf, &bytes);
                    self.loose.push([bytes.start, bytes.end]);
                }
            });
            self.loose.sort_unstable();
        }
        if needles.numbers {
            self.numbers.scan(text, &view.numerals, &scanner.units);
        }
        self.raw_found.reset(needles.raw.leaves());
        needles.raw.find(original, |leaf, bytes| self.raw_found.push(leaf, &bytes));
        if let [_, Some(leaf)] = needles.digits {
            let mut at = 0;
            while at < original.len() {
                at = push_digits(&mut self.raw_found, leaf, original, at) + 1;
            }
        }
        self.raw_present = Present::default();
        if needles.raw_gates {
            original.chars().for_each(|c| self.raw_present.add(c));
        }
        for (known, classes) in self.runs.iter_mut().zip(&needles.runs) {
            known.clear();
            known.resize(classes.len(), Cell::new(0));
        }
    }
}

/// The run of digits that begins at byte `at`, if one does, and where it ends.
fn push_digits(found: &mut Found, leaf: u32, text: &str, mut at: usize) -> usize {
    while text.as_bytes().get(at).is_some_and(u8::is_ascii_digit) {
        found.push(leaf, &(at..at + 1));
        at += 1;
    }
    at
}

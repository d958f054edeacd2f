//! One text, and all that rules ask of it: its folded form, the literals, the numbers; each found once, when first asked
//! for, in buffers that the next text uses again.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::ops::Range;
use std::sync::Mutex;

use crate::literals::Found;
use crate::normalise::{Loose, View};
use crate::number::Numbers;
use crate::pattern::Gate;
use crate::plan::Plan;
use crate::present::Present;

/// A text of a dialogue.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    pub(crate) original: Cow<'a, str>,
    plan: &'a Plan,
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
    /// Bytes of the folded text that only a loose reading found.
    loose: Vec<Range<usize>>,
    reading: Loose,
    raw_present: Present,
    /// The longest run of each class, one more than it is, once it was asked for: folded, raw.
    runs: [Vec<Cell<u32>>; 2],
}

/// Buffers at rest.
#[expect(clippy::vec_box, reason = "they move in and out of cells: a pointer, not a kilobyte")]
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    views: Mutex<Vec<Box<View>>>,
    scans: Mutex<Vec<Box<Scan>>>,
}

/// No more buffers than this are kept.
const MAX_KEPT: usize = 256;
/// Nor any for a text longer than this, in bytes.
const MAX_KEPT_BYTES: usize = 256 * 1024;

impl<'a> Text<'a> {
    pub(crate) const fn new(plan: &'a Plan, original: Cow<'a, str>) -> Self {
        Self { original, plan, view: OnceCell::new(), scan: OnceCell::new() }
    }

    /// The folded text.
    pub(crate) fn folded(&self) -> &View {
        self.view.get_or_init(|| {
            let mut view = take(&self.plan.buffers.views);
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
            let mut scan = take(&self.plan.buffers.scans);
            scan.read(self.plan, self.folded(), &self.original);
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

    /// Whether only folding made `bytes` of the folded text readable.
    pub(crate) fn is_disguised(&self, bytes: &Range<usize>) -> bool {
        self.folded().is_disguised(bytes) || self.scan().loose.contains(bytes)
    }

    /// Whether a pattern without a literal may match.
    pub(crate) fn passes(&self, gate: &Gate, fold: bool) -> bool {
        let present = if fold { self.folded().present } else { self.scan().raw_present };
        gate.passes(present, self.view(fold).len(), |class| self.longest_run(class as usize, fold))
    }

    fn longest_run(&self, class: usize, fold: bool) -> u32 {
        let side = usize::from(!fold);
        let (Some(known), Some(classes)) = (self.scan().runs.get(side), self.plan.needles.runs.get(side))
        else {
            return u32::MAX;
        };
        let (Some(known), Some(class)) = (known.get(class), classes.get(class)) else {
            return u32::MAX;
        };
        if known.get() == 0 {
            known.set(class.longest(self.view(fold)).saturating_add(1));
        }
        known.get() - 1
    }
}

impl Drop for Text<'_> {
    fn drop(&mut self) {
        if self.original.len() <= MAX_KEPT_BYTES {
            keep(&self.plan.buffers.views, self.view.take());
            keep(&self.plan.buffers.scans, self.scan.take());
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
    fn read(&mut self, plan: &Plan, view: &View, original: &str) {
        let needles = &plan.needles;
        let text = view.text();
        self.found.reset(needles.folded.leaves());
        needles.folded.find(text, |leaf, bytes| self.found.push(leaf, &bytes));
        if let [Some(leaf), _] = needles.digits {
            push_digits(&mut self.found, leaf, text);
        }
        self.loose.clear();
        if view.suspicious && !needles.loose.is_empty() {
            self.reading.read(text);
            needles.loose.find(self.reading.text(), |leaf, bytes| {
                if let Some(bytes) = self.reading.disguised(text, &bytes) {
                    self.found.push(leaf, &bytes);
                    self.loose.push(bytes);
                }
            });
        }
        if needles.numbers {
            self.numbers.scan(text, &view.numerals, &plan.units);
        }
        self.raw_found.reset(needles.raw.leaves());
        needles.raw.find(original, |leaf, bytes| self.raw_found.push(leaf, &bytes));
        if let [_, Some(leaf)] = needles.digits {
            push_digits(&mut self.raw_found, leaf, original);
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

fn push_digits(found: &mut Found, leaf: u32, text: &str) {
    for (at, byte) in text.bytes().enumerate() {
        if byte.is_ascii_digit() {
            found.push(leaf, &(at..at + 1));
        }
    }
}

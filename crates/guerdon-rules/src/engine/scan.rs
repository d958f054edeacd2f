//! One text with its folded form, literals and numbers. Each is computed at its first use, in
//! buffers that later texts reuse.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::engine::needles::Needles;
use crate::engine::pattern::Gate;
use crate::engine::scan_limit::ScanClock;
use crate::text::literals::LiteralHits;
use crate::text::near::Surroundings;
use crate::text::normalise::{DisguiseReadings, FoldedText, UnmaskedText};
use crate::text::number::{FiguredText, NumberText, TextNumbers, Units};
use crate::text::present::CharSet;
use crate::text::sentences::SentenceIndex;
use crate::text::speech::{SpeechAct, SpeechActs, SpeechIndex};
use crate::text::tokens::TokenizedText;

/// The targets of all rules, and reusable buffers.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    pub(crate) needles: Needles,
    pub(crate) units: Units,
    buffers: ScanBuffers,
}

/// A text of a dialogue.
#[derive(Debug)]
pub(crate) struct ScannedText<'a> {
    pub(crate) original: Cow<'a, str>,
    scanner: &'a Scanner,
    clock: Arc<ScanClock<'a>>,
    view: OnceCell<Box<FoldedText>>,
    scan: OnceCell<Box<TextScan>>,
    /// Indexes of the folded and of the unmasked text.
    indexes: [ReadingIndexes; 2],
    tokens: OnceCell<TokenizedText>,
}

/// A reading of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextReading {
    Folded,
    /// Without disguise.
    Unmasked,
}

/// Indexes of one reading of a text.
#[derive(Debug, Default)]
struct ReadingIndexes {
    sentences: OnceCell<SentenceIndex>,
    speech: OnceCell<SpeechIndex>,
}

/// The result of scanning a text.
#[derive(Debug, Default)]
pub(crate) struct TextScan {
    /// Hits in the folded text.
    pub(crate) found: LiteralHits,
    /// Hits in the unfolded text.
    pub(crate) raw_found: LiteralHits,
    pub(crate) numbers: TextNumbers,
    /// The start and end, in bytes of the folded text, of hits that only the loose reading found;
    /// sorted.
    loose: Vec<[usize; 2]>,
    readings: DisguiseReadings,
    /// Hits and numbers in the unmasked reading.
    pub(crate) unmasked_found: LiteralHits,
    pub(crate) unmasked_numbers: TextNumbers,
    /// The text with its numbers in digits, for regexes that capture a number.
    pub(crate) figured: FiguredText,
    /// Hits in it.
    pub(crate) figured_found: LiteralHits,
    raw_present: CharSet,
    /// The length of the longest run of each class plus one, or 0 if not measured yet: in folded
    /// and in unfolded text.
    runs: [Vec<Cell<u32>>; 2],
}

/// The reason for which a match does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suppression {
    pub(crate) act: SpeechAct,
    /// The word that shows the act.
    pub(crate) cue: String,
}

impl Suppression {
    fn new(
        speech: &SpeechIndex,
        text: &str,
        bytes: &Range<usize>,
        acts: SpeechActs,
        number: Option<&Range<usize>>,
    ) -> Option<Self> {
        let cue = speech.cue(text, bytes, acts, number)?;
        let word = text.get(cue.bytes).unwrap_or_default();
        Some(Self { act: cue.act, cue: word.chars().take(MAX_CUE).collect() })
    }
}

/// Buffers for reuse.
#[expect(clippy::vec_box, reason = "they move in and out of cells: a pointer, not a kilobyte")]
#[derive(Debug, Default)]
struct ScanBuffers {
    views: Mutex<Vec<Box<FoldedText>>>,
    scans: Mutex<Vec<Box<TextScan>>>,
}

/// The greatest length of a reported cue, in characters.
const MAX_CUE: usize = 40;
/// The greatest number of buffers that are kept.
const MAX_KEPT: usize = 256;
/// The length of the longest text whose buffers are kept, in bytes.
const MAX_KEPT_BYTES: usize = 256 * 1024;

impl<'a> ScannedText<'a> {
    pub(crate) const fn new(
        scanner: &'a Scanner,
        original: Cow<'a, str>,
        clock: Arc<ScanClock<'a>>,
    ) -> Self {
        Self {
            original,
            scanner,
            clock,
            view: OnceCell::new(),
            scan: OnceCell::new(),
            indexes: [const { ReadingIndexes { sentences: OnceCell::new(), speech: OnceCell::new() } };
                2],
            tokens: OnceCell::new(),
        }
    }

    /// The folded text.
    pub(crate) fn folded(&self) -> &FoldedText {
        self.view.get_or_init(|| {
            let mut view = take(&self.scanner.buffers.views);
            view.read_folded(&self.original);
            view
        })
    }

    /// The text on which a pattern runs: folded or as it is.
    pub(crate) fn view(&self, fold: bool) -> &str {
        if fold { self.folded().text() } else { &self.original }
    }

    pub(crate) fn scan(&self) -> &TextScan {
        self.scan.get_or_init(|| {
            let mut scan = take(&self.scanner.buffers.scans);
            scan.read(self.scanner, self.folded(), &self.original, &self.clock);
            scan
        })
    }

    /// The text that patterns with `fold` read, with their hits and its sentences.
    pub(crate) fn surroundings(&self, fold: bool) -> Surroundings<'_> {
        let scan = self.scan();
        let found = if fold { &scan.found } else { &scan.raw_found };
        let sentences = &self.indexes_of(TextReading::Folded).sentences;
        Surroundings { text: self.view(fold), found, sentences }
    }

    /// The text without disguise, and the same of it, if the text is in disguise.
    pub(crate) fn unmasked(&self) -> Option<(&UnmaskedText, Surroundings<'_>)> {
        let scan = self.scan();
        let unmasked = scan.unmasked()?;
        let around = Surroundings {
            text: unmasked.text(),
            found: &scan.unmasked_found,
            sentences: &self.indexes_of(TextReading::Unmasked).sentences,
        };
        Some((unmasked, around))
    }

    /// The reason for which a match at `bytes` of a reading does not count. `number` is the number
    /// that it captures.
    pub(crate) fn suppression(
        &self,
        reading: TextReading,
        bytes: &Range<usize>,
        acts: SpeechActs,
        number: Option<&Range<usize>>,
    ) -> Option<Suppression> {
        if acts.is_empty() {
            return None;
        }
        let text = match reading {
            TextReading::Folded => self.view(true),
            TextReading::Unmasked => self.scan().unmasked()?.text(),
        };
        let speech = &self.indexes_of(reading).speech;
        let speech = speech.get_or_init(|| SpeechIndex::new(text, &|| self.is_over()));
        Suppression::new(speech, text, bytes, acts, number)
    }

    const fn indexes_of(&self, reading: TextReading) -> &ReadingIndexes {
        let [folded, unmasked] = &self.indexes;
        match reading {
            TextReading::Folded => folded,
            TextReading::Unmasked => unmasked,
        }
    }

    /// The tokens of the folded text.
    pub(crate) fn tokens(&self) -> &TokenizedText {
        self.tokens.get_or_init(|| TokenizedText::until(self.view(true), || self.is_over()))
    }

    /// Counts a step of a loop over the text. Returns true if the loop must stop.
    pub(crate) fn is_over(&self) -> bool {
        self.clock.tick()
    }

    /// The characters of the original, half-open, that `bytes` of the folded or unfolded text came
    /// from.
    pub(crate) fn span(&self, fold: bool, bytes: &Range<usize>) -> [usize; 2] {
        if fold {
            self.folded().span(&self.original, bytes)
        } else {
            let view = self.folded();
            [view.character(&self.original, bytes.start), view.character(&self.original, bytes.end)]
        }
    }

    /// The character of the original that produced `byte` of the folded text.
    pub(crate) fn original_at(&self, byte: usize) -> Option<char> {
        self.folded().original_at(&self.original, byte)
    }

    /// Returns true if `bytes` of the folded text are readable only because of folding.
    pub(crate) fn is_disguised(&self, bytes: &Range<usize>) -> bool {
        let loose = &self.scan().loose;
        self.folded().is_disguised(bytes) || loose.binary_search(&[bytes.start, bytes.end]).is_ok()
    }

    /// Returns true if a pattern without a literal may match.
    pub(crate) fn passes(&self, gate: &Gate, fold: bool) -> bool {
        if fold && (self.scan().unmasked().is_some() || self.scan().figured.is_changed()) {
            return true;
        }
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

impl Drop for ScannedText<'_> {
    fn drop(&mut self) {
        if self.original.len() <= MAX_KEPT_BYTES {
            keep(&self.scanner.buffers.views, self.view.take());
            keep(&self.scanner.buffers.scans, self.scan.take());
        }
    }
}

/// An unused buffer, or a new one if another thread holds the lock.
fn take<T: Default>(buffers: &Mutex<Vec<Box<T>>>) -> Box<T> {
    buffers.try_lock().and_then(|mut kept| kept.pop()).unwrap_or_default()
}

fn keep<T>(buffers: &Mutex<Vec<Box<T>>>, buffer: Option<Box<T>>) {
    if let (Some(buffer), Some(mut kept)) = (buffer, buffers.try_lock())
        && kept.len() < MAX_KEPT
    {
        kept.push(buffer);
    }
}

impl TextScan {
    /// The text without disguise, if the text is in disguise.
    pub(crate) fn unmasked(&self) -> Option<&UnmaskedText> {
        Some(&self.readings.unmasked).filter(|text| text.is_changed())
    }

    /// Returns true if a reading has a hit of a leaf of folded text.
    pub(crate) fn has(&self, leaf: u32) -> bool {
        self.found.has(leaf) || self.unmasked_found.has(leaf) || self.figured_found.has(leaf)
    }

    /// Writes the numbers in digits and looks for literals there.
    fn read_figured(&mut self, scanner: &Scanner, text: &str, clock: &ScanClock<'_>) {
        let needles = &scanner.needles;
        self.figured.read(text, &self.numbers);
        if !self.figured.is_changed() {
            return;
        }
        let text = self.figured.text();
        needles.folded.find(text, |leaf, bytes| {
            self.figured_found.push(leaf, &bytes);
            !clock.tick()
        });
        push_all_digits(&mut self.figured_found, needles.digits[0], text);
    }

    /// Reads the text without its disguise.
    fn read_disguised(&mut self, scanner: &Scanner, text: &str, clock: &ScanClock<'_>) {
        let needles = &scanner.needles;
        self.readings.read(text);
        let DisguiseReadings { loose, unmasked, .. } = &self.readings;
        needles.loose.find(loose.text(), |leaf, bytes| {
            if let Some(bytes) = loose.disguised(text, &bytes) {
                self.found.push(leaf, &bytes);
                self.loose.push([bytes.start, bytes.end]);
            }
            !clock.tick()
        });
        self.loose.sort_unstable();
        if !unmasked.is_changed() {
            return;
        }
        needles.folded.find(unmasked.text(), |leaf, bytes| {
            self.unmasked_found.push(leaf, &bytes);
            !clock.tick()
        });
        push_all_digits(&mut self.unmasked_found, needles.digits[0], unmasked.text());
        if needles.numbers {
            let text = NumberText { text: unmasked.text(), breaks: &[] };
            let numbers = &mut self.unmasked_numbers;
            numbers.scan(text, unmasked.numerals(), &scanner.units, || clock.tick());
        }
    }

    /// Reads a text. If the clock runs out, the rest is not read; the evaluation then has no
    /// result.
    fn read(
        &mut self,
        scanner: &Scanner,
        view: &FoldedText,
        original: &str,
        clock: &ScanClock<'_>,
    ) {
        let needles = &scanner.needles;
        let text = view.text();
        self.found.reset(needles.folded.leaves());
        needles.folded.find(text, |leaf, bytes| {
            self.found.push(leaf, &bytes);
            !clock.tick()
        });
        if let [Some(leaf), _] = needles.digits {
            let mut end = 0;
            for place in view.numerals.iter().map(|place| *place as usize) {
                if place >= end {
                    end = push_digits(&mut self.found, leaf, text, place);
                }
            }
        }
        self.loose.clear();
        self.readings.clear();
        self.unmasked_found.reset(needles.folded.leaves());
        self.unmasked_numbers.clear();
        if view.suspicious {
            self.read_disguised(scanner, text, clock);
        }
        self.figured.clear();
        self.figured_found.reset(needles.folded.leaves());
        if needles.numbers {
            self.numbers.scan(view.number_text(), &view.numerals, &scanner.units, || clock.tick());
        }
        if needles.figures {
            self.read_figured(scanner, text, clock);
        }
        self.raw_found.reset(needles.raw.leaves());
        needles.raw.find(original, |leaf, bytes| {
            self.raw_found.push(leaf, &bytes);
            !clock.tick()
        });
        push_all_digits(&mut self.raw_found, needles.digits[1], original);
        self.raw_present = CharSet::default();
        if needles.raw_gates {
            original.chars().for_each(|c| self.raw_present.add(c));
        }
        for (known, classes) in self.runs.iter_mut().zip(&needles.runs) {
            known.clear();
            known.resize(classes.len(), Cell::new(0));
        }
    }
}

/// Adds all digits of a text, if a leaf asks for them.
fn push_all_digits(found: &mut LiteralHits, leaf: Option<u32>, text: &str) {
    let Some(leaf) = leaf else { return };
    let mut at = 0;
    while at < text.len() {
        at = push_digits(found, leaf, text, at) + 1;
    }
}

/// Adds the digits of the run that begins at byte `at`, if one does, and returns its end.
fn push_digits(found: &mut LiteralHits, leaf: u32, text: &str, mut at: usize) -> usize {
    while text.as_bytes().get(at).is_some_and(u8::is_ascii_digit) {
        found.push(leaf, &(at..at + 1));
        at += 1;
    }
    at
}

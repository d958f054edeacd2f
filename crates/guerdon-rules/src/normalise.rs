//! Folding: what a learning policy may vary without changing what a reader sees is made one before rules look at it.
//!
//! Width, compatibility forms, letter case, Latin accents, zero-width and direction marks, look-alike letters, digits of
//! other scripts, traditional characters, exotic and repeated spaces. Character by character, so that the way back is
//! exact: spans are told in the original. What takes more than one character to see (`w o r k`, `w0rk`) is `loose.rs`'s.
//!
//! Folding is one pass over runs of a kind; whatever stays as it is gets copied whole. On the way it notes what later
//! passes would otherwise have to look for: which characters there are, where numbers begin, and whether anything is
//! spaced out or spelt with digits.

mod characters;
mod loose;

use std::ops::Range;

pub(crate) use characters::Change;
pub(crate) use loose::{Loose, skeleton};

use crate::present::Present;

/// A text as rules see it, and the way back.
#[derive(Debug, Default)]
pub(crate) struct View {
    text: String,
    edits: Vec<Edit>,
    /// Characters of the original before each 64th of its bytes.
    chars: Vec<u32>,
    /// Which characters occur.
    pub(crate) present: Present,
    /// Where runs of digits and of numerals begin, in bytes of the view.
    pub(crate) numerals: Vec<u32>,
    /// Whether something may be spaced out or spelt with digits, so that [`Loose`] should look.
    pub(crate) suspicious: bool,
}

/// A place where the view is not the original byte for byte.
#[derive(Debug, Clone, Copy)]
struct Edit {
    /// In the view, half-open.
    view: [u32; 2],
    /// In the original, half-open.
    original: [u32; 2],
    change: Change,
}

/// Bytes between two counts of characters.
const STRIDE: usize = 64;

impl View {
    /// The folded text.
    pub(crate) fn read_folded(&mut self, original: &str) {
        self.clear(original);
        Folder { view: self, original, kept: 0, runs: Runs::default() }.fold();
        self.text.make_ascii_lowercase();
    }

    fn clear(&mut self, original: &str) {
        self.text.clear();
        self.text.reserve(original.len());
        self.edits.clear();
        self.numerals.clear();
        self.present = Present::default();
        self.suspicious = false;
        self.chars.clear();
        let mut before = 0_u32;
        for block in original.as_bytes().chunks(STRIDE) {
            self.chars.push(before);
            before += characters_in(block);
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The characters of `original`, half-open, that `bytes` of this view came from.
    pub(crate) fn span(&self, original: &str, bytes: &Range<usize>) -> [usize; 2] {
        let start = self.character(original, self.start_of(bytes.start));
        if bytes.is_empty() {
            return [start, start];
        }
        [start, self.character(original, self.end_of(bytes.end - 1))]
    }

    /// Whether any of `bytes` was written in a way that hides it.
    pub(crate) fn is_disguised(&self, bytes: &Range<usize>) -> bool {
        // What was dropped before the first byte or after the last is not within.
        let first = self.edits.partition_point(|edit| edit.view[1] as usize <= bytes.start);
        let mut within = self.edits.iter().skip(first).take_while(|edit| (edit.view[0] as usize) < bytes.end);
        within.any(|edit| edit.change == Change::Disguise)
    }

    fn edit_at(&self, byte: usize) -> Option<&Edit> {
        let after = self.edits.partition_point(|edit| edit.view[0] as usize <= byte);
        self.edits.get(after.checked_sub(1)?)
    }

    /// The byte of the original at which the character that made `byte` begins.
    fn start_of(&self, byte: usize) -> usize {
        match self.edit_at(byte) {
            None => byte,
            Some(edit) if byte < edit.view[1] as usize => edit.original[0] as usize,
            Some(edit) => edit.original[1] as usize + (byte - edit.view[1] as usize),
        }
    }

    /// The byte of the original at which the character that made `byte`, its last, ends.
    fn end_of(&self, byte: usize) -> usize {
        match self.edit_at(byte) {
            None => byte + 1,
            Some(edit) if byte < edit.view[1] as usize => edit.original[1] as usize,
            Some(edit) => edit.original[1] as usize + (byte + 1 - edit.view[1] as usize),
        }
    }

    /// The index of the character at `byte` of the original.
    pub(crate) fn character(&self, original: &str, byte: usize) -> usize {
        let block = byte / STRIDE;
        match self.chars.get(block) {
            Some(before) => {
                let rest = original.as_bytes().get(block * STRIDE..byte).unwrap_or_default();
                (before + characters_in(rest)) as usize
            }
            None => original.chars().count(),
        }
    }
}

fn characters_in(bytes: &[u8]) -> u32 {
    // At most 64 bytes: the sum of a byte per comparison does not overflow, and vectorises.
    u32::from(bytes.iter().map(|byte| u8::from(!matches!(byte, 0x80..=0xbf))).sum::<u8>())
}

/// `text` as rules see it: width, case, invisible characters, look-alike letters, traditional characters and runs of
/// spaces made one.
#[must_use]
pub fn fold(text: &str) -> String {
    let mut view = View::default();
    view.read_folded(text);
    view.text
}

/// What kind of characters a run is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    /// Latin letters.
    Letters,
    /// Digits, and the signs that stand for letters: `@` and `$`.
    Digits,
    /// Ideographs.
    Ideographs,
    /// What may be put between letters to space them out.
    Separators,
    /// What is put between the letters of one word by nobody else.
    Joiners,
    #[default]
    Other,
}

/// The last three runs, newest first.
#[derive(Debug, Default)]
struct Runs {
    kinds: [Kind; 3],
    lengths: [usize; 3],
    /// Single letters so far, each parted from the one before.
    singles: usize,
}

impl Runs {
    /// Whether the runs up to this one look like a word in disguise.
    fn push(&mut self, kind: Kind, length: usize) -> bool {
        use Kind::{Digits, Ideographs, Joiners, Letters, Other, Separators};
        let [one, two, _] = self.kinds;
        let [parted, before, _] = self.lengths;
        let single = kind == Letters && length == 1;
        let continues = matches!(one, Separators | Joiners) && two == Letters && before == 1;
        match kind {
            Letters if !single => self.singles = 0,
            Letters => self.singles = if continues { self.singles + 1 } else { 1 },
            _ => {}
        }
        self.kinds = [kind, one, two];
        self.lengths = [length, parted, before];
        match (kind, one, two) {
            (Letters, Digits, Letters) => parted <= 2,
            (Letters, Digits, Separators | Other | Ideographs) => parted == 1 && length >= 3,
            (Letters, Separators, Letters) => self.singles >= 3,
            (Letters, Joiners, Letters) => true,
            (Ideographs, Separators | Joiners, Ideographs) => parted <= 2,
            _ => false,
        }
    }
}

const LETTER: u8 = 1;
const DIGIT: u8 = 2;
const SPACE: u8 = 3;
/// White space that is not ' '.
const BLANK: u8 = 4;
const SEPARATOR: u8 = 5;
const SIGN: u8 = 6;
const JOINER: u8 = 7;
static ASCII: [u8; 128] = ascii();

const fn ascii() -> [u8; 128] {
    let mut kinds = [0; 128];
    let mut byte = 0;
    while byte < 128 {
        kinds[byte as usize] = match byte {
            b'a'..=b'z' | b'A'..=b'Z' => LETTER,
            b'0'..=b'9' => DIGIT,
            b' ' => SPACE,
            b'\t' | 0xb | 0xc | b'\r' => BLANK,
            b'*' | b'_' | b'~' | b'|' | b'-' | b'`' | b'^' | b'+' => JOINER,
            b'.' | b'/' => SEPARATOR,
            b'@' | b'$' => SIGN,
            _ => 0,
        };
        byte += 1;
    }
    kinds
}

/// One folding under way.
struct Folder<'v, 'o> {
    view: &'v mut View,
    original: &'o str,
    /// What follows this byte of the original is not yet copied.
    kept: usize,
    runs: Runs,
}

impl Folder<'_, '_> {
    fn fold(mut self) {
        let bytes = self.original.as_bytes();
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let start = at;
            let Some(kind) = ASCII.get(usize::from(*byte)) else {
                at = self.wide(at);
                continue;
            };
            let run = |kind: u8| {
                let more = bytes
                    .iter()
                    .skip(start + 1)
                    .take_while(|b| ASCII.get(usize::from(**b)).is_some_and(|other| *other == kind));
                start + 1 + more.count()
            };
            match *kind {
                LETTER => {
                    at = run(LETTER);
                    self.view.present.add_letters();
                    self.note(Kind::Letters, at - start);
                }
                DIGIT => {
                    at = run(DIGIT);
                    self.view.present.add_digits();
                    self.numeral(start);
                    self.note(Kind::Digits, at - start);
                }
                SPACE => {
                    at = self.space(start, run(SPACE));
                    self.note(Kind::Separators, 1);
                }
                BLANK => {
                    at = start + 1;
                    if self.ends_with_space(start) {
                        self.replace(start..at, "", Change::Usual);
                    } else {
                        self.replace(start..at, " ", Change::Usual);
                    }
                    self.view.present.add_ascii(b' ');
                    self.note(Kind::Separators, 1);
                }
                other => {
                    at = start + 1;
                    self.view.present.add_ascii(*byte);
                    self.note(
                        match other {
                            SEPARATOR => Kind::Separators,
                            JOINER => Kind::Joiners,
                            SIGN => Kind::Digits,
                            _ => Kind::Other,
                        },
                        1,
                    );
                }
            }
        }
        self.copy(bytes.len());
    }

    /// A run of spaces is one space.
    fn space(&mut self, start: usize, end: usize) -> usize {
        self.view.present.add_ascii(b' ');
        let keep = usize::from(!self.ends_with_space(start));
        if start + keep < end {
            self.replace(start + keep..end, "", Change::Usual);
        }
        end
    }

    /// From a character at `at` that is not ASCII to where the next run begins.
    fn wide(&mut self, mut at: usize) -> usize {
        let Some(rest) = self.original.get(at..) else { return self.original.len() };
        let mut ideographs = 0;
        for c in rest.chars() {
            let code = u32::from(c);
            if characters::is_basic_ideograph(code) {
                ideographs += 1;
                if characters::is_special(code) {
                    self.special(at, c);
                }
                at += c.len_utf8();
                continue;
            }
            if ideographs > 0 {
                break;
            }
            let end = at + c.len_utf8();
            if c.is_ascii() {
                return at;
            }
            self.odd(at..end, c);
            return end;
        }
        self.view.present.add_ideographs();
        self.note(Kind::Ideographs, ideographs);
        at
    }

    fn special(&mut self, at: usize, c: char) {
        let simple = characters::simplified(c);
        if characters::is_numeral(simple.unwrap_or(c)) {
            self.numeral(at);
        }
        if let Some(simple) = simple {
            let mut buffer = [0; 4];
            self.replace(at..at + c.len_utf8(), simple.encode_utf8(&mut buffer), Change::Disguise);
        }
    }

    /// A character that is neither ASCII nor a basic ideograph.
    fn odd(&mut self, bytes: Range<usize>, c: char) {
        let mut buffer = [0; 4];
        if let Some(plain) = characters::plain(c) {
            self.view.present.add(plain);
            if plain == c {
                return self.note(kind(c), 1);
            }
            if plain.is_ascii_digit() {
                self.numeral(bytes.start);
            }
            let drop = plain == ' ' && self.ends_with_space(bytes.start);
            let folded = if drop { "" } else { plain.encode_utf8(&mut buffer) };
            self.replace(bytes, folded, Change::Usual);
            return self.note(kind(plain), 1);
        }
        let mut folded = String::new();
        characters::fold(c, |f| folded.push(f));
        let mut chars = folded.chars();
        if chars.next() == Some(c) && chars.next().is_none() {
            self.view.present.add(c);
            return self.note(kind(c), 1);
        }
        for f in folded.chars() {
            self.view.present.add(f);
        }
        if folded == " " && self.ends_with_space(bytes.start) {
            folded.clear();
        }
        if folded.chars().any(|f| f.is_ascii_digit() || characters::is_numeral(f)) {
            self.numeral(bytes.start);
        }
        if let Some(f) = folded.chars().next_back() {
            self.note(kind(f), folded.chars().count());
        }
        self.replace(bytes, &folded, characters::change(c));
    }

    fn note(&mut self, kind: Kind, length: usize) {
        let suspicious = self.runs.push(kind, length);
        self.view.suspicious |= suspicious;
    }

    /// A number may begin at this byte of the original.
    fn numeral(&mut self, at: usize) {
        let place = self.view.text.len() + (at - self.kept);
        self.view.numerals.push(u32::try_from(place).unwrap_or(u32::MAX));
    }

    /// Whether what is folded so far, up to byte `at` of the original, ends with a space.
    fn ends_with_space(&self, at: usize) -> bool {
        if at > self.kept {
            self.original.as_bytes().get(at - 1) == Some(&b' ')
        } else {
            self.view.text.ends_with(' ')
        }
    }

    fn copy(&mut self, to: usize) {
        self.view.text.push_str(self.original.get(self.kept..to).unwrap_or_default());
        self.kept = to;
    }

    fn replace(&mut self, bytes: Range<usize>, folded: &str, change: Change) {
        self.copy(bytes.start);
        let start = self.view.text.len();
        self.view.text.push_str(folded);
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        self.view.edits.push(Edit {
            view: [place(start), place(self.view.text.len())],
            original: [place(bytes.start), place(bytes.end)],
            change,
        });
        self.kept = bytes.end;
    }
}

fn kind(c: char) -> Kind {
    match c {
        'a'..='z' => Kind::Letters,
        '0'..='9' => Kind::Digits,
        ' ' | '.' | '/' => Kind::Separators,
        '-' | '*' | '·' | '_' | '~' | '|' | '`' | '^' | '+' => Kind::Joiners,
        '\u{4e00}'..='\u{9fff}' => Kind::Ideographs,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folded(text: &str) -> View {
        let mut view = View::default();
        view.read_folded(text);
        view
    }

    #[test]
    fn width_case_marks_and_look_alikes_fold_to_one() {
        assert_eq!(fold("Ｗｏｒｋ\u{3000} Order"), "work order");
        assert_eq!(fold("wо\u{200b}rk"), "work");
        assert_eq!(fold("４８０￥"), "480¥");
        assert_eq!(fold("Café"), "cafe");
        assert_eq!(fold("工\u{feff}单"), "工单");
        assert_eq!(fold("𝓌𝕠𝐫𝚔 ⓞⓡⓓⓔⓡ"), "work order");
        assert_eq!(fold("🅆🄾🅡🅺"), "work");
        assert_eq!(fold("目標價是٤٢٠"), "目标价是420");
        assert_eq!(fold("don’t\r\n"), "don't \n");
    }

    #[test]
    fn a_span_is_told_in_the_original_and_covers_what_was_dropped() {
        let original = "按工\u{200b}单，好";
        let view = folded(original);
        let at = view.text().find("工单").unwrap();
        assert_eq!(view.span(original, &(at..at + "工单".len())), [1, 4]);
        assert!(view.is_disguised(&(at..at + "工单".len())));
        assert!(!view.is_disguised(&(0.."按工".len())));
        assert!(!view.is_disguised(&(at + "工".len()..at + "工单，".len() - 2)));
    }

    #[test]
    fn spaced_out_and_digit_spelt_words_are_noticed_and_prices_are_not() {
        for odd in ["our w o r k order", "w0rk", "工 单", "工*单", "wo*rk", "0rder", "P@rtner", "ｗ０ｒｋ"]
        {
            assert!(folded(odd).suspicious, "{odd}");
        }
        for plain in ["480元", "I am here", "a 2-bed room", "房间，可以", "3.5 stars", "USD 420"] {
            assert!(!folded(plain).suspicious, "{plain}");
        }
    }

    proptest! {
        #[test]
        fn the_way_back_never_falls_and_stays_within(text in "(?:\\PC|[ 　\t\u{200b}ﷺ①價４a工])*") {
            let view = folded(&text);
            let chars = text.chars().count();
            let mut last = 0;
            for (at, c) in view.text().char_indices() {
                let [start, end] = view.span(&text, &(at..at + c.len_utf8()));
                prop_assert!(last <= start && start < end && end <= chars, "{at} {start} {end}");
                last = start;
            }
        }

        #[test]
        fn a_character_folds_on_its_own_to_what_it_folds_to_in_its_text(text in "(?:\\PC|[a４價， 工]){0,20}") {
            let mut alone = String::new();
            for c in text.chars() {
                for f in fold(&c.to_string()).chars() {
                    if f != ' ' || !alone.ends_with(' ') {
                        alone.push(f);
                    }
                }
            }
            prop_assert_eq!(fold(&text), alone);
        }

        #[test]
        fn folding_twice_is_folding_once(text in "[ -~\u{4e00}-\u{4e20}０-９Ａ-Ｚ\u{200b}\u{3000}а-я價標]*") {
            prop_assert_eq!(fold(&fold(&text)), fold(&text));
        }

        #[test]
        fn every_character_of_the_view_is_present(text in "(?:\\PC|[a-z0-9，。工])*") {
            let view = folded(&text);
            for c in view.text().chars() {
                prop_assert!(view.present.may_have(c), "{c:?}");
            }
        }
    }
}

//! Runs of characters of a kind, and when three of them look like a word in disguise.

/// What kind of characters a run is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
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
pub(super) struct Runs {
    kinds: [Kind; 3],
    lengths: [usize; 3],
    /// Single letters so far, each parted from the one before.
    singles: usize,
    /// Letters and ideographs at the end so far.
    open: Longest,
    pub(super) longest: Longest,
}

/// No run of letters, or of ideographs, is longer than this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Longest {
    pub(crate) letters: usize,
    pub(crate) ideographs: usize,
}

impl Runs {
    /// Notes what one character of the original was unfolded to, if that is more than one.
    pub(super) fn push_unfolded(&mut self, last: Kind, length: usize) -> bool {
        let Longest { letters, ideographs } = self.open;
        let suspicious = self.push(last, length);
        // Of whatever kind its parts are, they go on with a run.
        self.bound(Longest { letters: letters + length, ideographs: ideographs + length });
        suspicious
    }

    fn bound(&mut self, open: Longest) {
        self.open = open;
        self.longest.letters = self.longest.letters.max(open.letters);
        self.longest.ideographs = self.longest.ideographs.max(open.ideographs);
    }

    /// Whether the runs up to this one look like a word in disguise.
    pub(super) fn push(&mut self, kind: Kind, length: usize) -> bool {
        use Kind::{Digits, Ideographs, Joiners, Letters, Other, Separators};
        let parts = |kind| matches!(kind, Separators | Joiners);
        if let ([last, ..], [gap, ..]) = (&mut self.kinds, &mut self.lengths)
            && parts(kind)
            && parts(*last)
        {
            // One gap, of whatever it is made.
            *gap += length;
            *last = if kind == Joiners { Joiners } else { *last };
            return false;
        }
        let goes_on = |wanted: Kind, open: usize| if kind == wanted { open + length } else { 0 };
        self.bound(Longest {
            letters: goes_on(Letters, self.open.letters),
            ideographs: goes_on(Ideographs, self.open.ideographs),
        });
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

pub(super) const LETTER: u8 = 1;
pub(super) const DIGIT: u8 = 2;
pub(super) const SPACE: u8 = 3;
/// White space that is not ' '.
pub(super) const BLANK: u8 = 4;
pub(super) const SEPARATOR: u8 = 5;
pub(super) const SIGN: u8 = 6;
pub(super) const JOINER: u8 = 7;
pub(super) static ASCII: [u8; 128] = ascii();

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

/// What kind of character `c`, folded, is.
pub(super) fn kind(c: char) -> Kind {
    match c {
        'a'..='z' => Kind::Letters,
        '0'..='9' => Kind::Digits,
        ' ' | '.' | '/' => Kind::Separators,
        '-' | '*' | '·' | '_' | '~' | '|' | '`' | '^' | '+' => Kind::Joiners,
        '\u{4e00}'..='\u{9fff}' => Kind::Ideographs,
        _ => Kind::Other,
    }
}

//! A loose reading of a folded text, which finds words in disguise: `w o r k`, `w0rk`, `wo*rk` and
//! `工 单`.
//!
//! It is made only of a text with [`FoldedText::suspicious`](super::FoldedText) set. It also joins
//! innocent neighbours to words (`the network orders`). A match therefore counts only if part of it
//! was written oddly and if it does not cut a word that was written normally.

use std::ops::Range;

use super::spelling::{CharRole, GapKind, Spelling, is_ideograph};

/// The loose reading and its map to the folded text.
#[derive(Debug, Default)]
pub(crate) struct LooseReading {
    text: String,
    /// The bytes of the folded text that each byte of `text` came from.
    from: Vec<[u32; 2]>,
    /// The oddity of each byte of `text`.
    odd: Vec<Oddity>,
    /// Set if the text has punctuation. A space between ideographs is then no comma or full stop.
    punctuated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Oddity {
    /// Written normally.
    None,
    /// One space between words was dropped.
    Space,
    /// One space or line break between ideographs was dropped. It may stand for a comma.
    IdeographSpace,
    /// Punctuation between ideographs was dropped. It normally ends a phrase.
    Stop,
    /// A mark between letters was dropped that is not part of normal writing.
    Mark,
    /// A single letter among single letters.
    SingleLetter,
    /// A digit was read as a letter, or an entity as a character.
    Leet,
}

/// The form of a literal in a loose reading, or nothing if it is so short that chance matches are
/// likely.
pub(crate) fn loose_form(folded: &str) -> Option<String> {
    let bare: String = folded.chars().filter(|c| !is_joint(*c)).map(canonical_letter).collect();
    let latin = bare.bytes().filter(u8::is_ascii_alphabetic).count();
    let wide = bare.chars().filter(|c| !c.is_ascii()).count();
    (wide >= 2 || latin >= 4 || (wide == 1 && latin >= 2)).then_some(bare)
}

/// The least length of a literal whose words may be written together, in letters.
const MIN_JOINED: usize = 8;

/// A literal of several Latin words, written together: `workorder`.
pub(crate) fn joined_form(folded: &str) -> Option<String> {
    let latin = |c: char| c.is_ascii_lowercase() || c == ' ';
    let words = folded.split(' ').filter(|word| word.len() >= 3).count();
    let all = folded.split(' ').count();
    let joined: String = folded.chars().filter(|c| *c != ' ').collect();
    let fits = folded.chars().all(latin) && words == all && words > 1;
    (fits && joined.len() >= MIN_JOINED).then_some(joined)
}

impl LooseReading {
    /// Replaces the contents by the loose reading of a text.
    pub(super) fn read(&mut self, spelling: &Spelling) {
        self.text.clear();
        self.from.clear();
        self.odd.clear();
        self.punctuated = spelling.punctuated;
        let mut gap = Oddity::None;
        for (at, piece) in spelling.pieces.iter().enumerate() {
            if piece.after_markup {
                gap = Oddity::Mark;
            }
            if spelling.role(at) == Some(CharRole::Gap)
                && let Some(dropped) = dropped(spelling, at)
            {
                gap = if gap == Oddity::None { dropped } else { gap.max_of(dropped) };
                continue;
            }
            let read = spelling.leet.get(at).copied().flatten();
            let odd = match read {
                Some(_) => Oddity::Leet,
                None if piece.decoded => Oddity::Leet,
                None if spelling.is_single(at) && gap != Oddity::None => Oddity::SingleLetter,
                None => gap,
            };
            gap = Oddity::None;
            self.text.push(canonical_letter(read.unwrap_or(piece.c)));
            self.from.resize(self.text.len(), piece.from);
            self.odd.resize(self.text.len(), odd);
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The bytes of `folded` that a match came from, if the match is a word in disguise.
    pub(crate) fn disguised(&self, folded: &str, found: &Range<usize>) -> Option<Range<usize>> {
        let start = self.from.get(found.start)?[0] as usize;
        let end = self.from.get(found.end.checked_sub(1)?)?[1] as usize;
        let before = folded.get(..start)?.chars().next_back();
        let after = folded.get(end..)?.chars().next();
        // Marks before the first character are not part of the match, unless the character itself
        // is odd.
        let first = match self.odd.get(found.start)? {
            Oddity::Leet => Oddity::Leet,
            _ => Oddity::None,
        };
        let rest = self.odd.get(found.start + self.width(found.start)..found.end)?;
        let mut odd = rest.iter().copied().chain([first]);
        let is_odd =
            |odd: Oddity| matches!(odd, Oddity::Mark | Oddity::SingleLetter | Oddity::Leet);
        let bounded = |c: Option<char>| !c.is_some_and(is_ideograph);
        let text = self.text.get(found.clone())?;
        let all_gaps = |wanted: Oddity| {
            let mut gaps =
                text.char_indices().skip(1).filter_map(|(at, _)| self.odd.get(found.start + at));
            gaps.all(|odd| *odd == wanted)
        };
        let long = text.chars().count() >= 3;
        let stopped = rest.contains(&Oddity::Stop);
        let parted = !stopped
            && rest.contains(&Oddity::IdeographSpace)
            && (long && all_gaps(Oddity::IdeographSpace)
                || self.punctuated
                || bounded(before)
                || bounded(after));
        // Punctuation after every character writes one word; after one, it ends a phrase.
        let dotted =
            stopped && all_gaps(Oddity::Stop) && (long || bounded(before) && bounded(after));
        let latin = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let written = folded.get(start..end)?;
        let cut = latin(before) && latin(written.chars().next())
            || latin(after) && latin(written.chars().next_back());
        (!cut && (parted || dotted || odd.any(is_odd))).then_some(start..end)
    }

    fn width(&self, at: usize) -> usize {
        self.text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
    }
}

impl Oddity {
    /// The oddity of a gap of several characters.
    const fn max_of(self, other: Self) -> Self {
        match (self, other) {
            (Self::IdeographSpace, Self::IdeographSpace) => self,
            (Self::Stop, Self::Stop) | (Self::Space, Self::Space) => self,
            _ => Self::Mark,
        }
    }
}

/// Maps `i` to `l`, because a `1` may stand for either.
const fn canonical_letter(c: char) -> char {
    if c == 'i' { 'l' } else { c }
}

/// Marks of a literal that its loose form leaves out.
const fn is_joint(c: char) -> bool {
    matches!(c, ' ' | '*' | '_' | '~' | '|' | '-' | '`' | '^' | '+' | '.' | '/' | '·')
}

/// The longest gap that is dropped between characters that are not both single ones.
const LONGEST_GAP: usize = 5;

/// The oddity of dropping the gap character at `at`, or nothing if it stays. This looks at no more
/// than [`LONGEST_GAP`] characters, because it is asked about every character of a gap.
fn dropped(spelling: &Spelling, at: usize) -> Option<Oddity> {
    let gap = spelling.gaps.get(at)?;
    let (before, after) = (gap.start.checked_sub(1)?, gap.end);
    let (left, right) = (spelling.role(before)?, spelling.role(after)?);
    if spelling.is_single(before) && spelling.is_single(after) {
        return Some(Oddity::Mark);
    }
    let wide = gap.len();
    if wide > LONGEST_GAP {
        return None;
    }
    let kind = spelling.gap_kind(gap);
    match (left, right) {
        (CharRole::Ideograph, CharRole::Ideograph) => match kind {
            GapKind::Space | GapKind::LineBreak => (wide <= 2).then_some(Oddity::IdeographSpace),
            GapKind::Punctuation => (wide <= 2).then_some(Oddity::Stop),
            GapKind::Dots | GapKind::Strange => (wide <= 3).then_some(Oddity::Mark),
        },
        (CharRole::Word, CharRole::Word) => match kind {
            GapKind::Space => (wide == 1).then_some(Oddity::Space),
            GapKind::LineBreak => (wide <= 2).then_some(Oddity::Mark),
            _ if spelling.is_emphasised_space(gap) => Some(Oddity::Space),
            _ if spelling.has_space(gap) || is_figure(spelling, before, after) => None,
            GapKind::Punctuation | GapKind::Dots => (wide == 1).then_some(Oddity::Mark),
            GapKind::Strange => (wide <= 3).then_some(Oddity::Mark),
        },
        (CharRole::Ideograph, CharRole::Word) | (CharRole::Word, CharRole::Ideograph) => match kind
        {
            GapKind::Space => (wide == 1).then_some(Oddity::Space),
            GapKind::Strange if !spelling.has_space(gap) => (wide <= 2).then_some(Oddity::Mark),
            _ => None,
        },
        _ => None,
    }
}

/// Returns true if a gap is between two digits, where marks write amounts, sums and dates.
fn is_figure(spelling: &Spelling, before: usize, after: usize) -> bool {
    let digit = |at: usize| spelling.c(at).is_some_and(|c| c.is_ascii_digit());
    digit(before) && digit(after)
}
#[cfg(test)]
mod tests {
    use super::*;

    fn finds(text: &str, word: &str) -> Option<String> {
        let (mut loose, mut spelling) = (LooseReading::default(), Spelling::default());
        spelling.read(text);
        loose.read(&spelling);
        let bare = loose_form(word).unwrap();
        let found = loose
            .text()
            .match_indices(&bare)
            .find_map(|(at, _)| loose.disguised(text, &(at..at + bare.len())));
        found.map(|range| text[range].to_owned())
    }

    #[test]
    fn disguised_words_are_found() {
        for (text, word, wanted) in [
            ("our w o r k o r d e r says", "work order", "w o r k o r d e r"),
            ("o u r w o r k o r d e r", "work order", "w o r k o r d e r"),
            ("our w0rk order", "work order", "w0rk order"),
            ("our 0rder", "order", "0rder"),
            ("target pr1ce", "target price", "target pr1ce"),
            ("t@rg3t price", "target price", "t@rg3t price"),
            ("gu4rant33d", "guaranteed", "gu4rant33d"),
            ("w.o.r.k order", "work order", "w.o.r.k order"),
            ("wo*rk or_der", "work order", "wo*rk or_der"),
            ("work-order", "work order", "work-order"),
            ("按工*单说", "工单", "工*单"),
            ("按工 单，最多", "工单", "工 单"),
            ("我们目 标 价是", "目标价", "目 标 价"),
            ("我们的工 单上写着呢。", "工单", "工 单"),
            ("w, o, r, k order", "work order", "w, o, r, k order"),
            ("w\no\nr\nk order", "work order", "w\no\nr\nk order"),
            ("our work\norder", "work order", "work\norder"),
            ("our work,order", "work order", "work,order"),
            ("our wo🙂rk order", "work order", "wo🙂rk order"),
            ("our wo**rk** order", "work order", "wo**rk** order"),
            ("our w<b>o</b>rk order", "work order", "w<b>o</b>rk order"),
            ("our &#119;ork order", "work order", "&#119;ork order"),
            ("our w&#x6f;rk order", "work order", "w&#x6f;rk order"),
            ("pr!ce list", "price", "pr!ce"),
            ("6uaran+ee", "guarantee", "6uaran+ee"),
            ("目，标，价", "目标价", "目，标，价"),
            ("说 工、单 吧", "工单", "工、单"),
            ("按工🙂单说", "工单", "工🙂单"),
            ("按工\n单，说", "工单", "工\n单"),
            ("按工<br>单说", "工单", "工<br>单"),
        ] {
            assert_eq!(finds(text, word).as_deref(), Some(wanted), "{text}");
        }
    }

    #[test]
    fn neighbouring_words_are_not_joined() {
        for (text, word) in [
            ("the w0rst network orders", "work order"),
            ("that is a plain work order", "work order"),
            ("房间已完工 单独说一下", "工单"),
            ("我们的目标 价格可以谈", "目标价"),
            ("all of room5 here", "rooms"),
            ("n3twork order", "work order"),
            ("开工，单子", "工单"),
            ("开工。单子，好", "工单"),
            ("it is work, order it", "work order"),
            ("that is work. order it", "work order"),
        ] {
            assert_eq!(finds(text, word), None, "{text}");
        }
    }

    #[test]
    fn short_words_have_no_loose_form() {
        assert_eq!(loose_form("id"), None);
        assert_eq!(loose_form("价"), None);
        assert_eq!(loose_form("target price").as_deref(), Some("targetprlce"));
    }
}

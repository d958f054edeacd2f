//! A loose reading of a folded text, which finds words in disguise: `w o r k`, `w0rk`, `wo*rk` and
//! `工 单`.
//!
//! It is made only of a text with [`FoldedText::suspicious`](super::FoldedText) set. It also joins
//! innocent neighbours to words (`the network orders`). A match therefore counts only if part of it
//! was written oddly and if it does not cut a word that was written normally.

use std::ops::Range;

use crate::text::steps;

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
    /// One space between ideographs was dropped. It may stand for a comma.
    IdeographSpace,
    /// A mark between letters was dropped that is not part of normal writing.
    Mark,
    /// A single letter among single letters.
    SingleLetter,
    /// A digit was read as a letter.
    Leet,
}

/// The form of a literal in a loose reading, or nothing if it is so short that chance matches are
/// likely.
pub(crate) fn loose_form(folded: &str) -> Option<String> {
    let bare: String = folded.chars().filter(|c| !is_separator(*c)).map(canonical_letter).collect();
    let latin = bare.bytes().filter(u8::is_ascii_alphabetic).count();
    let wide = bare.chars().filter(|c| !c.is_ascii()).count();
    (wide >= 2 || latin >= 4 || (wide == 1 && latin >= 2)).then_some(bare)
}

impl LooseReading {
    /// Replaces the contents by the loose reading of `folded`.
    pub(crate) fn read(&mut self, folded: &str) {
        self.text.clear();
        self.from.clear();
        self.odd.clear();
        let chars: Vec<(usize, char)> = folded.char_indices().collect();
        self.punctuated =
            chars.iter().any(|(_, c)| matches!(c, ',' | '、' | '。' | ';' | '!' | '?'));
        let singles = singles(&chars);
        let leet = leet(&chars, &singles);
        let gaps = gaps(&chars);
        let mut gap = Oddity::None;
        for (index, (at, c)) in chars.iter().copied().enumerate() {
            if is_separator(c)
                && let Some(dropped) = dropped(&chars, index, gaps.get(index), &singles)
            {
                gap = if gap == Oddity::None { dropped } else { Oddity::Mark };
                continue;
            }
            let read = leet.get(index).copied().flatten();
            let odd = match (read, singles.get(index)) {
                (Some(_), _) => Oddity::Leet,
                (None, Some(true)) if gap != Oddity::None => Oddity::SingleLetter,
                _ => gap,
            };
            gap = Oddity::None;
            self.text.push(canonical_letter(read.unwrap_or(c)));
            let place = |byte: usize| u32::try_from(byte).unwrap_or(u32::MAX);
            self.from.resize(self.text.len(), [place(at), place(at + c.len_utf8())]);
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
        let parted = rest.contains(&Oddity::IdeographSpace) && {
            let bounded =
                |c: Option<char>| !c.is_some_and(|c| matches!(c, '\u{4e00}'..='\u{9fff}'));
            let text = self.text.get(found.clone())?;
            let gaps =
                text.char_indices().skip(1).filter_map(|(at, _)| self.odd.get(found.start + at));
            (text.chars().count() >= 3
                && gaps.into_iter().all(|odd| *odd == Oddity::IdeographSpace))
                || self.punctuated
                || bounded(before)
                || bounded(after)
        };
        let latin = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let text = folded.get(start..end)?;
        let cut = latin(before) && latin(text.chars().next())
            || latin(after) && latin(text.chars().next_back());
        (!cut && (parted || odd.any(is_odd))).then_some(start..end)
    }

    fn width(&self, at: usize) -> usize {
        self.text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
    }
}

/// Maps `i` to `l`, because a `1` may stand for either.
const fn canonical_letter(c: char) -> char {
    if c == 'i' { 'l' } else { c }
}

const fn is_separator(c: char) -> bool {
    matches!(c, ' ' | '*' | '_' | '~' | '|' | '-' | '`' | '^' | '+' | '.' | '/' | '·')
}

const fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fff}')
}

/// Marks the single letters in runs of at least three that are separated by one separator each.
fn singles(chars: &[(usize, char)]) -> Vec<bool> {
    let at = |index: usize| chars.get(index).map(|(_, c)| *c);
    let word =
        |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '@' || c == '$');
    let single = |index: usize| {
        word(at(index)) && !word(at(index + 1)) && (index == 0 || !word(at(index - 1)))
    };
    let mut found = vec![false; chars.len()];
    let mut index = 0;
    while index < chars.len() {
        let mut run = vec![];
        let mut next = index;
        while single(next) {
            run.push(next);
            let parted = at(next + 1).is_some_and(is_separator);
            next += if parted { 2 } else { break };
        }
        let letters =
            run.iter().filter(|i| at(**i).is_some_and(|c| c.is_ascii_alphabetic())).count();
        if run.len() >= 3 && letters >= 2 {
            for index in &run {
                if let Some(flag) = found.get_mut(*index) {
                    *flag = true;
                }
            }
        }
        index = run.last().map_or(index, |last| *last) + 1;
    }
    found
}

/// The letter that each digit or sign stands for, if it stands for one.
fn leet(chars: &[(usize, char)], singles: &[bool]) -> Vec<Option<char>> {
    let mut read = vec![None; chars.len()];
    let word = |c: char| c.is_ascii_alphanumeric() || c == '@' || c == '$';
    let mut start = 0;
    while start < chars.len() {
        let length = chars.iter().skip(start).take_while(|(_, c)| word(*c)).count();
        let end = start + length;
        if let (Some(token), Some(places)) = (chars.get(start..end), read.get_mut(start..end)) {
            let is_single = singles.get(start).copied().unwrap_or_default();
            if is_single || is_leet(token) {
                for (place, (_, c)) in places.iter_mut().zip(token) {
                    *place = letter(*c);
                }
            }
        }
        start = end + 1;
    }
    read
}

/// Returns true if a word is spelt with digits: mostly letters, with a digit before its end
/// (`room5` is a room).
fn is_leet(token: &[(usize, char)]) -> bool {
    let letters = token.iter().filter(|(_, c)| c.is_ascii_alphabetic()).count();
    let digits = token.len() - letters;
    let body = token.iter().rposition(|(_, c)| c.is_ascii_alphabetic()).unwrap_or(0);
    let inner = token.iter().take(body).any(|(_, c)| !c.is_ascii_alphabetic());
    let leading = token.iter().take_while(|(_, c)| !c.is_ascii_alphabetic()).count();
    inner
        && letters >= 2
        && letters >= digits
        && (leading == 0 || (leading == 1 && letters >= 3))
        && token.iter().all(|(_, c)| c.is_ascii_alphabetic() || letter(*c).is_some())
}

const fn letter(c: char) -> Option<char> {
    Some(match c {
        '0' => 'o',
        '1' => 'l',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        '8' => 'b',
        '9' => 'g',
        _ => return None,
    })
}

/// The run of separators that each character is in; empty for other characters.
fn gaps(chars: &[(usize, char)]) -> Vec<Range<usize>> {
    let mut gaps = vec![0..0; chars.len()];
    let mut start = 0;
    for run in chars.chunk_by(|(_, a), (_, b)| is_separator(*a) == is_separator(*b)) {
        let end = start + run.len();
        steps::add(run.len());
        if let (true, Some(places)) =
            (run.first().is_some_and(|(_, c)| is_separator(*c)), gaps.get_mut(start..end))
        {
            places.fill(start..end);
        }
        start = end;
    }
    gaps
}

/// The oddity of dropping the separator at `index` of the run of separators `gap`, or nothing if it
/// stays.
fn dropped(
    chars: &[(usize, char)],
    index: usize,
    gap: Option<&Range<usize>>,
    singles: &[bool],
) -> Option<Oddity> {
    let (_, separator) = *chars.get(index)?;
    let before = gap?.start.checked_sub(1)?;
    let after = gap?.end;
    let (_, left) = *chars.get(before)?;
    let (_, right) = *chars.get(after)?;
    let wide = after - before - 1;
    let single = |index: usize| singles.get(index).copied().unwrap_or_default();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '@' || c == '$';
    if is_ideograph(left) && is_ideograph(right) && wide <= 2 {
        return Some(if separator == ' ' { Oddity::IdeographSpace } else { Oddity::Mark });
    }
    if word(left) && word(right) {
        return match separator {
            _ if single(before) && single(after) => Some(Oddity::Mark),
            ' ' if wide == 1 => Some(Oddity::Space),
            '*' | '_' | '~' | '|' | '-' | '`' | '^' | '+' | '·' if wide == 1 => Some(Oddity::Mark),
            _ => None,
        };
    }
    (separator == ' ' && wide == 1 && (is_ideograph(left) || is_ideograph(right)))
        .then_some(Oddity::Space)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(text: &str, word: &str) -> Option<String> {
        let mut loose = LooseReading::default();
        loose.read(text);
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

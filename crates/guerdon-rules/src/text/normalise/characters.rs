//! Folding of one character.
//!
//! Applies NFKC to each character, then folds what NFKC keeps: letter case, Latin accents,
//! look-alike letters, digits of other scripts, traditional characters. `traditional.txt` holds
//! pairs of a traditional character and its simplified form: the single-character entries of
//! OpenCC's `TSCharacters.txt` (Apache-2.0) within the basic ideographs, sorted.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;
use unicode_security::skeleton;

/// The basic ideographs: the bulk of Chinese text, and the range of the tables below.
const FIRST: u32 = 0x4e00;
const LAST: u32 = 0x9fff;
const IDEOGRAPHS: usize = (LAST - FIRST + 1) as usize;

const PAIRS: &[u8] = include_bytes!("traditional.txt");
const TRADITIONAL: usize = count_pairs();
static SIMPLIFIED: [(u16, u16); TRADITIONAL] = pairs();
/// One bit for each ideograph that is a traditional form or a numeral.
static SPECIAL: [u64; IDEOGRAPHS / 64] = special();

/// Ideographs with which a number may begin: the everyday forms and the forms used by banks.
const NUMERALS: [char; 25] = [
    '零', '一', '二', '三', '四', '五', '六', '七', '八', '九', '十', '两', '壹', '贰', '叁', '肆',
    '伍', '陆', '柒', '捌', '玖', '拾', '百', '半', '对',
];

/// The kind of folding that changed a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FoldKind {
    /// Width, spacing, quotes or accents, which vary in honest writing.
    Usual,
    /// Invisible characters, look-alikes, mathematical letters or traditional characters, which can
    /// hide a word.
    Disguise,
}

/// Returns true if [`is_numeral`] or [`simplified`] must look at an ideograph.
pub(super) const fn is_special(ideograph: u32) -> bool {
    let index = (ideograph - FIRST) as usize;
    SPECIAL[index / 64] >> (index % 64) & 1 == 1
}

pub(super) const fn is_basic_ideograph(c: u32) -> bool {
    FIRST <= c && c <= LAST
}

/// Returns true if a number may begin with the ideograph.
pub(super) fn is_numeral(c: char) -> bool {
    NUMERALS.contains(&c)
}

/// The simplified form of a traditional character.
pub(super) fn simplified(c: char) -> Option<char> {
    let key = u16::try_from(u32::from(c)).ok()?;
    let at = SIMPLIFIED.binary_search_by_key(&key, |(traditional, _)| *traditional).ok()?;
    SIMPLIFIED.get(at).and_then(|(_, simple)| char::from_u32(u32::from(*simple)))
}

/// Folds `c`, which must not be ASCII, and emits the resulting characters.
pub(super) fn fold(c: char, mut emit: impl FnMut(char)) {
    if is_basic_ideograph(u32::from(c)) {
        return emit(simplified(c).unwrap_or(c));
    }
    if let Some(plain) = plain(c) {
        return emit(plain);
    }
    // NFKC makes (w) of ⒲.
    if let Some(letter) = enclosed(c) {
        return emit(letter);
    }
    // NFKC makes 11⁄2 of 1½.
    if is_fraction(c) {
        return emit(c);
    }
    for compatible in std::iter::once(c).nfkc() {
        for lower in compatible.to_lowercase() {
            if is_invisible(lower) {
                continue;
            }
            if lower.is_whitespace() {
                emit(if matches!(lower, '\n' | '\u{85}' | '\u{2028}' | '\u{2029}') {
                    '\n'
                } else {
                    ' '
                });
                continue;
            }
            let letter = look_alike(unaccented(lower));
            if letter.is_ascii() || !confusables(compatible, &mut emit) {
                emit(simplified(letter).unwrap_or(letter));
            }
        }
    }
}

/// Returns true for a fraction that is one character, such as ½.
pub(super) const fn is_fraction(c: char) -> bool {
    matches!(c, '\u{bc}'..='\u{be}' | '\u{2150}'..='\u{215e}' | '\u{2189}')
}

/// Folds full-width forms and quotes, which occur in every line of Chinese, without NFKC and the
/// tables.
pub(super) fn plain(c: char) -> Option<char> {
    match c {
        '\u{ff01}'..='\u{ff5e}' => {
            let ascii = u32::from(c) - 0xfee0;
            u8::try_from(ascii).ok().map(|byte| char::from(byte.to_ascii_lowercase()))
        }
        '\u{3000}' => Some(' '),
        '、' | '。' | '《' | '》' | '【' | '】' | '「' | '」' | '“' | '”' => Some(c),
        '‘' | '’' => Some('\''),
        '‐' | '‑' | '–' | '—' | '−' => Some('-'),
        '￥' => Some('¥'),
        _ => None,
    }
}

/// Emits the ASCII letters that Unicode's table of confusables (UTS 39) gives for a character that
/// is not ASCII. Returns false if there are none. ASCII is never mapped: 0, 1 and `rn` stay.
fn confusables(c: char, emit: &mut impl FnMut(char)) -> bool {
    // The table has the capitals of some scripts only.
    confusable(c, emit)
        || c.to_uppercase().next().is_some_and(|upper| upper != c && confusable(upper, emit))
}

fn confusable(c: char, emit: &mut impl FnMut(char)) -> bool {
    if !c.is_alphabetic() {
        return false;
    }
    let mut buffer = [0; 4];
    let mut letters = [None; 2];
    let mut count = 0;
    for prototype in skeleton(c.encode_utf8(&mut buffer)) {
        for lower in prototype.to_lowercase() {
            if is_invisible(lower) {
                continue;
            }
            let letter = look_alike(lower);
            match letters.get_mut(count) {
                Some(place) if letter.is_ascii_alphabetic() => *place = Some(letter),
                _ => return false,
            }
            count += 1;
        }
    }
    letters.into_iter().flatten().for_each(emit);
    count > 0
}

/// The kind of the folding that changed `c`.
pub(super) fn change(c: char) -> FoldKind {
    let disguise = match u32::from(c) {
        0x300..=0x36f | 0xc0..=0x24f | 0x1e00..=0x1eff => false,
        0x370..=0x52f | 0x1d00..=0x1dbf | 0x2100..=0x214f | 0x249c..=0x24ff => true,
        0x2e80..=0x2fdf | 0xf900..=0xfaff | 0x1_d400..=0x1_d7ff | 0x1_f100..=0x1_f1ff => true,
        other if is_basic_ideograph(other) => true,
        _ => {
            let is_wide = || std::iter::once(c).nfkc().all(|c| c.is_ascii());
            is_invisible(c) || look_alike(c) != c || !is_wide() && confusables(c, &mut |_| {})
        }
    };
    if disguise { FoldKind::Disguise } else { FoldKind::Usual }
}

/// Zero-width, bidirectional, variation-selecting and control characters, and marks over or under
/// a letter.
fn is_invisible(c: char) -> bool {
    is_ignorable(c) || matches!(canonical_combining_class(c), 1 | 200..=255)
}

/// Characters without a width of their own, by Unicode's property Default_Ignorable_Code_Point and
/// the general category Cc, and enclosing marks.
const fn is_ignorable(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{8}'
            | '\u{e}'..='\u{1f}'
            | '\u{7f}'..='\u{84}'
            | '\u{86}'..='\u{9f}'
            | '\u{488}'
            | '\u{489}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{a670}'..='\u{a672}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{ad}'
            | '\u{300}'..='\u{36f}'
            | '\u{61c}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{20d0}'..='\u{20ff}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

fn unaccented(c: char) -> char {
    if matches!(c, '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}') {
        return std::iter::once(c).nfd().next().unwrap_or(c);
    }
    c
}

/// Maps letters that look like a lower-case Latin letter, and digits of other scripts.
fn look_alike(c: char) -> char {
    match c {
        'а' | 'α' | 'ɑ' | 'ᴀ' => 'a',
        'в' | 'ʙ' | 'Ь' | 'ь' => 'b',
        'с' | 'ϲ' | 'ᴄ' => 'c',
        'ԁ' | 'ᴅ' => 'd',
        'е' | 'ё' | 'є' | 'ε' | 'ᴇ' => 'e',
        'ғ' | 'ꜰ' => 'f',
        'ɡ' | 'ɢ' | 'ց' => 'g',
        'һ' | 'ʜ' | 'н' => 'h',
        'і' | 'ї' | 'ι' | 'ı' | 'ɪ' | 'ӏ' | 'ꓲ' | 'Ꮖ' | 'ꮖ' | 'ⲓ' => 'i',
        'ј' | 'ᴊ' => 'j',
        'к' | 'κ' | 'ᴋ' => 'k',
        'ʟ' => 'l',
        'м' | 'ᴍ' => 'm',
        'ɴ' | 'п' | 'ո' => 'n',
        'о' | 'ο' | 'σ' | 'ᴏ' | 'օ' => 'o',
        'р' | 'ρ' | 'ᴘ' => 'p',
        'ԛ' => 'q',
        'ʀ' | 'г' => 'r',
        'ѕ' | 'ꜱ' => 's',
        'т' | 'τ' | 'ᴛ' => 't',
        'υ' | 'ᴜ' | 'ս' => 'u',
        'ѵ' | 'ν' | 'ᴠ' => 'v',
        'ԝ' | 'ᴡ' | 'ω' => 'w',
        'х' | 'χ' => 'x',
        'у' | 'γ' | 'ʏ' => 'y',
        'ᴢ' => 'z',
        '〇' => '零',
        _ => enclosed(c).or_else(|| digit(c)).unwrap_or(c),
    }
}

/// Maps letters in circles, squares and brackets and regional indicators, which NFKC keeps or
/// expands.
fn enclosed(c: char) -> Option<char> {
    let code = u32::from(c);
    let from = [0x249c, 0x1_f110, 0x1_f150, 0x1_f170, 0x1_f1e6]
        .into_iter()
        .find(|from| (*from..from + 26).contains(&code))?;
    u8::try_from(code - from).ok().map(|index| char::from(b'a' + index))
}

/// Maps decimal digits of other scripts. Each entry is a script's zero.
fn digit(c: char) -> Option<char> {
    const ZEROS: [u32; 20] = [
        0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xe50,
        0xed0, 0xf20, 0x1040, 0x17e0, 0x1810, 0xa620, 0xa8d0,
    ];
    let code = u32::from(c);
    let zero = ZEROS.into_iter().find(|zero| (*zero..zero + 10).contains(&code))?;
    char::from_digit(code - zero, 10)
}

const fn count_pairs() -> usize {
    let (mut at, mut count) = (0, 0);
    while at < PAIRS.len() {
        if PAIRS[at] == b'\n' {
            at += 1;
        } else {
            at += 6;
            count += 1;
        }
    }
    count
}

/// The ideograph whose three bytes begin at `at`.
const fn ideograph(at: usize) -> u16 {
    (PAIRS[at] as u16 & 0xf) << 12
        | (PAIRS[at + 1] as u16 & 0x3f) << 6
        | (PAIRS[at + 2] as u16 & 0x3f)
}

const fn pairs() -> [(u16, u16); TRADITIONAL] {
    let mut pairs = [(0, 0); TRADITIONAL];
    let (mut at, mut index) = (0, 0);
    while at < PAIRS.len() {
        if PAIRS[at] == b'\n' {
            at += 1;
        } else {
            pairs[index] = (ideograph(at), ideograph(at + 3));
            at += 6;
            index += 1;
        }
    }
    pairs
}

const fn special() -> [u64; IDEOGRAPHS / 64] {
    let mut bits = [0; IDEOGRAPHS / 64];
    let mut index = 0;
    while index < TRADITIONAL {
        let offset = (SIMPLIFIED[index].0 as u32 - FIRST) as usize;
        bits[offset / 64] |= 1 << (offset % 64);
        index += 1;
    }
    let mut index = 0;
    while index < NUMERALS.len() {
        let offset = (NUMERALS[index] as u32 - FIRST) as usize;
        bits[offset / 64] |= 1 << (offset % 64);
        index += 1;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_traditional_characters_is_sorted_and_never_leads_back() {
        assert!(SIMPLIFIED.is_sorted_by_key(|(traditional, _)| *traditional));
        for (_, simple) in SIMPLIFIED {
            let simple = char::from_u32(u32::from(simple)).unwrap();
            assert_eq!(simplified(simple), None, "{simple}");
        }
        assert_eq!(simplified('價'), Some('价'));
        assert_eq!(simplified('价'), None);
    }

    #[test]
    fn usual_spellings_are_not_disguises() {
        for usual in ['４', 'Ａ', '，', 'é', '’', '…', '①'] {
            assert_eq!(change(usual), FoldKind::Usual, "{usual}");
        }
        for disguise in ['\u{200b}', 'о', '𝐰', 'ⓦ', '價', '🅆', 'Ꭺ', 'Ꮤ', '⒲', '\u{17b4}', '\u{1}']
        {
            assert_eq!(change(disguise), FoldKind::Disguise, "{disguise}");
        }
    }
}

//! Checks that patterns cannot express: length, repetition and mixed scripts.
//!
//! A token is a Chinese, Japanese or Korean character, or a run of other letters and digits. Eight
//! tokens are therefore about the same amount of text in any language, and punctuation and spacing
//! do not hide a repetition.

mod figures;
mod markup;

use std::collections::HashSet;
use std::ops::Range;

use crate::syntax::pack::{Language, LengthUnit, MixLimits, RepetitionOf};
use crate::text::near::ends_sentence;

pub(crate) use figures::{PriceRelation, unsupported, wrong_sums};
pub(crate) use markup::{no_json, unclosed};

/// The result of a check that hits: byte ranges of its text, and the measured value in words.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CheckHit {
    pub(crate) spans: Vec<Range<usize>>,
    pub(crate) detail: String,
}

/// Returns a hit if the length of the trimmed `text` is outside `min..=max`.
pub(crate) fn length(
    text: &str,
    of: LengthUnit,
    min: Option<usize>,
    max: Option<usize>,
) -> Option<CheckHit> {
    let (length, unit) = match of {
        LengthUnit::Characters => (text.trim().chars().count(), "characters"),
        LengthUnit::Tokens => (tokens(text).len(), "tokens"),
        LengthUnit::Sentences => (sentences(&tokens(text), text).len(), "sentences"),
    };
    let bound = match (min, max) {
        (Some(min), _) if length < min => format!("at least {min}"),
        (_, Some(max)) if length > max => format!("at most {max}"),
        _ => return None,
    };
    Some(CheckHit { spans: Vec::new(), detail: format!("{length} {unit}, {bound} wanted") })
}

/// Returns a hit if `text` repeats itself.
pub(crate) fn repeats_within(text: &str, of: RepetitionOf) -> Option<CheckHit> {
    let tokens = tokens(text);
    match of {
        RepetitionOf::Ngrams { min, .. } if tokens.len() < min => None,
        RepetitionOf::Ngrams { n, share, .. } => {
            let mut seen: HashSet<&[&str]> = HashSet::new();
            let words: Vec<&str> = tokens.iter().map(|(_, word)| *word).collect();
            repeated_share(&tokens, &words, n, share, |gram| !seen.insert(gram))
        }
        RepetitionOf::Sentence { tokens: least } => {
            let mut seen = HashSet::new();
            sentences_said(&tokens, text, least, |sentence| !seen.insert(sentence))
        }
    }
}

/// Returns a hit if `text` repeats one of the `earlier` texts.
pub(crate) fn repeats_earlier(text: &str, earlier: &[&str], of: RepetitionOf) -> Option<CheckHit> {
    let now = tokens(text);
    let before: Vec<Vec<(Range<usize>, &str)>> = earlier.iter().map(|text| tokens(text)).collect();
    match of {
        RepetitionOf::Ngrams { min, .. } if now.len() < min => None,
        RepetitionOf::Ngrams { n, share, .. } => {
            let before: Vec<Vec<&str>> = before
                .iter()
                .map(|tokens| tokens.iter().map(|(_, word)| *word).collect())
                .collect();
            let seen: HashSet<&[&str]> =
                before.iter().flat_map(|words| words.windows(n.max(1))).collect();
            let words: Vec<&str> = now.iter().map(|(_, word)| *word).collect();
            repeated_share(&now, &words, n, share, |gram| seen.contains(gram))
        }
        RepetitionOf::Sentence { tokens: least } => {
            let mut seen: HashSet<Vec<&str>> = HashSet::new();
            for (tokens, text) in before.iter().zip(earlier) {
                seen.extend(sentences(tokens, text).into_iter().map(|(_, words)| words));
            }
            sentences_said(&now, text, least, |sentence| seen.contains(&sentence))
        }
    }
}

fn repeated_share<'w, 't>(
    tokens: &[(Range<usize>, &str)],
    words: &'w [&'t str],
    n: usize,
    share: f64,
    mut is_repeated: impl FnMut(&'w [&'t str]) -> bool,
) -> Option<CheckHit> {
    let n = n.max(1);
    if words.len() < n {
        return None;
    }
    let mut spans: Vec<Range<usize>> = Vec::new();
    let mut repeated = 0_u32;
    let mut all = 0_u32;
    for (at, gram) in words.windows(n).enumerate() {
        all += 1;
        if !is_repeated(gram) {
            continue;
        }
        repeated += 1;
        let (Some((first, _)), Some((last, _))) = (tokens.get(at), tokens.get(at + n - 1)) else {
            continue;
        };
        match spans.last_mut() {
            Some(span) if first.start <= span.end => span.end = last.end,
            _ => spans.push(first.start..last.end),
        }
    }
    let found = f64::from(repeated) / f64::from(all);
    if repeated == 0 || found < share {
        return None;
    }
    Some(CheckHit {
        spans,
        detail: format!("{:.0}% of {n}-token runs are repeated", found * 100.0),
    })
}

fn sentences_said<'t>(
    tokens: &[(Range<usize>, &'t str)],
    text: &str,
    least: usize,
    mut is_said: impl FnMut(Vec<&'t str>) -> bool,
) -> Option<CheckHit> {
    let mut spans = Vec::new();
    for (span, words) in sentences(tokens, text) {
        if words.len() >= least && is_said(words) {
            spans.push(span);
        }
    }
    if spans.is_empty() {
        return None;
    }
    let detail =
        format!("{} sentence{} repeated", spans.len(), if spans.len() == 1 { "" } else { "s" });
    Some(CheckHit { spans, detail })
}

/// Groups tokens by sentence. The range of a sentence reaches from its first to its last token.
fn sentences<'t>(
    tokens: &[(Range<usize>, &'t str)],
    text: &str,
) -> Vec<(Range<usize>, Vec<&'t str>)> {
    let mut out: Vec<(Range<usize>, Vec<&'t str>)> = Vec::new();
    let mut end = 0;
    for (range, word) in tokens {
        let gap = text.get(end..range.start).unwrap_or_default();
        // A full stop ends a sentence only if a space follows: 3.5 is one number.
        let parted = gap.chars().any(ends_sentence) || gap.contains(". ");
        match out.last_mut() {
            Some((span, words)) if !parted => {
                span.end = range.end;
                words.push(word);
            }
            _ => out.push((range.clone(), vec![word])),
        }
        end = range.end;
    }
    out
}

fn tokens(text: &str) -> Vec<(Range<usize>, &str)> {
    let mut out = Vec::new();
    let mut open: Option<usize> = None;
    let mut push = |range: Range<usize>| {
        if let Some(word) = text.get(range.clone()) {
            out.push((range, word));
        }
    };
    for (at, c) in text.char_indices() {
        if c.is_alphanumeric() && !is_cjk(c) {
            open.get_or_insert(at);
            continue;
        }
        if let Some(start) = open.take() {
            push(start..at);
        }
        if is_cjk(c) {
            push(at..at + c.len_utf8());
        }
    }
    if let Some(start) = open {
        push(start..text.len());
    }
    out
}

/// Returns a hit if more than `mix.share` of the letters of `text` belong to the script of the
/// other language.
///
/// Only letters count. The words of `mix.allow` (folded, as `text` is) belong to no language. Fewer
/// than `mix.min` foreign letters do not hit. `is_name` returns true if a word at that byte was
/// written with a capital.
pub(crate) fn language_mix(
    text: &str,
    language: Language,
    mix: &MixLimits,
    is_name: impl Fn(usize) -> bool,
) -> Option<CheckHit> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    let (mut foreign, mut own) = (0_u32, 0_u32);
    for (range, word) in tokens(text) {
        let cjk = word.chars().any(is_cjk);
        let letters = word.chars().filter(|c| c.is_alphabetic()).count();
        let letters = u32::try_from(letters).unwrap_or(u32::MAX);
        if letters == 0 || mix.allow.iter().any(|allowed| allowed == word) {
            continue;
        }
        if cjk == (language == Language::Zh) {
            own = own.saturating_add(letters);
            continue;
        }
        if mix.names && is_name(range.start) {
            continue;
        }
        foreign = foreign.saturating_add(letters);
        let joined = spans
            .last()
            .is_some_and(|s| text.get(s.end..range.start).is_some_and(|gap| gap.trim().is_empty()));
        match spans.last_mut() {
            Some(span) if joined => span.end = range.end,
            _ => spans.push(range),
        }
    }
    let found = f64::from(foreign) / f64::from(foreign.saturating_add(own).max(1));
    if foreign == 0 || (foreign as usize) < mix.min || found <= mix.share {
        return None;
    }
    Some(CheckHit {
        spans,
        detail: format!("{:.0}% of the letters are of another script", found * 100.0),
    })
}

const fn is_cjk(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_does_not_count_outer_whitespace() {
        let chars = |text, min, max| {
            length(text, LengthUnit::Characters, min, max).map(|found| found.detail)
        };
        assert!(chars("  ", Some(1), None).is_some());
        assert!(chars("四个字吗", None, Some(4)).is_none());
        assert_eq!(chars("五个字了吗", None, Some(4)).unwrap(), "5 characters, at most 4 wanted");
        assert!(length("好的，deal 吧", LengthUnit::Tokens, None, Some(4)).is_none());
        assert!(length("一。二！three? 4.5", LengthUnit::Sentences, None, Some(3)).is_some());
    }

    #[test]
    fn repeated_sentences_are_found_despite_punctuation() {
        let of = RepetitionOf::Sentence { tokens: 6 };
        let found =
            repeats_earlier("好的。我们希望价格再低一点！", &["我们希望，价格再低一点。"], of)
                .unwrap();
        assert_eq!(found.spans, vec!["好的。".len().."好的。我们希望价格再低一点".len()]);
        assert!(repeats_earlier("好的。", &["好的。"], of).is_none());
    }

    #[test]
    fn the_share_of_repeated_runs_is_measured() {
        let of = RepetitionOf::Ngrams { n: 2, share: 0.5, min: 0 };
        assert!(repeats_within("a b a b a b", of).is_some());
        assert!(repeats_within("a b c d e f", of).is_none());
        assert!(repeats_earlier("one two three nine", &["one two three four"], of).is_some());
    }

    #[test]
    fn allowed_words_and_names_do_not_count_as_foreign() {
        let found = |text: &str, language, share, names| {
            let mix = MixLimits { share, min: 0, allow: vec!["wifi".to_owned()], names };
            language_mix(&text.to_lowercase(), language, &mix, |at| {
                text.get(at..).and_then(|rest| rest.chars().next()).is_some_and(char::is_uppercase)
            })
        };
        assert!(found("我们提供WiFi服务", Language::Zh, 0.3, false).is_none());
        assert!(found("我们 provide good service", Language::Zh, 0.3, false).is_some());
        assert!(found("我们 provide good service", Language::Zh, 0.3, true).is_some());
        assert!(found("为您推荐Berry Beans吧", Language::Zh, 0.3, false).is_some());
        assert!(found("为您推荐Berry Beans吧", Language::Zh, 0.3, true).is_none());
        assert!(found("the price is 很好 indeed", Language::En, 0.05, false).is_some());
    }
}

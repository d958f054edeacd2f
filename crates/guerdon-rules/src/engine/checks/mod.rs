//! Checks that patterns cannot express: length, repetition, mixed scripts, JSON documents and states.

mod checksum;
mod declared_tools;
mod figures;
mod json_schema;
mod markup;
mod state;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::syntax::pack::{Language, LengthUnit, MixLimits, RepetitionOf};
use crate::text::tokens::{Sentence, TokenizedText, is_cjk};

pub(crate) use checksum::keeps_checksum;
pub(crate) use declared_tools::DeclaredTools;
pub(crate) use figures::{PriceRelation, unsupported, wrong_sums};
pub(crate) use json_schema::CompiledSchema;
pub(crate) use markup::{no_json, unclosed};
pub(crate) use state::difference;

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
        LengthUnit::Tokens => (TokenizedText::new(text).tokens.len(), "tokens"),
        LengthUnit::Sentences => (TokenizedText::new(text).sentence_count(), "sentences"),
    };
    let bound = match (min, max) {
        (Some(min), _) if length < min => format!("at least {min}"),
        (_, Some(max)) if length > max => format!("at most {max}"),
        _ => return None,
    };
    Some(CheckHit { spans: Vec::new(), detail: format!("{length} {unit}, {bound} wanted") })
}

/// Returns a hit if a text repeats itself.
pub(crate) fn repeats_within(text: &TokenizedText, of: RepetitionOf) -> Option<CheckHit> {
    match of {
        RepetitionOf::Ngrams { n, share, min } => {
            let mut seen = HashSet::new();
            repeated_share(text, n, share, min, |run| !seen.insert(run))
        }
        RepetitionOf::Sentence { tokens } => {
            let mut seen = HashSet::new();
            sentences_said(text, tokens, |sentence| !seen.insert(sentence.key()))
        }
    }
}

/// Returns a hit if `text` repeats one of the `earlier` texts.
pub(crate) fn repeats_earlier(
    text: &TokenizedText,
    earlier: &[&TokenizedText],
    of: RepetitionOf,
) -> Option<CheckHit> {
    match of {
        RepetitionOf::Ngrams { n, share, min } => {
            // The runs of the scored turn are looked up in the earlier texts, and not the reverse:
            // a turn is short, and the dialogue before it may be long.
            let mut now: HashMap<u64, bool> = text.runs(n).map(|run| (run, false)).collect();
            for run in earlier.iter().flat_map(|text| text.runs(n)) {
                now.entry(run).and_modify(|said| *said = true);
            }
            repeated_share(text, n, share, min, |run| now.get(&run).copied().unwrap_or_default())
        }
        RepetitionOf::Sentence { tokens: least } => {
            let long = |sentence: &Sentence| sentence.tokens.len() >= least;
            let seen: HashSet<(usize, u64)> = earlier
                .iter()
                .flat_map(|text| text.sentences())
                .filter(long)
                .map(|sentence| sentence.key())
                .collect();
            sentences_said(text, least, |sentence| seen.contains(&sentence.key()))
        }
    }
}

fn repeated_share(
    text: &TokenizedText,
    n: usize,
    share: f64,
    least: usize,
    mut is_repeated: impl FnMut(u64) -> bool,
) -> Option<CheckHit> {
    let n = n.max(1);
    if text.tokens.len() < least.max(n) {
        return None;
    }
    let mut spans: Vec<Range<usize>> = Vec::new();
    let mut repeated = 0_u32;
    let mut all = 0_u32;
    for (at, run) in text.runs(n).enumerate() {
        all += 1;
        if !is_repeated(run) {
            continue;
        }
        repeated += 1;
        let bytes = text.bytes(&(at..at + n));
        match spans.last_mut() {
            Some(span) if bytes.start <= span.end => span.end = bytes.end,
            _ => spans.push(bytes),
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

fn sentences_said(
    text: &TokenizedText,
    least: usize,
    mut is_said: impl FnMut(&Sentence) -> bool,
) -> Option<CheckHit> {
    let long = |sentence: &Sentence| sentence.tokens.len() >= least;
    let said = text.sentences().filter(long).filter(|sentence| is_said(sentence));
    let spans: Vec<Range<usize>> = said.map(|sentence| text.bytes(&sentence.tokens)).collect();
    if spans.is_empty() {
        return None;
    }
    let detail =
        format!("{} sentence{} repeated", spans.len(), if spans.len() == 1 { "" } else { "s" });
    Some(CheckHit { spans, detail })
}

/// Returns a hit if more than `mix.share` of the letters of `text` belong to the script of the
/// other language.
///
/// Only letters count. The words of `mix.allow` (folded, as `text` is) belong to no language. Fewer
/// than `mix.min` foreign letters do not hit. `is_name` returns true if a word at that byte was
/// written with a capital.
pub(crate) fn language_mix(
    text: &str,
    tokens: &TokenizedText,
    language: Language,
    mix: &MixLimits,
    is_name: impl Fn(usize) -> bool,
) -> Option<CheckHit> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    let (mut foreign, mut own) = (0_u32, 0_u32);
    let allows_cjk = mix.allow.iter().any(|word| word.chars().all(is_cjk));
    for token in &tokens.tokens {
        let (range, letters) = (token.bytes(), token.letters);
        let allowed = || {
            let word = text.get(range.clone());
            mix.allow.iter().any(|allowed| Some(allowed.as_str()) == word)
        };
        if letters == 0 || (allows_cjk || !token.cjk) && allowed() {
            continue;
        }
        if token.cjk == (language == Language::Zh) {
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
        let [now, before, short] =
            ["好的。我们希望价格再低一点！", "我们希望，价格再低一点。", "好的。"]
                .map(TokenizedText::new);
        let found = repeats_earlier(&now, &[&before], of).unwrap();
        assert_eq!(found.spans, vec!["好的。".len().."好的。我们希望价格再低一点".len()]);
        assert!(repeats_earlier(&short, &[&short], of).is_none());
    }

    #[test]
    fn the_share_of_repeated_runs_is_measured() {
        let of = RepetitionOf::Ngrams { n: 2, share: 0.5, min: 0 };
        assert!(repeats_within(&TokenizedText::new("a b a b a b"), of).is_some());
        assert!(repeats_within(&TokenizedText::new("a b c d e f"), of).is_none());
        let [now, before] = ["one two three nine", "one two three four"].map(TokenizedText::new);
        assert!(repeats_earlier(&now, &[&before], of).is_some());
    }

    #[test]
    fn allowed_words_and_names_do_not_count_as_foreign() {
        let found = |text: &str, language, share, names| {
            let mix = MixLimits { share, min: 0, allow: vec!["wifi".to_owned()], names };
            let folded = text.to_lowercase();
            language_mix(&folded, &TokenizedText::new(&folded), language, &mix, |at| {
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

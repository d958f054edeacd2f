//! Chinese cues of a text.

use std::sync::LazyLock;

use super::chinese_negations::{
    COMPLEMENTS, DENIALS, NEGATORS, NO_NEGATION, NUMBER_DENIALS, OTHER_WORDS,
};
use super::chinese_refusals::{
    BARE_REFUSALS, BEFORE_REFUSALS, CONCESSIONS, REFUSALS, REFUSED, REFUSING, RHETORICAL,
};
use super::chinese_words::{
    APPROVALS, APPROVED, CONDITIONS, CONFIRM_TAGS, CONSENTS, CONTRASTS, DEADLINES, EXCESSES,
    JOINTS, NO_ANSWERS, NO_CONDITIONS, NO_PAST, NO_QUESTIONS, NO_SAYING, OTHERS, OWN, PAST,
    PREPOSITIONS, QUESTIONS, SAYING, STRANGERS, WEAK_SAYING,
};
use super::parts::{Boundary, QuestionTag};
use super::reader::ClauseReader;
use crate::text::tokens::is_cjk;

/// The bytes before a place that are read for a subject.
const SUBJECT_BYTES: usize = 36;
/// The bytes before a place that are read for a word it may be part of.
const WORD_BYTES: usize = 12;
/// The greatest number of characters of a tag.
const TAG_CHARS: usize = 12;
/// The greatest number of characters of a concession.
const CONCESSION_CHARS: usize = 24;

/// The predicates that deny what precedes them and do not begin with a negator.
const OTHER_DENIALS: [&str; 25] = [
    "违反",
    "做不到",
    "办不到",
    "接受不了",
    "想都别想",
    "免谈",
    "违规",
    "违法",
    "说了不算",
    "做不了主",
    "定不了",
    "太难",
    "很难",
    "难度太大",
    "难度很大",
    "可能性不大",
    "可能性很小",
    "可能性太小",
    "可能性很低",
    "可能性几乎",
    "没戏",
    "没可能",
    "犯法",
    "是骗人",
    "是骗您",
];
/// Adverbs before a negator that denies a number.
const STRESSED: [&str; 4] = ["真不", "实在不", "都不", "也不"];

/// The first characters of all cues, ascending.
static FIRST: LazyLock<Vec<char>> = LazyLock::new(|| {
    let lists: [&[&str]; 18] = [
        APPROVED,
        CONDITIONS,
        CONTRASTS,
        JOINTS,
        NEGATORS,
        NO_CONDITIONS,
        NO_NEGATION,
        NO_PAST,
        NO_QUESTIONS,
        NO_SAYING,
        PAST,
        QUESTIONS,
        SAYING,
        STRANGERS,
        RHETORICAL,
        CONCESSIONS,
        REFUSING,
        REFUSALS,
    ];
    let words = lists.into_iter().flatten().chain(&OTHER_DENIALS).chain(&STRESSED);
    let mut first: Vec<char> =
        words.filter_map(|word| word.chars().next()).chain(['呢', '么', '等']).collect();
    first.sort_unstable();
    first.dedup();
    first
});

/// Reads the ideograph at `at`. Returns the number of tokens that were read.
pub(super) fn read(reader: &mut ClauseReader<'_>, at: usize) -> usize {
    let start = reader.place(at, 1)[0];
    let text = reader.text;
    let rest = text.get(start as usize..).unwrap_or_default();
    let before = reader.clause_before(start, WORD_BYTES);
    if let Some(length) = asked_both_ways(rest) {
        reader.ask(at, length);
        return length;
    }
    // Most characters begin no cue.
    if !rest.starts_with(|c| FIRST.binary_search(&c).is_ok()) {
        return 1;
    }
    if let Some(word) = longest(rest, CONTRASTS) {
        let word = if rest.starts_with("但是否") { "但" } else { word };
        reader.open_after(at, count(word), Boundary::Contrast);
        return count(word);
    }
    if let Some(word) = longest(rest, NO_CONDITIONS) {
        return if word.starts_with("如果") { count("如果") } else { count(word) };
    }
    if let Some(word) = longest(rest, APPROVED) {
        // `领导批准后，480元可以`
        reader.condition(at, count(word));
        reader.open_after(at, count(word), Boundary::Joint);
        return count(word);
    }
    if awaits_consent(rest, before) {
        reader.condition(at, 1);
        return 1;
    }
    if let Some(word) = longest(rest, CONDITIONS) {
        // `480元的话可以` states the price that is accepted.
        if word == "的话"
            && before.ends_with(ends_price)
            && reader.open.states_condition.is_none()
            && accepts(rest)
        {
            return count(word);
        }
        if word != "的话" {
            reader.open_at(at, Boundary::Condition);
        }
        reader.condition(at, count(word));
        if word == "的话" {
            reader.open_after(at, count(word), Boundary::Joint);
        }
        // The negation within `除非` and `若不` is read with the word.
        return count(word);
    }
    if let Some(word) = longest(rest, CONCESSIONS) {
        concession(reader, at, rest, word);
        return count(word);
    }
    if let Some(length) = joint(reader, at, rest, before) {
        return length;
    }
    if let Some(word) = longest(rest, STRANGERS)
        && !PREPOSITIONS.iter().chain(&["比", "在", "到", "从"]).any(|word| before.ends_with(word))
    {
        reader.attribute(at, count(word));
        return count(word);
    }
    if rest.starts_with("说了不算") {
        reader.deny(at, 4, false);
        return 4;
    }
    if let Some(word) = longest(rest, NO_SAYING) {
        return count(word);
    }
    if let Some(word) = longest(rest, SAYING) {
        saying(reader, at, start, word);
        return count(word);
    }
    if longest(rest, NO_PAST).is_none()
        && let Some(word) = longest(rest, PAST)
    {
        // `月底之前` is a deadline, unless the clause begins with the word.
        let is_deadline = DEADLINES.contains(&word) && before.ends_with(is_cjk);
        if !is_deadline {
            reader.past(at, count(word));
        }
        return count(word);
    }
    if let Some(word) = longest(rest, RHETORICAL) {
        reader.negate(at, count(word), false);
        return count(word);
    }
    if let Some(word) = longest(rest, NO_QUESTIONS) {
        return count(word);
    }
    if let Some(word) = longest(rest, QUESTIONS) {
        reader.ask(at, count(word));
        return count(word);
    }
    final_question(reader, at, rest);
    negation(reader, at, rest, before)
}

/// Returns true if a clause begins with the wait for someone's consent: `等领导批了`.
fn awaits_consent(rest: &str, before: &str) -> bool {
    let opens = before.trim().is_empty()
        || ["要", "得", "先", "需", "须"].iter().any(|word| before.ends_with(word));
    let mut chars = rest.chars();
    if chars.next() != Some('等') || !opens {
        return false;
    }
    let words: String = chars.take(12).take_while(|c| is_cjk(*c)).collect();
    APPROVALS.iter().any(|word| words.contains(word))
}

/// Returns true if 的话 is followed by a consent: `的话可以`, `的话我们能接受`.
fn accepts(rest: &str) -> bool {
    let said = rest.trim_start_matches("的话").trim_start_matches([',', ' ']);
    let said =
        said.trim_start_matches(['我', '们', '方', '这', '边', '也', '就', '是', '都', '那']);
    ["可以", "能接受", "行", "没问题", "没有问题", "成", "同意", "接受", "好", "ok"]
        .iter()
        .any(|word| said.starts_with(word))
        && !said.starts_with("行不")
        && !said.starts_with("可以吗")
}

/// Returns true for the last character of a price.
fn ends_price(c: char) -> bool {
    c.is_ascii_digit() || "元块圆钱价格十百千万零一二三四五六七八九".contains(c)
}

/// Returns true if a clause is an answer that refuses.
pub(super) fn answers_no(clause: &str) -> bool {
    NO_ANSWERS.contains(&clause)
}

/// The place of words that find a price too high.
pub(super) fn excess(clause: &str) -> Option<std::ops::Range<usize>> {
    EXCESSES.iter().find_map(|words| clause.find(words).map(|at| at..at + words.len()))
}

fn longest<'w>(rest: &str, words: &[&'w str]) -> Option<&'w str> {
    words.iter().copied().filter(|word| rest.starts_with(word)).max_by_key(|word| word.len())
}

fn count(word: &str) -> usize {
    word.chars().count()
}

/// The number of characters of a question such as `能不能`, `可不可以` or `有没有` at the start.
fn asked_both_ways(rest: &str) -> Option<usize> {
    let mut chars = rest.chars();
    let (verb, no, again) = (chars.next()?, chars.next()?, chars.next()?);
    (verb == again && matches!(no, '不' | '没') && !matches!(verb, '不' | '没')).then_some(3)
}

/// A final particle that asks: `呢`, `么`, `不` at the end of a sentence.
fn final_question(reader: &mut ClauseReader<'_>, at: usize, rest: &str) {
    let mut chars = rest.chars();
    let particle = chars.next();
    let next = chars.find(|c| *c != ' ');
    let marked = matches!(next, Some('?' | '？'));
    let ends = next.is_none_or(|c| matches!(c, '?' | '？' | '。' | '!' | '\n' | ','));
    match particle {
        Some('么') if ends => reader.ask(at, 1),
        Some('呢') if ends => {
            let clause = reader.clause_before(reader.place(at, 1)[0], SUBJECT_BYTES);
            let states = ["还", "才", "着", "可"].iter().any(|word| clause.contains(word));
            if marked || !states {
                reader.ask(at, 1);
            }
        }
        Some('不') if marked || (ends && is_answerable(reader, at)) => reader.ask(at, 1),
        _ => {}
    }
}

/// Returns true if the token follows a verb that a final `不` turns into a question: `行不`.
fn is_answerable(reader: &ClauseReader<'_>, at: usize) -> bool {
    let before = reader.clause_before(reader.place(at, 1)[0], SUBJECT_BYTES);
    ["行", "好", "可以", "是", "对", "要", "能", "成"].iter().any(|verb| before.ends_with(verb))
}

fn joint(reader: &mut ClauseReader<'_>, at: usize, rest: &str, before: &str) -> Option<usize> {
    let word = longest(rest, JOINTS)?;
    // `就` in `不能就…` does not begin a new clause; `便` in `方便` and `便宜` joins nothing.
    let goes_on =
        ["不", "能", "没", "别", "会", "要", "也"].iter().any(|word| before.ends_with(word));
    if word == "便"
        && (rest.starts_with("便宜")
            || rest.starts_with("便利")
            || !before.is_empty() && before.ends_with(['方', '随', '顺', '即']))
    {
        return Some(1);
    }
    if word == "就"
        && ["就是", "就近", "就餐", "就业", "就算"].iter().any(|other| rest.starts_with(other))
    {
        return Some(1);
    }
    if !goes_on && at > reader.opens_at {
        reader.open_at(at, Boundary::Joint);
    }
    Some(count(word))
}

fn saying(reader: &mut ClauseReader<'_>, at: usize, start: u32, word: &str) {
    let before = reader.clause_before(start, SUBJECT_BYTES);
    if ["听", "据", "传", "都"].iter().any(|cue| before.ends_with(cue)) && word.starts_with('说')
    {
        reader.say(at, count(word));
        return;
    }
    let idioms = [
        "小",
        "来",
        "就是",
        "老实",
        "坦白",
        "比如",
        "例如",
        "再",
        "换句话",
        "没",
        "不",
        "话",
        "可以",
    ];
    if idioms.iter().any(|idiom| before.ends_with(idiom)) {
        return;
    }
    let subject = |words: &[&str]| {
        words
            .iter()
            .filter_map(|subject| before.rfind(subject).map(|found| (found, *subject)))
            .filter(|(found, _)| {
                let ahead = before.get(..*found).unwrap_or_default();
                !PREPOSITIONS.iter().any(|preposition| ahead.ends_with(preposition))
            })
            .map(|(found, subject)| found + subject.len())
            .max()
    };
    let Some(other) = subject(OTHERS) else { return };
    if subject(OWN).is_some_and(|own| own > other) {
        return;
    }
    if WEAK_SAYING.contains(&word) && other != before.len() {
        return;
    }
    reader.say(at, count(word));
}

/// A clause granted for the sake of argument is not stated: `就算480元成交，…`. With `也` the clause
/// states the rest itself: `就算480元我们也接受`.
fn concession(reader: &mut ClauseReader<'_>, at: usize, rest: &str, word: &str) {
    let clause: String =
        rest.chars().take(CONCESSION_CHARS).take_while(|c| is_cjk_or_digit(*c)).collect();
    if !['也', '都', '还', '仍', '照'].iter().any(|adverb| clause.contains(*adverb)) {
        let place = reader.place(at, count(word));
        reader.open.condition.get_or_insert(place);
    }
}

fn is_cjk_or_digit(c: char) -> bool {
    is_cjk(c) || c.is_ascii_digit()
}

/// The number of bytes of a refusal at the start, if its clause ends with it: `不做`, `不会接受的`.
fn final_refusal(rest: &str) -> Option<usize> {
    let ends = |after: &str| {
        let after = after.trim_start_matches(['的', '了', '哦', '呀', '啊', '吧', '哈', '呢', ' ']);
        after.chars().next().is_none_or(|c| !c.is_alphanumeric())
    };
    let ended = |words: &[&str], after: &str| {
        let found = words.iter().filter(|word| after.strip_prefix(**word).is_some_and(ends));
        found.map(|word| word.len()).max()
    };
    let verb = REFUSING.iter().filter_map(|no| {
        let after = rest.strip_prefix(no)?;
        Some(no.len() + ended(REFUSED, after)?)
    });
    verb.max().or_else(|| ended(REFUSALS, rest))
}

/// The place of a refusal that is the whole clause: `一律拒绝`, `我们不会`, `别信`.
pub(super) fn refuses(clause: &str) -> Option<std::ops::Range<usize>> {
    let clause = clause.trim_end_matches(|c: char| !c.is_alphanumeric());
    let mut rest = clause.trim_start_matches(|c: char| !c.is_alphanumeric());
    for _ in 0..BEFORE_REFUSALS.len() {
        let start = clause.len() - rest.len();
        if BARE_REFUSALS.contains(&rest.trim_end_matches(['的', '了', '哦', '呀', '啊'])) {
            return Some(start..clause.len());
        }
        if let Some(length) = final_refusal(rest) {
            return Some(start..start + length);
        }
        rest = rest.strip_prefix(longest(rest, BEFORE_REFUSALS)?)?;
    }
    None
}

fn negation(reader: &mut ClauseReader<'_>, at: usize, rest: &str, before: &str) -> usize {
    if let Some(word) = longest(rest, NO_NEGATION) {
        return count(word);
    }
    if let Some(length) = final_refusal(rest)
        && !["不", "没", "不是", "并非"].iter().any(|no| before.ends_with(no))
    {
        let words = rest.get(..length).map_or(1, count);
        reader.deny(at, words, false);
    }
    // A predicate before the verb: `做不到`, `接受不了`.
    if let Some(word) = longest(rest, &OTHER_DENIALS)
        && !(word.starts_with('违') && before.ends_with('不'))
    {
        reader.deny(at, count(word), !DENIALS.contains(&word));
        return count(word);
    }
    if let Some(word) = longest(rest, &STRESSED)
        && !is_double(rest)
    {
        reader.deny(at, count(word), true);
    }
    let is_verb = before
        .ends_with(|c: char| is_cjk(c) && !"才还就都也在用到共总价格钱我你您他她们".contains(c));
    if let (true, Some(word)) = (is_verb, longest(rest, COMPLEMENTS)) {
        let numbers = !matches!(word, "不了" | "不成");
        reader.deny(at, count(word), numbers);
        return count(word);
    }
    let Some(word) = longest(rest, NEGATORS) else { return 1 };
    let formed = OTHER_WORDS.iter().any(|other| {
        other.ends_with(word) && before.ends_with(other.strip_suffix(word).unwrap_or(other))
    });
    if formed || (word == "不" && rest.starts_with("不到")) {
        return 1;
    }
    let coordinated = reader.since_negator(at).is_some_and(|between| {
        between.clone().any(|token| {
            let place = reader.place(token, 1);
            let mark = reader.text.get(place[0] as usize..place[1] as usize);
            mark.is_some_and(|mark| "也和或及且更又并、都还".contains(mark))
        })
    });
    if reader.negate(at, count(word), coordinated) && !is_double(rest) {
        if let Some(denial) = longest(rest, DENIALS) {
            reader.deny(at, count(denial), false);
        } else if let Some(denial) = longest(rest, NUMBER_DENIALS) {
            reader.deny(at, count(denial), true);
        }
    }
    count(word)
}

/// Returns true if a second negation follows at once: `不是不行`.
fn is_double(rest: &str) -> bool {
    let rest = rest.trim_start_matches(['也', '都', '真']);
    ["不是不", "不是没", "并非不", "不会不", "不能不"].iter().any(|double| rest.starts_with(double))
}

/// The tag that a clause before a question mark is.
pub(super) fn tag(clause: &str) -> Option<QuestionTag> {
    if !clause.contains(is_cjk) {
        return None;
    }
    if CONFIRM_TAGS.contains(&clause) {
        return Some(QuestionTag::Confirm);
    }
    let short = clause.chars().count() <= TAG_CHARS;
    let numeral = |c: char| c.is_ascii_digit() || "二三四五六七八九十百千万".contains(c);
    (short && !clause.contains(numeral) && CONSENTS.iter().any(|word| clause.contains(word)))
        .then_some(QuestionTag::Consent)
}

/// The cue of mentioned words at the end of a text: `所谓`.
pub(super) fn ends_with_mention(text: &str) -> Option<usize> {
    ["所谓", "所谓的", "这句话", "一词", "字样", "这个词", "写着"]
        .into_iter()
        .find(|word| text.ends_with(word))
        .map(str::len)
}

//! English cues of a text.

use super::english_words::{
    ADVERBS, AUXILIARIES, BARE_REFUSALS, CONFIRM_TAGS, CONSENT_TAGS, CONSENTS, CONTRASTS,
    COORDINATORS, DENIALS, DETERMINERS, EXCESSES, IMPERATIVES, MENTIONS, NEGATORS, NO_ANSWERS,
    NO_NEGATION, OPENERS, OTHERS, OWN, PARENTHESES, PAST, PAST_TIMES, POLITE_CONDITIONS,
    QUESTION_WORDS, REFUSALS, SAYING, SUBJECTS,
};
use super::parts::{Boundary, QuestionTag};
use super::reader::{ClauseReader, TokenKind};

/// The number of words of a clause that are searched for a consequence.
const MAX_CONSEQUENCE: usize = 24;

/// The things that a speaker loses who does what was named: `I would lose my job`.
const LOSSES: &[&str] = &[
    "job",
    "jobs",
    "license",
    "licence",
    "position",
    "career",
    "contract",
    "reputation",
    "role",
    "badge",
    "livelihood",
    "freedom",
];
/// The fate of a speaker who does what was named: `get fired`.
const PENALTIES: &[&str] = &[
    "fired",
    "sacked",
    "dismissed",
    "arrested",
    "sued",
    "jailed",
    "prosecuted",
    "banned",
    "imprisoned",
];

/// Reads the word at `at`. Returns the number of tokens that were read.
pub(super) fn read(reader: &mut ClauseReader<'_>, at: usize) -> usize {
    let word = reader.word(at);
    boundary(reader, at, word);
    question(reader, at, word);
    condition(reader, at, word);
    past(reader, at, word);
    others(reader, at);
    if SAYING.contains(&word) || word == "according" {
        saying(reader, at, word);
    }
    let idiom = NO_NEGATION.iter().filter(|idiom| begins(reader, at, idiom)).map(|i| i.len()).max();
    if let Some(length) = idiom {
        return length;
    }
    denial(reader, at, word);
    if let Some(length) = consequence(|next| reader.word(at + next)) {
        reader.deny(at, length, false);
        reader.negate(at, length, false);
        return 1;
    }
    negation(reader, at, word);
    1
}

/// A predicate that denies its subject: `kickbacks are illegal`, `480 is too much`.
fn denial(reader: &mut ClauseReader<'_>, at: usize, word: &str) {
    if reader.since_negator(at).is_some() {
        return;
    }
    if let Some(words) = DENIALS.iter().find(|words| begins(reader, at, words)) {
        reader.deny(at, words.len(), false);
    } else if matches!(word, "too" | "over" | "above" | "beyond" | "outside" | "out" | "more") {
        let start = reader.place(at, 1)[0] as usize;
        let rest = reader.text.get(start..).unwrap_or_default();
        if let Some(words) = EXCESSES.iter().find(|words| rest.starts_with(**words)) {
            reader.deny(at, words.split(' ').count(), true);
        }
    }
}

/// The number of words of a consequence that the speaker would suffer, and by which they refuse:
/// `lose my job`, `go to prison`, `get us sued`. `word` returns the words from a place on.
fn consequence<'w>(word: impl Fn(usize) -> &'w str) -> Option<usize> {
    let [first, second, third] = [word(0), word(1), word(2)];
    let own = |word: &str| matches!(word, "my" | "our" | "me" | "us" | "everyone's" | "their");
    match first {
        "lose" | "losing" | "cost" | "costs" | "jeopardize" | "jeopardise" | "endanger" => {
            // `cost me my job`, `lose my job`
            let name = if matches!(second, "me" | "us") { 2 } else { 1 };
            (own(second) && LOSSES.contains(&word(name + 1))).then_some(name + 2)
        }
        "get" | "gets" | "getting" | "got" | "be" | "being" | "have" => {
            let person = matches!(second, "me" | "us" | "people" | "everyone");
            let end = if person { third } else { second };
            PENALTIES.contains(&end).then_some(if person { 3 } else { 2 })
        }
        "go" | "going" | "end" => {
            let place = if first == "end" { 3 } else { 2 };
            let leads = (first == "end" && second == "up" && third == "in")
                || (first != "end" && second == "to");
            (leads && matches!(word(place), "jail" | "prison" | "court")).then_some(place + 1)
        }
        _ => None,
    }
}

/// The place of a clause that only refuses: `I'd be lying`, `don't believe them`.
pub(super) fn refuses(clause: &str) -> Option<std::ops::Range<usize>> {
    let words = clause.trim_matches(|c: char| !c.is_alphanumeric());
    let start = clause.find(words)?;
    let begins = |refusal: &&&str| {
        words.strip_prefix(**refusal).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
    };
    let parts: Vec<&str> = words.split(' ').take(MAX_CONSEQUENCE).collect();
    let part = |at: usize| parts.get(at).copied().unwrap_or_default();
    if (0..parts.len()).any(|at| consequence(|next| part(at + next)).is_some()) {
        return Some(start..start + words.len());
    }
    let refusal = BARE_REFUSALS
        .iter()
        .find(|refusal| **refusal == words)
        .or_else(|| REFUSALS.iter().find(begins))?;
    Some(start..start + refusal.len())
}

/// The number of tokens of a parenthesis between two commas that begins at the mark at `at`.
pub(super) fn parenthesis(reader: &ClauseReader<'_>, at: usize) -> Option<usize> {
    let comma = |at: usize| {
        let kind = reader.tokens.get(at).map(|token| token.kind);
        matches!(kind, Some(TokenKind::Mark(',' | '，')))
    };
    let phrase = |phrase: &&&[&str]| begins(reader, at + 1, phrase) && comma(at + 1 + phrase.len());
    let found = PARENTHESES.iter().find(phrase)?;
    comma(at).then_some(found.len() + 2)
}

fn begins(reader: &ClauseReader<'_>, at: usize, phrase: &[&str]) -> bool {
    phrase.iter().enumerate().all(|(index, word)| reader.word(at + index) == *word)
}

fn is_number(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
}

/// Returns true if a number, or a currency and a number, begins at `at`.
fn is_amount(reader: &ClauseReader<'_>, at: usize) -> bool {
    let sign =
        reader.tokens.get(at).is_some_and(|token| matches!(token.kind, TokenKind::Mark('$')));
    is_number(reader.word(if sign { at + 1 } else { at }))
}

/// Returns true if a subject begins at `at`.
fn is_subject(reader: &ClauseReader<'_>, at: usize) -> bool {
    let word = reader.word(at);
    SUBJECTS.contains(&word) || DETERMINERS.contains(&word)
}

fn boundary(reader: &mut ClauseReader<'_>, at: usize, word: &str) {
    let next = reader.word(at + 1);
    if word == "nor" {
        // `nor` negates the clause that it opens.
        reader.open_at(at, Boundary::Contrast);
    } else if CONTRASTS.contains(&word) {
        // `nothing but`, `anything but` and `all but` contrast nothing.
        let restricts = at.checked_sub(1).is_some_and(|before| {
            matches!(reader.word(before), "nothing" | "anything" | "all" | "none" | "even")
        });
        if !(restricts && matches!(word, "but" | "though")) {
            reader.open_after(at, 1, Boundary::Contrast);
        }
    } else if word == "so" && (is_subject(reader, at + 1) || is_number(next)) {
        reader.open_after(at, 1, Boundary::Contrast);
    } else if word == "no" && (SUBJECTS.contains(&next) || next == "sorry") {
        // The answer `no` ends before `i cannot`.
        reader.open_at(at + 1, Boundary::Joint);
    } else if joins(reader, at, word) {
        reader.open_at(at, Boundary::Joint);
    }
}

/// Returns true if a word joins two statements: `and we`, `then`.
fn joins(reader: &ClauseReader<'_>, at: usize, word: &str) -> bool {
    if word == "then" {
        return at > reader.opens_at;
    }
    let next = reader.word(at + 1);
    let opens = SUBJECTS.contains(&next)
        || matches!(next, "then" | "please" | "will" | "let" | "the" | "my" | "our" | "your")
        || is_number(next);
    let before = at.checked_sub(1).map(|before| reader.word(before));
    COORDINATORS.contains(&word) && opens && before != Some("between")
}

fn question(reader: &mut ClauseReader<'_>, at: usize, word: &str) {
    let next = reader.word(at + 1);
    let inverted = AUXILIARIES.contains(&word)
        && (SUBJECTS.contains(&next)
            || (!IMPERATIVES.contains(&word) && is_amount(reader, at + 1))
            || (DETERMINERS.contains(&next) && word != "have"));
    let imperative =
        IMPERATIVES.contains(&word) && !matches!(next, "you" | "i" | "we" | "they" | "u");
    let opens = (reader.opens_at..at).all(|before| OPENERS.contains(&reader.word(before)));
    if inverted && !imperative {
        if opens {
            reader.ask(at, 2);
        } else if matches!(next, "you" | "u") && !is_relative(reader, at) {
            // `ok 480 it is can you …`, without a comma.
            reader.open_at(at, Boundary::Joint);
            reader.ask(at, 2);
        }
    } else if QUESTION_WORDS.contains(&word) && opens {
        if AUXILIARIES.contains(&next) || matches!(next, "about" | "much" | "many" | "come" | "if")
        {
            reader.ask(at, 2);
        }
    } else if word == "any" && matches!(next, "chance" | "possibility" | "way") && opens {
        reader.ask(at, 2);
    } else if matches!(word, "whether" | "wondering" | "wonder") {
        reader.ask(at, 1);
    } else if word == "let" && begins(reader, at, &["let", "me", "know", "if"]) {
        reader.ask(at, 4);
    }
}

/// Returns true if an auxiliary verb belongs to a relative clause: `the best you can`.
fn is_relative(reader: &ClauseReader<'_>, at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| reader.word(before));
    before.is_some_and(|word| {
        SUBJECTS.contains(&word) || QUESTION_WORDS.contains(&word) || matches!(word, "than" | "as")
    })
}

fn condition(reader: &mut ClauseReader<'_>, at: usize, word: &str) {
    let length = match word {
        "once" | "when" | "after" | "until" | "till" if awaits_consent(reader, at + 1) => 1,
        "as" if begins(reader, at, &["as", "soon", "as"]) && awaits_consent(reader, at + 3) => 3,
        "subject" if next_is(reader, at, "to") => 2,
        "depending" if next_is(reader, at, "on") => 2,
        "pending" => 1,
        "if" | "unless" | "assuming" | "supposing" | "suppose" => 1,
        "provided" | "providing" if reader.word(at + 1) == "that" || is_subject(reader, at + 1) => {
            1
        }
        "in" if reader.word(at + 1) == "case" => 2,
        "as" if begins(reader, at, &["as", "long", "as"]) => 3,
        _ => return,
    };
    let before = at.checked_sub(1).map_or("", |before| reader.word(before));
    if matches!(before, "even" | "as" | "know" | "what" | "see" | "check" | "wonder" | "wondering")
        && word == "if"
    {
        return;
    }
    let opens = (reader.opens_at..at).all(|before| OPENERS.contains(&reader.word(before)));
    if !opens {
        reader.open_at(at, Boundary::Condition);
    }
    if !POLITE_CONDITIONS.iter().any(|phrase| begins(reader, at, phrase)) {
        reader.condition(at, length);
    }
}

fn next_is(reader: &ClauseReader<'_>, at: usize, word: &str) -> bool {
    reader.word(at + 1) == word
}

/// Returns true if the words from `at` on wait for another person's consent: `the manager approves`.
fn awaits_consent(reader: &ClauseReader<'_>, at: usize) -> bool {
    let mut words = (at..at + 6).map(|at| reader.word(at)).take_while(|word| !word.is_empty());
    let subject = words.next().unwrap_or_default();
    let other = DETERMINERS.contains(&subject) || matches!(subject, "he" | "she" | "they");
    other && words.any(|word| CONSENTS.contains(&word))
}

fn past(reader: &mut ClauseReader<'_>, at: usize, word: &str) {
    let next = reader.word(at + 1);
    let length = match word {
        _ if PAST.contains(&word) => 1,
        "last" if PAST_TIMES.contains(&next) => 2,
        "used" if next == "to" => 2,
        "in" if begins(reader, at, &["in", "the", "past"]) => 3,
        "back" if next == "then" => 2,
        "before" if at + 1 == reader.tokens.len() || reader.word(at + 1).is_empty() => 1,
        _ => return,
    };
    reader.past(at, length);
}

/// A clause about other people's business: `other hotels guarantee it`.
fn others(reader: &mut ClauseReader<'_>, at: usize) {
    let opens = (reader.opens_at..at).all(|before| OPENERS.contains(&reader.word(before)));
    if opens && let Some(subject) = OTHERS.iter().find(|subject| begins(reader, at, subject)) {
        reader.attribute(at, subject.len());
    }
}

/// A verb of speech with another subject than the speaker.
fn saying(reader: &mut ClauseReader<'_>, at: usize, word: &str) {
    if word == "according" {
        if reader.word(at + 1) == "to" {
            reader.say(at, 2);
        }
        return;
    }
    let mut before = at;
    let mut passive = false;
    while before > reader.opens_at && at - before < 6 {
        before -= 1;
        let subject = reader.word(before);
        if matches!(subject, "was" | "were" | "am" | "been") {
            passive = true;
            continue;
        }
        if ADVERBS.contains(&subject) {
            continue;
        }
        let own = OWN.contains(&subject);
        // `i was told` reports another's words, `as i said` the speaker's own.
        let other =
            if own { (passive && word == "told") || word == "heard" } else { !subject.is_empty() };
        // `say` and `ask` are also imperatives; they need a pronoun.
        let bare = matches!(word, "say" | "ask" | "claim")
            && !matches!(
                subject,
                "you" | "they" | "guests" | "people" | "some" | "others" | "customers"
            );
        if other && !bare {
            reader.say(at, 1);
        }
        return;
    }
}

fn negation(reader: &mut ClauseReader<'_>, at: usize, word: &str) {
    let next = reader.word(at + 1);
    let contracted = word.ends_with("n't");
    let phrase = matches!(
        (word, next),
        ("instead", "of") | ("rather", "than") | ("other", "than") | ("far", "from")
    );
    let wishes = matches!(word, "wish" | "wishes") && is_subject(reader, at + 1);
    if !(contracted || phrase || wishes || NEGATORS.contains(&word)) {
        return;
    }
    // `no 5` is a number, and `isn't it` begins a question.
    let asks = contracted && SUBJECTS.contains(&next) && next != "that";
    let numbered = word == "no" && is_number(next) && at > 0 && reader.word(at - 1) != "with";
    let answers = word == "no" && (SUBJECTS.contains(&next) || next == "sorry");
    if asks || answers || (numbered && reader.opens_at != at) {
        return;
    }
    let auxiliary = at.checked_sub(1).map(|before| reader.word(before));
    let after_auxiliary = word == "not"
        && auxiliary.is_some_and(|word| AUXILIARIES.contains(&word) || word.ends_with("'s"));
    if contracted
        || after_auxiliary
        || matches!(word, "cannot" | "cant" | "wont" | "doesnt" | "isnt" | "wouldnt" | "impossible")
    {
        reader.deny(at, 1, false);
    }
    let between = reader.since_negator(at);
    let coordinated = between.is_some_and(|between| {
        between.clone().any(|token| COORDINATORS.contains(&reader.word(token)))
    });
    reader.negate(at, if phrase { 2 } else { 1 }, coordinated);
}

/// Returns true if a text names a subject.
pub(super) fn has_subject(text: &str) -> bool {
    text.split(|c: char| !(c.is_alphanumeric() || c == '\'')).any(|word| {
        SUBJECTS.contains(&word) || matches!(word, "who" | "which" | "and" | "or" | "to")
    })
}

/// Returns true if a clause is an answer that refuses.
pub(super) fn answers_no(clause: &str) -> bool {
    NO_ANSWERS.contains(&clause)
}

/// The place of words that find a price too high.
pub(super) fn excess(clause: &str) -> Option<std::ops::Range<usize>> {
    EXCESSES.iter().find_map(|words| clause.find(words).map(|at| at..at + words.len()))
}

/// The tag that a clause before a question mark is.
pub(super) fn tag(clause: &str) -> Option<QuestionTag> {
    let words: Vec<&str> = clause.split_whitespace().take(8).collect();
    let [first, rest @ ..] = words.as_slice() else { return None };
    if CONFIRM_TAGS.contains(&clause) {
        return Some(QuestionTag::Confirm);
    }
    if CONSENT_TAGS.contains(&clause) {
        return Some(QuestionTag::Consent);
    }
    if !AUXILIARIES.contains(first) && *first != "how" {
        return None;
    }
    match rest {
        // `isn't it`, `will you`
        [subject] if SUBJECTS.contains(subject) => Some(QuestionTag::Confirm),
        _ if rest.iter().any(|word| matches!(*word, "that" | "this" | "it"))
            && !clause.contains(|c: char| c.is_ascii_digit()) =>
        {
            Some(QuestionTag::Consent)
        }
        _ => None,
    }
}

/// The cue of mentioned words at the end of a text: `the phrase`.
pub(super) fn ends_with_mention(text: &str) -> Option<usize> {
    let word = text.split_whitespace().next_back()?;
    MENTIONS.contains(&word).then_some(word.len())
}

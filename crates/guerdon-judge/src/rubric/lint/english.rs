//! Reads the assertions of an English sentence about a reply.
//!
//! This is no parser of English. It finds clauses whose subject is the reply, the verbs and
//! adjectives that are in a list of words, and the words that negate or join them. Unknown words
//! are left out, so that a finding is rarely wrong.

use super::predicate::{Assertions, Sense};

/// Verbs that name a fault of a reply, in their base form.
const FAULTY_VERBS: &[&str] = &[
    "abandon",
    "accuse",
    "argue",
    "attack",
    "badger",
    "beg",
    "belittle",
    "blame",
    "bully",
    "cave",
    "coerce",
    "complain",
    "condescend",
    "confuse",
    "contradict",
    "curse",
    "deceive",
    "deflect",
    "demean",
    "digress",
    "discriminate",
    "dismiss",
    "disregard",
    "dodge",
    "drop",
    "embellish",
    "evade",
    "exaggerate",
    "fabricate",
    "flatter",
    "forget",
    "hallucinate",
    "harass",
    "hurry",
    "humiliate",
    "ignore",
    "insult",
    "interrupt",
    "intimidate",
    "invent",
    "jump",
    "leak",
    "lecture",
    "lie",
    "manipulate",
    "misinform",
    "mislead",
    "misquote",
    "misread",
    "misrepresent",
    "misstate",
    "mock",
    "moralise",
    "moralize",
    "nag",
    "neglect",
    "offend",
    "omit",
    "overlook",
    "overpromise",
    "overstate",
    "overwhelm",
    "patronise",
    "patronize",
    "pester",
    "plead",
    "press",
    "pressure",
    "presume",
    "push",
    "ramble",
    "repeat",
    "ridicule",
    "rush",
    "scold",
    "shout",
    "skip",
    "spam",
    "speculate",
    "stall",
    "stereotype",
    "surrender",
    "swear",
    "tease",
    "threaten",
    "trick",
    "trivialise",
    "trivialize",
    "waffle",
];
/// Verbs that name what a good reply does.
const GOOD_VERBS: &[&str] = &[
    "acknowledge",
    "adapt",
    "address",
    "answer",
    "apologise",
    "apologize",
    "cite",
    "clarify",
    "comfort",
    "confirm",
    "console",
    "credit",
    "empathise",
    "empathize",
    "encourage",
    "explain",
    "greet",
    "handle",
    "heed",
    "help",
    "honor",
    "honour",
    "introduce",
    "justify",
    "listen",
    "obey",
    "park",
    "personalise",
    "personalize",
    "reassure",
    "recap",
    "resolve",
    "respect",
    "respond",
    "solve",
    "summarise",
    "summarize",
    "support",
    "sympathise",
    "sympathize",
    "tailor",
    "thank",
    "verify",
    "warn",
    "welcome",
];
/// Verbs for the product of a reply, which express no judgement by themselves.
const PRODUCING_VERBS: &[&str] =
    &["add", "ask", "contain", "contribute", "mention", "offer", "propose", "say"];
/// Verbs with a particle, which may stand up to three words later.
const PHRASAL_VERBS: &[(&str, &str, Sense)] = &[
    ("ask", "again", Sense::Fault),
    ("brush", "aside", Sense::Fault),
    ("brush", "off", Sense::Fault),
    ("cut", "off", Sense::Fault),
    ("give", "away", Sense::Fault),
    ("give", "in", Sense::Fault),
    ("give", "up", Sense::Fault),
    ("go", "back", Sense::Fault),
    ("leave", "out", Sense::Fault),
    ("leave", "unanswered", Sense::Fault),
    ("make", "up", Sense::Fault),
    ("pass", "over", Sense::Fault),
    ("play", "down", Sense::Fault),
    ("put", "down", Sense::Fault),
    ("talk", "down", Sense::Fault),
    ("talk", "over", Sense::Fault),
    ("take", "back", Sense::Fault),
    ("take", "as", Sense::Fault),
    ("treat", "as", Sense::Fault),
    ("own", "up", Sense::Virtue),
    ("pick", "up", Sense::Virtue),
    ("reply", "to", Sense::Virtue),
    ("stand", "by", Sense::Virtue),
    ("stick", "to", Sense::Virtue),
    ("keep", "to", Sense::Virtue),
    ("take", "up", Sense::Virtue),
];
const FAULTY_ADJECTIVES: &[&str] = &[
    "abrasive",
    "abrupt",
    "aggressive",
    "ambiguous",
    "arrogant",
    "blunt",
    "careless",
    "cold",
    "condescending",
    "confusing",
    "curt",
    "deceptive",
    "defensive",
    "dishonest",
    "dismissive",
    "disrespectful",
    "empty",
    "evasive",
    "false",
    "generic",
    "harsh",
    "hostile",
    "impatient",
    "impolite",
    "inaccurate",
    "incoherent",
    "incomplete",
    "inconsistent",
    "incorrect",
    "insensitive",
    "insulting",
    "irrelevant",
    "manipulative",
    "misleading",
    "misplaced",
    "mocking",
    "needy",
    "obscure",
    "offensive",
    "overbearing",
    "patronising",
    "patronizing",
    "pushy",
    "redundant",
    "repetitive",
    "robotic",
    "rude",
    "sarcastic",
    "sloppy",
    "terse",
    "threatening",
    "unclear",
    "unfriendly",
    "unhelpful",
    "unprofessional",
    "untrue",
    "vague",
    "verbose",
    "wordy",
    "wrong",
];
const GOOD_ADJECTIVES: &[&str] = &[
    "accurate",
    "attentive",
    "calm",
    "clear",
    "coherent",
    "complete",
    "concise",
    "consistent",
    "correct",
    "courteous",
    "empathetic",
    "factual",
    "fair",
    "friendly",
    "helpful",
    "honest",
    "kind",
    "patient",
    "personal",
    "polite",
    "precise",
    "professional",
    "relevant",
    "respectful",
    "sincere",
    "specific",
    "tactful",
    "thorough",
    "transparent",
    "truthful",
    "warm",
];
const SUBJECTS: &[&str] = &[
    "the reply",
    "this reply",
    "a reply",
    "the turn",
    "the agent",
    "the answer",
    "the response",
    "the assistant",
    "the message",
    "reply",
    "it",
];
const COPULAS: &[&str] =
    &["is", "are", "was", "be", "being", "becomes", "sounds", "seems", "feels", "remains", "stays"];
const AUXILIARIES: &[&str] =
    &["do", "does", "did", "can", "could", "will", "would", "may", "might"];
const NORMS: &[&str] = &["should", "must", "ought", "shall"];
const ADVERBS: &[&str] = &[
    "also", "always", "clearly", "even", "ever", "just", "merely", "often", "only", "openly",
    "overly", "rather", "really", "simply", "so", "still", "then", "to", "too", "very",
];
const NEGATIONS: &[&str] = &["not", "never", "cannot", "hardly", "neither"];
/// Verbs that negate the verb after them.
const NEGATING_VERBS: &[&str] =
    &["avoid", "decline", "fail", "forget", "neglect", "omit", "refrain", "refuse", "stop"];
const NOTHING: &[&str] = &["no", "nothing", "nobody", "none"];
/// Words that begin a subordinate clause.
const SUBORDINATORS: &[&str] = &[
    "that", "which", "who", "whom", "whose", "what", "when", "where", "while", "if", "because",
    "although", "though", "before", "after", "until", "unless", "since", "whether", "without",
    "instead", "than", "how", "why",
];

/// The assertions of `about`, the sentence of a criterion with this `id`.
pub(super) fn assertions(about: &str, id: &str) -> Assertions {
    let text = about.to_lowercase().replace('\u{2019}', "'").replace("n't", " not");
    let mut groups = Vec::new();
    for segment in text.split(['.', ';', ':', '!', '?']) {
        for clause in clauses(segment) {
            groups.extend(clause_groups(&clause, id));
        }
    }
    if groups.is_empty() && states_a_principle(&text) {
        groups.push(Sense::Virtue);
    }
    Assertions { groups }
}

/// The words after each mention of the reply as a subject. A segment without one counts if it
/// begins with a verb: "Ignores the reason".
fn clauses(segment: &str) -> Vec<Vec<&str>> {
    let is_word = |word: &&str| word.contains(char::is_alphanumeric);
    let words: Vec<&str> = segment.split_whitespace().filter(is_word).collect();
    let plain = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
    let mut starts = Vec::new();
    for at in 0..words.len() {
        let before = at.checked_sub(1).and_then(|before| words.get(before)).copied();
        let opens = before.is_none_or(|before| {
            before.ends_with(',') || matches!(before, "and" | "but" | "so" | "yet" | "then")
        });
        let phrase = |length: usize| {
            let words = words.get(at..at + length)?;
            Some(words.iter().map(|word| plain(word)).collect::<Vec<_>>().join(" "))
        };
        let length = [2, 1].into_iter().find(|length| {
            opens && phrase(*length).is_some_and(|phrase| SUBJECTS.contains(&phrase.as_str()))
        });
        starts.extend(length.map(|length| (at, at + length)));
    }
    if starts.is_empty() {
        let first = words.first().copied().unwrap_or_default();
        let is_verb = known_verb(first).is_some()
            || matches!(first, "do" | "never" | "avoid" | "avoids" | "does" | "is");
        return if is_verb { vec![words] } else { Vec::new() };
    }
    let ends = starts.iter().skip(1).map(|(from, _)| *from).chain([words.len()]);
    let clause = |((_, from), end): (&(usize, usize), usize)| {
        words.get(*from..end).map(<[&str]>::to_vec).unwrap_or_default()
    };
    starts.iter().zip(ends).map(clause).collect()
}

/// The senses that a clause asserts, one for each predicate that "and" adds.
fn clause_groups(clause: &[&str], id: &str) -> Vec<Sense> {
    let mut senses = Vec::new();
    // Set while "is cold" may go on with "and pushy".
    let mut open_copula = false;
    for (number, group) in
        clause.split(|word| matches!(*word, "and" | "but" | "nor" | "plus")).enumerate()
    {
        // A further predicate has to be one: "asks for a reason and a number" has none.
        let main = until_subordinate(group);
        let read = predicate(main, id);
        let is_adjective = open_copula && main.len() <= 2 && read.is_none();
        let sense = match &read {
            Some(read) if number == 0 || read.finite => Some(read.sense),
            _ if is_adjective => {
                main.last().and_then(|word| adjective(word)).or(senses.last().copied())
            }
            _ => None,
        };
        open_copula = read.as_ref().map_or(is_adjective, |read| read.open_copula);
        senses.extend(sense);
        // What follows "and" may belong to the subordinate clause if that has a verb like it.
        let rest = group.get(main.len()..).unwrap_or_default();
        if rest.iter().any(|word| is_finite(word)) {
            break;
        }
    }
    senses
}

fn until_subordinate<'a, 'b>(group: &'a [&'b str]) -> &'a [&'b str] {
    let is_subordinate = |word: &&str| SUBORDINATORS.contains(&word.trim_matches(','));
    let end = group.iter().skip(1).position(is_subordinate).map_or(group.len(), |at| at + 1);
    group.get(..end).unwrap_or_default()
}

/// A predicate with a known word.
struct Predicate {
    sense: Sense,
    /// Set if its verb is in the third person, or behind an auxiliary.
    finite: bool,
    /// Set if it is an adjective with nothing behind it.
    open_copula: bool,
}

impl Predicate {
    const fn of_verb(sense: Sense, finite: bool) -> Self {
        Self { sense, finite, open_copula: false }
    }
}

fn predicate(words: &[&str], id: &str) -> Option<Predicate> {
    let plain = |word: &&str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
    let words: Vec<String> = words.iter().map(plain).collect();
    let mut negated = false;
    let mut finite = false;
    let mut norm = false;
    let mut at = 0;
    while let Some(word) = words.get(at).map(String::as_str) {
        let next = words.get(at + 1).map_or("", String::as_str);
        if NORMS.contains(&word) || (matches!(word, "has" | "needs" | "need") && next == "to") {
            norm = true;
        } else if NEGATIONS.contains(&word) {
            negated = !negated;
        } else if word == "no" && next == "longer" {
            negated = !negated;
            at += 1;
        } else if NEGATING_VERBS.contains(&lemma(word, NEGATING_VERBS).unwrap_or_default())
            && (matches!(next, "to" | "from") || next.ends_with("ing"))
        {
            finite |= word.ends_with('s');
            negated = !negated;
            at += usize::from(matches!(next, "to" | "from"));
        } else if AUXILIARIES.contains(&word) {
            finite = true;
        } else if COPULAS.contains(&word) {
            let rest = words.get(at + 1..).unwrap_or_default();
            return copula(rest, negated, norm);
        } else if let Some((sense, objects)) = verb(&words, at, id) {
            let object = words.get(at + 1).map_or("", String::as_str);
            let nothing = NOTHING.contains(&object);
            let sense = sense.negated_if(negated != (nothing && objects));
            let sense = if norm { Sense::Virtue } else { sense };
            return Some(Predicate::of_verb(sense, finite || norm || is_finite(word)));
        } else if norm {
            // A norm says what a good reply does, whatever the verb.
            return Some(Predicate::of_verb(Sense::Virtue, true));
        } else if !ADVERBS.contains(&word) {
            // An unknown verb: an alternative behind "or" may be known.
            at += words.iter().skip(at).position(|word| word == "or")?;
        }
        at += 1;
    }
    None
}

/// The sense of a copula's adjective.
fn copula(rest: &[String], negated: bool, norm: bool) -> Option<Predicate> {
    let mut negated = negated;
    for (at, word) in rest.iter().enumerate() {
        let word = word.as_str();
        if NEGATIONS.contains(&word) {
            negated = !negated;
        } else if let Some(sense) = adjective(word) {
            let sense = if norm { Sense::Virtue } else { sense.negated_if(negated) };
            let behind = rest.get(at + 1..).unwrap_or_default();
            let open_copula = behind.iter().all(|word| adjective(word).is_some());
            return Some(Predicate { sense, finite: true, open_copula });
        } else if !ADVERBS.contains(&word) {
            break;
        }
    }
    norm.then_some(Predicate::of_verb(Sense::Virtue, true))
}

fn adjective(word: &str) -> Option<Sense> {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    if FAULTY_ADJECTIVES.contains(&word) {
        Some(Sense::Fault)
    } else {
        GOOD_ADJECTIVES.contains(&word).then_some(Sense::Virtue)
    }
}

/// The sense of the verb at `at`, and true if an object such as "nothing" reverses it.
fn verb(words: &[String], at: usize, id: &str) -> Option<(Sense, bool)> {
    let word = words.get(at)?;
    let after = words.get(at + 1..(at + 5).min(words.len())).unwrap_or_default();
    let phrasal = PHRASAL_VERBS.iter().find(|(verb, particle, _)| {
        lemma(word, &[verb]).is_some() && after.iter().any(|word| word == particle)
    });
    if let Some((.., sense)) = phrasal {
        return Some((*sense, true));
    }
    if let Some(sense) = known_verb(word) {
        return Some((sense, true));
    }
    if named_by(id, word) {
        return Some((Sense::Fault, true));
    }
    let produces = lemma(word, PRODUCING_VERBS).is_some();
    let nothing = after.first().is_some_and(|word| NOTHING.contains(&word.as_str()));
    (produces && nothing).then_some((Sense::Fault, false))
}

fn known_verb(word: &str) -> Option<Sense> {
    if lemma(word, FAULTY_VERBS).is_some() {
        Some(Sense::Fault)
    } else {
        lemma(word, GOOD_VERBS).map(|_| Sense::Virtue)
    }
}

/// True if an id such as `overpromises` names this verb as its fault.
fn named_by(id: &str, word: &str) -> bool {
    let parts: Vec<&str> = id.split('_').collect();
    let denies =
        |part: &&str| matches!(*part, "no" | "not" | "never" | "without" | "lacks" | "missing");
    if parts.iter().any(denies) || word.len() < 4 {
        return false;
    }
    parts.iter().any(|part| {
        let stem = ["over", "mis", "re"].iter().find_map(|prefix| part.strip_prefix(prefix));
        let over = stem.is_some_and(|stem| stem.len() > 3 && same_verb(stem, word));
        over || same_verb(part, word) && part.ends_with('s')
    })
}

fn same_verb(a: &str, b: &str) -> bool {
    let base = |word: &str| word.strip_suffix('s').unwrap_or(word).to_owned();
    base(a) == base(b)
}

/// True for a known verb in the third person, and for "is", "has" and "does".
fn is_finite(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    let third = word.ends_with('s') && !word.ends_with("ss");
    matches!(word, "is" | "has" | "does" | "was")
        || third
            && (known_verb(word).is_some()
                || lemma(word, PRODUCING_VERBS).is_some()
                || PHRASAL_VERBS.iter().any(|(verb, ..)| lemma(word, &[verb]).is_some()))
}

/// The entry of `bases` of which `word` is a form.
fn lemma<'a>(word: &str, bases: &[&'a str]) -> Option<&'a str> {
    let is_form = |base: &&&str| {
        let base: &str = base;
        let Some(end) = word.strip_prefix(base) else {
            let y = base.strip_suffix('y').and_then(|stem| word.strip_prefix(stem));
            let e = base.strip_suffix('e').and_then(|stem| word.strip_prefix(stem));
            let ie = base.strip_suffix("ie").and_then(|stem| word.strip_prefix(stem));
            return matches!(y, Some("ies" | "ied")) || e == Some("ing") || ie == Some("ying");
        };
        let doubled = base.chars().next_back().map(|last| format!("{last}ing"));
        matches!(end, "" | "s" | "es" | "d" | "ed" | "ing") || doubled.as_deref() == Some(end)
    };
    bases.iter().find(is_form).copied()
}

/// True for a sentence about the world that denies an equation: "Silence is not agreement".
fn states_a_principle(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let about_reply = SUBJECTS.iter().any(|subject| {
        *subject == "it" && words.first() == Some(&"it")
            || *subject != "it" && text.contains(subject)
    });
    let denies = words.windows(2).any(|pair| matches!(pair, ["is" | "are", "not" | "no"]));
    denies && !about_reply
}

//! A regex and a search for it that does not run it over every text.
//!
//! Almost every pattern in a rule needs a literal: `(?:不回复|没回复)[^。]{0,8}默认` cannot match without
//! `不回复` or `没回复`. These literals go to the automaton that scans each text once. Where one is
//! found, an anchored DFA of bounded size tries the pattern. A pattern without such a literal runs
//! only on texts with the characters, the length and the runs that it needs (`gate`). The matches
//! are the same as those of a search from every place of the text; tests compare them with
//! `reference`.
//!
//! RegexSet is not used: one counted repetition among its patterns makes its lazy DFA thrash.

mod atoms;
mod budget;
mod error;
mod estimate;
mod gate;
mod register;
mod rewrite;
mod run_class;

use std::ops::Range;

use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind, PatternID, meta};
use regex_syntax::hir::Hir;

pub(crate) use atoms::{Needle, RequiredLiteral};
pub(crate) use budget::{CompileBudget, MAX_TOTAL_BYTES};
use error::PatternError;
pub(crate) use estimate::written_states as states;
use gate::CountedClass;
pub(crate) use gate::Gate;
pub(crate) use register::PatternRegistry;
pub(crate) use rewrite::fold_pattern;
pub(crate) use run_class::RunClass;

use crate::text::literals::LiteralHits;

/// The greatest size of a compiled pattern, in bytes. A counted class such as `\w{500}` is refused
/// when the pack loads and does not slow down scoring.
pub(crate) const MAX_BYTES: usize = 2 * 1024 * 1024;
/// The greatest size of the anchored DFA, in bytes. A larger pattern is tried by a lazy DFA.
const MAX_DFA_BYTES: usize = 192 * 1024;
/// The greatest size of a lazy DFA's cache, in bytes, for each thread that runs the pattern.
const MAX_CACHE_BYTES: usize = 256 * 1024;
/// The greatest number of hits of a pattern in one text. It makes the work linear in the length of
/// the text.
pub(crate) const MAX_HITS: usize = 1_000;
/// The greatest count in a pattern that is searched for from every place. Higher counts do not fit
/// into a DFA.
const MAX_COUNT: u32 = 100;
/// The greatest number of places at which a pattern of unbounded length is tried one by one,
/// because each try may read to the end of the text. Beyond it, one search runs over the text.
const MAX_TRIES: usize = 16;

/// A compiled regex.
#[derive(Debug)]
pub(crate) struct Pattern {
    /// The regex; `None` for a counted class, which does not need a regex.
    regex: Option<meta::Regex>,
    anchored: Option<dense::DFA<Vec<u32>>>,
    places: StartPlaces,
    gate: Gate,
    bounded: bool,
    /// Set if there is a group `value`.
    pub(crate) captures: bool,
    pub(crate) matches_empty: bool,
    pub(crate) never_matches: bool,
}

/// The places where a match can begin.
#[derive(Debug)]
enum StartPlaces {
    /// Near these leaves' hits.
    Near(Vec<Needle>),
    /// Anywhere, in a text with one of these leaves.
    With(Vec<u32>),
    /// Anywhere, in a text that passes the gate.
    Anywhere,
    /// Anywhere, for a pattern that is one counted class such as `[^
    /// ]{280}`. Its runs are counted, because no DFA of bounded size can.
    Run(CountedClass),
}

/// Parses a pattern. `fold` is set for a pattern that runs on folded text.
pub(crate) fn parse(pattern: &str, fold: bool) -> Result<Hir, PatternError> {
    let config = syntax::Config::new().case_insensitive(fold);
    // The pattern is parsed as written first, so that an error quotes it.
    let parsed = syntax::parse_with(pattern, &config);
    let parsed = match parsed {
        Ok(_) if fold && !pattern.is_ascii() => syntax::parse_with(&fold_pattern(pattern), &config),
        other => other,
    };
    parsed.map(|hir| rewrite::rewrite(&hir, fold)).map_err(|error| PatternError::syntax(&error))
}

/// Compiles the regex alone.
fn regex(hir: &Hir) -> Result<meta::Regex, PatternError> {
    let config = meta::Config::new()
        .nfa_size_limit(Some(MAX_BYTES))
        .onepass_size_limit(Some(64 * 1024))
        .dfa_size_limit(Some(64 * 1024))
        .hybrid_cache_capacity(MAX_CACHE_BYTES);
    meta::Builder::new().configure(config).build_from_hir(hir).map_err(|error| {
        match error.size_limit() {
            Some(limit) => too_large(limit),
            None => PatternError::whole(error.to_string(), "simplify the pattern"),
        }
    })
}

fn too_large(limit: usize) -> PatternError {
    PatternError::whole(
        format!("needs more than {} KiB when compiled", limit / 1024),
        "lower its counted repetitions, such as {500}",
    )
}

impl Pattern {
    /// Compiles `hir`, registering its literals with `plan`.
    ///
    /// `budget` is the size that all patterns may still have together, in bytes, and the number of
    /// large DFAs that may still be tried. A pattern that cannot fit is refused before it is
    /// compiled.
    pub(crate) fn new(
        hir: &Hir,
        plan: &mut impl PatternRegistry,
        budget: &mut CompileBudget,
    ) -> Result<Self, PatternError> {
        let least = estimate::least_bytes(hir);
        if least > MAX_BYTES {
            return Err(too_large(MAX_BYTES));
        }
        budget.admit(least)?;
        let properties = hir.properties();
        let matches_empty = properties.minimum_len().is_some_and(|least| least == 0);
        let mut gate = Gate::default();
        let places = match (CountedClass::of(hir), atoms::atoms(hir)) {
            (Some(run), _) => {
                gate = Gate::of(hir, plan);
                StartPlaces::Run(run)
            }
            (None, Some(atoms)) if !matches_empty => Self::places(atoms, plan),
            _ => {
                gate = Gate::of(hir, plan);
                StartPlaces::Anywhere
            }
        };
        if !matches!(places, StartPlaces::Near(_) | StartPlaces::Run(_))
            && gate::greatest_count(hir) > MAX_COUNT
        {
            return Err(PatternError::whole(
                format!("counts to more than {MAX_COUNT} without a literal before it"),
                "put a word before the repetition, or measure with `check: { length: ... }`",
            ));
        }
        let regex = match &places {
            StartPlaces::Run(_) => None,
            _ => Some(regex(hir)?),
        };
        let anchored = match &places {
            StartPlaces::Near(_) => dense(hir, budget),
            _ => None,
        };
        let pattern = Self {
            captures: regex.as_ref().is_some_and(|regex| {
                regex.group_info().to_index(PatternID::ZERO, "value").is_some()
            }),
            regex,
            anchored,
            places,
            gate,
            bounded: properties.maximum_len().is_some_and(|most| most <= 1024),
            matches_empty,
            never_matches: properties.minimum_len().is_none(),
        };
        budget.spend(pattern.memory());
        Ok(pattern)
    }

    fn places(atoms: Vec<RequiredLiteral>, plan: &mut impl PatternRegistry) -> StartPlaces {
        let near =
            atoms.iter().all(|atom| atom.before[1].is_some_and(|most| most <= atoms::MAX_BEFORE));
        // Literals at one distance share a leaf.
        let mut groups: Vec<([Option<usize>; 2], bool, Vec<String>)> = Vec::new();
        for atom in atoms {
            let before = if near { atom.before } else { [Some(0), None] };
            let digit = atom.literal.is_none();
            match groups.iter_mut().find(|(b, d, _)| *b == before && *d == digit) {
                Some((_, _, literals)) => literals.extend(atom.literal),
                None => groups.push((before, digit, atom.literal.into_iter().collect())),
            }
        }
        let needles = groups.into_iter().map(|(before, digit, literals)| Needle {
            leaf: if digit { plan.digits() } else { plan.leaf(literals) },
            before: [before[0].unwrap_or(0), before[1].unwrap_or(0)],
        });
        let needles: Vec<Needle> = needles.collect();
        if near {
            StartPlaces::Near(needles)
        } else {
            StartPlaces::With(needles.into_iter().map(|needle| needle.leaf).collect())
        }
    }

    /// Returns true if it runs over almost every text.
    pub(crate) fn is_slow(&self) -> bool {
        matches!(self.places, StartPlaces::Anywhere) && self.gate.is_broad()
    }

    /// The required leaves, if there are any. At least one of them must have a hit.
    pub(crate) fn leaves(&self) -> Option<Vec<u32>> {
        match &self.places {
            StartPlaces::Near(needles) => Some(needles.iter().map(|needle| needle.leaf).collect()),
            StartPlaces::With(leaves) => Some(leaves.clone()),
            StartPlaces::Anywhere | StartPlaces::Run(_) => None,
        }
    }

    /// The necessary conditions of a pattern without leaves.
    pub(crate) const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The size on the heap without caches, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.regex.as_ref().map_or(0, meta::Regex::memory_usage)
            + self.anchored.as_ref().map_or(0, dense::DFA::memory_usage)
    }

    /// Calls `each` with the matches in `text`, leftmost first and without overlaps, at most
    /// [`MAX_HITS`]. `found` holds the literal hits of the text.
    pub(crate) fn find(&self, text: &str, found: &LiteralHits, each: impl FnMut(Range<usize>)) {
        let needles = match &self.places {
            StartPlaces::Near(needles) => needles,
            StartPlaces::Run(run) => return run.find(text, MAX_HITS, each),
            StartPlaces::With(leaves) if !leaves.iter().any(|leaf| found.has(*leaf)) => return,
            _ => return self.search(text, each),
        };
        let mut starts = found.scratch.take();
        starts.clear();
        for needle in needles {
            needle.starts(text, found, &mut starts);
        }
        self.try_at(text, &mut starts, each);
        found.scratch.replace(starts);
    }

    /// Calls `each` with the matches that begin at one of `starts`.
    fn try_at(&self, text: &str, starts: &mut [usize], mut each: impl FnMut(Range<usize>)) {
        if !starts.is_sorted() {
            starts.sort_unstable();
        }
        if !self.bounded && starts.len() > MAX_TRIES {
            return self.search(text, each);
        }
        let mut end = 0;
        let mut last = usize::MAX;
        let mut hits = 0;
        for start in starts.iter().copied() {
            if start < end || start == last || hits == MAX_HITS {
                continue;
            }
            last = start;
            if let Some(matched) = self.matched_at(text, start) {
                each(start..matched);
                hits += 1;
                end = matched;
            }
        }
    }

    fn search(&self, text: &str, mut each: impl FnMut(Range<usize>)) {
        for hit in self.regex.iter().flat_map(|regex| regex.find_iter(text)).take(MAX_HITS) {
            each(hit.range());
        }
    }

    /// The end of the match that begins at `start`, if there is one.
    fn matched_at(&self, text: &str, start: usize) -> Option<usize> {
        let input = Input::new(text).range(start..).anchored(Anchored::Yes);
        if let Some(dfa) = &self.anchored
            && let Ok(found) = dfa.try_search_fwd(&input)
        {
            return found.map(|half| half.offset());
        }
        self.regex.as_ref()?.search_half(&input).map(|half| half.offset())
    }

    /// The bytes of the group `value` of the match at `bytes`.
    pub(crate) fn value(&self, text: &str, bytes: &Range<usize>) -> Option<Range<usize>> {
        let input = Input::new(text).range(bytes.clone()).anchored(Anchored::Yes);
        let regex = self.regex.as_ref()?;
        let mut captures = regex.create_captures();
        regex.search_captures(&input, &mut captures);
        Some(captures.get_group_by_name("value")?.range())
    }
}

/// Builds an anchored DFA, if it fits into the bound.
fn dense(hir: &Hir, budget: &mut CompileBudget) -> Option<dense::DFA<Vec<u32>>> {
    let config = thompson::Config::new()
        .nfa_size_limit(Some(MAX_BYTES))
        .which_captures(thompson::WhichCaptures::None);
    let nfa = thompson::Compiler::new().configure(config).build_from_hir(hir).ok()?;
    if nfa.states().len() > budget.dfa_states() {
        return None;
    }
    let config = dense::Config::new()
        .match_kind(MatchKind::LeftmostFirst)
        .start_kind(StartKind::Anchored)
        .accelerate(false)
        .dfa_size_limit(Some(MAX_DFA_BYTES))
        .determinize_size_limit(Some(4 * MAX_DFA_BYTES));
    let built = dense::Builder::new().configure(config).build_from_nfa(&nfa).ok();
    if built.is_none() {
        budget.waste_dfa();
    }
    built
}

//! Clauses and the cues in them.

/// A place in the text, in bytes, half-open.
pub(super) type CueBytes = [u32; 2];

/// The clauses of a text and the cues in them.
#[derive(Debug, Default)]
pub(super) struct ClauseCues {
    pub(super) clauses: Vec<Clause>,
    /// Words that negate what follows in their clause, ascending.
    pub(super) negators: Vec<CueBytes>,
    /// Words that deny what precedes them in their clause, ascending.
    pub(super) denials: Vec<Denial>,
    /// Words of another speaker with the cue of each, ascending.
    pub(super) reports: Vec<ReportedWords>,
}

/// A clause: the words between two commas, contrasting words or ends of sentences.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clause {
    pub(super) bytes: CueBytes,
    /// The boundary in front of the clause.
    pub(super) after: Boundary,
    /// The cue that makes the clause a question.
    pub(super) question: Option<CueBytes>,
    /// The cue of a question for consent that refers to the clause.
    pub(super) consent: Option<CueBytes>,
    pub(super) condition: Option<CueBytes>,
    pub(super) past: Option<CueBytes>,
    /// The cue of a condition that the clause itself states.
    pub(super) states_condition: Option<CueBytes>,
    /// A later clause that takes the clause back.
    pub(super) refused: Option<Denial>,
}

/// The boundary in front of a clause, by increasing strength.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Boundary {
    /// A word that states a condition, without a comma before it: `if`, `如果`.
    Condition,
    /// A word that joins two statements, without a comma before it: `and we`, `就`.
    Joint,
    /// A comma, a colon, a bracket or a dash.
    Comma,
    /// A word that contrasts or reasons: `but`, `because`, `但是`.
    Contrast,
    /// The end of a sentence, or the start of the text.
    Sentence,
}

/// A predicate that denies its subject: `480 is not possible`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Denial {
    pub(super) at: CueBytes,
    /// Set if it denies only numbers: `480元不能接受`, but not `保证不能`.
    pub(super) numbers: bool,
}

/// Reported words, and the cue that reports them.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReportedWords {
    pub(super) words: CueBytes,
    pub(super) cue: CueBytes,
}

/// A short question after a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QuestionTag {
    /// Asks to confirm the statement, which stands: `right?`, `对吧？`.
    Confirm,
    /// Asks for consent to the statement: `does that work?`, `可以吗？`.
    Consent,
}

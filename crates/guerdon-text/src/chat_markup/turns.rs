//! Turns, their speakers, and the markers between them.

/// The speaker of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Speaker {
    /// The system prompt.
    System,
    /// The user.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
}

impl Speaker {
    /// The speaker whom a template, an API or a data set calls `name`, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let named = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        NAMES.iter().find(|(_, names)| named(names)).map(|(speaker, _)| *speaker)
    }
}

/// Names of each speaker.
const NAMES: [(Speaker, &[&str]); 4] = [
    (Speaker::System, &["system", "developer"]),
    (Speaker::User, &["user", "human", "prompter"]),
    (
        Speaker::Assistant,
        &["assistant", "model", "gpt", "bot", "ai", "chatbot", "chatgpt", "bard", "bing"],
    ),
    (
        Speaker::Tool,
        &[
            "tool",
            "ipython",
            "function",
            "observation",
            "tool_response",
            "tool_result",
            "function_response",
        ],
    ),
];

/// A turn in a text with a template's markers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkedTurn<'a> {
    /// The speaker.
    pub speaker: Speaker,
    /// The text without markers.
    pub content: &'a str,
    /// True if no marker ends the turn.
    pub open: bool,
}

/// A marker and its speaker, at an offset of a text.
pub(super) type FoundMarker = (usize, &'static str, Speaker);

/// The markers in `text`, in order. All of them begin with `first`.
pub(super) fn markers<'a>(
    text: &'a str,
    first: char,
    known: &'static [(&'static str, Speaker)],
) -> impl Iterator<Item = FoundMarker> + 'a {
    text.match_indices(first).filter_map(move |(at, _)| {
        let rest = text.get(at..)?;
        let (marker, speaker) = known.iter().find(|(marker, _)| rest.starts_with(marker))?;
        Some((at, *marker, *speaker))
    })
}

/// The offset of the first of `ends` in `text`.
pub(super) fn first_of(text: &str, ends: &[&str]) -> Option<usize> {
    let starts = |rest: &str| ends.iter().any(|end| rest.starts_with(end));
    text.match_indices('<').map(|(at, _)| at).find(|at| text.get(*at..).is_some_and(starts))
}

/// A tool's result without the frame that Qwen and GLM put it in.
pub(super) fn tool_result(content: &str) -> Option<&str> {
    let inner = content.strip_prefix("<tool_response>\n")?;
    inner.trim_end().strip_suffix("\n</tool_response>")
}

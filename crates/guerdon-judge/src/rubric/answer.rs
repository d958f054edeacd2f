//! The syntax of a judge's answer. The default is JSON by a schema; judges that were trained on a form
//! of their own answer in that form.

use regex::{Regex, RegexBuilder};
use serde::Deserialize;

/// Longest pattern, in bytes.
const LONGEST_PATTERN: usize = 1_000;
/// Upper bound of the size of a compiled pattern, in bytes. Matching is linear in the text.
const MOST_COMPILED: usize = 1 << 20;

/// The syntax of an answer, as written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WrittenAnswer {
    /// A JSON object by a schema, which names every criterion.
    Schema,
    /// A letter: of a level, or of the better one of two replies.
    Letter,
    /// A number: of a level, on the `scale` between two replies, or one for each reply of a list.
    Number,
    /// The replies of a list from the best to the worst: `B > A = C`.
    Ranking,
    /// The text that a regular expression finds.
    Regex(String),
}

/// The syntax of an answer.
#[derive(Debug, Clone, Default)]
pub(crate) enum AnswerSyntax {
    #[default]
    Schema,
    Letter,
    Number,
    Ranking,
    Pattern(Regex),
}

impl AnswerSyntax {
    /// True for an answer by a JSON schema.
    pub(crate) const fn is_schema(&self) -> bool {
        matches!(self, Self::Schema)
    }

    /// The syntax for the hash of what is asked.
    pub(crate) fn words(&self) -> &str {
        match self {
            Self::Schema => "schema",
            Self::Letter => "letter",
            Self::Number => "number",
            Self::Ranking => "ranking",
            Self::Pattern(regex) => regex.as_str(),
        }
    }
}

impl WrittenAnswer {
    /// The syntax, or the reason why a pattern cannot be used.
    pub(crate) fn compiled(&self) -> Result<AnswerSyntax, String> {
        let pattern = match self {
            Self::Schema => return Ok(AnswerSyntax::Schema),
            Self::Letter => return Ok(AnswerSyntax::Letter),
            Self::Number => return Ok(AnswerSyntax::Number),
            Self::Ranking => return Ok(AnswerSyntax::Ranking),
            Self::Regex(pattern) => pattern,
        };
        if pattern.len() > LONGEST_PATTERN {
            let bytes = pattern.len();
            return Err(format!(
                "the pattern has {bytes} bytes, and at most {LONGEST_PATTERN} fit"
            ));
        }
        let built = RegexBuilder::new(pattern)
            .size_limit(MOST_COMPILED)
            .dfa_size_limit(MOST_COMPILED)
            .nest_limit(50)
            .build();
        let regex = built.map_err(|error| {
            let text = error.to_string();
            text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        })?;
        if regex.captures_len() < 2 {
            return Err("the pattern has no group: put the answer itself in `( )`".to_owned());
        }
        Ok(AnswerSyntax::Pattern(regex))
    }
}

/// The words of guerdon around the author's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Instructions {
    /// The form of the answer ends the system message, and a closing sentence follows the reply.
    #[default]
    Added,
    /// The author's text is sent as it is, and shows replies with the slot `replies`.
    Own,
}

/// The messages of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MessageLayout {
    /// One message for each section of the text.
    #[default]
    Sections,
    /// The system section if it has text, the messages of the dialogue, and each reply in a message
    /// whose role is its name.
    Roles,
}

/// The names of the replies in answers that are no JSON by a schema: a text with a place for the
/// number (`{n}`, from 1) or the letter (`{l}`, from A).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplyNames {
    before: String,
    after: String,
    is_letter: bool,
}

/// Longest text of reply names, in bytes.
const LONGEST_NAME: usize = 40;

impl ReplyNames {
    /// Names like `text`, or the reason why they cannot be made.
    pub(crate) fn of(text: &str) -> Result<Self, String> {
        let split = |place: &str, is_letter| {
            let (before, after) = text.split_once(place)?;
            Some(Self { before: before.to_owned(), after: after.to_owned(), is_letter })
        };
        let names = split("{n}", false).or_else(|| split("{l}", true));
        let names = names.filter(|names| !format!("{}{}", names.before, names.after).contains('{'));
        match names {
            _ if text.len() > LONGEST_NAME => {
                Err(format!("a name has at most {LONGEST_NAME} bytes"))
            }
            Some(names) => Ok(names),
            None => {
                Err("names need one place: `{n}` for a number, or `{l}` for a letter".to_owned())
            }
        }
    }

    /// The most replies that have names.
    pub(crate) const fn most(&self) -> usize {
        if self.is_letter { 26 } else { usize::MAX }
    }

    /// The name of the reply at `place`, from 0.
    pub(crate) fn name(&self, place: usize) -> String {
        let Self { before, after, is_letter } = self;
        let letter = u8::try_from(place).ok().and_then(|place| b'A'.checked_add(place));
        match letter.filter(u8::is_ascii_uppercase) {
            Some(letter) if *is_letter => format!("{before}{}{after}", char::from(letter)),
            _ => format!("{before}{}{after}", place + 1),
        }
    }
}

impl Default for ReplyNames {
    fn default() -> Self {
        Self { before: String::new(), after: String::new(), is_letter: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_bounded_and_need_a_group() {
        let compiled = |pattern: &str| WrittenAnswer::Regex(pattern.to_owned()).compiled();
        assert!(matches!(compiled(r"\[\[([ABC])\]\]"), Ok(AnswerSyntax::Pattern(_))));
        let error = |pattern: &str| compiled(pattern).unwrap_err();
        assert!(error("[[A]]").contains("no group"));
        assert!(error(&"a".repeat(1_001)).contains("1001 bytes"));
        assert!(
            error(r"((\w{1000}){1000})").contains("size limit"),
            "{}",
            error(r"((\w{1000}){1000})")
        );
        assert!(error("(").contains("unclosed"), "{}", error("("));
        assert!(!error(r"(a)\1").is_empty(), "backreferences are not linear");
    }

    #[test]
    fn names_have_one_place() {
        let names = |text: &str, place| ReplyNames::of(text).map(|names| names.name(place));
        assert_eq!(names("model-{n}", 0).unwrap(), "model-1");
        assert_eq!(names("{l}", 25).unwrap(), "Z");
        assert_eq!(names("Output ({l})", 1).unwrap(), "Output (B)");
        assert_eq!(ReplyNames::default().name(2), "C");
        for bad in ["", "A", "{n}{l}", "{n}{n}", "{m}", &format!("{}{{n}}", "x".repeat(40))] {
            assert!(ReplyNames::of(bad).is_err(), "{bad}");
        }
    }
}

//! Answers that are no JSON by a schema: a letter, a number, a ranking, or what a regular expression
//! finds. They are about one criterion.
//!
//! Nothing is guessed. Without reasons the whole answer has the form; with reasons before it, its last
//! line has. A regular expression may match several times, but must find the same each time, because a
//! judge that quotes a reply may quote an answer that the reply forged. Such answers have no seal:
//! the names of letters and numbers can be known.

mod interpret;
mod words;

use guerdon_text::chat_markup::after_thoughts;

use crate::ask::listing::Listing;
use crate::ask::reply::{AnswerError, CriterionFinding, ParsedAnswer, cut_reasons};
use crate::rubric::answer::AnswerSyntax;
use crate::rubric::{Criterion, Reasoning, Rubric};

pub(crate) use interpret::level_letter;
pub(crate) use words::{closing, form};

/// An answer to be read: the rubric's syntax, the criterion that was asked, and the replies if several
/// were shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FormContract<'a> {
    pub(crate) rubric: &'a Rubric,
    pub(crate) criterion: &'a Criterion,
    pub(crate) listing: Option<&'a Listing>,
}

impl FormContract<'_> {
    /// Reads `text`, or returns the reason why it is not an answer.
    pub(crate) fn read(self, text: &str) -> Result<ParsedAnswer, AnswerError> {
        let whole = text.trim();
        let text = after_thoughts(whole).unwrap_or(whole).trim();
        if text.is_empty() {
            return Err(AnswerError::Malformed("the answer is empty".to_owned()));
        }
        let (findings, before) = match &self.rubric.answer {
            AnswerSyntax::Pattern(pattern) => self.found(pattern, text)?,
            _ => {
                let (before, answer) = self.split(text);
                (self.interpreted(answer)?, before)
            }
        };
        let reasons = (self.rubric.reasoning == Reasoning::Before).then(|| cut_reasons(before));
        Ok(ParsedAnswer { findings, bare: text == whole, reasons: reasons.flatten() })
    }

    /// The reasons and the answer: without reasons the whole text, otherwise its last line.
    fn split(self, text: &str) -> (&str, &str) {
        if self.rubric.reasoning == Reasoning::None {
            return ("", text);
        }
        let (before, last) = text.rsplit_once('\n').unwrap_or(("", text));
        (before.trim(), last.trim())
    }

    /// The findings that all matches of `pattern` agree on, and the text before the last one.
    fn found<'t>(
        self,
        pattern: &regex::Regex,
        text: &'t str,
    ) -> Result<(Vec<CriterionFinding>, &'t str), AnswerError> {
        let mut found: Option<(Vec<CriterionFinding>, &'t str)> = None;
        for captures in pattern.captures_iter(text) {
            let start = captures.get(0).map_or(0, |whole| whole.start());
            let findings = self.of_captures(&captures).map_err(AnswerError::Malformed)?;
            if found.as_ref().is_some_and(|(other, _)| *other != findings) {
                return Err(AnswerError::Ambiguous);
            }
            found = Some((findings, text.get(..start).unwrap_or_default().trim()));
        }
        let none = || AnswerError::Malformed("the answer does not match the pattern".to_owned());
        found.ok_or_else(none)
    }
}

#[cfg(test)]
mod tests;

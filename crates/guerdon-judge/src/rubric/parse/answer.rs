//! The settings of answers that are no JSON by a schema.

use guerdon_text::Finding;
use toml::Spanned;

use super::front::{FrontCheck, FrontMatter};
use crate::rubric::answer::{AnswerSyntax, Instructions, MessageLayout, ReplyNames};
use crate::rubric::{Criterion, Grouping, Mode, codes};

/// The settings of an answer.
#[derive(Debug, Default)]
pub(crate) struct AnswerSettings {
    pub(crate) syntax: AnswerSyntax,
    pub(crate) scale: Option<(f64, f64)>,
    pub(crate) names: ReplyNames,
    pub(crate) instructions: Instructions,
    pub(crate) layout: MessageLayout,
}

/// Checks the syntax of the answer against the mode and the criteria.
pub(crate) fn check_answer(
    check: &mut FrontCheck<'_>,
    front: &FrontMatter,
    criteria: &[Criterion],
) -> AnswerSettings {
    let mut settings = AnswerSettings::default();
    let mut wrong = |place: std::ops::Range<usize>, message: String, help: &str| {
        let finding = Finding::new(codes::ANSWER, check.place(place), message);
        check.add(if help.is_empty() { finding } else { finding.help(help) });
    };
    if let Some(answer) = &front.answer {
        match answer.get_ref().compiled() {
            Ok(syntax) => settings.syntax = syntax,
            Err(detail) => wrong(answer.span(), format!("`regex` cannot be used: {detail}"), ""),
        }
        if let Some((message, help)) = misfit(front, criteria, &settings.syntax) {
            wrong(answer.span(), message, help);
        }
    }
    let syntax = &settings.syntax;
    if let Some(scale) = &front.scale {
        let [first, second] = *scale.get_ref();
        let is_number = matches!(syntax, AnswerSyntax::Number | AnswerSyntax::Pattern(_));
        if front.mode != Mode::Pairwise || !is_number {
            let message = "`scale` belongs to numbers about two replies".to_owned();
            let help = "use it with `mode = \"pairwise\"` and `answer = \"number\"` or a pattern";
            wrong(scale.span(), message, help);
        } else if !(first.is_finite() && second.is_finite()) || first.total_cmp(&second).is_eq() {
            wrong(scale.span(), "`scale` needs two different numbers".to_owned(), "");
        } else {
            settings.scale = Some((first, second));
        }
    }
    if let Some(names) = &front.reply_names {
        match ReplyNames::of(names.get_ref()) {
            Ok(read) => settings.names = read,
            Err(detail) => {
                wrong(names.span(), format!("`reply_names` cannot be used: {detail}"), "")
            }
        }
    }
    let per_call = front.per_call.as_ref().map_or(0, |number| *number.get_ref());
    let most = settings.names.most();
    if front.mode == Mode::Listwise
        && !settings.syntax.is_schema()
        && usize::try_from(per_call).is_ok_and(|per_call| per_call > most)
        && let Some(written) = &front.per_call
    {
        let message = format!("letters name at most {most} replies");
        wrong(written.span(), message, "use `reply_names = \"{n}\"`, or a lower `per_call`");
    }
    if let Some(own) = &front.instructions {
        settings.instructions = *own.get_ref();
        if settings.instructions == Instructions::Own && settings.syntax.is_schema() {
            let message = "`instructions = \"own\"` needs an `answer` that is no schema".to_owned();
            wrong(own.span(), message, "the form of a schema names blocks that only guerdon knows");
        }
    }
    if let Some(layout) = &front.messages {
        settings.layout = *layout.get_ref();
        let own = settings.instructions == Instructions::Own;
        let fits = own && front.mode != Mode::Absolute;
        if settings.layout == MessageLayout::Roles && !fits {
            let message = "`messages = \"roles\"` shows several replies as they are".to_owned();
            let help = "use it with `instructions = \"own\"` and a `mode` that compares replies";
            wrong(layout.span(), message, help);
        }
    }
    settings
}

/// The reason why a syntax does not fit the mode or the criteria, with its remedy.
fn misfit(
    front: &FrontMatter,
    criteria: &[Criterion],
    syntax: &AnswerSyntax,
) -> Option<(String, &'static str)> {
    if syntax.is_schema() {
        return None;
    }
    if criteria.len() > 1 && front.grouping != Grouping::Criterion {
        let message = "an answer that is no schema is about one criterion".to_owned();
        return Some((message, "add `grouping = \"criterion\"`, or keep one criterion"));
    }
    if criteria.iter().any(|criterion| criterion.quote) {
        let message = "an answer that is no schema has no quotes".to_owned();
        return Some((message, "remove `quote`"));
    }
    let numbers = || {
        let mut levels = criteria.iter().flat_map(|criterion| &criterion.levels);
        levels.all(|level| level.name.parse::<f64>().is_ok())
    };
    match (syntax, front.mode) {
        (AnswerSyntax::Ranking, Mode::Absolute | Mode::Pairwise) => Some((
            "a ranking is an answer of listwise prompts".to_owned(),
            "use `mode = \"listwise\"`",
        )),
        (AnswerSyntax::Letter, Mode::Listwise) => Some((
            "a letter is an answer about one reply or two".to_owned(),
            "use `answer = \"ranking\"` or `\"number\"`",
        )),
        (AnswerSyntax::Letter, Mode::Absolute) => {
            let most = criteria.iter().map(|criterion| criterion.levels.len()).max()?;
            let message = format!("letters name at most 26 levels, and a criterion has {most}");
            (most > 26).then_some((message, "use fewer levels"))
        }
        (AnswerSyntax::Number, Mode::Pairwise) if front.scale.is_none() => Some((
            "a number about two replies needs a `scale`".to_owned(),
            "such as `scale = [1, 6]`: the number for the first reply, then that for the second",
        )),
        (AnswerSyntax::Number, Mode::Absolute | Mode::Listwise) if !numbers() => Some((
            "a number is a level, and the levels have no numbers as names".to_owned(),
            "name the levels `1`, `2`, ...",
        )),
        _ => None,
    }
}

/// True if probabilities are asked for, and letters have them.
pub(super) fn has_letters(front: &FrontMatter) -> bool {
    use crate::rubric::answer::WrittenAnswer;
    let answer = front.answer.as_ref().map(Spanned::get_ref);
    matches!(answer, Some(WrittenAnswer::Letter))
}

//! The settings of prompts that judge the replies of a group together.

use std::ops::Range;

use guerdon_text::Finding;
use toml::Spanned;

use super::front::{FrontCheck, FrontMatter};
use crate::rubric::{
    Criterion, CriterionKind, Estimate, LEAST_PER_CALL, Listwise, Mode, Pairwise, Rounds, Scoring,
    codes,
};

/// Upper bound of `shuffles`.
const MAX_SHUFFLES: u32 = 10;
/// Upper bound of `per_call`.
const MAX_PER_CALL: u32 = 64;
/// Default of `per_call`.
const PER_CALL: u32 = 16;
/// Upper bound of Swiss rounds.
const MAX_ROUNDS: u32 = 32;
/// Upper bound of `max_calls`.
const MOST_CALLS: u32 = 65_536;
/// Default of `max_calls`.
const MAX_CALLS: u32 = 1_024;

/// The settings of a mode that compares replies; neither is set for an absolute prompt.
#[derive(Debug, Default)]
pub(crate) struct GroupMode {
    pub(crate) listwise: Option<Listwise>,
    pub(crate) pairwise: Option<Pairwise>,
}

/// Checks the settings of the mode.
pub(crate) fn check_mode(
    check: &mut FrontCheck<'_>,
    front: &FrontMatter,
    criteria: &[Criterion],
) -> GroupMode {
    let mode = front.mode;
    refuse_settings_of_other_modes(check, front);
    if mode == Mode::Absolute {
        return GroupMode::default();
    }
    let FrontMatter { shuffles, per_call, min_size, samples, scoring, .. } = front;
    if *samples.get_ref() != 1 {
        let (name, key) = match mode {
            Mode::Pairwise => ("pairwise", "rounds"),
            Mode::Absolute | Mode::Listwise => ("listwise", "shuffles"),
        };
        let message = format!("a {name} prompt is repeated by `{key}`");
        let finding = Finding::new(codes::MODE, check.place(samples.span()), message);
        check.add(finding.help(format!("write `{key}` in place of `samples`")));
    }
    let is_lettered = mode == Mode::Pairwise && super::answer::has_letters(front);
    let expected = |one: &&Spanned<Scoring>| *one.get_ref() == Scoring::Expected;
    if let Some(scoring) = scoring.as_ref().filter(expected).filter(|_| !is_lettered) {
        let message = "`scoring = \"expected\"` asks about one reply at a time";
        let finding = Finding::new(codes::MODE, check.place(scoring.span()), message);
        check.add(finding.help("remove it, or `mode`"));
    }
    let least = within(check, ("min_size", min_size), 2, 2..=u32::from(u16::MAX));
    let min_size = min_size.as_ref().map(|_| size(least));
    if mode == Mode::Pairwise {
        let pairwise = Some(pairwise(check, front, criteria, min_size));
        return GroupMode { listwise: None, pairwise };
    }
    let shuffles = within(check, ("shuffles", shuffles), 1, 1..=MAX_SHUFFLES);
    let most = LEAST_PER_CALL..=MAX_PER_CALL;
    let per_call = within(check, ("per_call", per_call), PER_CALL, most);
    let listwise = Listwise { shuffles, per_call: size(per_call), min_size };
    GroupMode { listwise: Some(listwise), pairwise: None }
}

/// The name of a setting, its place in the front matter, and the modes that have it.
type WrittenSetting<'a> = (&'a str, Option<Range<usize>>, &'a [Mode]);

/// Reports settings that belong to another mode.
fn refuse_settings_of_other_modes(check: &mut FrontCheck<'_>, front: &FrontMatter) {
    let place = |number: &Option<Spanned<u32>>| number.as_ref().map(Spanned::span);
    let rounds = front.rounds.as_ref().map(Spanned::span);
    let estimate = front.estimate.as_ref().map(Spanned::span);
    let settings: [WrittenSetting<'_>; 6] = [
        ("shuffles", place(&front.shuffles), &[Mode::Listwise]),
        ("per_call", place(&front.per_call), &[Mode::Listwise]),
        ("min_size", place(&front.min_size), &[Mode::Listwise, Mode::Pairwise]),
        ("rounds", rounds, &[Mode::Pairwise]),
        ("estimate", estimate, &[Mode::Pairwise]),
        ("max_calls", place(&front.max_calls), &[Mode::Pairwise]),
    ];
    for (name, span, modes) in settings {
        let Some(span) = span.filter(|_| !modes.contains(&front.mode)) else { continue };
        let mode = if modes.contains(&Mode::Listwise) { "listwise" } else { "pairwise" };
        let message = format!("`{name}` is a setting of {mode} prompts");
        let finding = Finding::new(codes::MODE, check.place(span), message);
        check.add(finding.help(format!("add `mode = \"{mode}\"`, or remove it")));
    }
}

/// The settings of a pairwise prompt.
fn pairwise(
    check: &mut FrontCheck<'_>,
    front: &FrontMatter,
    criteria: &[Criterion],
    min_size: Option<usize>,
) -> Pairwise {
    let rounds = front.rounds.as_ref().map(|rounds| *rounds.get_ref()).unwrap_or_default();
    let estimate = front.estimate.as_ref().map(|one| *one.get_ref()).unwrap_or_default();
    if let (Rounds::Swiss(count), Some(written)) = (rounds, &front.rounds) {
        let place = check.place(written.span());
        if !(1..=MAX_ROUNDS).contains(&count) {
            let message = format!("`swiss` is {count}; it must be between 1 and {MAX_ROUNDS}");
            check.add(Finding::new(codes::RANGE, place, message));
        } else if estimate == Estimate::MeanWins {
            let message =
                "mean wins depend on the opponents, which Swiss rounds choose by strength";
            let help = "use `estimate = \"bradley_terry\"`, or `rounds = \"round_robin\"`";
            check.add(Finding::new(codes::MODE, place, message).help(help));
        }
    }
    for (written, criterion) in front.criteria.get_ref().iter().zip(criteria) {
        let place = || check.place(written.span());
        let (message, help) = match criterion.kind {
            CriterionKind::Gate | CriterionKind::Veto => (
                format!("criterion `{}` is a fact about one reply, not a comparison", criterion.id),
                "put gates and vetoes into a prompt with another `mode`",
            ),
            CriterionKind::Deduct | CriterionKind::Bonus if criterion.quote => (
                format!("criterion `{}` asks for a quote, and a comparison has none", criterion.id),
                "remove `quote`, or use `mode = \"listwise\"`",
            ),
            CriterionKind::Deduct | CriterionKind::Bonus => continue,
        };
        let finding = Finding::new(codes::MODE, place(), message).help(help);
        check.add(finding);
    }
    let max_calls = within(check, ("max_calls", &front.max_calls), MAX_CALLS, 2..=MOST_CALLS);
    Pairwise { rounds, estimate, max_calls: size(max_calls), min_size }
}

/// A number of the front matter; reports one that is out of `range`.
fn within(
    check: &mut FrontCheck<'_>,
    (name, number): (&str, &Option<Spanned<u32>>),
    default: u32,
    range: std::ops::RangeInclusive<u32>,
) -> u32 {
    let Some(number) = number else { return default };
    let value = *number.get_ref();
    if !range.contains(&value) {
        let (least, most) = range.into_inner();
        let message = format!("`{name}` is {value}; it must be between {least} and {most}");
        check.add(Finding::new(codes::RANGE, check.place(number.span()), message));
    }
    value
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

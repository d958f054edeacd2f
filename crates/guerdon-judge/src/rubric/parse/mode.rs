//! The `mode` of a prompt file, with the settings that belong to it.

use guerdon_text::Finding;
use toml::Spanned;

use super::{FrontCheck, FrontMatter};
use crate::rubric::{LEAST_PER_CALL, Listwise, Mode, Scoring, codes};

/// Upper bound of `shuffles`.
const MAX_SHUFFLES: u32 = 10;
/// Upper bound of `per_call`.
const MAX_PER_CALL: u32 = 64;
/// Default of `per_call`.
const PER_CALL: u32 = 16;

/// Checks the settings of the mode; `Some` for a listwise prompt.
pub(crate) fn check_mode(check: &mut FrontCheck<'_>, front: &FrontMatter) -> Option<Listwise> {
    let FrontMatter { mode, shuffles, per_call, min_size, samples, scoring, .. } = front;
    if *mode == Mode::Absolute {
        for (name, number) in
            [("shuffles", shuffles), ("per_call", per_call), ("min_size", min_size)]
        {
            if let Some(number) = number {
                let message = format!("`{name}` is a setting of listwise prompts");
                let finding = Finding::new(codes::MODE, check.place(number.span()), message);
                check.add(finding.help("add `mode = \"listwise\"`, or remove it"));
            }
        }
        return None;
    }
    if *samples.get_ref() != 1 {
        let message = "a listwise prompt is repeated by `shuffles`";
        let finding = Finding::new(codes::MODE, check.place(samples.span()), message);
        check.add(finding.help("write `shuffles` in place of `samples`"));
    }
    if let Some(scoring) = scoring.as_ref().filter(|one| *one.get_ref() == Scoring::Expected) {
        let message = "`scoring = \"expected\"` asks about one reply at a time";
        let finding = Finding::new(codes::MODE, check.place(scoring.span()), message);
        check.add(finding.help("remove it, or `mode`"));
    }
    let mut within = |name: &str, number: &Option<Spanned<u32>>, default, least, most| {
        let Some(number) = number else { return default };
        let value = *number.get_ref();
        if !(least..=most).contains(&value) {
            let message = format!("`{name}` is {value}; it must be between {least} and {most}");
            check.add(Finding::new(codes::RANGE, check.place(number.span()), message));
        }
        value
    };
    let shuffles = within("shuffles", shuffles, 1, 1, MAX_SHUFFLES);
    let per_call = within("per_call", per_call, PER_CALL, LEAST_PER_CALL, MAX_PER_CALL);
    let least = within("min_size", min_size, 2, 2, u32::from(u16::MAX));
    let size = |number| usize::try_from(number).unwrap_or(usize::MAX);
    let min_size = min_size.as_ref().map(|_| size(least));
    Some(Listwise { shuffles, per_call: size(per_call), min_size })
}

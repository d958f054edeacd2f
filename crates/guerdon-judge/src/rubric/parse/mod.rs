//! The front matter of a prompt file: TOML between two `+++` lines, followed by the body.
//!
//! Every problem is reported at its place in the file.

mod answer;
mod criteria;
mod examples;
mod front;
mod mode;

use std::ops::Range;

use guerdon_text::{Finding, Report, SourceText};

use crate::rubric::codes;
use crate::rubric::version::{KappaStamp, without_mark};
pub(crate) use answer::{AnswerSettings, check_answer};
pub(crate) use criteria::{check_criteria, criterion_places, point_places};
pub(crate) use examples::check_examples;
pub(crate) use front::{FrontCheck, FrontMatter};
pub(crate) use mode::{GroupMode, check_mode};

/// Upper bound of `samples`. More samples cost more than they are worth.
const MAX_SAMPLES: u32 = 25;

/// The parts of a prompt file, as byte ranges of its text.
#[derive(Debug, Clone)]
pub(crate) struct Sections {
    pub(crate) front: Range<usize>,
    /// The text between the front matter and `# system`, which is not shown.
    pub(crate) before: Range<usize>,
    pub(crate) system: Range<usize>,
    pub(crate) user: Range<usize>,
}

/// Finds the front matter and the two sections of the body.
pub(crate) fn split(source: &SourceText, report: &mut Report) -> Option<Sections> {
    let mut lines = lines(&source.text);
    let is_fence =
        |range: &Range<usize>| source.text.get(range.clone()).map(str::trim_end) == Some("+++");
    // Some editors write a byte order mark first.
    let mark = source.text.len() - without_mark(&source.text).len();
    let first = lines.next().map(|first| first.start + mark..first.end);
    let Some(first) = first.filter(is_fence) else {
        let help = "the front matter is TOML between two `+++` lines; see judge-prompts/README.md";
        let message = "a judge prompt opens with a `+++` line";
        report.add(source, Finding::new(codes::FENCE, 0..0, message).help(help));
        return None;
    };
    let Some(close) = lines.find(is_fence) else {
        let finding = Finding::new(codes::FENCE, first, "the front matter is never closed");
        report.add(source, finding.help("end it with a `+++` line"));
        return None;
    };
    let front = first.end..close.start;
    let mut heading = |name: &str| {
        let found =
            lines.find(|range| source.text.get(range.clone()).map(str::trim_end) == Some(name));
        if found.is_none() {
            let message = format!("the body has no `{name}` line");
            let help =
                "the body is two sections, `# system` and then `# user`; each becomes one message";
            report.add(source, Finding::new(codes::SECTION, close.clone(), message).help(help));
        }
        found
    };
    let system = heading("# system")?;
    let user = heading("# user")?;
    Some(Sections {
        front,
        before: close.end..system.start,
        system: system.end..user.start,
        user: user.end..source.text.len(),
    })
}

/// The byte ranges of the lines of `text`, line ends included.
fn lines(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    text.split_inclusive('\n').map(move |line| {
        let range = at..at + line.len();
        at = range.end;
        range
    })
}

/// Reads the front matter at `range` and checks its numbers.
pub(crate) fn front_matter(check: &mut FrontCheck<'_>, range: Range<usize>) -> Option<FrontMatter> {
    let text = check.source.text.get(range)?;
    let front: FrontMatter = match toml::from_str(text) {
        Ok(front) => front,
        Err(error) => {
            let message = error.message();
            let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
            let place = check.place(error.span().unwrap_or(0..0));
            let mut finding = Finding::new(codes::FRONT_MATTER, place, message.trim().to_owned());
            // serde quotes the unknown name first and the known ones after it. A wrong guess
            // costs only the hint.
            if let [given, known @ ..] = quoted.as_slice() {
                finding = finding.nearest(given, known.iter().copied());
            }
            check.add(finding);
            return None;
        }
    };
    if *front.max_tokens.get_ref() == 0 {
        let message = "`max_tokens` is 0, which leaves no room for an answer";
        check.add(Finding::new(codes::RANGE, check.place(front.max_tokens.span()), message));
    }
    let samples = *front.samples.get_ref();
    if !(1..=MAX_SAMPLES).contains(&samples) {
        let message = format!("`samples` is {samples}; it must be between 1 and {MAX_SAMPLES}");
        check.add(Finding::new(codes::RANGE, check.place(front.samples.span()), message));
    }
    let temperature = *front.temperature.get_ref();
    let place = check.place(front.temperature.span());
    if !(0.0..=2.0).contains(&temperature) {
        let message = format!("`temperature` is {temperature}; it must be between 0 and 2");
        check.add(Finding::new(codes::RANGE, place, message));
    } else if temperature > 0.0 && samples == 1 {
        let message = "one verdict is drawn at random and then cached";
        let help = "a temperature of 0 gives the judge's most likely verdict";
        check.add(Finding::new(codes::RANDOM_VERDICT, place, message).help(help));
    }
    Some(front)
}

/// Checks that the sealed hash is that of this text, and that the measured agreement with people
/// is at least `least_kappa`.
pub(crate) fn check_version(check: &mut FrontCheck<'_>, front: &FrontMatter, hash: &str) {
    if let Some(sealed) = front.hash.as_ref().filter(|sealed| sealed.get_ref() != hash) {
        let message = format!("the text was edited, but its version is still {}", front.version);
        let help = format!(
            "`guerdon judge bump {}` raises the version and seals the text again",
            check.source.name
        );
        let place = check.place(sealed.span());
        check.add(Finding::new(codes::SEAL, place, message).help(help));
    }
    let Some(least) = &front.least_kappa else { return };
    let (place, least) = (check.place(least.span()), *least.get_ref());
    let measure = "measure it: `guerdon judge calibrate PROMPT --gold FILE --stamp`";
    let Some(stamp) = &front.calibrated else {
        let message = "`least_kappa` is set, but no agreement was measured";
        check.add(Finding::new(codes::KAPPA, place, message).help(measure));
        return;
    };
    let place = check.place(stamp.span());
    let KappaStamp { kappa, hash: of, .. } = stamp.get_ref();
    if of != hash {
        let message = "the agreement was measured on another text";
        check.add(Finding::new(codes::KAPPA, place, message).help(measure));
    } else if *kappa < least || kappa.is_nan() {
        let message = format!("kappa is {kappa}, less than `least_kappa = {least}`");
        let help = "improve the anchors, or use another judge";
        check.add(Finding::new(codes::KAPPA, place, message).help(help));
    }
}

#[cfg(test)]
mod tests;

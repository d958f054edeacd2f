//! A prompt file's front matter: TOML between two `+++` lines, then the body. What is wrong is reported where it stands.

mod criteria;
mod examples;

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use crate::rubric::report::{Report, Source};
use crate::rubric::version::Measured;
use crate::rubric::{Example, Grouping, Probe, Scoring};
use criteria::RawCriterion;
pub(crate) use criteria::criteria;
pub(crate) use examples::examples;

/// More cost more than they say.
const MOST_SAMPLES: u32 = 25;

/// Where the parts of a prompt file stand, as byte ranges.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) front: Range<usize>,
    pub(crate) system: Range<usize>,
    pub(crate) user: Range<usize>,
}

/// The front matter as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Front {
    pub(crate) id: Spanned<String>,
    pub(crate) about: String,
    pub(crate) version: u32,
    /// The content's hash, if the version is sealed.
    pub(crate) hash: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) grouping: Grouping,
    pub(crate) scoring: Option<Spanned<Scoring>>,
    #[serde(default = "default_samples")]
    pub(crate) samples: Spanned<u32>,
    pub(crate) shuffle: Option<bool>,
    /// The least agreement with people with which this may load.
    pub(crate) least_kappa: Option<Spanned<f64>>,
    pub(crate) calibrated: Option<Spanned<Measured>>,
    #[serde(default)]
    pub(crate) examples: Vec<Spanned<Example>>,
    #[serde(default)]
    pub(crate) probes: Vec<Spanned<Probe>>,
    #[serde(default = "default_max_tokens")]
    pub(crate) max_tokens: Spanned<u32>,
    #[serde(default = "default_temperature")]
    pub(crate) temperature: Spanned<f64>,
    criteria: Spanned<Vec<Spanned<RawCriterion>>>,
}

fn default_max_tokens() -> Spanned<u32> {
    Spanned::new(0..0, 512)
}

fn default_samples() -> Spanned<u32> {
    Spanned::new(0..0, 1)
}

fn default_temperature() -> Spanned<f64> {
    Spanned::new(0..0, 0.0)
}

/// Finds the front matter and the two sections of the body.
pub(crate) fn split(source: &Source<'_>, report: &mut Report) -> Option<Parts> {
    let mut lines = lines(source.text);
    let is_fence =
        |range: &Range<usize>| source.text.get(range.clone()).map(str::trim_end) == Some("+++");
    let Some(first) = lines.next().filter(is_fence) else {
        source
            .error(0..0, "a judge prompt opens with a `+++` line")
            .help("the front matter is TOML between two `+++` lines; see judge-prompts/README.md")
            .into(report);
        return None;
    };
    let Some(close) = lines.find(is_fence) else {
        source
            .error(first, "the front matter is never closed")
            .help("end it with a `+++` line")
            .into(report);
        return None;
    };
    let front = first.end..close.start;
    let mut heading = |name: &str| {
        let found =
            lines.find(|range| source.text.get(range.clone()).map(str::trim_end) == Some(name));
        if found.is_none() {
            source
                .error(close.clone(), format!("the body has no `{name}` line"))
                .help("the body is two sections, `# system` and then `# user`; each becomes one message")
                .into(report);
        }
        found
    };
    let system = heading("# system")?;
    let user = heading("# user")?;
    Some(Parts { front, system: system.end..user.start, user: user.end..source.text.len() })
}

/// The byte ranges of `text`'s lines, line ends included.
fn lines(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    text.split_inclusive('\n').map(move |line| {
        let range = at..at + line.len();
        at = range.end;
        range
    })
}

/// A span within the front matter, as a span of the file.
pub(crate) const fn shifted(span: Range<usize>, front: &Range<usize>) -> Range<usize> {
    span.start + front.start..span.end + front.start
}

/// Reads the front matter.
pub(crate) fn front(
    source: &Source<'_>,
    range: Range<usize>,
    report: &mut Report,
) -> Option<Front> {
    let text = source.text.get(range.clone())?;
    let front: Front = match toml::from_str(text) {
        Ok(front) => front,
        Err(error) => {
            let message = error.message();
            let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
            let mut pending = source
                .error(shifted(error.span().unwrap_or(0..0), &range), message.trim().to_owned());
            // serde names the culprit first and then what it would have taken.
            if let [given, known @ ..] = quoted.as_slice() {
                pending = pending.nearest(given, known.iter().copied());
            }
            pending.into(report);
            return None;
        }
    };
    if *front.max_tokens.get_ref() == 0 {
        source
            .error(
                shifted(front.max_tokens.span(), &range),
                "`max_tokens` is 0, which leaves no room for an answer",
            )
            .into(report);
    }
    let samples = *front.samples.get_ref();
    if !(1..=MOST_SAMPLES).contains(&samples) {
        source
            .error(
                shifted(front.samples.span(), &range),
                format!("`samples` is {samples}; it lies between 1 and {MOST_SAMPLES}"),
            )
            .into(report);
    }
    let temperature = *front.temperature.get_ref();
    let place = shifted(front.temperature.span(), &range);
    if !(0.0..=2.0).contains(&temperature) {
        source
            .error(place, format!("`temperature` is {temperature}; it lies between 0 and 2"))
            .into(report);
    } else if temperature > 0.0 && *front.samples.get_ref() == 1 {
        source
            .warning(place, "one verdict is drawn at random and then kept")
            .help("a temperature of 0 gives the verdict that the judge holds most likely")
            .into(report);
    }
    Some(front)
}

/// Checks that the version still names this text, and that people agreed with it as much as it asks for.
pub(crate) fn seal(
    source: &Source<'_>,
    range: &Range<usize>,
    front: &Front,
    hash: &str,
    report: &mut Report,
) {
    if let Some(sealed) = front.hash.as_ref().filter(|sealed| sealed.get_ref() != hash) {
        let message = format!("the text was edited, and its version is still {}", front.version);
        source
            .error(shifted(sealed.span(), range), message)
            .help(format!(
                "`guerdon judge bump {}` raises the version and seals the text anew",
                source.file
            ))
            .into(report);
    }
    let Some(least) = &front.least_kappa else { return };
    let place = shifted(least.span(), range);
    let least = *least.get_ref();
    let help = "measure it: `guerdon judge calibrate PROMPT --gold FILE --stamp`";
    match &front.calibrated {
        None => source
            .error(place, "`least_kappa` is asked for, and nothing was measured")
            .help(help)
            .into(report),
        Some(measured) => {
            let place = shifted(measured.span(), range);
            let Measured { kappa, hash: of, .. } = measured.get_ref();
            if of != hash {
                source.error(place, "this was measured on another text").help(help).into(report);
            } else if *kappa < least || kappa.is_nan() {
                let message =
                    format!("kappa is {kappa}, less than the {least} that this rubric asks for");
                source
                    .error(place, message)
                    .help("mend the anchors, or ask another judge")
                    .into(report);
            }
        }
    }
}

#[cfg(test)]
mod tests;

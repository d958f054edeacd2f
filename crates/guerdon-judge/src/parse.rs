//! A prompt file's front matter: TOML between two `+++` lines, then the body. What is wrong is reported where it stands.

use std::collections::BTreeSet;
use std::ops::Range;

use guerdon_types::Finite;
use serde::Deserialize;
use toml::Spanned;

use crate::examples::{Example, Probe};
use crate::expected::MOST_LEVELS;
use crate::prompt::{Criterion, Grouping, Kind, Level, Scoring};
use crate::report::{Report, Source};
use crate::seal::Measured;

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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCriterion {
    id: Spanned<String>,
    kind: Kind,
    about: String,
    #[serde(default)]
    fails_empty: bool,
    #[serde(default)]
    quote: bool,
    levels: Spanned<Vec<RawLevel>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLevel {
    name: Spanned<String>,
    points: Spanned<Finite>,
    anchor: String,
    #[serde(default)]
    fires: bool,
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
    let is_fence = |range: &Range<usize>| source.text.get(range.clone()).map(str::trim_end) == Some("+++");
    let Some(first) = lines.next().filter(is_fence) else {
        source
            .error(0..0, "a judge prompt opens with a `+++` line")
            .help("the front matter is TOML between two `+++` lines; see judge-prompts/README.md")
            .into(report);
        return None;
    };
    let Some(close) = lines.find(is_fence) else {
        source.error(first, "the front matter is never closed").help("end it with a `+++` line").into(report);
        return None;
    };
    let front = first.end..close.start;
    let mut heading = |name: &str| {
        let found = lines.find(|range| source.text.get(range.clone()).map(str::trim_end) == Some(name));
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
pub(crate) fn front(source: &Source<'_>, range: Range<usize>, report: &mut Report) -> Option<Front> {
    let text = source.text.get(range.clone())?;
    let front: Front = match toml::from_str(text) {
        Ok(front) => front,
        Err(error) => {
            let message = error.message();
            let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
            let mut pending =
                source.error(shifted(error.span().unwrap_or(0..0), &range), message.trim().to_owned());
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
        source.error(place, format!("`temperature` is {temperature}; it lies between 0 and 2")).into(report);
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
            .help(format!("`guerdon judge bump {}` raises the version and seals the text anew", source.file))
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
                let message = format!("kappa is {kappa}, less than the {least} that this rubric asks for");
                source.error(place, message).help("mend the anchors, or ask another judge").into(report);
            }
        }
    }
}

/// Reads and checks the criteria.
pub(crate) fn criteria(
    source: &Source<'_>,
    range: &Range<usize>,
    front: &Front,
    report: &mut Report,
) -> Vec<Criterion> {
    let mut ids = BTreeSet::new();
    let raw = front.criteria.get_ref();
    for criterion in raw {
        let criterion = criterion.get_ref();
        name(source, range, &criterion.id, report);
        if !ids.insert(criterion.id.get_ref().as_str()) {
            source
                .error(
                    shifted(criterion.id.span(), range),
                    format!("criterion `{}` is defined twice", criterion.id.get_ref()),
                )
                .into(report);
        }
        levels(source, range, criterion, report);
    }
    if !raw.iter().any(|criterion| criterion.get_ref().fails_empty) {
        source
            .error(
                raw.first().map_or(0..0, |first| shifted(first.get_ref().id.span(), range)),
                "no criterion fails an empty reply, so silence would be the best reply",
            )
            .help("mark one that an empty reply fails, such as \"answers the partner\", with `fails_empty = true`")
            .into(report);
    }
    expected(source, range, front, report);
    raw.iter().map(|criterion| criterion.get_ref().into()).collect()
}

/// Probabilities are those of one letter: of one criterion, without a quote.
fn expected(source: &Source<'_>, range: &Range<usize>, front: &Front, report: &mut Report) {
    let Some(scoring) = front.scoring.as_ref().filter(|scoring| *scoring.get_ref() == Scoring::Expected)
    else {
        return;
    };
    let raw = front.criteria.get_ref();
    let any = |wrong: fn(&RawCriterion) -> bool| raw.iter().any(|criterion| wrong(criterion.get_ref()));
    let wrong = if front.grouping != Grouping::Criterion {
        "needs `grouping = \"criterion\"`: one letter answers one question"
    } else if any(|criterion| criterion.quote) {
        "leaves no room for quotes: remove `quote = true`"
    } else if any(|criterion| criterion.levels.get_ref().len() > MOST_LEVELS) {
        "has letters for ten levels at most"
    } else {
        return;
    };
    let message = format!("`scoring = \"expected\"` {wrong}");
    source.error(shifted(scoring.span(), range), message).into(report);
}

fn levels(source: &Source<'_>, range: &Range<usize>, criterion: &RawCriterion, report: &mut Report) {
    let place = shifted(criterion.levels.span(), range);
    let levels = criterion.levels.get_ref();
    let mut names = BTreeSet::new();
    for level in levels {
        name(source, range, &level.name, report);
        if !names.insert(level.name.get_ref().as_str()) {
            source
                .error(
                    shifted(level.name.span(), range),
                    format!("level `{}` is defined twice", level.name.get_ref()),
                )
                .into(report);
        }
        let points = level.points.get_ref().get();
        let wrong = match criterion.kind {
            Kind::Bonus => points < 0.0,
            Kind::Deduct | Kind::Gate | Kind::Veto => points > 0.0,
        };
        if wrong {
            source
                .error(
                    shifted(level.points.span(), range),
                    format!("{points} points have the wrong sign for this kind"),
                )
                .help(
                    "`bonus` gives points; `deduct`, `gate` and `veto` take them; split the criterion in two",
                )
                .into(report);
        }
        if level.fires && criterion.kind != Kind::Veto {
            source
                .error(
                    shifted(level.name.span(), range),
                    "only a level of a `veto` criterion can be marked `fires`",
                )
                .into(report);
        }
    }
    let read = Criterion::from(criterion);
    if !read.levels.iter().any(Level::is_silent) {
        source
            .error(place.clone(), "no level of this criterion says that nothing is to be remarked")
            .help("add one with `points = 0`")
            .into(report);
    }
    if read.levels.iter().all(Level::is_silent) {
        source.error(place.clone(), "no level of this criterion changes anything").into(report);
    } else if read.fails_empty && !read.worst().is_some_and(Level::is_fault) {
        source
            .error(place, "`fails_empty` needs a level that costs points")
            .help("a bonus cannot fail an empty reply: not earning it leaves silence at 0")
            .into(report);
    }
}

/// Ids and level names become JSON keys and enum values: plain words travel best.
fn name(source: &Source<'_>, range: &Range<usize>, name: &Spanned<String>, report: &mut Report) {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let text = name.get_ref();
    if text.is_empty() || text.len() > 64 || !text.chars().all(plain) {
        source
            .error(shifted(name.span(), range), format!("`{text}` is no plain name"))
            .help("use 1 to 64 of a-z, 0-9 and _")
            .into(report);
    }
}

impl From<&RawCriterion> for Criterion {
    fn from(raw: &RawCriterion) -> Self {
        let level = |raw: &RawLevel| Level {
            name: raw.name.get_ref().clone(),
            points: *raw.points.get_ref(),
            anchor: raw.anchor.clone(),
            fires: raw.fires,
        };
        Self {
            id: raw.id.get_ref().clone(),
            kind: raw.kind,
            about: raw.about.clone(),
            levels: raw.levels.get_ref().iter().map(level).collect(),
            fails_empty: raw.fails_empty,
            quote: raw.quote,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{PromptText, Prompts, Report};

    const GOOD: &str = "+++
id = \"manners\"
about = \"Manners.\"
version = 1

[[criteria]]
id = \"rude\"
kind = \"deduct\"
about = \"It is rude.\"
fails_empty = true
levels = [
  { name = \"no\", points = 0, anchor = \"no\" },
  { name = \"yes\", points = -10, anchor = \"yes\" },
]
+++
# system
You judge.
# user
{{ dialogue }}
{{ turn }}
";

    fn compiled(text: &str) -> Result<Report, Report> {
        let texts = [PromptText { name: "judge-prompts/manners.md".to_owned(), text: text.to_owned() }];
        Prompts::compile(&texts).map(|(_, report)| report)
    }

    /// The one error of the good prompt with `from` replaced by `to`: its place, and everything it says.
    #[track_caller]
    fn error(from: &str, to: &str) -> (usize, usize, String) {
        assert!(GOOD.contains(from), "{from}");
        let report = compiled(&GOOD.replacen(from, to, 1)).unwrap_err();
        assert_eq!(report.diagnostics().len(), 1, "{report}");
        let found = &report.diagnostics()[0];
        assert!(report.to_string().contains("judge-prompts/manners.md"), "{report}");
        (found.line, found.column, report.to_string())
    }

    #[test]
    fn a_good_prompt_compiles_without_a_word() {
        assert_eq!(compiled(GOOD).unwrap().to_string(), "");
        assert!(compiled(&GOOD.replace('\n', "\r\n")).is_ok());
    }

    #[test]
    fn a_misspelt_key_points_at_itself_and_names_its_neighbour() {
        let (line, column, text) = error("version = 1", "verison = 1");
        assert_eq!((line, column), (4, 1), "{text}");
        assert!(text.contains("did you mean `version`?"), "{text}");
        let (line, _, text) = error("points = -10", "pionts = -10");
        assert_eq!(line, 13, "{text}");
        assert!(text.contains("did you mean `points`?"), "{text}");
    }

    #[test]
    fn a_misspelt_kind_names_its_neighbour() {
        let (line, column, text) = error("\"deduct\"", "\"deducts\"");
        assert_eq!((line, column), (8, 8), "{text}");
        assert!(text.contains("did you mean `deduct`?"), "{text}");
    }

    #[test]
    fn broken_toml_points_at_the_break() {
        assert_eq!(error("version = 1", "version 1").0, 4);
    }

    #[test]
    fn a_rubric_that_silence_passes_is_refused() {
        assert!(error("fails_empty = true\n", "").2.contains("silence would be the best reply"));
        let (_, _, text) = error("points = -10", "points = 0");
        assert!(text.contains("changes anything"), "{text}");
    }

    #[test]
    fn points_with_the_wrong_sign_are_refused_where_they_stand() {
        let (line, _, text) =
            error("points = -10", "points = -10, anchor = \"y\" },\n  { name = \"more\", points = 5");
        assert!(text.contains("wrong sign"), "{text}");
        assert!(line >= 13, "{text}");
    }

    #[test]
    fn an_id_that_differs_from_the_files_name_is_refused() {
        let (line, column, text) = error("id = \"manners\"", "id = \"manner\"");
        assert_eq!((line, column), (2, 6), "{text}");
    }

    #[test]
    fn a_body_without_its_sections_is_refused() {
        assert!(error("# user\n", "").2.contains("no `# user` line"));
        assert!(error("+++\nid", "id").2.contains("opens with a `+++` line"));
    }

    #[test]
    fn a_slot_that_does_not_exist_names_its_neighbour() {
        let (line, column, text) = error("{{ dialogue }}", "{{ dialog }}");
        assert_eq!((line, column), (19, 4), "{text}");
        assert!(text.contains("did you mean `dialogue`?"), "{text}");
    }

    #[test]
    fn a_name_misspelt_inside_a_loop_is_found_when_the_prompt_is_loaded() {
        let (line, _, text) = error("{{ dialogue }}", "{% for c in criteria %}{{ c.abuot }}{% endfor %}");
        assert_eq!(line, 19, "{text}");
        assert!(text.contains("undefined"), "{text}");
    }

    #[test]
    fn the_turn_is_shown_once_and_to_the_user_only() {
        assert!(error("{{ turn }}", "").2.contains("shows the turn 0 times"));
        assert!(error("{{ turn }}", "{{ turn }}{{ turn }}").2.contains("shows the turn 2 times"));
        assert!(error("You judge.", "You judge {{ turn }}.").2.contains("`# system` shows the turn 1 times"));
    }

    #[test]
    fn an_edited_text_under_an_unchanged_number_is_refused() {
        let sealed = Prompts::sealed(GOOD);
        assert_eq!(compiled(&sealed).unwrap().to_string(), "");
        let report = compiled(&sealed.replace("You judge.", "You judge mildly.")).unwrap_err();
        let shown = report.to_string();
        assert!(shown.contains("its version is still 1"), "{shown}");
        assert!(shown.contains("guerdon judge bump judge-prompts/manners.md"), "{shown}");
        let bumped = Prompts::sealed(&sealed.replace("You judge.", "You judge mildly."));
        assert!(bumped.contains("version = 2") && compiled(&bumped).is_ok(), "{bumped}");
    }

    #[test]
    fn a_rubric_that_asks_for_agreement_does_not_load_without_it() {
        let asking = GOOD.replace("version = 1", "version = 1\nleast_kappa = 0.6");
        assert!(compiled(&asking).unwrap_err().to_string().contains("nothing was measured"));
        let measured = |kappa, hash: &str| crate::seal::Measured {
            kappa,
            model: "m".to_owned(),
            gold: "g".to_owned(),
            hash: hash.to_owned(),
        };
        let hash = crate::seal::content_hash(&asking);
        let stamped = |kappa, hash: &str| crate::seal::calibrated(&asking, &measured(kappa, hash));
        assert!(compiled(&stamped(0.61, &hash)).is_ok());
        assert!(compiled(&stamped(0.59, &hash)).unwrap_err().to_string().contains("less than the 0.6"));
        assert!(compiled(&stamped(0.9, "sha256:0")).unwrap_err().to_string().contains("another text"));
    }

    #[test]
    fn an_example_speaks_of_levels_that_exist_and_a_probe_is_not_shown() {
        let with = |more: &str| compiled(&GOOD.replace("+++\n# system", &format!("{more}+++\n# system")));
        let example = "[[examples]]\nturn = \"Go away.\"\nlevels = { rude = \"yes\" }\n";
        assert!(with(example).is_ok());
        let wrong = with(&example.replace("\"yes\"", "\"yess\"")).unwrap_err().to_string();
        assert!(wrong.contains("`yess` is no level") && wrong.contains("did you mean `yes`?"), "{wrong}");
        let probe = "[[probes]]\nname = \"p\"\nturn = \"Go away.\"\nlevels = { rude = \"yes\" }\n";
        assert!(with(probe).is_ok());
        assert!(with(&format!("{example}{probe}")).unwrap_err().to_string().contains("is told its verdict"));
    }

    #[test]
    fn a_temperature_is_warned_of_and_does_not_stop_the_prompt() {
        let report = compiled(&GOOD.replace("version = 1", "version = 1\ntemperature = 0.7")).unwrap();
        assert_eq!(report.diagnostics().len(), 1);
        assert!(!report.has_errors());
    }
}

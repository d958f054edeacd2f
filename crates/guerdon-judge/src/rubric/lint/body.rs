//! The body of a rubric as its author wrote it: text that is not sent, headings that are sent as
//! text, context values that are never shown, and operations that fail on every context.

use std::collections::BTreeSet;

use guerdon_text::{Finding, Report, SourceText};
use minijinja::value::{Serde, Value};
use minijinja::{Error, ErrorKind, context};

use crate::rubric::parse::Sections;
use crate::rubric::render_limits::is_out_of_steps;
use crate::rubric::sample_context::samples;
use crate::rubric::template::{CompiledBody, SECTIONS, ShownParts, template_error};
use crate::rubric::{ContextSelection, RubricProbe, codes, is_missing, render_limits};

/// A compiled body and the file that it is in.
pub(crate) struct AuthoredBody<'a> {
    pub(crate) source: &'a SourceText,
    pub(crate) sections: &'a Sections,
    pub(crate) body: &'a CompiledBody,
    pub(crate) shown: ShownParts<'a>,
    /// The context values that the front matter names.
    pub(crate) facts: Option<&'a [String]>,
}

/// Adds the findings about a body that compiles.
pub(crate) fn check_body<'p>(
    authored: &AuthoredBody<'_>,
    probes: impl Iterator<Item = &'p RubricProbe>,
    report: &mut Report,
) {
    let mut findings = authored.stray_texts();
    findings.extend(authored.unnamed_facts());
    findings.extend(authored.failures(probes));
    findings.into_iter().for_each(|finding| report.add(authored.source, finding));
}

impl AuthoredBody<'_> {
    fn stray_texts(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let text_at = |range: &std::ops::Range<usize>| {
            self.source.text.get(range.clone()).unwrap_or_default()
        };
        let before = text_at(&self.sections.before);
        if !before.trim().is_empty() {
            let start = self.sections.before.start + before.len() - before.trim_start().len();
            let place = start..start + before.trim().lines().next().unwrap_or_default().len();
            let message = "the text before `# system` is never sent";
            let help = "move it under `# system`, or remove it";
            findings.push(Finding::new(codes::STRAY_TEXT, place, message).help(help));
        }
        for range in [&self.sections.system, &self.sections.user] {
            let mut at = range.start;
            for line in text_at(range).split_inclusive('\n') {
                let heading = line.trim();
                let is_heading =
                    SECTIONS.iter().any(|section| is_heading_of(&heading.to_lowercase(), section));
                if is_heading {
                    let start = at + line.len() - line.trim_start().len();
                    let message = format!("this `{heading}` line is sent as text");
                    let help = "a body has one line `# system`, and after it one line `# user`; \
                                remove this line or write it in another way";
                    let place = start..start + heading.len();
                    findings.push(Finding::new(codes::STRAY_TEXT, place, message).help(help));
                }
                at += line.len();
            }
        }
        findings
    }

    /// The context values that the body reads and `facts` does not name, each once.
    fn unnamed_facts(&self) -> Vec<Finding> {
        let Some(facts) = self.facts else { return Vec::new() };
        let body = self.sections.system.start..self.sections.user.end;
        let text = self.source.text.get(body.clone()).unwrap_or_default();
        let read: BTreeSet<&str> =
            self.body.context.iter().filter_map(|path| path.split('.').nth(1)).collect();
        let unnamed = read.into_iter().filter(|fact| facts.iter().all(|named| named != fact));
        let finding = |fact: &str| {
            let path = format!("context.{fact}");
            let at = text.find(&path).map_or(body.start, |at| at + body.start);
            let message = format!(
                "the body reads `{path}`, which `facts` does not name, so it is never shown"
            );
            let help = format!("add \"{fact}\" to `facts`");
            Finding::new(codes::UNNAMED_FACT, at..at + path.len(), message)
                .help(help)
                .nearest(fact, facts.iter().map(String::as_str))
        };
        unnamed.map(finding).collect()
    }

    /// Operations that fail on a probe, or on context values of every kind at one place.
    fn failures<'p>(&self, probes: impl Iterator<Item = &'p RubricProbe>) -> Vec<Finding> {
        let selection = match self.facts {
            Some(facts) => ContextSelection::Keys(facts.iter().cloned().collect()),
            None => self.body.selection.clone(),
        };
        let mut findings = Vec::new();
        let mut failed = BTreeSet::new();
        let mut add = |section: usize, error: &Error, sample: &str| {
            if failed.insert((section, error.range().map(|range| range.start))) {
                let range = [&self.sections.system, &self.sections.user][section.min(1)];
                let finding = template_error(self.source, range, error);
                findings.push(finding.help(sample.to_owned()));
            }
        };
        let samples = samples(&self.body.context, &selection);
        for section in 0..SECTIONS.len() {
            let errors: Vec<Error> = samples
                .iter()
                .filter_map(|context| {
                    self.render(section, Value::from(Serde(context)), "", "").err()
                })
                .collect();
            let Some(first) = errors.first().filter(|_| errors.len() == samples.len()) else {
                continue;
            };
            let is_alike = |error: &Error| {
                error.kind() == ErrorKind::InvalidOperation && error.range() == first.range()
            };
            if errors.iter().all(is_alike) {
                add(section, first, "this fails on numbers, texts, lists and mappings alike");
            }
        }
        for probe in probes {
            let facts = selection.select(&probe.context);
            // A rollout without a value abstains, and so does the probe.
            let lacks_fact = self.body.context.iter().any(|path| is_missing(&facts, path));
            let context = Value::from(Serde(facts));
            for section in 0..SECTIONS.len() {
                match self.render(section, context.clone(), &probe.before, &probe.turn) {
                    Err(error) if !lacks_fact || is_out_of_steps(&error) => {
                        add(section, &error, &format!("this fails on the probe `{}`", probe.name));
                    }
                    _ => {}
                }
            }
        }
        findings
    }

    fn render(
        &self,
        section: usize,
        facts: Value,
        before: &str,
        turn: &str,
    ) -> Result<String, Error> {
        let slots = context! {
            dialogue => format!("<dialogue>\n{before}</dialogue>"),
            turn,
            context => facts,
            criteria => Value::from(Serde(self.shown.criteria)),
            examples => Value::from(Serde(self.shown.examples)),
        };
        let section = SECTIONS.get(section).copied().unwrap_or_default();
        render_limits::render(&self.body.templates, section, &slots, before.len() + turn.len())
    }
}

fn is_heading_of(line: &str, section: &str) -> bool {
    line.strip_prefix('#').is_some_and(|name| name.trim() == section)
}

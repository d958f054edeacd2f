//! The body of a prompt file: two templates, compiled and tried when the file is loaded.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use guerdon_text::{Finding, Report, SourceText};
use guerdon_types::Finite;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Enumerator, Object, Serde, Value};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, context};

use crate::rubric::answer::MessageLayout;
use crate::rubric::growth::{self, Growth};
use crate::rubric::parse::Sections;
use crate::rubric::render_limits::{self, is_out_of_steps, reason};
use crate::rubric::{ContextSelection, Criterion, RubricExample, codes};

/// Variables that a body may use.
const SLOTS: [&str; 6] = ["dialogue", "turn", "context", "criteria", "examples", "replies"];
/// Functions of the template engine that count as variables there.
const FUNCTIONS: [&str; 3] = ["range", "namespace", "dict"];
/// Names of the two templates.
pub(crate) const SECTIONS: [&str; 2] = ["system", "user"];

/// A compiled body.
#[derive(Debug)]
pub(crate) struct CompiledBody {
    pub(crate) templates: Environment<'static>,
    /// The `context.…` values that it names.
    pub(crate) context: BTreeSet<String>,
    pub(crate) selection: ContextSelection,
    /// Set if rendering takes as many steps for a long dialogue as for a short one.
    pub(crate) is_fixed_work: bool,
    /// Set if all names in it are known and its trial rendering succeeded.
    pub(crate) is_sound: bool,
    /// The number of replies of two that it shows by the slot `replies`.
    pub(crate) shown_replies: usize,
}

/// The parts of a rubric that its body can show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShownParts<'a> {
    pub(crate) criteria: &'a [Criterion],
    pub(crate) examples: &'a [RubricExample],
}

/// The values of a trial rendering.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrialSlots<'a> {
    pub(crate) dialogue: &'a str,
    pub(crate) shown: ShownParts<'a>,
}

/// Compiles the two sections of a body and renders them once with placeholders.
pub(crate) fn compile(
    source: &SourceText,
    sections: &Sections,
    (shown, layout): (ShownParts<'_>, MessageLayout),
    report: &mut Report,
) -> Option<CompiledBody> {
    let mut body = Environment::new();
    body.set_undefined_behavior(UndefinedBehavior::Strict);
    body.set_auto_escape_callback(|_| AutoEscape::None);
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    let syntax = syntax.unwrap_or_default();
    body.set_syntax(syntax.clone());
    let mut named = BTreeSet::new();
    let (mut is_sound, mut is_fixed_work) = (true, true);
    for (section, range) in SECTIONS.into_iter().zip([&sections.system, &sections.user]) {
        let text = source.text.get(range.clone())?;
        if let Err(error) = body.add_template_owned(section, with_plain_line_ends(text)) {
            report.add(source, template_error(source, range, &error));
            return None;
        }
        let template = body.get_template(section).ok()?;
        for slot in template.undeclared_variables(false) {
            if !SLOTS.contains(&slot.as_str()) && !FUNCTIONS.contains(&slot.as_str()) {
                let at = text.find(&slot).unwrap_or_default() + range.start;
                let finding = Finding::new(
                    codes::SLOT,
                    at..at + slot.len(),
                    format!("unknown slot `{slot}`"),
                );
                let help = format!("the slots are {}", SLOTS.join(", "));
                report.add(source, finding.help(help).nearest(&slot, SLOTS));
                is_sound = false;
            }
        }
        named.extend(template.undeclared_variables(true));
        let work = growth::work_of(template.source(), syntax.clone());
        is_fixed_work &= work.is_fixed;
        if let Some(Growth { name, place }) = work.growth {
            let message = format!("`{name}` is made of itself, so it may grow without bound");
            let help = "add one item to a list in each round (`n.list + [item]`), and no list to \
                        itself or into itself; write `|int` after a number";
            let place = place_of(source, range, place);
            report.add(source, Finding::new(codes::TEMPLATE, place, message).help(help));
            // Not even a trial may render it.
            return None;
        }
    }
    let selection = selection(&named);
    named.retain(|name| name.starts_with("context."));
    let mut body = CompiledBody {
        templates: body,
        context: named,
        selection,
        is_fixed_work,
        is_sound,
        shown_replies: 0,
    };
    if is_sound {
        let (findings, shown_replies) = trial_findings(source, sections, &body, (shown, layout));
        body.shown_replies = shown_replies;
        body.is_sound = findings.is_empty();
        report.extend(source, findings);
    }
    Some(body)
}

/// `text` with `\n` at the end of each line, so that a file that was saved on another system asks
/// the same questions.
fn with_plain_line_ends(text: &str) -> String {
    text.replace("\r\n", "\n")
}

/// The offset in `text` of what is at `offset` in the text that [`with_plain_line_ends`] returns.
fn original_offset(text: &str, offset: usize) -> usize {
    let mut removed = 0;
    for (at, _) in text.match_indices("\r\n") {
        // The line end moved back by the line ends before it.
        if at - removed >= offset {
            break;
        }
        removed += 1;
    }
    offset + removed
}

impl CompiledBody {
    /// True if the messages may depend on the points of levels: the templates name them, or render
    /// to another text if the points are others.
    pub(crate) fn shows_points(&self, shown: ShownParts<'_>) -> bool {
        let moved = |points: Finite| Finite::new(points.get() + 0.125).unwrap_or(points);
        let mut others = shown.criteria.to_vec();
        for level in others.iter_mut().flat_map(|criterion| &mut criterion.levels) {
            level.points = moved(level.points);
        }
        SECTIONS.into_iter().any(|section| {
            let Ok(template) = self.templates.get_template(section) else { return true };
            let render = |criteria: &[Criterion]| {
                let slots = context! {
                    dialogue => "",
                    turn => "",
                    context => Value::from_object(PlaceholderContext(self.selection.clone())),
                    criteria => Value::from(Serde(criteria)),
                    examples => Value::from(Serde(shown.examples)),
                    replies => trial_replies(),
                };
                render_limits::render(&self.templates, section, &slots, 0).ok()
            };
            template.source().contains("points")
                || render(shown.criteria).is_none_or(|own| render(&others) != Some(own))
        })
    }
}

impl CompiledBody {
    /// The messages with these values, one after the other; without context values unless
    /// `with_context`. `None` if they cannot be rendered.
    pub(crate) fn trial(&self, slots: TrialSlots<'_>, with_context: bool) -> Option<String> {
        let TrialSlots { dialogue, shown } = slots;
        let none = ContextSelection::Keys(BTreeSet::new());
        let context = if with_context { self.selection.clone() } else { none };
        let slots = context! {
            dialogue,
            turn => "",
            context => Value::from_object(PlaceholderContext(context)),
            criteria => Value::from(Serde(shown.criteria)),
            examples => Value::from(Serde(shown.examples)),
            replies => trial_replies(),
        };
        let render =
            |section| render_limits::render(&self.templates, section, &slots, dialogue.len()).ok();
        SECTIONS.into_iter().map(render).collect()
    }

    /// True if the templates themselves hold `word`.
    pub(crate) fn names(&self, word: &str) -> bool {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        SECTIONS.into_iter().any(|section| {
            let Ok(template) = self.templates.get_template(section) else { return false };
            template.source().split(|c: char| !is_part(c)).any(|own| own == word)
        })
    }
}

/// The context values that a body with these variables may read. A body that hides a name behind
/// another variable gets less, and then fails in the trial rendering or at the first question.
fn selection(named: &BTreeSet<String>) -> ContextSelection {
    if named.contains("context") {
        return ContextSelection::All;
    }
    let root = |name: &String| Some(name.strip_prefix("context.")?.split('.').next()?.to_owned());
    ContextSelection::Keys(named.iter().filter_map(root).collect())
}

/// Renders the body with placeholders. A slot misspelt inside a loop is found only by running the
/// loop, and so is a turn that is shown twice or not at all.
fn trial_findings(
    source: &SourceText,
    sections: &Sections,
    body: &CompiledBody,
    (shown, layout): (ShownParts<'_>, MessageLayout),
) -> (Vec<Finding>, usize) {
    const TURN: &str = "<turn-probe>";
    let slots = context! {
        dialogue => "<dialogue></dialogue>",
        turn => TURN,
        context => Value::from_object(PlaceholderContext(body.selection.clone())),
        criteria => Value::from(Serde(shown.criteria)),
        examples => Value::from(Serde(shown.examples)),
        replies => trial_replies(),
    };
    let mut shown_replies = 0;
    // With roles the replies are messages of their own.
    let in_user = usize::from(layout == MessageLayout::Sections);
    let expected = [(&sections.system, 0), (&sections.user, in_user)];
    let reads_context = match &body.selection {
        ContextSelection::All => true,
        ContextSelection::Keys(names) => !names.is_empty(),
    };
    let mut findings = Vec::new();
    for (section, (range, wanted)) in SECTIONS.into_iter().zip(expected) {
        match render_limits::render(&body.templates, section, &slots, 0) {
            Ok(text) => {
                let count = text.matches(TURN).count();
                let of_replies = TRIAL_REPLIES.map(|reply| text.matches(reply).count());
                let is_user = wanted == 1;
                if is_user && count == 0 && matches!(of_replies, [1, 0 | 1]) {
                    shown_replies = of_replies.iter().sum();
                } else if count != wanted || of_replies != [0, 0] {
                    let message = format!("`# {section}` shows the turn {count} times");
                    let help =
                        "write `{{ turn }}` once, under `# user`: judged text belongs in one place";
                    let place = range.start..range.start;
                    findings.push(Finding::new(codes::TURN, place, message).help(help));
                }
            }
            // Placeholders are text, so a body that computes with context values may fail here.
            Err(error)
                if error.kind() == ErrorKind::InvalidOperation
                    && reads_context
                    && !is_out_of_steps(&error) => {}
            Err(error) => findings.push(template_error(source, range, &error)),
        }
    }
    (findings, shown_replies)
}

/// The texts of the replies of a trial rendering.
const TRIAL_REPLIES: [&str; 2] = ["the first probed reply", "the second probed reply"];

/// Two replies with names, for a trial rendering.
fn trial_replies() -> Value {
    let reply = |(name, text): (&str, &str)| context! { name, text };
    Value::from(["A", "B"].into_iter().zip(TRIAL_REPLIES).map(reply).collect::<Vec<Value>>())
}

/// The place in the file of `range` in the template of `section`.
fn place_of(source: &SourceText, section: &Range<usize>, range: Range<usize>) -> Range<usize> {
    let text = source.text.get(section.clone()).unwrap_or_default();
    let place = |offset| original_offset(text, offset) + section.start;
    place(range.start)..place(range.end)
}

/// A finding about an error in the template of `section`.
pub(crate) fn template_error(
    source: &SourceText,
    section: &Range<usize>,
    error: &minijinja::Error,
) -> Finding {
    let start = section.start..section.start;
    let span = error.range().map_or(start, |range| place_of(source, section, range));
    Finding::new(codes::TEMPLATE, span, reason(error))
}

/// A context that holds a placeholder for every value that the body may read.
#[derive(Debug)]
struct PlaceholderContext(ContextSelection);

impl Object for PlaceholderContext {
    fn get_value(self: &Arc<Self>, name: &Value) -> Option<Value> {
        let shown = match &self.0 {
            ContextSelection::All => true,
            ContextSelection::Keys(names) => name.as_str().is_some_and(|name| names.contains(name)),
        };
        shown.then(|| Value::from_object(Self(ContextSelection::All)))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Empty
    }

    fn render(self: &Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a context value")
    }
}

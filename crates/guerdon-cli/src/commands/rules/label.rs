//! `guerdon rules label`: asks a person about hits, and appends each answer to a file of labels.

use std::fs::OpenOptions;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use guerdon_rules::{LabelledRollout, RulePacks};

use super::labels::{LabelRow, labelled, name_of};
use super::spans;
use crate::output::{out, outln};

/// The questions that are asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Questions<'q> {
    /// Only about this rule.
    pub(super) rule: Option<&'q str>,
    /// Also about turns that the rule does not hit.
    pub(super) missed: bool,
    pub(super) color: bool,
}

/// A turn and the rule that it is asked about.
struct Question {
    rollout: usize,
    turn: usize,
    rule: String,
    spans: Vec<[usize; 2]>,
    is_hit: bool,
}

enum Answer {
    Label(bool),
    Skip,
    Quit,
}

pub(super) fn run(
    packs: &RulePacks,
    file: &Path,
    csv: &Path,
    questions: Questions<'_>,
) -> anyhow::Result<ExitCode> {
    if questions.missed && questions.rule.is_none() {
        bail!("--missed asks about the turns that a rule does not hit; name the rule with --rule");
    }
    if let Some(rule) = questions.rule {
        let known = packs
            .summaries()
            .iter()
            .any(|pack| pack.rules.iter().any(|of| rule == format!("{}/{}", pack.id, of.id)));
        if !known {
            bail!("there is no rule `{rule}`; write pack/rule");
        }
    }
    let rollouts = labelled(file, csv)?;
    let open = open_questions(packs, &rollouts, questions);
    if open.is_empty() {
        outln!("nothing to ask: every hit has a label")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut writer = LabelFile::open(csv)?;
    let mut given = 0;
    for (number, question) in (1..).zip(&open) {
        show(&rollouts, question, questions.color)?;
        match ask(number, open.len())? {
            Answer::Label(label) => {
                let name = rollouts.get(question.rollout).map_or_else(String::new, |labelled| {
                    name_of(&labelled.rollout, question.rollout)
                });
                let (turn, rule) = (question.turn, question.rule.clone());
                writer.append(&LabelRow { rollout: name, turn, rule, label })?;
                given += 1;
            }
            Answer::Skip => {}
            Answer::Quit => break,
        }
    }
    outln!("{given} labels added to {}; {} questions are open", csv.display(), open.len() - given)?;
    Ok(ExitCode::SUCCESS)
}

/// The hits without a label, in the order of rollouts and turns.
fn open_questions(
    packs: &RulePacks,
    rollouts: &[LabelledRollout],
    questions: Questions<'_>,
) -> Vec<Question> {
    let mut open = Vec::new();
    for (index, LabelledRollout { rollout, turns, .. }) in rollouts.iter().enumerate() {
        let scored = rollout.turns_to_score().unwrap_or_default();
        for (turn, found) in scored.iter().zip(packs.evaluate_turns(rollout, &scored)) {
            let mut hits: Vec<(String, String, Vec<[usize; 2]>, bool)> = found
                .part
                .hits
                .iter()
                .chain(&found.part.shadow)
                .map(|hit| (hit.pack.clone(), hit.rule.clone(), hit.spans.clone(), true))
                .collect();
            if let Some((pack, rule)) = questions.rule.and_then(|rule| rule.split_once('/')) {
                hits.retain(|hit| hit.0 == pack && hit.1 == rule);
                if questions.missed && hits.is_empty() {
                    hits.push((pack.to_owned(), rule.to_owned(), Vec::new(), false));
                }
            }
            for (pack, rule, spans, is_hit) in hits {
                let label = turns.get(turn).and_then(|labels| labels.verdict(&pack, &rule));
                if label.is_none() {
                    let rule = format!("{pack}/{rule}");
                    open.push(Question { rollout: index, turn: *turn, rule, spans, is_hit });
                }
            }
        }
    }
    open
}

fn show(rollouts: &[LabelledRollout], question: &Question, color: bool) -> std::io::Result<()> {
    let Some(LabelledRollout { rollout, .. }) = rollouts.get(question.rollout) else {
        return Ok(());
    };
    let name = name_of(rollout, question.rollout);
    let hit = if question.is_hit { "hits" } else { "does not hit" };
    outln!("\n{} {hit} {name} turn {}", question.rule, question.turn)?;
    let before = question.turn.checked_sub(1).and_then(|at| rollout.messages.get(at));
    if let Some(message) = before {
        let said: String = message.content.chars().take(300).collect();
        outln!("  {}: {}", message.role.as_str(), said.escape_debug())?;
    }
    let content = rollout.messages.get(question.turn).map(|m| m.content.as_str());
    outln!("> {}", spans::marked(content.unwrap_or_default(), &question.spans, color))
}

fn ask(number: usize, of: usize) -> anyhow::Result<Answer> {
    loop {
        out!("[{number}/{of}] should the rule hit this turn? y, n, s (skip), q (quit): ")?;
        let mut line = String::new();
        let read =
            std::io::stdin().lock().read_line(&mut line).context("cannot read the answer")?;
        match line.trim() {
            "y" | "yes" => return Ok(Answer::Label(true)),
            "n" | "no" => return Ok(Answer::Label(false)),
            "s" | "skip" => return Ok(Answer::Skip),
            "q" | "quit" => return Ok(Answer::Quit),
            _ if read == 0 => return Ok(Answer::Quit),
            _ => {}
        }
    }
}

/// A file of labels that is open for appending.
struct LabelFile {
    file: std::fs::File,
    is_new: bool,
    name: String,
}

impl LabelFile {
    fn open(csv: &Path) -> anyhow::Result<Self> {
        let name = csv.display().to_string();
        let file = OpenOptions::new().create(true).append(true).open(csv);
        let file = file.with_context(|| format!("cannot open {name}"))?;
        let is_new = file.metadata().with_context(|| format!("cannot read {name}"))?.len() == 0;
        Ok(Self { file, is_new, name })
    }

    /// Appends a row in one write, so that a label is in the file as a whole or not at all.
    fn append(&mut self, row: &LabelRow) -> anyhow::Result<()> {
        let mut writer = csv::WriterBuilder::new().has_headers(self.is_new).from_writer(Vec::new());
        writer.serialize(row)?;
        let bytes = writer.into_inner().map_err(|error| anyhow::anyhow!("{error}"))?;
        self.file.write_all(&bytes).with_context(|| format!("cannot write to {}", self.name))?;
        self.is_new = false;
        Ok(())
    }
}

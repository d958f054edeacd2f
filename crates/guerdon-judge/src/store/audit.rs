//! The audit log: one JSON line for every attempt.
//!
//! By default it holds levels and hashes, but no text of a dialogue. With `texts = true` it also
//! holds the messages, the judge's quotes and what it wrote.

use serde::Serialize;

use crate::ask::answer::now_seconds;
use crate::ask::key::QuestionKey;
use crate::ask::question::RenderedQuestion;
use crate::ask::render::ChatMessage;
use crate::ask::reply::CriterionFinding;
use crate::config::AuditConfig;
use crate::error::Error;
use crate::store::event::{CallEvent, CallOutcome};
use crate::store::lines::{LineWriter, Rotation};

/// The longest part of a reply that is logged, in bytes.
const LONGEST_REPLY: usize = 16 << 10;

/// The beginning of `reply`.
pub(crate) fn excerpt(reply: &str) -> &str {
    let end = reply.floor_char_boundary(LONGEST_REPLY);
    reply.get(..end).unwrap_or_default()
}

/// The log.
#[derive(Debug)]
pub(crate) struct AuditLog {
    lines: LineWriter,
    texts: bool,
}

/// Remarks about an attempt for the audit log.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AttemptNotes<'a> {
    pub(crate) flags: &'a [&'static str],
    pub(crate) findings: Option<&'a [CriterionFinding]>,
    /// The words of the judge.
    pub(crate) reply: Option<&'a str>,
    /// The reasons that the judge gave before its levels.
    pub(crate) reasons: Option<&'a str>,
}

/// One attempt.
#[derive(Debug, Serialize)]
pub(crate) struct AuditLine<'a> {
    /// Seconds since 1970.
    at: u64,
    key: QuestionKey,
    prompt: &'a str,
    version: u32,
    hash: &'a str,
    guerdon: &'static str,
    sample: u32,
    model: &'a str,
    address: &'a str,
    attempt: u32,
    outcome: Option<CallOutcome>,
    latency_ms: f64,
    waited_ms: f64,
    prompt_tokens: u64,
    completion_tokens: u64,
    cost: f64,
    /// Set if the usage is unknown, so that `cost` is the maximum. Requires configured prices.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    uncounted: bool,
    /// `reasked` (the answer before was none), `sealed` (it had to carry the block's name), `eased`
    /// (the model was asked to reason less), `unwrapped` (the answer stood among other words).
    flags: &'a [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Vec<ChosenLevel<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<&'a [ChatMessage]>,
    /// The words of the judge, cut to a bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<&'a str>,
    /// The reasons that the judge gave, if the rubric asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasons: Option<&'a str>,
    #[serde(skip)]
    texts: bool,
}

#[derive(Debug, Serialize)]
struct ChosenLevel<'a> {
    id: &'a str,
    level: &'a str,
    /// The place of the reply among those of its group, if several were judged together.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<&'a str>,
    /// The reason why the level does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    struck: Option<&'static str>,
}

impl AuditLog {
    pub(crate) fn open(config: &AuditConfig) -> Result<Self, Error> {
        let AuditConfig { path, texts, max_bytes, keep } = config;
        let lines = LineWriter::open(path, Some(Rotation { max_bytes: *max_bytes, keep: *keep }))
            .map_err(|error| {
            let detail = format!("{} cannot be written: {error}", path.display());
            Error::Value { key: "audit", detail }
        })?;
        Ok(Self { lines, texts: *texts })
    }

    /// A line about `question`, with nothing yet of what came of it.
    pub(crate) fn line<'a>(
        &self,
        key: QuestionKey,
        question: &'a RenderedQuestion,
        model: &'a str,
        address: &'a str,
    ) -> AuditLine<'a> {
        let rubric = &question.rubric;
        AuditLine {
            at: now_seconds(),
            key,
            prompt: &rubric.id,
            version: rubric.version,
            hash: &rubric.hash,
            guerdon: env!("CARGO_PKG_VERSION"),
            sample: question.sample,
            model,
            address,
            attempt: 0,
            outcome: None,
            latency_ms: 0.0,
            waited_ms: 0.0,
            prompt_tokens: 0,
            completion_tokens: 0,
            cost: 0.0,
            uncounted: false,
            flags: &[],
            verdict: None,
            messages: self.texts.then_some(&question.messages),
            reply: None,
            reasons: None,
            texts: self.texts,
        }
    }

    pub(crate) async fn attempt(&self, line: &AuditLine<'_>) {
        match serde_json::to_string(line) {
            Ok(line) => self.lines.append(line).await,
            Err(error) => tracing::error!("a line of the audit log is lost: {error}"),
        }
    }
}

impl<'a> AuditLine<'a> {
    pub(crate) fn of(
        self,
        event: &CallEvent,
        question: &'a RenderedQuestion,
        notes: AttemptNotes<'a>,
    ) -> Self {
        let AttemptNotes { flags, findings, reply, reasons } = notes;
        let chosen = |finding: &'a CriterionFinding| ChosenLevel {
            id: &finding.id,
            level: &finding.level,
            reply: finding.reply,
            evidence: finding.evidence.as_deref().filter(|_| self.texts),
            struck: question.struck(finding),
        };
        Self {
            attempt: event.attempt,
            outcome: Some(event.outcome),
            latency_ms: event.duration.as_secs_f64() * 1e3,
            waited_ms: event.waited.as_secs_f64() * 1e3,
            prompt_tokens: event.usage.prompt_tokens,
            completion_tokens: event.usage.completion_tokens,
            cost: event.usage.cost,
            uncounted: event.usage.cost > 0.0 && event.usage.prompt_tokens == 0,
            flags,
            verdict: findings.map(|findings| findings.iter().map(chosen).collect()),
            reply: reply.filter(|_| self.texts).map(excerpt),
            reasons: reasons.filter(|_| self.texts),
            ..self
        }
    }
}

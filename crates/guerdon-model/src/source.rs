//! The reward source `rm`: a model with a calibration of its output.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use guerdon_fusion::{Ask, BoxFuture, RewardSource, SourceVersion, calibrate};
use guerdon_types::{
    AbstainWhy, Abstention, Calibration, Finite, Message, Part, RmPart, Signal, SourceId,
    SourceKind,
};

use crate::Model;
use crate::model::{ScoreQuery, TurnFailure, TurnScore};

/// The preference reward model as a source (paper: RM, the base that the other sources modulate).
///
/// Runs inside a tokio runtime with time enabled. Several sources may share one model, each with
/// its own calibration.
#[derive(Debug, Clone)]
pub struct RmSource {
    id: SourceId,
    model: Arc<Model>,
    calibration: Calibration,
}

impl RmSource {
    /// The source `rm`, which scores with `model` and calibrates with `calibration`.
    #[must_use]
    pub fn new(model: Arc<Model>, calibration: Calibration) -> Self {
        Self { id: SourceId::rm(), model, calibration }
    }

    /// A copy with the name `id`.
    #[must_use]
    pub fn named(self, id: SourceId) -> Self {
        Self { id, ..self }
    }

    fn signal(&self, scored: Result<TurnScore, TurnFailure>) -> Signal {
        let part = scored.and_then(|TurnScore { raw, tokens, truncated, read }| {
            let objectives: BTreeMap<String, f32> =
                self.model.objectives().cloned().zip(raw.objectives.iter().copied()).collect();
            let (raw, steps) = (raw.value, raw.steps.to_vec());
            let score = calibrate(&self.calibration, f64::from(raw));
            // A standard deviation near zero can make a finite output infinite.
            let score = Finite::new(score).map_err(|_| TurnFailure {
                why: AbstainWhy::NotFinite,
                detail: format!("the calibrated score of raw {raw} is {score}"),
                reason: None,
            })?;
            Ok(RmPart { score, raw, objectives, steps, tokens, truncated, read })
        });
        match part {
            Ok(part) => Signal::scored(Part::Rm(part)),
            Err(TurnFailure { why, detail, reason }) => {
                let abstention = Abstention::new(self.id.clone(), why, detail);
                Signal::abstained(match reason {
                    Some(reason) => abstention.because(reason),
                    None => abstention,
                })
            }
        }
    }
}

impl RewardSource for RmSource {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn kind(&self) -> SourceKind {
        SourceKind::Model
    }

    fn about(&self) -> String {
        self.model.about()
    }

    fn version(&self) -> SourceVersion {
        SourceVersion::Model { hash: self.model.hash().to_owned(), calibration: self.calibration }
    }

    fn full_for(&self) -> Option<Duration> {
        self.model.full_for(0)
    }

    fn full_for_client(&self, client: u64) -> Option<Duration> {
        self.model.full_for(client)
    }

    fn score<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Vec<Signal>> {
        Box::pin(async move {
            // Messages after the last scored turn are not read, so they are not copied to the
            // tokenizing thread.
            let read =
                ask.turns.iter().max().map_or(0, |last| last + 1).min(ask.rollout.messages.len());
            let messages = ask.rollout.messages[..read].iter().map(shown).collect();
            let Ask { turns, client, deadline, .. } = ask;
            let scored = self.model.score(messages, ScoreQuery { turns, client, deadline }).await;
            scored.into_iter().map(|scored| self.signal(scored)).collect()
        })
    }
}
/// The role and the text of a message, with its calls as text: formats and templates of reward
/// models read one text a message.
fn shown(message: &Message) -> Message {
    Message::new(message.role, message.text_with_calls())
}

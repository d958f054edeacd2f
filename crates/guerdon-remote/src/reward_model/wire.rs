//! Requests and replies of a remote reward model, as its protocol has them.

use std::sync::Arc;

use guerdon_types::{AbstainReason, AbstainWhy, Finite, Message, Rollout};

use super::protocol::{self, Form, Raw};
use super::template::RmTemplate;
use crate::ask::{AskedTurn, BatchReply, DialogueJson, Silence, TurnAnswer, Wire};
use crate::config::{OutputIndex, RmProtocol};

/// The protocol of a remote reward model with its settings.
#[derive(Debug)]
pub(super) struct RmWire {
    pub(super) protocol: RmProtocol,
    pub(super) form: Form,
    pub(super) template: Option<RmTemplate>,
    pub(super) model: Option<String>,
    pub(super) output: OutputIndex,
    pub(super) batch: usize,
    /// The version under which answers are kept.
    pub(super) version: Arc<str>,
}

impl RmWire {
    fn rendered(&self, messages: &[Message], opens_reply: bool) -> Result<String, Silence> {
        let Some(template) = &self.template else {
            return Err(Silence::new(AbstainWhy::Internal, "there is no template"));
        };
        template.render(messages, opens_reply).map_err(|error| {
            let detail = format!("the template refuses the dialogue: {error}");
            Silence::malformed(detail).because(Some(AbstainReason::Unreadable))
        })
    }
}

impl Wire for RmWire {
    fn most_turns(&self) -> usize {
        self.form.most_turns(self.batch)
    }

    fn turn(
        &self,
        rollout: &Rollout,
        dialogue: &Arc<DialogueJson>,
        message: usize,
    ) -> Result<AskedTurn, Silence> {
        let asked = rollout.messages.get(..=message);
        let Some((reply, before)) = asked.and_then(<[_]>::split_last) else {
            return Err(Silence::new(AbstainWhy::Internal, "the turn does not exist"));
        };
        match self.form {
            Form::Dialogues => Ok(AskedTurn::of(dialogue, message)),
            Form::Messages => Ok(AskedTurn::text(protocol::messages(rollout, message))),
            Form::Texts { .. } => {
                let whole = rollout.messages.get(..=message).unwrap_or_default();
                Ok(AskedTurn::text(self.rendered(whole, false)?))
            }
            Form::Pairs | Form::Replies => Ok(AskedTurn::pair(
                self.rendered(before, true)?,
                reply.text_with_calls().into_owned(),
            )),
            Form::Response => {
                Ok(AskedTurn::text(protocol::nemo_gym::request(rollout, before, reply)))
            }
        }
    }

    fn request(&self, turns: &[AskedTurn]) -> Vec<u8> {
        protocol::request(self.protocol, self.form, self.model.as_deref(), turns)
    }

    fn reply(&self, body: &[u8], turns: usize) -> Result<BatchReply, String> {
        let raw = protocol::reply(self.protocol, self.form, body, turns)?;
        let answers = raw.into_iter().map(|raw| self.answer(raw)).collect();
        Ok(BatchReply { version: Some(Arc::clone(&self.version)), answers })
    }
}

impl RmWire {
    fn answer(&self, raw: Raw) -> Result<TurnAnswer, Silence> {
        let outputs = match raw {
            Raw::Numbers(outputs) => outputs,
            Raw::Silent(silence) => return Err(silence),
        };
        let number = self.output.select(&outputs).map_err(Silence::malformed)?;
        let value = Finite::new(number)
            .map_err(|_| Silence::new(AbstainWhy::NotFinite, "the model's output is not finite"))?;
        Ok(TurnAnswer::number(value))
    }
}

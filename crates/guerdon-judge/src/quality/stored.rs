//! Verdicts about a rollout as far as their answers are stored. No judge is asked.

use guerdon_types::{JudgePart, Part, Rollout};

use crate::ask::case::{Case, RenderedDialogue};
use crate::ask::verdict;
use crate::source::outcome::{RubricOutcome, joint_signal};
use crate::source::{BallotQuestion, JudgeSource};

impl JudgeSource {
    /// The verdict about message `index` of `rollout`, made of stored answers. `None` if one of its
    /// questions has no stored answer, or if the answers make no verdict. No judge is asked.
    pub async fn stored(&self, rollout: &Rollout, index: usize) -> Option<JudgePart> {
        let dialogue = RenderedDialogue::new(&rollout.messages);
        let case = Case::new(&dialogue, rollout, index, self.nonce())?;
        let mut judged = Vec::with_capacity(self.prompts().len());
        for rubric in self.prompts().rubrics() {
            if case.is_silent() {
                judged.push(RubricOutcome::without_call(verdict::silence_verdict(rubric)));
                continue;
            }
            let questions = self.questions(rubric, &rubric.orders, &case, 0);
            let mut outcomes = Vec::with_capacity(questions.len());
            for BallotQuestion { judge, question, .. } in &questions {
                outcomes.push(judge.stored(*question).await?);
            }
            judged.push(self.counted(rubric, &case, questions.iter().zip(outcomes)));
        }
        match joint_signal(judged, || self.models()).part {
            Some(Part::Judge(part)) => Some(part),
            _ => None,
        }
    }
}

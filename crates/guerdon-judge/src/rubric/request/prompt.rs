//! The built-in prompt that shows the criteria of a rollout's rubric.

use guerdon_text::{Report, SourceText, content_hash};
use guerdon_types::{CheckedRubric, ROLLOUT_RUBRIC};
use minijinja::Environment;

use super::build::{criterion, max_tokens};
use crate::ask::digest::Digest;
use crate::rubric::answer::{AnswerSyntax, Instructions, MessageLayout, ReplyNames};
use crate::rubric::asked::{self, AnswerForm};
use crate::rubric::parse::AnswerSettings;
use crate::rubric::template::{self, CompiledBody, ShownParts};
use crate::rubric::{
    ContextSelection, Criterion, Grouping, Mode, Reasoning, Rubric, Scoring, parse,
};

/// The prompt. A change of it changes the digest of every profile that asks rubrics of rollouts, and
/// the keys of their answers.
const TEXT: &str = "\
+++
+++
# system
You judge one reply of an assistant in a dialogue. The criteria below are about that reply. For each \
criterion choose the one level whose description fits the reply. Judge each criterion by itself, by what \
the reply and the dialogue show and not by what they promise to show.
{% for criterion in criteria %}

Criterion {{ criterion.id }}: {{ criterion.about }}
{% for level in criterion.levels %}
- {{ level.name }}: {{ level.anchor }}
{% endfor %}
{% endfor %}
# user
{{ dialogue }}

{{ turn }}
";

/// The compiled prompt.
#[derive(Debug)]
pub(super) struct RequestPrompt {
    templates: Environment<'static>,
    is_fixed_work: bool,
    /// Hash of the templates and of the form of the answer.
    digest: Digest,
}

/// The hash of the prompt.
pub(super) fn version() -> String {
    content_hash(TEXT)
}

impl RequestPrompt {
    /// Compiles the prompt. `None` if that fails.
    pub(super) fn compile() -> Option<Self> {
        let source = SourceText::new("rollout.rubric.md", TEXT);
        let mut report = Report::default();
        let sections = parse::split(&source, &mut report)?;
        let shown = ShownParts { criteria: &[], examples: &[] };
        let answer = AnswerSettings::default();
        let body = template::compile(&source, &sections, (shown, answer.layout), &mut report)?;
        if report.has_errors() || !body.is_sound {
            return None;
        }
        let form = AnswerForm {
            scoring: Scoring::Chosen,
            reasoning: Reasoning::None,
            mode: Mode::Absolute,
            answer: &answer,
        };
        let digest = asked::digest(&body, shown, form);
        let CompiledBody { templates, is_fixed_work, .. } = body;
        Some(Self { templates, is_fixed_work, digest })
    }

    /// The prompt with the criteria of `checked`.
    pub(super) fn with(&self, checked: &CheckedRubric) -> Rubric {
        let criteria: Vec<Criterion> = checked.criteria.iter().map(criterion).collect();
        let asked = asked::with_criteria(&self.digest, &criteria);
        let selection = ContextSelection::Keys(std::collections::BTreeSet::new());
        Rubric {
            id: ROLLOUT_RUBRIC.to_owned(),
            about: String::new(),
            version: 1,
            hash: format!("sha256:{}", guerdon_text::hex(&asked)),
            asked,
            sealed: false,
            max_tokens: max_tokens(&criteria),
            temperature: 0.0,
            grouping: Grouping::Rubric,
            scoring: Scoring::Chosen,
            reasoning: Reasoning::None,
            listwise: None,
            pairwise: None,
            answer: AnswerSyntax::default(),
            scale: None,
            reply_names: ReplyNames::default(),
            instructions: Instructions::default(),
            layout: MessageLayout::default(),
            empty_points: None,
            samples: 1,
            orders: vec![(0..criteria.len()).collect()],
            criteria,
            examples: Vec::new(),
            probes: Vec::new(),
            context: std::collections::BTreeSet::new(),
            selection,
            body: self.templates.clone(),
            is_fixed_work: self.is_fixed_work,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_prompt_compiles() {
        let prompt = RequestPrompt::compile().expect("it compiles");
        assert!(prompt.is_fixed_work);
    }
}

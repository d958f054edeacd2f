//! The base source of a profile whose model is missing, which `allow_empty` accepts. It abstains on
//! every turn, so that no reward is made without the model that was configured.

use guerdon_fusion::{Ask, BoxFuture, RewardSource, SourceVersion};
use guerdon_types::{AbstainWhy, Abstention, Signal, SourceId, SourceKind};

/// A missing reward model.
#[derive(Debug)]
pub(super) struct AbsentModel {
    id: SourceId,
    detail: String,
}

impl AbsentModel {
    /// The source `id` with the model called `name`.
    pub(super) fn new(id: SourceId, name: &str) -> Self {
        Self { id, detail: format!("the files of model `{name}` are missing") }
    }
}

impl RewardSource for AbsentModel {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn kind(&self) -> SourceKind {
        SourceKind::Model
    }

    fn about(&self) -> String {
        format!("{}; it abstains on every turn", self.detail)
    }

    fn version(&self) -> SourceVersion {
        SourceVersion::Texts([].into())
    }

    fn score<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Vec<Signal>> {
        let why = Abstention::new(self.id.clone(), AbstainWhy::Unreachable, &self.detail);
        Box::pin(std::future::ready(vec![Signal::abstained(why); ask.turns.len()]))
    }
}

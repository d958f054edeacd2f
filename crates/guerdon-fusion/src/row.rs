//! One turn in the scorer: collects the signals of all sources and finishes with the turn's result.

use std::collections::BTreeMap;

use guerdon_types::{
    AbstainEffect, AbstainWhy, Abstention, Finite, FusionConfig, FusionMethod, OnAbstain, Part,
    Signal, SourceKind, SourcePart, SourceRole, TurnResult, Usage, Word,
};

use crate::{ScorerSource, Standing, TurnSignals, WorstVerdict};

/// One turn while its sources answer: the numbers for the fusion, and the result without its
/// reward.
pub(crate) struct TurnRow {
    pub(crate) signals: TurnSignals,
    reply: TurnResult,
    /// The length of the reply in Unicode scalar values, if a normaliser reads it.
    length: usize,
    reports_parts: bool,
}

impl TurnRow {
    pub(crate) fn new(index: usize, length: usize, reports_parts: bool) -> Self {
        let reply = TurnResult {
            index,
            reward: None,
            enhancement: None,
            rm: None,
            judge: None,
            rules: None,
            other: BTreeMap::new(),
            parts: BTreeMap::new(),
            abstained: Vec::new(),
            verdict: None,
            beside: None,
        };
        Self { signals: TurnSignals::default(), reply, length, reports_parts }
    }

    pub(crate) fn enter(
        &mut self,
        source: &ScorerSource,
        mut signal: Signal,
        fusion: &FusionConfig,
        usage: &mut Usage,
    ) {
        let number = signal.part.as_ref().map(Part::number);
        let normalised = number.and_then(|number| source.normalised(number, self.length));
        let term = normalised.or(number).map(|number| source.weighted(number));
        if term.is_some_and(|term| !term.is_finite()) {
            let detail = "its number times its weight is not finite";
            let why = Abstention::new(source.id().clone(), AbstainWhy::NotFinite, detail);
            signal.part = None;
            signal.abstained.push(why);
        }
        let standing = match (&signal.part, term) {
            (Some(_), Some(term)) if signal.abstained.is_empty() => Standing::Scored(term),
            (Some(_), Some(term)) => Standing::PartlyScored(term),
            _ => Standing::Silent,
        };
        self.count(source, standing, fusion);
        if let Some(part) = signal.part {
            if source.role().is_fused() && part.vetoes() {
                self.signals.vetoed = true;
                self.signals.gated |= source.role() == SourceRole::Gate;
            }
            self.report(source, part, normalised);
        }
        if !source.role().is_fused() {
            for abstention in &mut signal.abstained {
                abstention.effect = Some(Word::Known(AbstainEffect::Audit));
            }
        }
        self.reply.abstained.extend(signal.abstained);
        usage.add(&signal.usage);
    }

    /// Counts the standing of a source for the fusion.
    fn count(&mut self, source: &ScorerSource, standing: Standing, fusion: &FusionConfig) {
        let own = source.settings().on_abstain;
        let standing = match (source.role(), source.on_abstain(fusion), own) {
            (SourceRole::Base, ..) | (SourceRole::Points, _, None) => standing,
            (SourceRole::Points | SourceRole::Gate, Some(OnAbstain::Null), _) => {
                self.signals.void |= !standing.is_whole();
                standing
            }
            // `on_abstain` of the fusion must not see what this source's own allows.
            (SourceRole::Points, _, Some(_)) => match standing.value() {
                Some(value) => Standing::Scored(value),
                None => return,
            },
            _ => standing,
        };
        if let Some(channel) = source.channel() {
            self.signals.enter(channel, standing);
        }
    }

    /// Puts the part of a source into the result.
    fn report(&mut self, source: &ScorerSource, part: Part, normalised: Option<Finite>) {
        if self.reports_parts {
            let mut named = SourcePart::new(source.kind(), &part);
            let settings = source.settings();
            if settings.role != source.kind().default_role() {
                named.role = Some(settings.role.into());
            }
            named.normalised = normalised;
            named.weight = (settings.weight != Finite::ONE).then_some(settings.weight);
            if named.version.is_none() {
                named.version = source.version_text().map(str::to_owned);
            }
            self.reply.parts.insert(source.id().clone(), named);
        }
        // The three fields are of the sources with these names, where several may be of one kind.
        let is_called = |name: &str| !self.reports_parts || source.id().as_str() == name;
        match part {
            Part::Rm(part) if is_called("rm") => self.reply.rm = Some(part),
            Part::Judge(part) if is_called("judge") => self.reply.judge = Some(part),
            Part::Rules(part) if is_called("rules") => self.reply.rules = Some(part),
            Part::Other(part) if source.kind() == SourceKind::External || !self.reports_parts => {
                self.reply.other.insert(source.id().clone(), part);
            }
            // `Part` is non_exhaustive. A kind of a later version counts, but the result has no
            // field for it.
            _ => {}
        }
    }

    /// Counts the worst verdict in place of a missing one.
    pub(crate) fn enter_worst(&mut self, source: &ScorerSource, verdict: WorstVerdict) {
        if let Some(channel) = source.channel() {
            let standing = Standing::Scored(source.term(verdict.points, self.length));
            self.signals.enter(channel, standing);
        }
        self.signals.vetoed |= verdict.veto;
        self.signals.gated |= verdict.veto && source.role() == SourceRole::Gate;
    }

    pub(crate) fn finish(mut self, fusion: &FusionConfig) -> TurnResult {
        let bound = fusion.bound.get();
        self.reply.enhancement =
            self.signals.points().and_then(|p| Finite::new(crate::enhancement(p, bound)).ok());
        self.reply.verdict = crate::verdict(&self.signals, fusion).map(Word::Known);
        self.reply.reward =
            reward(&self.signals, fusion).and_then(|reward| Finite::new(reward).ok());
        self.reply
    }
}

/// The reward of a turn: that of the fusion, which a veto of a gate lowers to the floor in every
/// method.
pub(crate) fn reward(signals: &TurnSignals, fusion: &FusionConfig) -> Option<f64> {
    let fused = crate::fuse(signals, fusion)?;
    // With `hero` a veto makes the reply wrong, and its score orders it among the wrong ones.
    let lowers = signals.gated && fusion.method != FusionMethod::Hero;
    Some(if lowers { fused.min(fusion.floor.get()) } else { fused })
}

//! Named reward sources: their kinds, their roles in the fusion, and their parts of a turn in one
//! form for every kind.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Finite, JudgePart, OtherPart, Part, RmPart, RulesPart, Vocabulary, Word};

/// The kind of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SourceKind {
    /// A preference reward model on ONNX Runtime.
    Model,
    /// An LLM judge.
    Judge,
    /// Rule packs.
    Rules,
    /// A reward model behind another server's protocol.
    RemoteRm,
    /// A function behind HTTP.
    Http,
    /// Several sources combined into one number.
    Ensemble,
    /// A source of a program that embeds guerdon.
    External,
}

impl SourceKind {
    /// The role of a source whose configuration names none.
    #[must_use]
    pub const fn default_role(self) -> SourceRole {
        match self {
            Self::Model | Self::RemoteRm | Self::Ensemble => SourceRole::Base,
            Self::Judge | Self::Rules | Self::Http | Self::External => SourceRole::Points,
        }
    }
}

impl Vocabulary for SourceKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Judge => "judge",
            Self::Rules => "rules",
            Self::RemoteRm => "remote_rm",
            Self::Http => "http",
            Self::Ensemble => "ensemble",
            Self::External => "external",
        }
    }
}

/// The role of a source in the fusion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SourceRole {
    /// The primary signal `R`, which the points modulate. Its abstention leaves the turn without a
    /// reward.
    Base,
    /// Points, which modulate the base or are summed.
    Points,
    /// A guard: its vetoes lower or remove the reward, and its number is not counted.
    Gate,
    /// Reported and never fused: neither its number nor its abstention changes a reward.
    Audit,
    /// A member of an ensemble, counted by the ensemble alone. Not for configurations: an
    /// ensemble's `of` makes its members.
    Member,
}

impl SourceRole {
    /// True if the number or the vetoes of the source enter the fusion.
    #[must_use]
    pub const fn is_fused(self) -> bool {
        matches!(self, Self::Base | Self::Points | Self::Gate)
    }
}

impl Vocabulary for SourceRole {
    fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Points => "points",
            Self::Gate => "gate",
            Self::Audit => "audit",
            Self::Member => "member",
        }
    }
}

/// A source's part of one turn, in the same form for every kind of source.
///
/// The number that enters the fusion, the source's *term*, is `weight` times `normalised`, or times
/// `value` where `normalised` is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct SourcePart {
    /// The kind of the source.
    #[cfg_attr(feature = "openapi", schema(value_type = SourceKind))]
    pub kind: Word<SourceKind>,
    /// The role of the source. Left out if it is the kind's own: `base` for `model`, `remote_rm` and
    /// `ensemble`, `points` for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<SourceRole>))]
    pub role: Option<Word<SourceRole>>,
    /// The source's number: a calibrated score, points, or the number of a function.
    pub value: Finite,
    /// The number after the source's `normalise`. Left out without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalised: Option<Finite>,
    /// The source's `weight` times its `scale`. Left out if it is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Finite>,
    /// The numbers that `value` is made of, by name: a model's objectives, a rubric's criteria
    /// (`prompt/criterion`), rules (`pack/rule`), the members of an ensemble, or the components
    /// that a function returned.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub components: BTreeMap<String, Finite>,
    /// The places and quotes behind `value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// The uncertainty of `value`, in its unit: the disagreement of an ensemble, or the standard
    /// error of comparisons two by two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncertainty: Option<Finite>,
    /// Set if the source forbids a reward above the floor.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub veto: bool,
    /// An explanation of `value`, in any form.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub detail: serde_json::Value,
    /// The version of the source: a hash of its files, or the text that a function declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A place in a turn, or a quote from it, that explains a source's number.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Evidence {
    /// The rule (`pack/rule`) or criterion (`prompt/criterion`) that found it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Half-open ranges of Unicode scalar values in the original content of the turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<[usize; 2]>,
    /// A quote from the turn, or the measured value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
}

impl Evidence {
    fn named(name: String, spans: &[[usize; 2]], quote: Option<&String>) -> Option<Self> {
        let evidence = Self { name: Some(name), spans: spans.to_vec(), quote: quote.cloned() };
        (!evidence.spans.is_empty() || evidence.quote.is_some()).then_some(evidence)
    }
}

impl SourcePart {
    /// The part of a source of `kind` in the role of its kind, with a weight of 1.
    #[must_use]
    pub fn new(kind: SourceKind, part: &Part) -> Self {
        let value = part.number();
        let (veto, mut own) = (part.vetoes(), Self::bare(kind, value));
        own.veto = veto;
        match part {
            Part::Rm(part) => own.with_rm(part),
            Part::Judge(part) => own.with_judge(part),
            Part::Rules(part) => own.with_rules(part),
            Part::Other(part) => own.with_other(part),
        }
    }

    fn bare(kind: SourceKind, value: Finite) -> Self {
        Self {
            kind: kind.into(),
            role: None,
            value,
            normalised: None,
            weight: None,
            components: BTreeMap::new(),
            evidence: Vec::new(),
            uncertainty: None,
            veto: false,
            detail: serde_json::Value::Null,
            version: None,
        }
    }

    fn with_rm(mut self, part: &RmPart) -> Self {
        let RmPart { score: _, raw, objectives, steps: _, tokens, truncated, read: _ } = part;
        let finite = |number: f32| Finite::new(f64::from(number)).ok();
        let objectives = objectives.iter().filter_map(|(name, n)| Some((name, finite(*n)?)));
        self.components = objectives.map(|(name, number)| (name.clone(), number)).collect();
        self.detail = serde_json::json!({ "raw": raw, "tokens": tokens, "truncated": truncated });
        self
    }

    fn with_judge(mut self, part: &JudgePart) -> Self {
        for criterion in &part.criteria {
            let name = format!("{}/{}", criterion.prompt, criterion.id);
            self.add(&name, criterion.points);
            self.evidence.extend(Evidence::named(name, &[], criterion.evidence.as_ref()));
        }
        self.uncertainty = part.group.as_ref().and_then(|group| group.uncertainty);
        self.detail = serde_json::json!({ "model": part.model, "cached": part.cached });
        if !part.asked.is_empty() {
            self.detail["asked"] = serde_json::json!(part.asked);
        }
        self
    }

    fn with_rules(mut self, part: &RulesPart) -> Self {
        for hit in &part.hits {
            let name = format!("{}/{}", hit.pack, hit.rule);
            self.add(&name, hit.points);
            self.evidence.extend(Evidence::named(name, &hit.spans, hit.detail.as_ref()));
        }
        self
    }

    fn with_other(mut self, part: &OtherPart) -> Self {
        let OtherPart { points: _, veto: _, detail, components, spans, uncertainty, version } =
            part;
        self.components.clone_from(components);
        if !spans.is_empty() {
            let evidence = Evidence { spans: spans.clone(), ..Evidence::default() };
            self.evidence.push(evidence);
        }
        self.uncertainty = *uncertainty;
        self.detail.clone_from(detail);
        self.version.clone_from(version);
        self
    }

    /// Adds `points` to the component `name`.
    fn add(&mut self, name: &str, points: Finite) {
        let before = self.components.get(name).map_or(0.0, |before| before.get());
        if let Ok(sum) = Finite::new(before + points.get()) {
            self.components.insert(name.to_owned(), sum);
        }
    }

    /// The role: its own, or that of its kind. `None` for a word that this version does not know.
    #[must_use]
    pub fn role(&self) -> Option<SourceRole> {
        match &self.role {
            Some(role) => role.known(),
            None => self.kind.known().map(SourceKind::default_role),
        }
    }

    /// The number that entered the fusion.
    #[must_use]
    pub fn term(&self) -> f64 {
        self.weight.map_or(1.0, Finite::get) * self.normalised.unwrap_or(self.value).get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_keys_are_left_out_and_read_back() {
        let rules: RulesPart = serde_json::from_str(
            r#"{"points": -30, "hits": [
                {"pack": "p", "rule": "a", "points": -10, "spans": [[0, 3]]},
                {"pack": "p", "rule": "a", "points": -20, "spans": [[5, 6]], "veto": true}]}"#,
        )
        .unwrap();
        let part = SourcePart::new(SourceKind::Rules, &Part::Rules(rules));
        let json = serde_json::to_value(&part).unwrap();
        let expected = serde_json::json!({
            "kind": "rules", "value": -30.0, "components": { "p/a": -30.0 }, "veto": true,
            "evidence": [{ "name": "p/a", "spans": [[0, 3]] }, { "name": "p/a", "spans": [[5, 6]] }],
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<SourcePart>(json).unwrap(), part);
        assert_eq!((part.role(), part.term()), (Some(SourceRole::Points), -30.0));
    }

    #[test]
    fn part_of_a_later_kind_is_read() {
        let json = r#"{"kind": "oracle", "value": 2, "weight": 3, "later": [1]}"#;
        let part: SourcePart = serde_json::from_str(json).unwrap();
        assert_eq!((part.kind.as_str(), part.role(), part.term()), ("oracle", None, 6.0));
    }
}
